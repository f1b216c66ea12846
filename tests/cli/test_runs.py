"""Runs on disk, gone on with and listed, from another process and another folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from commands import dlcore, refused, said

import dlcore as dl
from dlcore._core.lock import Lock, holder
from dlcore.cli import main
from dlcore.train.runs.run import Run

ROOT = Path(__file__).resolve().parents[2]


# Resume --------------------------------------------------------------------------------------------------------------

JOB = (
    "train", "--data", "digits", "--device", "cpu", "--epochs", "6", "--patience", "3", "--penalty", "l2",
    "--batch-size", "64", "--checkpoint-steps", "1",
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of JOB that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    dlcore(*JOB, "--name", "a", cwd=folder)
    return folder / "runs" / "a"


def same(folder: Path, whole: Path) -> bool:
    files = ("metrics.jsonl", "health.jsonl", "model.safetensors", "model.json", "config.toml")
    return all((folder / name).read_bytes() == (whole / name).read_bytes() for name in files)


def started(words: tuple[str, ...], step: int, folder: Path) -> subprocess.Popen[str]:
    """A process that has come to about a step."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "dlcore", *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    while process.poll() is None:
        steps = [int(file.stem.removeprefix("step-")) for file in (folder / "checkpoints").glob("step-*.safetensors")]
        if steps and max(steps) >= step:
            return process
        time.sleep(0.005)
    raise AssertionError(f"ended before step {step}: {process.communicate()}")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send to another process")
def test_signals_and_kills_one_after_the_other_change_nothing(whole: Path) -> None:
    words = (*JOB, "--name", "a", "--resume", "auto")
    for step, number in ((3, signal.SIGTERM), (25, signal.SIGINT), (48, signal.SIGKILL), (66, signal.SIGHUP)):
        process = started(words, step, Path("runs/a"))
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        if number == signal.SIGKILL:
            assert (process.returncode, err) == (-9, "")
        else:
            assert process.returncode == 128 + number
            (line,) = err.splitlines()
            assert f"interrupted by {number.name} in epoch" in line
            assert "the run is saved, go on by dlcore train --resume runs/a" in line
        assert ("resumed: from runs/a/checkpoints/step-" in out) == (step > 3)
    done = dlcore("train", "--resume", "runs/a")
    assert "resumed: " in done.stdout
    assert same(Path("runs/a"), whole)


def test_auto_finds_the_interrupted_run_of_the_same_settings(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--data", "cars", "--device", "cpu", "--epochs", "3", "--resume", "auto", "--baseline", "none"]
    said(capsys, *words)
    assert [path.name for path in Path("runs").iterdir()] == ["cars-mlp-001"]
    Path("runs/cars-mlp-001/result.json").unlink()  # as where it was killed before that was written
    lines = said(capsys, *words, "--threads", "1")
    assert any(line.startswith("resumed: from runs/cars-mlp-001/checkpoints/step-00000045") for line in lines)
    assert not any(line.startswith("epoch") for line in lines)
    assert "runs/cars-mlp-001 is finished: 3 epochs" in said(capsys, *words)[-1]  # a loop that restarts it may end
    assert "resume: no run of this name or these settings is there, a new one begins" in said(
        capsys, *words, "--seed", "1"
    )
    assert len(list(Path("runs").iterdir())) == 2


def test_a_run_that_is_finished_says_so_and_goes_on_for_more_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("train", "--data", "cars", "--device", "cpu", "--baseline", "none", "--schedule", "constant")
    said(capsys, *words, "--epochs", "2", "--name", "a")
    assert "runs/a is finished: 2 epochs; more --epochs would go on" in said(capsys, "train", "--resume", "a")
    lines = said(capsys, "train", "--resume", "a", "--epochs", "4")
    assert len([line for line in lines if line.startswith("epoch ")]) == 2
    said(capsys, *words, "--epochs", "4", "--name", "b")
    assert Path("runs/a/metrics.jsonl").read_bytes() == Path("runs/b/metrics.jsonl").read_bytes()


def test_a_checkpoint_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "train", "--data", "cars", "--device", "cpu", "--baseline", "none", "--epochs", "3", "--name", "a")
    metrics = Path("runs/a/metrics.jsonl").read_bytes()
    Path("runs/a/result.json").unlink()
    lines = said(capsys, "train", "--resume", "runs/a/checkpoints/step-00000030.safetensors")
    assert any("after step 30, with 2 of 3 epochs done" in line for line in lines)
    assert Path("runs/a/metrics.jsonl").read_bytes() == metrics


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--resume", "nowhere"], 1, "nowhere: no run is there, nor in runs"),
        (["--resume", "aa"], 1, "did you mean a?"),
        (["--resume", "a", "--batch-size", "7"], 2, "--batch-size is 16 in runs/a but 7 was given"),
        (["--resume", "a", "--data", "digits"], 2, "data is cars in runs/a but digits was given"),
        (["--resume", "a", "--overwrite", "--name", "a"], 2, "--resume and --overwrite came together"),
        (["--resume", "a", "--config", "runs/a/config.toml"], 2, "--resume and --config came together"),
    ],
)
def test_what_cannot_go_on_is_one_line(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "train", "--data", "cars", "--device", "cpu", "--baseline", "none", "--epochs", "1", "--name", "a")
    assert message in refused(capsys, "train", *words, code=code)


