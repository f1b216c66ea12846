"""dlcore.functional: what layers compute, and that bad input is refused in one clear line before any launch."""

import itertools
import math

import numpy as np
import pytest
from samples import numbers

from backends import random
from dlcore import Tensor, no_grad
from dlcore import functional as F
from dlcore.errors import ShapeError
from dlcore.functional.checks import padding_of
from dlcore.testing import gradient_check_function

EXACT = {"rtol": 0, "atol": 0}
ROUNDED = {"rtol": 1e-6, "atol": 1e-7}  # a few operations in float32, whose unit is 6e-8


# --- bad input: one line, before any launch, alike on every kind of array


def zeros(*shape, dtype="float32"):
    return np.zeros(shape, dtype=dtype)


KEY = (0, 1)
# name: (function, arrays, settings, words of the message)
BAD = {
    "linear, features": (F.linear, (zeros(2, 3), zeros(4, 5)), {}, [r"\(2, 3\)", r"\(4, 5\)", "flatten"]),
    "linear_relu, features": (F.linear_relu, (zeros(2, 3), zeros(4, 5)), {}, ["linear_relu", r"\(2, 3\)", "flatten"]),
    "linear, one axis": (F.linear, (zeros(3), zeros(3, 5)), {}, [r"\(3,\)", r"\(3, 5\)"]),
    "linear, w": (F.linear, (zeros(2, 3), zeros(3)), {}, [r"w \(3,\)"]),
    "linear, bias": (F.linear, (zeros(2, 3), zeros(3, 5), zeros(3)), {}, [r"\(3,\)", r"give b the shape \(5,\)"]),
    "linear, dtype": (F.linear, (zeros(2, 3, dtype="float64"), zeros(3, 5)), {}, ["float64", "float32", "convert"]),
    "linear, integers": (F.linear, (zeros(2, 3, dtype="int64"), zeros(3, 5)), {}, ["int64", "convert x to"]),
    "conv2d, axes": (F.conv2d, (zeros(5, 5, 3), zeros(3, 3, 3, 1)), {}, [r"\(5, 5, 3\)", "four axes"]),
    "conv2d, filters": (F.conv2d, (zeros(1, 5, 5, 3), zeros(3, 3, 1)), {}, [r"w \(3, 3, 1\)"]),
    "conv2d, channels": (
        F.conv2d,
        (zeros(1, 5, 5, 3), zeros(3, 3, 4, 8)),
        {},
        ["x has 3 channels", r"\(3, 3, 4, 8\) expects 4", "channels come last"],
    ),
    "conv2d, bias": (F.conv2d, (zeros(1, 5, 5, 3), zeros(3, 3, 3, 8), zeros(3)), {}, [r"\(3,\)", "8 outputs"]),
    "conv2d, dtype": (F.conv2d, (zeros(1, 5, 5, 3, dtype="float64"), zeros(3, 3, 3, 8)), {}, ["float64", "float32"]),
    "conv2d, too large": (
        F.conv2d,
        (zeros(1, 2, 5, 3), zeros(3, 3, 3, 8)),
        {},
        [r"\(1, 2, 5, 3\)", r"\(3, 3\)", "same"],
    ),
    "conv2d, dilated too large": (
        F.conv2d,
        (zeros(1, 5, 5, 3), zeros(3, 3, 3, 8)),
        {"dilation": 3},
        [r"dilation \(3, 3\)", "larger"],
    ),
    "conv2d, stride 0": (F.conv2d, (zeros(1, 5, 5, 3), zeros(3, 3, 3, 8)), {"stride": 0}, ["stride", "positive"]),
    "conv2d, stride 1.5": (F.conv2d, (zeros(1, 5, 5, 3), zeros(3, 3, 3, 8)), {"stride": 1.5}, ["stride", "1.5"]),
    "conv2d, stride of three": (F.conv2d, (zeros(1, 5, 5, 3), zeros(3, 3, 3, 8)), {"stride": (1, 1, 1)}, ["stride"]),
    "conv2d, dilation": (F.conv2d, (zeros(1, 5, 5, 3), zeros(3, 3, 3, 8)), {"dilation": -1}, ["dilation", "-1"]),
    "conv2d, padding word": (
        F.conv2d,
        (zeros(1, 5, 5, 3), zeros(3, 3, 3, 8)),
        {"padding": "full"},
        ["'full'", "'same'"],
    ),
    "conv2d, padding number": (F.conv2d, (zeros(1, 5, 5, 3), zeros(3, 3, 3, 8)), {"padding": 1}, ["padding is 1"]),
    "conv2d, padding negative": (
        F.conv2d,
        (zeros(1, 5, 5, 3), zeros(3, 3, 3, 8)),
        {"padding": ((-1, 0), (0, 0))},
        ["padding", "-1"],
    ),
    "max_pool2d, axes": (F.max_pool2d, (zeros(5, 5, 3),), {}, [r"\(5, 5, 3\)", "four axes"]),
    "max_pool2d, integers": (F.max_pool2d, (zeros(1, 5, 5, 3, dtype="uint8"),), {}, ["uint8", "float32"]),
    "max_pool2d, too large": (F.max_pool2d, (zeros(1, 5, 5, 3),), {"kernel": 6}, [r"\(6, 6\)", "larger"]),
    "max_pool2d, kernel": (F.max_pool2d, (zeros(1, 5, 5, 3),), {"kernel": 0}, ["kernel", "positive"]),
    "max_pool2d, stride": (F.max_pool2d, (zeros(1, 5, 5, 3),), {"stride": "2"}, ["stride", "'2'"]),
    "max_pool2d, padding": (
        F.max_pool2d,
        (zeros(1, 5, 5, 3),),
        {"padding": ((2, 0), (0, 0))},
        ["less than the kernel", "pad less"],
    ),
    "avg_pool2d, axes": (F.avg_pool2d, (zeros(2, 5),), {}, [r"\(2, 5\)"]),
    "avg_pool2d, padding": (F.avg_pool2d, (zeros(1, 5, 5, 3),), {"padding": "smae"}, ["'smae'"]),
    "conv2d_relu, channels": (F.conv2d_relu, (zeros(1, 5, 5, 3), zeros(3, 3, 4, 8)), {}, ["3 channels", "expects 4"]),
    "conv2d_relu, pool": (F.conv2d_relu, (zeros(1, 5, 5, 3), zeros(3, 3, 3, 8)), {"pool": 0}, ["pool", "0"]),
    "conv2d_relu, pool too large": (
        F.conv2d_relu,
        (zeros(1, 5, 5, 3), zeros(3, 3, 3, 8)),
        {"pool": 4},
        [r"\(1, 3, 3, 8\)", r"\(4, 4\)", "fewer pooling"],
    ),
    "batch_norm_relu, channels": (F.batch_norm_relu, (zeros(4, 3), zeros(2), zeros(2)), {}, [r"\(4, 3\)", r"\(2,\)"]),
    "batch_norm_relu, one position": (F.batch_norm_relu, (zeros(1, 3), zeros(3), zeros(3)), {}, ["one position"]),
    "batch_norm_relu, pool of rows": (
        F.batch_norm_relu,
        (zeros(4, 3), zeros(3), zeros(3)),
        {"pool": 2},
        [r"\(4, 3\)", r"\(N, H, W, C\)"],
    ),
    "batch_norm, channels": (F.batch_norm, (zeros(4, 3), zeros(2), zeros(2)), {}, [r"\(4, 3\)", r"\(2,\)"]),
    "batch_norm, negative eps": (F.batch_norm, (zeros(4, 3), zeros(3), zeros(3)), {"eps": -1e-5}, ["eps is -1e-05"]),
    "batch_norm_relu, eps": (F.batch_norm_relu, (zeros(4, 3), zeros(3), zeros(3)), {"eps": math.nan}, ["eps is nan"]),
    "batch_norm, infinite eps": (F.batch_norm, (zeros(4, 3), zeros(3), zeros(3)), {"eps": math.inf}, ["finite"]),
    "batch_norm, beta": (F.batch_norm, (zeros(4, 3), zeros(3), zeros(2)), {}, [r"beta \(2,\)"]),
    "batch_norm, one axis": (F.batch_norm, (zeros(3), zeros(3), zeros(3)), {}, [r"\(3,\)"]),
    "batch_norm, one position": (F.batch_norm, (zeros(1, 3), zeros(3), zeros(3)), {}, ["one position", "larger batch"]),
    "batch_norm, one pixel": (F.batch_norm, (zeros(1, 1, 1, 3), zeros(3), zeros(3)), {}, ["one position"]),
    "batch_norm, no rows": (F.batch_norm, (zeros(0, 3), zeros(3), zeros(3)), {}, ["no positions"]),
    "batch_norm, dtype": (F.batch_norm, (zeros(4, 3, dtype="float64"), zeros(3), zeros(3)), {}, ["float64", "gamma"]),
    "batch_norm, statistics": (
        F.batch_norm,
        (zeros(4, 3), zeros(3), zeros(3)),
        {"statistics": (zeros(3), zeros(2))},
        [r"\(2,\)", "3 channels"],
    ),
    "dropout, rate 1": (F.dropout, (zeros(2, 3),), {"rate": 1.0, "key": KEY}, ["rate is 1.0", "< 1"]),
    "dropout, rate": (F.dropout, (zeros(2, 3),), {"rate": -0.1, "key": KEY}, ["-0.1"]),
    "leaky_relu, alpha": (F.leaky_relu, (zeros(2, 3),), {"alpha": 1.0}, ["alpha is 1.0"]),
    "embedding, float ids": (F.embedding, (zeros(4, 2), zeros(3)), {}, ["ids are", "integers", "int64"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_one_line_before_any_launch(arrays, launches, name):
    function, hosts, settings, words = BAD[name]
    with pytest.raises(ShapeError) as info:
        function(*(arrays.place(host) for host in hosts), **settings)
    message = str(info.value)
    assert launches == []
    assert message.startswith(f"{function.__name__}: ")
    assert "\n" not in message
    assert " but " in message
    assert "expect" in message or ";" in message
    for word in words:
        assert info.match(word)


@pytest.mark.parametrize("ids", [[0, 4], [-1, 0], [[0], [7]]], ids=str)
def test_ids_out_of_the_table_are_refused_where_they_are_on_the_host(launches, ids):
    with pytest.raises(ShapeError, match=r"embedding: ids span -?\d to \d but the table has rows 0 to 3"):
        F.embedding(zeros(4, 2), np.array(ids))
    assert launches == []


# --- sizes


def size(m, before, after, f, s):
    """The notes' 4.2: floor((m + 2p - f) / s + 1), with 2p = before + after."""
    return int(np.floor((m + before + after - f) / s + 1))


@pytest.mark.parametrize(("f", "s", "dilation"), list(itertools.product([1, 2, 3, 4, 5], [1, 2, 3], [1, 2])))
def test_output_sizes_follow_the_notes_formula(f, s, dilation):
    extent = dilation * (f - 1) + 1
    m, n = 11, 9
    x, w = zeros(1, m, n, 1), zeros(f, f, 1, 2)
    same = ((extent - 1) // 2, extent // 2)
    for padding, (rows, columns) in {
        "valid": ((0, 0), (0, 0)),
        "same": (same, same),
        ((1, 2), (0, 3)): ((1, 2), (0, 3)),
    }.items():
        expected = (1, size(m, *rows, extent, s), size(n, *columns, extent, s), 2)
        assert F.conv2d(x, w, stride=s, padding=padding, dilation=dilation).shape == expected
        if padding == "same" and s == 1:
            assert expected == (1, m, n, 2)
        if dilation == 1 and max(*rows, *columns) < f:
            assert F.max_pool2d(x, f, s, padding).shape == (*expected[:3], 1)
            assert F.avg_pool2d(x, f, s, padding).shape == (*expected[:3], 1)


def test_same_padding_of_an_odd_kernel_is_half_of_it_on_both_sides():
    assert padding_of("conv2d", "same", (3, 5)) == ((1, 1), (2, 2))
    assert padding_of("conv2d", "same", (3, 3), (2, 1)) == ((2, 2), (1, 1))


def test_same_padding_of_an_even_kernel_has_the_extra_pixel_after(arrays):
    assert padding_of("conv2d", "same", (2, 4)) == ((0, 1), (1, 2))
    row = arrays.place(np.array([1.0, 2.0, 3.0], dtype=np.float32).reshape(1, 1, 3, 1))
    w = arrays.place(np.array([1.0, 10.0], dtype=np.float32).reshape(1, 2, 1, 1))
    assert F.conv2d(row, w, padding="same").numpy().ravel().tolist() == [21.0, 32.0, 3.0]
    assert F.max_pool2d(row, (1, 2), 1, "same").numpy().ravel().tolist() == [2.0, 3.0, 3.0]
    assert F.avg_pool2d(row, (1, 2), 1, "same").numpy().ravel().tolist() == [1.5, 2.5, 3.0]


def test_explicit_padding_is_top_bottom_left_right(arrays):
    x = numbers(2, 3, 4, 2)
    w = numbers(2, 3, 2, 3, seed=1)
    padded = np.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0)))
    y = F.conv2d(arrays.place(x), arrays.place(w), padding=((1, 0), (0, 2)))
    # The same sums of 12 products; the two calls may split them over blocks differently.
    np.testing.assert_allclose(y.numpy(), F.conv2d(padded, w).numpy(), rtol=1e-5, atol=1e-6)


# --- what the layers compute


def test_conv2d_is_the_correlation_of_the_notes_worked_example(arrays):
    image = np.array([[1, 1, 1, 0, 0, 0]] * 4, dtype=np.float32)[None, :, :, None]
    edge = np.array([[1, 0, -1]] * 3, dtype=np.float32)[:, :, None, None]
    y = F.conv2d(arrays.place(image), arrays.place(edge)).numpy()
    assert y[0, :, :, 0].tolist() == [[0, 3, 3, 0], [0, 3, 3, 0]]  # flipped filters would give -3


def test_conv2d_sums_over_the_channels_and_adds_one_bias_a_filter(arrays):
    x = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32).reshape(1, 2, 1, 2)  # two pixels of two channels
    w = np.array([[1.0, 10.0], [100.0, 1000.0]], dtype=np.float32).reshape(1, 1, 2, 2)  # (C, K)
    b = np.array([0.5, 0.25], dtype=np.float32)
    y = F.conv2d(arrays.place(x), arrays.place(w), arrays.place(b))
    assert y.numpy().reshape(2, 2).tolist() == [[201.5, 2010.25], [403.5, 4030.25]]


