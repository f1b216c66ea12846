"""Pictures of a search: parallel coordinates, and the figure over each parameter.

Figures are made without pyplot, so that no global state of Matplotlib changes; it is imported with the first figure.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcore._core.quiet import quiet
from dlcore.report.curves import COLOURS, STYLE, heading
from dlcore.train.checkpoint.arrays import write_atomically
from dlcore.tune.space import Choice, Parameter, Range, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dlcore.tune.trials import Trial, Trials

__all__ = ["draw_parallel", "draw_scatter", "parallel", "scatter"]

_COLUMNS = 3
_PALE, _DEEP = "#d3dfee", "#24466f"
"""Of the worst and of the best trial."""


def draw_parallel(path: str | Path, study: Trials) -> Path:
    """Draw the parallel coordinates of a search's trials to a PNG file; TrainingError where none came to its end.

    path : of the file
    study : as :func:`~dlcore.tune.search` gives it

    >>> import tempfile
    >>> from dlcore import tune
    >>> study = tune.search(lambda settings, report: settings["x"] ** 2, {"x": tune.uniform(-1.0, 1.0)}, trials=5)
    >>> draw_parallel(f"{tempfile.mkdtemp()}/parallel.png", study).name
    'parallel.png'
    """
    return _write(path, parallel, study)


def draw_scatter(path: str | Path, study: Trials) -> Path:
    """Draw the figure over each parameter to a PNG file; TrainingError where no trial came to its end.

    path, study : as for :func:`draw_parallel`

    >>> import tempfile
    >>> from dlcore import tune
    >>> study = tune.search(lambda settings, report: settings["x"] ** 2, {"x": tune.uniform(-1.0, 1.0)}, trials=5)
    >>> draw_scatter(f"{tempfile.mkdtemp()}/scatter.png", study).name
    'scatter.png'
    """
    return _write(path, scatter, study)


def parallel(study: Trials) -> Figure:
    """One axis for each parameter, on its own scale, and one for the figure; one line for each finished trial.

    The darker a line, the better its rank; the best is orange. Pruned trials are dashed and end before the last axis.
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    names, best = list(study.space), study.best
    done = [trial for trial in study.ranked if trial.state == "done"]
    pruned = [trial for trial in study.trials if trial.state == "pruned"]
    drawn = Figure(figsize=(max(1.5 * (len(names) + 1) + 1.0, 5.0), 3.8), layout="constrained")
    axes = drawn.subplots()
    shades = LinearSegmentedColormap.from_list("rank", [_DEEP, _PALE])
    low, high = _ends(done)
    for trial in pruned:
        axes.plot(range(len(names)), _places(study, trial), color=COLOURS["muted"], linewidth=0.7, dashes=(3, 3))
    for rank, trial in reversed(list(enumerate(done))):
        y = [*_places(study, trial), (float(trial.value or 0.0) - low) / (high - low)]
        colour = COLOURS["development"] if trial is best else shades(rank / max(len(done) - 1, 1))
        axes.plot(
            range(len(y)), y, color=colour, linewidth=2.6 if trial is best else 1.2, zorder=4 if trial is best else 3
        )
    for place, name in enumerate(names):
        _upright(axes, place, _ticks(study.space[name]))
    shown = [low + (high - low) * share for share in (0, 0.25, 0.5, 0.75, 1)]
    _upright(axes, len(names), [((value - low) / (high - low), _number(value)) for value in shown])
    axes.set_xticks(range(len(names) + 1), [*names, study.metric])
    axes.tick_params(axis="x", length=0, pad=8, labelcolor=COLOURS["ink"])
    axes.set_xlim(-0.15, len(names) + 0.45)
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    words = f"{len(done)} finished trials, dark: good; orange: the best" + f"; dashed: {len(pruned)} pruned" * bool(
        pruned
    )
    axes.set_title(words, loc="left", fontsize=9, fontweight="normal", pad=8)
    return drawn


