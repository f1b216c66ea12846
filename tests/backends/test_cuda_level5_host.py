"""Level 5: the CUDA kernels and their launchers on the host against the references, in several orders of the threads.

g++ compiles the sources as they are; its absence fails. See tests/shim for what this shows and what it cannot.
"""

from __future__ import annotations

import importlib
import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import shim
import standin
from arrays import Backend
from case import SUMS, Case, Tolerance, outputs
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from shim import build
from update_rules import RULES, Rule, gradients, start

import backends.cuda
from backends import transfer
from backends.cuda import accept, compile
from backends.cuda.launch import by_elements, launch
from backends.device import resolve
from backends.errors import DeviceError
from backends.kernel import Kernel, explain, kernels, reference_only
from backends.namespace import NUMPY
from backends.random import bits

pytestmark = pytest.mark.level5

DTYPES = ("float32", "float64", "float16")
HALF = Tolerance(2, "computed in float32, and rounded to float16 once, or twice on the way of a gradient")
WITH_ALTERNATIVE = [name for name, k in kernels().items() if k.alternatives.get("cupy")]
DIFFERENTIABLE = [name for name in WITH_ALTERNATIVE if isinstance(kernels()[name], Kernel)]


@pytest.fixture(scope="module", autouse=True)
def _built(build_folder: None) -> None:
    """All units at once, side by side."""
    build.build_all([(code, options) for _, code, options in compile.sources()])


# --- a call of a kernel on both sides


def place(arrays: Backend, host: list[Any]) -> list[Any]:
    return [arrays.place(x) if isinstance(x, np.ndarray) else x for x in host]


def widened(host: list[Any]) -> list[Any]:
    return [x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in host]


def both_passes(pair: Any, xp: Any, inputs: list[Any], needed: list[bool], dy: Any, **params: Any) -> list[Any]:
    """The outputs and the gradients."""
    y, saved = pair.forward(xp, *inputs, needed=needed, **params)
    dx = pair.backward(xp, (dy, None, None) if isinstance(y, tuple) else dy, saved, needed=needed, **params)
    return [*outputs(y), *(dx[position] for position, wanted in enumerate(needed) if wanted)]


def alternative(name: str, arrays: Backend, inputs: list[Any], params: dict[str, Any]) -> Any:
    """The CUDA pair for the inputs, which must be taken."""
    kernel = kernels()[name]
    pair = kernel.choose(arrays.device.xp, inputs, params)
    assert pair is not kernel, explain(kernel, *inputs, **params)
    return pair


