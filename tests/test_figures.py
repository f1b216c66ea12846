"""The figures that README quotes: whole training runs over several seeds, and what the framework itself costs.

``pytest -m full -n 0`` runs them and writes ``benchmarks/figures/foundation.json``. Accuracies are asserted; times are
recorded and not asserted, but for the minute that the default job may take.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlcore as dl
from dlcore.train.config.config import Config

pytestmark = pytest.mark.full
SEEDS = range(5)
ROOT = Path(__file__).parent.parent


def _record(figures: MutableMapping[str, Any], name: str, values: dict[str, Any]) -> None:
    figures["foundation"] = {name: values}


def _score(settings: Config) -> tuple[dl.Trainer, float]:
    """A trained trainer and its first metric on the test set: what ``dlcore train`` does with these settings."""
    data = settings.data.load()
    settings = settings.resolve(data)
    trainer = settings.trainer(data, "cpu")
    trainer.fit(data.train, data.dev, epochs=settings.train.epochs or 0, batch_size=settings.train.batch_size or 0)
    return trainer, trainer.evaluate(data.test)[settings.train.metrics[0]]  # type: ignore[index]


def test_the_default_cnn_reaches_86_percent_over_five_seeds(figures: MutableMapping[str, Any]) -> None:
    scores = {}
    for seed in SEEDS:
        trainer, scores[seed] = _score(Config.of(seed=seed))
    parameters = trainer.model.count()
    mlp = [_score(Config.of(seed=seed, model="mlp"))[1] for seed in SEEDS]
    _record(
        figures,
        "cnn on the embedded Fashion-MNIST subset",
        {
            "test accuracy by seed": list(scores.values()),
            "mean": statistics.mean(scores.values()),
            "parameters": parameters,
            "mlp test accuracy by seed": mlp,
        },
    )
    assert parameters <= 20_000
    assert statistics.mean(scores.values()) >= 0.86
    assert min(scores.values()) >= 0.85
    assert statistics.mean(scores.values()) > statistics.mean(mlp)


def test_the_default_command_trains_in_under_a_minute(figures: MutableMapping[str, Any], tmp_path: Path) -> None:
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "dlcore", "train"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - start
    _record(figures, "dlcore train", {"seconds": seconds})
    assert "mlp baseline" in done.stdout
    assert seconds < 60


PENGUINS = {"data": "penguins", "target": "sex"}
COMMANDS: dict[str, tuple[dict[str, Any], dict[str, Any], float]] = {
    "penguins, sex": (
        PENGUINS | {"model": "mlp", "hidden": (32, 16), "penalty": "l2", "lam": 1.0, "batch_size": 32, "epochs": 60},
        PENGUINS | {"model": "logistic", "batch_size": 32, "epochs": 60},
        0.9,
    ),
    "cars, miles per gallon": (
        {
            "data": "cars",
            "model": "mlp",
            "hidden": (64, 64),
            "penalty": "l2",
            "lam": 1.0,
            "epochs": 100,
            "batch_size": 32,
        },
        {"data": "cars", "model": "linear", "epochs": 100, "batch_size": 32},
        0.85,
    ),
}
"""By job: the settings of README's command, those of its linear baseline, and the least mean score."""


@pytest.mark.parametrize("job", COMMANDS)
def test_a_network_beats_its_linear_baseline_on_a_table(job: str, figures: MutableMapping[str, Any]) -> None:
    network, line, least = COMMANDS[job]
    scores, baseline = (
        [_score(Config.of(**settings, seed=seed, split_seed=seed))[1] for seed in SEEDS] for settings in (network, line)
    )
    default = _score(Config.of(**network))[1], _score(Config.of(**line))[1]
    _record(
        figures,
        job,
        {
            "score by split": scores,
            "mean": statistics.mean(scores),
            "linear baseline by split": baseline,
            "baseline mean": statistics.mean(baseline),
            "the command's own": list(default),
        },
    )
    assert statistics.mean(scores) >= least
    assert statistics.mean(scores) > statistics.mean(baseline)
    assert default[0] > default[1]
    assert default[0] >= least


def _median_seconds(command: list[str], runs: int = 7) -> float:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def test_what_starting_costs_is_recorded(figures: MutableMapping[str, Any]) -> None:
    python = sys.executable
    _record(
        figures,
        "starting, median seconds",
        {
            "python alone": _median_seconds([python, "-c", "pass"]),
            "import dlcore": _median_seconds([python, "-c", "import dlcore"]),
            "import dlcore and its Trainer": _median_seconds([python, "-c", "import dlcore; dlcore.Trainer"]),
            "dlcore --help": _median_seconds([python, "-m", "dlcore", "--help"]),
        },
    )


def test_what_a_step_of_a_small_mlp_costs_is_recorded(figures: MutableMapping[str, Any]) -> None:
    """64-32-10, batch 32: forward, loss, backward, Adam, zero_grad."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((32, 64)).astype(np.float32), rng.integers(0, 10, 32)
    model = dl.nn.Sequential(dl.nn.Dense(32), dl.nn.ReLU(), dl.nn.Dense(10)).build((64,), seed=0)
    opt = dl.optim.Adam().attach(model)

    def step() -> None:
        loss = dl.losses.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        opt.zero_grad()

    rounds = sorted(_time(step, 500) for _ in range(21))
    _record(
        figures,
        "small mlp, milliseconds a step",
        {"best of 21 rounds": rounds[0], "median": rounds[10], "worst": rounds[-1]},
    )


def _time(step: Callable[[], None], n: int) -> float:
    start = time.perf_counter()
    for _ in range(n):
        step()
    return (time.perf_counter() - start) / n * 1e3
