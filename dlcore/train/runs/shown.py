"""A run as people see it, in text and in HTML; what cannot be read is left out, and nothing is raised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlcore._core import markup
from dlcore._core.escapes import escaped
from dlcore.errors import DlcoreError

if TYPE_CHECKING:
    from dlcore.train.runs.run import Run

__all__ = ["run_html", "run_text"]


def run_text(run: Run, kind: str = "Run") -> str:
    """``repr`` of a run: its folder, how far it has come, and how good it is.

    kind : the name of the object
    """
    said = _said(run)
    what = ", ".join(said[name] for name in ("model", "epochs") if name in said)
    figures = "".join(f"; {name} {said[name]}" for name in ("test", "development") if name in said)
    return f"{kind}({str(run.folder)!r}, {said['status']}{': ' if what else ''}{what}{figures})"


def run_html(run: Run, kind: str = "Run") -> str:
    """What ``repr`` says as a table, the figures of the test set by model, and the curves of the epochs."""
    from dlcore.train.engine.history import History

    said = _said(run)
    said.pop("test", None)
    history = History()
    for record in _records(run) if _result(run).get("epochs") != 0 else ():
        history.append(record)
    history.best_epoch = _result(run).get("best_epoch")
    if len(history):
        said.pop("development", None)  # among the figures below
    page = run.folder / "report.html"
    rows = [*said.items(), *([("report", str(page))] if page.exists() else [])]
    test = {name: markup.figures(figures) for name, figures in _result(run).get("test", {}).items()}
    names = list(dict.fromkeys(name for figures in test.values() for name in figures))
    cells = [(model, *(figures.get(name, "") for name in names)) for model, figures in test.items()]
    return markup.together(
        markup.title(kind, str(run.folder)),
        markup.table((), rows),
        markup.table(("test", *(name.replace("_", " ") for name in names)), cells, numbers=range(1, len(names) + 1))
        if cells
        else "",
        history._repr_html_() if len(history) else "",
    )


def _said(run: Run) -> dict[str, str]:
    """How far a run has come and how good it is, in words, by what they are about."""
    result = _result(run)
    try:
        status = run.status
    except OSError:
        status = "unreadable"
    said = {"status": status}
    wanted = None
    try:
        settings = run.settings
        said["model"] = escaped(f"{settings.model.model or 'the default model'} on {settings.data.data}")
        wanted = settings.train.epochs
    except (DlcoreError, OSError):
        if not (run.folder / "config.toml").exists():
            said["status"] = "a saved model"
    count, record = _outline(run, result)
    if count and wanted is not None and result == {}:
        said["epochs"] = f"{count:,} of {wanted:,} epochs"
    elif count and result.get("epochs") != 0:  # nearest neighbours have a record, and no epochs
        said["epochs"] = f"{count:,} epoch{'s' * (count != 1)}"
    test: dict[str, Any] = next(iter(result.get("test", {}).values()), {})
    dev = {name.removeprefix("dev_"): value for name, value in record.items() if name.startswith("dev_")}
    for part, figures in (("test", test), ("development", {} if test else dev)):
        if shown := markup.figures(figures):
            said[part] = ", ".join(f"{name} {value}" for name, value in shown.items())
    return said


def _result(run: Run) -> dict[str, Any]:
    return run.result or {}


def _outline(run: Run, result: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    try:
        return run.outline(result.get("best_epoch"))
    except OSError:
        return 0, {}


def _records(run: Run) -> list[dict[str, Any]]:
    try:
        return run.records()
    except OSError:
        return []
