"""Nearest neighbours: the same predictions as scikit-learn's, exact ranking, order among equals, and bounded memory."""

from __future__ import annotations

import functools
import itertools
import re
import time
import tracemalloc
from collections.abc import MutableMapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from arrays import Backend
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

import dlcore as dl
from dlcore.neighbors import MIB, KNNClassifier

ALL = list(itertools.product(("l1", "l2"), ("uniform", "distance")))


@functools.cache
def fashion() -> dl.data.Splits:
    return dl.data.load("fashion-subset")


def pixels(x: np.ndarray) -> np.ndarray:
    """The bytes behind k/255, as whole numbers in float64, on which scikit-learn rounds nothing either."""
    return np.rint(x * 255.0).reshape(len(x), -1)


def theirs(k: int, metric: str, weights: str) -> KNeighborsClassifier:
    name = {"l1": "manhattan", "l2": "euclidean"}[metric]
    return KNeighborsClassifier(k, metric=name, weights=weights, algorithm="brute")


# --- beside scikit-learn


@pytest.mark.parametrize(("k", "weights"), [(1, "uniform"), (3, "distance"), (5, "uniform"), (10, "distance")])
def test_l2_predicts_every_test_image_as_scikit_learn_does(k: int, weights: str) -> None:
    data = fashion()
    known = theirs(k, "l2", weights).fit(pixels(data.train.x), data.train.y)
    predicted = KNNClassifier(k, "l2", weights, device="cpu").fit(data.train).predict(data.test.x)
    np.testing.assert_array_equal(predicted, known.predict(pixels(data.test.x)))


@pytest.mark.parametrize(("metric", "weights"), ALL)
def test_the_shares_of_the_votes_are_those_of_scikit_learn(metric: str, weights: str) -> None:
    rng = np.random.default_rng(0)
    x, y, queries = rng.random((60, 3)), rng.integers(-3, 4, 60) * 10, rng.random((20, 3))
    classifier = KNNClassifier(7, metric, weights, device="cpu").fit(x, y)
    known = theirs(7, metric, weights).fit(x, y)
    np.testing.assert_allclose(classifier.predict_proba(queries), known.predict_proba(queries), rtol=1e-12)
    np.testing.assert_array_equal(classifier.classes, known.classes_)
    assert classifier.predict_proba(queries[:0]).shape == (0, 7)


def test_what_is_memorised_is_counted_in_bytes() -> None:
    classifier = KNNClassifier(1, device="cpu")
    assert classifier.nbytes == 0
    assert classifier.fit(np.zeros((3, 4, 4), np.float32) + 0.3, [0, 1, 1]).nbytes == 3 * 16 * 4
    assert classifier.fit(np.full((3, 4, 4), 7 / 255), [0, 1, 1]).nbytes == 3 * 16  # a byte each


@functools.cache
def ten_nearest() -> tuple[np.ndarray, np.ndarray]:
    """The L1 neighbours of all test images, which take a processor seconds: found once for every k."""
    data = fashion()
    return KNNClassifier(10, "l1", device="cpu").fit(data.train).neighbors(data.test.x)


@functools.cache
def their_ten_nearest() -> tuple[np.ndarray, np.ndarray]:
    data = fashion()
    return theirs(10, "l1", "uniform").fit(pixels(data.train.x), data.train.y).kneighbors(pixels(data.test.x))


def test_l1_finds_neighbours_at_the_same_distances_as_scikit_learn() -> None:
    np.testing.assert_allclose(ten_nearest()[0], their_ten_nearest()[0] / 255, rtol=1e-14)


@pytest.mark.parametrize("k", [1, 3, 5, 10])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_l1_predicts_every_test_image_as_scikit_learn_does(
    monkeypatch: pytest.MonkeyPatch, k: int, weights: str
) -> None:
    data = fashion()
    ours, known = KNNClassifier(k, "l1", weights, device="cpu").fit(data.train), theirs(k, "l1", weights)
    known.fit(pixels(data.train.x), data.train.y)
    (distances, positions), (their_distances, their_positions) = ten_nearest(), their_ten_nearest()
    monkeypatch.setattr(ours, "_search", lambda x: iter([(distances[:, :k], positions[:, :k])]))
    monkeypatch.setattr(known, "kneighbors", lambda X: (their_distances[:, :k], their_positions[:, :k]))
    if weights == "uniform":  # said in this way it asks for neighbours; else it has a search of its own
        known.set_params(weights=np.ones_like)
    predicted = ours.predict(data.test.x)
    np.testing.assert_array_equal(predicted, known.predict(pixels(data.test.x)))
    assert 0.79 < np.mean(predicted == data.test.y) < 0.82