def on_host_and_in_float64(
    arrays: Backend, name: str, host: list[Any], needed: list[bool], **params: Any
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What the CUDA kernels give, and what the reference gives in float64 for the same, rounded, inputs."""
    dtype = next(x.dtype for x in host if isinstance(x, np.ndarray))
    reference, wide = kernels()[name], widened(host)
    assert isinstance(reference, Kernel)
    shape = outputs(reference.forward(NUMPY, *wide, needed=needed, **params)[0])[0].shape
    dy = np.asarray(np.random.default_rng(11).standard_normal(shape)).astype(dtype)
    expected = both_passes(reference, NUMPY, wide, needed, dy.astype(np.float64), **params)
    inputs = place(arrays, host)
    pair = alternative(name, arrays, inputs, params)
    results = both_passes(pair, arrays.device.xp, inputs, needed, arrays.place(dy), **params)
    for before, after in zip(host, inputs, strict=True):
        if isinstance(before, np.ndarray):
            np.testing.assert_array_equal(arrays.host(after), before, "an input was written into")
    assert all(arrays.device.holds(result) for result in results)
    assert all(result.dtype == dtype for result in results)
    return [arrays.host(result) for result in results], expected


def wanted(case: Case) -> list[bool]:
    return [position in case.differentiable for position in range(len(case.arrays))]


def cases_of(kernel: str, dtype: str) -> Iterator[tuple[Case, list[Any]]]:
    """The kernel's cases whose numbers a dtype can hold, and the inputs in it."""
    for case in CASES:
        if case.kernel == kernel:
            with np.errstate(over="ignore"):
                host = case.host(dtype)
            if all(np.isfinite(x).all() for x in host if isinstance(x, np.ndarray)):
                yield case, host


# --- the table


def test_every_family_is_registered():
    assert set(backends.cuda.__all__) == set(compile.DTYPES)
    assert {kernels()[name].__module__.rpartition(".")[2] for name in WITH_ALTERNATIVE} == set(compile.DTYPES)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", DIFFERENTIABLE)
def test_the_table_in_every_order_of_the_threads(kernel: str, dtype: str, host_cuda: Backend):
    for (case, host), seed in itertools.product(cases_of(kernel, dtype), shim.SCHEDULES):
        context = f"{case}, {dtype}, order {seed}"
        with shim.schedule(seed):
            results, expected = on_host_and_in_float64(host_cuda, kernel, host, wanted(case), **case.params)
        count = len(case.expected("float64"))
        oracle = outputs(case.oracle(*widened(host), **case.params))
        for result, value in zip(results, oracle, strict=False):
            (HALF if dtype == "float16" else case.tolerance).check(result, value, context)
        for result, value in zip(results[count:], expected[count:], strict=True):
            (HALF if dtype == "float16" else case.gradient_tolerance).check(result, value, f"{context}, gradient")


@pytest.mark.parametrize("kernel", DIFFERENTIABLE)
def test_what_is_not_needed_is_not_computed(kernel: str, host_cuda: Backend):
    case, host = next(cases_of(kernel, "float32"))
    inputs, xp = place(host_cuda, host), host_cuda.device.xp
    pair, complete = alternative(kernel, host_cuda, inputs, case.params), wanted(case)
    y, _ = pair.forward(xp, *inputs, needed=[False] * len(inputs), **case.params)
    dy = host_cuda.place(np.ones(outputs(y)[0].shape, np.float32))
    dys = (dy, None, None) if isinstance(y, tuple) else dy
    for needed in itertools.product((False, True), repeat=len(inputs)):
        if any(needed) and all(one <= other for one, other in zip(needed, complete, strict=True)):
            _, saved = pair.forward(xp, *inputs, needed=needed, **case.params)
            dx = pair.backward(xp, dys, saved, needed=needed, **case.params)
            assert [gradient is not None for gradient in dx] == list(needed)


def reversed_axes(arrays: Backend, x: np.ndarray) -> Any:
    """A view that shows x, with its axes in the memory in the reverse order."""
    return arrays.device.xp.permute_dims(arrays.place(x.T.copy()), tuple(range(x.ndim))[::-1])


@pytest.mark.parametrize("kernel", DIFFERENTIABLE)
def test_views_give_what_their_copies_give(kernel: str, host_cuda: Backend):
    xp = host_cuda.device.xp
    for case, host in cases_of(kernel, "float32"):
        straight = place(host_cuda, host)
        turned = [x if x is None else reversed_axes(host_cuda, x) for x in host]
        pair = alternative(kernel, host_cuda, straight, case.params)
        y, _ = pair.forward(xp, *straight, needed=wanted(case), **case.params)
        dy = np.random.default_rng(3).standard_normal(outputs(y)[0].shape).astype(np.float32)
        one = both_passes(pair, xp, straight, wanted(case), host_cuda.place(dy), **case.params)
        other = both_passes(pair, xp, turned, wanted(case), reversed_axes(host_cuda, dy), **case.params)
        for a, b in zip(one, other, strict=True):
            assert host_cuda.host(a).tobytes() == host_cuda.host(b).tobytes(), case


@pytest.mark.parametrize("kernel", DIFFERENTIABLE)
def test_nothing_is_copied_or_waited_for(kernel: str, host_cuda: Backend):
    for case, host in cases_of(kernel, "float32"):
        inputs, xp = place(host_cuda, host), host_cuda.device.xp
        pair = alternative(kernel, host_cuda, inputs, case.params)
        dy = host_cuda.place(np.ones(case.expected("float64")[0].shape, np.float32))
        before = transfer.counts()
        with transfer.guard("forbid"):
            both_passes(pair, xp, inputs, wanted(case), dy, **case.params)
        assert transfer.counts() == before


@pytest.mark.parametrize("kernel", DIFFERENTIABLE)
def test_a_nan_is_never_lost(kernel: str, host_cuda: Backend):
    case, host = next(cases_of(kernel, "float32"))
    for at in np.ndindex(host[0].shape):
        sick = [x.copy() if isinstance(x, np.ndarray) else x for x in host]
        sick[0][at] = math.nan
        inputs = place(host_cuda, sick)
        y = alternative(kernel, host_cuda, inputs, case.params).forward(
            host_cuda.device.xp, *inputs, needed=wanted(case), **case.params
        )[0]
        assert np.isnan(host_cuda.host(outputs(y)[0])).any(), at


# --- random shapes


def on_random_shapes(check: Callable[..., None]) -> Callable[..., None]:
    """Run a check on examples, each on a fresh machine: a fixture would be shared by all of them."""

    @settings(max_examples=30, derandomize=True)
    @given(data=st.data(), dtype=st.sampled_from(DTYPES), seed=st.sampled_from(shim.SCHEDULES))
    def test(data: st.DataObject, dtype: str, seed: int, build_folder: None) -> None:
        with shim.installed(), shim.schedule(seed):
            check(Backend("host-cuda", resolve("cuda")), data.draw, dtype)

    test.__name__, test.__doc__ = check.__name__, check.__doc__
    return test


def numbers(draw: Any, dtype: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape).astype(dtype)


def agree(arrays: Backend, name: str, host: list[Any], needed: list[bool], **params: Any) -> None:
    results, expected = on_host_and_in_float64(arrays, name, host, needed, **params)
    for result, value in zip(results, expected, strict=True):
        (HALF if result.dtype == np.float16 else SUMS).check(result, value, f"{name}, {host}, {params}")


@on_random_shapes
def test_activations_of_any_size(arrays: Backend, draw: Any, dtype: str) -> None:
    x = numbers(draw, dtype, draw(st.integers(1, 600)))
    name = draw(st.sampled_from(["relu", "leaky_relu", "sigmoid", "tanh"]))
    agree(arrays, name, [x], [True], **({"alpha": 0.125} if name == "leaky_relu" else {}))


@on_random_shapes
def test_dropout_of_any_size(arrays: Backend, draw: Any, dtype: str) -> None:
    """The bits of the reference, masks and scaled numbers alike."""
    x = numbers(draw, dtype, draw(st.integers(1, 9)), draw(st.integers(1, 70)))
    key = draw(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)))
    params = {"rate": draw(st.floats(0.0, 0.999)), "key": key, "first_row": draw(st.integers(0, 2**32 - 10))}
    expected = both_passes(kernels()["dropout"], NUMPY, [x], [True], x, **params)
    inputs = [arrays.place(x)]
    pair = alternative("dropout", arrays, inputs, params)
    results = both_passes(pair, arrays.device.xp, inputs, [True], inputs[0], **params)
    assert [arrays.host(result).tobytes() for result in results] == [value.tobytes() for value in expected]


