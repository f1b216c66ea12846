"""Weights of classes and examples: what is trained, what is measured, and that neither depends on the batches."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss, precision_score, recall_score
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

import dlcore as dl
from dlcore.errors import ConfigError
from dlcore.losses import binary_cross_entropy, cross_entropy, mse
from dlcore.train.engine.class_weights import balanced

BATCHES = (3, 32, 97, 1000)
ROUNDING = 2e-6  # relative, of sums in float32


def rare(k: int = 2, n: int = 97, seed: int = 0) -> Any:
    """Examples of k classes, each less often than the one before; the last batch of most sizes is small."""
    rng = np.random.default_rng(seed)
    y = np.sort(rng.geometric(0.7, n).clip(1, k) - 1)
    return dl.data.Dataset((rng.normal(size=(n, 3)) + y[:, None]).astype(np.float32), y)


def binary(data: Any) -> Any:
    return dl.data.Dataset(data.x, data.y.astype(np.float32)[:, None])


def trainer(units: int, loss: Any, **how: Any) -> dl.Trainer:
    how.setdefault("optimizer", dl.optim.SGD(0.1))
    return dl.Trainer(dl.nn.Dense(units), loss=loss, device="cpu", seed=3, **how)


# --- balanced


@pytest.mark.parametrize("y", [[0, 0, 0, 1], [2, 1, 1, 0, 0, 0, 0], np.arange(20) % 5])
def test_balanced_weights_are_those_of_scikit_learn(y: Any) -> None:
    k = max(y) + 1
    expected = compute_class_weight("balanced", classes=np.arange(k), y=np.asarray(y))
    assert balanced(y, k) == pytest.approx(tuple(expected))


def test_missing_labels_and_classes_without_examples_do_not_count() -> None:
    assert balanced([0, -1, 1, 1, 1], 3) == pytest.approx((2.0, 2 / 3, 1.0))
    assert balanced([0.0, np.nan, 1.0, 0.0], 2) == pytest.approx((0.75, 1.5))


def test_a_balanced_model_is_the_one_that_scikit_learn_fits() -> None:
    data = rare(2)
    model = trainer(2, "cross_entropy", class_weight="balanced")
    model.optimizer.lr = model.lr = 1.0
    model.fit(data, epochs=300, batch_size=len(data))
    sklearn = LogisticRegression(C=1e6, class_weight="balanced", max_iter=5000).fit(data.x, data.y)
    ours = np.asarray(dl.functional.softmax(model.predict(data.x)).numpy())
    np.testing.assert_allclose(
        ours, sklearn.predict_proba(data.x), atol=0.02
    )  # gradient descent is not quite at the end


def test_weights_may_be_a_sequence_or_a_dict_and_equal_ones_change_no_bit() -> None:
    data = rare(3)
    found = {}
    for name, weight in {"none": None, "ones": [1, 1, 1], "list": [1, 1, 4.0], "dict": {2: 4.0}}.items():
        one = trainer(3, "cross_entropy", class_weight=weight)
        one.fit(data, epochs=2, batch_size=16)
        found[name] = one.model.state_dict()["w"].tobytes()
    assert found["list"] == found["dict"] != found["none"]


def test_heads_have_weights_of_their_own() -> None:
    data = rare(3)
    y = {"kind": np.where(np.arange(97) % 5, data.y, -1), "rare": (data.y > 0).astype(np.float32)[:, None]}
    both = dl.Trainer(
        dl.nn.Heads({"kind": dl.nn.Dense(3), "rare": dl.nn.Dense(1)}),
        loss={"kind": "cross_entropy", "rare": "binary_cross_entropy"},
        class_weight={"kind": "balanced"},
        device="cpu",
    )
    both.fit(dl.data.Dataset(data.x, y), epochs=1)
    assert both.objectives["kind"].table == pytest.approx(balanced(y["kind"], 3))
    assert both.objectives["rare"].table is None
    figures = [both.evaluate(dl.data.Dataset(data.x, y), size)["loss"] for size in BATCHES]
    assert figures == pytest.approx([figures[-1]] * len(BATCHES), rel=ROUNDING)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"loss": "mse", "class_weight": "balanced"}, "cross_entropy"),
        ({"class_weight": "equal"}, "balanced"),
        ({"class_weight": [1, 2, 3]}, "2 weights"),
        ({"class_weight": [1, -1]}, "not negative"),
        ({"class_weight": {5: 1.0}}, "0 to 1"),
        ({"class_weight": [1, 2], "loss": partial(cross_entropy, class_weight=[1, 2])}, "twice"),
    ],
)
def test_weights_that_mean_nothing_are_refused(how: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        trainer(2, **{"loss": "cross_entropy"} | how).fit(rare())


def test_balanced_weights_must_be_known_before_a_model_is_measured() -> None:
    with pytest.raises(ConfigError, match="fit first"):
        trainer(2, "cross_entropy", class_weight="balanced").evaluate(rare())


def test_a_run_with_other_weights_is_not_resumed(tmp_path: Path) -> None:
    def fit(weights: Any, **how: Any) -> dl.Trainer:
        saving = dl.train.Checkpoint(tmp_path)
        one = trainer(2, "cross_entropy", class_weight=weights, callbacks=[saving])
        one.fit(rare(), **how)
        return one

    fit([1, 5], epochs=1)
    for weights in ([1, 6], None, "balanced"):
        with pytest.raises(ConfigError, match="class_weight was"):
            fit(weights, epochs=2, resume=tmp_path)
    fit([1, 5], epochs=2, resume=tmp_path)


def test_an_epoch_that_goes_on_reports_the_loss_of_all_its_examples(tmp_path: Path) -> None:
    class Stop(dl.train.Callback):
        def on_step(self, trainer: dl.Trainer) -> None:
            if trainer.step == 5:
                trainer.interrupt("the test")

    data, saving = rare(), dl.train.Checkpoint(tmp_path)
    whole = trainer(2, "cross_entropy", class_weight=[1, 20]).fit(data, epochs=1, batch_size=10)
    with pytest.raises(dl.train.Interrupted):
        trainer(2, "cross_entropy", class_weight=[1, 20], callbacks=[Stop(), saving]).fit(data, epochs=1, batch_size=10)
    again = trainer(2, "cross_entropy", class_weight=[1, 20], callbacks=[dl.train.Checkpoint(tmp_path)])
    assert again.fit(data, epochs=1, batch_size=10, resume=tmp_path)["loss"] == whole["loss"]


# --- what is measured


def own(outputs: Any, y: Any) -> Any:
    return cross_entropy(outputs, y, class_weight=[1.0, 9.0], label_smoothing=0.1)


def of_examples(outputs: Any, y: Any) -> Any:
    return cross_entropy(outputs, y, sample_weight=1.0 + 3.0 * (np.asarray(getattr(y, "data", y)) > 0))


@pytest.mark.parametrize(
    ("loss", "class_weight"),
    [
        ("cross_entropy", [1, 20]),
        ("cross_entropy", "balanced"),
        (partial(cross_entropy, class_weight=[1, 20]), None),
        (partial(cross_entropy, label_smoothing=0.2), [5, 1]),
        (own, None),
        (of_examples, None),
        (lambda outputs, y: cross_entropy(outputs, y, class_weight=(3, 1)), None),
    ],
)
def test_the_loss_of_a_set_does_not_depend_on_the_batch_size(loss: Any, class_weight: Any) -> None:
    data = rare()
    one = trainer(2, loss, class_weight=class_weight, metrics=["accuracy"])
    one.fit(data, epochs=1, batch_size=32)
    found = [one.evaluate(data, size)["loss"] for size in BATCHES]
    assert found == pytest.approx([found[-1]] * len(BATCHES), rel=ROUNDING)


def test_the_weighted_loss_is_that_of_scikit_learn() -> None:
    data = rare(3)
    one = trainer(3, "cross_entropy", class_weight="balanced")
    one.fit(data, epochs=2)
    shares = np.asarray(dl.functional.softmax(one.predict(data.x).astype(np.float64)).numpy())
    expected = log_loss(data.y, shares, sample_weight=compute_sample_weight("balanced", data.y))
    assert one.evaluate(data, 10)["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_weighted_loss_of_a_binary_task_is_that_of_scikit_learn() -> None:
    data = binary(rare())
    one = trainer(1, "binary_cross_entropy", class_weight=[1, 30])
    one.fit(data, epochs=2)
    share = 1 / (1 + np.exp(-one.predict(data.x).astype(np.float64)))[:, 0]
    expected = log_loss(data.y[:, 0], share, sample_weight=np.where(data.y[:, 0] > 0, 30, 1))
    for size in BATCHES:
        assert one.evaluate(data, size)["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_weighted_sequences_does_not_depend_on_the_batch_size() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 6, 50)
    x, y = rng.normal(size=(50, 5, 2)).astype(np.float32), rng.integers(0, 2, (50, 5)) * rng.integers(0, 2, (50, 5))
    data = dl.data.Dataset(x, y, lengths)
    model = dl.nn.Sequential(dl.nn.GRU(4, return_sequences=True), dl.nn.Dense(2))
    one = dl.Trainer(model, class_weight=[1, 6], device="cpu")
    found = [one.evaluate(data, size)["loss"] for size in (1, 7, 50)]
    assert found == pytest.approx([found[-1]] * 3, rel=ROUNDING)


def test_the_epochs_training_loss_is_the_weighted_mean_of_all_its_examples() -> None:
    data = rare()
    one = trainer(2, "cross_entropy", class_weight=[1, 20], optimizer=dl.optim.SGD(0.0))
    history = one.fit(data, epochs=1, batch_size=10)
    assert history["loss"][0] == pytest.approx(one.evaluate(data)["loss"], rel=ROUNDING)


def test_a_loss_that_makes_more_of_another_counts_by_examples() -> None:
    data = rare()

    def doubled(outputs: Any, y: Any) -> Any:
        return cross_entropy(outputs, y, class_weight=[1, 20]) * 2.0

    one = trainer(2, doubled, metrics=["accuracy"])
    whole = one.evaluate(data, 97)["loss"]
    assert whole == pytest.approx(2 * float(cross_entropy(one.predict(data.x), data.y, class_weight=[1, 20])), rel=1e-5)


# --- predictions


@pytest.mark.parametrize("name", ["recall", "precision", "f1"])
@pytest.mark.parametrize("units", [1, 2])
def test_two_classes_are_measured_by_the_positive_one(name: str, units: int) -> None:
    data = rare()
    score = {"recall": recall_score, "precision": precision_score, "f1": f1_score}[name]
    loss = "cross_entropy" if units == 2 else "binary_cross_entropy"
    negative = dl.metrics.Metric("negative", getattr(dl.metrics, name), positive=0)
    one = trainer(units, loss, metrics=[name, f"macro_{name}", negative])
    one.fit(data if units == 2 else binary(data), epochs=5, batch_size=20)
    scores = one.predict(data.x)
    labels = scores.argmax(1) if units == 2 else (scores[:, 0] > 0).astype(int)
    found = one.evaluate(data if units == 2 else binary(data))
    assert found[name] == pytest.approx(score(data.y, labels, average="binary"))
    assert found["negative"] == pytest.approx(score(data.y, labels, average="binary", pos_label=0))
    assert found[f"macro_{name}"] == pytest.approx(score(data.y, labels, average="macro"))


def test_more_classes_are_measured_by_the_mean_of_all() -> None:
    data = rare(4)
    one = trainer(4, "cross_entropy", metrics=["recall", "macro_recall"])
    one.fit(data, epochs=20)
    found = one.evaluate(data)
    assert found["recall"] == found["macro_recall"]
    assert found["recall"] == pytest.approx(recall_score(data.y, one.predict(data.x).argmax(1), average="macro"))


@pytest.mark.parametrize(
    ("units", "loss"),
    [
        (2, partial(cross_entropy, class_weight=[1, 2])),
        (2, lambda outputs, y: cross_entropy(outputs, y)),
        (2, lambda outputs, y: cross_entropy(outputs / 2.0, y) + 0.1 * mse(outputs[:, :1], outputs[:, 1:])),
        (1, partial(binary_cross_entropy, label_smoothing=0.1)),
        (1, lambda outputs, y: binary_cross_entropy(outputs, y, class_weight=[1, 3])),
    ],
)
def test_a_loss_within_a_partial_or_a_function_is_decoded_for_the_metrics(units: int, loss: Any) -> None:
    data = rare() if units == 2 else binary(rare())
    one = trainer(units, loss, metrics=["accuracy", "recall"])
    history = one.fit(data, data, epochs=2)
    scores, y = one.predict(data.x), np.ravel(data.y)
    labels = scores.argmax(1) if units == 2 else (scores[:, 0] > 0).astype(int)
    assert history["dev_accuracy"][-1] == pytest.approx(np.mean(labels == y))
    assert history["dev_recall"][-1] == pytest.approx(recall_score(y, labels))


def broken(data: Any, rows: int) -> Any:
    """With inputs in the first rows whose squares overflow."""
    x = np.array(data.x)
    x[:rows] = 3e38
    return dl.data.Dataset(x, data.y)


class Overflowing(dl.nn.Module):
    """A dense layer whose outputs are NaN, ∞ · 0, for huge inputs."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.dense = dl.nn.Dense(units)

    def forward(self, x: Any) -> Any:
        first = dl.Tensor(x)[:, :1] if not isinstance(x, dl.Tensor) else x[:, :1]
        return self.dense(x) + first * first * 0.0