@pytest.mark.full
@pytest.mark.parametrize("k", [1, 3, 5, 10])
@pytest.mark.parametrize(("metric", "weights"), ALL)
def test_every_search_of_its_own_predicts_as_scikit_learn_does(k: int, metric: str, weights: str) -> None:
    data = fashion()
    known = theirs(k, metric, weights).fit(pixels(data.train.x), data.train.y)
    predicted = KNNClassifier(k, metric, weights, device="cpu").fit(data.train).predict(data.test.x)
    np.testing.assert_array_equal(predicted, known.predict(pixels(data.test.x)))


SCALES = {
    "tiny": ([1e-12] * 4, 0.0),
    "below the precision of float32": ([1e-7, 1e-9], 0.0),
    "large": ([1e8] * 3, 0.0),
    "mixed": ([1e-12, 1.0, 1e8], 0.0),
    "far from zero": ([1.0, 1.0, 1.0], 1e8),
    "a few of 255 levels and a tiny one": ([1.0 / 255, 1e-12], 0.0),
}


@pytest.mark.parametrize("metric", ["l1", "l2"])
@pytest.mark.parametrize("scale", SCALES)
def test_features_of_any_scale_have_the_neighbours_that_scikit_learn_finds(scale: str, metric: str) -> None:
    sizes, offset = SCALES[scale]
    rng = np.random.default_rng(3)
    x, queries = (offset + rng.random((n, len(sizes))) * sizes for n in (300, 40))
    if scale.startswith("a few"):
        x[:, 0], queries[:, 0] = rng.integers(0, 2, 300) / 255, rng.integers(0, 2, 40) / 255
    known = KNeighborsClassifier(5, metric={"l1": "manhattan", "l2": "euclidean"}[metric], algorithm="kd_tree")
    known.fit(x, np.zeros(300))
    distances, positions = KNNClassifier(5, metric, device="cpu").fit(x, np.zeros(300, int)).neighbors(queries)
    their_distances, their_positions = known.kneighbors(queries)
    np.testing.assert_array_equal(positions, their_positions)
    np.testing.assert_allclose(distances, their_distances, rtol=1e-9)


@pytest.mark.parametrize("metric", ["l1", "l2"])
def test_a_tiny_feature_decides_among_hundreds_that_are_equal_in_a_large_one(metric: str, arrays: Backend) -> None:
    """The products of 1e8 round away all of the tiny feature; there are more such rows than candidates."""
    rng = np.random.default_rng(4)
    x = np.stack([rng.integers(0, 2, 400) * 1e8, rng.permutation(400) * 1e-12], axis=1)
    queries = np.array([[0.0, 1e-10], [1e8, 3e-10], [0.0, 2.5e-13]])
    apart = np.abs(x[None] - queries[:, None])
    exact = np.argsort(apart.sum(axis=2) + (apart[:, :, 0] > 0) * 1e9, axis=1, kind="stable")[:, :4]
    classifier = KNNClassifier(4, metric, device=arrays.device).fit(arrays.place(x), np.zeros(400, int))
    np.testing.assert_array_equal(classifier.neighbors(arrays.place(queries))[1], exact)


# --- ranking and ties

LEVELS = st.lists(st.lists(st.sampled_from([0, 1, 2, 128, 254, 255]), min_size=3, max_size=3), min_size=4, max_size=9)


@pytest.mark.parametrize("metric", ["l1", "l2"])
@pytest.mark.parametrize("kind", ["uint8", "int64", "whole float32", "float32 k/255", "float64 k/255"])
@given(train=LEVELS, queries=LEVELS)
@settings(deadline=None, derandomize=True, max_examples=25)
def test_the_ranking_is_that_of_exact_arithmetic(metric: str, kind: str, train: Any, queries: Any) -> None:
    dtype = kind.removeprefix("whole ").removesuffix(" k/255")
    scale = 255 if "k/255" in kind else 1
    as_given = lambda x: (np.array(x).astype(dtype) / np.array(scale, dtype)).astype(dtype)  # noqa: E731
    labels = np.arange(len(train))
    for k in (1, 4):
        classifier = KNNClassifier(k, metric, device="cpu").fit(as_given(train), labels)
        distances, positions = classifier.neighbors(as_given(queries))
        for i, query in enumerate(queries):
            power = 1 if metric == "l1" else 2
            exact = [
                sum(abs(Fraction(a - b, scale)) ** power for a, b in zip(query, row, strict=True)) for row in train
            ]
            order = sorted(range(len(train)), key=lambda j, exact=exact: (exact[j], j))[:k]
            assert positions[i].tolist() == order
            np.testing.assert_allclose(
                distances[i], [float(exact[j]) ** (1 / power) for j in order], rtol=1e-14, atol=0
            )


