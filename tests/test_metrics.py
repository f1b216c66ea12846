import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlcore import metrics
from dlcore.errors import ConfigError, DataError, ShapeError
from dlcore.tensor import Tensor

# Class 3 is predicted once and rightly, class 4 is predicted and never there.
TRUE = [0, 0, 1, 1, 2, 2, 2, 3, 3, 0, 1, 2]
PREDICTED = [0, 1, 1, 1, 2, 0, 2, 4, 3, 0, 2, 2]

# By hand, and the same from scikit-learn 1.9.1, as are the other tables of this file.
TABLE = {
    ("precision", "macro"): 37 / 60,
    ("precision", "micro"): 2 / 3,
    ("precision", "weighted"): 0.75,
    ("precision", None): [2 / 3, 2 / 3, 3 / 4, 1, 0],
    ("recall", "macro"): 31 / 60,
    ("recall", "micro"): 2 / 3,
    ("recall", "weighted"): 2 / 3,
    ("recall", None): [2 / 3, 2 / 3, 3 / 4, 1 / 2, 0],
    ("f1", "macro"): 0.55,
    ("f1", "micro"): 2 / 3,
    ("f1", "weighted"): 25 / 36,
    ("f1", None): [2 / 3, 2 / 3, 3 / 4, 2 / 3, 0],
}
EXACT = 1e-14  # float64 sums of a dozen numbers


# --- labels


def test_accuracy_is_the_share_of_right_labels():
    assert metrics.accuracy(TRUE, PREDICTED) == 8 / 12


@pytest.mark.parametrize(("name", "average"), TABLE)
def test_precision_recall_and_f1_agree_with_scikit_learn(name, average):
    value = getattr(metrics, name)(TRUE, PREDICTED, average=average)
    np.testing.assert_allclose(value, TABLE[name, average], rtol=EXACT)


def test_the_average_is_macro_by_default():
    for name in ("precision", "recall", "f1"):
        assert getattr(metrics, name)(TRUE, PREDICTED) == pytest.approx(TABLE[name, "macro"], rel=EXACT)


def test_confusion_matrix_counts_true_classes_in_rows():
    expected = [[2, 1, 0, 0, 0], [0, 2, 1, 0, 0], [1, 0, 3, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]
    matrix = metrics.confusion_matrix(TRUE, PREDICTED)
    assert matrix.tolist() == expected
    assert matrix.dtype == np.int64


def test_confusion_matrix_takes_classes_in_the_order_asked_for():
    assert metrics.confusion_matrix(TRUE, PREDICTED, labels=[2, 0]).tolist() == [[3, 1], [0, 2]]
    assert metrics.confusion_matrix([0, 1], [0, 1], labels=[0, 1, 7]).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert metrics.confusion_matrix([5], [5], labels=[1, 2]).tolist() == [[0, 0], [0, 0]]


def test_classes_need_not_be_small_or_positive():
    assert metrics.confusion_matrix([-1, 10**12], [-1, -1]).tolist() == [[1, 0], [1, 0]]
    assert metrics.recall([-1, 10**12], [-1, -1], average=None).tolist() == [1.0, 0.0]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_class_metrics_follow_from_the_confusion_matrix(pairs):
    true, predicted = zip(*pairs, strict=True)
    matrix = metrics.confusion_matrix(true, predicted).tolist()
    k = len(matrix)
    precision, recall, f1 = [], [], []
    for c in range(k):
        column, row = sum(matrix[r][c] for r in range(k)), sum(matrix[c])
        precision.append(matrix[c][c] / column if column else 0.0)
        recall.append(matrix[c][c] / row if row else 0.0)
        total = precision[c] + recall[c]
        f1.append(2 * precision[c] * recall[c] / total if total else 0.0)
    for name, expected in (("precision", precision), ("recall", recall), ("f1", f1)):
        np.testing.assert_allclose(getattr(metrics, name)(true, predicted, average=None), expected, rtol=EXACT)
    assert metrics.accuracy(true, predicted) == sum(matrix[c][c] for c in range(k)) / len(pairs)


def test_a_share_of_nothing_is_zero_without_a_warning():
    assert metrics.precision([0, 0], [1, 1], average=None).tolist() == [0.0, 0.0]
    assert metrics.recall([0, 0], [1, 1], average=None).tolist() == [0.0, 0.0]
    assert metrics.f1([0, 0], [1, 1]) == 0.0


@pytest.mark.parametrize("name", ["accuracy", "precision", "recall", "f1"])
def test_a_column_of_labels_goes_with_a_row_without_broadcasting(name):
    true, predicted = np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1])
    metric = getattr(metrics, name)
    expected = metric(true, predicted)
    column = predicted.astype(np.float32)[:, None]
    assert metric(true, column) == metric(true[:, None], predicted) == metric(true[:, None], column) == expected
    assert metrics.accuracy(true, column) == 0.75  # a (4, 4) comparison would give 0.5