def test_dropout_keeps_a_word_that_equals_the_threshold(host_cuda: Backend):
    x = np.ones((2, 3), np.float32)
    for word in bits(NUMPY, (5, 6), 2, 3).ravel().tolist():
        params = {"rate": word * 2.0**-32, "key": (5, 6), "first_row": 0}
        pair = alternative("dropout", host_cuda, [host_cuda.place(x)], params)
        y, _ = pair.forward(host_cuda.device.xp, host_cuda.place(x), needed=(False,), **params)
        expected, _ = kernels()["dropout"].forward(NUMPY, x, needed=(False,), **params)
        assert host_cuda.host(y).tobytes() == expected.tobytes()


@on_random_shapes
def test_cross_entropy_of_any_size(arrays: Backend, draw: Any, dtype: str) -> None:
    rows, classes = draw(st.sampled_from([1, 2, 7, 33, 300])), draw(st.integers(1, 70))
    logits = 3 * numbers(draw, dtype, rows, classes)
    labels = (
        np.random.default_rng(rows).integers(-1, classes + 1, rows).astype(draw(st.sampled_from(["i4", "i8", "i2"])))
    )
    weight = draw(st.sampled_from([None, np.abs(numbers(draw, dtype, rows))]))
    smoothing = draw(st.sampled_from([0.0, 0.1]))
    agree(arrays, "cross_entropy", [logits, labels, weight], [True, False, False], label_smoothing=smoothing)


