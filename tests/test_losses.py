"""The losses against numbers worked by hand, their weights, their stability, and their checks."""

import math

import numpy as np
import pytest

from dlcore import Tensor, losses
from dlcore import functional as F
from dlcore.errors import ConfigError, DataError, ShapeError
from dlcore.testing import gradient_check_function

CLOSE = {"rel": 1e-6}  # a few operations in float32, whose unit is 6e-8
LN2, LN3, LN4 = math.log(2), math.log(3), math.log(4)


def value(loss, dtype=None):
    assert loss.shape == ()
    if dtype is not None:
        assert loss.numpy().dtype == dtype
    return loss.item()


# --- values by hand


def test_mse_is_the_mean_over_all_elements(arrays):
    a = arrays.place(np.array([[1.0, 2.0], [5.0, 0.0]], dtype=np.float32))
    y = arrays.place(np.array([[0.0, 2.0], [3.0, -1.0]], dtype=np.float32))
    assert value(F.mse(a, y)) == pytest.approx((1 + 0 + 4 + 1) / 4, **CLOSE)


def test_mse_of_scalar_outputs_is_that_of_the_notes(arrays):
    a = arrays.place(np.array([[1.0], [5.0]], dtype=np.float32))
    y = arrays.place(np.array([0.0, 3.0], dtype=np.float32))  # (N,) beside (N, 1)
    assert value(F.mse(a, y)) == pytest.approx((1 + 4) / 2, **CLOSE)  # 1/m, without the other convention's 1/2


def test_mse_takes_targets_of_another_dtype(arrays):
    a = Tensor(arrays.place(np.array([[1.5], [5.0]], dtype=np.float32)), requires_grad=True)
    loss = F.mse(a, arrays.place(np.array([[1], [3]])))
    loss.backward()
    assert loss.numpy().dtype == np.float32
    assert value(loss) == pytest.approx((0.25 + 4) / 2, **CLOSE)
    assert arrays.host(a.grad).tolist() == [[0.5], [2.0]]


def test_mse_may_have_a_gradient_for_its_target_too(arrays):
    a = Tensor(arrays.place(np.array([[1.0], [5.0]])), requires_grad=True)
    y = Tensor(arrays.place(np.array([0.0, 3.0])), requires_grad=True)
    F.mse(a, y).backward()
    assert arrays.host(a.grad).tolist() == [[1.0], [2.0]]
    assert arrays.host(y.grad).tolist() == [-1.0, -2.0]


def test_standardized_mse_is_that_of_targets_of_mean_0_and_deviation_1(arrays):
    targets = np.array([[100.0], [300.0], [np.nan], [500.0]])
    loss = losses.StandardizedMSE.fit(targets)
    assert (loss.mean, loss.std) == (300.0, pytest.approx(math.sqrt(80_000 / 3)))
    a = Tensor(arrays.place(np.array([[0.5], [-1.0]], dtype=np.float32)), requires_grad=True)
    found = loss(a, arrays.place(np.array([[500], [100]])), sample_weight=arrays.place(np.array([1.0, 3.0])))
    z = 200 / loss.std
    errors = np.array([0.5 - z, -1.0 + z])
    assert value(found, np.float32) == pytest.approx((errors[0] ** 2 + 3 * errors[1] ** 2) / 4, **CLOSE)
    found.backward()
    np.testing.assert_allclose(arrays.host(a.grad)[:, 0], 2 * errors * [1 / 4, 3 / 4], rtol=1e-6)
    predicted = losses.decode(loss, arrays.place(np.array([[0.5], [-1.0]])))
    np.testing.assert_allclose(arrays.host(predicted)[:, 0], [300 + loss.std / 2, 300 - loss.std])


