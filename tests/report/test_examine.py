"""The examination: confusions counted by hand, the worst mistakes in their order, pictures value by value."""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import dlcore as dl
from dlcore.data import Dataset, Normalizer
from dlcore.data.source import Stream
from dlcore.report import examine

CLASSES = ("a", "b", "c")


class Told:
    """A trainer that returns outputs it was told, in their order, and counts how many examples came at once."""

    def __init__(self, loss: Any, outputs: Any) -> None:
        self.outputs = np.asarray(outputs, np.float32)
        self.objectives = dl.Trainer(dl.nn.Dense(1), loss=loss, device="cpu").objectives
        self.sizes: list[int] = []

    def predict(self, x: np.ndarray) -> np.ndarray:
        start = sum(self.sizes)
        self.sizes.append(len(x))
        return self.outputs[start : start + len(x)]


def told(loss: Any, outputs: Any) -> Any:
    return Told(loss, outputs)


def logits(*probabilities: tuple[float, ...]) -> np.ndarray:
    """Rows whose softmax is given; a constant is added to show that it does not matter."""
    return np.log(np.array(probabilities)) + 3.0


# --- confusion


def test_the_confusion_matrix_is_the_count_by_hand() -> None:
    y = np.array([0, 0, 1, 2, 2, 2])
    outputs = logits((.8, .1, .1), (.2, .7, .1), (.1, .8, .1), (.5, .1, .4), (.6, .2, .2), (.1, .2, .7))  # fmt: skip
    found = examine(told("cross_entropy", outputs), Dataset(np.zeros((6, 2)), y), CLASSES)
    assert found.examples == 6
    assert found.confusion is not None
    assert found.confusion.tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]


def test_the_surest_mistakes_come_first_with_the_probability_of_the_wrong_class() -> None:
    y = np.array([0, 0, 1, 2, 2, 2])
    outputs = logits((.8, .1, .1), (.2, .7, .1), (.1, .8, .1), (.5, .1, .4), (.6, .2, .2), (.1, .2, .7))  # fmt: skip
    found = examine(told("cross_entropy", outputs), Dataset(np.zeros((6, 2)), y), CLASSES, worst=2)
    assert [(m.position, m.true, m.predicted) for m in found.mistakes] == [(1, 0, 1), (4, 2, 0)]
    assert [m.probability for m in found.mistakes] == [pytest.approx(0.7), pytest.approx(0.6)]
    assert all(m.picture is None for m in found.mistakes)


def test_of_equally_sure_mistakes_the_earlier_comes_first() -> None:
    outputs = np.tile([0.0, 2.0, 0.0], (5, 1))
    found = examine(told("cross_entropy", outputs), Dataset(np.zeros((5, 2)), np.zeros(5, int)), CLASSES, worst=3)
    assert [m.position for m in found.mistakes] == [0, 1, 2]


def test_classes_without_examples_have_a_row_and_a_column() -> None:
    found = examine(told("cross_entropy", [[1.0, 0.0, 0.0]]), Dataset(np.zeros((1, 2)), np.array([0])), CLASSES)
    assert found.confusion is not None
    assert found.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert found.mistakes == ()


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_a_binary_task_has_two_classes_and_counts_a_logit_of_0_as_the_first(shape: tuple[int, ...]) -> None:
    outputs = np.array([2.0, -1.0, 0.0, math.log(4)]).reshape(shape)
    y = np.array([1.0, 1.0, 0.0, 0.0]).reshape(shape)
    found = examine(told("binary_cross_entropy", outputs), Dataset(np.zeros((4, 2)), y), ("no", "yes"))
    assert found.confusion is not None
    assert found.confusion.tolist() == [[1, 1], [1, 1]]
    assert [(m.position, m.true, m.predicted) for m in found.mistakes] == [(3, 0, 1), (1, 1, 0)]
    assert [m.probability for m in found.mistakes] == [pytest.approx(0.8), pytest.approx(math.e / (math.e + 1))]


def test_extreme_logits_give_probabilities_without_a_warning() -> None:
    outputs = [[1e4, -1e4, 0.0], [math.inf, 0.0, 0.0], [math.nan, 0.0, 0.0]]
    y = np.array([1, 1, 1])
    found = examine(told("cross_entropy", outputs), Dataset(np.zeros((3, 2)), y), CLASSES)
    assert [m.position for m in found.mistakes] == [0, 1, 2]
    assert found.mistakes[0].probability == 1.0
    binary = examine(told("binary_cross_entropy", [1e4, -1e4]), Dataset(np.zeros((2, 2)), np.array([0, 1])), None)
    assert [m.probability for m in binary.mistakes] == [1.0, 1.0]