@on_random_shapes
def test_batch_norm_of_any_size(arrays: Backend, draw: Any, dtype: str) -> None:
    rows, channels = draw(st.sampled_from([2, 3, 17, 150, 700])), draw(st.integers(1, 40))
    shape = draw(st.sampled_from([(rows, channels), (rows, 1, channels)]))
    x, gamma, beta = numbers(draw, dtype, *shape) + 2, numbers(draw, dtype, channels), numbers(draw, dtype, channels)
    if draw(st.booleans()):
        agree(arrays, "batch_norm", [x.astype(dtype), gamma, beta], [True] * 3, eps=1e-2)
    else:
        mean, variance = numbers(draw, dtype, channels), np.abs(numbers(draw, dtype, channels))
        host = [x.astype(dtype), gamma, beta, mean, variance]
        agree(arrays, "batch_norm_fixed", host, [True] * 3 + [False] * 2, eps=1e-2)


@on_random_shapes
def test_pools_of_any_size(arrays: Backend, draw: Any, dtype: str) -> None:
    kernel, stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4))), draw(st.tuples(*[st.integers(1, 3)] * 2))
    # A window lies in the image at least by a pixel, or its mean would be 0 / 0.
    padding = tuple(draw(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1))) for k in kernel)
    size = [draw(st.integers(max(1, k - sum(p)), 9)) for k, p in zip(kernel, padding, strict=True)]
    size = [n + (p[0] + p[1] if n < k else 0) for n, k, p in zip(size, kernel, padding, strict=True)]
    x = numbers(draw, dtype, draw(st.integers(1, 3)), *size, draw(st.integers(1, 5)))
    name = draw(st.sampled_from(["max_pool2d", "avg_pool2d"]))
    agree(arrays, name, [x], [True], kernel=kernel, stride=stride, padding=padding)


# --- kernels that write

every_rule = pytest.mark.parametrize("rule", RULES, ids=str)


def update(arrays: Backend, rule: Rule, written: list[Any], grads: list[Any]) -> None:
    """All steps by the CUDA kernel."""
    for t, grad in enumerate(grads, start=1):
        pair = alternative(rule.kernel, arrays, [*written, grad], rule.at(t))
        with transfer.guard("forbid"):
            pair.forward(arrays.device.xp, *written, grad, **rule.at(t))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_rule
def test_a_step_gives_the_bits_of_the_reference(rule: Rule, dtype: str, host_cuda: Backend):
    """At the start of a vector, where it can be read in packs of 16 bytes, and one element further, where it cannot."""
    for n, offset, seed in ((1, 0, 0), (7, 1, 1), (64, 0, 7), (1030, 0, 0), (1030, 64, 1), (333, 3, 7)):
        first, grads = start(rule, n, dtype), gradients(n, dtype)
        expected = [x.copy() for x in first]
        with reference_only():
            for t, grad in enumerate(grads, start=1):
                kernels()[rule.kernel](*expected, grad, **rule.at(t))
        wide = [host_cuda.place(np.pad(x, (offset, 5), constant_values=7.0)) for x in [*first, *grads]]
        views = [x[offset : offset + n] for x in wide]
        with shim.schedule(seed):
            update(host_cuda, rule, views[: len(first)], views[len(first) :])
        for whole, value in zip(wide, expected, strict=False):
            result = host_cuda.host(whole)
            assert result[offset : offset + n].tobytes() == value.tobytes(), (n, offset)
            assert (result[:offset] == 7.0).all()
            assert (result[offset + n :] == 7.0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 5, 257, 16_384, 16_385, 40_000])
def test_clip_by_norm_of_any_size(n: int, dtype: str, host_cuda: Backend):
    rng = np.random.default_rng(n)
    for scale, seed in ((1.0, 0), (1e30, 1), (1e-30, 7)):
        host = (scale * rng.standard_normal(n)).astype(dtype)
        length = math.sqrt(math.fsum((host.astype(float) / scale) ** 2)) * scale
        for limit in (0.5 * length, 2.0 * length):
            x, norm = host_cuda.place(host), host_cuda.place(np.zeros((), dtype))
            with shim.schedule(seed), transfer.guard("forbid"):
                alternative("clip_by_norm_", host_cuda, [x, norm], {"limit": limit}).forward(
                    host_cuda.device.xp, x, norm, limit=limit
                )
            SUMS.check(host_cuda.host(norm), np.array(length))
            SUMS.check(host_cuda.host(x), host * min(1.0, limit / length))


