"""What is measured, on the CPU and on the stand-in for a GPU, which shows copies and waits, and nothing of speed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import standin
from threadpoolctl import threadpool_info

from backends.dispatch import reference_only
from backends.reference import linear
from backends.runtime import copies
from backends.runtime.device import CPU
from dlcore.bench import measure as m
from dlcore.bench.places import Place, place
from dlcore.bench.timing import Pace
from dlcore.bench.workloads import SUITES, Workload, forward_and_backward, suite
from dlcore.errors import DeviceError

WORKS = {work.name: work for name in SUITES for work in suite(name, quick=True)}
SMALL = {name.split()[0]: work.at(2) if work.at else work for name, work in WORKS.items()}

BOUND = 2e-5
"""Relative: Winograd's transforms cost float32 a digit, a reference 1e-6 at most on these sizes."""


@pytest.fixture
def cuda() -> Iterator[Place]:
    with standin.installed():
        yield place("cuda")


def test_sizes_have_their_own_names() -> None:
    full = [work.name for name in SUITES for work in suite(name, quick=False)]
    assert len({*full, *WORKS}) == len(full) + len(WORKS)
    assert [name.split()[0] for name in full] == [name.split()[0] for name in WORKS]


@pytest.mark.parametrize("name", WORKS)
def test_every_workload_agrees_with_float64_on_the_cpu(name: str) -> None:
    work = WORKS[name]
    compiled, reference = m.errors_of(work, work.inputs(), [place("cpu"), place("cpu-reference")])
    assert 0 <= compiled < BOUND
    assert 0 <= reference < 2e-6


@pytest.mark.level2
@pytest.mark.parametrize("name", SMALL)
def test_every_workload_runs_on_a_gpu_that_is_played_and_copies_nothing_between_its_calls(
    name: str, cuda: Place
) -> None:
    work = SMALL[name]
    (error,) = m.errors_of(work, work.inputs(), [cuda])
    assert 0 <= error < BOUND
    _, subject = m._ready(work, work.inputs(), cuda)
    subject.run()
    standin.reset()
    with standin.forbid("d2h", "d2d"):
        subject.seconds(3)
    # The filters' taps come from the host at each call; nothing else does.
    assert standin.counts().h2d_bytes <= (3 * 2 * 4 * 17 if name in ("gaussian", "sobel") else 0)
    assert standin.counts().kernel > 0
    assert standin.counts().sync == 1  # after the last call, and in none of them


def test_the_error_is_that_of_products_in_float64_written_out() -> None:
    work = WORKS["linear 32x256-128"]
    x, w, b, dy = (array.astype(np.float64) for array in work.inputs())
    exact = [np.einsum("nd,dk->nk", x, w) + b, np.einsum("nk,dk->nd", dy, w), np.einsum("nd,nk->dk", x, dy), dy.sum(0)]
    *inputs, last = work.inputs()
    with place("cpu-reference").active(), reference_only():  # with its number of threads, by which a BLAS rounds
        found = forward_and_backward(linear.linear, inputs, {}, last)()
    expected = max(np.abs(y - r).max() / np.abs(r).max() for y, r in zip(found, exact, strict=True))
    assert m.errors_of(work, work.inputs(), [place("cpu-reference")]) == pytest.approx([expected], rel=1e-3)


def test_a_wrong_kernel_shows_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = linear.linear.forward

    def wrong(xp: Any, x: Any, *rest: Any, **params: Any) -> Any:
        y, saved = forward(xp, x, *rest, **params)
        return (y * 1.01 if x.dtype == np.float32 else y), saved

    monkeypatch.setattr(linear.linear, "forward", wrong)
    work = SMALL["linear"]
    assert m.errors_of(work, work.inputs(), [place("cpu")]) == pytest.approx([0.01], rel=1e-3)


def test_a_relu_that_rounding_decides_is_left_out_of_the_error() -> None:
    work = WORKS["batch_norm_relu 16x14x14x32"]
    before, after = work.inputs()[-1], work.decided(work.inputs())[-1]
    dropped = float(np.mean((after == 0) & (before != 0)))
    assert 0 < dropped < 0.01
    assert np.array_equal(after[after != 0], before[after != 0])