# --- regression and others


def test_a_regression_has_no_matrix_and_its_largest_squared_errors() -> None:
    data = Dataset(np.zeros((4, 2)), np.array([1.0, 2.0, 3.0, 4.0]))
    found = examine(told("mse", [[1.5], [-1.0], [3.0], [3.0]]), data, None)
    assert found.confusion is None
    assert [(m.position, m.true, m.predicted, m.probability) for m in found.mistakes] == [
        (1, 2.0, -1.0, None), (3, 4.0, 3.0, None), (0, 1.0, 1.5, None),
    ]  # fmt: skip


def test_a_prediction_that_is_not_a_number_is_the_worst_error() -> None:
    data = Dataset(np.zeros((3, 2)), np.array([1.0, 2.0, 3.0]))
    assert examine(told("mse", [9.0, math.nan, 3.0]), data, None).mistakes[0].position == 1


def test_ones_own_loss_of_classes_goes_by_the_largest_output() -> None:
    def own(outputs: Any, targets: Any) -> Any:
        return dl.losses.cross_entropy(outputs, targets)

    smooth = functools.partial(dl.losses.cross_entropy, label_smoothing=0.1)
    data = Dataset(np.zeros((2, 2)), np.array([0, 1]))
    for loss in (own, smooth):
        found = examine(told(loss, [[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]]), data, CLASSES)
        assert found.confusion is not None
        assert found.confusion.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_of_several_outputs_nothing_is_said() -> None:
    model = dl.nn.Heads({"kind": dl.nn.Dense(3), "sex": dl.nn.Dense(1)})
    trainer = dl.Trainer(model, loss={"kind": "cross_entropy", "sex": "binary_cross_entropy"}, device="cpu")
    data = Dataset(np.zeros((5, 2)), {"kind": np.zeros(5, int), "sex": np.zeros(5)})
    found = examine(trainer, data, {"kind": CLASSES, "sex": ("f", "m")})
    assert (found.examples, found.confusion, found.mistakes) == (5, None, ())


@pytest.mark.parametrize(
    ("loss", "y", "outputs"),
    [
        ("cross_entropy", np.zeros((2, 4), int), np.zeros((2, 4, 3))),
        ("binary_cross_entropy", np.array([0.3, 1.0]), np.zeros(2)),
        ("binary_cross_entropy", np.zeros((2, 3)), np.zeros((2, 3))),
        ("mse", np.zeros((2, 3)), np.zeros((2, 3))),
    ],
    ids=["labels of steps", "shares", "several labels", "several numbers"],
)
def test_targets_other_than_one_an_example_are_left_alone(loss: str, y: np.ndarray, outputs: np.ndarray) -> None:
    found = examine(told(loss, outputs), Dataset(np.zeros((2, 4)), y), None)
    assert (found.examples, found.confusion, found.mistakes) == (2, None, ())


# --- pictures


def wrong(n: int) -> Any:
    return told("cross_entropy", np.tile([0.0, 1.0], (n, 1)))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_the_input_before_normalisation(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5, channels))
    raw = Dataset((pixels / 255).astype(np.float32), np.zeros(3, int))
    normalizer = Normalizer.fit(raw)
    found = examine(wrong(3), normalizer.apply(raw), ("a", "b"), normalizer=normalizer)
    for mistake in found.mistakes:
        assert mistake.picture is not None
        assert mistake.picture.dtype == np.uint8
        np.testing.assert_array_equal(mistake.picture, pixels[mistake.position])


def test_floats_are_cut_to_0_and_1_and_integers_to_a_byte() -> None:
    x = np.array([-0.5, 0.0, 0.5, 1.0, 1.5, 0.2]).reshape(1, 2, 3, 1)
    (mistake,) = examine(wrong(1), Dataset(x, np.array([0])), ("a", "b")).mistakes
    assert mistake.picture is not None
    assert mistake.picture.ravel().tolist() == [0, 0, 128, 255, 255, 51]
    (mistake,) = examine(wrong(1), Dataset((x * 200).astype(np.int32), np.array([0])), ("a", "b")).mistakes
    assert mistake.picture is not None
    assert mistake.picture.ravel().tolist() == [0, 0, 100, 200, 255, 40]