def test_every_label_of_a_sequence_counts():
    assert metrics.accuracy([[0, 1], [1, 1]], [[0, 1], [1, 0]]) == 0.75


def test_labels_may_be_bools_and_tensors():
    assert metrics.accuracy([True, False], [1, 0]) == 1.0
    assert metrics.accuracy(Tensor([1.0, 0.0]), [1, 0]) == 1.0


# --- scores


LABELS = [0, 1, 2, 3, 0, 2]
SCORES = [
    [0.1, 0.4, 0.3, 0.2],
    [0.25, 0.25, 0.25, 0.25],
    [0.4, 0.3, 0.2, 0.1],
    [0.1, 0.2, 0.3, 0.4],
    [0.3, 0.3, 0.2, 0.2],
    [0.5, 0.1, 0.1, 0.3],
]


@pytest.mark.parametrize(("k", "expected"), [(1, 1 / 6), (2, 2 / 6), (3, 5 / 6), (4, 1.0), (9, 1.0)])
def test_top_k_agrees_with_scikit_learn_also_where_scores_are_equal(k, expected):
    assert metrics.top_k(LABELS, SCORES, k=k) == expected


def test_top_1_is_the_accuracy_where_no_scores_are_equal():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(50, 7)), rng.integers(0, 7, 50)
    assert metrics.top_k(labels, scores, k=1) == metrics.accuracy(labels, scores.argmax(axis=1))


def test_top_k_takes_sequences_and_columns_of_labels():
    by_row = metrics.top_k(LABELS, SCORES, k=2)
    assert metrics.top_k(np.reshape(LABELS, (2, 3)), np.reshape(SCORES, (2, 3, 4)), k=2) == by_row
    assert metrics.top_k(np.reshape(LABELS, (6, 1)), SCORES, k=2) == by_row


def test_nan_scores_are_never_right():
    assert metrics.top_k([0, 1], [[math.nan, 1.0], [math.nan, math.nan]], k=2) == 0.0


