"""Every case of the table on every kind of array, for the reference and for each alternative that takes the call."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from arrays import Backend
from case import SUMS, Case, implementations, outputs, widened
from cases import CASES

import backends.cpu.elementwise
import backends.cpu.requirements
from backends.dispatch import Kernel, kernels
from backends.namespace import NUMPY
from backends.runtime import copies

STEP = 2.0**-10
# Four points leave an error of STEP**4 / 30 times the fifth derivative, which is 1e-12 for numbers of size 1 and up to
# 1e-9 where inputs are near 0.3.
DIFFERENCE = 1e-8


@pytest.fixture(autouse=True)
def _small_calls_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The alternatives take small arrays here, which they would leave to the reference for its speed."""
    monkeypatch.setattr(backends.cpu.requirements, "too_few", lambda x, least: None)
    monkeypatch.setattr(backends.cpu.requirements, "too_little", lambda work, least: None)
    monkeypatch.setattr(backends.cpu.requirements, "too_narrow", lambda side, least: None)
    monkeypatch.setattr(backends.cpu.elementwise, "_LEAST", 0)


def every_case(check: Callable[[Case, Backend], None]) -> Callable[..., None]:
    """A test of each kernel that goes through the kernel's cases with a check of one, and names the one that fails."""

    @pytest.mark.parametrize("kernel", dict.fromkeys(case.kernel for case in CASES))
    def test(kernel: str, arrays: Backend) -> None:
        for case in CASES:
            if case.kernel == kernel:
                try:
                    check(case, arrays)
                except Exception as error:
                    error.add_note(f"in the case {case}")
                    raise

    test.__name__, test.__doc__, test.check = check.__name__, check.__doc__, check
    return test


def every_case_in_both_dtypes(check: Callable[[Case, Backend, str], None]) -> Callable[..., None]:
    """As :func:`every_case`; in float32 too where alternatives run, which may take nothing else."""

    def in_both(case: Case, arrays: Backend) -> None:
        check(case, arrays, "float64")
        if arrays.device.xp is NUMPY and kernels()[case.kernel].alternatives.get("numpy"):
            check(case, arrays, "float32")

    in_both.__name__, in_both.__doc__ = check.__name__, check.__doc__
    return every_case(in_both)


def place(arrays: Backend, host: list[Any]) -> list[Any]:
    return [arrays.place(x) if isinstance(x, np.ndarray) else x for x in host]


def pairs(case: Case, arrays: Backend, inputs: list[Any]) -> Iterator[tuple[str, Any]]:
    # The stand-in runs no CUDA code, so CuPy's alternatives are not for it.
    return implementations(case, arrays.device.xp, inputs, alternatives=arrays.name != "cupy-standin")


def forward(case: Case, pair: Any, xp: Any, inputs: list[Any], needed: list[bool]) -> tuple[tuple[Any, ...], Any]:
    """The outputs and what backward needs."""
    output, saved = pair.forward(xp, *inputs, needed=needed, **case.params)
    return outputs(output), saved


def backward(
    case: Case, pair: Any, xp: Any, inputs: list[Any], dy: Any, needed: list[bool] | None = None
) -> tuple[Any, ...]:
    """The gradients of <first output, dy>; by default for every array that has one. None where the kernel has none."""
    if not case.differentiable:
        return (None,) * len(inputs)
    needed = wanted(case) if needed is None else needed
    results, saved = forward(case, pair, xp, inputs, needed)
    dys = dy if len(results) == 1 else [dy, *[None] * (len(results) - 1)]
    return tuple(pair.backward(xp, dys, saved, needed=needed, **case.params))


def wanted(case: Case) -> list[bool]:
    return [position in case.differentiable for position in range(len(case.arrays))]


def make_dy(case: Case, dtype: str = "float64") -> np.ndarray:
    """A gradient for the first output; rounded to float32, so that it is the same in both dtypes."""
    shape = case.expected("float64")[0].shape
    return np.asarray(np.random.default_rng(11).standard_normal(shape).astype(np.float32), dtype)


@functools.cache
def reference_gradients(case: Case) -> tuple[np.ndarray, ...]:
    """In float64 by NumPy, at the inputs rounded to float32."""
    return backward(case, kernels()[case.kernel], NUMPY, widened(case.host("float32")), make_dy(case))