@pytest.mark.parametrize("metric", ["l1", "l2"])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_equal_rows_are_at_equal_distances_and_the_earlier_wins(metric: str, offset: float) -> None:
    """Numbers that no float holds exactly, where a product of matrices would tell equal rows apart by rounding."""
    rng = np.random.default_rng(0)
    some = offset + rng.standard_normal((40, 37))
    x = np.concatenate([some, some, some])[rng.permutation(120)]
    for memory in (MIB, 64 * MIB):  # in many parts, and in one
        distances, positions = (
            KNNClassifier(6, metric, memory=memory, device="cpu").fit(x, np.arange(120)).neighbors(some)
        )
        assert (distances[:, :3] == 0).all()
        for i, row in enumerate(some):
            nearest = np.abs(x - row).sum(1) if metric == "l1" else np.sqrt(((x - row) ** 2).sum(1))
            np.testing.assert_array_equal(positions[i], np.argsort(nearest, kind="stable")[:6])


def test_equal_votes_go_to_the_smallest_label() -> None:
    x = [[0.0], [1.0], [2.0], [3.0]]
    for labels, expected in (([7, 7, -2, -2], -2), ([5, 5, 5, 1], 5), ([9, 4, 8, 6], 4)):
        assert KNNClassifier(4, device="cpu").fit(x, labels).predict([[1.4]]).tolist() == [expected]


def test_with_weights_the_nearer_outvote_the_many_and_the_same_example_outvotes_all() -> None:
    x, y = [[0.0], [10.0], [11.0], [12.0]], [0, 1, 1, 1]
    assert KNNClassifier(4, "l1", device="cpu").fit(x, y).predict([[1.0], [0.0]]).tolist() == [1, 1]
    weighted = KNNClassifier(4, "l1", "distance", device="cpu").fit(x, y)
    assert weighted.predict([[1.0], [0.0], [8.0]]).tolist() == [0, 0, 1]


# --- kinds of arrays and of input


