"""The compiled kernels of the CPU: threads, forks, memory, a Python without Numba. Their values: test_kernels.py."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

import backends.cpu
import backends.cpu.codegen.thread_pool
from backends.cpu.codegen.math import exp, sigmoid, tanh
from backends.cpu.codegen.simd import LANES, integers, load, store
from backends.cpu.codegen.thread_pool import Task, launch, reads, task, tasks_of, writes
from backends.dispatch import Kernel, explain, kernels
from backends.namespace import NUMPY
from backends.runtime.threads import kernel_threads, limit_kernel_threads

ROOT = Path(__file__).resolve().parents[2]
ADAM = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.01, "step": 3}
CONVOLUTION = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
FILTER = {"padding": ((1, 2), (2, 2)), "border": "reflect", "stride": (1, 1)}
POOL = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def frozen(x: np.ndarray) -> np.ndarray:
    x.flags.writeable = False
    return x


def both_passes(name: str, *arrays: Any, **params: Any) -> list[bytes]:
    """The bits of the outputs and gradients, by a compiled pair."""
    kernel = kernels()[name]
    assert isinstance(kernel, Kernel)
    pair = kernel.choose(NUMPY, arrays, params)
    assert pair is not kernel, explain(kernel, *arrays, **params)
    needed = [x is not None and x.dtype.kind == "f" for x in arrays]
    y, saved = pair.forward(NUMPY, *arrays, needed=needed, **params)
    ys = y if isinstance(y, tuple) else (y,)
    dy = normal(*ys[0].shape) if ys[0].ndim else np.float32(0.7)
    dx = pair.backward(NUMPY, (dy, None, None) if isinstance(y, tuple) else dy, saved, needed=needed, **params)
    return [np.asarray(x).tobytes() for x in (*ys, *dx) if x is not None]


def a_step_of_adam() -> list[bytes]:
    arrays = [np.abs(normal(70_001)) for _ in range(3)]
    kernels()["adam_"](*arrays, normal(70_001), **ADAM)
    return [x.tobytes() for x in arrays]


WORK: dict[str, Callable[[], list[bytes]]] = {
    "adam_": a_step_of_adam,
    "cross_entropy": lambda: both_passes(
        "cross_entropy", normal(400, 101), np.arange(400) % 101, None, label_smoothing=0.1
    ),
    "max_pool2d": lambda: both_passes("max_pool2d", normal(5, 20, 21, 19), **POOL),
    "dropout": lambda: both_passes("dropout", normal(37, 21, 19), rate=0.3, key=(7, 0xFFFFFFFF), first_row=5),
    "relu": lambda: both_passes("relu", normal(9, 31, 20, 37)),
    "lstm": lambda: both_passes(
        "lstm",
        normal(37, 9, 5),
        normal(5, 84),
        normal(21, 84),
        normal(84),
        normal(37, 21),
        normal(37, 21),
        None,
        lengths=tuple(range(1, 10)) * 4 + (9,),
        reverse=True,
    ),
    "gru": lambda: both_passes(
        "gru",
        normal(37, 9, 5),
        normal(5, 63),
        normal(21, 63),
        normal(63),
        normal(21),
        normal(37, 21),
        None,
        lengths=None,
        reverse=False,
    ),
    "rnn": lambda: both_passes(
        "rnn",
        normal(37, 9, 5),
        normal(5, 21),
        normal(21, 21),
        normal(21),
        normal(37, 21),
        None,
        lengths=tuple(range(1, 10)) * 4 + (9,),
        reverse=False,
    ),
    "batch_norm_relu": lambda: both_passes(
        "batch_norm_relu", normal(9, 31, 20, 17), normal(17), normal(17), eps=1e-5, pool=(2, 2)
    ),
    "conv2d of many channels": lambda: both_passes(
        "conv2d", normal(4, 13, 10, 33), normal(3, 3, 33, 40), normal(40), **CONVOLUTION
    ),
    "conv2d_relu of many channels": lambda: both_passes(
        "conv2d_relu", normal(4, 13, 10, 33), normal(3, 3, 33, 40), normal(40), pool=None, **CONVOLUTION
    ),
    "conv2d_relu of many channels, pooled": lambda: both_passes(
        "conv2d_relu", normal(4, 13, 10, 33), normal(3, 3, 33, 40), normal(40), pool=(2, 2), **CONVOLUTION
    ),
    "conv2d": lambda: both_passes(
        "conv2d", normal(3, 15, 14, 20), normal(5, 4, 20, 37), normal(37), **CONVOLUTION | {"stride": (2, 1)}
    ),
    "conv2d_relu": lambda: both_passes(
        "conv2d_relu", normal(3, 15, 14, 20), normal(5, 4, 20, 37), normal(37), pool=(2, 2), **CONVOLUTION
    ),
    "conv2d_relu of few channels": lambda: both_passes(
        "conv2d_relu", normal(5, 28, 27, 3), normal(3, 3, 3, 37), normal(37), pool=(2, 2), **CONVOLUTION
    ),
    "conv2d of one channel": lambda: both_passes(
        "conv2d", normal(32, 28, 28, 1), normal(3, 3, 1, 16), normal(16), **CONVOLUTION
    ),
    "linear": lambda: both_passes("linear", normal(90, 300), normal(300, 290), normal(290)),
    "linear_relu": lambda: both_passes("linear_relu", normal(90, 300), normal(300, 290), normal(290)),
    "linear_relu of many rows": lambda: both_passes("linear_relu", normal(700, 300), normal(300, 290), normal(290)),
    "batch_norm": lambda: both_passes("batch_norm", normal(9, 31, 20, 17), normal(17), normal(17), eps=1e-5),
    "correlate2d": lambda: both_passes("correlate2d", normal(2, 75, 83, 3), normal(4, 5), **FILTER),
    "correlate_separable": lambda: both_passes(
        "correlate_separable", normal(2, 75, 83, 3), normal(4), normal(5), **FILTER
    ),
}
every_work = pytest.mark.parametrize("work", WORK.values(), ids=WORK)


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python of its own that finds these packages."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{textwrap.dedent(code)}"
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, timeout=120)


# --- the same bits


@every_work
def test_results_do_not_depend_on_the_number_of_threads_nor_on_the_run(work: Callable[[], list[bytes]]):
    results = []
    for threads in (1, 2, 2, 3, 1):
        with limit_kernel_threads(threads):
            results.append(work())
    assert all(result == results[0] for result in results)


def test_the_pool_ends_beside_a_launch_that_does_not() -> None:
    pool = backends.cpu.codegen.thread_pool._Pool()
    pool.lock.acquire()  # as a launch of a thread that was left behind
    ending = threading.Thread(target=pool.stop, daemon=True)
    ending.start()
    ending.join(20)
    assert not ending.is_alive()
    assert pool.stopped


def test_eight_threads_of_python_at_once_get_what_one_gets():
    expected = {name: work() for name, work in WORK.items()}
    wrong: list[str] = []

    def repeat() -> None:
        for _ in range(10):
            wrong.extend(name for name, work in WORK.items() if work() != expected[name])

    with limit_kernel_threads(2):
        threads = [threading.Thread(target=repeat) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_child_of_a_fork_gets_the_same():
    """In a process of its own: a fork takes the test runner's threads' locks along."""
    result = python("""
        import os
        import numpy as np
        import backends.reference
        from backends.dispatch import kernels
        from backends.runtime.threads import limit_kernel_threads
        def step():
            arrays = [np.linspace(1, 2, 200_000, dtype=np.float32) for _ in range(4)]
            settings = dict(lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.0, step=3)
            kernels()["adam_"](*arrays, **settings)
            return arrays[0].tobytes()
        with limit_kernel_threads(2):
            before = step()
            child = os.fork()
            if child == 0:
                os._exit(0 if step() == before and step() == before else 3)
            same = step() == before
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), same)
    """)
    assert result.stdout == "0 True\n", result.stderr


# --- memory


def test_inputs_may_be_read_only():
    rows = normal(9, 31, 20, 17)
    expected = both_passes("batch_norm", rows, normal(17), normal(17), eps=1e-5)
    assert both_passes("batch_norm", frozen(rows), frozen(normal(17)), frozen(normal(17)), eps=1e-5) == expected
    theta, mean, square, grad = (np.abs(normal(20_000)) for _ in range(4))
    kernels()["adam_"](theta, mean, square, frozen(grad), **ADAM)


def test_inputs_may_lie_anyhow_in_memory():
    rows = normal(17, 20, 31, 9).T
    expected = both_passes("batch_norm", rows.copy(), normal(17), normal(17), eps=1e-5)
    assert both_passes("batch_norm", rows, normal(17), np.repeat(normal(17), 2)[::2], eps=1e-5) == expected


@every_work
def test_results_do_not_depend_on_what_memory_held_before(
    work: Callable[[], list[bytes]], monkeypatch: pytest.MonkeyPatch
):
    """Fresh memory holds NaN of the kind that makes NumPy warn, and a warning is an error here."""
    expected, original = work(), np.empty

    def spoilt(shape: Any, dtype: Any = float) -> np.ndarray:
        x = original(shape, dtype)
        if x.flags.c_contiguous and x.itemsize in (1, 4):
            whole = x.reshape(-1).view(np.uint8)
            pattern = np.array([0x7FA00000], np.uint32).view(np.uint8)
            whole[...] = np.resize(pattern, whole.size)
        return x

    monkeypatch.setattr(np, "empty", spoilt)
    monkeypatch.setattr(
        backends.cpu.codegen.thread_pool, "_pool", backends.cpu.codegen.thread_pool._Pool()
    )  # with scratch of its own
    try:
        assert work() == expected
    finally:
        backends.cpu.codegen.thread_pool._pool.stop()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda x: x.astype(np.float64), "float64"),
        (lambda x: x[::2], "in one piece"),
        (lambda x: x.reshape(2, -1), "in one piece"),
        (lambda x: x[:100], "fewer"),
        (lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32), "in one piece"),
    ],
)
def test_vectors_that_do_not_suit_are_declined_with_the_reason(spoil: Callable[..., Any], reason: str):
    arrays = [spoil(np.abs(normal(40_000))) for _ in range(4)]
    choice = explain(kernels()["adam_"], *arrays, **ADAM)
    assert choice.taken == "reference"
    assert reason in choice.declined[0][1]


@pytest.mark.parametrize(
    ("rows", "d", "k", "dtype", "reason"),
    [
        (32, 64, 32, "float32", "fewer than"),
        (4096, 784, 10, "float32", "a side of 10"),
        (1, 4096, 4096, "float32", "a side of 1"),
        (128, 784, 512, "float64", "float64"),
    ],
)
def test_products_that_a_blas_does_as_well_are_declined(rows: int, d: int, k: int, dtype: str, reason: str):
    for name in ("linear", "linear_relu"):
        choice = explain(kernels()[name], np.ones((rows, d), dtype), np.ones((d, k), dtype), None)
        assert choice.taken == "reference"
        assert reason in choice.declined[0][1]


@task(x=reads("n"), y=writes("n"))
def _exponentials(number, arguments):
    x, y, n = integers(arguments, 0, 3)
    for i in range(0, n, LANES):
        store(y, i, exp(load(x, i, n - i)), n - i)


@task(x=reads("n"), y=writes("n"))
def _sigmoids(number, arguments):
    x, y, n = integers(arguments, 0, 3)
    for i in range(0, n, LANES):
        store(y, i, sigmoid(load(x, i, n - i)), n - i)


@task(x=reads("n"), y=writes("n"))
def _tangents(number, arguments):
    x, y, n = integers(arguments, 0, 3)
    for i in range(0, n, LANES):
        store(y, i, tanh(load(x, i, n - i)), n - i)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ([normal(5)], "x, y: 1 came"),
        ([normal(5), normal(6)], "6 n where 5"),
        ([normal(5), normal(5).astype(np.float64)], "y is not a contiguous array of float32"),
        ([normal(10)[::2], normal(5)], "x is not a contiguous array"),
        ([normal(5), normal(5, 1)], "axes"),
        ([normal(5), frozen(normal(5))], "y is read-only"),
    ],
)
def test_a_launch_refuses_arrays_that_its_task_did_not_declare(arrays: list[np.ndarray], words: str):
    with pytest.raises(TypeError, match=words):
        launch(_exponentials, 1, arrays)


def test_exp_is_good_to_one_unit_and_knows_its_ends():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-87.3, 88.3, 100_003), rng.normal(0, 2, 100_000)]).astype(np.float32)
    y = np.empty_like(x)
    launch(_exponentials, 1, (x, y))
    exact = np.exp(x.astype(np.float64))
    assert (np.abs(y - exact) / np.spacing(exact.astype(np.float32))).max() < 1.0
    ends = np.array([np.nan, -np.inf, -1e4, 0.0, -0.0, np.inf], np.float32)
    y = np.empty_like(ends)
    launch(_exponentials, 1, (ends, y))
    assert np.isnan(y[0])
    assert y[1:5].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert y[5] > 2e38


@pytest.mark.parametrize(
    ("curve", "exact", "units", "ends"),
    [
        (_sigmoids, special.expit, 2.5, [0.0, 0.0, 0.5, 0.5, 1.0]),
        (_tangents, np.tanh, 1.5, [-1.0, -1.0, 0.0, -0.0, 1.0]),
    ],
)
def test_the_curves_of_the_gates_are_good_to_their_bound(
    curve: Task, exact: Callable[..., np.ndarray], units: float, ends: list[float]
):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-86.9, 86.9, 1_000_003), rng.normal(0, 2, 1_000_000), rng.normal(0, 1e-3, 10_000)])
    x = x.astype(np.float32)
    y = np.empty_like(x)
    launch(curve, 1, (x, y))
    expected = exact(x.astype(np.float64))
    assert (np.abs(y - expected) / np.spacing(np.abs(expected).astype(np.float32))).max() < units
    x = np.array([np.nan, -np.inf, -1e4, 0.0, -0.0, np.inf], np.float32)
    y = np.empty_like(x)
    launch(curve, 1, (x, y))
    assert np.isnan(y[0])
    np.testing.assert_allclose(y[1:], ends, atol=2e-38)
    np.testing.assert_array_equal(np.signbit(y[1:]), np.signbit(ends))


# --- how it starts


def test_the_kernels_are_there():
    assert backends.cpu.WHY_NOT == ""
    assert 1 <= kernel_threads() <= 8


USE = """
    import numpy as np
    import backends.reference
    from backends.dispatch import kernels
    x = np.full((200, 200), 2.0, np.float32)
    print(round(float(kernels()["cross_entropy"](x, np.zeros(200, int), None, label_smoothing=0.0)), 4))
    import backends.cpu
    print(backends.cpu.WHY_NOT or "compiled")