def scatter(study: Trials) -> Figure:
    """One panel for each parameter: the figure of each trial over its value, and Spearman's ρ above.

    Of two rounds the first is hollow; what was pruned is a cross. ρ is of the first round; see
    :meth:`dlcore.tune.Study.correlations`.
    """
    from matplotlib.figure import Figure

    names = list(study.space)
    columns = min(len(names), _COLUMNS)
    rows = -(-len(names) // columns)
    drawn = Figure(figsize=(3.6 * columns + 0.4, 3.0 * rows), layout="constrained")
    panels = drawn.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for panel, name in zip(panels, names, strict=False):
        _panel(panel, study, name)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    for panel in panels[::columns]:
        panel.set_ylabel(heading(study.metric))
    words = ["orange: the best"]
    words += ["hollow: the first round"] if any(trial.round == "fine" for trial in study.trials) else []
    pruned = sum(trial.state == "pruned" for trial in study.trials)
    words += [f"×: {pruned} pruned, at their last figure"] if pruned else []
    drawn.supxlabel("; ".join(words), x=0.01, ha="left", fontsize=9)
    return drawn


def _panel(axes: Axes, study: Trials, name: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    parameter, best = study.space[name], study.best
    done = [trial for trial in study.trials if trial.state == "done"]
    two = any(trial.round == "fine" for trial in done)

    def place(trial: Trial) -> Any:
        value = trial.settings[name]
        return value if isinstance(parameter, Range) else parameter.values.index(value)

    for trial in (trial for trial in study.trials if trial.state == "pruned"):
        axes.plot(place(trial), float(trial.value or 0.0), marker="x", markersize=4.5, color=COLOURS["muted"], zorder=2)
    for trial in done:
        hollow = two and trial.round == "coarse"
        colour = COLOURS["development"] if trial is best else COLOURS["training"]
        axes.plot(
            place(trial), float(trial.value or 0.0), marker="o", markersize=8 if trial is best else 4.5,
            markeredgecolor=colour, markerfacecolor=COLOURS["paper"] if hollow else colour,
            zorder=5 if trial is best else 3, alpha=0.9,
        )  # fmt: skip
    if isinstance(parameter, Range):
        if parameter.log:
            axes.set_xscale("log")
            ticks = [value for _, value in _log_ticks(parameter)]
            axes.set_xticks(ticks)
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))
    else:
        axes.set_xticks(range(len(parameter.values)), [str(label(value)) for value in parameter.values])
        axes.set_xlim(-0.5, len(parameter.values) - 0.5)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value)))
    axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    found = study.correlations()[name]
    words = name
    if found is not None and not math.isnan(found.rho):
        words += f"   ρ {found.rho:+.2f}, n {found.n}".replace("-", "−")
    axes.set_title(words, loc="left")


def _places(study: Trials, trial: Trial) -> list[float]:
    return [parameter.place(trial.settings[name]) for name, parameter in study.space.items()]


def _ends(done: list[Trial]) -> tuple[float, float]:
    values = [float(trial.value or 0.0) for trial in done]
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(parameter: Parameter) -> list[tuple[float, str]]:
    """Places and words."""
    if isinstance(parameter, Choice):
        return [(parameter.place(value), str(label(value))) for value in parameter.values]
    if parameter.log:
        return [(place, _number(value)) for place, value in _log_ticks(parameter)]
    values = dict.fromkeys(parameter.at(share) for share in (0, 0.25, 0.5, 0.75, 1))
    return [(parameter.place(value), _number(value)) for value in values]


def _log_ticks(parameter: Range) -> list[tuple[float, float]]:
    """The powers of ten in the range where there are several, else its ends and their middle: places and values."""
    powers = [10.0**k for k in range(math.ceil(math.log10(parameter.low)), math.floor(math.log10(parameter.high)) + 1)]
    values = powers if len(powers) > 1 else [parameter.low, parameter.at(0.5), parameter.high]
    return [(parameter.place(value), value) for value in values]


def _upright(axes: Axes, x: int, ticks: list[tuple[float, str]]) -> None:
    """An axis at ``x``, its words to the right of it."""
    axes.plot([x, x], [0, 1], color=COLOURS["muted"], linewidth=0.9, zorder=2)
    for y, words in ticks:
        axes.plot([x - 0.02, x + 0.02], [y, y], color=COLOURS["muted"], linewidth=0.9, zorder=2)
        axes.annotate(
            words, (x, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8, zorder=6,
            color=COLOURS["ink"],
            bbox={"boxstyle": "square,pad=0.1", "facecolor": COLOURS["paper"], "edgecolor": "none", "alpha": 0.8},
        )  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _write(path: str | Path, make: Any, study: Trials) -> Path:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    with quiet("Glyph .* missing from"), matplotlib.rc_context(STYLE):
        drawn = make(study)
        FigureCanvasAgg(drawn)
        drawn.savefig(buffer, format="png", dpi=180)
    return write_atomically(Path(path), buffer.getvalue)
