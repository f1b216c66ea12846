import numpy as np
import pytest

from dlcore.data import Dataset, Splits
from dlcore.data.dataset import check_labels
from dlcore.errors import ConfigError, DataError

X = np.arange(12, dtype=np.float32).reshape(6, 2)
Y = np.arange(6)


def test_an_integer_index_gives_one_example_and_other_indices_give_datasets():
    data = Dataset(X, Y)
    x, y = data[2]
    assert (x.tolist(), y) == ([4.0, 5.0], 2)
    assert data[1:3].y.tolist() == [1, 2]
    assert data[np.array([5, 0, 5])].x.tolist() == [[10.0, 11.0], [0.0, 1.0], [10.0, 11.0]]
    assert data[Y > 3].y.tolist() == [4, 5]
    assert data[[0]].x.shape == (1, 2)


def test_iterating_gives_every_example_once():
    assert [int(y) for _, y in Dataset(X, Y)] == list(range(6))


def test_indexing_takes_the_same_rows_of_every_target_and_of_the_lengths():
    data = Dataset(X, {"a": Y, "b": Y[:, None] * 10.0}, lengths=[1, 2, 1, 2, 1, 2])
    part = data[[3, 0]]
    assert part.y["a"].tolist() == [3, 0]
    assert part.y["b"].tolist() == [[30.0], [0.0]]
    assert part.lengths.tolist() == [2, 1]
    x, y, length = data[3]
    assert (x.tolist(), y["a"], y["b"].tolist(), length) == ([6.0, 7.0], 3, [30.0], 2)


def test_lists_become_arrays():
    data = Dataset([[1.0], [2.0]], [0, 1])
    assert isinstance(data.x, np.ndarray)
    assert isinstance(data.y, np.ndarray)


def test_the_fields_cannot_be_replaced():
    with pytest.raises(AttributeError):
        Dataset(X, Y).x = X


def test_repr_names_shapes_and_types_but_no_values():
    assert repr(Dataset(X, {"a": Y})) == "Dataset(x (6, 2) float32, y['a'] (6,) int64)"


def test_nan_marks_a_missing_label_in_a_dict_only():
    labels = np.array([0.0, np.nan, 1, 0, 1, 0])
    assert np.isnan(Dataset(X, {"sex": labels}).y["sex"][1])
    with pytest.raises(DataError, match=r"y holds 1 NaN or infinite value, the first at \(1,\)"):
        Dataset(X, labels)


def test_finite_values_whose_sum_overflows_are_accepted():
    big = np.full((6, 1), np.finfo(np.float32).max, np.float32)
    assert len(Dataset(big, Y)) == 6


@pytest.mark.parametrize(
    ("x", "y", "lengths", "words"),
    [
        (np.zeros((0, 3)), np.zeros(0), None, "x is empty"),
        (X, Y[:5], None, "6 rows but y has 5"),
        (X, {"a": Y, "b": Y[:2]}, None, r"6 rows but y\['b'\] has 2"),
        (X, {}, None, "empty dict"),
        (X.astype(object), Y, None, "x has dtype object"),
        (X, np.array(list("abcdef")), None, "y has dtype <U1"),
        (X, Y + 1j, None, "complex"),
        (3.0, Y, None, "x is the single value 3.0"),
        ([[1.0], [2.0, 3.0]], Y, None, "x cannot become a NumPy array"),
        (np.where(X == 5, np.nan, X), Y, None, r"x holds 1 NaN or infinite value, the first at \(2, 1\)"),
        (np.where(X > 8, -np.inf, X), Y, None, r"x holds 3 NaN or infinite values, the first at \(4, 1\)"),
        (np.where(X == 5, np.inf, np.where(X == 6, -np.inf, X)), Y, None, "x holds 2 NaN or infinite"),
        (X, np.where(Y == 3, np.inf, Y), None, r"y holds 1 NaN or infinite value, the first at \(3,\)"),
        (X, {"a": np.where(Y == 3, np.inf, Y)}, None, r"y\['a'\] holds 1 infinite value"),
        (X, Y, [1, 1, 1, 1, 1], r"lengths are int64 of shape \(5,\), expected integers of shape \(6,\)"),
        (X, Y, np.ones(6), "lengths are float64"),
        (X, Y, [1, 2, 3, 1, 1, 1], r"lengths\[2\] is 3, expected 1 to 2"),
        (X, Y, [1, 2, 2, 0, 1, 1], r"lengths\[3\] is 0, expected 1 to 2"),
        (Y, Y, [1, 1, 1, 1, 1, 1], "need an axis of steps"),
    ],
)
def test_bad_data_is_refused_at_construction_with_one_line(x, y, lengths, words):
    with pytest.raises(DataError, match=words) as raised:
        Dataset(x, y, lengths)
    assert "\n" not in str(raised.value)


