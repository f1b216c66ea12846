"""Products of the compiled kernels: against float64, for any shape, the same bits for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.cpu.codegen.gemm import COLUMNS, ROWS, product
from backends.cpu.codegen.simd import LANES, integers, load, store, transpose
from backends.cpu.codegen.thread_pool import launch, reads, scratch, task, writes
from backends.runtime.threads import limit_kernel_threads

sizes = st.integers(0, 70) | st.integers(250, 300)


@settings(max_examples=60)
@given(m=sizes, n=sizes, depth=sizes, across=st.tuples(st.booleans(), st.booleans()), relu=st.booleans(), seed=sizes)
def test_product_is_that_of_float64(m: int, n: int, depth: int, across: tuple[bool, bool], relu: bool, seed: int):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((m, depth)), rng.standard_normal((depth, n))
    a, b, bias = a.astype(np.float32), b.astype(np.float32), rng.standard_normal(n).astype(np.float32)
    exact = a.astype(np.float64) @ b.astype(np.float64) + bias
    size = np.abs(a).astype(np.float64) @ np.abs(b) + np.abs(bias)  # of the terms, which rounding errors go with
    if relu:
        exact = np.maximum(exact, 0)
    given_a = np.ascontiguousarray(a.T) if across[0] else a
    given_b = np.ascontiguousarray(b.T) if across[1] else b
    y = product(given_a, given_b, bias, across=across, relu=relu)
    assert y.shape == (m, n)
    assert (np.abs(y - exact) <= (depth + 2) * np.finfo(np.float32).eps * size).all()
    with limit_kernel_threads(1):
        assert product(given_a, given_b, bias, across=across, relu=relu).tobytes() == y.tobytes()


def test_product_keeps_nan_and_infinity_where_they_belong():
    a, b = np.ones((20, 300), np.float32), np.ones((300, 40), np.float32)
    a[3, 7], a[5, 290], b[2, 39] = np.nan, np.inf, -np.inf
    y = product(a, b, relu=True)
    assert np.isnan(y[3]).all()
    assert np.isinf(y[5, :39]).all()
    assert np.isnan(y[5, 39])
    assert (np.delete(y, [3, 5], axis=0)[:, 39] == 0).all()
    assert (np.delete(y, [3, 5], axis=0)[:, :39] == 300).all()


def test_product_of_matrices_that_do_not_fit_is_refused():
    with pytest.raises(TypeError, match="do not fit"):
        product(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32))


def test_the_tile_goes_with_the_vectors():
    assert COLUMNS % LANES == 0
    assert ROWS > 0


@task(x=reads("n m"), y=writes("m n"))
def _transposed(number, arguments):
    x, y, n, m = integers(arguments, 0, 4)
    transpose(x, m, y, n)


def test_transpose_turns_a_block():
    x, y = np.arange(256, dtype=np.float32).reshape(16, 16), np.empty((16, 16), np.float32)
    launch(_transposed, 1, (x, y))
    assert (y == x.T).all()


@task(x=reads("tasks n"), y=writes("tasks n"), room=scratch())
def _through_scratch(number, arguments):
    x, y, room, _, n = integers(arguments, 0, 5)
    for i in range(0, n, LANES):
        store(room, i, load(x, number * n + i, n - i), n - i)
    for _ in range(50):  # long enough for another thread to spoil it, if it could
        for i in range(0, n, LANES):
            value = load(room, i, n - i)
            store(room, i, value + value - value, n - i)
    for i in range(0, n, LANES):
        store(y, number * n + i, load(room, i, n - i), n - i)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 1025, 5000])
def test_each_thread_has_its_own_scratch(threads: int, n: int):
    x = np.random.default_rng(n).standard_normal((100, n)).astype(np.float32)
    y = np.empty_like(x)
    with limit_kernel_threads(threads):
        launch(_through_scratch, 100, (x, y, n))
    np.testing.assert_allclose(y, x, rtol=1e-5)


def test_a_launch_wants_arrays_and_the_size_of_the_scratch_in_their_places():
    x = np.ones((1, 4), np.float32)
    with pytest.raises(TypeError, match="y is a int where an array"):
        launch(_through_scratch, 1, (x, 4, x))
    with pytest.raises(TypeError):
        launch(_through_scratch, 1, (x, x, x))
    with pytest.raises(TypeError, match="once is enough"):
        task(a=scratch(), b=scratch())(lambda number, arguments: None)
