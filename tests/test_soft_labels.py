"""Class probabilities as targets of cross_entropy: values, weights, gradients, checks, and training with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special

import dlcore as dl
from dlcore import functional as F
from dlcore.errors import DataError, ShapeError

RNG = np.random.default_rng(5)
Z = RNG.normal(size=(7, 4))
Q = RNG.dirichlet(np.ones(4), 7)
LABELS = RNG.integers(0, 4, 7)
ONE_HOT = np.eye(4)[LABELS]
W = (1.0, 3.0, 0.0, 0.5)
S = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0, 1.0])


def host(value: Any) -> float:
    return float(value.numpy())


def test_the_loss_is_the_mean_cross_entropy_of_the_two_distributions() -> None:
    expected = -(Q * special.log_softmax(Z, axis=1)).sum(axis=1).mean()
    assert host(F.cross_entropy(Z, Q)) == pytest.approx(expected, rel=1e-12)


def test_probabilities_of_another_dtype_become_that_of_the_logits() -> None:
    loss = F.cross_entropy(Z.astype(np.float32), Q)
    assert loss.numpy().dtype == np.float32
    assert host(loss) == pytest.approx(host(F.cross_entropy(Z, Q)), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("classes", [None, W])
@pytest.mark.parametrize("examples", [None, S])
def test_one_hot_rows_give_the_loss_of_their_labels(smoothing: float, classes: Any, examples: Any) -> None:
    how = {"label_smoothing": smoothing, "class_weight": classes, "sample_weight": examples}
    assert host(F.cross_entropy(Z, ONE_HOT, **how)) == pytest.approx(host(F.cross_entropy(Z, LABELS, **how)), rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("classes", [None, W])
def test_a_row_counts_as_an_example_of_each_class_weighted_by_its_probability(smoothing: float, classes: Any) -> None:
    how = {"label_smoothing": smoothing, "class_weight": classes}
    whole = F.cross_entropy(Z, Q, sample_weight=S, **how)
    parts = F.cross_entropy(
        np.repeat(Z, 4, axis=0), np.tile(np.arange(4), 7), sample_weight=(S[:, None] * Q).ravel(), **how
    )
    assert host(whole) == pytest.approx(host(parts), rel=1e-12)


def test_class_weights_multiply_the_terms_of_their_classes() -> None:
    terms = -special.log_softmax(Z, axis=1) * Q * W
    assert host(F.cross_entropy(Z, Q, class_weight=W)) == pytest.approx(terms.sum() / (Q * W).sum(), rel=1e-12)


def test_steps_of_sequences_may_have_probabilities() -> None:
    z, q = RNG.normal(size=(2, 3, 4)), RNG.dirichlet(np.ones(4), (2, 3))
    q[1, 1:] = np.nan  # behind the end
    steps = -(q * special.log_softmax(z, axis=-1)).sum(axis=-1)
    assert host(F.cross_entropy(z, q, lengths=[3, 1])) == pytest.approx((steps[0].sum() + steps[1, 0]) / 2, rel=1e-12)


@pytest.mark.parametrize("how", [{}, {"label_smoothing": 0.1}, {"sample_weight": S}])
def test_logits_and_probabilities_have_gradients(how: dict[str, Any]) -> None:
    z, q = dl.Tensor(Z, requires_grad=True), dl.Tensor(Q, requires_grad=True)
    F.cross_entropy(z, q, **how).backward()
    step = 1e-6
    for tensor, loss in ((z, lambda a: F.cross_entropy(a, Q, **how)), (q, lambda a: F.cross_entropy(Z, a, **how))):
        # The probabilities move along a direction that keeps their sum.
        direction = RNG.normal(size=(7, 4)) * 0.01
        direction -= direction.mean(axis=1, keepdims=True)
        at = np.asarray(tensor.data)
        difference = (host(loss(at + step * direction)) - host(loss(at - step * direction))) / (2 * step)
        assert float((tensor.grad * direction).sum()) == pytest.approx(difference, rel=1e-6)


@pytest.mark.parametrize("how", [{"class_weight": W}, {"dtype": np.float32}])
def test_a_gradient_of_probabilities_that_is_not_given_is_refused(how: dict[str, Any]) -> None:
    q = dl.Tensor(Q.astype(how.pop("dtype", np.float64)), requires_grad=True)
    with pytest.raises(ShapeError, match=r"gradient of .* probabilities.*detach"):
        F.cross_entropy(Z, q, **how)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([0.5, 0.5, 0.5, 0.0], "sum 1.5"),
        ([1.2, -0.2, 0.0, 0.0], "-0.2"),
        ([np.nan, 0.5, 0.5, 0.0], "nan"),
        ([0.0, 0.0, 0.0, 0.0], "sum 0"),
    ],
)
def test_rows_that_are_no_probabilities_are_refused_where_they_count(row: list[float], words: str) -> None:
    q = Q.copy()
    q[2] = row
    with pytest.raises(DataError, match=rf"row 2 .*{words}.*sum 1"):
        F.cross_entropy(Z, q)
    if not np.isnan(row).any():
        weight = np.ones(7)
        weight[2] = 0.0
        assert host(F.cross_entropy(Z, q, sample_weight=weight)) == pytest.approx(
            host(F.cross_entropy(np.delete(Z, 2, 0), np.delete(Q, 2, 0))), rel=1e-12
        )


def test_rounded_rows_pass() -> None:
    F.cross_entropy(Z[:2, :3], [[0.333, 0.333, 0.333], [0.1, 0.2, 0.7]])
    F.cross_entropy(Z, Q.astype(np.float16))


def test_every_device_gives_the_same(arrays: Any) -> None:
    z = dl.Tensor(arrays.place(Z.astype(np.float32)), requires_grad=True)
    loss = F.cross_entropy(z, arrays.place(Q.astype(np.float32)), class_weight=W, sample_weight=S.tolist())
    loss.backward()
    expected = dl.Tensor(Z, requires_grad=True)
    F.cross_entropy(expected, Q, class_weight=W, sample_weight=S).backward()
    np.testing.assert_allclose(arrays.host(z.grad), expected.grad, rtol=1e-5, atol=1e-7)


# --- training


def labelled(n: int = 90) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    return x, special.softmax(x @ rng.normal(size=(5, 3)) * 2, axis=1)


def trainer(loss: Any = "cross_entropy", model: Any = None, **how: Any) -> dl.Trainer:
    model = dl.nn.Dense(3) if model is None else model
    return dl.Trainer(model, loss, dl.optim.Adam(0.1), device="cpu", seed=0, **how)


def test_a_trainer_learns_from_probabilities_and_measures_by_the_most_probable_class() -> None:
    x, q = labelled()
    one = trainer(metrics=["accuracy"])
    history = one.fit(dl.data.Dataset(x, q), dl.data.Dataset(x, q), epochs=8)
    assert history["dev_loss"][-1] < history["dev_loss"][0]
    found = one.evaluate(dl.data.Dataset(x, q))
    right = np.mean(one.predict(x).argmax(axis=1) == q.argmax(axis=1))
    assert found["accuracy"] == pytest.approx(right)
    assert found["loss"] == pytest.approx(host(F.cross_entropy(one.predict(x), q)), rel=1e-5)


def test_one_hot_rows_train_the_same_model_as_their_labels() -> None:
    x, q = labelled()
    y = q.argmax(axis=1)
    runs = [trainer(class_weight="balanced", metrics=["f1"]) for _ in range(2)]
    first, second = (
        run.fit(dl.data.Dataset(x, t), epochs=3).records[-1] for run, t in zip(runs, (y, np.eye(3)[y]), strict=True)
    )
    assert (first["loss"], first["f1"]) == pytest.approx((second["loss"], second["f1"]), rel=1e-5)


def test_balanced_weights_are_those_of_expected_counts() -> None:
    x, q = labelled()
    one = trainer(class_weight="balanced")
    one.fit(dl.data.Dataset(x, q))
    assert one.objectives[""].table == pytest.approx(tuple(len(q) / (3 * q.sum(axis=0))))


def test_rows_with_nan_are_missing_labels_of_a_head() -> None:
    x, q = labelled()
    missing = np.arange(len(x)) % 3 == 0
    data = dl.data.Dataset(x, {"soft": np.where(missing[:, None], np.nan, q), "hard": q.argmax(axis=1)})
    heads = dl.nn.Heads({"soft": dl.nn.Dense(3), "hard": dl.nn.Dense(3)})
    one = trainer(dict.fromkeys(("soft", "hard"), "cross_entropy"), heads, metrics={"soft": ["accuracy"]})
    one.fit(data, epochs=3)
    figures, measured = one.measure(data)
    predicted = one.predict(x)["soft"].argmax(axis=1)
    assert figures["soft_accuracy"] == pytest.approx(np.mean((predicted == q.argmax(axis=1))[~missing]))
    assert measured.chance()["labels"]["soft_accuracy"] == int((~missing).sum())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda q: q * 1.1, r"train: label probabilities of example 0 .*sum 1\.1"),
        (lambda q: q - 0.1 * np.eye(3)[0] * (np.arange(90) == 7)[:, None] * 10, "example 7 .*no negative"),
        (lambda q: np.hstack([q, 0 * q[:, :1]]), "4 an example but the model has 3 outputs"),
    ],
)
def test_a_trainer_refuses_targets_that_are_no_probabilities(change: Any, words: str) -> None:
    x, q = labelled()
    with pytest.raises(DataError, match=words):
        trainer().fit(dl.data.Dataset(x, change(q)))


def test_parts_are_not_stratified_by_rows_of_probabilities() -> None:
    x, q = labelled()
    parts = dl.data.split(dl.data.Dataset(x, q), seed=3)
    plain = dl.data.split(dl.data.Dataset(x, x[:, 0]), seed=3)
    assert [part.x.tolist() for part in parts] == [part.x.tolist() for part in plain]
    mixed = dl.data.Dataset(x, {"soft": q, "kind": np.arange(90) % 2})
    assert np.bincount(dl.data.split(mixed)[1].y["kind"]).tolist() == [9, 9]


def test_the_worst_mistakes_are_found_among_soft_labels() -> None:
    x, q = labelled()
    one = trainer()
    found = dl.report.examine(one, dl.data.Dataset(x, q), None, worst=2)
    assert found.confusion is not None
    assert found.confusion.sum() == 90
    assert all(m.true == q[m.position].argmax() for m in found.mistakes)
