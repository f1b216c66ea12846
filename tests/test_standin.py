"""Level 2: the stand-in for CuPy behaves like a device where NumPy would not, and like NumPy where CuPy does."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import array_api_compat
import array_api_compat.numpy as compat_numpy
import numpy as np
import pytest
import standin
from standin import spec

pytestmark = pytest.mark.level2


@pytest.fixture
def cp() -> Iterator[ModuleType]:
    with standin.installed() as cupy:
        yield cupy


def floats(cp: ModuleType, *shape: int) -> Any:
    """A float32 device array that counts from 0; the counts of the copies start anew after it."""
    array = cp.asarray(np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
    standin.reset()
    return array


# Installation


def test_modules_are_there_only_while_installed() -> None:
    real = sys.modules.get("cupy")
    with standin.installed() as cupy:
        assert importlib.import_module("cupy") is cupy
        assert importlib.import_module("cupy.cuda.runtime") is cupy.cuda.runtime
        for name in ("cupy.cuda", "cupy.lib.stride_tricks", "cupy.linalg", "cupy.fft", "cupyx"):
            assert importlib.import_module(name)
        assert importlib.util.find_spec("cupy") is not None
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("cupyx.scipy")
        assert array_api_compat.is_cupy_array(cupy.ones(1))
        assert array_api_compat.array_namespace(cupy.ones(1)) is sys.modules["array_api_compat.cupy"]
    assert sys.modules.get("cupy") is real
    assert getattr(array_api_compat, "cupy", None) is sys.modules.get("array_api_compat.cupy")
    assert array_api_compat.is_cupy_array(object()) is False


def test_the_real_compat_layer_wraps_it_and_stays_the_same_over_installations() -> None:
    wrappers = []
    for _ in range(2):
        with standin.installed() as cp:
            x = cp.ones(3)
            wrappers.append(array_api_compat.array_namespace(x))
            assert array_api_compat.is_cupy_array(x)
            assert array_api_compat.is_cupy_namespace(wrappers[-1])
            assert array_api_compat.device(x) == cp.cuda.Device(0)
        assert not array_api_compat.is_cupy_array(x)
    assert wrappers[0] is wrappers[1]
    assert wrappers[0].__name__ == "array_api_compat.cupy"


def test_an_inner_installation_gives_the_machine_back() -> None:
    with standin.installed(devices=2) as cp:
        with standin.installed(devices=0):
            assert not cp.is_available()
        assert cp.cuda.runtime.getDeviceCount() == 2
        with standin.installed(broken="cudaErrorUnknown: unknown error"), pytest.raises(RuntimeError):
            cp.zeros(3)
        assert cp.zeros(3).size == 3


@pytest.mark.parametrize("name", ["block", "vecdot", "unstack", "errstate", "bfloat16", "longdouble", "asmatrix"])
def test_cupy_has_no_such_name(cp: ModuleType, name: str) -> None:
    assert not hasattr(cp, name)


@pytest.mark.parametrize("name", ["to_device", "__array_namespace__", "ctypes", "itemset", "__index__", "__imatmul__"])
def test_its_array_has_no_such_attribute(cp: ModuleType, name: str) -> None:
    assert not hasattr(cp.ones(3), name)


def test_its_array_has_no_attribute_that_cupy_lacks(cp: ModuleType) -> None:
    of_python = set(dir(object)) | {"__module__", "__slots__", "__getattr__", "__annotations__"}
    private = {name for name in dir(cp.ndarray) if name.startswith("_") and not name.endswith("__")}
    of_python |= {"__firstlineno__", "__static_attributes__", "__annotations_cache__", "__annotate_func__"}
    assert set(dir(cp.ndarray)) - of_python - private <= spec.class_names("cupy.ndarray")


@pytest.mark.parametrize("name", ["Device", "Event", "Stream"])
def test_its_cuda_classes_have_no_public_name_that_cupy_lacks(cp: ModuleType, name: str) -> None:
    public = {attribute for attribute in dir(getattr(cp.cuda, name)) if not attribute.startswith("_")}
    assert public <= spec.class_names(f"cupy.cuda.{name}")


@pytest.mark.parametrize("name", ["ElementwiseKernel", "RawKernel", "RawModule", "ReductionKernel", "fuse", "load"])
def test_what_has_no_double_fails_when_it_is_used(cp: ModuleType, name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"cupy.{name} exists in CuPy"):
        getattr(cp, name)("float32 x", "float32 y", "y = x", "f")


@pytest.mark.parametrize("expression", ["x.__cuda_array_interface__", "x.device.pci_bus_id", "cp.random"])
def test_an_attribute_without_double_says_so(cp: ModuleType, expression: str) -> None:
    with pytest.raises(NotImplementedError, match="exists in CuPy"):
        eval(expression, {"cp": cp, "x": cp.ones(3)})


# Refusals


HOST = np.ones(3, np.float32)
REFUSED: dict[str, Callable[[ModuleType, Any], object]] = {
    "implicit conversion": lambda cp, x: np.asarray(x),
    "numpy on the right": lambda cp, x: x + HOST,
    "numpy on the left": lambda cp, x: HOST + x,
    "numpy in place": lambda cp, x: x.__iadd__(HOST),
    "numpy in a comparison": lambda cp, x: x < HOST,
    "numpy in a ufunc": lambda cp, x: cp.multiply(x, HOST),
    "numpy in a product": lambda cp, x: cp.matmul(x, HOST),
    "numpy in a function": lambda cp, x: cp.sum(HOST),
    "numpy in a list": lambda cp, x: cp.concatenate([x, HOST]),
    "numpy as output": lambda cp, x: cp.add(x, x, out=HOST),
    "sequence in a ufunc": lambda cp, x: cp.add(x, [1, 2, 3]),
    "sequence beside an operator": lambda cp, x: x.__add__([1, 2, 3]),
    "sequence in a function": lambda cp, x: cp.sum([1, 2, 3]),
    "sequence in a slice": lambda cp, x: x.__setitem__(slice(None), [1, 2, 3]),
    "sequence of numbers and arrays": lambda cp, x: cp.asarray([1.0, x[0]]),
    "ufunc where": lambda cp, x: cp.add(x, x, where=x > 0),
    "ufunc order": lambda cp, x: cp.add(x, x, order="C"),
    "reduction where": lambda cp, x: cp.sum(x, where=x > 0),
    "reduction initial": lambda cp, x: cp.max(x, initial=0),
    "method initial": lambda cp, x: x.sum(initial=0),
    "function device": lambda cp, x: cp.zeros(3, device=x.device),
    "astype casting": lambda cp, x: x.astype(np.int32, casting="safe"),
    "text": lambda cp, x: x + "1",
    "integer from float in place": lambda cp, x: cp.ones(3, np.int32).__iadd__(x),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(cp: ModuleType, case: str) -> None:
    with pytest.raises(TypeError):
        REFUSED[case](cp, floats(cp, 3))


def test_refuses_a_host_array_in_a_slice(cp: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"non-scalar numpy\.ndarray"):
        floats(cp, 3)[:] = HOST


@pytest.mark.parametrize("dtype", [np.longdouble, np.clongdouble, object, "U3", "datetime64[s]"])
def test_refuses_dtypes_that_cupy_lacks(cp: ModuleType, dtype: Any) -> None:
    for make in (lambda: cp.empty(3, dtype), lambda: cp.asarray(np.zeros(3, dtype)), lambda: cp.ones(3).astype(dtype)):
        with pytest.raises(ValueError, match="Unsupported dtype"):
            make()


@pytest.mark.parametrize(
    ("name", "dtypes"),
    [("bitwise_and", "ff"), ("left_shift", "fi"), ("logaddexp", "FF"), ("divmod", "FF"), ("subtract", "??")],
)
def test_refuses_dtypes_that_no_loop_takes(cp: ModuleType, name: str, dtypes: str) -> None:
    with pytest.raises(TypeError):
        getattr(cp, name)(*(cp.ones(2, dtype) for dtype in dtypes))


# Arithmetic


def test_python_scalars_are_weak_and_numpy_scalars_are_not(cp: ModuleType) -> None:
    x, i, b = cp.ones(2, np.float32), cp.ones(2, np.int8), cp.ones(2, np.bool_)
    assert (x * 2.0).dtype == (2 - x).dtype == np.float32
    assert (x * np.float64(2)).dtype == np.float64
    assert (i + 1).dtype == np.int8
    assert (i * 0.5).dtype == np.float64
    assert (b + 1).dtype == np.int64
    assert (x * 1j).dtype == np.complex64
    with pytest.raises(OverflowError):
        cp.add(i, 300)


def test_no_operation_gives_a_host_scalar(cp: ModuleType) -> None:
    x = floats(cp, 2, 3)
    for result in (x.sum(), cp.max(x), x[1, 2], cp.add(1, 2), cp.count_nonzero(x), cp.array_equal(x, x), x.sum()[()]):
        assert isinstance(result, cp.ndarray)
        assert result.shape == ()
    assert all(isinstance(row, cp.ndarray) for row in x)


def test_numpys_functions_hand_over_to_cupys(cp: ModuleType) -> None:
    x = floats(cp, 4)
    assert isinstance(np.exp(x), cp.ndarray)
    assert isinstance(np.sum(x), cp.ndarray)
    assert isinstance(np.float32(2) * x, cp.ndarray)
    with pytest.raises(TypeError):
        np.sum(x, initial=0)
    with pytest.raises(TypeError):
        np.concatenate([x, HOST])


def test_leaves_an_operation_to_an_operand_that_asks_for_it(cp: ModuleType) -> None:
    class Wrapper:
        __array_ufunc__ = None

        def __radd__(self, other: object) -> str:
            return "mine"

    assert floats(cp, 3) + Wrapper() == "mine"


def test_comparison_with_none_is_elementwise(cp: ModuleType) -> None:
    assert (floats(cp, 2) == None).tolist() == [False, False]  # noqa: E711 (CuPy's answer to it is under test)


def test_sorts_stably_and_knows_no_other_kind(cp: ModuleType) -> None:
    ties = np.arange(64) % 2
    assert cp.argsort(cp.asarray(ties)).tolist() == np.argsort(ties, stable=True).tolist()
    for sort in (cp.sort, cp.argsort):
        with pytest.raises(ValueError, match="kind"):
            sort(cp.asarray(ties), kind="quicksort")


def test_an_array_is_no_key_of_a_dictionary(cp: ModuleType) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(cp.ones(1))


def test_takes_big_endian_data_of_the_host_and_no_other(cp: ModuleType) -> None:
    assert cp.array(np.ones(2, ">f4")).dtype == np.dtype("<f4")
    with pytest.raises(ValueError, match="Unsupported dtype"):
        cp.empty(2, ">f4")


def test_is_silent_where_a_gpu_is(cp: ModuleType) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = cp.zeros(2, np.float32)
        assert np.isnan(cp.asnumpy(x / x)).all()
        assert np.isinf(cp.asnumpy(cp.exp(x + 1e4))).all()


def test_a_ufunc_writes_into_out_and_checks_its_shape_and_dtype(cp: ModuleType) -> None:
    x, out = floats(cp, 3), cp.empty(3)
    assert cp.add(x, 1, out=out) is out
    assert out.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="shape"):
        cp.add(x, 1, out=cp.empty(2))
    with pytest.raises(TypeError, match="Cannot cast"):
        cp.add(x, 1, out=cp.empty(3, np.int32))
    assert cp.add(cp.ones(2, np.int32), 1, dtype=np.float32).dtype == np.float32
    assert cp.add.reduce(x).tolist() == 3.0
    assert cp.add.outer(x, x).shape == (3, 3)
    with pytest.raises(NotImplementedError):
        cp.maximum.reduce(x)


# NumPy's results


def train(xp: Any, to_device: Callable[[Any], Any], steps: int) -> tuple[Any, Any]:
    """Softmax regression by gradient descent, in the standard's calls: losses (steps,) and weights (4, 3)."""
    rng = np.random.default_rng(0)
    w = to_device((rng.standard_normal((4, 3)) * 0.1).astype(np.float32))
    x = to_device(rng.standard_normal((16, 4)).astype(np.float32))
    labels = to_device(rng.integers(0, 3, 16))
    onehot = xp.astype(labels[:, None] == xp.arange(3, dtype=labels.dtype)[None, :], xp.float32)
    losses = []
    for _ in range(steps):
        z = x @ w
        z = z - xp.max(z, axis=1, keepdims=True)
        e = xp.exp(z)
        p = e / xp.sum(e, axis=1, keepdims=True)
        losses.append(-xp.mean(xp.sum(onehot * xp.log(p), axis=1)))
        w -= 0.5 * (xp.matrix_transpose(x) @ ((p - onehot) / 16))
    return xp.stack(losses), w


