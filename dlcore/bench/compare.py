"""Two sets of figures beside each other: which belong together, and how fast the second is relative to the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dlcore.bench.records import Entry, Run
from dlcore.errors import DataError

__all__ = ["Comparison", "Pair", "compare"]


@dataclass(frozen=True)
class Pair:
    """One workload in both."""

    name: str
    a: Entry
    b: Entry

    @property
    def speed(self) -> float:
        """A's median time over B's: above 1 B is faster."""
        return self.a.median / self.b.median

    @property
    def spread(self) -> float:
        """The larger of the two interquartile ranges, relative to its median."""
        return max(self.a.spread, self.b.spread)


@dataclass(frozen=True)
class Comparison:
    """The pairs, in A's order, and the names that only one of the two has."""

    pairs: tuple[Pair, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]

    def below(self, limit: float) -> list[Pair]:
        """Those whose speed is below a limit."""
        return [pair for pair in self.pairs if pair.speed < limit]


def compare(a: Run, b: Run) -> Comparison:
    """Put together what has one name; where either has several devices, one name on one device.

    So a run on the CPU and one on a GPU, each in its file, compare workload by workload. Raises DataError where no name
    is in both.
    """
    apart = any(len({entry.place for entry in run.entries}) > 1 for run in (a, b))
    first, second = _by_key(a, apart), _by_key(b, apart)
    common = [key for key in first if key in second]
    if not common:
        raise DataError(
            f"bench compare: no name is in both: A has {_few(list(first))}, B has {_few(list(second))}; measure the "
            "same suites, both with or both without --quick"
        )
    short = [_name(first[key], apart) for key in common]
    names = short if len(set(short)) == len(short) else common
    pairs = tuple(Pair(name, first[key], second[key]) for name, key in zip(names, common, strict=True))
    return Comparison(pairs, tuple(k for k in first if k not in second), tuple(k for k in second if k not in first))


def _by_key(run: Run, apart: bool) -> dict[str, Entry]:
    return {f"{entry.key}{_in_brackets(entry, apart)}": entry for entry in run.entries}


def _name(entry: Entry, apart: bool) -> str:
    return f"{entry.name}{_in_brackets(entry, apart)}"


def _in_brackets(entry: Entry, apart: bool) -> str:
    return f"[{entry.place}]" if apart and entry.place else ""


def _few(names: Sequence[str]) -> str:
    return ", ".join([*names[:2], *(["..."] if len(names) > 2 else [])])
