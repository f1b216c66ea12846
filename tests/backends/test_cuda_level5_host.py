"""Level 5: the CUDA kernels and their launchers on the host against the references, in several orders of the threads.

g++ compiles the sources as they are; its absence fails. See tests/shim for what this shows and what it cannot.
"""

from __future__ import annotations

import importlib
import itertools
import math
from typing import Any

import numpy as np
import pytest
import shim
import standin
from arrays import Backend
from case import outputs
from host_cuda import (
    alternative,
    both_passes,
    cases_of,
    check_table,
    of_outputs,
    place,
    wanted,
)

import backends.cuda
from backends.cuda import compile, requirements
from backends.cuda import launch as launch_module
from backends.cuda.launch import by_elements, launch
from backends.dispatch import Kernel, explain, kernels
from backends.errors import DeviceError
from backends.runtime import copies

pytestmark = [pytest.mark.level5, pytest.mark.usefixtures("built_units")]

WITHOUT_SOURCE = {"embedding"}  # by CuPy's own calls alone
BY_CUBLAS = ("matmul",)  # of which the reference is as good for two matrices of float32
FAMILY = {
    name: k.__module__.rpartition(".")[2]
    for name, k in kernels().items()
    if k.alternatives.get("cupy") and name not in BY_CUBLAS
}
FAMILY = {name: family for name, family in FAMILY.items() if family not in WITHOUT_SOURCE}
PAIRS = [name for name in FAMILY if isinstance(kernels()[name], Kernel)]


def dtypes_of(kernel: str) -> tuple[str, ...]:
    return compile.DTYPES[FAMILY[kernel]]


def test_every_family_is_registered():
    assert set(backends.cuda.__all__) - WITHOUT_SOURCE == set(compile.DTYPES)
    assert set(FAMILY.values()) == set(compile.DTYPES)


@pytest.mark.parametrize(
    ("kernel", "dtype"), [(name, dtype) for name in PAIRS for dtype in compile.DTYPES[FAMILY[name]]]
)
def test_the_table_in_every_order_of_the_threads(kernel: str, dtype: str, host_cuda: Backend):
    check_table(host_cuda, kernel, dtype)


@pytest.mark.parametrize("kernel", BY_CUBLAS)
def test_products_of_float16_need_no_copies(kernel: str, host_cuda: Backend):
    check_table(host_cuda, kernel, "float16", shim.SCHEDULES[:1])


def test_two_matrices_of_float32_are_left_to_the_reference(host_cuda: Backend):
    wide = place(host_cuda, [np.ones((2, 2), np.float32)] * 2)
    assert "in the same way" in str(explain(kernels()["matmul"], *wide))


@pytest.mark.parametrize("kernel", PAIRS)
def test_what_is_not_needed_is_not_computed(kernel: str, host_cuda: Backend):
    case, host = next(cases_of(kernel, "float32"))
    inputs, xp = place(host_cuda, host), host_cuda.device.xp
    pair, complete = alternative(kernel, host_cuda, inputs, case.params), wanted(case)
    y, _ = pair.forward(xp, *inputs, needed=[False] * len(inputs), **case.params)
    dy = host_cuda.place(np.ones(outputs(y)[0].shape, np.float32))
    for needed in itertools.product((False, True), repeat=len(inputs)):
        if any(needed) and all(one <= other for one, other in zip(needed, complete, strict=True)):
            _, saved = pair.forward(xp, *inputs, needed=needed, **case.params)
            dx = pair.backward(xp, of_outputs(y, dy), saved, needed=needed, **case.params)
            assert [gradient is not None for gradient in dx] == list(needed)


def reversed_axes(arrays: Backend, x: np.ndarray) -> Any:
    """A view that shows x, with its axes in the memory in the reverse order."""
    return arrays.device.xp.permute_dims(arrays.place(x.T.copy()), tuple(range(x.ndim))[::-1])


@pytest.mark.parametrize("kernel", PAIRS)
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


@pytest.mark.parametrize("kernel", PAIRS)
def test_nothing_is_copied_or_waited_for(kernel: str, host_cuda: Backend):
    for case, host in cases_of(kernel, "float32"):
        inputs, xp = place(host_cuda, host), host_cuda.device.xp
        pair = alternative(kernel, host_cuda, inputs, case.params)
        dy = host_cuda.place(np.ones(case.expected("float64")[0].shape, np.float32))
        before = copies.counts()
        with copies.guard("forbid"):
            both_passes(pair, xp, inputs, wanted(case), dy, **case.params)
        assert copies.counts() == before


