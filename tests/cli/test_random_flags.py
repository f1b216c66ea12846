"""Random combinations of flags on tiny data of each kind: done, or refused in one line; nothing is ignored in silence.

What must be refused is written down here once more, by hand: the code's own table is what is tested.
"""

from __future__ import annotations

import contextlib
import io
import random
import shlex
import shutil
import signal
from collections import Counter
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcore.cli import main
from dlcore.train.config.config import settings

SEED = 15
LIMIT = 120  # seconds, after which a command hangs
QUICK = ("--epochs", "1", "--baseline", "none")

VALUES: dict[str, list[str]] = {
    "target": ["kind", "size", "y", "none"], "heads": ["kind size", "kind", "kind kind"],
    "missing": ["drop", "mean", "previous", "refuse"], "missing_target": ["drop", "refuse"],
    "unknown_level": ["missing", "refuse"], "categorical": ["shade", "width", "kind"],
    "ignore": ["width", "kind", "no"],
    "task": ["classification", "binary", "regression"], "image_size": ["4", "6 4", "0"], "color": ["rgb", "grey"],
    "corrupt": ["skip"], "test": ["table.csv", "arrays.npz", "gone.csv"], "group": ["shade", "kind"],
    "split": ["part", "shade"], "keep_equal_together": [""], "window": ["3", "200", "0"], "horizon": ["2", "1"],
    "time": ["day", "width"], "by": ["shade", "site"], "calendar": [""], "unknown": ["replace", "refuse"],
    "normalize": [""], "split_seed": ["3", "-1"], "train_dev": ["0.2", "0", "1"],
    "model": ["cnn", "mlp", "gru", "rnn", "logistic", "linear", "knn", "own.py:build", "own.py:nothing", "cn"],
    "channels": ["2", "2 3"], "global_pool": [""], "hidden": ["3", "3 2", "3 3"], "bidirectional": [""],
    "activation": ["tanh", "sigmoid"], "dropout": ["0.1", "1"], "neighbors": ["1", "3", "900"],
    "distance": ["l1"], "votes": ["distance"], "start_from": ["nothing"], "anew": ["0"],
    "freeze": ["0", "*", "none.w"], "lr_scale": ["0=0.1", "0=x", "*=0.5"],
    "optimizer": ["sgd", "momentum", "adam", "adamw", "adagrad"], "lr": ["0.01", "1e9", "nan", "0"], "beta": ["0.5"],
    "beta1": ["0.5", "1"], "beta2": ["0.5"], "eps": ["1e-3", "0"], "bias_correction": [""], "nesterov": [""],
    "weight_decay": ["0.1"], "clip_norm": ["1", "0"], "clip_value": ["1"],
    "schedule": ["constant", "inverse_time", "exponential", "inverse_sqrt", "staircase", "cosine"], "lr_decay": ["0.1"],
    "lr_base": ["0.9"], "lr_k": ["1"], "lr_per": ["step"], "lr_factor": ["0.5"], "lr_every": ["1", "1.5"],
    "lr_floor": ["0.1"], "warmup": ["2", "0", "1.5"], "penalty": ["l1", "l2", "none"], "lam": ["0.1"],
    "epochs": ["1", "2", "1.5"], "batch_size": ["1", "7", "1000"], "seed": ["3"], "device": ["cpu", "cuda:9", "tpu"],
    "threads": ["1", "2"], "memory_limit": ["1GiB", "much"], "tf32": [""], "precision": ["mixed", "float64"],
    "loss_weights": ["kind=0.5", "kind=x"], "class_weight": ["balanced", "yes=2", "a=2"],
    "metrics": ["recall", "accuracy f1", "r2", "top_k", "perplexity", "mse"], "positive": ["yes", "a", "1"],
    "augment": ["flip", "crop shift", "cutout"], "patience": ["1", "0"], "monitor": ["dev_loss", "loss", "dev_f1"],
    "runs": ["elsewhere"], "name": ["again", "a/b"], "checkpoint_steps": ["1"], "checkpoint_minutes": ["5", "0"],
    "baseline": ["mlp", "logistic", "linear", "cnn", "none"],
}  # fmt: skip
"""Of each setting some values that may be given; "" for a flag without one."""

TABLE = {
    "target", "heads", "missing", "missing_target", "unknown_level", "categorical", "ignore", "task", "test", "group",
    "split", "time", "keep_equal_together", "window", "horizon", "by", "calendar",
}  # fmt: skip
TAKES = {
    "table": TABLE,
    "series": TABLE - {"heads", "group", "split", "test", "missing_target", "unknown_level", "categorical", "task"},
    "images": {"image_size", "color", "corrupt", "test", "keep_equal_together"},
    "npz": {"task", "test", "keep_equal_together"},
    "text": {"window", "unknown"},
    "own": {"task", "test", "keep_equal_together"},
}
"""By kind of data, the settings of data that it takes."""
OF_DATA = set().union(*TAKES.values())

