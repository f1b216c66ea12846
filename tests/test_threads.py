"""Models in several threads of Python at once, and in a child process: the bits of one after the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import standin

import dlcore as dl
from backends.runtime import memory, tf32
from backends.runtime.device import resolve


def trained(seed: int) -> bytes:
    """The weights after some steps of one's own loop, in which other threads do not stop the recording."""
    nn = dl.nn
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((64, 20), np.float32), rng.integers(0, 3, 64)
    model = nn.Sequential(nn.Dense(32), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.2), nn.Dense(3))
    model.build((20,), seed)
    optimizer = dl.optim.Adam(0.01).attach(model)
    for _ in range(8):
        with dl.no_grad():
            model.eval()(x[:5])
        dl.functional.cross_entropy(model.train()(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    return b"".join(np.asarray(value).tobytes() for value in model.state_dict().values())


def test_four_threads_train_as_one_after_the_other() -> None:
    expected = [trained(seed) for seed in range(4)]
    found: list[bytes] = [b""] * 4

    def work(seed: int) -> None:
        found[seed] = trained(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


FORK = """
import os, sys
sys.path.insert(0, sys.argv[1])
from test_threads import trained
before = trained(1)
child = os.fork()
if child == 0:
    os._exit(0 if trained(1) == before else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), trained(1) == before)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_child_of_a_fork_trains_as_its_parent() -> None:
    words = [sys.executable, "-c", FORK, str(Path(__file__).parent)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "0 True\n"), done.stderr


# --- asking while another thread trains


def beside(work: Callable[[], object]) -> None:
    """Run ``work`` in another thread to its end; what it raises comes out here."""
    raised: list[BaseException] = []

    def caught() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=caught)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    if raised:
        raise raised[0]


def some_points(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, 4))
    return x, (x[:, seed % 4] > 0).astype(int)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "neighbors"])
def test_neighbours_during_another_fit_are_those_of_the_fit_before(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = some_points(0)
    classifier = dl.neighbors.KNNClassifier(3, device="cpu").fit(x, y)
    queries, expected = x[:7] + 0.01, getattr(classifier, method)(x[:7] + 0.01)
    memorise = dl.neighbors.KNNClassifier._memorise
    asked: list[object] = []

    def interrupted(self: dl.neighbors.KNNClassifier, rows: np.ndarray) -> None:
        memorise(self, rows)
        beside(lambda: asked.append(getattr(classifier, method)(queries)))

    monkeypatch.setattr(dl.neighbors.KNNClassifier, "_memorise", interrupted)
    other = some_points(1, 40)
    classifier.fit(other[0][:, :4], other[1] + 5)
    assert np.array_equal(np.asarray(asked[0]), np.asarray(expected))
    assert set(classifier.predict(queries)) <= {5, 6}


def test_a_fit_of_neighbours_that_fails_leaves_the_one_before() -> None:
    x, y = some_points(0)
    classifier = dl.neighbors.KNNClassifier(3, device="cpu").fit(x, y)
    expected = classifier.predict(x)
    with pytest.raises(dl.DataError):
        classifier.fit(np.full((9, 2), np.nan), np.arange(9))
    assert np.array_equal(classifier.predict(x), expected)


class Asking:
    """A function that makes a model, and asks the fitted estimator while it is made anew."""

    def __init__(self) -> None:
        self.ask: Callable[[], None] = lambda: None

    def __call__(self, outputs: int) -> dl.nn.Module:
        self.ask()
        return dl.nn.Sequential(dl.nn.Dense(3), dl.nn.Tanh(), dl.nn.Dense(outputs))

    def __deepcopy__(self, memo: object) -> Asking:
        return self


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_an_estimator_during_another_fit_answers_by_the_fit_before(method: str) -> None:
    from dlcore.interop.sklearn import Classifier

    make, (x, y) = Asking(), some_points(0)
    estimator = Classifier(model=make, epochs=2).fit(x, y)
    expected, asked = getattr(estimator, method)(x), []
    make.ask = lambda: beside(lambda: asked.append(getattr(estimator, method)(x)))
    estimator.fit(x[:, :2], y + 3)
    assert np.array_equal(asked[0], expected)
    assert set(estimator.predict(x[:, :2])) <= {3, 4}


def test_an_estimators_fit_that_fails_leaves_the_one_before() -> None:
    from dlcore.interop.sklearn import Regressor

    x, y = some_points(0)
    estimator = Regressor(hidden=(3,), epochs=1).fit(x, y)
    expected = estimator.predict(x)
    estimator.lr = -1.0
    with pytest.raises(dl.ConfigError):
        estimator.fit(x[:, :2], y)
    assert np.array_equal(estimator.predict(x), expected)
    assert estimator.n_features_in_ == 4


def test_an_estimator_answers_several_threads_at_once() -> None:
    from dlcore.interop.sklearn import Classifier

    x, y = some_points(2, 200)
    estimator = Classifier(hidden=(8,), epochs=2).fit(x, y)
    expected, found = estimator.predict_proba(x), []
    threads = [threading.Thread(target=lambda: found.append(estimator.predict_proba(x))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(np.array_equal(one, expected) for one in found)


# --- what belongs to the whole process


def test_of_limits_that_overlap_the_smallest_holds_and_the_first_comes_back() -> None:
    with standin.installed(memory=2**26) as cupy:
        pool, device = cupy.get_default_memory_pool(), resolve("cuda")
        pool.set_limit(size=2**25)
        first, second = (memory.limited(device, memory.Limit.of(size)) for size in ("2MiB", "1MiB"))
        first.__enter__()
        beside(second.__enter__)
        assert pool.get_limit() == 2**20
        first.__exit__(None, None, None)  # the outer one, while the other still holds
        assert pool.get_limit() == 2**20
        beside(lambda: second.__exit__(None, None, None) and None)
        assert pool.get_limit() == 2**25


@pytest.mark.parametrize("wanted", [True, False])
def test_tf32_that_another_thread_does_not_want_is_refused(wanted: bool) -> None:
    with standin.installed() as cupy:
        device, products = resolve("cuda"), cupy._core._routines_linalg
        usual = products.get_compute_type(np.float32)
        with tf32.products_in_tf32(wanted, device):
            inside = products.get_compute_type(np.float32)
            assert (inside == products.COMPUTE_TYPE_TF32) == wanted
            with pytest.raises(dl.DeviceError, match="another thread wants the opposite"):
                beside(lambda: tf32.products_in_tf32(not wanted, device).__enter__())
            beside(lambda: enter_and_leave(tf32.products_in_tf32(wanted, device)))
            assert products.get_compute_type(np.float32) == inside
        assert products.get_compute_type(np.float32) == usual


def enter_and_leave(block: AbstractContextManager[object]) -> None:
    with block:
        pass


def test_threads_that_need_a_kernel_first_share_one_compilation() -> None:
    from backends.cpu.codegen.compile import Compiled

    dl.functional.relu(np.ones(3, np.float32))  # so that there are some
    fresh = Compiled(Compiled._all[0].function, Compiled._all[0].signature)
    try:
        found: list[int] = []
        start = threading.Barrier(4)

        def ask() -> None:
            start.wait()
            found.append(id(fresh._callback))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(found)) == 1
    finally:
        Compiled._all.remove(fresh)


# --- the child of a fork, while another thread holds what it needs


def end_of_child(work: Callable[[], object]) -> int:
    """How a forked child ends that does ``work``: 0, 1 where that raises, −SIGALRM where it hangs."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(5)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def end_of_child_beside(held: AbstractContextManager[object], work: Callable[[], object]) -> int:
    """The same, forked while another thread is inside ``held``."""
    inside, forked = threading.Event(), threading.Event()

    def hold() -> None:
        with held:
            inside.set()
            forked.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(60)
    try:
        return end_of_child(work)
    finally:
        forked.set()
        thread.join()


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@needs_fork
def test_the_child_of_a_fork_decodes_a_large_picture_that_another_thread_was_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    from dlcore.data.readers.images import decode

    Image.new("L", (8, 8), 7).save(tmp_path / "a.png")
    monkeypatch.setattr(decode, "_LARGE", 1)
    assert end_of_child_beside(decode._ONE_LARGE, lambda: decode.decode(tmp_path / "a.png", (4, 4), 1)) == 0


@needs_fork
def test_the_child_of_a_fork_sets_limits_and_tf32_that_another_thread_was_setting() -> None:
    with standin.installed(memory=2**26):
        device = resolve("cuda")
        limit = memory.limited(device, memory.Limit.of("1MiB"))
        assert end_of_child_beside(memory._lock, lambda: enter_and_leave(limit)) == 0
        products = tf32.products_in_tf32(True, device)
        assert end_of_child_beside(tf32._lock, lambda: enter_and_leave(products)) == 0
        products = tf32.products_in_tf32(True, device)
        assert end_of_child_beside(tf32.products_in_tf32(False, device), lambda: enter_and_leave(products)) == 0


@needs_fork
def test_a_fork_waits_for_the_compilation_of_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    from backends.cpu.codegen import compile as compiling

    dl.functional.relu(np.ones(3, np.float32))  # so that there are some
    first = compiling.Compiled._all[0]
    fresh = compiling.Compiled(first.function, first.signature)
    begun, cache = threading.Event(), compiling._Cache

    def slow(function: object) -> object:
        begun.set()
        return cache(function)

    monkeypatch.setattr(compiling, "_Cache", slow)
    try:
        thread = threading.Thread(target=lambda: fresh.address)
        thread.start()
        begun.wait(60)
        assert end_of_child(lambda: fresh.address) == 0
        thread.join()
    finally:
        compiling.Compiled._all.remove(fresh)
