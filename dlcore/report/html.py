"""One page about a run: what ran, how it went, where it errs. Self-contained: it loads nothing and runs no script."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlcore._core.escapes import escape
from dlcore._core.formatting import figure
from dlcore.analysis.diagnosis import WORDS, Diagnosis
from dlcore.report.curves import best_of, curves_svg, draw_curves, heading
from dlcore.report.examine import Examination
from dlcore.report.health import health_section
from dlcore.report.mistakes import confusion_section, mistakes_section
from dlcore.report.parts import section, table
from dlcore.train.checkpoint.arrays import write_atomically
from dlcore.version import __version__

__all__ = ["Report", "page", "write"]

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
OPEN_ROWS = 12
"""A table of more epochs is folded."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Report:
    """What there is to say about a run; whatever is empty is left out of the page.

    title : the run's name
    lines : what was printed of the device, the data, the model and the training, each ``word: text``
    settings : TOML
    environment : versions and the machine
    summary : the table of the model's layers
    history : one record an epoch, as :class:`dlcore.train.History` gives them
    metrics : those whose curves are drawn; by default the first
    best_epoch, stopped_epoch : from 0, where early stopping acted
    results : by model, its figures on the test set; the run's own model first, then what it is compared with
    examination : of the development set, by :func:`dlcore.report.examine`
    classes : names in the order of the labels; a dict of them where there are several outputs
    timing : seconds by what took them; a name that ends in "/s" is a rate
    diagnosis : by :func:`dlcore.analysis.diagnosis.diagnose_parts`
    health : one record an epoch, as :class:`dlcore.train.GradientHealth` keeps them
    faults : what the figures do not show, as :func:`dlcore.analysis.diagnosis.faults_of` words it

    >>> report = Report(
    ...     title="first",
    ...     lines=["device: cpu (no CUDA driver)"],
    ...     history=[{"epoch": 0, "loss": 0.9, "dev_loss": 1.0}, {"epoch": 1, "loss": 0.5, "dev_loss": 0.7}],
    ...     results={"mlp": {"accuracy": 0.91}, "logistic": {"accuracy": 0.85}},
    ... )
    >>> "no CUDA driver" in page(report)
    True
    """

    title: str
    lines: Sequence[str] = ()
    settings: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    history: Iterable[Mapping[str, Any]] = ()
    metrics: Sequence[str] = ()
    best_epoch: int | None = None
    stopped_epoch: int | None = None
    results: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    examination: Examination | None = None
    classes: Sequence[str] | Mapping[str, Sequence[str]] | None = None
    timing: Mapping[str, float] = field(default_factory=dict)
    diagnosis: Diagnosis | None = None
    health: Sequence[Mapping[str, Any]] = ()
    faults: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "history", tuple(self.history))  # it is gone through more than once


def write(folder: str | Path, report: Report) -> Path:
    """Write ``report.html`` and, where there is a history, ``curves.png``; each appears whole or not at all.

    folder : made where it is missing

    Returns the path of the page; raises CheckpointError where the folder cannot be written.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write(folder, Report(title="first", history=[{"epoch": 0, "loss": 0.9}])).name
    'report.html'
    >>> sorted(path.name for path in folder.iterdir())
    ['curves.png', 'report.html']
    """
    folder, history = Path(folder), list(report.history)
    if history:
        draw_curves(
            folder / "curves.png", history, best_epoch=report.best_epoch, stopped_epoch=report.stopped_epoch,
            metrics=report.metrics,
        )  # fmt: skip
    return write_atomically(folder / "report.html", lambda: page(report))


