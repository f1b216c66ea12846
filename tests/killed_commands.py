"""``dlcore`` commands that are killed -9 at any moment, and begun again: a script, given FOLDER NAME COUNT SEED.

It forks one process after another that runs the workload NAME in FOLDER/1, each of which goes on with the run and is
killed with all that it has started, until COUNT were killed and one came to its end; a run that comes to its end sooner
is followed by another, in FOLDER/2, and so on. FOLDER/0 is never killed. Every other kill waits for the next file to be
written. It prints JSON: how many processes were killed, how many of them while they were writing a file, how many runs
there were, and how many ended as FOLDER/0.
"""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from killed_runs import end, start

import dlcore.cli.commands.train
import dlcore.cli.commands.tune
import dlcore.data
import dlcore.report
import dlcore.tune  # noqa: F401
from dlcore.cli import main

TEXT = "the cat sat on the mat, and the dog sat by the door; "
ALWAYS = ("--device", "cpu", "--baseline", "none", "--name", "a", "--checkpoint-steps", "3", "--resume", "auto")
EVERYTHING = (
    "--channels", "3", "4", "--dropout", "0.2", "--augment", "shift", "--penalty", "l2", "--lam", "0.1", "--schedule",
    "cosine", "--warmup", "4", "--clip-norm", "1", "--patience", "3", "--train-dev", "0.1", "--class-weight",
    "balanced", "--metrics", "accuracy", "f1",
)  # fmt: skip
WORKLOADS: dict[str, tuple[str, ...]] = {
    "mlp": ("train", "--data", "digits", "--model", "mlp", "--epochs", "5", *ALWAYS),
    "cnn with everything on": ("train", "--data", "digits", "--model", "cnn", "--epochs", "3", *EVERYTHING, *ALWAYS),
    "gru with lengths": ("train", "--data", "vowels", "--model", "gru", "--hidden", "8", "--epochs", "5", *ALWAYS),
    "text": ("train", "--data", "text.txt", "--hidden", "12", "--window", "16", "--epochs", "4", *ALWAYS),
    "heads": ("train", "--data", "penguins", "--heads", "species", "body_mass", "--epochs", "25", *ALWAYS),
    "mixed precision": ("train", "--data", "digits", "--precision", "mixed", "--epochs", "4", "--model", "mlp",
                        *ALWAYS),
    "tune with two workers": (
        "tune", "--data", "digits", "--model", "mlp", "--epochs", "2", "--trials", "6", "--workers", "2",
        "--device", "cpu", "--search", "lr=log:1e-3:1e-1", "--name", "a",
    ),
}  # fmt: skip


def worked(name: str, folder: Path) -> int:
    """A process, and head of its group, that runs the workload."""

    def work() -> None:
        os.setsid()
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        Path("text.txt").write_text(TEXT * 60)
        said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        if main(list(WORKLOADS[name])):
            raise SystemExit("the command failed")
        sys.stdout.flush()

    return start(work)


def is_writing(folder: Path) -> bool:
    """Whether a file is half written: it has a temporary name until it is whole."""
    return any(True for _ in (folder / "runs").rglob(".*.tmp"))


def wait(process: int, folder: Path, seconds: float, for_a_write: bool) -> None:
    """Let the process work for a while; and then, if asked for, until it writes or ends."""
    time.sleep(seconds)
    while (
        for_a_write
        and not is_writing(folder)
        and not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    ):
        pass


def outcome(folder: Path) -> dict[str, Any]:
    """What must not depend on how often a run was killed: not the times, and of trials not their order."""
    run = folder / "runs" / "a"
    if (run / "tune.json").exists():
        with (run / "trials.csv").open(newline="") as file:
            rows = [
                {k: v for k, v in row.items() if "second" not in k and "time" not in k} for row in csv.DictReader(file)
            ]
        return {
            "trials": sorted(json.dumps(row, sort_keys=True) for row in rows),
            "best": (run / "best.toml").read_text(),
        }
    result = json.loads((run / "result.json").read_text())
    kept = {key: result[key] for key in ("test", "epochs", "examples") if key in result}
    return {
        "weights": (run / "model.safetensors").read_bytes().hex(),
        "metrics": (run / "metrics.jsonl").read_text(),
        **kept,
    }


def kill_at_random(folder: Path, name: str, count: int, seed: int) -> dict[str, Any]:
    draw, begin = random.Random(seed), time.perf_counter()
    assert end(worked(name, folder / "0"))
    took, expected = time.perf_counter() - begin, outcome(folder / "0")
    killed = cut = runs = same = 0
    while killed < count:
        runs += 1
        own = folder / str(runs)
        while True:
            process = worked(name, own)
            if killed < count:
                wait(process, own, draw.uniform(0.0, took), for_a_write=draw.random() < 0.5)
                try:
                    os.killpg(process, signal.SIGKILL)
                except ProcessLookupError:  # it has not become head of a group yet, or is over
                    os.kill(process, signal.SIGKILL)
            if end(process):
                break
            killed += 1
            cut += is_writing(own)
        same += outcome(own) == expected
    return {"killed": killed, "killed while writing": cut, "runs": runs, "ended as one that nobody killed": same}


if __name__ == "__main__":
    place, workload, number, first = sys.argv[1:]
    print(json.dumps(kill_at_random(Path(place), workload, int(number), int(first))))
