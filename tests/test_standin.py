"""Level 2: the stand-in for CuPy behaves like a device where NumPy would not, and like NumPy where CuPy does."""

from __future__ import annotations

import copy
import importlib
import pickle
import sys
import threading
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


@pytest.fixture
def two() -> Iterator[ModuleType]:
    """A machine with two devices."""
    with standin.installed(devices=2) as cupy:
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
    assert sys.modules.get("cupy") is real
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


def test_an_attribute_without_double_says_so(cp: ModuleType) -> None:
    with pytest.raises(NotImplementedError, match="__cuda_array_interface__ exists in CuPy"):
        _ = cp.ones(3).__cuda_array_interface__


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
    "sequence beside an operator": lambda cp, x: x + [1, 2, 3],
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


@pytest.mark.parametrize("dtype", [np.longdouble, np.clongdouble, object, "U3", "datetime64[s]", ">f4"])
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


def test_refuses_an_index_outside_the_axis_where_cupy_wraps_around(cp: ModuleType) -> None:
    x, outside = floats(cp, 3), cp.asarray(np.array([5]))
    for use in (
        lambda: x[outside],
        lambda: x.__setitem__(outside, 1.0),
        lambda: cp.take(x, outside),
        lambda: x.take(outside, axis=0),
        lambda: cp.take_along_axis(x, outside, 0),
        lambda: cp.add.at(x, outside, 1.0),
    ):
        with pytest.raises(AssertionError, match="wraps around silently"):
            use()
    with pytest.raises(IndexError):
        x[5]
    assert float(x[cp.asarray(np.array([-3]))][0]) == 0.0


def test_refuses_duplicate_indices_in_an_assignment(cp: ModuleType) -> None:
    x, twice = floats(cp, 3), cp.asarray(np.array([0, 0]))
    with pytest.raises(AssertionError, match="duplicate indices"):
        x[twice] = floats(cp, 2)
    with pytest.raises(AssertionError, match="duplicate indices"):
        x[twice] += 1.0
    with pytest.raises(AssertionError, match="duplicate indices"):
        floats(cp, 3, 3)[twice, twice] = floats(cp, 2)
    x[twice] = 7.0  # one value for all places is well defined
    assert x.tolist() == [7.0, 1.0, 2.0]


def test_adds_at_duplicate_indices(cp: ModuleType) -> None:
    x, twice = cp.zeros(3, np.float32), cp.asarray(np.array([0, 0, 2]))
    cp.add.at(x, twice, cp.ones(3, np.float32))
    assert x.tolist() == [2.0, 0.0, 1.0]
    with pytest.warns(DeprecationWarning, match=r"cupy\.add\.at"):
        importlib.import_module("cupyx").scatter_add(x, twice, 1.0)
    assert x.tolist() == [4.0, 0.0, 2.0]
    with pytest.raises(TypeError, match="only supports int32"):
        cp.add.at(cp.zeros(3, np.int64), twice, 1)
    with pytest.raises(NotImplementedError):
        cp.multiply.at(x, twice, 2.0)


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
        i + 300


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


def test_fresh_memory_shows_when_it_is_read(cp: ModuleType) -> None:
    for dtype in (np.float16, np.float32, np.float64, np.int32, np.uint8):
        garbage = cp.asnumpy(cp.empty((2, 3), dtype)).astype(np.float64)
        assert not (np.abs(garbage) < 100).any()
    assert cp.empty_like(floats(cp, 2)).tolist()[0] > 1e38


# Views and writing in place


VIEWS: dict[str, Callable[[ModuleType, Any], Any]] = {
    "slice": lambda cp, x: x[1:, ::2],
    "element": lambda cp, x: x[1, 2],
    "new axis": lambda cp, x: x[None, ..., 0],
    "transpose": lambda cp, x: x.T,
    "mT": lambda cp, x: x.mT,
    "method transpose": lambda cp, x: x.transpose(1, 0),
    "reshape": lambda cp, x: x.reshape(-1, 2),
    "function reshape": lambda cp, x: cp.reshape(x, (12,)),
    "ravel": lambda cp, x: x.ravel(),
    "view": lambda cp, x: x.view(np.int32),
    "flip": lambda cp, x: cp.flip(x),
    "moveaxis": lambda cp, x: cp.moveaxis(x, 0, 1),
    "expand_dims": lambda cp, x: cp.expand_dims(x, 0),
    "split": lambda cp, x: cp.split(x, 2, axis=1)[1],
    "windows": lambda cp, x: cp.lib.stride_tricks.sliding_window_view(x, (2, 2)),
    "strided": lambda cp, x: cp.lib.stride_tricks.as_strided(x, (2, 2), (16, 4)),
    "real": lambda cp, x: x.real,
}


