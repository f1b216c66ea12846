"""``python -m benchmarks.peers``: what it prints and writes, what it says of peers that are missing or fail, bad input.

The peers here are NumPy and SciPy; the others are hidden, so that the tests are the same wherever they are installed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from benchmarks.peers import ours
from benchmarks.peers.report import ratios_of
from benchmarks.peers.rounds import Measured, Series
from benchmarks.peers.workloads import SUITES, Filter, Training, normal

ROOT = Path(__file__).resolve().parent.parent
Peers = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def peers(tmp_path: Path) -> Peers:
    """Runs the command where importing a hidden package fails as if it were not installed."""
    for name in ("torch", "jax", "cv2"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}', name='{name}')\n")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "OPENBLAS_CORETYPE": "Haswell"}
        command = [sys.executable, "-m", "benchmarks.peers", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)

    return run


def test_a_product_beside_numpys_with_the_other_peers_missing_or_broken(peers: Peers, tmp_path: Path) -> None:
    (tmp_path / "jax.py").write_text("raise ImportError('no libjax.so\\nand more')\n")
    file = tmp_path / "figures.json"
    done = peers("kernels", "--only", "linear 64-32", "--rounds", "1", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "PyTorch is not installed: pip install torch" in lines
    assert "JAX cannot be imported: ImportError: no libjax.so" in lines
    assert not [line for line in lines if "OpenCV" in line or "SciPy" in line]  # they have no products
    assert re.search(r"linear 64-32, batch 32: forward +dlcore, own loop +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+", done.stdout)
    assert re.search(r"NumPy, default +[\d.]+\* +[\d.]+\* +\([\d.]+\) +\([\d.]+\)", done.stdout)

    written = json.loads(file.read_text())
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", written["commit"])
    assert isinstance(written["changes"], bool)
    assert written["machine"]["environment"].get("OPENBLAS_CORETYPE") is None
    assert written["rounds"] == 1
    assert written["versions"].keys() == {"dlcore", "numpy"}
    assert written["missing"].keys() == {"pytorch", "jax"}
    assert written["failures"] == []
    assert {(one["part"], one["framework"], one["setting"]) for one in written["results"]} == {
        (part, framework, setting)
        for part in ("forward", "backward")
        for framework, setting in (("dlcore", "own loop"), ("dlcore", "as in Trainer"), ("numpy", "default"))
    }
    for one in written["results"]:
        assert one["ms"] == [one["best"]] == [one["median"]]
        assert 0 < one["best"] < 1000
        assert one["peak_bytes"][0] >= one["imported_bytes"][0] > 2**20
    times = {(one["part"], one["framework"], one["setting"]): one["median"] for one in written["results"]}
    for ratio in written["ratios"]:
        expected = times[ratio["part"], "numpy", "default"] / times[ratio["part"], "dlcore", ratio["setting"]]
        assert ratio["of_medians"] == ratio["of_bests"] == pytest.approx(expected)


def test_a_filter_beside_scipys_gives_the_same_picture_and_a_peer_that_fails_is_shown_by_its_first_line(
    peers: Peers, tmp_path: Path
) -> None:
    (tmp_path / "cv2.py").write_text(
        "__version__ = '9'; BORDER_REFLECT_101 = CV_32F = 1\n"
        "def setNumThreads(n): pass\n"
        "def Sobel(*a, **k): raise RuntimeError('no such border\\nat line 3')\n"
    )
    done = peers("filters", "--only", "Sobel", "--rounds", "1")
    assert done.returncode == 0, done.stdout + done.stderr  # 1 where the pictures differ
    assert re.search(r"SciPy, default +[\d.]+\*", done.stdout)
    assert "failed: Sobel, x: OpenCV, default: round 1: RuntimeError: no such border" in done.stdout.splitlines()
    assert "at line 3" not in done.stdout
    assert "PyTorch" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["filter"], "no suite 'filter', choose from filters, conv, kernels, training, compile"),
        (["conv", "--only", "lstm"], "--only 'lstm': no workload of conv"),
        (["--rounds", "0"], "'0' is not a whole number of at least 1"),
        (["--json", "nowhere/figures.json"], "there is no folder"),
        (["--fast"], "--fast"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(peers: Peers, arguments: list[str], words: str) -> None:
    done = peers(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line


def test_the_commands_of_readme_are_understood(peers: Peers) -> None:
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"python -m benchmarks\.peers([^`\n]*)", readme)
    assert len(commands) >= 2
    for command in commands:
        assert peers(*command.split(), "--list").returncode == 0


def test_list_names_every_workload_once(peers: Peers) -> None:
    lines = peers("--list").stdout.splitlines()
    names = [line.strip() for line in lines if line.startswith("  ")]
    assert names == [work.name for works in SUITES.values() for work in works]
    assert len(set(names)) == len(names)
    assert [line for line in lines if not line.startswith("  ")] == [*SUITES, "compile"]


# --- the arithmetic, and what is measured


def _series(framework: str, setting: str, ms: list[float], check: float | None = None) -> Series:
    return Series("conv", "a", "forward", framework, setting, ms, [None], [None], check)


def test_a_ratio_is_the_fastest_setting_of_any_peer_over_dlcore() -> None:
    series = [
        _series("dlcore", "own loop", [2.0, 4.0, 9.0]),
        _series("pytorch", "default", [8.0, 8.0, 8.0]),
        _series("pytorch", "channels last", [1.0, 10.0, 10.0]),
        _series("jax", "jit", [9.0, 9.0, 9.0]),
    ]
    (ratio,) = ratios_of(series)
    assert (ratio.of_medians, ratio.to_median_of) == (2.0, "PyTorch, default")
    assert (ratio.of_bests, ratio.to_best_of) == (0.5, "PyTorch, channels last")
    assert ratios_of(series[:1]) == []


def test_results_that_differ_are_named() -> None:
    measured = Measured()
    for framework, check in (("dlcore", 1.0), ("pytorch", 1.0005), ("jax", float("nan"))):
        one = _series(framework, "x", [1.0], check)
        measured.series[framework, "x"] = one
    (line,) = measured.disagreements()
    assert "JAX" in line


def test_the_models_are_those_that_their_names_tell() -> None:
    def parameters(name: str) -> int:
        (work,) = (w for w in SUITES["training"] if w.name.startswith(name))
        assert isinstance(work, Training)
        return sum(p.size for p in ours.model_of(work.layers).build(work.shape, seed=0).parameters())

    assert parameters("MLP 64-32-10") == 64 * 32 + 32 + 32 * 10 + 10
    assert parameters("CNN") == 9 * 32 + 32 + 9 * 32 * 64 + 64 + 7 * 7 * 64 * 128 + 128 + 1290
    assert parameters("VGG") == 9 * 64 * (3 + 64 + 128) + 2 * (64 + 64 + 128) + 8 * 8 * 128 * 10 + 10
    stages = 9 * (16 * 16 * 2) + 9 * (16 * 32 + 32 * 32) + 9 * (32 * 64 + 64 * 64)
    assert parameters("ResNet-8") == 9 * 3 * 16 + stages + (16 * 32 + 32 * 64) + 2 * (16 * 3 + 32 * 3 + 64 * 3) + 650


@pytest.mark.parametrize("work", [w for w in SUITES["filters"] if isinstance(w, Filter)], ids=lambda w: w.kind)
def test_dlcores_filters_are_scipys(work: Filter) -> None:
    small = Filter(work.name, work.kind, 32)
    image, taps = normal(32, 32).astype(np.float64), normal(5, 5, seed=2)
    expected = {
        "gaussian": lambda: ndimage.gaussian_filter(image, 2.0, mode="mirror"),
        "sobel": lambda: -ndimage.sobel(image, axis=1, mode="mirror"),  # the opposite sign
        "correlate": lambda: ndimage.correlate(image, taps, mode="mirror"),
        "box": lambda: ndimage.uniform_filter(image, 9, mode="mirror"),
    }[work.kind]()
    np.testing.assert_allclose(ours.filter_of(small)(), expected, rtol=0, atol=1e-5)  # float32, sums of 25 at most


def test_a_step_of_every_training_workload_lowers_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    import dlcore as dl

    losses: list[float] = []
    cross_entropy = dl.losses.cross_entropy

    def watch(*arguments: Any) -> Any:
        loss = cross_entropy(*arguments)
        losses.append(float(loss))
        return loss

    monkeypatch.setattr(dl.losses, "cross_entropy", watch)
    for work in SUITES["training"]:
        assert isinstance(work, Training)
        if work.shape[0] < 784:
            step = ours.step_of(Training(work.name, work.layers, work.shape, batch=2))
            losses.clear()
            for _ in range(5):
                step()
            assert losses[-1] < losses[0], work.name