def test_training_gives_numpys_bits_with_the_copies_one_expects(cp: ModuleType) -> None:
    expected = train(compat_numpy, np.array, 5)
    xp = array_api_compat.array_namespace(cp.ones(1))
    standin.reset()
    with standin.forbid("sync", "d2h"):
        losses, w = train(xp, cp.asarray, 5)
    counts = standin.counts()
    assert (counts.h2d, counts.h2d_bytes) == (3, 4 * (4 * 3 + 16 * 4) + 8 * 16)
    np.testing.assert_array_equal(losses.get(), expected[0])
    np.testing.assert_array_equal(w.get(), expected[1])
    assert (standin.counts().d2h, standin.counts().sync) == (2, 2)


def test_a_training_loop_that_reads_its_loss_is_caught(cp: ModuleType) -> None:
    x = floats(cp, 3)

    def loop() -> None:
        for _ in range(3):
            x.fill(0.5)
            float(x.sum())

    with pytest.raises(AssertionError, match=r"ndarray\.__float__"), standin.forbid():
        loop()


CALLS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "all": lambda xp, x, i, b: xp.all(b, axis=0),
    "argmax": lambda xp, x, i, b: xp.argmax(x, axis=1, keepdims=True),
    "argsort": lambda xp, x, i, b: xp.argsort(x, axis=0, descending=True),
    "astype": lambda xp, x, i, b: xp.astype(x, xp.int32),
    "atan2": lambda xp, x, i, b: xp.atan2(x, x + 1),
    "bitwise_xor": lambda xp, x, i, b: xp.bitwise_xor(i, 5),
    "broadcast_to": lambda xp, x, i, b: xp.broadcast_to(x[0], (5, 4)),
    "clip": lambda xp, x, i, b: xp.clip(x, -0.5, 0.5),
    "concat": lambda xp, x, i, b: xp.concat([x, x * 2], axis=1),
    "cumulative_sum": lambda xp, x, i, b: xp.cumulative_sum(x, axis=1, include_initial=True),
    "divide": lambda xp, x, i, b: x / (x + 3),
    "einsum": lambda xp, x, i, b: xp.einsum("ij,kj->ik", x, x),
    "expm1": lambda xp, x, i, b: xp.expm1(x),
    "floor_divide": lambda xp, x, i, b: i // 3,
    "flip": lambda xp, x, i, b: xp.flip(x, axis=1),
    "index": lambda xp, x, i, b: x[i[0], :],
    "index two": lambda xp, x, i, b: x[i[:, 0], i[:, 1]],
    "isin": lambda xp, x, i, b: xp.isin(i, i[0]),
    "isnan": lambda xp, x, i, b: xp.isnan(x),
    "linalg.matrix_norm": lambda xp, x, i, b: xp.linalg.matrix_norm(x),
    "linalg.svdvals": lambda xp, x, i, b: xp.linalg.svdvals(x),
    "linalg.vector_norm": lambda xp, x, i, b: xp.linalg.vector_norm(x, axis=1),
    "linspace": lambda xp, x, i, b: xp.linspace(0, 1, 5, dtype=xp.float32),
    "logical_and": lambda xp, x, i, b: xp.logical_and(b, x > 0),
    "mask": lambda xp, x, i, b: x[b],
    "matmul": lambda xp, x, i, b: xp.matmul(x, xp.matrix_transpose(x)),
    "maximum": lambda xp, x, i, b: xp.maximum(x, 0.0),
    "mean": lambda xp, x, i, b: xp.mean(x, axis=(0, 1)),
    "meshgrid": lambda xp, x, i, b: xp.meshgrid(x[0], x[1], indexing="ij")[0],
    "moveaxis": lambda xp, x, i, b: xp.moveaxis(x, 0, 1),
    "nonzero": lambda xp, x, i, b: xp.nonzero(b)[0],
    "pad": lambda xp, x, i, b: xp.pad(x, ((1, 2), (0, 1))),
    "permute_dims": lambda xp, x, i, b: xp.permute_dims(x, (1, 0)),
    "pow": lambda xp, x, i, b: xp.pow(x, 2),
    "prod": lambda xp, x, i, b: xp.prod(x),
    "repeat": lambda xp, x, i, b: xp.repeat(x, 2, axis=0),
    "roll": lambda xp, x, i, b: xp.roll(x, 1, axis=0),
    "round": lambda xp, x, i, b: xp.round(x),
    "searchsorted": lambda xp, x, i, b: xp.searchsorted(xp.sort(x[0]), x[1]),
    "sign": lambda xp, x, i, b: xp.sign(x),
    "sort": lambda xp, x, i, b: xp.sort(x, axis=1),
    "squeeze": lambda xp, x, i, b: xp.squeeze(x[:, None], axis=1),
    "stack": lambda xp, x, i, b: xp.stack([x, x], axis=-1),
    "std": lambda xp, x, i, b: xp.std(x, axis=0, correction=1),
    "sum": lambda xp, x, i, b: xp.sum(x, axis=0, dtype=xp.float64),
    "take": lambda xp, x, i, b: xp.take(x, i[0], axis=1),
    "take_along_axis": lambda xp, x, i, b: xp.take_along_axis(x, i, axis=1),
    "tensordot": lambda xp, x, i, b: xp.tensordot(x, x, axes=((0, 1), (0, 1))),
    "tile": lambda xp, x, i, b: xp.tile(x, (2, 1)),
    "tril": lambda xp, x, i, b: xp.tril(x, k=1),
    "unique_values": lambda xp, x, i, b: xp.unique_values(i),
    "unstack": lambda xp, x, i, b: xp.unstack(x, axis=1)[2],
    "var": lambda xp, x, i, b: xp.var(x),
    "vecdot": lambda xp, x, i, b: xp.vecdot(x, x),
    "where": lambda xp, x, i, b: xp.where(b, x, 0.0),
    "zeros_like": lambda xp, x, i, b: xp.zeros_like(x),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_through_the_compat_layer_gives_numpys_bits(cp: ModuleType, name: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4, 4)).astype(np.float32)
    i, b = rng.permuted(np.tile(np.arange(4), (4, 1)), axis=1), x > 0.2
    expected = CALLS[name](compat_numpy, x, i, b)
    on_device = [cp.asarray(array) for array in (x, i, b)]
    result = CALLS[name](array_api_compat.array_namespace(on_device[0]), *on_device)
    assert isinstance(result, cp.ndarray)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result.get(), expected)
