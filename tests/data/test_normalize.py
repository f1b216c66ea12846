import json
import math
import statistics

import numpy as np
import pytest

from dlcore.data import Dataset, Normalizer, load
from dlcore.errors import DataError


def table(rows, lengths=None):
    return Dataset(np.array(rows, np.float32), np.zeros(len(rows)), lengths)


def test_each_column_gets_the_mean_and_deviation_of_the_training_rows():
    columns = [[1.0, 2.0, 4.0, 9.0], [-5.0, 0.5, 0.25, 100.0]]
    normalizer = Normalizer.fit(table(list(zip(*columns, strict=True))))
    np.testing.assert_allclose(normalizer.mean, [statistics.fmean(c) for c in columns], rtol=1e-15)
    np.testing.assert_allclose(normalizer.std, [statistics.pstdev(c) for c in columns], rtol=1e-15)


def test_only_the_training_set_is_looked_at():
    train, test = table([[0.0], [2.0]]), table([[4.0], [-1.5]])
    normalizer = Normalizer.fit(train)
    np.testing.assert_array_equal(normalizer.apply(test).x, [[3.0], [-2.5]])
    loaded = load("cars", normalize=True)
    np.testing.assert_allclose(loaded.train.x.mean(axis=0), 0, atol=1e-6)
    assert abs(loaded.test.x.mean(axis=0)).max() > 0.01  # its own statistics would give 0