def page(report: Report) -> str:
    """The HTML text of a report."""
    history = list(report.history)
    best = best_of(history) if report.best_epoch is None else report.best_epoch
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    found, classes = report.examination, report.classes
    names = None if isinstance(classes, Mapping) else classes
    body = [
        _headline(report, history, best),
        _results(report.results),
        section("Warnings", "\n".join(f"<p>{escape(line)}</p>" for line in report.faults)),
        _curves(report, history, best),
        _diagnosis(report.diagnosis),
        health_section(report.health, report.best_epoch),
        *([] if found is None else [confusion_section(found, names), mistakes_section(found, names)]),
        _run(report.lines),
        _epochs(history, best),
        _timing(report.timing),
        section("Layers", f"<pre>{escape(report.summary.rstrip())}</pre>" if report.summary else ""),
        section("Settings", f"<pre>{escape(report.settings.rstrip())}</pre>" if report.settings else ""),
        _environment(report.environment),
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(report.title)} – dlcore</title>
<link rel="icon" href="data:,">
<style>
{style}</style>
</head>
<body>
{"".join(body)}<footer>
<p>Written by dlcore {__version__}. This file is complete in itself: it loads nothing.</p>
</footer>
</body>
</html>
"""


# --- sections


def _headline(report: Report, history: Sequence[Mapping[str, Any]], best: int | None) -> str:
    """The title and the few figures that people ask for first."""
    facts: list[tuple[str, str, str]] = []  # value, what it is, a remark
    models = list(report.results.items())
    if models:
        measure = _ordered(models[0][1])[0]
        others = [f"{name}: {_figure(values[measure])}" for name, values in models[1:] if measure in values]
        facts.append((_figure(models[0][1][measure]), f"{heading(measure)} on the test set", ", ".join(others)))
    if history:
        remark = "" if best is None else f"best epoch {best + 1:,}"
        facts.append((f"{len(history):,}", "Epochs" if len(history) > 1 else "Epoch", remark))
    if report.timing:
        name, seconds = next(iter(report.timing.items()))
        facts.append((_amount(name, seconds), heading(name), ""))
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd><strong>{escape(value)}</strong>"
        f"{f'<small>{escape(remark)}</small>' if remark else ''}</dd></div>\n"
        for value, name, remark in facts
    )
    facts_list = f'<dl class="facts">\n{items}</dl>\n' if facts else ""
    return f'<header>\n<p class="kind">Training run</p>\n<h1>{escape(report.title)}</h1>\n{facts_list}</header>\n'


def _results(results: Mapping[str, Mapping[str, float]]) -> str:
    if not results:
        return ""
    measures = _ordered(next(iter(results.values())))
    rows = [
        [escape(name), *(_figure(values[m]) if m in values else "" for m in measures)]
        for name, values in results.items()
    ]
    head = ["Model", *(escape(heading(measure)) for measure in measures)]
    return section("Test", table("On the test set, which was used for no choice", head, rows, kind="own"))


def _ordered(measures: Iterable[str]) -> list[str]:
    """The loss last: the metric is what people ask for."""
    return sorted(measures, key=lambda name: name == "loss")


def _curves(report: Report, history: Sequence[Mapping[str, Any]], best: int | None) -> str:
    if not history:
        return ""
    drawn = curves_svg(
        history, best_epoch=report.best_epoch, stopped_epoch=report.stopped_epoch, metrics=report.metrics
    )
    said = "The development loss was smallest" if report.best_epoch is None else "Early stopping kept the weights"
    words = [] if best is None else [f"{said} {'in' if report.best_epoch is None else 'of'} epoch {best + 1:,}."]
    if report.stopped_epoch is not None:
        words.append(f"Training stopped after epoch {report.stopped_epoch + 1:,}, without further improvement.")
    if any("penalty" in record for record in history):
        words.append("The training loss contains the penalty; the development loss does not.")
    caption = f"<figcaption>{' '.join(words)}</figcaption>\n" if words else ""
    return section("Curves", f'<figure class="curves">\n<div>\n{drawn}\n</div>\n{caption}</figure>')


def _diagnosis(found: Diagnosis | None) -> str:
    """The gaps with their intervals, what is taken for granted, and the next steps in order."""
    if found is None:
        return ""
    rows = []
    for gap in found.gaps:
        ends = f"{WORDS[gap.above[0]]} {gap.above[1]:.4f} − {WORDS[gap.below[0]]} {gap.below[1]:.4f}"
        chance = "–" if gap.low is None or gap.high is None else f"{gap.low:.4f} to {gap.high:.4f}".replace("-", "−")
        state = f"{gap.state}: {gap.why}" if gap.why else gap.state
        rows.append(
            [escape(heading(gap.name)), *map(escape, (ends, f"{gap.value:.4f}".replace("-", "−"), chance, state))]
        )
    caption = f"Verdict: {', '.join(found.verdicts)}. Errors are {found.measure}, with the final weights"
    drawn = table(escape(caption), ["Gap", "Errors", "Difference", "Interval", "State"], rows, kind="gaps")
    steps = "".join(f"<li>{escape(step)}</li>" for step in found.advice)
    remarks = "".join(f"<p>{escape(remark)}</p>\n" for remark in found.remarks)
    return section("Diagnosis", f"{drawn}\n{remarks}<p>Next, one after the other:</p>\n<ol>{steps}</ol>")


def _run(lines: Sequence[str]) -> str:
    """``word: text`` as a list of terms; a line that begins with a space goes on with the one before."""
    terms: list[tuple[str, list[str]]] = []
    for line in (line for text in lines for line in text.splitlines() if line.strip()):
        found = re.fullmatch(r"([A-Za-z][\w ]{0,24}): +(.+)", line)
        if found:
            terms.append((found[1], [found[2]]))
        elif line[0].isspace() and terms:
            terms[-1][1].append(line.strip())
        else:
            terms.append(("", [line.strip()]))
    items = "".join(
        f"<div><dt>{escape(heading(term))}</dt><dd>{'<br>'.join(map(escape, said))}</dd></div>\n"
        for term, said in terms
    )
    return section("What ran", f'<dl class="terms">\n{items}</dl>' if terms else "")


def _epochs(history: Sequence[Mapping[str, Any]], best: int | None) -> str:
    if not history:
        return ""
    names = [name for name in dict.fromkeys(name for record in history for name in record) if name != "epoch"]
    short = {"examples_per_second": "Examples/s"}
    head = ["Epoch", *(escape(short.get(name, heading(name)).replace("Development", "Dev")) for name in names)]
    rows = [
        [f"{int(record.get('epoch', place)) + 1:,}", *(_figure(record.get(name), name) for name in names)]
        for place, record in enumerate(history)
    ]
    marked = [place for place, record in enumerate(history) if record.get("epoch", place) == best]
    drawn = table(f"Every epoch{'; the best one is marked' * bool(marked)}", head, rows, marked=marked)
    if len(rows) > OPEN_ROWS:
        drawn = f"<details>\n<summary>All {len(rows):,} epochs</summary>\n{drawn}\n</details>"
    return section("Epochs", drawn)


def _timing(timing: Mapping[str, float]) -> str:
    rows = [[escape(heading(name)), _amount(name, value)] for name, value in timing.items()]
    return section("Time", table("By the wall clock", ["What", "Measured"], rows) if rows else "")


def _environment(environment: Mapping[str, Any]) -> str:
    rows = [[escape(str(name)), escape(str(value))] for name, value in environment.items()]
    return section("Environment", table("Where it ran", ["Part", "Version"], rows, kind="words") if rows else "")


# --- figures in words


def _figure(value: Any, name: str = "") -> str:
    """A number for a table; a dash where there is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "–"
    if not math.isfinite(number):
        return "–" if math.isnan(number) else "∞" if number > 0 else "−∞"
    if name == "examples_per_second":
        return f"{number:,.0f}"
    if name == "seconds":
        return f"{number:,.3g}"
    return (f"{number:.4g}" if name == "lr" else figure(number)).replace("-", "−")


def _amount(name: str, value: float) -> str:
    """A duration in its natural unit, or a rate.

    >>> _amount("training", 200.0), _amount("one epoch", 0.25), _amount("examples/s", 12345.6)
    ('3 min 20 s', '250 ms', '12,346')
    """
    if not math.isfinite(value):
        return "–"
    if name.endswith("/s"):
        return f"{value:,.0f}"
    if value < 0.9995:
        return f"{value * 1000:,.0f} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {seconds} s"
