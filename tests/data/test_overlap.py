"""Digests of examples: what they tell apart, and which examples of a set were seen before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlcore.data import Dataset, Normalizer, open_path
from dlcore.data.overlap import digests_of, equal_inputs, in_training, left


def table(x: object, y: object = None) -> Dataset:
    x = np.asarray(x, np.float64)
    return Dataset(x, np.zeros(len(x)) if y is None else y)  # type: ignore[arg-type]


def test_a_digest_depends_on_the_example_alone() -> None:
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(700, 5)), np.arange(700) % 3)
    order = rng.permutation(700)
    np.testing.assert_array_equal(digests_of(data)[order], digests_of(data[order]))
    assert len(np.unique(digests_of(data))) == 700


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (table([[1.0, 2.0]]), table([[2.0, 1.0]])),
        (table([[1.0, 2.0]]), table([[1.0, 2.0]], np.array([1]))),
        (
            table([[1.0, 2.0]], {"a": np.array([0]), "b": np.array([1])}),
            table([[1.0, 2.0]], {"a": np.array([1]), "b": np.array([0])}),
        ),
        (
            Dataset(np.ones((1, 3, 1)), np.zeros(1), np.array([2])),
            Dataset(np.ones((1, 3, 1)), np.zeros(1), np.array([3])),
        ),
    ],
    ids=["order", "target", "which target", "length"],
)
def test_other_examples_have_other_digests(first: Dataset, second: Dataset) -> None:
    assert digests_of(first)[0] != digests_of(second)[0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (table([[0.0, 2.0]]), table([[-0.0, 2.0]])),
        (Dataset(np.float32([[0.75]]), np.zeros(1)), Dataset(np.float64([[0.75]]), np.zeros(1))),
        (Dataset(np.ones((1, 1)), np.zeros((1, 1), np.float32)), Dataset(np.ones((1, 1)), np.zeros(1))),
    ],
    ids=["signed zero", "precision of x", "shape of y"],
)
def test_equal_examples_have_equal_digests(first: Dataset, second: Dataset) -> None:
    assert digests_of(first)[0] == digests_of(second)[0]


def test_inputs_are_equal_whatever_the_targets_are() -> None:
    digests = digests_of(table([[1.0], [2.0], [1.0], [1.0]], np.array([0, 0, 1, 0])))
    groups = equal_inputs(digests)
    assert groups[0] == groups[2] == groups[3] != groups[1]
    assert digests[0] == digests[3] != digests[2]


def test_the_normalizer_has_no_part_in_it(tmp_path) -> None:
    (tmp_path / "t.csv").write_text("a,b,y\n" + "".join(f"{i % 7 / 3},{i * i},{i / 7}\n" for i in range(40)))
    plain, normal = (open_path(tmp_path / "t.csv", normalize=normalize) for normalize in (False, True))
    assert plain.digests is not None
    assert normal.digests is not None
    for part in ("train", "dev", "test"):
        np.testing.assert_array_equal(plain.digests[part], normal.digests[part])
    assert isinstance(normal.normalizer, Normalizer)


def test_nothing_is_said_of_parts_without_equal_inputs() -> None:
    rows = np.arange(10, dtype=np.uint64) << np.uint64(24)
    assert in_training({"train": rows[:6], "dev": rows[6:8], "test": rows[8:]}) == ""
    said = in_training({"train": rows[:6], "dev": rows[:1], "test": rows[5:7]}, "do this")
    assert said.startswith("equal inputs: 1 of 1 dev rows and 1 of 2 test rows")
    assert said.endswith("; do this")


@given(
    x=st.lists(st.integers(0, 4), min_size=1, max_size=30),
    y=st.lists(st.integers(0, 1), min_size=30, max_size=30),
    cuts=st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
def test_of_a_shuffled_file_as_many_rows_are_left_as_were_in_the_rest(x, y, cuts) -> None:
    """The examples that are left are those of the old test set, equal ones included."""
    digests = digests_of(Dataset(np.float64(x)[:, None], np.array(y[: len(x)])))
    first, second = sorted(min(cut, len(x)) for cut in cuts)
    order = np.random.default_rng(first).permutation(len(x))
    mask, counts = left(digests[order], [digests[:first], digests[first:second]])
    assert counts == [first, second - first]
    assert sorted(digests[order][mask]) == sorted(digests[second:])


def test_a_mended_target_does_not_make_a_row_new() -> None:
    before = digests_of(table([[1.0], [2.0], [3.0]], np.array([0, 0, 0])))
    now = digests_of(table([[1.0], [2.0], [3.0], [4.0]], np.array([1, 0, 0, 0])))
    mask, counts = left(now, [before])
    assert (mask.tolist(), counts) == ([False, False, False, True], [3])


def test_of_equal_inputs_the_one_with_the_same_target_is_taken_first() -> None:
    both = digests_of(table([[1.0], [1.0]], np.array([0, 1])))
    assert left(both, [both[1:]])[0].tolist() == [True, False]
    assert left(both[::-1], [both[1:]])[0].tolist() == [False, True]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_numbers_that_differ_beyond_float32_are_different(tmp_path, kind: str, normalize: bool) -> None:
    seconds, y = 1.7e9 + np.arange(60.0)[:, None] * [1, 7], np.arange(60) / 7
    path = tmp_path / f"clock.{kind}"
    if kind == "npz":
        np.savez(path, x=seconds, y=y)
    else:
        lines = (f"{a:.0f},{b:.0f},{goal}" for (a, b), goal in zip(seconds, y, strict=True))
        path.write_text("began,ended,goal\n" + "\n".join(lines) + "\n")
    splits = open_path(path, normalize=normalize, keep_equal_together=True)
    assert not any("equal inputs" in note for note in splits.notes if "60 different" not in note)
    assert [len(part) for part in (splits.train, splits.dev, splits.test)] == [36, 12, 12]
    assert splits.train.x.dtype == np.float32


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e-300, -1.1e22, 1 / 3])
def test_the_last_digit_of_a_float64_makes_no_other_example(value: float) -> None:
    one, other = (digests_of(table([[number, 1.0]])) for number in (value, np.nextafter(value, np.inf)))
    assert one == other


def test_zero_has_one_digest() -> None:
    assert digests_of(table([[0.0]])) == digests_of(table([[-0.0]]))