LOGITS = [
    [[2.0, 0.0, -1.0], [0.5, 0.5, 0.0], [1.0, 2.0, 3.0]],
    [[0.0, 1.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
]
STEPS = [[0, 1, 2], [1, 1, 0]]


def test_perplexity_agrees_with_scikit_learn():
    assert metrics.perplexity(STEPS, LOGITS) == pytest.approx(2.8483560553252993, rel=1e-13)
    assert metrics.perplexity(STEPS, LOGITS, lengths=[3, 1]) == pytest.approx(1.68493872215582, rel=1e-13)


def test_perplexity_of_packed_rows_is_that_of_the_valid_steps():
    packed = metrics.perplexity([0, 1, 2, 1], [*LOGITS[0], LOGITS[1][0]])
    assert packed == metrics.perplexity(STEPS, LOGITS, lengths=[3, 1])


def test_padding_may_hold_anything():
    steps, logits = np.array(STEPS), np.array(LOGITS)
    steps[1, 1:], logits[1, 1:] = -1, math.nan
    assert metrics.perplexity(steps, logits, lengths=[3, 1]) == metrics.perplexity(STEPS, LOGITS, lengths=[3, 1])


def test_perplexity_of_a_uniform_guess_is_the_number_of_symbols():
    assert metrics.perplexity(np.zeros((3, 4), int), np.zeros((3, 4, 11))) == pytest.approx(11.0, rel=EXACT)


def test_perplexity_takes_log_probabilities_as_it_takes_logits():
    logits = np.array(LOGITS)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    value = metrics.perplexity(STEPS, log_probabilities)
    assert value == pytest.approx(metrics.perplexity(STEPS, LOGITS), rel=1e-13)


def test_perplexity_of_an_impossible_symbol_is_infinite_without_a_warning():
    assert metrics.perplexity([0], [[-math.inf, 0.0]]) == math.inf
    assert metrics.perplexity([0], [[0.0, 1e4]]) == math.inf
    assert metrics.perplexity([1], [[-1e4, 1e4]]) == 1.0


# --- regression


OUTPUTS = [[1.0, 10.0, 3.0], [2.0, 10.0, 3.0], [4.0, 10.0, 3.0], [7.0, 10.0, 3.0]]
GUESSES = [[1.5, 10.0, 3.0], [2.0, 10.0, 4.0], [3.0, 10.0, 3.0], [8.0, 10.0, 3.0]]


def test_r2_averages_outputs_and_treats_constant_ones_as_scikit_learn_does():
    first, constant_and_right, constant_and_wrong = 25 / 28, 1.0, 0.0
    mean = (first + constant_and_right + constant_and_wrong) / 3
    assert metrics.r2(OUTPUTS, GUESSES) == pytest.approx(mean, rel=EXACT)
    assert metrics.r2([row[0] for row in OUTPUTS], [row[0] for row in GUESSES]) == pytest.approx(first, rel=EXACT)


def test_r2_of_a_constant_whose_mean_is_rounded_is_that_of_a_constant():
    assert metrics.r2([0.1, 0.1, 0.1], [0.1, 0.1, 0.1]) == 1.0
    assert metrics.r2([0.1, 0.1, 0.1], [0.1, 0.1, 0.2]) == 0.0


def test_r2_of_the_mean_is_zero_and_of_one_example_undefined():
    assert metrics.r2([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]) == 0.0
    assert math.isnan(metrics.r2([1.0], [1.0]))


def test_mse_is_the_mean_over_all_elements():
    assert metrics.mse(OUTPUTS, GUESSES) == pytest.approx(3.25 / 12, rel=EXACT)


def test_regression_takes_a_column_with_a_row_without_broadcasting():
    y, guess = np.array([1.0, 2.0, 4.0], dtype=np.float32), np.array([[1.0], [2.0], [3.0]], dtype=np.float32)
    assert metrics.mse(y, guess) == pytest.approx(1 / 3, rel=EXACT)
    assert metrics.r2(y, guess) == pytest.approx(1 - 1 / (14 / 3), rel=EXACT)


def test_mse_computes_in_float64():
    y = np.array([1e4, 0.0], dtype=np.float32)
    assert metrics.mse(y, y + np.float32(1 / 1024)) == 1 / 1024**2


# --- bad input


@pytest.mark.parametrize("name", ["accuracy", "confusion_matrix", "precision", "recall", "f1", "mse", "r2"])
def test_shapes_that_do_not_match_are_refused_in_one_line(name):
    for true, predicted in [((4,), (3,)), ((4,), (4, 3)), ((4, 1), (1, 4)), ((4,), (1, 4)), ((4, 2), (4,))]:
        with pytest.raises(ShapeError, match=f"{name}: y_pred has shape .* is expected; pass") as caught:
            getattr(metrics, name)(np.zeros(true), np.zeros(predicted))
        assert str(true) in str(caught.value)
        assert str(predicted) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["accuracy", "confusion_matrix", "precision", "recall", "f1", "mse", "r2"])
def test_no_examples_are_refused(name):
    with pytest.raises(DataError, match=f"{name}: no examples"):
        getattr(metrics, name)([], [])


@pytest.mark.parametrize("name", ["accuracy", "confusion_matrix", "precision", "recall", "f1"])
@pytest.mark.parametrize("value", [0.3, math.nan, math.inf])
def test_scores_in_place_of_labels_are_refused(name, value):
    with pytest.raises(DataError, match=f"{name}: y_pred holds .* integer labels are expected"):
        getattr(metrics, name)([0, 1], [0.0, value])


def test_words_in_place_of_numbers_are_refused():
    with pytest.raises(DataError, match="accuracy: y_true holds"):
        metrics.accuracy(["a"], ["b"])
    with pytest.raises(DataError, match="mse: y_pred holds"):
        metrics.mse([1.0], ["b"])


def test_an_unknown_average_is_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"f1: average is 'macr' .*did you mean macro\?"):
        metrics.f1([0], [0], average="macr")