@pytest.mark.parametrize(
    ("name", "amount"),
    [
        ("linear 32x256-128", 3 * 2 * 32 * 256 * 128),
        ("conv2d 8x16x16x32-32", 3 * 2 * 8 * 16 * 16 * 32 * 9 * 32),
        ("adam 200000", 4 * 200_000 * (3 + 3 + 1)),  # theta and two averages both ways, the gradient one way
        ("sgd 200000", 4 * 200_000 * 3),
        ("max_pool2d 16x14x14x32", 4 * 16 * 32 * (2 * 14 * 14 + 2 * 7 * 7)),
        ("mlp 32x64-32-10", 32),
    ],
)
def test_the_throughput_counts_the_least_work(name: str, amount: float) -> None:
    work = WORKS[name]
    scale = 1.0 if work.unit == "images/s" else 1e9
    assert work.throughput(0.25) == pytest.approx(amount / 0.25 / scale)


def _pretend(monkeypatch: pytest.MonkeyPatch, from_batch: int | None, tried: list[int]) -> Workload:
    """A workload whose second place is faster from a batch on."""
    work = WORKS["linear 32x256-128"]

    def times(subjects: Any, pace: Pace) -> list[list[float]]:
        faster = from_batch is not None and tried[-1] >= from_batch
        return [[2.0, 2.0], [1.0, 1.0] if faster else [3.0, 3.0]]

    def ready(work: Workload, *_: Any) -> tuple[None, None]:
        tried.append(work.batch or 0)
        return None, None

    monkeypatch.setattr(m, "rounds", times)
    monkeypatch.setattr(m, "_ready", ready)
    return work


@pytest.mark.parametrize(("from_batch", "expected"), [(1, 1), (3, 4), (16, 16), (32, 32), (33, None), (None, None)])
def test_break_even_is_the_smallest_batch_from_which_on_the_second_is_faster(
    monkeypatch: pytest.MonkeyPatch, from_batch: int | None, expected: int | None
) -> None:
    tried: list[int] = []
    assert m.break_even(_pretend(monkeypatch, from_batch, tried), [place("cpu"), place("cpu-reference")]) == expected
    assert sorted({*tried}, reverse=True) == list(dict.fromkeys(tried))  # from the largest down, no further than needed


def test_a_second_place_that_is_faster_in_the_median_alone_is_not_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    work = _pretend(monkeypatch, 1, [])
    monkeypatch.setattr(m, "rounds", lambda *_: [[1.0, 3.0, 3.0], [1.5, 2.0, 2.0]])
    assert m.break_even(work, [place("cpu"), place("cpu-reference")]) is None


@pytest.mark.level2
def test_copies_to_a_gpu_and_back_are_made_waited_for_and_timed(cuda: Place) -> None:
    before = copies.counts()
    rates = m.transfer_rates(cuda, mebibytes=1, count=3)
    since = copies.counts().since(before)
    assert rates is not None
    assert rates.keys() == {"to device", "to host"}
    assert all(rate > 0 for rate in rates.values())
    assert (since.uploads, since.downloads) == (1 + 4, 4)  # a first one of each is not counted
    assert since.uploaded_bytes == 5 * 2**20
    assert since.waits == 8
    assert m.transfer_rates(place("cpu"), 1, 1) is None


@pytest.mark.level2
def test_two_places_are_measured_in_turns_with_a_break_even_for_each_batch(cuda: Place) -> None:
    works = [SMALL["sgd"], SMALL["cross_entropy"]]
    told: list[str] = []
    found = m.measure([Place("cpu", CPU), cuda], m.Asked(quick=True, rounds=3), told.append, works)
    assert [(f.workload, f.place) for f in found.figures] == [
        (name, where) for name in ("sgd 200000", "cross_entropy 2x100") for where in ("cpu", "cuda:0")
    ]
    assert told == ["sgd 200000", "cross_entropy 2x100"]
    assert list(found.break_even) == ["cross_entropy 2x100"]
    assert all(figure.stats["rounds"] == 3 and figure.throughput > 0 for figure in found.figures)
    assert [figure.implementation for figure in found.figures][1::2] == ["reference", "reference"]
    assert (found.transfer["cpu"], found.starting) == (None, {})


def test_products_have_as_many_threads_as_are_asked_for_inside_a_place() -> None:
    for threads in (1, 2):
        with place("cpu", threads).active():
            blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        assert set(blas) == {threads}


def test_places() -> None:
    with pytest.raises(DeviceError, match="did you mean cpu-reference"):
        place("cpu-refrence")
    with pytest.raises(DeviceError, match="expected cpu, cuda"):
        place("tpu")
    assert "reference kernels only" in place("cpu-reference").title()


@pytest.mark.level2
def test_a_wait_for_a_gpu_is_counted_and_forbidden_where_copies_are(cuda: Place) -> None:
    standin.reset()
    cuda.wait()
    assert standin.counts().sync == 1
    with copies.guard("forbid"), pytest.raises(copies.TransferError, match="a wait for cuda:0"):
        cuda.wait()