def test_a_second_process_is_refused_and_a_dead_one_is_not_in_the_way(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("train", "--data", "cars", "--device", "cpu", "--baseline", "none", "--epochs", "400", "--name", "a")
    process = started((*words, "--checkpoint-steps", "1"), 5, Path("runs/a"))
    try:
        line = refused(capsys, "train", "--resume", "a", code=2)
        assert "runs/a is in use by process" in line
        assert f"process {process.pid} on" in line
        assert f"process {process.pid} on" in refused(capsys, *words, "--overwrite", code=2)
        assert json.loads("\n".join(said(capsys, "runs", "list", "--json")))[0]["status"] == "running"
    finally:
        process.kill()
        process.communicate()
    assert json.loads("\n".join(said(capsys, "runs", "list", "--json")))[0]["status"] == "interrupted"
    said(capsys, *words[:-3], "3", "--name", "a", "--overwrite")
    assert json.loads("\n".join(said(capsys, "runs", "list", "--json")))[0]["status"] == "finished"


def test_a_lock_has_one_owner_and_no_forked_child_keeps_it(tmp_path: Path) -> None:
    with Lock(tmp_path) as lock:
        with pytest.raises(dl.ConfigError, match=f"in use by process {os.getpid()}"):
            Lock(tmp_path / "x" / "..").acquire()
        lock.check()
        child = subprocess.Popen(["sleep", "60"])  # what it inherits does not hold the lock
    try:
        Lock(tmp_path).acquire().release()
    finally:
        child.kill()
        child.wait()


def test_looking_at_a_lock_never_gets_in_the_way_of_taking_it(tmp_path: Path) -> None:
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            holder(tmp_path)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(300):
            Lock(tmp_path).acquire().release()
    finally:
        stop.set()
        looking.join()


def test_a_folder_that_was_removed_under_a_run_is_noticed(tmp_path: Path) -> None:
    with Lock(tmp_path / "run") as lock:
        shutil.rmtree(tmp_path / "run")
        with pytest.raises(dl.CheckpointError, match="removed or replaced"):
            lock.check()


def test_overwriting_leaves_what_is_no_run_and_what_nothing_took_the_place_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("train", "--data", "cars", "--device", "cpu", "--baseline", "none", "--epochs", "1", "--name", "a")
    Path("runs/a/checkpoints").mkdir(parents=True)
    for name in ("model.py", "config.toml", "checkpoints/precious"):
        Path("runs/a", name).write_text("mine")
    assert "it holds no run" in refused(capsys, *words, "--overwrite", code=2)
    assert [Path("runs/a", name).read_text() for name in ("model.py", "checkpoints/precious")] == ["mine", "mine"]
    shutil.rmtree("runs/a")

    said(capsys, *words)
    before = {path: path.read_bytes() for path in Path("runs/a").rglob("*") if path.is_file() and path.name != ".lock"}
    for more in (["--lr", "1e30"], ["--model", "nofile.py:build"], ["--data", "digits", "--batch-size", "359"]):
        assert main([*words, *more, "--overwrite"]) > 0
        there = {path: path.read_bytes() for path in Path("runs/a").rglob("*") if path.is_file()}
        assert {path: there[path] for path in before} == before, more
    said(capsys, *words, "--seed", "1", "--overwrite")
    assert not Path("runs/a/.before").exists()
    assert Path("runs/a/model.safetensors").read_bytes() != before[Path("runs/a/model.safetensors")]


def test_a_resume_that_fails_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.csv").write_text("a,b\n" + "".join(f"{i},{2 * i}\n" for i in range(40)))
    said(capsys, "train", "--data", "mine.csv", "--device", "cpu", "--baseline", "none", "--epochs", "1", "--name", "a")
    Path("mine.csv").write_text("a,b\n" + "".join(f"{i},{3 * i}\n" for i in range(40)))
    before = {path: path.read_bytes() for path in Path("runs/a").rglob("*") if path.is_file() and path.name != ".lock"}
    for words, code in ((["--epochs", "3"], 2), (["--epochs", "3", "--lr", "1e30"], 2), (["--name", "b"], 2)):
        refused(capsys, "train", "--resume", "a", *words, code=code)
        assert {path: path.read_bytes() for path in before} == before
    assert main(["evaluate", "a"]) == 0
    assert "the data have changed since the training" in capsys.readouterr().err


def test_fewer_epochs_than_are_done_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "train", "--data", "cars", "--device", "cpu", "--baseline", "none", "--epochs", "3", "--name", "a")
    assert "has done 3 epochs" in refused(capsys, "train", "--resume", "a", "--epochs", "2", code=2)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_nobody_listening_is_no_reason_to_stop(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "dlcore",
        "train",
        "--data",
        "cars",
        "--baseline",
        "none",
        "--epochs",
        "9",
        "--name",
        "a",
    ]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}, bufsize=0)
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.wait(60) == 0
    assert Run("runs/a").status == "finished"