def test_equal_targets_are_standardised_by_their_mean_alone():
    assert losses.StandardizedMSE.fit([[0.1]] * 3) == losses.StandardizedMSE(0.1, 1.0)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.0), (0.0, -1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_a_scale_that_cannot_be_divided_by_is_refused(mean, std):
    with pytest.raises(DataError, match="finite std > 0"):
        losses.StandardizedMSE(mean, std)
    with pytest.raises(DataError, match="no target is known"):
        losses.StandardizedMSE.fit([math.nan])


@pytest.mark.parametrize("targets", [[1.0, math.inf], [-1e300, 1e300]])
def test_targets_without_a_finite_scale_are_refused_without_a_warning(targets):
    with pytest.raises(DataError, match="finite std > 0"):
        losses.StandardizedMSE.fit(targets)


def test_binary_cross_entropy_is_the_notes_formula_on_logits(arrays):
    z = arrays.place(np.array([[0.0], [LN3], [-LN3]], dtype=np.float32))  # probabilities 1/2, 3/4, 1/4
    y = arrays.place(np.array([1.0, 1.0, 0.0], dtype=np.float32))
    assert value(F.binary_cross_entropy(z, y)) == pytest.approx((LN2 + 2 * -math.log(0.75)) / 3, **CLOSE)


def test_binary_cross_entropy_takes_targets_between_0_and_1(arrays):
    z = arrays.place(np.array([LN3], dtype=np.float32))
    y = arrays.place(np.array([0.2], dtype=np.float32))
    expected = -(0.2 * math.log(0.75) + 0.8 * math.log(0.25))
    assert value(F.binary_cross_entropy(z, y)) == pytest.approx(expected, **CLOSE)


def test_cross_entropy_is_minus_the_log_of_the_labels_probability(arrays):
    z = arrays.place(np.array([[0.0, LN3], [0.0, LN3], [5.0, 5.0]], dtype=np.float32))
    labels = arrays.place(np.array([1, 0, 1]))
    expected = (-math.log(0.75) + LN4 + LN2) / 3
    assert value(F.cross_entropy(z, labels)) == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "uint64"])
def test_labels_may_be_of_any_integer_type(arrays, dtype):
    z = arrays.place(np.array([[0.0, LN3, 0.0]], dtype=np.float32))
    assert value(F.cross_entropy(z, arrays.place(np.array([1], dtype=dtype)))) == pytest.approx(-math.log(0.6), **CLOSE)


def test_cross_entropy_of_sequences_is_that_of_their_steps(arrays):
    rng = np.random.default_rng(0)
    z, labels, weights = rng.normal(size=(2, 3, 4)), rng.integers(0, 4, (2, 3)), rng.uniform(size=(2, 3))
    flat = arrays.place(z.reshape(6, 4)), arrays.place(labels.reshape(6))
    z, labels = arrays.place(z), arrays.place(labels)
    for settings in ({}, {"label_smoothing": 0.1}, {"class_weight": [1, 2, 3, 4]}):
        expected = value(F.cross_entropy(*flat, **settings))
        assert value(F.cross_entropy(z, labels, **settings)) == pytest.approx(expected, rel=1e-14)
    expected = value(F.cross_entropy(*flat, sample_weight=weights.reshape(6)))
    assert value(F.cross_entropy(z, labels, sample_weight=weights)) == pytest.approx(expected, rel=1e-14)
    assert value(F.cross_entropy(z, labels, sample_weight=arrays.place(weights))) == pytest.approx(expected, rel=1e-14)


def test_one_weight_a_sequence_counts_for_all_of_its_steps(arrays):
    z = arrays.place(np.array([[[0.0, 0.0], [0.0, LN3]], [[0.0, LN3], [0.0, LN3]]], dtype=np.float32))
    labels = arrays.place(np.array([[0, 1], [0, 0]]))
    first = LN2 - math.log(0.75)
    second = 2 * LN4
    loss = F.cross_entropy(z, labels, sample_weight=[3.0, 1.0])
    assert value(loss) == pytest.approx((3 * first + 1 * second) / 8, **CLOSE)


# --- weights: the sum of the weighted losses over the sum of the weights


def test_sample_weights_of_mse(arrays):
    a = arrays.place(np.array([[2.0], [1.0], [7.0]], dtype=np.float32))
    y = arrays.place(np.zeros((3, 1), dtype=np.float32))
    assert value(F.mse(a, y, sample_weight=[3, 1, 0])) == pytest.approx((3 * 4 + 1 * 1) / 4, **CLOSE)


def test_sample_weights_of_mse_count_for_every_element_of_the_example(arrays):
    a = arrays.place(np.array([[2.0, 0.0], [1.0, 1.0]], dtype=np.float32))
    y = arrays.place(np.zeros((2, 2), dtype=np.float32))
    assert value(F.mse(a, y, sample_weight=[3, 1])) == pytest.approx((3 * 4 + 1 + 1) / 8, **CLOSE)


