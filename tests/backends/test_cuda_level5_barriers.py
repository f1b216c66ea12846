"""Level 5: barriers of the CUDA kernels on the host: no order of the threads shows, and every barrier is needed."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import shim
from arrays import Backend
from host_cuda import (
    alternative,
    both_passes,
    half_steps,
    place,
)

from backends.cuda import compile, conv
from backends.dispatch import kernels

pytestmark = [pytest.mark.level5, pytest.mark.usefixtures("built_units")]


def a_sample(arrays: Backend) -> list[shim.Launch]:
    """Launches of every kernel with barriers, large enough for each of its loops."""
    rng, xp = np.random.default_rng(0), arrays.device.xp
    normal = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    with shim.recorded() as launches:
        for name, host, params in (
            ("batch_norm", [normal(300, 5), normal(5), normal(5)], {"eps": 1e-5}),
            ("batch_norm", [normal(70, 33), normal(33), normal(33)], {"eps": 1e-5}),
            ("batch_norm_relu", [normal(300, 5), normal(5), normal(5)], {"eps": 1e-5, "pool": None}),
            ("cross_entropy", [normal(300, 40), rng.integers(0, 40, 300), normal(300) ** 2], {"label_smoothing": 0.1}),
        ):
            inputs = place(arrays, host)
            needed = [(x.dtype.kind == "f" and name != "cross_entropy") or i == 0 for i, x in enumerate(host)]
            pair = alternative(name, arrays, inputs, params)
            dy = arrays.place(normal(*host[0].shape) if name.startswith("batch_norm") else np.asarray(normal(1)[0]))
            both_passes(pair, xp, inputs, needed, dy, **params)
        inputs = place(arrays, [normal(600, 2), normal(2, 34), normal(34)])
        pair = alternative("linear_relu", arrays, inputs, {})
        both_passes(pair, xp, inputs, [True] * 3, arrays.place(normal(600, 34)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(conv, "COLUMNS", 0)  # nor the columns of one window
            host = [normal(2, 5, 6, 3), normal(3, 2, 3, 35), normal(35)]
            how: dict[str, Any] = {"stride": (1, 2), "padding": ((1, 1), (1, 0)), "dilation": (1, 1)}
            inputs = place(arrays, host)
            pair = alternative("conv2d", arrays, inputs, how)
            both_passes(pair, xp, inputs, [True] * 3, arrays.place(normal(2, 5, 3, 35)), **how)
        tiled = {"padding": ((1, 1), (1, 1)), "border": "reflect", "stride": (1, 1)}
        for name, host, needed, params in (
            ("correlate_separable", [normal(1, 7, 40, 5), normal(3), normal(3)], [True] * 3, tiled),
            ("l1_distances", [normal(40, 19), normal(35, 19)], [False] * 2, {}),
        ):
            inputs = place(arrays, host)
            both_passes(
                alternative(name, arrays, inputs, params), xp, inputs, needed, arrays.place(normal(*host[0].shape)),
                **params,
            )  # fmt: skip
        x, norm = arrays.place(normal(20_000)), arrays.place(np.zeros((), np.float32))
        kernels()["clip_by_norm_"](x, norm, limit=1.0)
        for spoilt in (False, True):
            half_steps(arrays, 20_000, spoilt)
    return launches


def test_every_order_of_the_threads_gives_the_same_bits(host_cuda: Backend):
    for launch_ in a_sample(host_cuda):
        assert all(launch_.again(seed=seed) for seed in (*shim.SCHEDULES, 8, 9)), launch_.kernel


def test_without_any_one_barrier_some_order_shows_it(host_cuda: Backend):
    sample = a_sample(host_cuda)
    mutants = {(launch_.unit, launch_.kernel, line) for launch_ in sample for line in launch_.barriers}
    for unit, kernel, line in mutants:
        mine = [launch_ for launch_ in sample if (launch_.unit, launch_.kernel) == (unit, kernel)]
        seen = any(not launch_.again(seed=seed, skipped=line) for launch_ in mine for seed in shim.SCHEDULES)
        assert seen, f"{kernel} needs no barrier at line {line}: {unit[0].splitlines()[line - 1]}"
    assert len({kernel for _, kernel, _ in mutants}) >= 5
    for unit in {launch_.unit for launch_ in sample}:
        lines = [i for i, text in enumerate(unit[0].splitlines(), start=1) if re.search(r"\b__sync\w+\(", text)]
        assert set(lines) == {line for own, _, line in mutants if own == unit}, "a barrier that no launch reaches"


def test_the_sample_has_every_file_with_barriers(host_cuda: Backend):
    with_barriers = {code for _, code, _ in compile.sources() if "__sync" in code}
    assert {launch_.unit[0] for launch_ in a_sample(host_cuda) if launch_.barriers} == with_barriers
