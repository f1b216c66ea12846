"""What the rounds gave, as tables on the terminal and as JSON."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.peers import starting
from benchmarks.peers.frameworks import FRAMEWORKS
from benchmarks.peers.rounds import ROOT, Measured, Series
from benchmarks.provenance import commit_of, machine

__all__ = ["Ratio", "as_json", "head", "print_head", "print_starting", "print_suite", "print_tail", "ratios_of"]

MIB = 2**20

BUSY = 0.5
"""Processes a core that others run, from which on a figure is doubtful."""


@dataclass(frozen=True)
class Ratio:
    """The best peer's time over that of dlcore with one setting: above 1 dlcore is faster."""

    suite: str
    workload: str
    part: str
    setting: str
    of_medians: float
    to_median_of: str
    of_bests: float
    to_best_of: str


def _parts(series: Sequence[Series]) -> Iterator[tuple[str, str, list[Series]]]:
    """(workload, part, its series), dlcore first."""
    groups: dict[tuple[str, str], list[Series]] = {}
    for one in series:
        groups.setdefault((one.workload, one.part), []).append(one)
    for (workload, part), group in groups.items():
        order = list(FRAMEWORKS)
        yield workload, part, sorted(group, key=lambda one: order.index(one.framework))


def ratios_of(series: Sequence[Series]) -> list[Ratio]:
    """The ratio of every part that dlcore and at least one peer have done, for each of dlcore's settings."""
    found = []
    for workload, part, group in _parts(series):
        peers = [one for one in group if not one.ours]
        if not peers:
            continue
        median, best = min(peers, key=lambda one: one.median), min(peers, key=lambda one: one.best)
        found += [
            Ratio(one.suite, workload, part, one.setting, median.median / one.median, median.label,
                  best.best / one.best, best.label)
            for one in group
            if one.ours
        ]  # fmt: skip
    return found


# --- on the terminal


def print_head(console: Console, about: dict[str, Any]) -> None:
    of = about["machine"]
    console.print(f"{of['cpu']}, {of['cores']} cores, load {_load(about['load']['start'])}; {of['system']}")
    names = [f"{FRAMEWORKS[name].title} {version}" for name, version in about["versions"].items() if name != "numpy"]
    console.print(f"{', '.join(names)}; Python {of['python']}, NumPy {of['numpy']}, {of['blas']}")
    settings = "".join(f", {name}={value}" for name, value in of["environment"].items())
    console.print(f"commit {about['commit']}{' with changes' if about['changes'] else ''}{settings}")
    load = about["load"]["start"]
    if load is not None and load[0] > BUSY * of["cores"]:
        console.print("the machine is busy: threads that wait for a core distort every figure; measure when it is idle")
    for line in about["missing"].values():
        console.print(line)
    console.print(
        "ratio: the fastest peer's (*) time over dlcore's, above 1 dlcore is faster; in brackets: of one peer"
    )


def _load(averages: Sequence[float] | None) -> str:
    return "unknown" if averages is None else " ".join(f"{x:.2f}" for x in averages)


def print_tail(console: Console, threads: dict[str, str]) -> None:
    """How the figures came about: who had how many threads, and whether the machine was busy."""
    if threads:
        console.print("\nthreads: " + "; ".join(f"{name}: {text}" for name, text in threads.items()))
    console.print(f"load at the end {_load(_averages())}")


def print_suite(console: Console, suite: str, measured: Measured) -> None:
    """The table of a suite; * marks the best peer, to which dlcore's ratios are; in brackets each peer's own."""
    series, memory = measured.of(suite), suite == "training"
    ratios = {(r.workload, r.part, r.setting): r for r in ratios_of(series)}
    table = Table(box=None, pad_edge=False)
    for name in (f"{suite}, milliseconds", ""):
        table.add_column(name, no_wrap=True)
    for name in ("best", "median", "ratio of medians", "of bests", *(("peak - import, MiB", "peak") if memory else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for workload, part, group in _parts(series):
        peers = [one for one in group if not one.ours]
        for i, one in enumerate(group):
            table.add_row(
                f"{workload}: {part}" if i == 0 else "",
                one.label,
                f"{one.best:.3f}{_mark(one.best, [p.best for p in peers], one)}",
                f"{one.median:.3f}{_mark(one.median, [p.median for p in peers], one)}",
                *_ratio(one, group[0], ratios.get((workload, part, one.setting))),
                *(_memory(one) if memory else ()),
                style="bold" if one.ours else "",
            )
    console.print()
    console.print(table)
    _print_means(console, list(ratios.values()))
    for failure in measured.failures:
        if failure.suite == suite:
            console.print(f"failed: {failure}")


def _mark(figure: float, of_peers: Sequence[float], one: Series) -> str:
    return "*" if not one.ours and figure == min(of_peers) else " "


def _ratio(one: Series, first: Series, ratio: Ratio | None) -> tuple[str, str]:
    """In dlcore's rows the ratio of the best peer; in a peer's row its own to dlcore's first setting."""
    if not first.ours or (one.ours and ratio is None):
        return "", ""
    if one.ours and ratio is not None:
        return f"{ratio.of_medians:.2f}", f"{ratio.of_bests:.2f}"
    return f"({one.median / first.median:.2f})", f"({one.best / first.best:.2f})"


def _memory(one: Series) -> tuple[str, str]:
    pairs = [(p, i) for p, i in zip(one.peak_bytes, one.imported_bytes, strict=True) if p is not None and i is not None]
    if not pairs:
        return "unknown", "unknown"
    came, peak = statistics.median(p - i for p, i in pairs), statistics.median(p for p, _ in pairs)
    return f"{came / MIB:.0f}", f"{peak / MIB:.0f}"


def _print_means(console: Console, ratios: Sequence[Ratio]) -> None:
    for setting in dict.fromkeys(r.setting for r in ratios):
        mine = [r for r in ratios if r.setting == setting]
        if len(mine) > 1:
            medians = statistics.geometric_mean(r.of_medians for r in mine)
            bests = statistics.geometric_mean(r.of_bests for r in mine)
            behind = sum(r.of_medians < 1 for r in mine)
            console.print(
                f"dlcore, {setting}: geometric mean of {len(mine)} ratios {medians:.2f}, of bests {bests:.2f}; "
                f"behind the best peer in {behind}"
            )


def print_starting(console: Console, seconds: dict[str, list[float]]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("compile, seconds of a whole process", no_wrap=True)
    for name in ("best", "median"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("target", no_wrap=True)
    for row in starting.rows(seconds):
        table.add_row(*row)
    console.print()
    console.print(table)


# --- JSON


def _averages() -> list[float] | None:
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else None


def head(versions: dict[str, str], missing: dict[str, str], rounds: int) -> dict[str, Any]:
    """What is known before anything is measured."""
    commit, _, changes = commit_of(ROOT).partition("+")
    return {
        "commit": commit,
        "changes": bool(changes),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "load": {"start": _averages()},
        "rounds": rounds,
        "versions": versions,
        "missing": missing,
    }


def as_json(about: dict[str, Any], measured: Measured, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """The object that :mod:`benchmarks.peers` describes."""
    series = list(measured.series.values())
    return {
        **about,
        "load": {**about["load"], "end": _averages()},
        "threads": measured.threads,
        "results": [{**vars(one), "best": one.best, "median": one.median} for one in series],
        "ratios": [vars(ratio) for suite in dict.fromkeys(one.suite for one in series)
                   for ratio in ratios_of(measured.of(suite))],
        "failures": [vars(failure) for failure in measured.failures],
        "starting": seconds,
    }  # fmt: skip