def test_class_and_sample_weights_of_cross_entropy_multiply(arrays):
    z = arrays.place(np.array([[0.0, LN3], [0.0, LN3]], dtype=np.float32))
    labels = arrays.place(np.array([0, 1]))
    zero, one = LN4, -math.log(0.75)
    assert value(F.cross_entropy(z, labels, class_weight=[1, 3])) == pytest.approx((zero + 3 * one) / 4, **CLOSE)
    assert value(F.cross_entropy(z, labels, sample_weight=[5, 1])) == pytest.approx((5 * zero + one) / 6, **CLOSE)
    both = F.cross_entropy(z, labels, class_weight=[1, 3], sample_weight=[5, 1])
    assert value(both, "float32") == pytest.approx((5 * zero + 3 * one) / 8, **CLOSE)


def test_class_and_sample_weights_of_binary_cross_entropy_multiply(arrays):
    z = arrays.place(np.array([[LN3], [LN3]], dtype=np.float32))
    y = arrays.place(np.array([0.0, 1.0], dtype=np.float32))
    zero, one = LN4, -math.log(0.75)
    weighted = F.binary_cross_entropy(z, y, class_weight=[1, 3])
    assert value(weighted, "float32") == pytest.approx((zero + 3 * one) / 4, **CLOSE)
    both = F.binary_cross_entropy(z, y, class_weight=[1, 3], sample_weight=[5, 1])
    assert value(both) == pytest.approx((5 * zero + 3 * one) / 8, **CLOSE)


def test_a_target_between_two_classes_takes_a_share_of_both_weights(arrays):
    z = arrays.place(np.array([LN3, 0.0], dtype=np.float32))
    y = arrays.place(np.array([0.25, 1.0], dtype=np.float32))
    first, second = -(0.25 * math.log(0.75) + 0.75 * math.log(0.25)), LN2
    weight = 0.75 * 1 + 0.25 * 5
    expected = (weight * first + 5 * second) / (weight + 5)
    assert value(F.binary_cross_entropy(z, y, class_weight=[1, 5])) == pytest.approx(expected, **CLOSE)


def test_equal_weights_change_nothing(arrays):
    rng = np.random.default_rng(0)
    z, labels = arrays.place(rng.normal(size=(5, 3))), arrays.place(rng.integers(0, 3, 5))
    plain = value(F.cross_entropy(z, labels))
    assert value(F.cross_entropy(z, labels, sample_weight=[7] * 5)) == pytest.approx(plain, rel=1e-14)
    assert value(F.cross_entropy(z, labels, class_weight=[0.1] * 3)) == pytest.approx(plain, rel=1e-14)


def test_a_batch_whose_weights_are_all_0_has_loss_0_and_no_gradient(arrays):
    z = Tensor(arrays.place(np.array([[0.0, 2.0], [0.0, 1.0]], dtype=np.float32)), requires_grad=True)
    loss = F.cross_entropy(z, arrays.place(np.array([0, 0])), class_weight=[0, 1])
    loss.backward()
    assert value(loss) == 0.0
    assert (arrays.host(z.grad) == 0).all()


def test_weights_on_the_device_are_taken_in_the_precision_of_the_loss(arrays):
    z = Tensor(arrays.place(np.array([[0.0, LN3], [0.0, LN3]], dtype=np.float32)), requires_grad=True)
    weights = arrays.place(np.array([5.0, 1.0]))  # float64
    loss = F.cross_entropy(z, arrays.place(np.array([0, 1])), sample_weight=weights)
    loss.backward()
    assert loss.numpy().dtype == np.float32
    assert arrays.host(z.grad).dtype == np.float32
    assert value(loss) == pytest.approx((5 * LN4 - math.log(0.75)) / 6, **CLOSE)


# --- label smoothing


