"""What a recipe is, and what it gives."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcore._core.quiet import quiet
from dlcore._core.validation import whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from backends.runtime.device import Device

__all__ = ["Check", "Recipe", "Result", "Setup", "at_least", "at_most", "recipe"]


@dataclass(frozen=True)
class Setup:
    """What a recipe is run with.

    device : where the models are
    seed : names everything that is random
    quick : do a smaller experiment

    >>> from backends.runtime.device import CPU
    >>> Setup(CPU, seed=3, quick=True).pick(full=60, quick=5)  # such as epochs
    5
    """

    device: Device
    seed: int = 0
    quick: bool = False

    def pick(self, full: Any, quick: Any) -> Any:
        """The first value, or the second where the experiment is to be quick.

        full, quick : two values
        """
        return quick if self.quick else full


@dataclass(frozen=True)
class Check:
    """One figure on which a claim hangs, and the bound that it must keep.

    what : the figure in words, with its unit
    value : as measured
    bound : the least (or greatest) value that shows the claim, with its margin
    greatest : whether ``bound`` is the greatest value, not the least

    >>> at_least("accuracy with over accuracy without", 1.3, 1.1)
    Check(what='accuracy with over accuracy without', value=1.3, bound=1.1, greatest=False)
    >>> check = at_least("accuracy with over accuracy without", 1.3, 1.1)
    >>> print(check)
    accuracy with over accuracy without: 1.3, at least 1.1 is expected
    >>> check.holds
    True
    """

    what: str
    value: float
    bound: float
    greatest: bool = False

    @property
    def holds(self) -> bool:
        """Whether the bound is kept; NaN keeps none."""
        return self.value <= self.bound if self.greatest else self.value >= self.bound

    def __str__(self) -> str:
        side = "at most" if self.greatest else "at least"
        return f"{self.what}: {shown(self.value)}, {side} {shown(self.bound)} is expected"


def at_least(what: str, value: float, bound: float) -> Check:
    """A figure that must be ``bound`` or more.

    what : the figure in words, with its unit
    value : as measured

    >>> at_least("accuracy", 0.91, 0.9).holds, at_least("accuracy", math.nan, 0.9).holds
    (True, False)
    """
    return Check(what, float(value), float(bound))


def at_most(what: str, value: float, bound: float) -> Check:
    """A figure that must be ``bound`` or less.

    what, value : as for :func:`at_least`

    >>> print(at_most("loss, in nats", 0.31, 0.2))
    loss, in nats: 0.31, at most 0.2 is expected
    """
    return Check(what, float(value), float(bound), greatest=True)


@dataclass(frozen=True)
class Result:
    """What came of an experiment.

    columns, rows : a table; the first entry of each row names it, and so the first column needs no heading
    checks : the figures on which the claim hangs
    draw : draws the picture into a Matplotlib figure
    remarks : what else is to be said, such as where the notes have a slip

    >>> def draw(figure):
    ...     figure.subplots().plot([0, 1, 2], [0.9, 0.5, 0.4])
    >>> found = Result(["", "loss"], [["before", 0.9], ["after", 0.41234]], [at_most("loss after", 0.41234, 0.5)], draw)
    >>> found.holds, found.figures(), found.cells()[-1]
    (True, {'loss after': 0.41234}, ('after', '0.412'))
    >>> import tempfile
    >>> found.save(f"{tempfile.mkdtemp()}/loss.png").name
    'loss.png'
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    checks: Sequence[Check]
    draw: Callable[[Figure], None]
    remarks: Sequence[str] = ()

    @property
    def holds(self) -> bool:
        """Whether all figures keep their bounds."""
        return all(check.holds for check in self.checks)

    def figures(self) -> dict[str, float]:
        """By their words, the figures that were checked."""
        return {check.what: check.value for check in self.checks}

    def cells(self) -> list[tuple[str, ...]]:
        """The table as text, its heading first."""
        return [tuple(self.columns), *(tuple(map(shown, row)) for row in self.rows)]

    def save(self, path: str | Path) -> Path:
        """Draw the picture to a PNG file, which appears whole or not at all; its folder is made where it is missing.

        path : of the file
        """
        from dlcore.train.checkpoint.arrays import write_atomically

        buffer = io.BytesIO()
        with _style():
            self.figure().savefig(buffer, format="png")
        return write_atomically(Path(path), buffer.getvalue)

    def figure(self) -> Figure:
        """The picture as a Matplotlib figure.

        >>> from dlcore.recipes import run
        >>> len(run("edges", quick=True).figure().axes) > 1
        True
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        with _style():
            figure = Figure(figsize=(9.2, 3.6), dpi=160, layout="constrained")
            engine: Any = figure.get_layout_engine()
            engine.set(w_pad=0.12, h_pad=0.1)  # inches
            FigureCanvasAgg(figure)
            self.draw(figure)
            figure.canvas.draw()
        return figure


@dataclass(frozen=True)
class Recipe:
    """An experiment on a claim of the notes; ``recipe(setup)`` does it.

    name : as ``dlcore recipe run`` takes it
    chapter : of the notes, such as "2.3"
    claim : what they say, in a sentence
    experiment : what the recipe does

    >>> from dlcore import recipes
    >>> found = recipes.find("early-stopping")
    >>> found.name, found.chapter, found.claim[:43]
    ('early-stopping', '2.3', 'The training error falls on and on, the dev')
    """

    name: str
    chapter: str
    claim: str
    experiment: Callable[[Setup], Result]

    def __call__(self, setup: Setup) -> Result:
        whole("recipe", "seed", setup.seed, 0)
        from dlcore.train.callbacks.progress_lines import silent

        with silent():
            return self.experiment(setup)


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib

    from dlcore.report.curves import STYLE

    with quiet("Glyph .* missing from"), matplotlib.rc_context(STYLE):
        yield


def recipe(chapter: str, claim: str) -> Callable[[Callable[[Setup], Result]], Recipe]:
    """Make a recipe of a function, whose name it takes, with hyphens.

    chapter, claim : as in :class:`Recipe`

    >>> from backends.runtime.device import CPU
    >>> @recipe("1.4", "A step against the gradient makes the loss smaller.")
    ... def one_step(setup):
    ...     before, after = 1.0, (1.0 - 0.1 * 2.0) ** 2  # of θ² at θ = 1, lr 0.1
    ...     return Result(["", "loss"], [["after", after]], [at_most("loss after it", after, before)], print)
    >>> one_step.name, one_step(Setup(CPU)).holds
    ('one-step', True)
    """

    def make(experiment: Callable[[Setup], Result]) -> Recipe:
        return Recipe(experiment.__name__.replace("_", "-"), chapter, claim, experiment)

    return make


def shown(value: Any) -> str:
    """A cell of a table: words as they are, numbers with three or four digits.

    >>> [shown(value) for value in ("none", 12, 12345, 0.12345, 1234.5, 2.5e-9, None)]
    ['none', '12', '12,345', '0.123', '1,234', '2.5e-09', '-']
    """
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    number = float(value)
    if number == int(number) and abs(number) < 1e7 if math.isfinite(number) else False:
        return f"{int(number):,}"
    if 1000 <= abs(number) < 1e7:
        return f"{number:,.0f}"
    return f"{number:.3g}"