def test_every_kernel_has_a_case():
    defined = {
        n: k for n, k in kernels().items() if isinstance(k, Kernel) and k.__module__.startswith("backends.reference.")
    }
    assert {case.kernel for case in CASES} == set(defined)
    with_backward = {name for name, kernel in defined.items() if "backward" in vars(kernel)}
    assert {case.kernel for case in CASES if case.differentiable} == with_backward


def test_the_cases_have_names_of_their_own():
    assert len({str(case) for case in CASES}) == len(CASES)


@every_case
def test_forward_equals_the_oracle(case: Case, arrays: Backend):
    inputs, expected = place(arrays, case.host("float64")), case.expected("float64")
    for name, pair in pairs(case, arrays, inputs):
        for needed in (wanted(case), [False] * len(inputs)):
            results, _ = forward(case, pair, arrays.device.xp, inputs, needed)
            for result, value in zip(results, expected, strict=True):
                assert arrays.device.holds(result), name
                result = arrays.host(result)
                assert result.dtype == np.float64, name
                case.tolerance.check(result, value, name)


@every_case
def test_float32_stays_float32(case: Case, arrays: Backend):
    inputs, dy = place(arrays, case.host("float32")), make_dy(case, "float32")
    expected, slopes = case.expected("float32"), reference_gradients(case)
    for name, pair in pairs(case, arrays, inputs):
        results, _ = forward(case, pair, arrays.device.xp, inputs, wanted(case))
        for result, value in zip(results, expected, strict=True):
            result = arrays.host(result)
            assert result.dtype == np.float32, name
            case.tolerance.check(result, value, name)
        gradients = backward(case, pair, arrays.device.xp, inputs, arrays.place(dy))
        for position in case.differentiable:
            gradient = arrays.host(gradients[position])
            assert gradient.dtype == np.float32, name
            case.gradient_tolerance.check(gradient, slopes[position], f"{name}, gradient {position}")


@functools.cache
def slopes(case: Case, position: int) -> list[tuple[np.ndarray, float, float]]:
    """Of <first output, dy> along two random directions: the direction, the central difference, and its rounding.

    The outputs are the reference's by NumPy; those of every other pair and library are held to the same oracle.
    """
    host, dy, reference = case.host("float64"), make_dy(case), kernels()[case.kernel]
    rng = np.random.default_rng(3)

    def terms_at(x: np.ndarray) -> np.ndarray:
        """The terms of the sum with x in place of the array."""
        moved = [*host[:position], x, *host[position + 1 :]]
        return forward(case, reference, NUMPY, moved, [False] * len(moved))[0][0] * dy

    x, found = host[position], []
    rounding = 64 * np.finfo(float).eps * float(np.sum(np.abs(terms_at(x)))) / STEP
    for _ in range(2):
        direction = rng.uniform(-1.0, 1.0, x.shape)
        near, far = (terms_at(x + h * direction) - terms_at(x - h * direction) for h in (STEP, 2 * STEP))
        found.append((direction, float(np.sum(8.0 * near - far)) / (12.0 * STEP), rounding))
    return found


@every_case
def test_backward_is_the_derivative(case: Case, arrays: Backend):
    host, dy = case.host("float64"), make_dy(case)
    inputs, xp = place(arrays, host), arrays.device.xp
    for name, pair in pairs(case, arrays, inputs):
        gradients = backward(case, pair, xp, inputs, arrays.place(dy))
        assert len(gradients) == len(inputs), name
        for position in case.differentiable:
            context = f"{name}, gradient {position}"
            assert arrays.device.holds(gradients[position]), context
            gradient = arrays.host(gradients[position])
            assert gradient.shape == host[position].shape, context
            assert gradient.dtype == np.float64, context
            assert np.isfinite(gradient).all(), context
            if case.gradient is not None:
                SUMS.check(gradient, case.gradient(dy, *host, **case.params)[position], context)
                continue
            for direction, numeric, rounding in slopes(case, position):
                analytic, size = np.sum(gradient * direction), np.sum(np.abs(gradient * direction))
                assert abs(analytic - numeric) <= DIFFERENCE * size + rounding, (
                    f"{context}: {analytic} along a direction, but differences say {numeric}"
                )