def test_label_smoothing_moves_the_labels_towards_the_uniform_distribution(arrays):
    z = arrays.place(np.array([[0.0, LN3]], dtype=np.float32))
    labels = arrays.place(np.array([1]))
    smooth = F.cross_entropy(z, labels, label_smoothing=0.2)
    assert value(smooth) == pytest.approx(-(0.1 * math.log(0.25) + 0.9 * math.log(0.75)), **CLOSE)
    three = arrays.place(np.log(np.array([[0.5, 0.2, 0.3]], dtype=np.float32)))
    smooth = F.cross_entropy(three, arrays.place(np.array([0])), label_smoothing=0.3)
    assert value(smooth) == pytest.approx(-(0.8 * math.log(0.5) + 0.1 * math.log(0.2) + 0.1 * math.log(0.3)), **CLOSE)


def test_label_smoothing_moves_binary_targets_towards_a_half_after_their_weights(arrays):
    z = arrays.place(np.array([LN3, 0.0], dtype=np.float32))
    y = arrays.place(np.array([1.0, 0.0], dtype=np.float32))
    first = -(0.9 * math.log(0.75) + 0.1 * math.log(0.25))
    smooth = F.binary_cross_entropy(z, y, label_smoothing=0.2)
    assert value(smooth) == pytest.approx((first + LN2) / 2, **CLOSE)
    weighted = F.binary_cross_entropy(z, y, label_smoothing=0.2, class_weight=[1, 3])
    assert value(weighted) == pytest.approx((3 * first + LN2) / 4, **CLOSE)


# --- stability


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_and_gradients_are_exact_at_logits_of_ten_thousand(arrays, dtype):
    place = arrays.place
    z = Tensor(place(np.array([1e4, -1e4, 1e4, -1e4], dtype=dtype)), requires_grad=True)
    loss = F.binary_cross_entropy(z, place(np.array([1.0, 0.0, 0.0, 1.0], dtype=dtype)))
    loss.backward()
    assert value(loss) == 5e3
    assert arrays.host(z.grad).tolist() == [0.0, 0.0, 0.25, -0.25]

    z = Tensor(place(np.array([[1e4, -1e4], [1e4, -1e4]], dtype=dtype)), requires_grad=True)
    loss = F.cross_entropy(z, place(np.array([0, 1])))
    loss.backward()
    assert value(loss) == 1e4  # (0 + 2e4) / 2
    assert arrays.host(z.grad).tolist() == [[0.0, 0.0], [0.5, -0.5]]


# --- gradients

