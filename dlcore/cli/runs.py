"""``dlcore runs``: what is in the folder of all runs."""

from __future__ import annotations

import json
import warnings
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dlcore.cli.flags import DEBUG
from dlcore.cli.summary import model_name, table
from dlcore.errors import ConfigError

if TYPE_CHECKING:
    from dlcore.train.run import Run

__all__ = ["show"]


def show(
    *,
    runs: Annotated[str, Parameter(help="folder of all runs")] = "runs",
    json_: Annotated[bool, Parameter(name="--json", negative=(), help="print JSON, a list of objects")] = False,
    debug: DEBUG = False,
) -> int:
    """List the runs in a folder, the oldest first: how far each has come, and how good it is."""
    from dlcore.train.run import Run

    if Path(runs).exists() and not Path(runs).is_dir():
        raise ConfigError(f"runs is {runs!r}, a file, but the folder of all runs is expected")
    found = [_about(run) for run in Run.all(runs)]
    if json_:
        print(json.dumps(found, indent=2))
    elif not found:
        print(f"no runs in {runs}; dlcore train makes one")
    else:
        columns = ("run", "status", "data", "model", "epochs", "development", "test", "began")
        rows = [[_cell(entry[column]) for column in columns] for entry in found]
        print("\n".join(table([columns, *rows], left=range(len(columns)))))
    return 0


def _about(run: Run) -> dict[str, Any]:
    result, records = run.result or {}, run.records()
    began = datetime.fromtimestamp((run.folder / "config.toml").stat().st_mtime).isoformat(" ", "minutes")
    about: dict[str, Any] = {"run": run.name, "status": run.status, "began": began, "folder": str(run.folder)}
    try:
        settings = run.settings
        metric = (settings.train.metrics or ("loss",))[0]
        about |= {"data": settings.data.data, "model": model_name(settings)}
        epochs: Any = None if settings.model.model == "knn" else f"{len(records)} of {settings.train.epochs}"
    except ConfigError as error:
        warnings.warn(str(error), stacklevel=2)
        metric, epochs = "loss", len(records)
        about |= {"data": None, "model": None}
    best = result.get("best_epoch")
    kept = records[best if isinstance(best, int) and best < len(records) else -1] if records else {}
    test = next(iter(result.get("test", {}).values()), {})
    return about | {
        "epochs": epochs,
        "development": _figure(metric, kept.get(f"dev_{metric}")),
        "test": _figure(metric, test.get(metric)),
    }


def _figure(name: str, value: Any) -> dict[str, Any] | None:
    return None if value is None else {name: value}


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {figure:.4f}" for name, figure in value.items())
    return "" if value is None else str(value)