@every_case
def test_nothing_is_copied_or_waited_for(case: Case, arrays: Backend):
    inputs, dy = place(arrays, case.host("float32")), arrays.place(make_dy(case, "float32"))
    for _, pair in pairs(case, arrays, inputs):
        before = copies.counts()
        with copies.guard("forbid"):
            backward(case, pair, arrays.device.xp, inputs, dy)
            forward(case, pair, arrays.device.xp, inputs, [False] * len(inputs))
        assert copies.counts() == before


@every_case_in_both_dtypes
def test_inputs_are_left_alone(case: Case, arrays: Backend, dtype: str):
    host, dy_host = case.host(dtype), make_dy(case, dtype)
    inputs, dy = place(arrays, host), arrays.place(dy_host)
    for name, pair in pairs(case, arrays, inputs):
        backward(case, pair, arrays.device.xp, inputs, dy)
        for position, (before, after) in enumerate(zip([*host, dy_host], [*inputs, dy], strict=True)):
            if isinstance(before, np.ndarray):
                np.testing.assert_array_equal(arrays.host(after), before, f"{name} wrote into array {position}")


LAYOUTS = {
    # Between the elements of a strided view lies what would show.
    "transposed": (lambda x: x.T.copy(), lambda xp, x: xp.permute_dims(x, tuple(range(x.ndim))[::-1])),
    "strided": (lambda x: _spread_out(x), lambda xp, x: x[(slice(None, None, 2),) * x.ndim]),
    "backwards": (lambda x: np.flip(x).copy(), lambda xp, x: x[(slice(None, None, -1),) * x.ndim]),
}


def _spread_out(x: np.ndarray) -> np.ndarray:
    filler = {"f": np.nan, "i": 2**30, "u": 255, "b": True}[x.dtype.kind]
    wide = np.full([2 * n for n in x.shape], filler, x.dtype)
    wide[(slice(None, None, 2),) * x.ndim] = x
    return wide


# Only an alternative sees how an array lies in memory, and the other libraries run references here.
@pytest.mark.parametrize("arrays", [pytest.param("numpy", marks=pytest.mark.level0)], indirect=True)
@every_case_in_both_dtypes
def test_other_memory_layouts_give_the_same(case: Case, arrays: Backend, dtype: str):
    xp, host, dy, expected = arrays.device.xp, case.host(dtype), make_dy(case, dtype), case.expected(dtype)
    inputs = place(arrays, host)
    straight = {name: backward(case, pair, xp, inputs, arrays.place(dy)) for name, pair in pairs(case, arrays, inputs)}
    for layout, (store, view) in LAYOUTS.items():
        inputs = [view(xp, arrays.place(store(x))) if isinstance(x, np.ndarray) else x for x in host]
        for name, pair in pairs(case, arrays, inputs):
            results, _ = forward(case, pair, xp, inputs, wanted(case))
            for result, value in zip(results, expected, strict=True):
                case.tolerance.check(arrays.host(result), value, f"{name}, {layout}")
            gradients = backward(case, pair, xp, inputs, view(xp, arrays.place(store(dy))))
            for position in case.differentiable if name in straight else ():
                one, other = arrays.host(straight[name][position]), arrays.host(gradients[position])
                case.gradient_tolerance.check(other, one, f"{name}, {layout}, gradient {position}")


@every_case_in_both_dtypes
def test_backward_takes_a_broadcast_view(case: Case, arrays: Backend, dtype: str):
    """The gradient that a sum passes on is one number that looks like many."""
    xp, host = arrays.device.xp, case.host(dtype)
    inputs, shape = place(arrays, host), make_dy(case).shape
    for name, pair in pairs(case, arrays, inputs):
        full = backward(case, pair, xp, inputs, arrays.place(np.full(shape, 1.5, dtype)))
        view = backward(case, pair, xp, inputs, xp.broadcast_to(arrays.place(np.array(1.5, dtype)), shape))
        for position in case.differentiable:
            one, other = arrays.host(full[position]), arrays.host(view[position])
            case.gradient_tolerance.check(other, one, f"{name}, gradient {position}")