def test_strides_and_dilations_step_over_pixels(arrays):
    row = arrays.place(np.arange(8, dtype=np.float32).reshape(1, 1, 8, 1))
    w = arrays.place(np.array([1.0, 100.0], dtype=np.float32).reshape(1, 2, 1, 1))
    assert F.conv2d(row, w, stride=(1, 3)).numpy().ravel().tolist() == [100.0, 403.0, 706.0]
    assert F.conv2d(row, w, stride=(1, 2), dilation=(1, 4)).numpy().ravel().tolist() == [400.0, 602.0]


def test_linear_is_x_w_plus_b_on_the_last_axis(arrays):
    x = np.array([[[1.0, 2.0], [3.0, 4.0]]], dtype=np.float32)
    w = np.array([[1.0, 10.0, 0.0], [0.0, 1.0, 5.0]], dtype=np.float32)
    b = np.array([0.5, 0.0, -1.0], dtype=np.float32)
    y = F.linear(arrays.place(x), arrays.place(w), arrays.place(b)).numpy()
    assert y.tolist() == [[[1.5, 12.0, 9.0], [3.5, 34.0, 19.0]]]
    assert F.linear(arrays.place(x[0]), arrays.place(w)).numpy().tolist() == [[1.0, 12.0, 10.0], [3.0, 34.0, 20.0]]