@pytest.mark.parametrize("shape", [(7,), (5, 2), (4, 5, 2), (4, 5)])
def test_an_input_that_is_no_image_has_no_picture(shape: tuple[int, ...]) -> None:
    (mistake,) = examine(wrong(1), Dataset(np.zeros((1, *shape)), np.array([0])), ("a", "b")).mistakes
    assert mistake.picture is None


# --- sources


class Lazy:
    """Images made when they are asked for: pixel values are the position. Remembers the sizes of what was asked for."""

    shape = (2, 2, 1)
    dtype = np.dtype(np.uint8)

    def __init__(self, n: int) -> None:
        self.n = n
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.n

    def rows(self, index: Any) -> tuple[np.ndarray, np.ndarray]:
        places = np.asarray(index)
        self.asked.append(len(places))
        return np.broadcast_to((places % 256).astype(np.uint8)[:, None, None, None], (len(places), 2, 2, 1)), places % 2


def test_a_large_source_is_read_in_parts_and_the_worst_are_found_across_them() -> None:
    n = 10_000
    outputs = np.zeros((n, 2), np.float32)  # equal scores: class 0 is taken, and every odd example is wrong
    outputs[[9_001, 4_097, 77], 0] = (5.0, 7.0, 6.0)
    trainer, source = told("cross_entropy", outputs), Lazy(n)
    found = examine(trainer, source, ("even", "odd"), worst=4)
    assert found.confusion is not None
    assert found.confusion.tolist() == [[5000, 0], [5000, 0]]
    assert [m.position for m in found.mistakes] == [4_097, 77, 9_001, 1]
    assert [m.picture.ravel().tolist() for m in found.mistakes if m.picture is not None] == [
        [4_097 % 256] * 4, [77] * 4, [9_001 % 256] * 4, [1] * 4,
    ]  # fmt: skip
    assert max(source.asked) <= 4096
    assert sum(source.asked) == n + 4


def test_large_examples_are_read_in_small_parts() -> None:
    class Large(Lazy):
        shape = (2048, 2048, 3)  # 50 MB in float32: one at a time

    source = Large(3)
    examine(told("cross_entropy", np.zeros((3, 2))), source, ("even", "odd"), worst=0)
    assert source.asked == [1, 1, 1]


def test_pairs_in_a_list_are_a_source_and_an_iterator_is_none() -> None:
    pairs = [(np.zeros(2), 0), (np.zeros(2), 1)]
    found = examine(told("cross_entropy", np.zeros((2, 2))), pairs, ("a", "b"))
    assert found.confusion is not None
    assert found.confusion.tolist() == [[1, 0], [1, 0]]
    with pytest.raises(dl.DataError, match="by position"):
        examine(told("cross_entropy", np.zeros((2, 2))), Stream(pairs), ("a", "b"))


@pytest.mark.parametrize("worst", [-1, 1.5, True, None])
def test_a_number_of_mistakes_that_is_none_is_refused(worst: Any) -> None:
    with pytest.raises(dl.ConfigError, match="worst"):
        examine(SimpleNamespace(), [(np.zeros(2), 0)], None, worst=worst)  # pyright: ignore[reportArgumentType]


def test_a_trained_model_is_examined_as_it_is_evaluated() -> None:
    data = dl.data.load("digits", normalize=True)
    model = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(32), dl.nn.ReLU(), dl.nn.Dropout(0.5), dl.nn.Dense(10))
    trainer = dl.Trainer(model, metrics=["accuracy"], device="cpu", seed=0)
    trainer.fit(data.train, epochs=2)
    found = examine(trainer, data.dev, data.classes, normalizer=data.normalizer)
    assert found.confusion is not None
    assert found.confusion.trace() / len(data.dev) == pytest.approx(trainer.evaluate(data.dev)["accuracy"])
    assert len(found.mistakes) == 12
    raw = dl.data.load("digits").dev
    for mistake in found.mistakes:
        assert mistake.true == raw.y[mistake.position]
        assert mistake.picture is not None
        np.testing.assert_array_equal(mistake.picture, np.rint(raw.x[mistake.position] * 255))