def test_images_are_normalised_per_channel():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 6, 5, 3)) * [1, 10, 100] + [0, 5, -7]
    out = Normalizer.fit(Dataset(x, np.zeros(50))).transform(x)
    np.testing.assert_allclose(out.mean(axis=(0, 1, 2), dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(out.std(axis=(0, 1, 2), dtype=np.float64), 1, atol=1e-6)


def test_a_constant_feature_becomes_zero():
    data = table([[0.1, 1.0], [0.1, 2.0], [0.1, 6.0]])  # 0.1 is not exact, nor is the sum of three of them
    normalizer = Normalizer.fit(data)
    assert normalizer.std[0] == 1.0
    assert normalizer.apply(data).x[:, 0].tolist() == [0.0, 0.0, 0.0]


def test_statistics_are_taken_in_float64():
    x = np.array([[1e6 + 0.25], [1e6 + 0.5], [1e6 + 0.75]], np.float32)  # float32 sums of squares lose these digits
    assert Normalizer.fit(table(x)).std[0] == pytest.approx(statistics.pstdev([0.25, 0.5, 0.75]), rel=1e-12)


def test_more_values_than_one_block_give_the_same_statistics():
    x = np.random.default_rng(1).normal(3, 2, size=(70_001, 2))
    normalizer = Normalizer.fit(Dataset(x, np.zeros(len(x))))
    np.testing.assert_allclose(normalizer.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(normalizer.std, x.std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(normalizer.transform(x), (x - x.mean(axis=0)) / x.std(axis=0), atol=1e-6)


def test_padded_steps_do_not_count():
    x = np.array([[[1.0], [3.0], [777.0]], [[5.0], [777.0], [777.0]]])
    normalizer = Normalizer.fit(Dataset(x, np.zeros(2), lengths=[2, 1]))
    assert normalizer.mean.tolist() == [3.0]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_the_result_is_float32_and_the_input_is_left_alone(dtype):
    x = np.array([[1, 2], [3, 5]], dtype)
    kept = x.copy()
    data = Dataset(x, np.zeros(2))
    out = Normalizer.fit(data).apply(data)
    assert out.x.dtype == np.float32
    assert out.x is not data.x
    assert out.y is data.y
    np.testing.assert_array_equal(x, kept)


def test_rows_that_are_not_contiguous_are_normalised_alike():
    x = np.random.default_rng(2).normal(size=(9, 4, 3))
    normalizer = Normalizer.fit(Dataset(x, np.zeros(9)))
    np.testing.assert_array_equal(normalizer.transform(x[::-2, ::2]), normalizer.transform(x)[::-2, ::2])


def test_inverse_takes_transform_back():
    x = np.random.default_rng(3).normal(50, 20, size=(30, 4)).astype(np.float32)
    normalizer = Normalizer.fit(Dataset(x, np.zeros(30)))
    np.testing.assert_allclose(normalizer.inverse(normalizer.transform(x)), x, rtol=1e-5)  # two float32 roundings


def test_it_survives_json_to_the_bit():
    normalizer = Normalizer.fit(table([[0.1, 3.0], [0.7, 9.0]]))
    again = Normalizer.from_dict(json.loads(json.dumps(normalizer.to_dict())))
    np.testing.assert_array_equal(again.mean, normalizer.mean)
    np.testing.assert_array_equal(again.std, normalizer.std)


@pytest.mark.parametrize(
    "saved",
    [
        {"mean": [1.0]},
        {"mean": [1.0], "std": ["wide"]},
        {"mean": [1.0], "std": [0.0]},
        {"mean": [1.0], "std": [1, 2]},
        [],
    ],
    ids=str,
)
def test_damaged_saved_statistics_are_refused(saved):
    with pytest.raises(DataError, match="Normalizer"):
        Normalizer.from_dict(saved)


def test_another_number_of_features_is_refused():
    normalizer = Normalizer.fit(table([[0.0, 1.0], [1.0, 2.0]]))
    with pytest.raises(DataError, match=r"x has shape \(4, 3\), but was fitted on 2 features"):
        normalizer.transform(np.zeros((4, 3)))


def test_inputs_without_a_feature_axis_are_refused():
    with pytest.raises(DataError, match=r"x has shape \(3,\), expected \(N, ..., features\)"):
        Normalizer.fit(Dataset(np.arange(3.0), np.zeros(3)))


def test_columns_of_0_and_1_stay_0_and_1_however_rare():
    x = np.zeros((400, 3))
    x[7, 0] = x[::2, 1] = 1
    x[:, 2] = 0.5
    x[3, 2] = 1  # not a flag: three values
    normalizer = Normalizer.fit(Dataset(x, np.zeros(400)))
    out = normalizer.transform(x)
    np.testing.assert_array_equal(out[:, :2], x[:, :2])
    assert out[3, 2] > 10


def test_a_feature_that_never_changed_in_training_is_0_whatever_it_is_later():
    for value in (0.0, 1.0, 1000.0, -0.1):
        normalizer = Normalizer.fit(table([[value, 1.0], [value, 3.0]]))
        assert normalizer.constant.tolist() == [True, False]
        new = np.array([[value + 1e-3, 2.0], [-1e9, 2.0], [value, 2.0]])
        assert normalizer.transform(new)[:, 0].tolist() == [0.0, 0.0, 0.0]
        assert not normalizer.bounds(new).any()


def test_values_far_outside_the_training_range_are_bounded():
    normalizer = Normalizer.fit(table([[10.0], [10.0], [10.0], [14.0]]))
    near, far = normalizer.transform([[17.9], [6.1]]), normalizer.transform([[1e6], [-1e30]])
    np.testing.assert_allclose(near[:, 0], (np.array([17.9, 6.1]) - 11) / math.sqrt(3), rtol=1e-6)
    np.testing.assert_allclose(far[:, 0], (np.array([18.0, 6.0]) - 11) / math.sqrt(3), rtol=1e-6)
    assert normalizer.bounds(np.array([[17.9], [18.1], [5.9]]))[:, 0].tolist() == [False, True, True]


def test_pixels_of_black_and_white_pictures_are_standardised_and_not_bounded():
    x = np.zeros((6, 4, 4, 1))
    x[:, :2] = 1
    normalizer = Normalizer.fit(Dataset(x, np.zeros(6)))
    assert (normalizer.low, normalizer.mean.tolist(), normalizer.std.tolist()) == (None, [0.5], [0.5])
    assert normalizer.transform(np.full((1, 1, 1, 1), 50.0)).item() == 99


def test_consecutive_seconds_stay_apart():
    seconds = 1_764_547_200 + np.arange(1000.0)
    assert len(np.unique(Normalizer.fit(Dataset(seconds[:, None], np.zeros(1000))).transform(seconds[:, None]))) == 1000


def test_weights_count_as_rows_do():
    rng = np.random.default_rng(3)
    x, weights = rng.normal(size=(20, 3)), rng.integers(1, 5, 20)
    one, repeated = Normalizer.of(x, weights.astype(float)), Normalizer.of(np.repeat(x, weights, axis=0))
    for name in ("mean", "std", "low", "high"):
        np.testing.assert_allclose(getattr(one, name), getattr(repeated, name), rtol=1e-12)


def test_bounds_survive_a_file_and_old_files_have_none():
    normalizer = Normalizer.fit(table([[1.0, 5.0, 0.0], [4.0, 5.0, 1.0]]))
    read = Normalizer.from_dict(json.loads(json.dumps(normalizer.to_dict())))
    x = np.array([[100.0, 6.0, 1.0]])
    np.testing.assert_array_equal(read.transform(x), normalizer.transform(x))
    old = Normalizer.from_dict({"mean": [0.0], "std": [1.0]})
    assert (old.low, old.transform([[1e9]]).item()) == (None, 1e9)
    with pytest.raises(DataError, match="low"):
        Normalizer.from_dict({"mean": [0.0], "std": [1.0], "low": [2.0], "high": [1.0]})
