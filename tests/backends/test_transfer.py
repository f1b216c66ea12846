"""Copies between host and device are counted, and forbidden where asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from arrays import STRICT, Backend, backend

from backends.errors import DeviceError, DlcoreError
from backends.runtime import copies
from backends.runtime.copies import Counts, TransferError, counts, guard, to_device, to_host
from backends.runtime.device import CPU

X = np.arange(6.0, dtype=np.float32).reshape(2, 3)  # 24 bytes
REFUSALS = (TransferError, AssertionError)  # the stand-in raises its own

every_device = pytest.mark.parametrize("name", ["numpy", "strict", "cupy-standin"])


def made_by(action: Callable[[], Any]) -> Counts:
    before = counts()
    action()
    return counts().since(before)


# --- counting


@every_device
def test_an_upload_is_counted_on_every_device_alike(name):
    with backend(name) as arrays:
        assert made_by(lambda: to_device(X, arrays.device)) == Counts(uploads=1, uploaded_bytes=24)
        assert made_by(lambda: to_device(np.float64(1.5), arrays.device)) == Counts(uploads=1, uploaded_bytes=8)


@every_device
def test_a_download_is_counted_on_every_device_alike(name):
    with backend(name) as arrays:
        x = to_device(X, arrays.device)
        assert made_by(lambda: to_host(x)) == Counts(downloads=1, downloaded_bytes=24)


@every_device
def test_values_survive_the_way_there_and_back(name):
    with backend(name) as arrays:
        for host in (X, np.arange(3), np.array(True), np.zeros((0, 2)), X.T, X[:, ::2]):
            x = to_device(host, arrays.device)
            assert arrays.device.holds(x)
            back = to_host(x)
            assert type(back) is np.ndarray
            assert back.dtype == host.dtype
            np.testing.assert_array_equal(back, host)


def test_what_is_there_already_is_neither_copied_nor_counted(arrays: Backend):
    x = arrays.place(X)
    if isinstance(x, np.ndarray):
        assert to_device(x, arrays.device) is x  # counted all the same: a count does not depend on the device
    else:
        assert made_by(lambda: to_device(x, arrays.device)) == Counts()
        assert to_device(x, arrays.device) is x


def test_on_the_cpu_the_array_itself_is_used():
    assert to_device(X, CPU) is X
    assert to_host(X) is X


def test_a_numpy_scalar_becomes_an_array_on_the_host():
    host = to_host(np.float32(2.5))
    assert type(host) is np.ndarray
    assert host.shape == ()
    assert host == 2.5


def test_from_device_to_device_goes_through_the_host():
    with backend("cupy-standin") as arrays:
        x = to_device(X, STRICT)
        expected = Counts(uploads=1, downloads=1, uploaded_bytes=24, downloaded_bytes=24)
        moved = []
        assert made_by(lambda: moved.append(to_device(x, arrays.device))) == expected
        assert arrays.device.holds(moved[0])
        np.testing.assert_array_equal(to_host(moved[0]), X)


def test_a_reading_of_the_counters_stays_as_it_is():
    reading = counts()
    before = reading.uploads
    to_device(X, CPU)
    assert reading.uploads == before
    assert counts().uploads == before + 1


# --- libraries


def test_an_unknown_library_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch):
    x = to_device(X, STRICT)
    monkeypatch.delitem(copies._downloads, "array_api_strict")
    with pytest.raises(DeviceError, match=r"array_api_strict.*register_download"):
        to_host(x)


def test_a_registered_download_is_used(monkeypatch: pytest.MonkeyPatch):
    x = to_device(X, STRICT)
    monkeypatch.setattr(copies, "_downloads", dict(copies._downloads))
    copies.register_download("array_api_strict", lambda array: np.full(array.shape, 7.0))
    np.testing.assert_array_equal(to_host(x), np.full((2, 3), 7.0))


# --- the guard


def test_the_guard_forbids_uploads(arrays: Backend):
    before = counts()
    with guard("forbid"), pytest.raises(TransferError, match=r"upload of 24 bytes to .* inside guard"):
        to_device(X, arrays.device)
    assert counts() == before


def test_the_guard_forbids_downloads(arrays: Backend):
    x = arrays.place(X)
    before = counts()
    with guard("forbid"), pytest.raises(TransferError, match=r"download of an array of shape \(2, 3\) inside guard"):
        to_host(x)
    assert counts() == before


def test_the_error_is_one_of_the_library():
    assert issubclass(TransferError, DlcoreError)


def test_the_guard_lets_computation_pass(arrays: Backend):
    x = arrays.place(X)
    xp = arrays.device.xp
    with guard("forbid"):
        y = xp.sum(xp.exp(x) * 2.0, axis=0)
        if not isinstance(x, np.ndarray):
            assert to_device(x, arrays.device) is x
    np.testing.assert_allclose(arrays.host(y), (2 * np.exp(X)).sum(axis=0), rtol=1e-6)


@pytest.mark.parametrize("convert", [float, int, bool])
@pytest.mark.parametrize("name", ["strict", "cupy-standin"])
def test_the_guard_finds_hidden_conversions(name, convert):
    """Each of them waits for a GPU. On NumPy they cost nothing and are not seen."""
    with backend(name) as arrays:
        x = arrays.place(np.array(1))
        with guard("forbid"), pytest.raises(REFUSALS):
            convert(x)


def test_the_guard_finds_a_hidden_index():
    """CuPy's arrays are no indices at all."""
    x = to_device(np.array(1), STRICT)
    assert range(5)[x] == 1
    with guard("forbid"), pytest.raises(TransferError):
        _ = range(5)[x]


@pytest.mark.parametrize("name", ["strict", "cupy-standin"])
def test_the_guard_finds_a_branch_on_a_value(name):
    with backend(name) as arrays:
        x = arrays.place(np.array(1.5))
        with guard("forbid"), pytest.raises(REFUSALS):
            _ = 1 if x > 1 else 2


def test_the_guard_finds_masks_whose_size_the_host_must_know():
    with backend("cupy-standin") as arrays:
        x = arrays.place(X)
        with guard("forbid"), pytest.raises(AssertionError, match="wait"):
            _ = x[x > 1]


@pytest.mark.parametrize("name", ["strict", "cupy-standin"])
def test_outside_the_guard_conversions_work(name):
    with backend(name) as arrays:
        x = arrays.place(np.array(1))
        with guard("forbid"):
            pass
        assert (float(x), int(x), bool(x)) == (1.0, 1, True)


def test_the_guard_ends_with_an_error(arrays: Backend):
    x = arrays.place(np.array(1.5))
    with pytest.raises(ZeroDivisionError), guard("forbid"):
        _ = 1 / 0
    assert arrays.host(x) == 1.5
    assert float(x) == 1.5


def test_guards_nest(arrays: Backend):
    x = arrays.place(X)
    with guard("forbid"):
        with guard("forbid"):
            pass
        with pytest.raises(TransferError):
            to_host(x)
    assert arrays.host(x).shape == (2, 3)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="'warn' is not known"), guard("warn"):
        pass
    to_device(X, CPU)


def test_a_library_adds_its_own_guard(monkeypatch: pytest.MonkeyPatch):
    log: list[str] = []

    @contextmanager
    def context() -> Iterator[None]:
        log.append("on")
        yield
        log.append("off")

    monkeypatch.setattr(copies, "_guards", dict(copies._guards))
    copies.guard_with("a library", context)
    with guard("forbid"):
        assert log == ["on"]
    assert log == ["on", "off"]