def test_confusion_matrix_refuses_repeated_classes():
    with pytest.raises(DataError, match="different classes"):
        metrics.confusion_matrix([0], [0], labels=[1, 1])


@pytest.mark.parametrize("metric", [metrics.top_k, metrics.perplexity])
def test_scores_that_do_not_fit_the_labels_are_refused(metric):
    for labels, scores in [((4,), (4,)), ((4,), (4, 1)), ((4,), (3, 5)), ((4, 2), (4, 5))]:
        with pytest.raises(ShapeError, match=rf"scores have shape \({scores[0]}"):
            metric(np.zeros(labels, int), np.zeros(scores))
    with pytest.raises(DataError, match="labels span 0 to 3 but 0 to 2"):
        metric([0, 3], np.zeros((2, 3)))
    with pytest.raises(DataError, match="labels span -1"):
        metric([0, -1], np.zeros((2, 3)))
    with pytest.raises(DataError, match="no valid examples"):
        metric(np.zeros(0, int), np.zeros((0, 3)))


@pytest.mark.parametrize("k", [0, -1, 2.0, True])
def test_top_k_refuses_a_k_that_is_no_count(k):
    with pytest.raises(ConfigError, match="top_k: k is"):
        metrics.top_k([0], [[1.0, 2.0]], k=k)


def test_perplexity_refuses_lengths_that_do_not_fit():
    with pytest.raises(DataError, match="span 1 to 4 but 0 to 3"):
        metrics.perplexity(STEPS, LOGITS, lengths=[1, 4])
    with pytest.raises(DataError, match="no valid examples"):
        metrics.perplexity(STEPS, LOGITS, lengths=[0, 0])
    for lengths in ([1], [1.0, 2.0], [[1, 2]]):
        with pytest.raises(ShapeError, match="perplexity: lengths are"):
            metrics.perplexity(STEPS, LOGITS, lengths=lengths)
    with pytest.raises(ShapeError, match="perplexity: lengths are"):
        metrics.perplexity([0], [[0.0, 1.0]], lengths=[1])


# --- exponential averages


def test_the_exponential_average_is_the_notes_recursion():
    corrected, plain = metrics.ExponentialAverage(0.9), metrics.ExponentialAverage(0.9, bias_correction=False)
    # v: 1, 2.9, 5.61; divided by 1 - 0.9, 1 - 0.81, 1 - 0.729
    for x, v, share in [(10.0, 1.0, 0.1), (20.0, 2.9, 0.19), (30.0, 5.61, 0.271)]:
        assert plain.update(x) == pytest.approx(v, rel=EXACT)
        assert corrected.update(x) == pytest.approx(v / share, rel=1e-13)
        assert corrected.value == pytest.approx(v / share, rel=1e-13)
    assert plain.value == pytest.approx(5.61, rel=EXACT)


