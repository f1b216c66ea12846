"""Which library an array belongs to, and that NumPy with a shorter way computes what NumPy does."""

from __future__ import annotations

import itertools
import types
from typing import Any

import numpy as np
import pytest
from arrays import Backend, backend

from backends import namespace as namespaces
from backends import numpy_namespace
from backends.errors import DeviceError
from backends.namespace import NUMPY, Array, isdtype, name_of, namespace, namespace_of

LIBRARIES = {"numpy": "numpy", "strict": "array_api_strict", "cupy-standin": "cupy"}


# --- one library


def test_an_array_knows_its_namespace(arrays: Backend):
    x = arrays.place(np.ones(3))
    assert namespace_of(x) is arrays.device.xp
    assert namespace("add", (x, x)) is arrays.device.xp
    assert isinstance(x, Array)


@pytest.mark.parametrize(("name", "library"), LIBRARIES.items())
def test_libraries_have_short_names(name, library):
    with backend(name) as arrays:
        assert name_of(arrays.device.xp) == library


def test_numbers_and_none_go_with_any_library(arrays: Backend):
    x = arrays.place(np.ones(3))
    for other in (1, 1.5, True, None):
        assert namespace_of(other) is None
        assert namespace("add", (other, x)) is namespace("add", (x, other)) is arrays.device.xp
    assert namespace("add", (1, 2.0, None)) is NUMPY
    assert namespace("add", ()) is NUMPY


@pytest.mark.parametrize("scalar", [np.float64(1), np.float32(1), np.int64(1), np.bool_(True), np.uint8(1)])
def test_numpy_scalars_are_arrays_of_numpy(scalar):
    assert namespace_of(scalar) is NUMPY


def test_a_subclass_of_a_numpy_array_is_one():
    class Mine(np.ndarray): ...

    assert namespace_of(np.ones(2).view(Mine)) is NUMPY


@pytest.mark.parametrize(
    "thing", [[1.0, 2.0], (1.0,), "text", {"a": 1}, object(), 1j, np], ids=lambda t: type(t).__name__
)
def test_what_is_no_array_is_refused(thing: Any):
    for ask in (lambda: namespace_of(thing), lambda: namespace("add", (np.ones(2), thing))):
        with pytest.raises(DeviceError, match=f"{type(thing).__name__} is not an array") as caught:
            ask()
        assert "\n" not in str(caught.value)
        assert "numpy.asarray" in caught.value.fix


def test_dtypes_have_kinds_on_every_library(arrays: Backend):
    for dtype, kind in {"float32": "real floating", "int64": "integral", "bool": "bool", "uint8": "integral"}.items():
        x = arrays.place(np.ones(1, dtype))
        for other in ("real floating", "integral", "bool"):
            assert isdtype(arrays.device.xp, x.dtype, other) == (other == kind)


# --- several libraries


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(LIBRARIES, 2)))
def test_arrays_of_two_libraries_do_not_mix(one, other):
    with backend(one) as first, backend(other) as second:
        x, y = first.place(np.ones(2)), second.place(np.ones(2))
        with pytest.raises(DeviceError, match=r"linear: .* do not mix") as caught:
            namespace("linear", (None, x, 1.0, y))
    message = str(caught.value)
    assert "\n" not in message
    assert f"arrays of {LIBRARIES[one]} and of {LIBRARIES[other]}" in message
    assert ".to(device)" in caught.value.fix
    assert "device" in caught.value.cause


def test_a_kernel_refuses_a_mixture_before_it_computes():
    from backends.reference.elementwise import add

    with backend("strict") as arrays, pytest.raises(DeviceError, match="add: arrays of numpy and of array_api_strict"):
        add(np.ones(2), arrays.place(np.ones(2)))


# --- NumPy with a shorter way

ARRAYS = [
    np.random.default_rng(0).standard_normal((3, 4, 5)),
    np.random.default_rng(1).standard_normal((3, 4, 5)).astype(np.float32),
    np.random.default_rng(2).standard_normal((5, 4, 3)).T,
    np.random.default_rng(3).standard_normal((6, 4, 10))[::2, :, ::-2],
    np.random.default_rng(4).integers(-100, 100, (3, 4, 5)).astype(np.int8),
    np.random.default_rng(5).integers(0, 2, (3, 4, 5)).astype(bool),
    np.random.default_rng(6).integers(0, 255, (3, 4, 5)).astype(np.uint8),
    np.full((3, 4, 5), np.nan),
]
AXES = [None, 0, 1, 2, -1, -3, (), (0,), (0, 1), (-1, 0), (2, 0, 1), (0, 1, 2)]

