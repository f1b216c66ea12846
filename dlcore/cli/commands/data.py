"""``dlcore data``: which data sets there are, where they are found, and the download of the large one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from dlcore.cli.options import COMMAND, DEBUG
from dlcore.cli.texts import table
from dlcore.errors import ConfigError, DataError

__all__ = ["fetch", "show"]

_COLUMNS = ("name", "task", "examples", "shape", "where", "licence")


def show(
    *,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), group=COMMAND, show_default=False, help="print JSON")
    ] = False,
    debug: DEBUG = False,
) -> int:
    """List the data sets: task, number and shape of the examples, where they are found, and the licence."""
    rows = list(_rows())
    if as_json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    left = {i for i, column in enumerate(_COLUMNS) if column != "examples"}
    print("\n".join(table([_COLUMNS, *map(_cells, rows)], left)))
    return 0


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    shape = " × ".join(map(str, row["shape"]))
    return (row["name"], row["task"], f"{row['examples']:,}", shape, row["where"], row["licence"])


def _rows() -> Iterator[dict[str, Any]]:
    """What is known about each data set; ``found`` tells whether it can be read now."""
    from dlcore.data import load, names

    for name in names():
        data = load("fashion-subset" if name == "fashion" else name)
        row = {
            "name": name,
            "task": data.task,
            "examples": len(data.train) + len(data.dev) + len(data.test),
            "shape": list(data.train.shape),
            "licence": data.licence,
            "where": "in the package",
            "found": True,
        }
        if name == "fashion":
            row |= {"examples": 70_000, **_full_fashion()}
        yield row


def _full_fashion() -> dict[str, Any]:
    """Where the full Fashion-MNIST is, without reading it."""
    from dlcore.data.builtin import registry

    try:
        folder, place = registry._fashion_folder(None)
    except DataError as error:
        return {"where": str(error).removeprefix("load: "), "found": False}
    if (folder, place) == registry._FASHION_SUBSET:
        return {"where": "not found; get it by: dlcore data fetch fashion", "found": False}
    return {"where": place, "found": True}


def fetch(
    name: Annotated[str, Parameter(help="data set: fashion, the full Fashion-MNIST")],
    /,
    *,
    to: Annotated[
        Path | None,
        Parameter(group=COMMAND, show_default=False, help="folder to put it into [default: the user's cache folder]"),
    ] = None,
    debug: DEBUG = False,
) -> int:
    """Download a data set that is too large for the package; checked by SHA-256, and found by all commands then."""
    from dlcore.data.builtin.download import check_name
    from dlcore.data.builtin.download import fetch as download

    try:
        check_name(name)
    except DataError as error:
        raise ConfigError(str(error)) from None
    with _progress() as progress:
        folder = download(name, to, progress)
    print(f"Fashion-MNIST is in {folder}" + (f"; use it by DLCORE_DATA={folder}" if to is not None else ""))
    return 0


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each file on a terminal, else a line for each complete file."""
    if not sys.stdout.isatty():
        yield lambda file, done, size: print(f"{file}: {size:,} bytes", flush=True) if done == size else None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn()) as bars:
        tasks: dict[str, Any] = {}

        def progress(file: str, done: int, size: int) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=size)
            bars.update(tasks[file], completed=done)

        yield progress
