"""Runs on disk, used again: resumed, measured, asked, listed; from another process and another folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dlcore as dl
from dlcore.cli import main
from dlcore.train.config import Config
from dlcore.train.lock import Lock, holder

ROOT = Path(__file__).resolve().parents[2]
OWN = """
import helper
from dlcore import nn

class Twice(nn.Module):
    def __init__(self, units):
        self.dense = nn.Dense(units)

    def forward(self, x):
        return self.dense(x) * 2

def build(outputs):
    return nn.Sequential(nn.Flatten(), Twice(helper.units), nn.Dropout(0.2), nn.ReLU(), nn.Dense(outputs))
"""


def dlcore(*words: str, cwd: Path | str = ".", code: int = 0) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "dlcore", *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, done.stderr
    return done


def said(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The lines on stdout of a command that succeeds."""
    code = main(words)
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out.splitlines()


def refused(capsys: pytest.CaptureFixture[str], *words: str, code: int) -> str:
    """The one line on stderr of a command that fails."""
    assert main(words) == code
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("dlcore: error: ")


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
        (["--resume", "a", "--batch-size", "7"], 2, "batch_size is 16 in runs/a but 7 was given"),
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


def test_targets_that_changed_since_are_measured_in_the_scale_that_was_learnt(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def write(scale: int) -> None:
        Path("mine.csv").write_text("a,b\n" + "".join(f"{i},{scale * (i + 50)}\n" for i in range(40)))

    write(1000)
    words = ("--data", "mine.csv", "--model", "linear", "--device", "cpu", "--epochs", "20", "--name", "a")
    said(capsys, "train", *words)
    Path("runs/a/result.json").unlink()  # so that diagnose measures anew
    write(10_000)
    assert main(["evaluate", "a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"]["r2"] < -1  # predicted is a tenth of the new targets
    assert main(["diagnose", "a"]) == 0
    (bias,) = re.findall(r"avoidable bias \+([0-9.]+)", capsys.readouterr().out)
    assert float(bias) > 2


def test_inputs_that_changed_since_are_normalised_by_what_was_learnt(capsys: pytest.CaptureFixture[str]) -> None:
    def write(scale: int) -> None:
        Path("mine.csv").write_text("a,b\n" + "".join(f"{scale * i},{i + 50}\n" for i in range(40)))

    write(1)
    words = ("--data", "mine.csv", "--model", "linear", "--device", "cpu", "--epochs", "40", "--name", "a")
    said(capsys, "train", *words)
    write(10)
    assert main(["evaluate", "a", "--json"]) == 0
    assert (
        json.loads(capsys.readouterr().out)["figures"]["r2"] < -1
    )  # as predict: b = a + 50, of an a ten times as large
    Path("runs/a/result.json").unlink()  # so that diagnose measures anew
    assert main(["diagnose", "a"]) == 0
    (bias,) = re.findall(r"avoidable bias \+([0-9.]+)", capsys.readouterr().out)
    assert float(bias) > 2


def test_a_resume_that_fails_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.csv").write_text("a,b\n" + "".join(f"{i},{2 * i}\n" for i in range(40)))
    said(capsys, "train", "--data", "mine.csv", "--device", "cpu", "--baseline", "none", "--epochs", "1", "--name", "a")
    Path("mine.csv").write_text("a,b\n" + "".join(f"{i},{3 * i}\n" for i in range(40)))
    before = {path: path.read_bytes() for path in Path("runs/a").rglob("*") if path.is_file() and path.name != ".lock"}
    for words, code in ((["--epochs", "3"], 2), (["--epochs", "3", "--lr", "1e30"], 2), (["--name", "b"], 2)):
        refused(capsys, "train", "--resume", "a", *words, code=code)
        assert {path: path.read_bytes() for path in before} == before
    assert main(["evaluate", "a"]) == 0
    assert "the test set is not the one of the training any more" in capsys.readouterr().err


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
    assert dl.train.run.Run("runs/a").status == "finished"


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


# Evaluate and predict ------------------------------------------------------------------------------------------------

KINDS: dict[str, dict[str, Any]] = {
    "cnn": {"data": "digits", "model": "cnn", "epochs": 2},
    "mlp, stopped early": {"data": "digits", "model": "mlp", "epochs": 4, "patience": 1, "lr": 0.3},
    "logistic, binary": {"data": "penguins", "target": "sex", "model": "logistic", "epochs": 3},
    "linear": {"data": "cars", "model": "linear", "epochs": 3},
    "float64": {"data": "cars", "model": "mlp", "epochs": 2, "precision": "float64"},
    "one's own": {"data": "digits", "model": "own.py:build", "epochs": 2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_of_every_kind_is_measured_and_predicts_as_its_trainer_did(
    kind: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own.py").write_text(OWN)
    Path("helper.py").write_text("units = 16\n")
    settings = Config.of(**KINDS[kind], device="cpu", baseline="none", name="a")
    Path("job.toml").write_text(dl.train.config.dump(settings))
    said(capsys, "train", "--config", "job.toml")

    data = settings.data.load()
    settings = settings.resolve(data)
    trainer = settings.trainer(data, "cpu")
    trainer.fit(data.train, data.dev, epochs=settings.train.epochs or 0, batch_size=settings.train.batch_size or 0)
    if kind == "one's own":
        Path("own.py").write_text("def build(outputs): raise OSError('the run has its own copy')")

    other = tmp_path / "other"
    other.mkdir()
    (figures,) = (json.loads(line) for line in dlcore("evaluate", "../runs/a", "--json", cwd=other).stdout.splitlines())
    assert figures["figures"] == trainer.evaluate(data.test)

    raw = dl.data.load(settings.data.data, target=settings.data.target)
    np.savez("test.npz", x=raw.test.x)
    monkeypatch.chdir(other)
    lines = said(capsys, "predict", "../runs/a", "--npz", "../test.npz", "--json", "--top", "2")
    outputs = np.array([json.loads(line)["outputs"] for line in lines]).astype(settings.train.precision)
    assert np.array_equal(outputs, trainer.predict(data.test.x))


def test_pictures_are_predicted_as_in_training(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--model", "mlp", "--hidden", "16", "--epochs", "1", "--baseline", "none", "--device", "cpu")
    said(capsys, "train", "--name", "a", *words)
    raw = dl.data.load("fashion-subset")
    names = [f"{i}.png" for i in range(5)]
    for name, x in zip(names, raw.test.x, strict=False):
        Image.fromarray((x[..., 0] * 255).round().astype(np.uint8)).save(name)
    found = [json.loads(line) for line in said(capsys, "predict", "a", *names, "--json", "--top", "3")]
    settings = dl.train.config.load("runs/a/config.toml")
    trainer = settings.trainer(data := settings.data.load(), "cpu")
    dl.load_weights(trainer.model, "runs/a/model.safetensors")
    assert np.array_equal(np.array([one["outputs"] for one in found], np.float32), trainer.predict(data.test.x[:5]))
    for one, logits in zip(found, trainer.predict(data.test.x[:5]).astype(float), strict=True):
        shares = np.exp(logits) / np.exp(logits).sum()
        assert one["prediction"] == data.classes[int(np.argmax(logits))]
        assert [part["probability"] for part in one["top"]] == pytest.approx(sorted(shares)[:-4:-1])
    assert said(capsys, "predict", "a", "0.png")[0].startswith(f"0.png: {found[0]['prediction']} ")


def test_tables_are_predicted_row_by_row_and_a_faulty_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "train", "--data", "cars", "--epochs", "2", "--baseline", "none", "--device", "cpu", "--name", "a")
    data = dl.data.load("cars")
    header = ",".join(data.features or ())
    rows = "\n".join(",".join(map(repr, map(float, row))) for row in data.test.x[:3])
    Path("cars.csv").write_text(f"{header}\n{rows}\n")
    Path("faulty.csv").write_text(f"{header}\n{rows.replace('.', 'x', 1)}\n")
    assert main(["predict", "a", "faulty.csv", "cars.csv", "nowhere.csv"]) == 1
    captured = capsys.readouterr()
    faults = captured.err.splitlines()
    assert "faulty.csv: column" in faults[0]
    assert "nowhere.csv" in faults[1]
    settings = dl.train.config.load("runs/a/config.toml")
    trainer = settings.trainer(normal := settings.data.load(), "cpu")
    dl.load_weights(trainer.model, "runs/a/model.safetensors")
    learnt, outputs = np.float64(normal.train.y), trainer.model(normal.test.x[:3]).numpy()
    miles = outputs[:, 0] * learnt.std() + learnt.mean()
    expected = [f"cars.csv, row {i + 1}: {y:,.6g}" for i, y in enumerate(miles.tolist())]
    assert captured.out.splitlines() == expected


def test_numbers_above_a_million_are_predicted_with_all_their_digits(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.csv").write_text("x,y\n" + "".join(f"{i},{3_000_000 + 1000 * i}\n" for i in range(40)))
    said(capsys, "train", "--data", "t.csv", "--model", "linear", "--epochs", "1", "--device", "cpu", "--name", "a")
    exact = [json.loads(line)["prediction"] for line in said(capsys, "predict", "a", "t.csv", "--json")]
    expected = [f"t.csv, row {i}: {round(value):,}" for i, value in enumerate(exact, start=1)]
    assert said(capsys, "predict", "a", "t.csv") == expected


def test_a_run_that_is_not_finished_is_measured_by_its_newest_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "train", "--data", "cars", "--epochs", "2", "--baseline", "none", "--device", "cpu", "--name", "a")
    Path("runs/a/result.json").unlink()
    assert "the weights at the end" in "\n".join(said(capsys, "evaluate", "a"))  # those that are there are complete
    Path("runs/a/model.safetensors").unlink()
    assert "the weights of step 30, for the run is not finished" in "\n".join(said(capsys, "evaluate", "a"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["evaluate", "nowhere"], 1, "nowhere: no run is there"),
        (["evaluate", "a", "--part", "tset"], 2, "tset"),
        (["predict", "a"], 2, "give files, or --npz FILE"),
        (["predict", "a", "x.csv", "--npz", "x.npz"], 2, "give files, or --npz FILE"),
        (["predict", "a", "x.csv", "--top", "0"], 2, "--top is 0"),
        (["predict", "a", "--npz", "nowhere.npz"], 1, "nowhere.npz: cannot be read"),
        (["predict", "a", "--npz", "wrong.npz"], 1, "shape (5,), but the model was trained on (6,)"),
        (["predict", "a", "--npz", "y.npz"], 1, "the key 'x' is missing"),
        (["predict", "a", "picture.png"], 1, "picture.png"),
    ],
)
def test_what_cannot_be_measured_or_predicted_is_one_line(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("wrong.npz", x=np.zeros((2, 5)))
    np.savez("y.npz", y=np.zeros(2))
    Image.new("L", (3, 3)).save("picture.png")
    said(capsys, "train", "--data", "cars", "--epochs", "1", "--baseline", "none", "--device", "cpu", "--name", "a")
    assert message in refused(capsys, *words, code=code)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "config.toml"])
def test_a_damaged_file_of_a_run_is_named(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "train", "--data", "cars", "--epochs", "1", "--baseline", "none", "--device", "cpu", "--name", "a")
    file = Path("runs/a") / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x55
    file.write_bytes(content)
    assert str(file) in refused(capsys, "evaluate", "a", code=2 if name == "config.toml" else 1)


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
