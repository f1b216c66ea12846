"""Level 5: convolution on the host in all its ways: by columns in one block and in many, and without columns."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import shim
from arrays import Backend
from host_cuda import DTYPES, agree, check_table, few_bits, numbers, on_random_shapes
from hypothesis import strategies as st

from backends.cuda import conv
from backends.dispatch import kernels

pytestmark = [pytest.mark.level5, pytest.mark.usefixtures("built_units")]

FUSED = ("conv2d", "conv2d_relu")
NONE = ((0, 0), (0, 0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", FUSED)
def test_the_table_without_columns(kernel: str, dtype: str, host_cuda: Backend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(conv, "COLUMNS", 0)
    check_table(host_cuda, kernel, dtype, shim.SCHEDULES[2:])


@pytest.mark.parametrize("room", [300, 3000, 30_000])
@pytest.mark.parametrize("kernel", FUSED)
def test_the_table_in_blocks(kernel: str, room: int, host_cuda: Backend, monkeypatch: pytest.MonkeyPatch):
    """Parts of a row of outputs, parts of an image, and several images."""
    monkeypatch.setattr(conv, "COLUMNS", room)
    monkeypatch.setattr(conv, "_LEAST", 1)
    for dtype in ("float32", "float64"):
        check_table(host_cuda, kernel, dtype, shim.SCHEDULES[:1])


@on_random_shapes
def test_convolutions_of_any_size(arrays: Backend, draw: Any, dtype: str) -> None:
    pairs = lambda low, high: draw(st.tuples(st.integers(low, high), st.integers(low, high)))  # noqa: E731
    kernel, stride, dilation = pairs(1, 4), pairs(1, 3), pairs(1, 3)
    padding = tuple(pairs(0, 3) for _ in kernel)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [draw(st.integers(max(1, span - sum(p)), 9)) for span, p in zip(spans, padding, strict=True)]
    channels, filters = draw(st.integers(1, 5)), draw(st.sampled_from([1, 3, 34]))
    x = numbers(draw, dtype, draw(st.integers(1, 3)), *size, channels)
    w, b = (
        numbers(draw, dtype, *kernel, channels, filters),
        draw(st.sampled_from([None, numbers(draw, dtype, filters)])),
    )
    name, how = draw(st.sampled_from(FUSED)), {"stride": stride, "padding": padding, "dilation": dilation}
    host = [x, w, b]
    if name == "conv2d_relu":
        host = few_bits(host)
        places = [(n + sum(p) - span) // s + 1 for n, p, span, s in zip(size, padding, spans, stride, strict=True)]
        how["pool"] = draw(st.sampled_from([None, tuple(min(2, n) for n in places), tuple(min(3, n) for n in places)]))
    with pytest.MonkeyPatch.context() as patch:
        if dtype == "float16":  # block by block, sums would be rounded more often than float64's reference allows for
            patch.setattr(conv, "COLUMNS", draw(st.sampled_from([0, conv.COLUMNS])))
        else:
            patch.setattr(conv, "COLUMNS", draw(st.sampled_from([0, 200, 2000, conv.COLUMNS])))
            patch.setattr(conv, "_LEAST", draw(st.sampled_from([1, 256])))
        agree(arrays, name, host, [True, True, b is not None], **how)


def test_blocks_have_no_more_than_their_room(host_cuda: Backend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(conv, "COLUMNS", 5000)
    monkeypatch.setattr(conv, "_LEAST", 1)
    x, w = (host_cuda.place(np.ones(shape, np.float32)) for shape in ((7, 9, 8, 3), (3, 3, 3, 4)))
    how = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    with shim.recorded() as launches:
        y = kernels()["conv2d"](x, w, None, **how)
    columns = [launch.before[1] for launch in launches]
    assert {launch.kernel for launch in launches} == {"gather_columns"}
    assert max(x.nbytes for x in columns) <= 5000
    assert sum(x.size for x in columns) == y.size // 4 * 27


def test_pixels_are_multiplied_where_they_are(host_cuda: Backend):
    x, w = (host_cuda.place(np.ones(shape, np.float32)) for shape in ((2, 3, 4, 3), (1, 1, 3, 4)))
    how = {"stride": (1, 1), "padding": NONE, "dilation": (1, 1)}
    with shim.recorded() as launches:
        kernels()["conv2d"](x, w, None, **how)
    assert not launches
    with shim.recorded() as launches:
        kernels()["conv2d"](x, w, None, **{**how, "stride": (2, 2)})
    assert launches


def test_which_way_is_taken(host_cuda: Backend, monkeypatch: pytest.MonkeyPatch):
    place = lambda *shape: host_cuda.place(np.ones(shape, np.float32))  # noqa: E731
    x, w, how = place(2, 20, 20, 3), place(3, 3, 3, 4), {"stride": (1, 1), "padding": NONE, "dilation": (1, 1)}
    fused, plain = kernels()["conv2d_relu"], kernels()["conv2d"]
    assert plain.explain(x, w, None, **how).taken == "ConvolutionByColumns"
    assert fused.explain(x, w, None, pool=None, **how).taken == "ConvolutionReluByColumns"
    assert "byte" in str(fused.explain(x, w, None, pool=(16, 17), **how))
    assert "nothing" in str(fused.explain(x, w, None, pool=(19, 1), **how))
    monkeypatch.setattr(conv, "COLUMNS", 255 * 27 * 4)
    choice = plain.explain(x, w, None, **how)
    assert choice.taken == "ConvolutionInPlace"
    assert re.search("256 windows of 27 numbers take more than 27540 bytes", str(choice))
    assert plain.explain(x, place(1, 1, 3, 4), None, **how).taken == "ConvolutionByColumns"
    assert plain.explain(x[:1, :10, :10, :], w, None, **how).taken == "ConvolutionByColumns"
    assert fused.explain(x, w, None, pool=None, **how).taken == "ConvolutionReluInPlace"


def test_without_columns_the_product_adds_the_bias(host_cuda: Backend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(conv, "COLUMNS", 0)
    rng = np.random.default_rng(0)
    x, w, b = (host_cuda.place(rng.standard_normal(s).astype(np.float32)) for s in ((1, 5, 5, 2), (3, 3, 2, 4), (4,)))
    how = {"stride": (1, 1), "padding": NONE, "dilation": (1, 1)}
    with shim.recorded() as launches:
        y = kernels()["conv2d"](x, w, b, **how)
    (launch,) = launches
    assert launch.kernel == "convolve"
    assert launch.after[4].tobytes() == host_cuda.host(y).tobytes(), "nothing is added behind the launch"
