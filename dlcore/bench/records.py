"""Figures in files: JSON as pytest-benchmark writes it, so that its tools read ours, and the other way round.

A benchmark's name is the workload with the place in brackets, ``group`` is the suite, and ``extra_info`` holds what
pytest-benchmark has no field for. What is measured once (imports, first calls, copies) stands under ``dlcore``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backends.runtime.threads import kernel_threads
from dlcore.bench.measure import Outcome
from dlcore.bench.provenance import commit_info, machine, machine_info
from dlcore.errors import DataError
from dlcore.version import __version__

__all__ = ["Entry", "Run", "document", "read", "run_of"]

EPS = 2.0**-23
"""The spacing of float32 numbers at 1: the unit in the last place of the largest element, where that is below 2."""


@dataclass(frozen=True)
class Entry:
    """One benchmark.

    key : what it is matched by, without its place
    name : what is shown
    place : "cpu", or empty where the file does not say
    median, q1, q3 : seconds; without quartiles all three are the median
    error : relative to float64; None where it is not known
    """

    key: str
    name: str
    place: str
    median: float
    q1: float
    q3: float
    throughput: float | None = None
    unit: str = ""
    error: float | None = None

    @property
    def spread(self) -> float:
        """The distance of the quartiles relative to the median."""
        return (self.q3 - self.q1) / self.median


@dataclass(frozen=True)
class Run:
    """What a file, or a measurement, says of its benchmarks and of where they come from, in words.

    devices : what each place is made of, by its name; empty where the file does not say
    """

    entries: tuple[Entry, ...]
    machine: str
    software: str
    commit: str
    date: str
    devices: Mapping[str, str]

    def at(self, place: str) -> Run:
        """The part of one place."""
        entries = tuple(entry for entry in self.entries if entry.place == place)
        devices = {name: title for name, title in self.devices.items() if name == place}
        return Run(entries, self.machine, self.software, self.commit, self.date, devices)


def document(outcome: Outcome, devices: Mapping[str, str], blas: int = 1) -> dict[str, Any]:
    """The object that is written; ``devices`` says what each place is made of, ``blas`` has the threads of the BLAS."""
    return {
        "machine_info": machine_info(),
        "commit_info": commit_info(),
        "benchmarks": [
            {
                "group": figure.suite,
                "name": f"{figure.workload}[{figure.place}]",
                "fullname": f"dlcore bench {figure.suite}::{figure.workload}[{figure.place}]",
                "params": {"device": figure.place},
                "param": figure.place,
                "extra_info": {
                    "workload": figure.workload,
                    "device": figure.place,
                    "throughput": figure.throughput,
                    "unit": figure.unit,
                    "error": figure.error if math.isfinite(figure.error) else None,
                    "error_ulp": figure.error / EPS if math.isfinite(figure.error) else None,
                    "implementation": figure.implementation,
                    "break_even": outcome.break_even.get(figure.workload),
                },
                "options": {"timer": "perf_counter", "warmup": True, "min_rounds": figure.stats["rounds"]},
                "stats": figure.stats,
            }
            for figure in outcome.figures
        ],
        "datetime": datetime.now(UTC).isoformat(),
        "version": __version__,
        "dlcore": {
            "version": __version__,
            "machine": machine(),
            "threads": {"BLAS": blas, "kernels": kernel_threads()},
            "devices": dict(devices),
            "starting": outcome.starting,
            "transfer": outcome.transfer,
        },
    }


def read(path: str) -> Run:
    """The figures of a file; DataError, naming it, where it is none of pytest-benchmark's format."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        reason = "nothing is in it" if not str(error) or "char 0" in str(error) else f"{error}"
        raise DataError(f"{path}: no JSON ({reason:.80}); dlcore bench --json FILE writes one") from None
    if not isinstance(content, dict) or not isinstance(content.get("benchmarks"), list):
        raise DataError(
            f"{path}: it has no list of benchmarks; write it by dlcore bench --json or pytest --benchmark-json"
        )
    if not content["benchmarks"]:
        raise DataError(f"{path}: its list of benchmarks is empty; measure again")
    return run_of(content, path)


def run_of(content: Mapping[str, Any], path: str) -> Run:
    """What an object of pytest-benchmark's format says; ``path`` is named in a DataError."""
    entries = tuple(_entry(one, path, place) for place, one in enumerate(content["benchmarks"], 1))
    seen: set[tuple[str, str]] = set()
    for entry in entries:
        if (entry.key, entry.place) in seen:
            raise DataError(f"{path}: {entry.key!r} is in it twice; take each name once")
        seen.add((entry.key, entry.place))
    own, found, commit = _dict(content, "dlcore"), _dict(content, "machine_info"), _dict(content, "commit_info")
    of, cpu = _dict(own, "machine"), _dict(found, "cpu")
    cores = of.get("cores") or cpu.get("count")
    python = f"Python {found.get('python_version', 'unknown')}"
    software = [f"dlcore {own['version']}"] if "version" in own else []
    software += [python, *([f"NumPy {of['numpy']}", of["blas"]] if {"numpy", "blas"} <= set(of) else [])]
    if threads := _dict(own, "threads"):
        software.append(f"threads {' and '.join(f'{count} ({name})' for name, count in threads.items())}")
    software += [f"{name}={value}" for name, value in _dict(of, "environment").items()]
    return Run(
        entries=entries,
        machine=_plain(f"{cpu.get('brand_raw') or found.get('processor') or 'unknown'}, {cores or 'unknown'} cores"),
        software=_plain(", ".join(map(str, software))),
        commit=_plain(f"{str(commit.get('id') or 'unknown')[:12]}{' with changes' if commit.get('dirty') else ''}"),
        date=_plain(str(content.get("datetime", "unknown"))[:16].replace("T", " ")),
        devices={_plain(str(name)): _plain(str(title)) for name, title in _dict(own, "devices").items()},
    )


def _entry(one: Any, path: str, place: int) -> Entry:
    stats = _dict(one if isinstance(one, dict) else {}, "stats")
    name = one.get("name") if isinstance(one, dict) else None
    median, q1, q3 = (_number(stats.get(field)) for field in ("median", "q1", "q3"))
    if not isinstance(name, str) or not median or median <= 0:
        raise DataError(f"{path}: benchmark {place} has no name, or no median time above 0; write the file again")
    if q1 is None or q3 is None or not 0 < q1 <= median <= q3:
        q1 = q3 = median
    extra = _dict(one, "extra_info")
    ours = isinstance(extra.get("workload"), str) and isinstance(extra.get("device"), str)
    return Entry(
        key=_plain(extra["workload"] if ours else str(one.get("fullname", name))),
        name=_plain(extra["workload"] if ours else name),
        place=_plain(extra["device"]) if ours else "",
        median=median,
        q1=q1,
        q3=q3,
        throughput=_number(extra.get("throughput")),
        unit=_plain(str(extra.get("unit", ""))),
        error=_number(extra.get("error")),
    )


def _dict(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name)
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= 1e300 and math.isfinite(value) else None


def _plain(text: str) -> str:
    """In one line, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