def test_arrays_of_another_device_are_refused():
    class Foreign:
        def __array__(self, dtype=None, copy=None):
            raise TypeError("implicit conversion is not allowed")

    with pytest.raises(DataError, match="x cannot become a NumPy array on the host"):
        Dataset(Foreign(), Y)


def test_an_empty_selection_is_refused():
    with pytest.raises(DataError, match="empty"):
        Dataset(X, Y)[Y > 100]


# Labels --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.float32, np.bool_])
def test_labels_in_range_pass_in_every_type(dtype):
    check_labels(np.array([0, 1, 1, 0], dtype), 2)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([0, 9, 10]), r"y\[2\] is 10, but 10 classes have the labels 0 to 9"),
        (np.array([[0], [-1]]), r"y\[1, 0\] is -1"),
        (np.array([255], np.uint8), r"y\[0\] is 255"),
        (np.array([0.0, 1.5]), r"y\[1\] is 1.5"),
        (np.array([np.nan]), r"y\[0\] is nan"),
    ],
)
def test_labels_out_of_range_are_named_with_their_place_and_the_range(labels, words):
    with pytest.raises(DataError, match=words):
        check_labels(labels, 10)


def test_missing_labels_pass_where_they_may_be_missing():
    check_labels(np.array([0, -1, 2]), 3, missing=True)
    check_labels(np.array([0, np.nan, 2, -1]), 3, missing=True)
    with pytest.raises(DataError, match=r"y\[1\] is -2"):
        check_labels(np.array([0, -2]), 3, missing=True)


# Splits --------------------------------------------------------------------------------------------------------------


def splits(y=Y, *, test=None, **fields):
    data = Dataset(X, y)
    return Splits(train=data, dev=data, test=test or data, name="own", **fields)


def test_splits_accept_targets_that_suit_the_task():
    six = tuple("abcdef")
    assert splits(task="classification", classes=six).classes == six
    assert splits((Y % 2)[:, None].astype(np.float32), task="binary").task == "binary"
    assert splits(Y / 2, task="regression", features=("u", "v")).features == ("u", "v")
    assert splits({"kind": Y, "size": Y / 2}, task="multitask", classes={"kind": six}).train.y["kind"][5] == 5


@pytest.mark.parametrize(
    ("y", "fields", "words"),
    [
        (Y, {"task": "classification", "classes": ("a", "b")}, r"train y\[2\] is 2, but 2 classes"),
        (Y, {"task": "classification"}, "names of its classes"),
        (Y / 1, {"task": "classification", "classes": tuple("abcdef")}, "train y is float64"),
        (Y, {"task": "binary"}, r"train y\[2\] is 2"),
        (Y, {"task": "multitask"}, "one array of targets"),
        ({"a": Y}, {"task": "regression"}, "dict of targets"),
        ({"a": Y}, {"task": "multitask", "classes": {"a": ("u", "v")}}, r"train y\['a'\]\[2\] is 2"),
        ({"a": Y}, {"task": "multitask", "classes": {"b": ("u", "v")}}, "given for 'b'"),
        (Y, {"task": "regression", "features": ("u",)}, "1 feature names for x with 2 features"),
        (Y, {"task": "regression", "test": Dataset(np.zeros((6, 3)), Y)}, r"test x has rows of shape \(3,\)"),
    ],
)
def test_splits_refuse_targets_that_do_not_suit_the_task(y, fields, words):
    with pytest.raises(DataError, match=words):
        splits(y, **fields)


def test_splits_refuse_an_unknown_task():
    with pytest.raises(ConfigError, match="task is 'clustering', expected one of classification"):
        splits(task="clustering")