def test_pooling_takes_the_largest_or_the_mean_of_each_channel_of_each_window(arrays):
    x = np.zeros((1, 2, 4, 2), dtype=np.float32)
    x[0, :, :, 0] = [[1, 2, 5, 6], [3, 4, 7, 8]]
    x[0, :, :, 1] = [[-1, -2, -5, -6], [-3, -4, -7, -8]]
    largest = F.max_pool2d(arrays.place(x), 2).numpy()
    assert largest.tolist() == [[[[4.0, -1.0], [8.0, -5.0]]]]
    assert F.avg_pool2d(arrays.place(x), 2).numpy().tolist() == [[[[2.5, -2.5], [6.5, -6.5]]]]
    overlapping = F.max_pool2d(arrays.place(x), (2, 2), (1, 1)).numpy()
    assert overlapping[0, 0, :, 0].tolist() == [4.0, 7.0, 8.0]


def test_padded_places_never_win_and_do_not_count_in_the_mean(arrays):
    x = arrays.place(np.array([[-1.0, -2.0], [-3.0, -4.0]], dtype=np.float32).reshape(1, 2, 2, 1))
    padding = ((1, 1), (1, 1))
    assert F.max_pool2d(x, 2, 2, padding).numpy().ravel().tolist() == [-1.0, -2.0, -3.0, -4.0]
    assert F.avg_pool2d(x, 2, 2, padding).numpy().ravel().tolist() == [-1.0, -2.0, -3.0, -4.0]
    assert F.avg_pool2d(x, 2, 1, padding).numpy().reshape(3, 3)[:, 1].tolist() == [-1.5, -2.5, -3.5]