RNG = np.random.default_rng(5)
LOGITS, LABELS, SHARES = RNG.normal(size=(5, 3)), RNG.integers(0, 3, 5), RNG.uniform(size=(5, 3))
GRADIENTS = {
    "mse": lambda z, p: F.mse(z, p(SHARES)),
    "mse, weights": lambda z, p: F.mse(z, p(SHARES), sample_weight=[1, 2, 0, 4, 5]),
    "bce": lambda z, p: F.binary_cross_entropy(z, p(SHARES)),
    "bce, weights": lambda z, p: F.binary_cross_entropy(
        z, p(SHARES), class_weight=[1, 3], sample_weight=[1, 2, 0, 4, 5], label_smoothing=0.2
    ),
    "ce": lambda z, p: F.cross_entropy(z, p(LABELS)),
    "ce, weights": lambda z, p: F.cross_entropy(
        z, p(LABELS), class_weight=[1, 3, 2], sample_weight=[1, 2, 0, 4, 5], label_smoothing=0.2
    ),
    "ce, sequences": lambda z, p: F.cross_entropy(
        z.reshape(1, 5, 3), p(LABELS[None]), class_weight=[1, 3, 2], sample_weight=[2]
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_the_gradient_for_the_logits_is_that_of_the_reported_loss(arrays, name):
    assert gradient_check_function(lambda z: GRADIENTS[name](z, arrays.place), LOGITS, place=arrays.place)


def test_the_gradient_of_cross_entropy_is_softmax_minus_the_label(arrays):
    z = Tensor(arrays.place(np.array([[0.0, LN3]])), requires_grad=True)
    F.cross_entropy(z, arrays.place(np.array([0]))).backward()
    np.testing.assert_allclose(arrays.host(z.grad), [[0.25 - 1, 0.75]], rtol=1e-14)


# --- bad input

Z = np.zeros((4, 3), dtype=np.float32)
Y = np.zeros(4, dtype=np.int64)
SHAPES = {
    "mse, shapes": (
        F.mse,
        (Z, np.zeros((4, 2))),
        {},
        r"mse: the prediction has shape \(4, 3\) and the target \(4, 2\)",
    ),
    "mse, transposed": (F.mse, (np.zeros((4, 1)), np.zeros((1, 4))), {}, r"equal shapes are expected"),
    "mse, broadcastable": (F.mse, (np.zeros((4, 1)), np.zeros((4, 4))), {}, r"equal shapes are expected"),
    "mse, weights": (F.mse, (Z, Z), {"sample_weight": [1, 2, 3]}, r"sample_weight has shape \(3,\) but \(4,\)"),
    "mse, a weight": (F.mse, (Z, Z), {"sample_weight": np.array(2.0)}, r"sample_weight has shape \(\)"),
    "bce, shapes": (F.binary_cross_entropy, (Z, np.zeros(4)), {}, r"\(4, 3\) and the target \(4,\)"),
    "bce, smoothing": (F.binary_cross_entropy, (Z, Z), {"label_smoothing": 1.0}, r"label_smoothing is 1.0"),
    "bce, class weights": (F.binary_cross_entropy, (Z, Z), {"class_weight": [1, 2, 3]}, r"2 weights"),
    "ce, one-hot": (F.cross_entropy, (Z, np.zeros((4, 3), np.int64)), {}, r"\(4, 3\).*probabilities"),
    "ce, floats": (F.cross_entropy, (Z, np.zeros((4, 2))), {}, r"\(4, 2\).*one probability a class"),
    "ce, float labels": (F.cross_entropy, (Z, np.zeros(4)), {}, r"labels are .*float64 but integers"),
    "ce, number of labels": (F.cross_entropy, (Z, Y[:3]), {}, r"logits have shape \(4, 3\) and labels \(3,\)"),
    "ce, one axis": (F.cross_entropy, (Z[0], np.array(1)), {}, r"logits \(\.\.\., K\)"),
    "ce, class weights": (F.cross_entropy, (Z, Y), {"class_weight": [1, 2]}, r"class_weight is \[1, 2\] but 3 weights"),
    "ce, negative class": (F.cross_entropy, (Z, Y), {"class_weight": [1, 2, -1]}, r"not negative"),
    "ce, no class": (F.cross_entropy, (Z, Y), {"class_weight": [0, 0, 0]}, r"nor all 0"),
    "ce, negative": (F.cross_entropy, (Z, Y), {"sample_weight": [1, 2, 3, -1]}, r"negative weights"),
    "ce, infinite": (F.cross_entropy, (Z, Y), {"sample_weight": [1, 2, 3, math.inf]}, r"infinit"),
    "mse, infinite": (F.mse, (Z, Z), {"sample_weight": [math.inf, 1, 1, 1]}, r"infinit"),
    "ce, infinite class": (F.cross_entropy, (Z, Y), {"class_weight": [1, math.inf, 1]}, r"3 weights .*finite"),
    "ce, NaN class": (F.cross_entropy, (Z, Y), {"class_weight": [1, math.nan, 1]}, r"3 weights .*finite"),
    "bce, infinite class": (F.binary_cross_entropy, (Z, Z), {"class_weight": [1, math.inf]}, r"2 weights .*finite"),
    "ce, NaN": (F.cross_entropy, (Z, Y), {"sample_weight": [1, 2, 3, math.nan]}, r"weights >= 0"),
    "ce, smoothing": (F.cross_entropy, (Z, Y), {"label_smoothing": -0.1}, r"label_smoothing is -0.1"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_settings_that_do_not_fit_are_refused_before_any_launch(arrays, launches, name):
    function, hosts, settings, words = SHAPES[name]
    with pytest.raises(ShapeError, match=words) as info:
        function(*(arrays.place(host) for host in hosts), **settings)
    message = str(info.value)
    assert launches == []
    assert message.startswith(f"{function.__name__}: ")
    assert "\n" not in message


def test_negative_weights_are_seen_in_a_tensor_too():
    with pytest.raises(ShapeError, match="negative weights"):
        F.mse(Z, Z, sample_weight=Tensor([1.0, -1.0, 1.0, 1.0]))


@pytest.mark.parametrize("label", [-1, 3, 2**40])
def test_a_label_out_of_range_is_named_before_any_launch(launches, label):
    with pytest.raises(
        DataError, match=rf"label {label} is out of range, 0 to 2 expected for 3 classes; check"
    ) as info:
        F.cross_entropy(Z, np.array([0, label, 1, 2]))
    assert "\n" not in str(info.value)
    assert launches == []


@pytest.mark.parametrize("target", [-0.1, 1.5, 2, math.nan])
def test_a_binary_target_out_of_range_is_refused_before_any_launch(launches, target):
    with pytest.raises(DataError, match=r"binary_cross_entropy: targets span .* but 0 to 1 is expected"):
        F.binary_cross_entropy(np.zeros((2, 1), np.float32), np.array([0.5, target]))
    assert launches == []


@pytest.mark.parametrize(
    "call",
    [
        lambda p: F.mse(p(Z[:0]), p(Z[:0])),
        lambda p: F.binary_cross_entropy(p(Z[:0]), p(Z[:0])),
        lambda p: F.cross_entropy(p(Z[:0]), p(Y[:0])),
    ],
    ids=["mse", "bce", "ce"],
)
def test_a_batch_without_examples_has_no_loss(arrays, launches, call):
    with pytest.raises(DataError, match="no examples"):
        call(arrays.place)
    assert launches == []


# --- losses by name


def test_losses_are_found_by_name_and_functions_pass():
    assert losses.named("mse") is F.mse
    assert losses.named("cross_entropy") is F.cross_entropy
    assert losses.named("binary_cross_entropy") is F.binary_cross_entropy
    own = lambda outputs, targets: None  # noqa: E731
    assert losses.named(own) is own


def test_an_unknown_loss_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"'crossentropy' is not known \(did you mean cross_entropy\?\)"):
        losses.named("crossentropy")


def test_predictions_follow_from_the_loss(arrays):
    scores = arrays.place(np.array([[0.5, 2.0, -1.0], [0.0, -1.0, -2.0]], dtype=np.float32))
    assert arrays.host(losses.decode(F.cross_entropy, scores)).tolist() == [1, 0]
    assert arrays.host(losses.decode(F.binary_cross_entropy, scores)).tolist() == [[1, 1, 0], [0, 0, 0]]
    assert losses.decode(F.mse, scores) is scores


def test_missing_targets_become_0_with_weight_0(arrays):
    for y, filled, weights in [
        (np.array([2, -1, 0]), [2, 0, 0], [1, 0, 1]),
        (np.array([0.5, math.nan, -1.0]), [0.5, 0.0, -1.0], [1, 0, 1]),
        (np.array([[1.0, math.nan], [2.0, 3.0]]), [[1.0, 0.0], [2.0, 3.0]], [0, 1]),
    ]:
        targets, weight = losses.known(arrays.place(y))
        assert arrays.host(targets).tolist() == filled
        assert arrays.host(targets).dtype == y.dtype
        assert arrays.host(weight).tolist() == weights


def test_a_loss_with_missing_targets_is_that_of_the_known_ones(arrays):
    z = arrays.place(np.array([[0.0, LN3], [9.0, -9.0], [0.0, LN3]], dtype=np.float32))
    targets, weight = losses.known(arrays.place(np.array([0, -1, 1])))
    assert value(F.cross_entropy(z, targets, sample_weight=weight)) == pytest.approx(
        (LN4 - math.log(0.75)) / 2, **CLOSE
    )


def test_a_batch_whose_weights_are_all_zero_has_no_loss_and_no_gradient(arrays):
    logits = Tensor(arrays.place(np.array([[1.0, 2.0], [3.0, -1.0]], dtype=np.float32)), requires_grad=True)
    loss = F.cross_entropy(logits, arrays.place(np.array([0, 1])), sample_weight=[0, 0])
    loss.backward()
    assert float(loss) == 0
    assert not arrays.host(logits.grad).any()


def test_small_integers_count_as_far_as_large_ones(arrays):
    logits = np.random.default_rng(0).standard_normal((2, 300)).astype(np.float32)
    small, large = (
        float(F.cross_entropy(arrays.place(logits), arrays.place(np.array([1, 2], dtype=dtype))))
        for dtype in (np.uint8, np.int64)
    )
    assert small == large