def test_an_early_stopped_run_that_goes_on_in_its_baseline_stays_early_stopped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("train", "--data", "cars", "--device", "cpu", "--lr", "0", "--patience", "2", "--name", "a")
    said(capsys, *words)
    result = json.loads(Path("runs/a/result.json").read_text())
    Path("runs/a/result.json").unlink()  # as where it was killed while the baseline was trained
    said(capsys, "train", "--resume", "a")
    again = json.loads(Path("runs/a/result.json").read_text())
    assert (again["stopped_epoch"], again["test"]) == (2, result["test"])
    assert "it was stopped early, after 3 epochs" in said(capsys, "train", "--resume", "a", "--epochs", "9")[-1]


def test_a_loss_that_diverges_names_the_last_good_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("train", "--data", "cars", "--device", "cpu", "--optimizer", "sgd", "--lr", "1e4", "--name", "a")
    line = refused(capsys, *words, "--checkpoint-steps", "1", code=1)
    assert "in epoch 1, step" in line
    assert "the last good checkpoint is runs/a/checkpoints/step-" in line
    for file in Path("runs/a/checkpoints").iterdir():
        arrays, _ = dl.train.checkpoint.read_arrays(file)
        assert all(np.isfinite(array).all() for array in arrays.values())


# The list ------------------------------------------------------------------------------------------------------------


def test_runs_are_listed_the_oldest_first_whatever_their_files_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "runs", "list") == ["no runs in runs; dlcore train makes one"]
    words = ("train", "--data", "cars", "--epochs", "1", "--baseline", "none", "--device", "cpu")
    for name in ("b", "a"):
        said(capsys, *words, "--name", name)
    Path("runs/a/config.toml").write_text("[train]\nepochs = 'many'\n")
    for odd in ("{", "{}", "[]", '{"test": [], "epochs": 1}', '{"test": {"mlp": {"r2": "x"}}, "epochs": 1}'):
        Path("runs/b/result.json").write_text(odd)
        assert main(["runs", "list"]) == 0
        captured = capsys.readouterr()
        header, first, second = captured.out.splitlines()
        assert header.split() == ["run", "status", "data", "model", "epochs", "development", "test", "began"]
        assert first.split()[:7] == ["b", "interrupted", "cars", "mlp", "1", "of", "1"]
        assert second.split()[:2] == ["a", "finished"]
        assert "runs/a/config.toml: [train] epochs is 'many'" in captured.err
    Path("runs/b/metrics.jsonl").write_text('{"epoch": 0, "dev_r2": "x"}\n[]\nnull\n')
    assert main(["runs", "list"]) == 0
    capsys.readouterr()
    assert "a file, but the folder" in refused(capsys, "runs", "list", "--runs", "runs/a/config.toml", code=2)
