import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlcore.data import Dataset, Splits, split
from dlcore.data.split import hold_out, split_rows
from dlcore.errors import ConfigError, DataError


def numbered(y):
    """x holds the number of the row, so that parts can be traced back."""
    return Dataset(np.arange(len(y), dtype=np.float64)[:, None], y)


def rows(part):
    return part.x[:, 0].astype(int).tolist()


@given(
    y=st.lists(st.integers(-2, 4), min_size=40, max_size=200),
    weights=st.lists(st.integers(2, 9), min_size=1, max_size=4),
    seed=st.integers(-(2**63), 2**64),
    stratify=st.booleans(),
)
def test_every_row_is_in_exactly_one_part_and_each_class_is_in_proportion(y, weights, seed, stratify):
    y = np.array(y)
    fractions = [w / sum(weights) for w in weights]
    parts = split(numbered(y), fractions, seed, stratify)
    assert sorted(row for part in parts for row in rows(part)) == list(range(len(y)))
    for part, fraction in zip(parts, fractions, strict=True):
        assert (y[rows(part)] == part.y).all()
        for label in np.unique(y) if stratify else ():
            # 1e-6 for the rounding of the fractions themselves
            assert abs((part.y == label).sum() - fraction * (y == label).sum()) < 1 + 1e-6


def test_exact_proportions_are_kept_exactly():
    y = np.repeat(np.arange(10), 500)
    train, dev = split(numbered(y), (0.9, 0.1))
    assert np.bincount(train.y).tolist() == [450] * 10
    assert np.bincount(dev.y).tolist() == [50] * 10


def test_fractions_that_floating_point_cannot_hold_lose_no_row():
    parts = split(numbered(np.zeros(100, int)), (0.29, 0.57, 0.14))  # 0.29 * 100 is 28.999999999999996
    assert [len(part) for part in parts] == [29, 57, 14]


def test_classes_of_a_single_row_are_spread_over_the_parts():
    parts = split(numbered(np.arange(100)))
    assert [len(part) for part in parts] == [60, 20, 20]


def test_the_same_seed_gives_the_same_parts_and_another_seed_gives_others():
    data = numbered(np.arange(50) % 3)
    first, again, other = (rows(split(data, seed=seed)[0]) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_sorted_data_comes_out_in_random_order():
    labels = split(numbered(np.repeat([0, 1], 50)))[0].y
    assert 0 < labels[:30].sum() < 30


def test_a_column_of_integer_labels_is_stratified():
    parts = split(numbered(np.repeat([0, 1], [90, 10])[:, None]))
    assert [int(part.y.sum()) for part in parts] == [6, 2, 2]


@pytest.mark.parametrize(
    "y",
    [
        np.repeat([0.0, 1.0], [90, 10]),
        np.repeat([0.0, 1.0], [90, 10])[:, None].astype(np.float32),
        {"price": np.arange(100) / 7, "kind": np.repeat([0, 1], [90, 10]), "side": np.arange(100) % 2},
        {"sold": np.repeat([[0.0], [1.0]], [90, 10], axis=0), "kind": np.arange(100) % 2},
        {"kind": np.repeat([-1, 3, 1], [50, 40, 10])},
        {"sold": np.repeat([np.nan, 0.0, 1.0], [50, 40, 10])},
    ],
    ids=["floats", "a column of float32", "first classes of several", "first floats of several", "gaps", "float gaps"],
)
@pytest.mark.parametrize("seed", range(5))
def test_classes_are_stratified_in_whatever_form_they_come(y, seed):
    parts = split(Dataset(np.arange(100.0)[:, None], y), seed=seed)
    first = np.arange(90, 100)  # the rows of the rare class
    assert [np.isin(part.x[:, 0], first).sum() for part in parts] == [6, 2, 2]


@pytest.mark.parametrize(
    "y",
    [np.arange(100) / 7, {"price": np.arange(100) / 7}, np.repeat([[0, 1], [1, 0]], [90, 10], axis=0)],
    ids=["numbers", "several numbers", "several labels a row"],
)
def test_targets_without_one_class_a_row_are_split_as_without_stratification(y):
    data = Dataset(np.arange(100.0)[:, None], y)
    for seed in range(5):
        plain = [rows(part) for part in split(data, seed=seed, stratify=False)]
        assert [rows(part) for part in split(data, seed=seed)] == plain


@pytest.mark.parametrize("counts", [[50, 30, 1], [1, 40, 1, 1, 30], [20, 1, 20, 1, 1, 1]])
@pytest.mark.parametrize("seed", range(5))
def test_the_only_row_of_a_class_is_trained_on(counts, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    train, *others = split(numbered(y), seed=seed)
    assert set(train.y) == set(y)
    single = [label for label, count in enumerate(counts) if count == 1]
    assert not any(np.isin(single, part.y).any() for part in others)


@pytest.mark.parametrize("seed", range(5))
def test_a_small_training_part_learns_every_class_too(seed):
    y = np.repeat([0, 1, 2], [30, 2, 3])
    train, rest = split(numbered(y), (0.2, 0.8), seed=seed)
    assert set(train.y) == {0, 1, 2}
    assert len(train) + len(rest) == 35


@pytest.mark.parametrize("rules", [1, 2])
def test_old_rules_let_the_only_row_of_a_class_go_anywhere(rules):
    labels = np.repeat(np.arange(21), [80] + [1] * 20)
    trained = [
        np.isin(np.arange(80, 100), split_rows(100, (0.6, 0.2, 0.2), s, labels, rules=rules)[0]).all() for s in range(3)
    ]
    assert trained == [rules == 2] * 3


@pytest.mark.parametrize("kind", ["table", "with lengths"])
def test_old_rules_hold_out_binary_targets_without_strata(kind):
    lengths = None if kind == "table" else np.ones(100, int)
    y = np.repeat([0.0, 1.0], [90, 10])[:, None]
    part = Dataset(np.arange(100.0)[:, None], y, lengths)
    data = Splits(train=part, dev=part[:2], test=part[:2], name="t", task="binary")
    held = [{rules: hold_out(data, 0.2, s, rules=rules).train_dev.y.sum() for rules in (1, 2)} for s in range(6)]
    assert all(one[2] == 2 for one in held)
    assert any(one[1] != 2 for one in held)


def test_lengths_stay_with_their_rows():
    data = Dataset(np.arange(20.0).reshape(10, 2), np.zeros(10), lengths=np.arange(10) % 2 + 1)
    for part in split(data):
        assert (part.lengths == part.x[:, 0] // 2 % 2 + 1).all()


@pytest.mark.parametrize(
    "fractions", [(0.5, 0.6), (0.5, 0.4), (1.2, -0.2), (1.0, 0.0), (), (float("nan"), 0.5)], ids=str
)
def test_fractions_that_are_not_positive_or_do_not_sum_to_one_are_refused(fractions):
    with pytest.raises(ConfigError, match=r"fractions are \(.*positive numbers of sum 1"):
        split(numbered(np.arange(10)), fractions)


def test_too_few_rows_for_a_part_are_refused():
    with pytest.raises(DataError, match=r"2 rows are too few, none is left for the part of 0\.2"):
        split(numbered(np.zeros(2, int)))