def subsets(positions: tuple[int, ...], all_but_one: bool) -> Iterator[set[int]]:
    """Each position alone, and all but each: whatever one or any two of them decide is decided both ways.

    Without any there is no backward pass, and all of them are asked for elsewhere.
    """
    alone = [{position} for position in positions]
    without = [set(positions) - one for one in alone] if all_but_one else []
    yield from (some for some in (*alone, *(few for few in without if len(few) > 1)) if len(some) < len(positions))


@every_case_in_both_dtypes
def test_only_needed_gradients_are_given(case: Case, arrays: Backend, dtype: str):
    inputs, dy = place(arrays, case.host(dtype)), arrays.place(make_dy(case, dtype))
    for name, pair in pairs(case, arrays, inputs):
        complete = backward(case, pair, arrays.device.xp, inputs, dy)
        for some in subsets(case.differentiable, all_but_one=arrays.device.xp is NUMPY):  # decided by the kernel alone
            needed = [position in some for position in range(len(inputs))]
            gradients = backward(case, pair, arrays.device.xp, inputs, dy, needed)
            assert [gradient is not None for gradient in gradients] == needed, f"{name}, needed {needed}"
            for position in some:
                one, other = arrays.host(complete[position]), arrays.host(gradients[position])
                case.gradient_tolerance.check(other, one, f"{name}, gradient {position}, needed {needed}")


@pytest.mark.parametrize(
    "arrays",
    [pytest.param("strict", marks=pytest.mark.level1), pytest.param("cupy-standin", marks=pytest.mark.level2)],
    indirect=True,
)
@every_case
def test_the_reference_gives_the_bits_that_numpy_gives(case: Case, arrays: Backend):
    """Both libraries compute by NumPy here, so every bit that differs is another call or another order of calls."""
    reference, xp = kernels()[case.kernel], arrays.device.xp
    for dtype in ("float32", "float64"):
        host, dy = case.host(dtype), make_dy(case, dtype)
        inputs = place(arrays, host)
        expected = [*forward(case, reference, NUMPY, host, wanted(case))[0]]
        expected += backward(case, reference, NUMPY, host, dy)
        results = [*forward(case, reference, xp, inputs, wanted(case))[0]]
        results += backward(case, reference, xp, inputs, arrays.place(dy))
        for result, value in zip(results, expected, strict=True):
            assert (result is None) == (value is None)
            assert result is None or arrays.host(result).tobytes() == np.asarray(value).tobytes(), dtype


PICKING = {"concat", "embedding", "getitem", "reshape", "transpose", "where"}  # elements, which stay what they are
COMPUTING = [name for name in dict.fromkeys(case.kernel for case in CASES) if name not in PICKING]


@pytest.mark.parametrize("kernel", COMPUTING)
def test_what_is_computed_has_memory_of_its_own(kernel: str):
    """Else a caller who writes into a result would change what backward reads, or the input."""
    for case, dtype in itertools.product(CASES, ("float64", "float32")):
        if case.kernel == kernel:
            inputs = case.host(dtype)
            for name, pair in implementations(case, NUMPY, inputs):
                results, _ = forward(case, pair, NUMPY, inputs, wanted(case))
                for result, x in itertools.product(results, inputs):
                    assert not isinstance(x, np.ndarray) or not np.shares_memory(result, x), name


@pytest.mark.parametrize("kernel", [name for name in COMPUTING if name != "power"])  # NaN to the 0 is 1
def test_a_nan_is_never_lost(kernel: str, arrays: Backend):
    """Else a run that has gone wrong would look well."""
    case = next(c for c in CASES if c.kernel == kernel)
    host = case.host("float64")
    everywhere = list(np.ndindex(host[0].shape))
    # The other libraries run the same references: a few places show that they lose nothing either.
    places = everywhere if arrays.device.xp is NUMPY else everywhere[:: max(1, len(everywhere) // 4)]
    for place_of_nan, dtype in itertools.product(places, ("float64", "float32")):
        sick = case.host(dtype)
        sick[0][place_of_nan] = np.nan
        inputs = place(arrays, sick)
        for name, pair in pairs(case, arrays, inputs):
            results, _ = forward(case, pair, arrays.device.xp, inputs, wanted(case))
            assert np.isnan(arrays.host(results[0])).any(), f"{name}: NaN at {place_of_nan}"
