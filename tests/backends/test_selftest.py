"""The self-test of a device: it covers every kernel and alternative, finds what is wrong, and stands on no kink."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arrays import Backend

from backends import cpu
from backends.diagnostics import selftest
from backends.dispatch import Alternative, Kernel, kernels, reference_only
from backends.namespace import NUMPY
from backends.runtime.device import CPU, Device

CALLS = list(selftest.calls())
OWN = sorted(name for name, kernel in kernels().items() if kernel.__module__.startswith("backends."))


def planted(monkeypatch: pytest.MonkeyPatch, name: str, pair: Any) -> None:
    """The one alternative of a kernel from now on."""
    monkeypatch.setitem(kernels()[name].alternatives, "numpy", [Alternative("Planted", "numpy", pair, _accept)])


def _accept(*arrays: Any, **params: Any) -> str | None:
    return None


def measured(monkeypatch: pytest.MonkeyPatch, name: str) -> dict[str, selftest.Measured]:
    """The results of one kernel, by implementation."""
    monkeypatch.setattr(selftest, "calls", lambda: [call for call in CALLS if call.kernel == name])
    return {one.implementation: one for one in selftest.run(CPU)}


def test_every_kernel_is_in_the_table() -> None:
    assert sorted({call.kernel for call in CALLS}) == OWN


def test_every_kernel_with_a_backward_half_is_tested_backward() -> None:
    with_backward = {n for n in OWN if isinstance(kernels()[n], Kernel) and "backward" in vars(kernels()[n])}
    assert {call.kernel for call in CALLS if any(call.differentiable())} == with_backward


def test_every_alternative_takes_a_call() -> None:
    assert not cpu.WHY_NOT
    every = {(name, entry.name) for name in OWN for entry in kernels()[name].alternatives.get("numpy", [])}
    assert len(every) >= 10
    ran = {(one.kernel, one.implementation) for one in selftest.run(CPU) if one.ran}
    assert every <= ran


def test_every_kernel_is_within_bounds_on_every_kind_of_array(arrays: Backend) -> None:
    if arrays.name == "readonly":
        pytest.skip("the self-test makes its own arrays")
    bad = [one for one in selftest.run(arrays.device) if not one.ok]
    assert not bad


@pytest.mark.level7
def test_every_kernel_is_within_bounds_on_a_real_gpu(cuda: Device) -> None:
    assert not [one for one in selftest.run(cuda) if not one.ok]


@pytest.mark.parametrize("name", OWN)
def test_an_error_of_a_thousandth_is_found_in_every_kernel(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    kernel = kernels()[name]

    def spoilt(y: Any) -> Any:
        return y * y.dtype.type(1.001) if y is not None and y.dtype.kind == "f" else y

    class Forward:
        backward = staticmethod(getattr(kernel, "backward", None) or (lambda *_, **__: None))

        @staticmethod
        def forward(xp: Any, *arrays: Any, **params: Any) -> Any:
            if not isinstance(kernel, Kernel):
                kernel.forward(xp, *arrays, **params)
                arrays[0][...] = spoilt(arrays[0])
                return None
            y, saved = kernel.forward(xp, *arrays, **params)
            return (tuple(map(spoilt, y)) if isinstance(y, tuple) else spoilt(y)), saved

    planted(monkeypatch, name, Forward)
    found = measured(monkeypatch, name)
    assert found["reference"].ok
    assert not found["Planted"].ok
    assert found["Planted"].share > 1

    if isinstance(kernel, Kernel) and "backward" in vars(kernel):

        class Backward:
            forward = staticmethod(kernel.forward)

            @staticmethod
            def backward(*args: Any, **params: Any) -> Any:
                return tuple(map(spoilt, kernel.backward(*args, **params)))

        planted(monkeypatch, name, Backward)
        found = measured(monkeypatch, name)
        assert not found["Planted"].ok
        assert found["Planted"].forward <= found["reference"].forward


def test_what_raises_is_a_failure_and_what_declines_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Raises:
        @staticmethod
        def forward(*_: Any, **__: Any) -> Any:
            raise RuntimeError("first line\nsecond line")

    planted(monkeypatch, "tanh", Raises)
    found = measured(monkeypatch, "tanh")["Planted"]
    assert (found.ok, found.ran, found.trouble) == (False, True, "RuntimeError: first line")
    entry = Alternative("Picky", "numpy", Raises, lambda *_, **__: "not today")
    monkeypatch.setitem(kernels()["tanh"].alternatives, "numpy", [entry])
    found = measured(monkeypatch, "tanh")["Picky"]
    assert (found.ok, found.ran, found.declined) == (True, False, "not today")


@pytest.mark.parametrize("wrong", ["nan", "shape", "a gradient too few"])
def test_what_has_no_size_is_a_failure_too(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    tanh = kernels()["tanh"]

    class Wrong:
        @staticmethod
        def forward(xp: Any, x: Any, *, needed: Any) -> Any:
            y, saved = tanh.forward(xp, x, needed=needed)
            return {"nan": y * np.float32("nan"), "shape": y[None]}.get(wrong, y), saved

        @staticmethod
        def backward(xp: Any, dy: Any, saved: Any, *, needed: Any) -> Any:
            return (None,) if wrong == "a gradient too few" else (saved,)

    planted(monkeypatch, "tanh", Wrong)
    assert not measured(monkeypatch, "tanh")["Planted"].ok


def _windows(y: np.ndarray, pool: tuple[int, int] | None) -> np.ndarray:
    """(..., pixels of a window)."""
    if pool is None:
        return y[..., None]
    n, h, w, c = y.shape
    return y.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(n, h // 2, w // 2, c, 4)


def test_no_number_lies_near_a_kink() -> None:
    """A hundred times as far as float32 rounds; else a gradient might go another way on another machine."""
    checked = 0
    for call in CALLS:
        if call.kernel not in ("conv2d_relu", "batch_norm_relu", "linear_relu"):
            continue
        inputs = [x.astype(np.float64) for x in call.arrays]
        params = {name: value for name, value in call.params.items() if name != "pool"}
        with reference_only():
            y = kernels()[call.kernel.removesuffix("_relu")].forward(NUMPY, *inputs, needed=(False,) * 3, **params)[0]
        y = y[0] if isinstance(y, tuple) else y
        unit = np.abs(y).max() * np.finfo(np.float32).eps
        pool = call.params.get("pool")
        pixels = np.sort(_windows(y, pool), axis=-1)
        assert np.abs(y).min() > 100 * unit
        assert pool is None or np.diff(pixels, axis=-1).min() > 100 * unit
        checked += 1
    assert checked == 8


def test_the_inputs_are_the_same_each_time() -> None:
    for one, other in zip(CALLS, selftest.calls(), strict=True):
        for x, y in zip(one.arrays, other.arrays, strict=True):
            assert np.array_equal(x, y)
