"""What is searched: ranges of numbers, on a linear or a logarithmic scale, and choices.

A parameter maps its values to places between 0 and 1 on its own scale, and back: draws, grids, the narrowing between
two rounds and the axes of the pictures are all made of that. NumPy is not imported here: ``--help`` reads this module.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlcore._core.validation import is_number, is_whole, plain
from dlcore.errors import ConfigError

__all__ = [
    "Choice", "Parameter", "Range", "Space", "checked", "choice", "grid", "integers", "label", "log", "narrowed",
    "sample", "uniform",
]  # fmt: skip

POINTS = 5
"""Values of a range on a grid, where it does not say how many."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included.

    log : equal ratios are equally likely, not equal differences; needs low > 0
    whole : integers
    points : how many values a grid has, both ends included

    >>> rates = Range(1e-4, 1e-2, log=True, points=3)
    >>> rates.grid(), rates.described(), round(rates.place(1e-3), 6)
    ([0.0001, 0.001, 0.01], 'log:0.0001:0.01:3', 0.5)
    >>> rates.narrowed([1e-3, 2e-3], margin=0.1).described()
    'log:0.000630957:0.00316979:3'
    >>> rates.value(0.001)  # as a journal holds it
    0.001
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False
    points: int = POINTS

    def __post_init__(self) -> None:
        for name in ("low", "high", "log", "whole", "points"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        came = f"the range {self.low!r} to {self.high!r}"
        for end in (self.low, self.high):
            if not is_number(end) or not math.isfinite(end):
                raise ConfigError(f"{came} came but two finite numbers are expected")
            if self.whole and end != int(end):
                raise ConfigError(f"{came} came but whole numbers are expected")
        if self.low > self.high:
            raise ConfigError(f"{came} is reversed; give the smaller number first")
        if not math.isfinite(self.high - self.low):
            raise ConfigError(f"{came} is wider than floats reach; narrow it")
        if self.log and self.low <= 0:
            raise ConfigError(f"{came} came but a logarithmic range begins above 0; raise it, or take a uniform one")
        if not is_whole(self.points) or self.points < 2:
            raise ConfigError(f"points is {self.points!r} but at least 2 values of a range are expected on a grid")

    def at(self, place: float) -> float | int:
        """The value at a place in [0, 1]; of integers each has an equal share of it, on its scale.

        >>> Range(1e-4, 1e-2, log=True).at(0.5), Range(1, 3, whole=True).at(0.5)
        (0.001, 2)
        """
        low, high = self._scaled_ends()
        value = low + (high - low) * place
        value = math.exp(value) if self.log else value
        value = round(value) if self.whole else _shortened(value)
        return min(max(value, self.low), self.high)  # rounding, and the half beyond the ends of integers

    def place(self, value: Any) -> float:
        """Where a value is, in [0, 1]: the inverse of :meth:`at`."""
        low, high = self._scaled_ends()
        scaled = math.log(value) if self.log else float(value)
        return 0.5 if low == high else (scaled - low) / (high - low)

    def grid(self) -> list[Any]:
        """Values at equal distances on the scale, from end to end; of integers each once."""
        ends = Range(self.low, self.high, self.log, points=self.points)
        values = [ends.at(i / (self.points - 1)) for i in range(self.points)]
        values[0], values[-1] = self.low, self.high
        return sorted({round(value) for value in values}) if self.whole else list(dict.fromkeys(values))

    def narrowed(self, best: Sequence[Any], margin: float) -> Range:
        """The range that the values ``best`` span, wider by ``margin`` of this range on each side, and inside it."""
        places = [self.place(value) for value in best]
        low, high = self.at(max(min(places) - margin, 0.0)), self.at(min(max(places) + margin, 1.0))
        return Range(min(low, *best), max(high, *best), self.log, self.whole, self.points)

    def value(self, label: Any) -> Any:
        """The value that :func:`label` has written down."""
        return label

    def described(self) -> str:
        """In words, as ``--search`` takes them, such as ``log:0.0001:0.1``."""
        kind = "log" if self.log else "uniform"
        return f"{kind}:{self.low!r}:{self.high!r}" + f":{self.points}" * (self.points != POINTS)

    def _scaled_ends(self) -> tuple[float, float]:
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        return (math.log(low), math.log(high)) if self.log else (low, high)


@dataclass(frozen=True)
class Choice:
    """One of some values: numbers, words, yes or no, or lists, such as the units of hidden layers.

    >>> units = Choice((16, 32, (64, 32)))
    >>> units.at(0.0), units.grid(), units.described(), units.numeric
    (16, [16, 32, (64, 32)], '16,32,64+32', False)
    >>> units.place(32), units.narrowed([32, 32], margin=0.1), units.value("64+32")
    (0.5, Choice(values=(32,)), (64, 32))
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", plain(self.values))
        if not self.values:
            raise ConfigError("a choice of nothing came but at least one value is expected")
        for value in self.values:
            parts = value if isinstance(value, tuple) else (value,)
            if any(part != part or not isinstance(part, bool | int | float | str | None) for part in parts):
                raise ConfigError(
                    f"a choice has {value!r:.60} but numbers, words, yes or no, None, or lists of these are expected"
                )
        twice = any(value in self.values[:i] for i, value in enumerate(self.values))  # 1 is True too
        if twice or len({str(label(value)) for value in self.values}) < len(self.values):
            raise ConfigError(f"a choice has {', '.join(str(label(v)) for v in self.values)}; give each value once")

    @property
    def numeric(self) -> bool:
        """Whether the values have an order, by which they can be ranked."""
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)

    def at(self, place: float) -> Any:
        """The value at a place in [0, 1]; each has an equal share of it."""
        return self.values[min(int(place * len(self.values)), len(self.values) - 1)]

    def place(self, value: Any) -> float:
        """The middle of the value's share: the first value's is 1 / 2n."""
        return (self.values.index(value) + 0.5) / len(self.values)

    def grid(self) -> list[Any]:
        """All values."""
        return list(self.values)

    def narrowed(self, best: Sequence[Any], margin: float) -> Choice:
        """The values that occur in ``best``.

        best : values of this choice
        margin : ignored, for values of a choice have no distance
        """
        return Choice(tuple(value for value in self.values if value in best))

    def value(self, label_: Any) -> Any:
        """The value that :func:`label` has written down."""
        return next(value for value in self.values if label(value) == label_)

    def described(self) -> str:
        """In words, as ``--search`` takes them, such as ``32,64+32``."""
        return ",".join(str(label(value)) for value in self.values)


Parameter = Range | Choice
Space = Mapping[str, Parameter]


def log(low: float, high: float, points: int = POINTS) -> Range:
    """Numbers from ``low`` to ``high``, as likely between 0.001 and 0.01 as between 0.01 and 0.1.

    points : how many values a grid has

    Between 0.0001 and 1 a uniform draw would spend 90 % of the trials above 0.1.

    >>> log(1e-4, 1e-1).described()
    'log:0.0001:0.1'
    """
    return _range(low, high, points, log=True)


def uniform(low: float, high: float, points: int = POINTS) -> Range:
    """Numbers from ``low`` to ``high``, each equally likely.

    points : how many values a grid has

    >>> uniform(0.0, 0.5, points=3).grid()
    [0.0, 0.25, 0.5]
    """
    return _range(low, high, points)


def integers(low: int, high: int, points: int = POINTS, log: bool = False) -> Range:
    """Whole numbers from ``low`` to ``high``, both included.

    points : how many values a grid has
    log : on a logarithmic scale

    >>> integers(8, 128, log=True).grid()
    [8, 16, 32, 64, 128]
    """
    return _range(low, high, points, log=log, whole=True)


def _range(low: float, high: float, points: int, log: bool = False, whole: bool = False) -> Range:
    low, high = _plain(low), _plain(high)
    if low == high:
        raise ConfigError(f"a range from {low!r} to {high!r} came, which leaves nothing to search; widen it")
    return Range(low, high, log, whole, points)


def choice(*values: Any) -> Choice:
    """One of the values; a list or tuple among them is one value.

    >>> choice(64, (64, 32)).grid()
    [64, (64, 32)]
    """
    return Choice(tuple(_plain(value) for value in values))


def label(value: Any) -> Any:
    """A value as the journal holds it: a list in words.

    >>> label((64, 32)), label(0.1)
    ('64+32', 0.1)
    """
    return "+".join(map(str, value)) if isinstance(value, tuple) else value


def checked(space: Any) -> dict[str, Parameter]:
    """The space as a dict. ConfigError where it is empty or holds something else than parameters by name."""
    if not isinstance(space, Mapping) or not space:
        raise ConfigError(f"space is {space!r:.60} but parameters by name are expected, such as lr=tune.log(1e-4, 0.1)")
    for name, parameter in space.items():
        if not isinstance(name, str):
            raise ConfigError(f"space: a parameter is called {name!r:.60} but a word is expected")
        if not isinstance(parameter, Range | Choice):
            raise ConfigError(
                f"space: {name} is {parameter!r:.60} but tune.log, uniform, integers or choice is expected"
            )
    return dict(space)


def sample(space: Space, seed: int, number: int) -> dict[str, Any]:
    """The values of trial ``number``, drawn at random: a function of the seed, the number and each parameter's name.

    Neither the other parameters, nor the other trials, nor who asks for them changes a draw.

    >>> two = sample({"lr": log(1e-4, 1e-1), "dropout": uniform(0, 0.5)}, seed=0, number=7)
    >>> sample({"lr": log(1e-4, 1e-1)}, seed=0, number=7)["lr"] == two["lr"]
    True
    """
    from backends.random import derive

    drawn = {}
    for name, parameter in space.items():
        high, low = derive(seed, "tune", name, number)
        drawn[name] = parameter.at(((high << 32 | low) >> 11) * 2.0**-53)  # [0, 1), 53 bits
    return drawn


def grid(space: Space) -> Iterator[dict[str, Any]]:
    """Every combination of the parameters' grids, the last parameter changing fastest."""
    for values in itertools.product(*(parameter.grid() for parameter in space.values())):
        yield dict(zip(space, values, strict=True))


def narrowed(space: Space, best: Sequence[Mapping[str, Any]], margin: float) -> dict[str, Parameter]:
    """The space that the settings ``best`` span; see :meth:`Range.narrowed` and :meth:`Choice.narrowed`."""
    return {name: parameter.narrowed([one[name] for one in best], margin) for name, parameter in space.items()}


def _plain(value: Any) -> Any:
    """NumPy's scalars as Python's, lists as tuples: what a journal can hold."""
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return value.item() if getattr(value, "shape", None) == () else value


def _shortened(value: float) -> float:
    """Six significant digits, so that what is printed is what was tried."""
    return float(f"{value:.6g}")