every_array = pytest.mark.parametrize("x", ARRAYS, ids=lambda x: f"{x.dtype}{x.strides}")


def assert_same(actual: Any, expected: Any) -> None:
    assert type(actual) is type(expected)
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    assert np.asarray(actual).tobytes() == np.asarray(expected).tobytes()


@every_array
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_are_those_of_numpy(x, axis, keepdims):
    assert_same(NUMPY.sum(x, axis=axis, keepdims=keepdims), np.sum(x, axis=axis, keepdims=keepdims))
    assert_same(NUMPY.max(x, axis=axis, keepdims=keepdims), np.max(x, axis=axis, keepdims=keepdims))
    dtype = np.dtype(np.float64)
    assert_same(
        NUMPY.sum(x, axis=axis, dtype=dtype, keepdims=keepdims), np.sum(x, axis=axis, dtype=dtype, keepdims=keepdims)
    )


def test_reductions_of_vectors_and_of_nothing_are_those_of_numpy():
    for x in (np.arange(5.0), np.array(2.5), np.zeros(0), np.zeros((0, 3))):
        assert_same(NUMPY.sum(x), np.sum(x))
        if x.size:
            assert_same(NUMPY.max(x), np.max(x))
    assert_same(NUMPY.sum(np.zeros((0, 3)), axis=0), np.zeros(3))
    with pytest.raises(ValueError, match="zero-size"):
        NUMPY.max(np.zeros(0))
    with pytest.raises(np.exceptions.AxisError):
        NUMPY.sum(np.zeros(3), axis=1)


@every_array
def test_matrix_transpose_and_astype_are_those_of_numpy(x):
    assert_same(NUMPY.matrix_transpose(x), np.matrix_transpose(x))
    assert np.shares_memory(NUMPY.matrix_transpose(x), x)
    for dtype, copy in itertools.product((np.float32, np.int64, x.dtype), (True, False)):
        with np.errstate(invalid="ignore"):  # NaN to an integer
            converted, expected = NUMPY.astype(x, dtype, copy=copy), np.astype(x, dtype, copy=copy)
        assert_same(converted, expected)
        assert (converted is x) == (expected is x)
    assert NUMPY.astype(x, x.dtype) is not x


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((3, 4), (4, 5)),
        ((1, 4), (4, 1)),
        ((0, 4), (4, 5)),
        ((3, 0), (0, 5)),
        ((2, 3, 4), (4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (3, 4, 5)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (4,)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_products_are_those_of_numpy(one, other, dtype):
    rng = np.random.default_rng(0)
    x, y = ((10 * rng.standard_normal(shape)).astype(dtype) for shape in (one, other))
    assert_same(NUMPY.matmul(x, y), np.matmul(x, y))


@pytest.mark.parametrize(("one", "other"), [((2, 3), (2, 3)), ((4, 2, 3), (2, 3)), ((), (3,))])
def test_products_that_do_not_fit_are_refused(one, other):
    with pytest.raises(ValueError, match=r"align|mismatch|does not have enough"):
        NUMPY.matmul(np.ones(one), np.ones(other))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (40, 60), (1, 60)])
def test_keep_is_where_with_zeros(dtype: Any, shape: tuple[int, ...]):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((shape[-1] if shape[0] == 1 else shape[0], shape[-1])).astype(dtype)
    x.flat[::3], x.flat[1::5] = np.inf, np.nan
    condition = rng.random(x.shape) > 0.5
    found = numpy_namespace.keep(condition, x)
    assert found.dtype == dtype
    assert found.tobytes() == np.where(condition, x, np.zeros((), dtype)).tobytes()


def test_everything_else_is_numpy_itself():
    for name in ("exp", "concat", "permute_dims", "float32", "linalg", "pi"):
        assert getattr(NUMPY, name) is getattr(np, name)
    with pytest.raises(AttributeError, match="no_such_function"):
        _ = NUMPY.no_such_function


def test_every_function_of_its_own_is_compared_here():
    functions = [value for value in vars(numpy_namespace).values() if isinstance(value, types.FunctionType)]
    own = {f.__name__ for f in functions if f.__code__.co_filename == numpy_namespace.__file__} - {"__getattr__"}
    assert own == {"sum", "max", "matrix_transpose", "astype", "matmul", "keep"}


def test_the_table_learns_a_type_once(arrays: Backend):
    x = arrays.place(np.ones(2))
    namespace_of(x)
    assert namespaces._TABLE[type(x)] is arrays.device.xp
