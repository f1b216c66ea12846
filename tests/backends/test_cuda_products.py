"""Products on CUDA: how sums of float16 are kept, products of more than two axes, and what is declined."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shim
import standin
from arrays import Backend
from standin import cublas

import dlcore as dl
from backends.cuda import compile, conv, distance
from backends.cuda import launch as launch_module
from backends.cuda.products import HALF, add_product, exact_sums
from backends.cuda.sums import sum_columns
from backends.dispatch import explain, kernels
from backends.errors import DeviceError
from backends.runtime.device import resolve
from backends.runtime.memory import told

pytestmark = pytest.mark.level5


def draw(*shape: int, dtype: str = "float32") -> Any:
    return np.random.default_rng(3).standard_normal(shape).astype(dtype)


def counted(function: Any) -> Counter[str]:
    made: Counter[str] = Counter()
    with standin.hook(lambda event: made.update([event.call])):
        function()
    return made


# --- products of more than two axes


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("shape", [(5, 3, 4), (2, 1, 3, 4), (6, 4)])
def test_a_dense_layer_on_any_axes_is_one_product_and_backward_two(
    shape: tuple[int, ...], dtype: str, host_cuda: Backend
) -> None:
    x, w, b = (host_cuda.place(draw(*s, dtype=dtype)) for s in (shape, (4, 7), (7,)))
    pair, xp, needed = kernels()["linear"], host_cuda.device.xp, [True] * 3
    chosen = pair.choose(xp, [x, w, b], {})
    kept: list[Any] = []
    assert counted(lambda: kept.extend(chosen.forward(xp, x, w, b, needed=needed)))["cupy.matmul"] == 1
    y, saved = kept
    assert y.shape == (*shape[:-1], 7)
    dy = host_cuda.place(draw(*y.shape, dtype=dtype))
    found: list[Any] = []
    made = counted(lambda: found.extend(chosen.backward(xp, dy, saved, needed=needed)))
    assert made["cupy.matmul"] == 2
    assert made["column_sums"] == 1
    wide = [host_cuda.host(a).astype(np.float64) for a in (x, w, b, dy)]
    rows, steps = wide[0].reshape(-1, 4), wide[3].reshape(-1, 7)
    expected = (steps @ wide[1].T).reshape(shape), rows.T @ steps, steps.sum(axis=0)
    bound = 2e-2 if dtype == "float16" else 1e-5
    for one, oracle in zip(found, expected, strict=True):
        assert one.dtype == dtype
        assert np.allclose(host_cuda.host(one), oracle, rtol=bound, atol=bound)


def test_a_product_of_tensors_with_three_axes_is_one_of_two(host_cuda: Backend) -> None:
    x = dl.Tensor(host_cuda.place(draw(5, 3, 4)), requires_grad=True)
    w = dl.Tensor(host_cuda.place(draw(4, 2)), requires_grad=True)
    assert counted(lambda: x @ w)["cupy.matmul"] == 1
    assert counted((x @ w).sum().backward)["cupy.matmul"] == 2
    assert np.allclose(host_cuda.host(x.grad), np.broadcast_to(host_cuda.host(w.data).sum(axis=1), (5, 3, 4)))


# --- sums of float16


def test_cublas_adds_float16_up_in_float32_in_each_thread(host_cuda: Backend) -> None:
    xp = host_cuda.device.xp

    def mode() -> int:
        return cublas.modes[cublas.get_cublas_handle()]

    found: list[tuple[int, int, int]] = []

    def ask() -> None:
        before = mode()
        exact_sums(xp, np.dtype("float32"))
        single = mode()
        exact_sums(xp, HALF)
        found.append((before, single, mode()))

    for _ in range(2):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert found == [(0, 0, 16)] * 2


def test_a_sum_of_products_does_not_leave_float16s_range_on_its_way(host_cuda: Backend) -> None:
    xp, total = host_cuda.device.xp, host_cuda.place(np.empty((2, 3), np.float32))
    large, ones = np.full((4, 2), 300, np.float16), np.full((4, 3), 300, np.float16)
    add_product(xp, total, host_cuda.place(large), host_cuda.place(ones), True)
    assert (host_cuda.host(total) == 360_000).all()
    add_product(xp, total, host_cuda.place(-large), host_cuda.place(ones), False)
    assert (host_cuda.host(total) == 0).all()


def test_an_added_product_counts_rows_and_columns_apart(host_cuda: Backend) -> None:
    a, b = draw(5, 2, dtype="float16"), draw(5, 3, dtype="float16")
    total = host_cuda.place(np.ones((2, 3), np.float32))
    add_product(host_cuda.device.xp, total, host_cuda.place(a), host_cuda.place(b), False)
    assert np.allclose(host_cuda.host(total), 1 + a.astype(np.float64).T @ b.astype(np.float64), rtol=1e-6)


def test_a_filters_gradient_over_several_blocks_is_rounded_once(
    host_cuda: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conv, "COLUMNS", 200)  # bytes: several blocks of windows
    xp = host_cuda.device.xp
    x = np.full((2, 6, 6, 1), 200, np.float16)
    dy = np.full((2, 4, 4, 1), 50, np.float16)
    dy[1] = -dy[1]  # what the first images add leaves the range of float16, and what the second add brings it back
    w = host_cuda.place(np.ones((3, 3, 1, 1), np.float16))
    how = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
    inputs = [host_cuda.place(x), w, None]
    pair = kernels()["conv2d"].choose(xp, inputs, how)
    _, saved = pair.forward(xp, *inputs, needed=[False, True, False], **how)
    dw = pair.backward(xp, host_cuda.place(dy), saved, needed=[False, True, False], **how)[1]
    assert (host_cuda.host(dw) == 0).all()


@pytest.mark.parametrize("rows", [1, 7, 1024, 5000])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_sums_of_columns_are_exact(rows: int, dtype: str, host_cuda: Backend) -> None:
    x = draw(rows, 5, dtype=dtype)
    total = host_cuda.host(sum_columns(host_cuda.device.xp, host_cuda.place(x)))
    assert total.dtype == dtype
    assert np.allclose(total, x.astype(np.float64).sum(axis=0), rtol=2e-3 if dtype == "float16" else 1e-6, atol=1e-3)


@pytest.mark.parametrize(("rows", "launches"), [(1024, 1), (1025, 2), (5000, 2)])
def test_a_sum_of_columns_takes_a_second_launch_where_there_are_many_rows(
    rows: int, launches: int, host_cuda: Backend
) -> None:
    x = host_cuda.place(draw(rows, 5))
    made = counted(lambda: sum_columns(host_cuda.device.xp, x))
    assert (made["column_sums"], made["sum_pieces"]) == (1, launches - 1)


def test_a_source_that_does_not_compile_is_not_taken_for_compiled(
    host_cuda: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CUPY_CACHE_IN_MEMORY")
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    x = host_cuda.place(draw(3))
    for raises in (True, False):
        monkeypatch.setattr(compile, "_announced", False)
        compile._function.cache_clear()
        compile._module.cache_clear()
        launch_module._KERNELS.clear()
        with monkeypatch.context() as patch:
            if raises:
                patch.setattr(shim.RawModule, "compile", lambda self: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    kernels()["relu"](x)
            else:
                kernels()["relu"](x)
        assert capsys.readouterr().err == "compiling CUDA kernels (first run)\n"


# --- what is declined, and what is said


def test_amds_gpus_are_declined_by_name(host_cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    import cupy

    x = host_cuda.place(draw(3, 4))
    monkeypatch.setattr(cupy.cuda.runtime, "is_hip", True)
    for name in ("relu", "sigmoid", "tanh"):
        choice = explain(kernels()[name], x)
        assert choice.taken == "reference"
        assert "AMD" in str(choice)


def test_more_rows_than_a_grid_holds_are_declined(host_cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = host_cuda.place(draw(2, 3)), host_cuda.place(draw(70, 3))
    assert explain(kernels()["l1_distances"], a, b).taken == "L1ByTiles"
    monkeypatch.setattr(distance, "LIMITS", (2**31 - 1, 2, 2))
    assert "a grid holds 64" in str(explain(kernels()["l1_distances"], a, b))
    assert explain(kernels()["l1_distances"], b, a).taken == "L1ByTiles"


def test_what_the_cache_holds_is_not_said_to_be_compiled(
    host_cuda: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CUPY_CACHE_IN_MEMORY")
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "cache"))
    x, said = host_cuda.place(draw(3)), []
    for _ in range(2):  # as two processes
        monkeypatch.setattr(compile, "_announced", False)
        compile._function.cache_clear()
        compile._module.cache_clear()
        launch_module._KERNELS.clear()
        kernels()["relu"](x)
        said.append(capsys.readouterr().err)
    assert said == ["compiling CUDA kernels (first run)\n", ""]


class CUDADriverError(RuntimeError):
    """As ``cupy.cuda.driver.CUDADriverError``."""

    def __init__(self, status: int) -> None:
        super().__init__(f"error {status}")
        self.status = status


@pytest.mark.parametrize("error", [CUDADriverError(2), cublas.CUBLASError(3), standin.device.CUDARuntimeError(2)])
def test_memory_that_is_out_is_one_line_whichever_part_says_so(error: Exception) -> None:
    with shim.installed():
        device = resolve("cuda")
        with (
            pytest.raises(DeviceError, match=r"cuda:0 is out of memory; cause: an allocation failed; .* lower"),
            told(device, ["lower batch_size"]),
        ):
            raise error


@pytest.mark.parametrize("error", [CUDADriverError(1), cublas.CUBLASError(7), ValueError("2")])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with shim.installed():
        device = resolve("cuda")
        with pytest.raises(type(error)), told(device):
            raise error