@pytest.mark.parametrize("case", VIEWS)
def test_views_share_memory_and_cost_no_kernel(cp: ModuleType, case: str) -> None:
    x = floats(cp, 3, 4)
    view = VIEWS[case](cp, x)
    assert cp.shares_memory(view, x)
    assert view is x or view.base is x
    assert standin.counts() == standin.Counts()


@pytest.mark.parametrize("make", [lambda x: x.T.reshape(-1), lambda x: x.copy(), lambda x: x.flatten(), abs])
def test_copies_do_not_share_memory(cp: ModuleType, make: Callable[[Any], Any]) -> None:
    x = floats(cp, 3, 4)
    assert not cp.shares_memory(make(x), x)
    assert standin.counts().kernel == 1


def test_operators_write_in_place_through_views_and_keep_identity(cp: ModuleType) -> None:
    x = floats(cp, 6)
    same, part = x, x[2:4]
    x += 1
    x[0:2] += cp.ones(2)
    part *= cp.asarray(np.array([10.0, 100.0]))  # float64 into float32: the array stays what it is
    assert same is x
    assert x.dtype == np.float32
    assert x.tolist() == [2.0, 3.0, 30.0, 400.0, 5.0, 6.0]
    x[...] = x[::-1]
    x[3] = 0.5
    x.reshape(2, 3)[1, 1] = -1
    x.fill(x[0])
    assert x.tolist() == [6.0] * 6


def test_the_shape_can_be_assigned_where_memory_allows(cp: ModuleType) -> None:
    x = floats(cp, 2, 3)
    x.shape = (3, 2)
    assert x.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    with pytest.raises(AttributeError):
        x.T.shape = (6,)


def test_copying_and_pickling_keep_the_values(cp: ModuleType) -> None:
    x = floats(cp, 3)
    for twin in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin is not x
        assert twin.tolist() == x.tolist()


# Copies, waits and kernels


def test_counts_copies_with_their_bytes(cp: ModuleType) -> None:
    x = cp.asarray(np.zeros((4, 4), np.float32))
    x.set(np.ones((4, 4), np.float32))
    x.get()
    cp.asnumpy(x[0])
    x.get(blocking=False)
    counts = standin.counts()
    assert (counts.h2d, counts.h2d_bytes) == (2, 128)
    assert (counts.d2h, counts.d2h_bytes) == (3, 144)
    assert counts.sync == 2


def test_creation_and_python_scalars_are_not_copies(cp: ModuleType) -> None:
    x = cp.zeros(3) + cp.full(3, 2.0) * 5 - cp.arange(3) + cp.asarray(0.5)
    x[0] = 1
    assert cp.asarray(x) is x
    assert (standin.counts().h2d, standin.counts().d2h, standin.counts().sync) == (0, 0, 0)
    assert standin.counts().kernel == 9


