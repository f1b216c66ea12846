"""Runs that earlier code made stay what they were: they are listed, measured and used, with the figures of that time.

``version-0.1`` holds what version 0.1 made; ``rules-2`` what was made after tables were read by its second set of
rules, from the same files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl
from commands import dlcore, output_of
from llvmlite.binding import get_host_cpu_name

from dlcore.cli import main
from dlcore.train.runs.run import Run

EARLIER = Path(__file__).resolve().parents[1] / "earlier"
FIGURES: dict[str, dict[str, Any]] = {
    version: json.loads((EARLIER / version / "figures.json").read_text(encoding="utf-8"))
    for version in ("version-0.1", "rules-2")
}
"""What was printed of these runs: evaluate and predict with --json, and how the interrupted ones ended."""
MADE_ON = FIGURES["rules-2"].pop("made on")
"""What the bits of a run depend on besides the code."""
CLOSE = 1e-5  # relative and absolute: another BLAS rounds otherwise


def having(key: str) -> list[tuple[str, str]]:
    """The runs, by version and name, of which something was printed."""
    return [(version, name) for version, runs in FIGURES.items() for name, found in runs.items() if key in found]


@pytest.fixture
def folder(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the runs and of what they have learnt from, in the folder where the command runs."""
    copy = tmp_path / "work"
    shutil.copytree(EARLIER / "version-0.1", copy, ignore=shutil.ignore_patterns("runs"))
    shutil.copytree(EARLIER / version, copy, dirs_exist_ok=True)
    for path in copy.rglob("runs/**/*"):
        if path.suffix in (".toml", ".json"):
            path.write_text(path.read_text(encoding="utf-8").replace("@FOLDER@", str(copy)), encoding="utf-8")
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DLCORE_TRUST", "1")
    return copy


@pytest.mark.parametrize("version", FIGURES)
def test_they_are_listed_with_their_figures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = {entry["run"]: entry for entry in json.loads(output_of(capsys, "runs", "list", "--json"))}
    assert set(listed) == {run.name for run in (folder / "runs").iterdir()}
    for name, entry in listed.items():
        assert entry["status"] == ("interrupted" if name.startswith("interrupted") else "finished"), name


@pytest.mark.parametrize(("version", "name"), having("evaluate"))
def test_evaluate_gives_the_figures_of_that_time(
    version: str, name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part, figures in FIGURES[version][name]["evaluate"].items():
        found = json.loads(output_of(capsys, "evaluate", name, "--part", part, "--json"))["figures"]
        assert found == pytest.approx(figures, rel=CLOSE, abs=CLOSE), part


@pytest.mark.parametrize(("version", "name"), having("predict"))
def test_predict_gives_the_outputs_of_that_time(
    version: str, name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = FIGURES[version][name]["predict"]
    main(("predict", name, *before["words"], "--json"))
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [line for line in found if "outputs" in line or "heads" in line]  # and not what could not be predicted
    assert len(told) == len(before["lines"])
    for line, then in zip(told, before["lines"], strict=True):
        for now, old in zip(_parts(line), _parts(then), strict=True):
            assert now["outputs"] == pytest.approx(old["outputs"], rel=CLOSE, abs=CLOSE)
            assert now["prediction"] == (
                pytest.approx(old["prediction"], rel=CLOSE) if "top" not in old else old["prediction"]
            )


def _parts(line: dict[str, Any]) -> list[dict[str, Any]]:
    return list(line["heads"].values()) if "heads" in line else [line]


@pytest.mark.parametrize(("version", "name"), having("end"))
def test_an_interrupted_run_goes_on_to_the_same_end_or_says_what_has_changed(
    version: str, name: str, folder: Path
) -> None:
    before = FIGURES[version][name]
    run = Run(folder / "runs" / name)
    if main(("train", "--resume", name)):
        assert version == "version-0.1"
        done = dlcore("train", "--resume", name, cwd=folder, code=2)
        (line,) = [line for line in done.stderr.splitlines() if "error:" in line]
        assert "0.1" in line
        assert "lam" in line
        return
    assert run.result is not None
    for model, figures in before["end"].items():
        assert run.result["test"][model] == pytest.approx(figures, rel=CLOSE, abs=CLOSE)
    for now, then in zip(run.records(), before["metrics"], strict=True):
        assert now == pytest.approx(then, rel=CLOSE, abs=CLOSE)
    if "weights" in before and _machine() == MADE_ON:
        assert hashlib.sha256((run.folder / "model.safetensors").read_bytes()).hexdigest() == before["weights"]


def _machine() -> dict[str, str]:
    blas = next(pool for pool in threadpoolctl.threadpool_info() if "numpy" in pool["filepath"])
    return {"numpy": np.__version__, "blas": blas["architecture"], "cpu": get_host_cpu_name()}
