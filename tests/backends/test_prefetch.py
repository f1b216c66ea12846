"""Level 2: batches come ahead by one copy each, in order, and what a race would spoil on a GPU is caught here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import standin

from backends.runtime import copies, prefetch
from backends.runtime.device import CPU, Device, resolve
from backends.runtime.prefetch import Prefetch

pytestmark = pytest.mark.level2


def items(count: int = 6) -> Iterator[tuple[int, list[np.ndarray]]]:
    for i in range(count):
        yield i, [np.full((3, 5), i + 0.5, np.float32), np.arange(3) + i, np.array([i % 2 == 0])]


def read(device: Device, source: Any) -> list[list[Any]]:
    """What comes, each batch used by a kernel before the next one is asked for."""
    results = [
        [kept, *(x + 0 if x.dtype != bool else x & True for x in xs)] for kept, xs in Prefetch(device).batches(source)
    ]
    return [[kept, *(copies.to_host(x).tolist() for x in xs)] for kept, *xs in results]


@pytest.fixture
def device() -> Iterator[Device]:
    with standin.installed():
        yield resolve("cuda")


@pytest.mark.parametrize("behind", [False, True])
def test_batches_come_whole_and_in_order(behind: bool) -> None:
    with standin.installed(behind=behind):
        assert read(resolve("cuda"), items()) == read(CPU, items())


def test_a_batch_is_one_upload_and_no_wait(device: Device) -> None:
    before = copies.counts()
    batches = Prefetch(device).batches(items())
    standin.reset()
    with standin.forbid("sync", "d2h"):
        for _, xs in batches:
            _ = xs[0] + 1
    assert standin.counts().h2d == 6
    assert copies.counts().since(before).uploads == 6
    assert copies.counts().since(before).uploaded_bytes == 6 * (60 + 24 + 1)


def test_the_next_batch_is_sent_before_the_present_one_is_handed_over(device: Device) -> None:
    batches = Prefetch(device).batches(items())
    standin.reset()
    next(batches)
    assert standin.counts().h2d == 2
    batches.close()  # type: ignore[attr-defined]


def test_arrays_are_aligned_and_large_buffers_are_few(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "PINNED_BYTES", 0)
    with standin.installed(behind=True):
        feed = Prefetch(resolve("cuda"))
        standin.reset()
        for _, xs in feed.batches(items(10)):
            assert all(x._host.ctypes.data % 16 == 0 for x in xs)
        assert feed._idle
        assert len(feed._idle[0].buffers) == prefetch._LEAST
        assert standin.counts().sync == 10 - prefetch._LEAST  # a busy device: the host waits for the oldest copy


def test_an_error_comes_after_the_batches_before_it(device: Device) -> None:
    def source() -> Iterator[tuple[int, list[np.ndarray]]]:
        yield from items(2)
        raise OSError("the disk is gone")

    seen = []
    batches = Prefetch(device).batches(source())
    with pytest.raises(OSError, match="the disk is gone"):
        seen.extend(kept for kept, _ in batches)
    assert seen == [0, 1]


@pytest.mark.parametrize("behind", [False, True])
def test_a_pass_that_is_left_early_lets_no_memory_go_while_it_is_copied_to(behind: bool) -> None:
    with standin.installed(behind=behind) as cp:
        feed = Prefetch(resolve("cuda"))
        batches = feed.batches(items())
        _, xs = next(batches)
        batches.close()  # type: ignore[attr-defined]
        del xs
        assert (cp.ones(3) + 1).tolist() == [2.0] * 3
        assert [kept for kept, _ in feed.batches(items(3))] == [0, 1, 2]  # the buffers serve the next pass


def test_a_copy_inside_a_guard_is_refused(device: Device) -> None:
    with pytest.raises(copies.TransferError), copies.guard("forbid"):
        next(Prefetch(device).batches(items()))


FAULTS = {
    "the compute stream does not wait for the copy": ("compute.wait_event(copied)", "pass"),
    "the copy does not wait for the compute stream": ("self.stream.wait_event(compute.record())", "pass"),
    "a page-locked buffer is taken without asking": ("and pinned.copied.done", ""),
    "an unfinished copy is left behind": ("following[2].synchronize()", "pass"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault: str) -> None:
    line, instead = FAULTS[fault]
    source = Path(prefetch.__file__).read_text("utf-8")
    assert source.count(line) == 1
    broken: dict[str, Any] = {"__name__": "broken"}
    exec(compile(source.replace(line, instead), "broken", "exec"), broken)

    def use() -> None:
        with standin.installed(behind=True) as cp:
            device = resolve("cuda")
            ones = [cp.ones(3)]
            feed = broken["Prefetch"](device)
            for _, xs in feed.batches(items(8)):
                ones.append(xs[0] + ones[0][0])
            batches = feed.batches(items())
            next(batches)
            batches.close()
            del batches
            cp.ones(3)

    with pytest.raises(standin.StreamError):
        use()