"""


def test_importing_and_helping_need_no_numba():
    result = python("import dlcore, dlcore.cli\nprint('numba' in sys.modules)")
    assert result.stdout == "False\n", result.stderr


def test_without_numba_the_references_run_and_doctor_tells_the_fix():
    block = "sys.modules['numba'] = None\n" + textwrap.dedent(USE)
    result = python(block + "from dlcore.cli import main\nmain(['doctor'])")
    lines = result.stdout.splitlines()
    assert lines[:2] == ["5.2983", "numba is not installed"], result.stderr
    at = next(i for i, line in enumerate(lines) if line.split()[:1] == ["numba"] and "not used" in line)
    assert "pip install" in lines[at + 1]


def test_a_numba_that_does_not_import_does_no_harm(tmp_path: Path):
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 1.0 or less')\n")
    result = python(f"sys.path.insert(0, {str(tmp_path)!r})\n" + textwrap.dedent(USE))
    assert result.stdout.splitlines()[0] == "5.2983", result.stderr
    assert "Numba needs NumPy 1.0 or less" in result.stdout


def test_what_does_not_compile_declines_and_the_reference_runs():
    result = python("""
        import numpy as np
        import backends.reference
        from backends.dispatch import explain, kernels
        from numba.core.ccallback import CFunc
        original = CFunc.compile
        def compile(self):
            if self._pyfunc.__module__ == "backends.cpu.loss":
                raise NotImplementedError("no vectors\\non this machine")
            original(self)
        CFunc.compile = compile
        x, labels = np.full((200, 200), 2.0, np.float32), np.zeros(200, int)
        print(round(float(kernels()["cross_entropy"](x, labels, None, label_smoothing=0.0)), 4))
        print(explain(kernels()["cross_entropy"], x, labels, None, label_smoothing=0.0))
        print(explain(kernels()["relu"], np.ones(200_000, np.float32)).taken)
    """)
    assert result.stdout.splitlines() == [
        "5.2983",
        "cross_entropy on numpy: reference",
        "  not CrossEntropyByRows: it does not compile here: NotImplementedError: no vectors",
        "ReluByPieces",
    ], result.stderr


def test_every_alternative_names_the_tasks_that_it_launches(monkeypatch: pytest.MonkeyPatch):
    """Nothing is left to be compiled, and perhaps to fail, once an alternative has taken a call."""
    launched: set[str] = set()
    words = Task.words
    monkeypatch.setattr(Task, "words", lambda self, *rest: launched.add(self.name) or words(self, *rest))
    for work in WORK.values():
        work()
    pairs = [entry.pair for kernel in kernels().values() for entry in kernel.alternatives.get("numpy", ())]
    assert launched <= {task.name for pair in pairs for task in tasks_of(pair)}
    by_numpy_alone = {"EmbeddingBySorting", "AddRowsBySorting"}
    assert {pair.__name__ for pair in pairs if not tasks_of(pair)} == by_numpy_alone


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder of compiled kernels, and the process that was the first to keep any there."""
    folder = tmp_path_factory.mktemp("numba")
    return folder, python(USE, NUMBA_CACHE_DIR=str(folder))