def test_the_first_of_equal_pixels_receives_the_gradient(arrays):
    x = Tensor(arrays.place(np.ones((1, 2, 2, 1), dtype=np.float32)), requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()
    assert arrays.host(x.grad).ravel().tolist() == [1.0, 0.0, 0.0, 0.0]


def test_embedding_picks_rows_and_adds_the_gradients_of_equal_ids(arrays):
    w = Tensor(arrays.place(np.arange(8, dtype=np.float32).reshape(4, 2)), requires_grad=True)
    ids = arrays.place(np.array([[1, 3], [1, 1]]))
    y = F.embedding(w, ids)
    assert y.numpy().tolist() == [[[2.0, 3.0], [6.0, 7.0]], [[2.0, 3.0], [2.0, 3.0]]]
    y.sum().backward()
    assert arrays.host(w.grad).tolist() == [[0.0, 0.0], [3.0, 3.0], [0.0, 0.0], [1.0, 1.0]]


# --- batch norm


def test_batch_norm_gives_mean_0_and_variance_1_and_the_biased_variance(arrays):
    x = arrays.place(np.array([[1.0, 10.0], [3.0, 10.0], [5.0, 16.0]]))
    gamma, beta = arrays.place(np.array([1.0, 2.0])), arrays.place(np.array([0.0, -1.0]))
    y, mean, variance = F.batch_norm(x, gamma, beta, eps=0.0)
    assert arrays.host(mean).tolist() == [3.0, 12.0]
    np.testing.assert_allclose(arrays.host(variance), [8 / 3, 8.0], rtol=1e-15)  # by 3, not by 2
    root = np.sqrt(8 / 3)
    expected = [[-2 / root, -1 - 4 / np.sqrt(8)], [0.0, -1 - 4 / np.sqrt(8)], [2 / root, -1 + 8 / np.sqrt(8)]]
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-14, atol=1e-15)


