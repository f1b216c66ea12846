"""Level 2: the stand-in's machine: copies, waits and kernels, devices, and how it fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np
import pytest

import standin

pytestmark = pytest.mark.level2

HOST = np.ones(3, np.float32)


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
def test_a_hidden_wait_is_counted_and_can_be_forbidden(cp: ModuleType, floats: Any, call: str) -> None:
    x = floats(3)
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
def test_a_copy_to_the_device_is_counted_and_can_be_forbidden(cp: ModuleType, floats: Any, call: str) -> None:
    x = floats(3)
    UPLOADING[call](cp, x)
    assert standin.counts().h2d == 1
    with pytest.raises(AssertionError, match=f"^{call} copies from the host"), standin.forbid():
        UPLOADING[call](cp, x)
    with standin.forbid("sync", "d2h"):
        UPLOADING[call](cp, x)


def test_clip_of_the_compat_layer_hides_a_wait(cp: ModuleType, floats: Any) -> None:
    x = floats(3)
    xp = array_api_compat.array_namespace(x)
    with pytest.raises(AssertionError, match=r"ndarray\.__getitem__ makes the host wait"), standin.forbid():
        xp.clip(x, 0.0, 1.0)


def test_a_hook_sees_each_event_before_it_takes_place(cp: ModuleType, floats: Any) -> None:
    seen = []
    x = floats(3)
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


def test_a_number_is_no_index_without_a_wait(cp: ModuleType, floats: Any) -> None:
    with pytest.raises(TypeError):
        range(cp.asarray(3))  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="ambiguous"):
        bool(floats(2))


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
        lambda: two.copyto(x, y),
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
    x = two.asarray(np.zeros((2, 3), np.float32))
    y = array_api_compat.to_device(x, two.cuda.Device(1))
    assert y.device.id == 1
    assert y.get().tolist() == x.get().tolist()
    assert (standin.counts().d2d, standin.counts().d2d_bytes) == (1, 24)
    with pytest.raises(NotImplementedError, match="non-contiguous"):
        array_api_compat.to_device(two.zeros((4, 4))[::2, ::2], two.cuda.Device(1))
    with pytest.raises(AssertionError, match=r"ndarray\.copy copies from one device to another"), standin.forbid():
        array_api_compat.to_device(x, two.cuda.Device(1))


def test_the_current_device_belongs_to_the_thread(two: ModuleType) -> None:
    seen = []
    with two.cuda.Device(1):
        thread = threading.Thread(target=lambda: seen.append(two.zeros(1).device.id))
        thread.start()
        thread.join()
    assert seen == [0]


def test_a_device_is_no_key_of_a_dictionary(cp: ModuleType) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(cp.cuda.Device(0))


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
