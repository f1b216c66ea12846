"""What recurrent networks reach on sequences and on text; ``pytest -m full -n 0`` writes the figures.

Accuracies and perplexities are asserted; times, of the process and by the clock, are recorded, and only the five
minutes that text may take are asserted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlcore as dl
from dlcore.cli.texts import last_value
from dlcore.experiment.generate_text import generate
from dlcore.train.config.config import Config

pytestmark = pytest.mark.full
SEEDS = range(5)
VOWELS = {"gru": 0.94, "lstm": 0.93, "rnn": 0.92}
"""The least mean accuracy over the seeds, by model."""


def _record(figures: MutableMapping[str, Any], name: str, values: dict[str, Any]) -> None:
    figures["sequences"] = {name: values}


def _trained(settings: Config) -> tuple[dl.data.Splits, dl.Trainer]:
    data = settings.data.load()
    settings = settings.resolve(data)
    trainer = settings.trainer(data, "cpu")
    trainer.fit(data.train, data.dev, epochs=settings.train.epochs or 0, batch_size=settings.train.batch_size or 0)
    return data, trainer


@pytest.mark.parametrize("model", VOWELS)
def test_speakers_are_told_by_their_vowels(model: str, figures: MutableMapping[str, Any]) -> None:
    scores, spent, began, parameters = [], time.process_time(), time.perf_counter(), 0
    for seed in SEEDS:
        data, trainer = _trained(Config.of(data="vowels", model=model, seed=seed))
        scores.append(trainer.evaluate(data.test)["accuracy"])
        parameters = trainer.model.count()
    values = {
        "test accuracy by seed": scores,
        "mean": statistics.mean(scores),
        "parameters": parameters,
        "processor seconds of a run": (time.process_time() - spent) / len(SEEDS),
        "seconds of a run": (time.perf_counter() - began) / len(SEEDS),
    }
    if model == "gru":
        data, rival = _trained(Config.of(data="vowels", model="logistic"))
        values["logistic regression on the padded steps"] = rival.evaluate(data.test)["accuracy"]
    _record(figures, f"Japanese Vowels, {model}", values)
    assert statistics.mean(scores) >= VOWELS[model]


def test_an_lstm_learns_to_write_like_hamlet(figures: MutableMapping[str, Any]) -> None:
    spent, began = time.process_time(), time.perf_counter()
    data, trainer = _trained(Config.of(data="hamlet", model="lstm"))
    spent, seconds = time.process_time() - spent, time.perf_counter() - began
    vocabulary = dl.data.Vocabulary(data.classes)  # type: ignore[arg-type]
    sample = generate(trainer.model, vocabulary, "Ham.\n", length=1000, seed=0)
    text = vocabulary.decode(data.train.ids)  # type: ignore[union-attr]
    known = set(text.split())
    words = sample.split()[:-1]
    share = sum(word in known for word in words) / len(words)
    perplexity = trainer.history["dev_perplexity"][-1]
    _record(
        figures,
        "Hamlet, lstm",
        {
            "dev perplexity of a character": perplexity,
            "test perplexity of a character": trainer.evaluate(data.test)["perplexity"],
            "uniform guess": len(vocabulary),
            "share of a sample's words that the training text has": share,
            "sample": sample[:300],
            "parameters": trainer.model.count(),
            "processor seconds": spent,
            "seconds": seconds,
        },
    )
    assert perplexity <= 6.0
    assert share >= 0.6
    assert spent <= 300


TRENDS = {"co2": ("co2", 24), "US gross domestic product": ("realgdp", 8), "US consumer prices": ("cpi", 8)}
"""Public series with a trend, by name: the column of statsmodels' data and the window."""


@pytest.mark.parametrize("name", TRENDS)
def test_a_series_with_a_trend_is_forecast_as_well_as_by_its_last_value(
    name: str, tmp_path: Path, figures: MutableMapping[str, Any]
) -> None:
    """Each default run, on monthly or quarterly values whose development set lies above the training set."""
    datasets = pytest.importorskip("statsmodels.datasets")
    column, window = TRENDS[name]
    if column == "co2":
        table = datasets.co2.load_pandas().data.resample("MS").mean().interpolate()
        table.to_csv(tmp_path / "series.csv", index_label="date")
    else:
        table = datasets.macrodata.load_pandas().data[["year", "quarter", column]]
        table.to_csv(tmp_path / "series.csv", index=False)
    settings = Config.of(data=str(tmp_path / "series.csv"), window=window)
    data, trainer = _trained(settings)
    naive = last_value(data, trainer.objectives[""], "dev")["r2"]
    score = trainer.evaluate(data.dev)["r2"]
    settings = settings.resolve(data)
    linear = settings.beside().trainer(data, "cpu")
    linear.fit(data.train, epochs=settings.train.epochs or 0, batch_size=settings.train.batch_size or 0)
    values = {
        "window": window,
        "R² on the development set": score,
        "of the linear baseline": linear.evaluate(data.dev)["r2"],
        "of the last value": naive,
        "R² on the test set": trainer.evaluate(data.test)["r2"],
        "of the last value on the test set": last_value(data, trainer.objectives[""])["r2"],
    }
    figures["series"] = {name: values}
    assert score >= naive - 0.01


def test_a_forecast_beats_the_last_value(tmp_path: Path, figures: MutableMapping[str, Any]) -> None:
    """A sine of a period of 20.3 rows with noise of a tenth, whose variance no forecast can explain."""
    rng = np.random.default_rng(0)
    values = np.sin(2 * np.pi * np.arange(600) / 20.3) + 0.1 * rng.standard_normal(600)
    (tmp_path / "sine.csv").write_text("value\n" + "".join(f"{value:.6f}\n" for value in values))
    data, trainer = _trained(Config.of(data=str(tmp_path / "sine.csv"), window=24, model="gru"))
    score, naive = trainer.evaluate(data.test)["r2"], last_value(data, trainer.objectives[""])["r2"]
    _record(figures, "a noisy sine, the next of 24 values, gru", {"R²": score, "R² of the last value": naive})
    assert naive < 0.95
    assert score > 0.96
