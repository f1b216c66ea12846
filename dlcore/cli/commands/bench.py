"""``dlcore bench``: how fast dlcore is here, on one device beside another, and against an earlier run."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from dlcore.cli.options import DEBUG
from dlcore.errors import ConfigError, DeviceError

if TYPE_CHECKING:
    from dlcore.bench.compare import Comparison
    from dlcore.bench.measure import Outcome
    from dlcore.bench.picture import Bars
    from dlcore.bench.places import Place
    from dlcore.bench.records import Run
    from dlcore.bench.table import Column

__all__ = ["bench"]

WIDE = 160
"""Characters in a line where no terminal says how many there are."""

BUSY = 0.5
"""Processes a core that others run, from which on a figure is doubtful."""


def _whole(kind: Any, tokens: Sequence[Any]) -> int:
    """The value of a flag that takes a whole number: cyclopts would round 1.5."""
    flag, value = tokens[0].keyword, tokens[0].value
    if not value.isdecimal() or not 1 <= int(value[:9]) <= 10_000:
        raise ConfigError(f"bench: {flag} is {value!r:.40} but a whole number from 1 to 10000 is expected")
    return int(value)


FAIL_BELOW = Annotated[
    float | None, Parameter(help="exit with 1 where the second's speed, the first's time over its own, is below this")
]
PICTURE = Annotated[str | None, Parameter(help="draw the table: a .png or .svg file")]

bench = App(name="bench")


@bench.default
def run(
    *suites: Annotated[str, Parameter(help="kernels, training [default: both]")],
    device: Annotated[
        str | None,
        Parameter(
            help="cpu, cuda, cuda:N, auto, or cpu-reference for the reference kernels alone "
            "[default: $DLCORE_DEVICE, else auto]"
        ),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        Parameter(negative=(), help="two devices that take turns, such as cpu cuda, instead of --device"),
    ] = None,
    only: Annotated[str | None, Parameter(help="the workloads whose name contains this")] = None,
    quick: Annotated[
        bool, Parameter(negative=(), show_default=False, help="small workloads and few rounds, for CI: seconds")
    ] = False,
    rounds: Annotated[
        int | None, Parameter(converter=_whole, help="figures a workload [default: 15, with --quick 7]")
    ] = None,
    threads: Annotated[int, Parameter(converter=_whole, help="threads of the BLAS on a CPU, as in dlcore train")] = 1,
    json_: Annotated[
        str | None, Parameter(name="--json", help="write the figures to this file, in pytest-benchmark's format")
    ] = None,
    picture: PICTURE = None,
    fail_below: FAIL_BELOW = None,
    debug: DEBUG = False,
) -> int:
    """Measure how fast dlcore is on this machine, or on one device beside another.

    Printed for each workload: the median time of a call in milliseconds; ±, the distance of the quartiles relative to
    it; what is done in a second; the largest error against the reference kernels in float64, relative to the largest
    element; the time of the first call in a fresh process, which compiles. With --compare: speed, A's time over B's,
    so above 1 B is faster; and batch, the smallest batch from which on B is faster (- for never).

    A device of --compare that cannot be used is said, and the other one is measured alone. The exit code is then 0, but
    1 with --fail-below, since nothing could be checked, and where DLCORE_REQUIRE_CUDA=1.
    """
    from dlcore.bench.measure import Asked, Outcome, measure
    from dlcore.bench.records import document, run_of

    _check_flags(json_, picture, fail_below, both=compare is not None)
    asked = Asked(suites, only, quick, rounds)
    works = asked.works()
    places, missing = _places(device, compare, threads)
    devices = {where.name: where.title() for where in places}
    about = _about(run_of(document(Outcome(), devices, threads), ""))
    print("\n".join([*about, *missing, *_busy()]), flush=True)
    with _progress(len(works)) as done:
        outcome = measure(places, asked, done)
    found = document(outcome, devices, threads)
    print("\n".join([*_starting(outcome), *_transfer(outcome)]))
    if len(places) == 2:
        whole = run_of(found, "")
        sides = [whole.at(where.name) for where in places]
        code = _show_two(sides, outcome.break_even, about, picture, fail_below)
    else:
        _show_one(outcome, about, picture)
        code = 0
    if json_ is not None:
        from dlcore.train.checkpoint.arrays import write_atomically

        write_atomically(Path(json_), lambda: json.dumps(found, indent=2, allow_nan=False) + "\n")
        print(f"figures: {json_}")
    if missing and (fail_below is not None or os.environ.get("DLCORE_REQUIRE_CUDA") == "1"):
        raise DeviceError(f"--compare {' '.join(compare or ())}: only {places[0].name} was measured; {missing[0]}")
    return code


@bench.command(name="compare")
def compare_files(
    a: Annotated[str, Parameter(help="figures of dlcore bench --json or pytest --benchmark-json")],
    b: Annotated[str, Parameter(help="the same, later or elsewhere")],
    /,
    *,
    fail_below: FAIL_BELOW = None,
    picture: PICTURE = None,
    debug: DEBUG = False,
) -> int:
    """Compare two files of figures, name by name: speed is A's median time over B's, so above 1 B is faster.

    Files of one device each are compared workload by workload, whatever the device; else each with its device. What is
    in one file only is listed. ± is the larger of the two distances of the quartiles, relative to the median.
    """
    from dlcore.bench.records import read

    _check_flags(None, picture, fail_below, both=True)
    sides = [read(a), read(b)]
    about = []
    for letter, path, side in zip("AB", (a, b), sides, strict=True):
        about += [f"{letter}: {path}, {side.date}", *(f"   {line}" for line in _about(side))]
    for what in ("machine", "software", "commit"):
        first, second = (getattr(side, what) for side in sides)
        if first != second:
            about.append(f"different {what}: {first} in A, {second} in B")
    print("\n".join(about))
    return _show_two(sides, None, about, picture, fail_below)


# --- what was asked for


def _check_flags(json_: str | None, picture: str | None, fail_below: float | None, *, both: bool) -> None:
    from dlcore.bench.picture import SUFFIXES, check_target

    if fail_below is not None and not both:
        raise ConfigError("bench: --fail-below goes with --compare, or with bench compare; leave it out")
    if fail_below is not None and not 0 < fail_below < float("inf"):
        raise ConfigError(f"bench: --fail-below is {fail_below:g} but a number above 0 is expected, such as 0.9")
    if json_ is not None:
        check_target(json_, "--json")
    if picture is not None:
        check_target(picture, "--picture", SUFFIXES)


def _places(device: str | None, compare: tuple[str, str] | None, threads: int) -> tuple[list[Place], list[str]]:
    """Where to measure, and what to say of a device of --compare that cannot be used."""
    from dlcore.bench.places import place

    if compare is None:
        return [place(device, threads)], []
    if device is not None:
        raise ConfigError(f"bench: --compare names both devices and takes no --device {device}; leave it out")
    found, missing = [], []
    for name in dict.fromkeys(compare):
        try:
            found.append(place(name, threads))
        except DeviceError as error:
            if not error.cause:  # a name that stands for nothing
                raise
            missing.append(error)
    if len({where.name for where in found}) + len(missing) < 2:
        raise ConfigError(f"bench: --compare {' '.join(compare)}: both are {found[0].name if found else compare[0]}")
    if not found:
        raise missing[0]
    return found, [str(error) for error in missing]


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], Any]]:
    """A bar on stderr where somebody sees it, moved on by calling what is given.

    It is drawn at these calls alone: a thread that draws would take time from what is measured.
    """
    if not sys.stderr.isatty():
        yield lambda name: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("bench"), BarColumn(), MofNCompleteColumn(), TextColumn("workloads"))
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=total)
        progress.refresh()
        yield lambda name: progress.update(task, advance=1, refresh=True)


# --- what is said


def _about(run: Run) -> list[str]:
    """Devices, machine, versions and commit."""
    lines = [f"{name}: {title}" for name, title in run.devices.items()]
    return [*lines, f"machine: {run.machine}", f"{run.software}, commit {run.commit}"]


def _busy() -> list[str]:
    if not hasattr(os, "getloadavg"):
        return []
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load <= BUSY * cores:
        return []
    return [f"the machine is busy (load {load:.1f} on {cores} cores): every figure is doubtful"]


def _starting(outcome: Outcome) -> list[str]:
    """What a fresh process took before the steady state."""
    words = {"cold": "nothing compiled yet", "cached": "with what is kept on disk"}
    lines = []
    for name, states in outcome.starting.items():
        parts = []
        for state, of in states.items():
            if "error" in of:
                parts.append(f"not measured, {words[state]}: {of['error']}")
            else:
                first = sum(of["first"].values())
                parts.append(f"import {of['import']:.2f} s, first calls {first:.2f} s, {words[state]}")
        lines += [f"start {name}: {'; '.join(parts)}"] if parts else []
    return lines


def _transfer(outcome: Outcome) -> list[str]:
    lines = []
    for name, rates in outcome.transfer.items():
        text = "none, the memory is the host's"
        if rates is not None:
            text = ", ".join(f"{way} {rate / 1e9:.2f} GB/s" for way, rate in rates.items())
        lines.append(f"copies {name}: {text}")
    return lines


def _show_one(outcome: Outcome, about: Sequence[str], picture: str | None) -> None:
    from dlcore.bench.picture import Bars
    from dlcore.bench.table import of_one

    (name,) = outcome.transfer
    states = outcome.starting.get(name, {})
    first = next((of["first"] for of in states.values() if "first" in of), {})
    _print(of_one(outcome.figures, first))
    print("ms: median of a call; ±: between the quartiles; error: relative to float64; first: in a fresh process")
    if picture is not None:
        stats = [figure.stats for figure in outcome.figures]
        bars = Bars(name, *([of[column] for of in stats] for column in ("median", "q1", "q3")))
        _draw(picture, [figure.workload for figure in outcome.figures], [bars], about)


def _show_two(
    sides: Sequence[Run],
    break_even: Mapping[str, int | None] | None,
    about: Sequence[str],
    picture: str | None,
    fail_below: float | None,
) -> int:
    """Table, picture and verdict; the exit code."""
    from dlcore.bench.compare import compare
    from dlcore.bench.table import of_two

    found = compare(*sides)
    labels = [_label(letter, side) for letter, side in zip("AB", sides, strict=True)]
    print(f"{labels[0]}, {labels[1]}")
    _print(of_two(found, break_even))
    print("ms: medians; ±: the larger distance of the quartiles; speed: A's time over B's, above 1 B is faster")
    if break_even is not None:
        print("batch: the smallest from which on B is faster, - for never; error: relative to float64")
    for letter, names in (("A", found.only_a), ("B", found.only_b)):
        if names:
            print(f"only in {letter}: {', '.join(names)}")
    if picture is not None:
        _draw(picture, [pair.name for pair in found.pairs], _bars(found, labels), about)
    below = found.below(fail_below) if fail_below is not None else []
    for pair in below:
        print(f"below {fail_below:g}: {pair.name} has speed {pair.speed:.3g}")
    return 1 if below else 0


def _label(letter: str, run: Run) -> str:
    places = list(dict.fromkeys(entry.place for entry in run.entries if entry.place))
    return f"{letter}: {' and '.join(places)}" if places else letter


def _bars(found: Comparison, labels: Sequence[str]) -> list[Bars]:
    from dlcore.bench.picture import Bars

    sides = ([pair.a for pair in found.pairs], [pair.b for pair in found.pairs])
    return [
        Bars(label, [e.median for e in side], [e.q1 for e in side], [e.q3 for e in side])
        for label, side in zip(labels, sides, strict=True)
    ]


def _print(columns: Sequence[Column]) -> None:
    from dlcore.bench.table import fitted

    width = shutil.get_terminal_size((WIDE, 24)).columns if sys.stdout.isatty() else WIDE
    lines, left_out = fitted(columns, width)
    print("\n".join(lines))
    if left_out:
        print(f"left out for the width: {', '.join(left_out)}")


def _draw(path: str, names: Sequence[str], bars: Sequence[Bars], about: Sequence[str]) -> None:
    from dlcore.bench.picture import draw

    print(f"picture: {draw(path, names, bars, about)}")
