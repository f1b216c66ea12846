"""Networks as scikit-learn's estimators: its own checks, and what they do not look at."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, load_iris
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import dlcore as dl
from dlcore.interop.sklearn import Classifier, Regressor


@parametrize_with_checks([Classifier(hidden=(16,), epochs=60), Regressor(hidden=(16,), epochs=60)])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_a_pipeline_and_a_grid_search_use_it() -> None:
    x, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), Classifier(hidden=(8,), epochs=30))
    search = GridSearchCV(pipeline, {"classifier__lr": [0.0, 0.01]}, cv=3).fit(x, y)
    assert search.best_params_ == {"classifier__lr": 0.01}
    assert cross_val_score(search.best_estimator_, x, y, cv=3).mean() > 0.9


def test_equal_seeds_give_equal_networks_and_a_pickled_one_predicts_the_same() -> None:
    x, y = load_iris(return_X_y=True)
    first = Classifier(hidden=(8,), epochs=3, random_state=1).fit(x, y)
    again = pickle.loads(pickle.dumps(clone(first).fit(x, y)))
    other = clone(first).set_params(random_state=2).fit(x, y)
    np.testing.assert_array_equal(again.predict_proba(x), first.predict_proba(x))
    assert (other.predict_proba(x) != first.predict_proba(x)).any()


def test_its_probabilities_are_calibrated() -> None:
    x, y = load_iris(return_X_y=True)
    calibrated = CalibratedClassifierCV(Classifier(hidden=(8,), epochs=20), cv=3).fit(x, y)
    shares = calibrated.predict_proba(x)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)  # sums of three
    assert calibrated.score(x, y) > 0.85


@pytest.mark.parametrize(
    "labels",
    [np.array(["no", "yes"]), np.array(["Möwe", "🐧"], object), np.array([False, True]), np.array([7.0, 9.0])],
    ids=["text", "objects", "bools", "floats"],
)
def test_labels_of_any_kind_come_back(labels: np.ndarray) -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    y = labels[(x[:, 0] > 0).astype(int)]
    found = Classifier(hidden=(8,), epochs=30).fit(x, y)
    assert found.classes_.tolist() == labels.tolist()
    assert found.predict(x).dtype == y.dtype
    assert (found.predict(x) == y).mean() > 0.9


def test_fitting_again_forgets_what_was_before() -> None:
    x, y = load_iris(return_X_y=True)
    model = Classifier(hidden=(8,), epochs=3, random_state=0).fit(x[:100, :2], y[:100])
    assert model.predict_proba(x[:2, :2]).shape == (2, 2)
    again = model.fit(x, y).predict_proba(x)
    np.testing.assert_array_equal(again, clone(model).fit(x, y).predict_proba(x))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_in_fit_and_in_predict(value: float) -> None:
    x, y = load_iris(return_X_y=True)
    model = Classifier(hidden=(), epochs=1).fit(x, y)
    x[3, 1] = value
    for call in (lambda: clone(model).fit(x, y), lambda: model.predict(x)):
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            call()


def test_columns_in_another_order_are_refused_by_their_names() -> None:
    pandas = pytest.importorskip("pandas")
    x, y = load_iris(return_X_y=True)
    frame = pandas.DataFrame(x, columns=["a", "b", "c", "d"])
    model = Classifier(hidden=(), epochs=1).fit(frame, y)
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])


def test_a_convolutional_model_sees_the_rows_as_images() -> None:
    def build(outputs: int) -> dl.nn.Module:
        return dl.nn.Sequential(dl.nn.Conv2D(8, 3), dl.nn.ReLU(), dl.nn.Flatten(), dl.nn.Dense(outputs))

    x, y = load_digits(return_X_y=True)
    classifier = Classifier(model=build, input_shape=(8, 8, 1), epochs=4, normalize=False, dtype="float32", lr=0.003)
    assert classifier.fit(x[:600] / 16, y[:600]).score(x[600:900] / 16, y[600:900]) > 0.85


def test_a_regression_of_several_numbers_gives_each_its_own_scale() -> None:
    x = np.linspace(-1, 1, 60)[:, None]
    y = np.column_stack([x[:, 0] ** 2, 1000 * x[:, 0], 5 - x[:, 0]])
    found = Regressor(hidden=(16,)).fit(x, y)
    assert found.predict(x).shape == (60, 3)
    np.testing.assert_array_less(0.95, r2_score(y, found.predict(x), multioutput="raw_values"))
    assert Regressor(hidden=np.array([16, 4]), epochs=1).fit(x, y[:, :1]).predict(x[:2]).shape == (2, 1)
    weighted = Regressor(hidden=(), epochs=200).fit(np.zeros((4, 1)), [[0, 1], [4, 1]] * 2, [1, 3, 1, 3])
    np.testing.assert_allclose(weighted.predict([[0.0]]), [[3, 1]], atol=0.1)  # Adam's last steps


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hidden": 8}, "hidden is 8 but a list of whole numbers"),
        ({"model": dl.nn.Dense(3)}, "model is a Dense but a function that makes one is expected"),
        ({"input_shape": (3, 3)}, r"input_shape is \(3, 3\), of 9 numbers, but a row of X has 4"),
    ],
)
def test_settings_that_cannot_be_are_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(dl.ConfigError, match=words):
        Classifier(**settings).fit(*load_iris(return_X_y=True))


def test_weights_of_examples_move_a_regression_in_small_batches_too() -> None:
    """A constant model learns the weighted mean."""
    x, y = np.zeros((40, 1)), np.repeat([0.0, 1.0], 20)
    weight = np.where(y == 1, 3.0, 1.0)
    found = Regressor(hidden=(), epochs=200, batch_size=8, lr=0.01).fit(x, y, weight).predict(x[:1])
    np.testing.assert_allclose(found, 0.75, atol=0.05)  # Adam's last steps of 0.01 in units of the deviation 0.43


def test_columns_that_training_could_not_teach_change_no_prediction() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(80, 2)), np.full(80, 1000.0), np.zeros(80), np.arange(80) % 40 == 7])
    y = 2 * x[:, 0] - x[:, 1]
    model = Regressor(hidden=(8,), epochs=20).fit(x, y)
    odd = x.copy()
    odd[:, 2] += 10 * rng.normal(size=80)
    odd[:, 3] = 1
    np.testing.assert_array_equal(model.predict(odd), model.predict(x))
    assert model.score(x, y) > 0.8


def test_far_values_are_bounded_and_not_multiplied() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 1))
    model = Regressor(hidden=(8,), epochs=20).fit(x, x[:, 0])
    assert abs(model.predict([[1e9]])[0]) < 10 * np.abs(x).max()