BEGINS = {
    "table": ("--data", "table.csv"),
    "series": ("--data", "series.csv", "--target", "size", "--window", "3"),
    "images": ("--data", "images"),
    "npz": ("--data", "arrays.npz"),
    "text": ("--data", "words.txt"),
    "own": ("--data", "arrays.npz", "--model", "own.py:build"),
}
OWNED = {
    "optimizer": {"momentum": "beta bias_correction nesterov", "adam": "beta1 beta2 eps", "sgd": "",
                  "adamw": "beta1 beta2 eps weight_decay", "adagrad": "eps"},
    "schedule": {"constant": "", "inverse_time": "lr_decay", "exponential": "lr_base", "inverse_sqrt": "lr_k lr_per",
                 "staircase": "lr_factor lr_every", "cosine": "lr_floor"},
    "penalty": {"none": "", "l1": "lam", "l2": "lam"},
    "model": {"cnn": "channels activation dropout global_pool", "mlp": "hidden activation dropout", "linear": "",
              "logistic": "", "gru": "hidden bidirectional dropout", "rnn": "hidden bidirectional dropout",
              "knn": "neighbors distance votes", "own.py:build": ""},
}  # fmt: skip
"""By choice, what goes with it; anything else of the table beside it is a contradiction."""

OWN = """
from dlcore import nn

def build(outputs):
    return nn.Sequential(nn.Flatten(), nn.Dense(outputs))
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with little data of each kind."""
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("tiny"), random.Random(SEED)
    rows = ["width,shade,part,day,kind,size"]
    parts = ["train", "train", "train", "dev", "test"]
    for i in range(50):
        shade, kind = "red" if i % 3 else "blue", "yes" if rng.random() < 0.5 else "no"
        rows.append(f"{i * 0.5},{shade},{parts[i % 5]},2020-{1 + i // 28:02}-{1 + i % 28:02},{kind},{i % 7 + 0.5}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    lines = [f"2020-{1 + i // 28:02}-{1 + i % 28:02},{i % 5},{i % 7}" for i in range(80)]
    (folder / "series.csv").write_text("\n".join(["day,width,size", *lines]) + "\n")
    x = np.arange(30 * 4 * 4, dtype=np.float32).reshape(30, 4, 4, 1)
    np.savez(folder / "arrays.npz", x=x, y=np.arange(30) % 2)
    (folder / "words.txt").write_text("the cat sat on the mat. " * 300)
    (folder / "own.py").write_text(OWN)
    for name in ("a", "b"):
        (folder / "images" / name).mkdir(parents=True)
        for i in range(8):
            pixels = np.full((6, 6), i * 20 + (name == "b"), np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{i}.png")
    return folder


@pytest.fixture
def _quiet(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures: they are most of the time, and take no flags."""
    from dlcore import report

    monkeypatch.chdir(tiny)
    monkeypatch.setattr(report, "write", lambda folder, content: folder / "report.html")


Given = dict[str, str]


def command(kind: str, given: Given) -> list[str]:
    """The words of a training with these flags; what the kind and haste give is left to them where they are given."""
    words = ["train"]
    begin = [*BEGINS[kind], *QUICK]
    for flag, value in zip(begin[::2], begin[1::2], strict=True):
        if flag.removeprefix("--") not in given and not (flag == "--window" and "heads" in given):
            words += [flag, value]
    for name, value in given.items():
        words += [settings()[name].alias or settings()[name].flag, *value.split()]
    return words


def run(words: list[str]) -> tuple[int, list[str]]:
    """The exit code and the lines on stderr of a command in this process."""
    err = io.StringIO()

    def late(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
            code = main(words)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        for folder in ("runs", "elsewhere"):
            shutil.rmtree(folder, ignore_errors=True)
    return code, err.getvalue().splitlines()


def contradiction(kind: str, given: Given) -> str:
    """What in these flags goes with nothing, by the tables above; empty where nothing is known."""
    model = given.get("model") or ("own.py:build" if kind == "own" else None)
    for name in given:
        if name in OF_DATA and name not in TAKES[kind] and not (name == "window" and kind == "table"):
            return f"{name} with {kind}"
    for owner, table in OWNED.items():
        chosen = {"model": model, "schedule": given.get("schedule", "cosine"), "penalty": given.get("penalty", "none")}
        choice = chosen.get(owner, given.get(owner))
        if choice in table:
            known = {name for words in table.values() for name in words.split()}
            odd = [name for name in given if name in known and name not in table[choice].split()]
            if odd:
                return f"{odd[0]} with {choice}"
    if "monitor" in given and given.get("patience", "0") == "0":
        return "monitor without patience"
    if "positive" in given and not set(given.get("metrics", "").split()) & {"recall", "f1", "precision"}:
        return "positive without a metric of it"
    if {"horizon", "by", "calendar"} & set(given) and kind == "table" and "window" not in given:
        return "a series without window"
    if "anew" in given and "start_from" not in given:
        return "anew without from"
    if {"clip_norm", "clip_value"} <= set(given) or {"target", "heads"} <= set(given):
        return "two of which one is expected"
    if "loss_weights" in given and "heads" not in given:
        return "loss_weights without heads"
    if "augment" in given and kind in ("table", "series", "text"):
        return "augment without images"
    if kind == "text" and "normalize" in given:
        return "normalize of a text"
    if kind in ("series", "text") and "split_seed" in given and given.get("train_dev", "0") == "0":
        return "split_seed of parts in order"
    still = {"lr", "optimizer", "seed", "batch_size", "warmup", "clip_norm", "precision", "patience"} - {"name"}
    if model == "knn" and given.get("baseline", "none") == "none":
        idle = [name for name in still & set(given) if given[name] not in ("0", "none")]
        if idle:
            return f"{idle[0]} where nothing is trained"
    if model == "knn" and {"checkpoint_steps", "freeze", "lr_scale", "class_weight"} & set(given):
        return "of models that learn, with knn"
    return ""


def fault(kind: str, given: Given, ends: Counter[str] | None = None) -> str:
    """What is wrong with how a command with these flags ends; empty where nothing is. ``ends`` counts how it did."""
    try:
        code, lines = run(command(kind, given))
    except TimeoutError:
        return f"not done within {LIMIT} s"
    except BaseException as error:
        return f"{type(error).__name__} came out: {error}"
    errors = [line for line in lines if line.startswith("dlcore: error: ")]
    others = [line for line in lines if not line.startswith(("dlcore: error: ", "dlcore: warning: ", "dlcore: note: "))]
    if code not in (0, 1, 2):
        return f"exit code {code}"
    if others:
        return f"unmarked on stderr: {others[-1]}"
    if len(errors) != (code != 0):
        return f"exit code {code} with {len(errors)} lines of error"
    if errors and ("unexpected " in errors[0] or "Traceback" in errors[0]):
        return errors[0]
    why = contradiction(kind, given)
    if ends is not None:
        ends[f"exit {code}"] += 1
        ends["refused, as the tables say"] += bool(why and code)
        ends["refused for another reason"] += bool(code and not why)
    return f"{why} was taken" if why and code == 0 else ""


def smallest(kind: str, given: Given) -> Given:
    """The flags without those that the fault does not need."""
    for name in list(given):
        fewer = {other: value for other, value in given.items() if other != name}
        if fault(kind, fewer):
            given = fewer
    return given


def draws(seed: int, count: int) -> Iterator[tuple[str, Given]]:
    """Combinations of one to five flags, for one kind of data after the other; every other one without what is known to
    be a contradiction, which would hide all else."""
    rng = random.Random(seed)
    for i in range(count):
        kind = list(BEGINS)[i // 2 % len(BEGINS)]
        while True:
            names = rng.sample(list(VALUES), rng.randint(1, 5))
            given = {name: rng.choice(VALUES[name]) for name in names}
            if i % 2 or not contradiction(kind, given):
                break
        yield kind, given


def check(seed: int, count: int) -> Counter[str]:
    """How the combinations end; all of them without a fault."""
    found, ends = [], Counter[str]()
    for kind, given in draws(seed, count):
        if fault(kind, given, ends):
            least = smallest(kind, given)
            found.append(f"dlcore {shlex.join(command(kind, least))}\n  {fault(kind, least)}")
    assert not found, f"{len(found)} of {count}\n" + "\n".join(dict.fromkeys(found))
    return ends


def test_every_setting_has_values_that_are_drawn() -> None:
    flags = {name for name, one in settings().items() if not one.hidden}
    assert set(VALUES) | {"data"} == flags


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("kind", BEGINS)
def test_without_further_flags_each_kind_is_trained(kind: str) -> None:
    assert run(command(kind, {}))[0] == 0


@pytest.mark.usefixtures("_quiet")
def test_a_few_random_combinations_of_flags_are_done_or_refused_in_one_line() -> None:
    check(SEED, 30)


@pytest.mark.full
@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("part", range(20))
def test_random_combinations_of_flags_are_done_or_refused_in_one_line(
    part: int, figures: MutableMapping[str, Any]
) -> None:
    ends = check(SEED + 1 + part, 100)
    figures["flags"] = {f"100 with seed {SEED + 1 + part}": dict(sorted(ends.items()))}