def test_clip_by_norm_of_zeros_and_of_what_is_not_finite(host_cuda: Backend):
    for values in ([0.0, 0.0], [math.nan, 1.0], [1.0, math.inf, -2.0], [math.inf, math.inf]):
        by_cuda, by_reference = [], []
        for arrays in (by_cuda, by_reference):
            arrays += [host_cuda.place(np.array(values, np.float32)), host_cuda.place(np.zeros((), np.float32))]
        kernels()["clip_by_norm_"](*by_cuda, limit=1.5)
        with reference_only():
            kernels()["clip_by_norm_"](*by_reference, limit=1.5)
        for one, other in zip(by_cuda, by_reference, strict=True):
            np.testing.assert_array_equal(host_cuda.host(one), host_cuda.host(other))


def test_clip_brings_every_element_into_the_limits(host_cuda: Backend):
    host = np.array([9.0, -0.5, -2.0, 2.0, 2.5, math.nan, -3e30, math.inf, -math.inf], np.float32)
    x = host_cuda.place(host)
    alternative("clip_", host_cuda, [x], {"limit": 2.0}).forward(host_cuda.device.xp, x, limit=2.0)
    np.testing.assert_array_equal(host_cuda.host(x), np.clip(host, -2.0, 2.0))


# --- barriers


def a_sample(arrays: Backend) -> list[shim.Launch]:
    """Launches of every kernel with barriers, large enough for each of its loops."""
    rng, xp = np.random.default_rng(0), arrays.device.xp
    normal = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    with shim.recorded() as launches:
        for name, host, params in (
            ("batch_norm", [normal(300, 5), normal(5), normal(5)], {"eps": 1e-5}),
            ("batch_norm", [normal(70, 33), normal(33), normal(33)], {"eps": 1e-5}),
            ("cross_entropy", [normal(300, 40), rng.integers(0, 40, 300), normal(300) ** 2], {"label_smoothing": 0.1}),
        ):
            inputs = place(arrays, host)
            needed = [(x.dtype.kind == "f" and name != "cross_entropy") or i == 0 for i, x in enumerate(host)]
            pair = alternative(name, arrays, inputs, params)
            dy = arrays.place(normal(*host[0].shape) if name == "batch_norm" else np.asarray(normal(1)[0]))
            both_passes(pair, xp, inputs, needed, dy, **params)
        x, norm = arrays.place(normal(20_000)), arrays.place(np.zeros((), np.float32))
        kernels()["clip_by_norm_"](x, norm, limit=1.0)
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


# --- what is refused


def test_reasons_to_decline(host_cuda: Backend, monkeypatch: pytest.MonkeyPatch):
    xp = host_cuda.device.xp
    x, wide = host_cuda.place(np.ones((2, 3), np.float32)), host_cuda.place(np.ones(3))
    whole, complex_ = host_cuda.place(np.ones(3, np.int32)), host_cuda.place(np.ones(3, np.complex64))
    assert "int32" in str(accept.unsuited("loss", x=whole))
    assert "complex64" in str(accept.unsuited("loss", x=complex_))
    assert "float64, and others of float32" in str(accept.unsuited("norm", x=x, gamma=wide))
    assert "0 elements" in str(accept.unsuited("norm", x=x[:0]))
    assert "a number" in str(accept.unsuited("elementwise", x=2.0))
    assert "float16" in str(accept.not_flat("optim", x=xp.astype(wide, xp.float16)))
    assert "one piece" in str(accept.not_flat("optim", x=x))
    assert "one piece" in str(accept.not_flat("optim", x=wide[::2]))
    assert "vector of 3" in str(accept.not_flat("optim", x=wide, y=wide[:2]))
    monkeypatch.setattr(accept, "LARGEST", 6)
    assert "6 or more" in str(accept.unsuited("norm", x=x))
    assert accept.unsuited("norm", x=x[:1]) is None
    large = {"kernel": (16, 17), "stride": (1, 1), "padding": ((0, 0), (0, 0))}
    assert "byte" in str(kernels()["max_pool2d"].explain(host_cuda.place(np.ones((1, 20, 20, 1))), **large))