@given(st.floats(0, 0.999), st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20))
def test_the_corrected_average_is_a_weighted_mean(beta, xs):
    average = metrics.ExponentialAverage(beta)
    for x in xs:
        average.update(x)
    weights = [beta ** (len(xs) - 1 - i) for i in range(len(xs))]
    # 1 - beta^t loses up to three digits to cancellation
    assert average.value == pytest.approx(np.average(xs, weights=weights), rel=1e-11, abs=1e-9)


def test_the_average_of_nothing_is_nan_where_it_is_corrected():
    assert math.isnan(metrics.ExponentialAverage(0.9).value)
    assert metrics.ExponentialAverage(0.9, bias_correction=False).value == 0.0


@pytest.mark.parametrize("beta", [-0.1, 1.0, math.nan, "0.9", True])
def test_a_beta_out_of_range_is_refused(beta):
    with pytest.raises(ConfigError, match=r"\[0, 1\)"):
        metrics.ExponentialAverage(beta)


# --- the registry


@pytest.mark.parametrize(
    ("name", "needs", "larger_is_better"),
    [
        ("accuracy", "prediction", True),
        ("top_k", "scores", True),
        ("precision", "prediction", True),
        ("recall", "prediction", True),
        ("f1", "prediction", True),
        ("r2", "prediction", True),
        ("mse", "prediction", False),
        ("perplexity", "scores", False),
    ],
)
def test_a_named_metric_says_what_it_needs_and_which_way_is_better(name, needs, larger_is_better):
    metric = metrics.named(name)
    assert (metric.name, metric.needs, metric.larger_is_better) == (name, needs, larger_is_better)
    assert metrics.named(getattr(metrics, name)) is metrics.named(metric) is metric


def test_a_named_metric_computes_its_function():
    assert metrics.named("accuracy")([0, 1], [0, 0]) == 0.5
    assert metrics.named("top_k")(LABELS, SCORES, k=2) == metrics.top_k(LABELS, SCORES, k=2)


def test_an_own_function_is_named_after_itself_and_may_say_what_it_needs():
    def largest_error(y_true, y_pred):
        return float(np.max(np.abs(np.subtract(y_true, y_pred))))

    metric = metrics.named(largest_error)
    assert (metric.name, metric.needs, metric.larger_is_better) == ("largest_error", "prediction", True)
    largest_error.larger_is_better, largest_error.needs = False, "scores"
    metric = metrics.named(largest_error)
    assert (metric.needs, metric.larger_is_better) == ("scores", False)
    assert metric([1.0, 2.0], [1.5, 4.0]) == 2.0


def test_a_partial_of_a_known_metric_is_like_that_metric():
    metric = metrics.named(partial(metrics.top_k, k=2))
    assert (metric.name, metric.needs, metric.larger_is_better) == ("top_k", "scores", True)
    assert metric(LABELS, SCORES) == metrics.top_k(LABELS, SCORES, k=2)


def test_an_object_without_a_name_is_named_after_its_type():
    class Always:
        def __call__(self, y_true, y_pred):
            return 1.0

    assert metrics.named(Always()).name == "Always"


def test_an_own_function_named_like_a_known_metric_stays_itself():
    def mse(y_true, y_pred):
        return 7.0

    assert metrics.named(mse)([1.0], [1.0]) == 7.0


def test_an_unknown_metric_is_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"'acuracy' is not known \(did you mean accuracy\?\); there are"):
        metrics.named("acuracy")
    with pytest.raises(ConfigError, match="metric 3 is not known"):
        metrics.named(3)


def test_a_metric_that_needs_something_unknown_is_refused():
    with pytest.raises(ConfigError, match="needs is 'logits'"):
        metrics.Metric("mine", metrics.mse, needs="logits")