@pytest.mark.parametrize(("metric", "weights"), ALL)
def test_every_kind_of_array_gives_the_same(arrays: Backend, metric: str, weights: str) -> None:
    rng = np.random.default_rng(1)
    x, y, queries = rng.standard_normal((70, 3, 2)), rng.integers(0, 4, 70), rng.standard_normal((9, 3, 2))
    for convert in (np.float32, lambda v: np.abs(v * 50).astype(np.uint8), lambda v: v > 0):
        here = KNNClassifier(5, metric, weights, device="cpu").fit(convert(x), y)
        there = KNNClassifier(5, metric, weights, device=arrays.device).fit(arrays.place(convert(x)), arrays.place(y))
        for one, other in zip(here.neighbors(convert(queries)), there.neighbors(convert(queries)), strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(here.predict(convert(queries)), there.predict(arrays.place(convert(queries))))


def test_a_data_set_and_its_arrays_are_the_same() -> None:
    part = fashion().train[:200]
    one = KNNClassifier(device="cpu").fit(part)
    other = KNNClassifier(device="cpu").fit(np.rint(part.x * 255).astype(np.uint8), part.y.astype(np.float32))
    some = fashion().test[:50]
    np.testing.assert_array_equal(one.predict(some.x), other.predict(np.rint(some.x * 255).astype(np.uint8)))
    np.testing.assert_array_equal(one.predict(some.x), one.predict(some.x.reshape(50, -1)))
    assert one.score(some) == np.mean(one.predict(some.x) == some.y)


def test_no_queries_give_no_predictions() -> None:
    classifier = KNNClassifier(1, device="cpu").fit([[0.0]], [3])
    assert classifier.predict(np.zeros((0, 1))).shape == (0,)
    assert [part.shape for part in classifier.neighbors(np.zeros((0, 1)))] == [(0, 1), (0, 1)]


def test_all_training_examples_may_vote() -> None:
    x, y = np.arange(40.0)[:, None], np.arange(40) // 25
    assert KNNClassifier(40, device="cpu").fit(x, y).predict([[39.0]]).tolist() == [0]


X, Y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: KNNClassifier(0), dl.ConfigError, "k is 0 .* >= 1"),
        (lambda: KNNClassifier(2.0), dl.ConfigError, "k is 2.0"),  # type: ignore[arg-type]
        (lambda: KNNClassifier(True), dl.ConfigError, "k is True"),
        (lambda: KNNClassifier(metric="l3"), dl.ConfigError, "metric is 'l3' but 'l1' or 'l2'"),
        (lambda: KNNClassifier(weights="distances"), dl.ConfigError, "did you mean distance"),
        (lambda: KNNClassifier(memory=0), dl.ConfigError, "memory is 0"),
        (lambda: KNNClassifier(n=3), dl.ConfigError, "it takes k, metric"),  # type: ignore[call-arg]
        (lambda: KNNClassifier(7).fit(X, Y), dl.ConfigError, "k is 7 but there are 6"),
        (lambda: KNNClassifier(2, memory=1000).fit(X, Y), dl.ConfigError, "memory is 1,000 bytes .* at least"),
        (lambda: KNNClassifier(2).fit(X, Y[:5]), dl.ShapeError, r"y has shape \(5,\) but \(6,\)"),
        (lambda: KNNClassifier(2).fit(X, Y[:, None]), dl.ShapeError, r"y has shape \(6, 1\)"),
        (lambda: KNNClassifier(2).fit(X, Y + 0.5), dl.DataError, "whole numbers"),
        (lambda: KNNClassifier(2).fit(X, np.where(Y, Y, np.nan)), dl.DataError, "whole numbers"),
        (lambda: KNNClassifier(2).fit(X, ["a"] * 6), dl.DataError, "number the classes"),
        (lambda: KNNClassifier(2).fit(X), dl.DataError, "y is missing"),
        (lambda: KNNClassifier(2).fit(dl.data.Dataset(X, {"a": Y})), dl.DataError, "several targets"),
        (lambda: KNNClassifier(2).fit(dl.data.Dataset(X, Y, np.full(6, 2))), dl.DataError, "sequences"),
        (lambda: KNNClassifier(2).fit(np.where(X == 3, np.nan, X), Y), dl.DataError, "NaN"),
        (lambda: KNNClassifier(2).fit(np.where(X == 3, -np.inf, X), Y), dl.DataError, "infinity"),
        (lambda: KNNClassifier(2).fit([["a"]] * 6, Y), dl.DataError, "real numbers"),
        (lambda: KNNClassifier(2).fit(X + 1j, Y), dl.DataError, "real numbers"),
        (lambda: KNNClassifier(2).fit([[1.0], [1.0, 2.0]], [0, 1]), dl.DataError, "cannot become an array"),
        (lambda: KNNClassifier(2).fit(X[:, 0], Y), dl.ShapeError, r"x has shape \(6,\) but \(N, ...\)"),
        (lambda: KNNClassifier(2).predict(X), dl.ConfigError, "call fit first"),
        (lambda: KNNClassifier(2).fit(X, Y).predict(X[:, :1]), dl.ShapeError, r"shape \(6, 1\) .* have \(2,\)"),
        (lambda: KNNClassifier(2).fit(X, Y).predict(X[0]), dl.ShapeError, r"\(2,\)"),
        (lambda: KNNClassifier(2).fit(X, Y).predict(X * np.nan), dl.DataError, "NaN"),
        (lambda: KNNClassifier(2).fit(X, Y).score(X, Y[:3]), dl.ShapeError, "a label for each"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(monkeypatch: pytest.MonkeyPatch, call: Any, error: type[Exception], words: str) -> None:
    monkeypatch.setenv("DLCORE_DEVICE", "cpu")
    with pytest.raises(error, match=words) as caught:
        call()
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert re.match("KNNClassifier: ", str(caught.value))


# --- memory


def peak(work: Any) -> int:
    """The most bytes that ``work()`` has held at a time beyond what was there; NumPy reports its arrays."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("metric", ["l1", "l2"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(
    ("n", "features", "k", "classes"), [(6000, 50, 5, 10), (1500, 784, 1, 10), (2000, 20, 300, 2000)]
)
def test_prediction_stays_within_its_memory(
    metric: str, dtype: str, n: int, features: int, k: int, classes: int
) -> None:
    rng, memory = np.random.default_rng(2), 6 * MIB
    x, queries = (rng.uniform(0, 256, (rows, features)).astype(dtype) for rows in (n, 100))
    y = rng.integers(0, classes, n)
    small, large = (KNNClassifier(k, metric, memory=size, device="cpu").fit(x, y) for size in (memory, 1024 * MIB))
    assert peak(lambda: small.predict(queries)) < memory
    np.testing.assert_array_equal(small.predict(queries), large.predict(queries))
    assert peak(lambda: small.fit(x, y)) < memory + x.nbytes


@pytest.mark.full
def test_sixty_thousand_images_take_no_more_than_256_mebibytes(figures: MutableMapping[str, Any]) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 256, (60_000, 784), dtype=np.uint8), rng.integers(0, 10, 60_000)
    measured: dict[str, Any] = {}
    for metric, queries in (("l1", 100), ("l2", 1000)):
        some = rng.integers(0, 256, (queries, 784), dtype=np.uint8)
        classifier = KNNClassifier(5, metric, device="cpu").fit(x, y)
        held = peak(lambda classifier=classifier, some=some: classifier.predict(some))
        began = time.perf_counter()
        classifier.predict(some)
        measured[metric] = {
            "peak MiB": round(held / MIB, 1),
            "ms per query": round(1000 * (time.perf_counter() - began) / queries, 2),
        }
        assert held < 256 * MIB
    figures["images"] = {"nearest neighbours among 60,000 images of 784 pixels": measured}