SYNCHRONIZING: dict[str, Callable[[ModuleType, Any], object]] = {
    "ndarray.get": lambda cp, x: x.get(),
    "ndarray.item": lambda cp, x: x[0].item(),
    "ndarray.tolist": lambda cp, x: x.tolist(),
    "ndarray.__float__": lambda cp, x: float(x[0]),
    "ndarray.__int__": lambda cp, x: int(x[0]),
    "ndarray.__bool__": lambda cp, x: bool(x[0]),
    "ndarray.__repr__": lambda cp, x: repr(x),
    "ndarray.__getitem__": lambda cp, x: x[x > 1],
    "ndarray.__setitem__": lambda cp, x: x.__setitem__(x > 1, 0.0),
    "cupy.asnumpy": lambda cp, x: cp.asnumpy(x),
    "cupy.nonzero": lambda cp, x: x.nonzero(),
    "cupy.where": lambda cp, x: cp.where(x > 1),
    "cupy.unique": lambda cp, x: cp.unique(x),
    "cupy.bincount": lambda cp, x: cp.bincount(x.astype(np.int32)),
    "cupy.linalg.solve": lambda cp, x: cp.linalg.solve(x[0] + cp.eye(3), x),
    "Device.synchronize": lambda cp, x: x.device.synchronize(),
    "Stream.synchronize": lambda cp, x: cp.cuda.get_current_stream().synchronize(),
    "Event.synchronize": lambda cp, x: cp.cuda.Stream.null.record().synchronize(),
    "runtime.deviceSynchronize": lambda cp, x: cp.cuda.runtime.deviceSynchronize(),
}


@pytest.mark.parametrize("call", SYNCHRONIZING)
def test_a_hidden_wait_is_counted_and_can_be_forbidden(cp: ModuleType, call: str) -> None:
    x = floats(cp, 3)
    SYNCHRONIZING[call](cp, x)
    assert standin.counts().sync == 1
    with pytest.raises(AssertionError, match=f"^{call} .* forbidden"), standin.forbid():
        SYNCHRONIZING[call](cp, x)
    with standin.forbid("h2d"):
        SYNCHRONIZING[call](cp, x)


UPLOADING: dict[str, Callable[[ModuleType, Any], object]] = {
    "cupy.array": lambda cp, x: cp.asarray(HOST),
    "ndarray.set": lambda cp, x: x.set(HOST),
    "ndarray.__getitem__": lambda cp, x: x[[0, 1]],
    "ndarray.__setitem__": lambda cp, x: x.__setitem__(cp.arange(3), HOST),
}


@pytest.mark.parametrize("call", UPLOADING)
def test_a_copy_to_the_device_is_counted_and_can_be_forbidden(cp: ModuleType, call: str) -> None:
    x = floats(cp, 3)
    UPLOADING[call](cp, x)
    assert standin.counts().h2d == 1
    with pytest.raises(AssertionError, match=f"^{call} copies from the host"), standin.forbid():
        UPLOADING[call](cp, x)
    with standin.forbid("sync", "d2h"):
        UPLOADING[call](cp, x)


def test_clip_of_the_compat_layer_hides_a_wait(cp: ModuleType) -> None:
    x = floats(cp, 3)
    xp = array_api_compat.array_namespace(x)
    with pytest.raises(AssertionError, match="ndarray.__getitem__ makes the host wait"), standin.forbid():
        xp.clip(x, 0.0, 1.0)


def test_a_hook_sees_each_event_before_it_takes_place(cp: ModuleType) -> None:
    seen = []
    x = floats(cp, 3)
    with standin.hook(seen.append):
        float((x + 1).sum())
    kinds = [event.kind for event in seen]
    assert kinds == ["kernel", "kernel", "d2h", "sync"]
    assert seen[2] == standin.Event("d2h", "ndarray.__float__", 4)
    standin.reset()
    with pytest.raises(AssertionError), standin.forbid("kernel"):
        x += 1
    assert standin.counts() == standin.Counts()
    assert x.tolist() == [0.0, 1.0, 2.0]


def test_a_number_is_no_index_without_a_wait(cp: ModuleType) -> None:
    with pytest.raises(TypeError):
        range(cp.asarray(3))  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="ambiguous"):
        bool(floats(cp, 2))


# Devices


def test_arrays_are_created_on_the_current_device(two: ModuleType) -> None:
    with two.cuda.Device(1) as device:
        x = two.asarray(HOST)
        with two.cuda.Device(0):
            assert two.zeros(3).device == two.cuda.Device(0)
        assert two.cuda.Device() == device
    assert x.device == device
    assert x[1:].T.device == device  # a view needs no device of its own
    assert two.cuda.Device() == two.cuda.Device(0)


