"""Coarse to fine against plain random search, on real training problems over ten seeds, at the same number of trials.

``pytest -m full -n 0`` runs it and writes ``benchmarks/figures/search.json``. What a search finds is its best
development loss; the test loss of a model that is trained with these settings is recorded beside it.
"""

from __future__ import annotations

import statistics
from collections.abc import MutableMapping
from typing import Any

import pytest

from dlcore import tune
from dlcore.train.config.config import Config
from dlcore.tune.training import Training

pytestmark = pytest.mark.full

SEEDS, TRIALS = range(10), 32
SPACE = {"lr": tune.log(1e-6, 10.0), "lam": tune.log(1e-5, 1e4), "hidden": tune.integers(2, 256, log=True)}
"""Wider than anybody would search who knows the problem: 7 and 9 decades, and 7 doublings."""
SHARED: dict[str, Any] = {"model": "mlp", "penalty": "l2", "batch_size": 32, "device": "cpu", "baseline": "none"}
PROBLEMS: dict[str, tuple[dict[str, Any], tuple[float, float]]] = {
    "digits, momentum, 5 epochs": ({"data": "digits", "epochs": 5, "optimizer": "momentum"}, (0.0, 0.95)),
    "cars, adam, 20 epochs": ({"data": "cars", "epochs": 20}, (0.0, 1.0)),
    # The counterexample: here nothing is gained, and little is lost.
    "digits, adam, 5 epochs": ({"data": "digits", "epochs": 5}, (0.9, 1.1)),
}
"""By name, the settings, and between what the mean loss that coarse to fine finds is, over random search's."""


def _found(settings: dict[str, Any], seed: int, refine: bool) -> tuple[float, float]:
    """The best development loss of a search, and the test loss of a model that is trained with its settings."""
    objective = Training(Config.of(**SHARED, **settings), metric="dev_loss")
    best = tune.search(objective, SPACE, trials=TRIALS, refine=refine, seed=seed).best
    chosen = objective.of(best.settings).resolve(objective.data)
    trainer = chosen.trainer(objective.data, "cpu")
    trainer.fit(objective.data.train, objective.data.dev, chosen.train.epochs or 0, chosen.train.batch_size or 0)
    loss = trainer.history["dev_loss"][-1]
    assert loss == best.value
    return loss, trainer.evaluate(objective.data.test)["loss"]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_coarse_to_fine_beats_random_search_where_there_is_something_to_refine(
    problem: str, figures: MutableMapping[str, Any]
) -> None:
    settings, (least, most) = PROBLEMS[problem]
    random, fine = ([_found(settings, seed, refine) for seed in SEEDS] for refine in (False, True))
    found = {name: [dev for dev, _ in each] for name, each in (("random", random), ("coarse to fine", fine))}
    pairs = list(zip(*found.values(), strict=True))
    won, lost = sum(b < a for a, b in pairs), sum(b > a for a, b in pairs)
    figures["search"] = {
        problem: {
            "best development loss by seed": found,
            "mean": {name: statistics.mean(values) for name, values in found.items()},
            "median": {name: statistics.median(values) for name, values in found.items()},
            "seeds that coarse to fine won, and lost": [won, lost],
            "mean test loss": {
                name: statistics.mean(test for _, test in each)
                for name, each in (("random", random), ("coarse to fine", fine))
            },
            "trials": TRIALS,
            "space": {name: parameter.described() for name, parameter in SPACE.items()},
        }
    }
    assert least < statistics.mean(found["coarse to fine"]) / statistics.mean(found["random"]) < most
    if most <= 1:
        assert won > lost