def test_eps_is_inside_the_root(arrays):
    x = arrays.place(np.array([[1.0], [3.0]]))
    y, _, _ = F.batch_norm(x, arrays.place(np.ones(1)), arrays.place(np.zeros(1)), eps=3.0)
    np.testing.assert_allclose(y.numpy().ravel(), [-0.5, 0.5], rtol=1e-15)  # sqrt(1 + 3) = 2


def test_batch_norm_joins_all_axes_but_the_last(arrays):
    x = numbers(2, 3, 4, 5, dtype="float64")
    gamma, beta = numbers(5, seed=1, dtype="float64"), numbers(5, seed=2, dtype="float64")
    place = arrays.place
    y, mean, variance = F.batch_norm(place(x), place(gamma), place(beta))
    flat = x.reshape(-1, 5)
    expected = gamma * (flat - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5) + beta
    np.testing.assert_allclose(y.numpy().reshape(-1, 5), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(arrays.host(mean), flat.mean(0), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(arrays.host(variance), flat.var(0), rtol=1e-13)


def test_given_statistics_are_used_and_a_single_position_is_then_fine(arrays):
    place = arrays.place
    statistics = (place(np.array([1.0])), place(np.array([4.0])))
    y, mean, variance = F.batch_norm(
        place(np.array([[5.0]])), place(np.array([3.0])), place(np.array([0.5])), statistics=statistics, eps=0.0
    )
    assert y.numpy().tolist() == [[6.5]]  # 3 (5 - 1) / 2 + 0.5
    assert (mean, variance) == statistics


@pytest.mark.parametrize("given", [False, True])
def test_batch_norm_passes_a_gradient_check_through_the_statistics(arrays, given):
    x, gamma, beta = numbers(4, 3), numbers(3, seed=1), numbers(3, seed=2)
    statistics = None
    if given:
        statistics = tuple(arrays.place(np.abs(numbers(3, seed=s, dtype="float64"))) for s in (3, 4))
    assert gradient_check_function(
        lambda *inputs: F.batch_norm(*inputs, statistics=statistics)[0], x, gamma, beta, place=arrays.place
    )


# --- dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_elements_scaled_and_drops_the_share_that_was_asked_for(arrays, rate):
    x = np.full((100, 100), 3.0, dtype=np.float32)
    y = F.dropout(arrays.place(x), rate, key=random.derive(1, "dropout")).numpy()
    np.testing.assert_allclose(y[y != 0], 3.0 / (1.0 - rate), **ROUNDED)
    share = (y == 0).mean()
    assert abs(share - rate) < 4 * np.sqrt(rate * (1 - rate) / x.size)  # four standard deviations; the seed is fixed


def test_equal_keys_give_equal_masks_on_every_kind_of_array(arrays):
    x = numbers(6, 5, 3)
    key, other = random.derive(1, "dropout", "0", 3), random.derive(1, "dropout", "0", 4)
    y = F.dropout(arrays.place(x), 0.5, key=key).numpy()
    np.testing.assert_array_equal(y, F.dropout(arrays.place(x), 0.5, key=key).numpy())
    np.testing.assert_array_equal(y, F.dropout(x, 0.5, key=key).numpy())  # as on the host
    assert (y != F.dropout(arrays.place(x), 0.5, key=other).numpy()).any()


def test_a_mask_belongs_to_the_row_in_the_whole_batch(arrays):
    x = np.ones((6, 4), dtype=np.float32)
    whole = F.dropout(arrays.place(x), 0.5, key=KEY).numpy()
    part = F.dropout(arrays.place(x[4:]), 0.5, key=KEY, first_row=4).numpy()
    np.testing.assert_array_equal(part, whole[4:])
    assert (whole[:2] != whole[4:]).any()


def test_dropout_does_nothing_outside_training_or_at_rate_0(launches):
    x = Tensor(numbers(3, 4))
    assert F.dropout(x, 0.5, key=KEY, training=False) is x
    assert F.dropout(x, 0.0, key=KEY) is x
    assert launches == []


def test_dropout_of_one_axis_draws_for_each_element(arrays):
    y = F.dropout(arrays.place(np.ones(1000, dtype=np.float32)), 0.5, key=KEY).numpy()
    assert y.shape == (1000,)
    assert set(y.tolist()) == {0.0, 2.0}


def test_the_gradient_of_dropout_has_the_same_mask(arrays):
    x = Tensor(arrays.place(np.ones((5, 6), dtype=np.float32)), requires_grad=True)
    y = F.dropout(x, 0.5, key=KEY)
    y.sum().backward()
    np.testing.assert_array_equal(arrays.host(x.grad), y.numpy())


# --- activations

POINTS = np.array([-1e4, -2.0, -0.0, 0.0, 1.0, 1e4])
SIGMOID_OF_MINUS_2, SIGMOID_OF_1, TANH_OF_1 = 0.11920292202211756, 0.7310585786300049, 0.7615941559557649
ACTIVATIONS = {  # values and derivatives at POINTS
    "relu": (F.relu, [0.0, 0.0, 0.0, 0.0, 1.0, 1e4], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]),
    "leaky_relu": (F.leaky_relu, [-100.0, -0.02, 0.0, 0.0, 1.0, 1e4], [0.01, 0.01, 0.01, 0.01, 1.0, 1.0]),
    "leaky_relu, 0.5": (
        lambda x: F.leaky_relu(x, alpha=0.5),
        [-5e3, -1.0, 0.0, 0.0, 1.0, 1e4],
        [0.5, 0.5, 0.5, 0.5, 1.0, 1.0],
    ),
    "sigmoid": (
        F.sigmoid,
        [0.0, SIGMOID_OF_MINUS_2, 0.5, 0.5, SIGMOID_OF_1, 1.0],
        [0.0, 0.10499358540350662, 0.25, 0.25, 0.19661193324148185, 0.0],
    ),
    "tanh": (
        F.tanh,
        [-1.0, -0.9640275800758169, 0.0, 0.0, TANH_OF_1, 1.0],
        [0.0, 0.07065082485316443, 1.0, 1.0, 0.41997434161402614, 0.0],
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_their_derivatives_also_where_the_input_is_large(arrays, name, dtype):
    function, values, derivatives = ACTIVATIONS[name]
    x = Tensor(arrays.place(POINTS.astype(dtype)), requires_grad=True)
    y = function(x)
    y.sum().backward()
    tolerance = {"rtol": 1e-6 if dtype == "float32" else 1e-13, "atol": 1e-15}  # a few units in the last place
    assert y.numpy().dtype == dtype
    np.testing.assert_allclose(y.numpy(), values, **tolerance)
    np.testing.assert_allclose(arrays.host(x.grad), derivatives, **tolerance)


def test_softmax_gives_probabilities_over_the_last_axis(arrays):
    x = np.log(np.array([[[1.0, 3.0], [1.0, 1.0]], [[2.0, 6.0], [9.0, 1.0]]]))
    expected = [[[0.25, 0.75], [0.5, 0.5]], [[0.25, 0.75], [0.9, 0.1]]]
    np.testing.assert_allclose(F.softmax(arrays.place(x)).numpy(), expected, rtol=1e-14)
    np.testing.assert_allclose(F.log_softmax(arrays.place(x)).numpy(), np.log(expected), rtol=1e-13)


def test_softmax_is_finite_for_large_logits(arrays):
    x = arrays.place(np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], dtype=np.float32))
    np.testing.assert_allclose(F.softmax(x).numpy(), [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)
    np.testing.assert_allclose(F.log_softmax(x).numpy()[0], [0.0, -2e4, -1e4], **EXACT)
    np.testing.assert_allclose(F.log_softmax(x).numpy()[1], [-np.log(3)] * 3, rtol=1e-6)


@pytest.mark.parametrize("function", [F.softmax, F.log_softmax, F.sigmoid, F.tanh, F.relu, F.leaky_relu])
def test_activations_pass_a_gradient_check(arrays, function):
    assert gradient_check_function(function, numbers(3, 4) + 0.05, place=arrays.place)


def test_lists_and_arrays_are_taken_as_they_are():
    assert F.relu([-1.0, 2.0]).numpy().tolist() == [0.0, 2.0]
    y = F.linear(np.ones((1, 2), np.float32), [[1.0], [2.0]], [3.0])
    assert y.numpy().tolist() == [[6.0]]


def test_nothing_is_recorded_without_a_gradient_to_take(arrays):
    x, w = arrays.place(numbers(2, 3)), Tensor(arrays.place(numbers(3, 2)), requires_grad=True)
    with no_grad():
        assert F.linear(x, w).node is None
    assert F.linear(x, w).node is not None
    assert F.relu(x).node is None
