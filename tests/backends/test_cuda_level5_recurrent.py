"""Level 5: the recurrent CUDA kernels on the host: all outputs' gradients, what is launched, padding, and float16."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import shim
import standin
from arrays import Backend
from case import SUMS, outputs
from host_cuda import alternative, numbers, on_random_shapes, place, tolerance, widened
from hypothesis import strategies as st
from recurrent_cases import computed_rows

from backends.cuda import requirements
from backends.dispatch import explain, kernels
from backends.namespace import NUMPY
from backends.runtime import copies

pytestmark = [pytest.mark.level5, pytest.mark.usefixtures("built_units")]

CELLS = {"rnn": (1, 1), "lstm": (4, 2), "gru": (3, 1)}  # gates and states
every_cell = pytest.mark.parametrize("name", CELLS)
Lengths = tuple[int, ...] | None


def cell(name: str, n: int, steps: int, d: int, units: int, dtype: str = "float32", seed: int = 0) -> list[np.ndarray]:
    """x, u, w, b, for a GRU bn, and the states."""
    gates, states = CELLS[name]
    rng = np.random.default_rng(seed)
    shapes = [(n, steps, d), (d, gates * units), (units, gates * units), (gates * units,)]
    shapes += [(units,)] * (name == "gru") + [(n, units)] * states
    return [(0.5 * rng.standard_normal(shape)).astype(dtype) for shape in shapes]


def call(lengths: Lengths, steps: int, reverse: bool) -> tuple[np.ndarray | None, dict[str, Any]]:
    return computed_rows(lengths, steps, reverse), {"lengths": lengths, "reverse": reverse}


def both(pair: Any, xp: Any, inputs: list[Any], dys: list[Any], needed: list[bool], how: dict[str, Any]) -> list[Any]:
    """The outputs, and the gradients from those of all outputs."""
    y, saved = pair.forward(xp, *inputs, needed=needed, **how)
    dx = pair.backward(xp, tuple(dys), saved, needed=needed, **how)
    return [*y, *(gradient for gradient, wanted in zip(dx, needed, strict=True) if wanted)]


def agree_in_all_outputs(arrays: Backend, name: str, host: list[Any], dys: list[Any], how: dict[str, Any]) -> None:
    """Against the reference in float64; the arrays that are floats have gradients, outputs without ``dys`` none."""
    needed = [isinstance(x, np.ndarray) and x.dtype.kind == "f" for x in host]
    expected = both(kernels()[name], NUMPY, widened(host), widened(dys), needed, how)
    inputs = place(arrays, host)
    pair = alternative(name, arrays, inputs, how)
    results = both(pair, arrays.device.xp, inputs, place(arrays, dys), needed, how)
    for position, (result, value) in enumerate(zip(results, expected, strict=True)):
        result = arrays.host(result)
        tolerance(name, result, SUMS).check(result, value, f"{name}, {how}, result {position}")


@on_random_shapes
def test_cells_of_any_size(arrays: Backend, draw: Any, dtype: str) -> None:
    """States given or not, and every set of outputs that is used."""
    name = draw(st.sampled_from([*CELLS]))
    n, steps, d, units = [draw(st.integers(1, most)) for most in (6, 7, 6, 20)]
    host: list[Any] = [*cell(name, n, steps, d, units, dtype, draw(st.integers(0, 99)))]
    for place_ in range(1, CELLS[name][1] + 1):
        host[-place_] = draw(st.sampled_from([host[-place_], None]))
    lengths = draw(st.one_of(st.none(), st.lists(st.integers(1, steps), min_size=n, max_size=n).map(tuple)))
    rows, how = call(lengths, steps, draw(st.booleans()))
    dys = [numbers(draw, dtype, n, steps, units)]
    dys += [numbers(draw, dtype, n, units) for _ in range(CELLS[name][1])]
    used = draw(st.lists(st.booleans(), min_size=len(dys), max_size=len(dys)).filter(any))
    agree_in_all_outputs(arrays, name, [*host, rows], [dy if u else None for dy, u in zip(dys, used, strict=True)], how)


@every_cell
@pytest.mark.parametrize("lengths", [None, (2, 5, 1, 5, 3)])
def test_a_step_is_a_product_and_a_launch(name: str, lengths: Lengths, host_cuda: Backend):
    host, steps = cell(name, 5, 5, 3, 4), 5
    rows, how = call(lengths, steps, False)
    inputs, xp, needed = place(host_cuda, [*host, rows]), host_cuda.device.xp, [True] * len(host) + [False]
    pair, dy = alternative(name, host_cuda, inputs, how), host_cuda.place(np.ones((5, 5, 4), np.float32))
    calls: Counter[str] = Counter()
    with shim.recorded() as launches, standin.hook(lambda event: calls.update([event.call])), copies.guard("forbid"):
        y, saved = pair.forward(xp, *inputs, needed=needed, **how)
        assert sum(count for made, count in calls.items() if "matmul" in made) == 1 + steps
        pair.backward(xp, (dy, *[None] * (len(y) - 1)), saved, needed=needed, **how)
    names = [launch.kernel for launch in launches]
    around = ["gather_rows", "initial_state"], ["initial_gradient", "scatter_rows"]
    sums = ["column_sums"] * (1 + (name == "gru"))  # of the biases
    around_all = [*around[0], *around[1], *sums]
    assert sorted(names) == sorted([*around_all, *[f"{name}_step"] * steps, *[f"{name}_gradient"] * steps])
    active = [5] * 5 if lengths is None else [5, 4, 3, 2, 2]
    counts = [launch.before[-6 if "step" in launch.kernel else -5] for launch in launches if name in launch.kernel]
    assert counts == [4 * count for count in [*active, *active[::-1]]], "padding is not computed with"
    # Forward x u and each step; backward each step, and one each for x, u and w.
    assert sum(count for made, count in calls.items() if "matmul" in made) == 1 + 2 * steps + 3


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_what_stands_in_padding_changes_no_bit(name: str, reverse: bool, host_cuda: Backend):
    lengths = (2, 4, 1)
    host = cell(name, 3, 4, 3, 5)
    behind = np.arange(4) >= np.array(lengths)[:, None]
    sick = [np.where(behind[..., None], np.float32(math.nan), host[0]), *host[1:]]
    rows, how = call(lengths, 4, reverse)
    xp, needed = host_cuda.device.xp, [True] * len(host) + [False]
    kept = []
    for arrays in (host, sick):
        inputs = place(host_cuda, [*arrays, rows])
        dy = np.where(behind[..., None], np.float32(math.nan if arrays is sick else 0.0), np.float32(1.0))
        dys = [host_cuda.place(np.ascontiguousarray(np.broadcast_to(dy, (3, 4, 5)))), *[None] * CELLS[name][1]]
        results = both(alternative(name, host_cuda, inputs, how), xp, inputs, dys, needed, how)
        kept.append([host_cuda.host(result) for result in results])
    assert all(one.tobytes() == other.tobytes() for one, other in zip(*kept, strict=True))
    for padded in (kept[1][0], kept[1][1 + CELLS[name][1]]):  # y and dx
        assert not padded[behind].any()


@every_cell
@pytest.mark.parametrize("lengths", [None, (7, 2, 7), (1, 1, 1), (3, 1, 1)])
def test_without_gradients_only_the_states_of_two_steps_are_held(name: str, lengths: Lengths, host_cuda: Backend):
    host = cell(name, 3, 7, 2, 4)
    rows, how = call(lengths, 7, True)
    inputs, xp = place(host_cuda, [*host, rows]), host_cuda.device.xp
    pair = alternative(name, host_cuda, inputs, how)
    trained, _ = pair.forward(xp, *inputs, needed=[True] * len(host) + [False], **how)
    with shim.recorded() as launches:
        y, saved = pair.forward(xp, *inputs, needed=[False] * len(inputs), **how)
    assert saved is None
    assert all(host_cuda.host(a).tobytes() == host_cuda.host(b).tobytes() for a, b in zip(y, trained, strict=True))
    before = next(launch.before[3] for launch in launches if launch.kernel == "initial_state")
    assert before.shape == (min(6, 21 if lengths is None else sum(lengths)), 4)


def test_what_a_step_adds_little_to_is_carried_on_in_float32(host_cuda: Backend):
    """In float16 the state of this GRU would stop at 0.5, and the cell of this LSTM at 0.25."""
    dtype = np.float16
    x, nothing = np.zeros((1, 3000, 1), dtype), lambda *shape: np.zeros(shape, dtype)
    cases = {
        "gru": ([nothing(1, 3), nothing(1, 3), np.array([0, 7, 1], dtype), nothing(1), None], 0.6),
        "lstm": ([nothing(1, 4), nothing(1, 4), np.array([-9.1, 20, 5, 0], dtype), None, None], 0.29),
    }
    for name, (arrays, least) in cases.items():
        inputs, how = [x, *arrays, None], {"lengths": None, "reverse": False}
        expected = outputs(kernels()[name].forward(NUMPY, *widened(inputs), needed=[False] * len(inputs), **how)[0])
        placed = place(host_cuda, inputs)
        pair = alternative(name, host_cuda, placed, how)
        results, _ = pair.forward(host_cuda.device.xp, *placed, needed=[False] * len(inputs), **how)
        assert expected[-1].item() > least
        np.testing.assert_allclose(host_cuda.host(results[-1]), expected[-1], rtol=2e-3)


def test_reasons_to_decline(host_cuda: Backend, monkeypatch: pytest.MonkeyPatch):
    host = cell("gru", 2, 3, 4, 5)
    how = {"lengths": None, "reverse": False}
    gru, inputs = kernels()["gru"], place(host_cuda, [*host, None])
    assert explain(gru, *inputs, **how).taken == "GRUByProducts"
    wide = [*inputs[:5], host_cuda.place(host[5].astype(np.float64)), None]
    assert "array 6 is of float64, and others of float32" in str(explain(gru, *wide, **how))
    assert "x has 0 elements" in str(explain(gru, inputs[0][:0], *inputs[1:5], None, None, **how))
    monkeypatch.setattr(requirements, "LARGEST", 80)
    assert "all gates has 90 elements, 80 or more" in str(explain(gru, *inputs, **how))
    monkeypatch.setattr(requirements, "LARGEST", 40)
    narrow = place(host_cuda, [*cell("rnn", 7, 2, 1, 3)[:4], None, None])
    assert "y has 42 elements, 40 or more" in str(explain(kernels()["rnn"], *narrow, **how))