def overflowing(units: int, loss: str, metrics: list[str]) -> dl.Trainer:
    return dl.Trainer(Overflowing(units), loss=loss, metrics=metrics, device="cpu")


@pytest.mark.parametrize("units", [1, 2, 3])
def test_outputs_of_nan_are_wrong_in_a_classification(units: int) -> None:
    data = rare(max(units, 2))
    data = broken(binary(data) if units == 1 else data, 30)  # of class 0, which is what argmax makes of NaN
    loss = "binary_cross_entropy" if units == 1 else "cross_entropy"
    one = overflowing(units, loss, ["accuracy", "macro_recall"])
    clean = one.evaluate(rare(units) if units > 1 else binary(rare()))
    with pytest.warns(UserWarning, match="30 examples are NaN"), np.errstate(all="ignore"):
        found = one.evaluate(data)
    with np.errstate(all="ignore"):
        scores, y = one.predict(data.x), np.ravel(data.y)
    labels = scores.argmax(1) if units > 1 else (scores[:, 0] > 0).astype(int)
    labels[:30] = -1
    assert found["accuracy"] == pytest.approx(np.mean(labels == y))
    assert found["macro_recall"] == pytest.approx(
        recall_score(y, labels, average="macro", labels=np.unique(y), zero_division=0)  # pyright: ignore[reportArgumentType]
    )
    assert np.isfinite(clean["loss"])
    assert np.isnan(found["loss"])


def test_outputs_of_nan_make_the_figures_of_a_regression_nan() -> None:
    rng = np.random.default_rng(0)
    data = dl.data.Dataset(rng.normal(size=(20, 3)).astype(np.float32), np.ones((20, 1), np.float32))
    one = overflowing(1, "mse", ["r2", "mse"])
    assert np.isfinite(one.evaluate(data)["mse"])
    with pytest.warns(UserWarning, match="1 examples are NaN"), np.errstate(all="ignore"):
        found = one.evaluate(broken(data, 1))
    assert np.isnan(found["r2"])
    assert np.isnan(found["mse"])
