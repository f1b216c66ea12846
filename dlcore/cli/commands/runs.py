"""``dlcore runs``: what is in the folder of all runs."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dlcore._core.escapes import escaped
from dlcore._core.formatting import figure
from dlcore.cli.options import DEBUG
from dlcore.cli.strict_json import json_text
from dlcore.cli.texts import model_name, table
from dlcore.errors import ConfigError

if TYPE_CHECKING:
    from dlcore.train.runs.run import Run

__all__ = ["folder_of_runs", "print_table", "say_unreadable", "show"]


FEW = 5
"""Folders that are passed over by name."""


def show(
    folder: Annotated[str | None, Parameter(help="the same as --runs")] = None,
    /,
    *,
    runs: Annotated[str, Parameter(help="folder of all runs")] = "runs",
    json_: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="print JSON, a list of objects")
    ] = False,
    debug: DEBUG = False,
) -> int:
    """List the runs in a folder, the oldest first: how far each has come, and how good it is."""
    from dlcore.train.runs.run import Run

    runs = folder_of_runs(runs if folder is None else folder)
    unreadable: list[str] = []
    found = []
    for run in Run.all(runs, unreadable):
        try:
            found.append(_about(run))
        except OSError as error:
            unreadable.append(f"{run.folder} ({error.strerror})")
    if json_:
        print(json_text(found, indent=2))
    elif not found:
        print(f"no runs in {runs}; dlcore train makes one")
    else:
        columns = ("run", "status", "data", "model", "epochs", "development", "test", "began")
        rows = [[_cell(entry[column]) for column in columns] for entry in found]
        print_table(columns, rows, left=range(len(columns)))
    say_unreadable(unreadable)
    return 0


def say_unreadable(folders: Sequence[str]) -> None:
    """One line on stderr for what was passed over."""
    if folders:
        more = f" and {len(folders) - FEW:,} more" if len(folders) > FEW else ""
        print(f"dlcore: note: passed over: {', '.join(folders[:FEW])}{more}", file=sys.stderr)


def folder_of_runs(runs: str) -> str:
    """The folder, unless it is a file."""
    if Path(runs).exists() and not Path(runs).is_dir():
        raise ConfigError(f"runs is {runs!r}, a file, but the folder of all runs is expected")
    return runs


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int]) -> None:
    """Rows below their headings: ruled and in the terminal's width where there is one, else plain aligned lines."""
    head, rows = [*map(escaped, head)], [[*map(escaped, row)] for row in rows]
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console = Console()
        if not console.is_dumb_terminal:
            drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
            for place, name in enumerate(head):
                title = name.replace("_", " ")
                cells = [row[place] for row in rows]
                whole = [*title.split(), *(" ".join(cells).split() if place in left else cells)]  # what is not broken
                drawn.add_column(
                    Text(title), justify="left" if place in left else "right", overflow="fold",
                    min_width=min(max(map(len, whole), default=1), 24),
                )  # fmt: skip
            for row in rows:
                drawn.add_row(*map(Text, row), style="bold" if row[-1] == "chosen" else "")
            console.print(drawn)
            return
    print("\n".join(table([head, *rows], left=left)))


def _about(run: Run) -> dict[str, Any]:
    from dlcore._core.lock import holder

    held = run.result
    result = held or {}
    count, kept = run.outline(result.get("best_epoch"))
    status = "running" if holder(run.folder) else "interrupted" if held is None else "finished"
    began = datetime.fromtimestamp((run.folder / "config.toml").stat().st_mtime).isoformat(" ", "minutes")
    about: dict[str, Any] = {"run": run.name, "status": status, "began": began, "folder": str(run.folder)}
    try:
        settings = run.settings
        wanted = settings.measured() if settings.data.heads else settings.measured()[:1]
        about |= {"data": settings.data.data, "model": model_name(settings)}
        epochs: Any = None if settings.model.model == "knn" else f"{count} of {settings.train.epochs}"
    except ConfigError as error:
        warnings.warn(str(error), stacklevel=2)
        wanted, epochs = ["loss"], count
        about |= {"data": None, "model": None}
    test = next(iter(result.get("test", {}).values()), {})
    return about | {
        "epochs": epochs,
        "development": _figures(wanted, kept, "dev_"),
        "test": _figures(wanted, test),
    }


def _figures(names: Sequence[str], record: Mapping[str, Any], prefix: str = "") -> dict[str, Any] | None:
    """Those that were recorded: of several heads, each has the metrics that suit it."""
    return {name: record[f"{prefix}{name}"] for name in names if record.get(f"{prefix}{name}") is not None} or None


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {figure(one)}" for name, one in value.items())
    return "" if value is None else str(value)
