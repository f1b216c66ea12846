"""Every kernel in every dtype on the device, against float64 on the host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from arrays import Backend
from case import outputs
from host_cuda import DTYPES, cases_of, on_host_and_in_float64, tolerance, wanted, widened
from update_rules import RULES, STEPS, TOLERANCE, Rule, gradients, start

from backends import random
from backends.cuda import compile
from backends.diagnostics import selftest
from backends.dispatch import Kernel, kernels, reference_only
from backends.runtime.device import Device
from gpu.result import Result, judged

__all__ = ["Row", "check", "pairs", "table", "updates", "words"]


@dataclass
class Row:
    """One kernel in one dtype.

    share : its largest error as a part of what is allowed, over all cases
    trouble : what it raised, empty where nothing
    """

    kernel: str
    dtype: str
    cases: int = 0
    share: float = 0.0
    trouble: str = ""

    @property
    def ok(self) -> bool:
        """Within what is allowed, which NaN is not, and in at least one case."""
        return self.cases > 0 and self.share <= 1 and not self.trouble

    def __str__(self) -> str:
        what = self.trouble or f"{self.share:.3g} times what is allowed, of {self.cases} cases"
        return f"{self.kernel} in {self.dtype}: {what}"


def check(device: Device) -> Result:
    """The table of cases, the update kernels, the random words, and the self-test of ``dlcore doctor``."""
    arrays = Backend("cuda", device)
    rows = [*table(arrays), *updates(arrays), words(arrays)]
    tested = list(selftest.run(device))
    bad = [str(row) for row in rows if not row.ok]
    bad += [
        f"{one.kernel} ({one.implementation}), self-test: {one.trouble or f'{one.share:.3g} times what is allowed'}"
        for one in tested
        if not one.ok
    ]
    return judged(
        not bad,
        f"{len(rows) + len(tested) - len(bad)} of {len(rows) + len(tested)} rows within bounds",
        worst=bad,
        rows=[asdict(row) for row in rows],
        selftest=[asdict(one) for one in tested],
    )


def pairs(dtype: str) -> list[str]:
    """The kernels with a CUDA alternative that is compiled in a dtype."""
    found = []
    for name, kernel in kernels().items():
        family = kernel.__module__.rpartition(".")[2]
        if name == "matmul" and dtype != "float16":
            continue  # cuBLAS, called by the reference
        if isinstance(kernel, Kernel) and kernel.alternatives.get("cupy") and dtype in compile.DTYPES.get(family, ()):
            found.append(name)
    return found


def table(arrays: Backend, dtypes: tuple[str, ...] = DTYPES, most: int | None = None) -> Iterator[Row]:
    """Each kernel's cases, at most ``most`` of them, by its CUDA alternative: outputs and gradients."""
    kernels()["relu"].choose(arrays.device.xp, [arrays.place(np.ones(1, np.float32))], {})  # registers all of them
    for dtype in dtypes:
        for name in pairs(dtype):
            row = Row(name, dtype)
            for case, host in list(cases_of(name, dtype))[:most]:
                try:
                    shares = [*_shares(arrays, case, host)]
                except Exception as error:  # whatever a broken kernel comes to
                    row.trouble = f"{case}: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
                    break
                row.cases, row.share = row.cases + 1, float(np.max([row.share, *shares]))  # a NaN stays
            yield row


def _shares(arrays: Backend, case: Any, host: list[Any]) -> Iterator[float]:
    results, expected = on_host_and_in_float64(arrays, case.kernel, host, wanted(case), **case.params)
    oracle = outputs(case.oracle(*widened(host), **case.params))
    for result, value in zip(results[: len(oracle)], oracle, strict=True):
        yield tolerance(case.kernel, result, case.tolerance).share(result, value, str(case))
    for result, value in zip(results[len(oracle) :], expected[len(oracle) :], strict=True):
        yield tolerance(case.kernel, result, case.gradient_tolerance).share(result, value, f"{case}, gradient")


def updates(arrays: Backend) -> Iterator[Row]:
    """Steps of each rule against the reference on the host, in the same dtype."""
    for rule in RULES:
        for dtype in ("float32", "float64"):
            row = Row(str(rule), dtype)
            try:
                shares = [_update(arrays, rule, dtype, n, offset) for n, offset in ((64, 0), (1030, 3), (70_000, 0))]
                row.cases, row.share = len(shares), float(np.max(shares))
            except Exception as error:
                row.trouble = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
            yield row


def _update(arrays: Backend, rule: Rule, dtype: str, n: int, offset: int) -> float:
    """On vectors that begin ``offset`` elements behind a multiple of 16 bytes."""
    expected, grads = start(rule, n, dtype), gradients(n, dtype)
    written, *slopes = _parts(arrays, [expected, *([g] for g in grads)], offset)
    for t in range(1, STEPS + 1):
        kernels()[rule.kernel](*written, *slopes[t - 1], **rule.at(t))
        with reference_only():
            kernels()[rule.kernel](*expected, grads[t - 1], **rule.at(t))
    return max(TOLERANCE.share(arrays.host(x), y) for x, y in zip(written, expected, strict=True))


def _parts(arrays: Backend, groups: list[list[np.ndarray]], offset: int) -> list[list[Any]]:
    return [[arrays.place(np.pad(x, (offset, 0)))[offset:] for x in group] for group in groups]


def words(arrays: Backend) -> Row:
    """Random words, the same bits as on the host; a word that differs is infinitely far off."""
    row, device = Row("random words", "uint32"), arrays.device
    for rows, columns, first in ((1, 1, 0), (7, 33, 5), (1000, 785, 2**31)):
        key = random.derive(3, "probe", "level 7", rows)
        made = random.bits(device.xp, key, rows, columns, first_row=first, device=device.native)
        same = np.array_equal(arrays.host(made), random.bits(np, key, rows, columns, first_row=first))
        row.cases, row.share = row.cases + 1, row.share if same else float("inf")
    return row