@pytest.mark.parametrize("kernel", PAIRS)
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


# --- what is refused


def test_reasons_to_decline(host_cuda: Backend, monkeypatch: pytest.MonkeyPatch):
    xp = host_cuda.device.xp
    x, wide = host_cuda.place(np.ones((2, 3), np.float32)), host_cuda.place(np.ones(3))
    whole, complex_ = host_cuda.place(np.ones(3, np.int32)), host_cuda.place(np.ones(3, np.complex64))
    assert "int32" in str(requirements.unsuited("loss", x=whole))
    assert "complex64" in str(requirements.unsuited("loss", x=complex_))
    assert "float64, and others of float32" in str(requirements.unsuited("norm", x=x, gamma=wide))
    assert "0 elements" in str(requirements.unsuited("norm", x=x[:0]))
    assert "a number" in str(requirements.unsuited("elementwise", x=2.0))
    assert "float16" in str(requirements.not_flat("optim", x=xp.astype(wide, xp.float16)))
    assert "one piece" in str(requirements.not_flat("optim", x=x))
    assert "one piece" in str(requirements.not_flat("optim", x=wide[::2]))
    assert "vector of 3" in str(requirements.not_flat("optim", x=wide, y=wide[:2]))
    monkeypatch.setattr(requirements, "LARGEST", 6)
    assert "6 or more" in str(requirements.unsuited("norm", x=x))
    assert requirements.unsuited("norm", x=x[:1]) is None
    large = {"kernel": (16, 17), "stride": (1, 1), "padding": ((0, 0), (0, 0))}
    assert "byte" in str(kernels()["max_pool2d"].explain(host_cuda.place(np.ones((1, 20, 20, 1))), **large))


def test_reasons_of_one_family(host_cuda: Backend, monkeypatch: pytest.MonkeyPatch):
    place = lambda *shape, dtype="float32": host_cuda.place(np.ones(shape, dtype))  # noqa: E731
    how = {"padding": ((0, 0), (6000, 6000)), "border": "wrap", "stride": (1, 1)}
    images, column = place(1, 4, 5, 1, dtype="float64"), place(2, dtype="float64")
    choice = explain(kernels()["correlate_separable"], images, column, place(7000, dtype="float64"), **how)
    assert "7000 taps needs 56000 bytes" in str(choice)
    how = {"fill": "nearest", "value": 0.0}
    maps = place(1, 2, 3, dtype="float64")
    choice = explain(kernels()["resample"], place(1, 4, 5, 1), maps, interpolation="nearest", **how)
    assert "places in float64, and images of float32" in str(choice)
    half = place(2, 3, dtype="float16")
    assert "float16" in str(explain(kernels()["l1_distances"], half, half))
    monkeypatch.setattr(requirements, "LARGEST", 20)
    a, b = place(5, 2), place(4, 2)
    assert "the output has 20 elements, 20 or more" in str(explain(kernels()["squared_distances"], a, b))
    rows = host_cuda.place(np.zeros((1, 10), np.int64))
    assert "the output has 100 elements" in str(explain(kernels()["move_pixels"], place(1, 2, 2, 1), rows, rows, **how))
    how = {"padding": ((2, 2), (2, 2)), "border": "wrap", "stride": (1, 1)}
    assert "the output has 25 elements" in str(explain(kernels()["correlate2d"], place(1, 1, 1, 1), place(1, 1), **how))


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
            kernels()["sgd_"](one, other, lr=0.5)
        kernels()["sgd_"](other, other, lr=0.5)  # on its own device, though another is current
        assert other.get().tolist() == [0.5] * 4


def test_the_first_compilation_says_so_once(
    host_cuda: Backend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(compile, "_announced", False)
    compile._function.cache_clear()
    compile._module.cache_clear()
    launch_module._KERNELS.clear()
    x = host_cuda.place(np.ones(3, np.float32))
    for name in ("relu", "sigmoid"):
        alternative(name, host_cuda, [x], {}).forward(host_cuda.device.xp, x, needed=(False,))
    assert capsys.readouterr().err == "compiling CUDA kernels (first run)\n"
