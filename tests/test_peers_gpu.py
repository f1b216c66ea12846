"""``python -m benchmarks.peers --device cuda`` where there is no GPU: a dry run on the CPU, and what is said."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from benchmarks.peers import gpu, gpu_child
from benchmarks.peers.__main__ import main
from benchmarks.peers.workloads import SUITES, Training

SMALL = "MLP 64-32-10, batch 32"


def child(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    gpu_child.main(words)
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


@pytest.mark.parametrize("setting", gpu.SETTINGS["dlcore"])
def test_a_dry_run_of_dlcore_gives_every_figure_that_a_cpu_has(
    setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = child(capsys, "dlcore", SMALL, setting, "cpu")
    assert set(found) == {"wall", "walls", "host", "device", "loss", "version"}
    assert found["device"] is None
    assert found["host"] > 0
    assert np.isfinite(found["loss"])


def test_what_fails_is_its_first_line_and_what_is_missing_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert child(capsys, "dlcore", "no such workload", "float32", "cpu")["error"]
    assert child(capsys, "tinygrad", SMALL, "eager", "cpu") == {"missing": "benchmarks.peers.gpu_tinygrad"}


class Late:
    """A stream whose host is late now and then."""

    def __init__(self, answers: list[float | None]) -> None:
        self.answers, self.queued = iter(answers), []

    def wait(self) -> None:
        pass

    def behind(self, step: Any, count: int, hold: float) -> float | None:
        self.queued.append((count, hold))
        return next(self.answers)


def test_the_devices_time_is_the_median_of_those_where_the_host_was_on_time() -> None:
    queue = Late([3.0, None, 1.0, 2.0, None])
    found = gpu_child.measure(lambda: 0.5, queue, dry=False, launches=100)
    assert found["device"] == 2.0
    assert found["loss"] == 0.5
    assert all(count == 6 and hold >= 20 for count, hold in queue.queued)
    assert gpu_child.measure(lambda: 0.5, Late([None] * 5), dry=False)["device"] is None


def answer(wall: float) -> dict[str, Any]:
    return {"wall": wall, "host": wall / 2, "device": None, "loss": 1.0}


def run(
    answers: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, file: Path | None = None
) -> tuple[int, str]:
    monkeypatch.setattr(gpu, "_child", lambda framework, name, setting, place: answers[setting])
    works = [work for work in SUITES["training"] if work.name == SMALL and isinstance(work, Training)]
    console = Console(file=io.StringIO(), width=160)
    code = gpu.run(works, 2, dry=False, file=file, console=console, say=lambda text: None)
    return code, console.file.getvalue()  # type: ignore[union-attr]


def test_the_ratio_is_that_of_the_fastest_pytorch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = {"float32": answer(2.0), "tf32": answer(1.0), "eager": answer(4.0), "tuned": answer(3.0)}
    answers["compiled"] = {"error": "RuntimeError: no compiler"}
    code, said = run(answers, monkeypatch, tmp_path / "figures.json")
    assert code == 0
    assert "1.50" in said
    assert "3.00" in said
    assert "PyTorch, compiled: RuntimeError: no compiler" in said
    assert len(json.loads((tmp_path / "figures.json").read_text())["workloads"][SMALL]["dlcore, tf32"]) == 2


def test_without_pytorch_dlcore_stands_alone_and_where_dlcore_fails_the_code_is_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: dict[str, Any] = {name: {"missing": "torch"} for name in gpu.SETTINGS["pytorch"]}
    code, said = run({**answers, "float32": answer(2.0), "tf32": answer(1.0)}, monkeypatch)
    assert code == 0
    assert said.count("not installed") == 3
    assert run({**answers, "float32": answer(2.0), "tf32": {"error": "x"}}, monkeypatch)[0] == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--dry"], "--dry goes with --device cuda"),
        (["filters", "--device", "cuda", "--dry"], "give the suite training"),
        (["training", "--device", "tpu"], "tpu"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


def test_without_a_gpu_it_says_so_and_offers_the_dry_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "why_not", lambda: "no CUDA driver")
    with pytest.raises(SystemExit):
        main(["training", "--device", "cuda"])
    assert "--device cuda: no CUDA driver" in capsys.readouterr().err


def test_the_whole_command_runs_dry(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu, "SETTINGS", {"dlcore": ("float32",)})  # PyTorch may be missing, and takes long to import
    words = ["training", "--device", "cuda", "--dry", "--only", "MLP 64", "--json", str(tmp_path / "figures.json")]
    assert main(words) == 0
    assert "no figure means anything" in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["dry"]
    assert figures["workloads"][SMALL]["dlcore, float32"][0]["wall"] > 0