def test_an_operation_across_devices_is_refused(two: ModuleType) -> None:
    x = two.ones(3)
    with two.cuda.Device(1):
        y = two.ones(3)
        assert (y + 1).device.id == 1
    both: list[Callable[[], object]] = [
        lambda: x + y,
        lambda: two.add(x, x, out=y),
        lambda: two.concatenate([x, y]),
        lambda: two.matmul(x, y),
        lambda: y + 1,  # also alone: the current device is another one
        lambda: y.sum(),
        lambda: y.astype(np.float32),
        lambda: x.__setitem__(slice(0, 2), y[:2]),
        lambda: y.fill(0),
    ]
    for operation in both:
        with pytest.raises(ValueError, match=r"resides \(1\) is different from the current device \(0\)\. Peer access"):
            operation()


def test_moves_between_devices_are_copies_of_their_own_kind(two: ModuleType) -> None:
    x = floats(two, 2, 3)
    y = array_api_compat.to_device(x, two.cuda.Device(1))
    assert y.device.id == 1
    assert y.get().tolist() == x.get().tolist()
    assert (standin.counts().d2d, standin.counts().d2d_bytes) == (1, 24)
    with pytest.raises(NotImplementedError, match="non-contiguous"):
        array_api_compat.to_device(floats(two, 4, 4)[::2, ::2], two.cuda.Device(1))
    with pytest.raises(AssertionError, match="ndarray.copy copies from one device to another"), standin.forbid():
        array_api_compat.to_device(x, two.cuda.Device(1))


def test_the_current_device_belongs_to_the_thread(two: ModuleType) -> None:
    seen = []
    with two.cuda.Device(1):
        thread = threading.Thread(target=lambda: seen.append(two.zeros(1).device.id))
        thread.start()
        thread.join()
    assert seen == [0]


def test_devices_describe_themselves(two: ModuleType) -> None:
    runtime = two.cuda.runtime
    assert runtime.getDeviceProperties(1)["name"] == b"stand-in"
    assert runtime.driverGetVersion() == runtime.runtimeGetVersion() == 13020
    assert two.cuda.Device(1).compute_capability == "80"
    assert repr(two.cuda.Device(1)) == "<CUDA Device 1>"
    with pytest.raises(runtime.CUDARuntimeError, match="invalid device ordinal"):
        two.cuda.Device(7).use()


def probe(cp: ModuleType, device: int = 0) -> None:
    """What a program does to see whether a device works."""
    with cp.cuda.Device(device):
        _ = cp.arange(4) + 1
        cp.cuda.runtime.deviceSynchronize()


@pytest.mark.parametrize(("driver", "status"), [(0, 35), (13000, 100)])
def test_without_a_device_every_use_raises_cudas_error(driver: int, status: int) -> None:
    with standin.installed(devices=0, driver=driver) as cp:
        assert not cp.is_available()
        assert not cp.cuda.is_available()
        assert cp.cuda.runtime.driverGetVersion() == driver
        assert cp.cuda.Device(0).id == 0  # a number, as long as it is not used
        uses: list[Callable[[], object]] = [
            lambda: cp.zeros(3),
            lambda: cp.asarray(HOST),
            lambda: cp.cuda.Device(),
            lambda: cp.cuda.Stream(),
            lambda: cp.cuda.runtime.getDeviceCount(),
            lambda: cp.cuda.runtime.getDeviceProperties(0),
            lambda: probe(cp),
        ]
        for use in uses:
            with pytest.raises(cp.cuda.runtime.CUDARuntimeError) as caught:
                use()
            assert caught.value.status == status


@pytest.mark.parametrize("stage", ["allocation", "launch", "synchronize"])
def test_a_broken_machine_is_available_and_fails_at_its_stage(stage: Any) -> None:
    message = "cudaErrorNoKernelImageForDevice: no kernel image is available for execution on the device"
    with standin.installed(broken=message, broken_at=stage) as cp:
        assert cp.is_available()
        assert cp.cuda.runtime.getDeviceCount() == 1
        with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match=message) as caught:
            probe(cp)
        assert caught.value.status == 209
        if stage != "allocation":
            assert cp.empty(3).size == 3


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
    with pytest.raises(AssertionError, match="ndarray.__float__"), standin.forbid():
        for _ in range(3):
            x *= 0.5
            float(x.sum())


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