def test_an_empty_batch_goes_to_the_reference(host_cuda: Backend):
    x = host_cuda.place(np.ones((0, 4, 4, 2), np.float32))
    pool = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
    for name, params in (("relu", {}), ("dropout", {"rate": 0.5, "key": (1, 2), "first_row": 0}), ("max_pool2d", pool)):
        choice = kernels()[name].explain(x, **params)
        assert choice.taken == "reference"
        assert "0 elements" in str(choice)
        kernel = kernels()[name]
        assert isinstance(kernel, Kernel)
        assert kernel(x, **params).shape[0] == 0


def test_without_nvrtc_the_references_run(host_cuda: Backend):
    x = host_cuda.place(np.ones(3, np.float32))
    assert explain(kernels()["relu"], x).taken == "ReluInOnePass"
    cuda = importlib.import_module("cupy").cuda

    class Broken:
        @staticmethod
        def getVersion() -> None:  # noqa: N802
            raise RuntimeError("libnvrtc.so.13: cannot open shared object file\nmore")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "nvrtc", Broken)
        assert "NVRTC does not load: RuntimeError: libnvrtc.so.13" in str(explain(kernels()["relu"], x))
        patch.delattr(cuda, "nvrtc")
        assert "no NVRTC" in str(explain(kernels()["relu"], x))
    assert explain(kernels()["relu"], x).taken == "ReluInOnePass"


def test_a_launch_checks_its_arguments(host_cuda: Backend):
    xp = host_cuda.device.xp
    x, y = host_cuda.place(np.ones((4, 4), np.float32)), host_cuda.place(np.zeros((4, 4), np.float32))
    with pytest.raises(ValueError, match="one piece"):
        by_elements("elementwise", "relu", (x.T, y, 16), 16, x.dtype)
    with pytest.raises(OverflowError):
        by_elements("elementwise", "relu", (x, y, 2**31), 16, x.dtype)
    for grid in ((0,), (2**31,), (1, 65_536)):
        with pytest.raises(ValueError, match="grid"):
            launch("elementwise", "relu", (x, y, 16), grid, (32,), x.dtype)
    for arguments in ((x, y), (x, y, 16.0), (x, xp.astype(y, xp.float64), 16), (x, x, y, 16)):
        with pytest.raises(shim.ShimError):
            by_elements("elementwise", "relu", arguments, 16, x.dtype)
    with pytest.raises(shim.ShimError, match="2048 threads"):
        launch("elementwise", "relu", (x, y, 16), (1,), (2048,), x.dtype)


def test_a_launch_passes_numbers_as_the_kernel_has_them(host_cuda: Backend):
    x, y = host_cuda.place(-np.ones(16, np.float32)), host_cuda.place(np.zeros(16, np.float32))
    for n, alpha in ((16, 0.5), (np.int64(16), np.float64(0.5)), (np.uint8(16), np.float16(0.5))):
        by_elements("elementwise", "leaky_relu", (x, y, n, alpha), 16, x.dtype)
        assert (host_cuda.host(y) == -0.5).all()


def test_arrays_of_two_devices_do_not_mix(build_folder: None):
    with shim.installed() as cupy:
        standin.install(devices=2)
        one = cupy.ones(4, dtype=cupy.float32)
        with cupy.cuda.Device(1):
            other = cupy.ones(4, dtype=cupy.float32)
        with pytest.raises(DeviceError, match="0 and 1"):
            by_elements("elementwise", "relu", (one, other, 4), 4, one.dtype)
        kernels()["sgd_"](other, other, lr=0.5)  # on its own device, though another is current
        assert other.get().tolist() == [0.5] * 4


def test_the_first_compilation_says_so_once(
    host_cuda: Backend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(compile, "_announced", False)
    compile._function.cache_clear()
    compile._module.cache_clear()
    x = host_cuda.place(np.ones(3, np.float32))
    for name in ("relu", "sigmoid"):
        alternative(name, host_cuda, [x], {}).forward(host_cuda.device.xp, x, needed=(False,))
    assert capsys.readouterr().err == "compiling CUDA kernels (first run)\n"