def test_the_first_run_is_announced_once_and_the_second_is_not(
    first_run: tuple[Path, subprocess.CompletedProcess[str]],
):
    folder, first = first_run
    second = python(USE, NUMBA_CACHE_DIR=str(folder))
    assert first.stdout == second.stdout == "5.2983\ncompiled\n"
    assert first.stderr == "compiling CPU kernels (first run)\n"
    assert second.stderr == ""


def test_a_damaged_cache_is_compiled_anew(first_run: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path):
    shutil.copytree(first_run[0], tmp_path, dirs_exist_ok=True)
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert kept
    for file in kept:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    result = python(USE, NUMBA_CACHE_DIR=str(tmp_path))
    assert result.stdout == "5.2983\ncompiled\n", result.stderr


def test_several_processes_may_compile_at_once(tmp_path: Path):
    results: list[subprocess.CompletedProcess[str]] = []
    threads = [
        threading.Thread(target=lambda: results.append(python(USE, NUMBA_CACHE_DIR=str(tmp_path)))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.stdout for result in results] == ["5.2983\ncompiled\n"] * 3, [r.stderr for r in results]


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path):
    file = tmp_path / "file"
    file.touch(stat.S_IRUSR)
    result = python(USE, NUMBA_CACHE_DIR=str(file / "cache"))  # not even root can make a folder in a file
    assert result.stdout == "5.2983\ncompiled\n", result.stderr
