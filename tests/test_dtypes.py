"""Which arrays are taken, as what, and which gradients are given: one rule for all functions and losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arrays import Backend

import dlcore as dl
from dlcore import Tensor, filters, metrics
from dlcore import functional as F
from dlcore.data import Dataset
from dlcore.errors import DataError, DlcoreError, ShapeError
from dlcore.losses import StandardizedMSE
from dlcore.neighbors import KNNClassifier

# --- what a tensor takes


def unaligned(host: np.ndarray) -> np.ndarray:
    raw = np.frombuffer(bytearray(host.nbytes + 1), np.uint8, host.nbytes, 1)
    array = raw.view(host.dtype).reshape(host.shape)
    array[...] = host
    assert not array.flags.aligned
    return array


def in_records(host: np.ndarray) -> np.ndarray:
    records = np.zeros(host.shape, [("label", "u1"), ("x", host.dtype)])
    records["x"] = host
    return records["x"]


LAYOUTS = {
    "unaligned": unaligned,
    "a field of records": in_records,
    "swapped bytes": lambda host: host.astype(host.dtype.newbyteorder()),
    "reversed": lambda host: host[::-1].copy()[::-1],
    "every second": lambda host: np.repeat(host, 2, axis=0)[::2],
    "a subclass": lambda host: host.view(type("Mine", (np.ndarray,), {})),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_in_memory_gives_the_same_bits(layout: str):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(64, 40)).astype(np.float32), rng.normal(size=(40, 48)).astype(np.float32)
    ids, y = rng.integers(0, 64, 300), rng.integers(0, 48, 64)
    change = LAYOUTS[layout]

    def run(of: Any) -> list[bytes]:
        table, weights = Tensor(of(x), requires_grad=True), Tensor(of(w), requires_grad=True)
        z = F.linear_relu(table, weights)
        F.cross_entropy(z, of(y)).backward()
        z = F.embedding(table, of(ids))
        z.backward(of(np.ones(z.shape, np.float32)))
        return [table.grad.tobytes(), weights.grad.tobytes(), filters.gaussian(of(x), 1.0).tobytes()]

    assert run(change) == run(lambda host: host)


REFUSED = {
    "complex": np.array([[1j, 2.0]]),
    "objects": np.array([[1.0, None]]),
    "strings": np.array([["1", "2"]]),
    "bytes": np.array([[b"1"]]),
    "dates": np.array([["2020-01-01"]], "M8[D]"),
    "durations": np.array([[3]], "m8[s]"),
    "records": np.zeros((1, 1), [("a", "f4"), ("b", "f4")]),
    "longdouble": np.ones((1, 2), np.longdouble),
    "masked": np.ma.array([[1.0, 2.0]], mask=[[True, False]]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_are_no_real_numbers_is_refused_everywhere(kind: str):
    if kind == "longdouble" and np.dtype(np.longdouble) == np.float64:
        pytest.skip("a long double is a double here")
    data = REFUSED[kind]
    for use in (
        lambda: Tensor(data),
        lambda: Tensor([1.0, 2.0]) * data,
        lambda: F.softmax(data),
        lambda: F.mse([[1.0, 2.0]], data),
        lambda: F.mse([[1.0, 2.0]], [[1.0, 2.0]], sample_weight=data[0]),
        lambda: F.cross_entropy([[1.0, 2.0]], [0], class_weight=data[0]),
        lambda: F.embedding([[1.0]], data),
        lambda: filters.box(data, 1),
        lambda: filters.correlate2d(np.ones((3, 3)), data),
        lambda: Dataset(data, [0]),
    ):
        with pytest.raises(DlcoreError) as caught:
            use()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scalar", [np.float64(0.1), np.array(0.1)], ids=["scalar", "0-d array"])
def test_float64_without_axes_stays_float64(scalar: Any):
    x = Tensor(scalar, requires_grad=True)
    y = x * 3
    for result in (x, y.detach(), y.to("cpu"), dl.where(y > 0, y, 0.0), y.sum(), y.mean(), y.reshape(1)[0]):
        assert result.dtype == np.float64
    y.backward(0.1)
    assert x.grad == 0.1 * 3
    assert x.grad.dtype == np.float64


@pytest.mark.parametrize(
    "dy",
    [[[1, 2, 3]], np.array([[1, 2, 3]], np.uint8), np.array([[1.0, 2.0, 3.0]]), np.ones((1, 3), np.float16)],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gradient_has_the_dtype_of_what_it_is_for(dtype: str, dy: Any):
    x, w = (Tensor(np.ones(shape, dtype), requires_grad=True) for shape in ((1, 2), (2, 3)))
    F.relu(F.linear(x, w)).backward(dy)
    assert x.grad.dtype == w.grad.dtype == dtype
    assert (x.grad.shape, w.grad.shape) == ((1, 2), (2, 3))


def test_a_gradient_comes_back_through_a_wider_operand_in_its_own_dtype(arrays: Backend):
    x = Tensor(arrays.place(np.ones((4, 40), np.float32)), requires_grad=True)
    w = Tensor(arrays.place(np.ones((40, 3), np.float32)), requires_grad=True)
    wide = Tensor(arrays.place(np.full(3, 0.5)))
    y = F.linear_relu(x, w) * wide
    assert y.numpy().dtype == np.float64
    y.sum().backward()
    assert arrays.host(x.grad).dtype == arrays.host(w.grad).dtype == np.float32


def test_a_parameter_in_its_vector_takes_gradients_of_another_dtype(arrays: Backend):
    layer = dl.nn.Dense(2).build((3,)).to(arrays.device)
    (layer(arrays.place(np.ones((4, 3), np.float32))) * Tensor(arrays.place(np.ones(2)))).sum().backward()
    assert arrays.host(layer.w.grad).dtype == np.float32
    assert arrays.host(layer.w.grad).tolist() == [[4.0, 4.0]] * 3


# --- floats are checked as floats

FLOATS: dict[str, Any] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
    "softmax": F.softmax,
    "log_softmax": F.log_softmax,
    "dropout": lambda x: F.dropout(x, key=(0, 0)),
    "linear": lambda x: F.linear(x, np.ones((2, 2), x.dtype)),
    "linear_relu": lambda x: F.linear_relu(x, x),
    "conv2d": lambda x: F.conv2d(x.reshape(1, 2, 2, 1), np.ones((1, 1, 1, 1), x.dtype)),
    "max_pool2d": lambda x: F.max_pool2d(x.reshape(1, 2, 2, 1)),
    "avg_pool2d": lambda x: F.avg_pool2d(x.reshape(1, 2, 2, 1)),
    "batch_norm": lambda x: F.batch_norm(x, x[0], x[0]),
    "embedding": lambda x: F.embedding(x, [0]),
    "rnn": lambda x: F.rnn(x.reshape(2, 1, 2), x, x, x[0]),
    "gru": lambda x: F.gru(x.reshape(2, 1, 2), *[np.ones((2, 6), x.dtype)] * 2, np.ones(6, x.dtype), x[0]),
    "mse": lambda x: F.mse(x, np.ones((2, 2))),
    "binary_cross_entropy": lambda x: F.binary_cross_entropy(x, np.ones((2, 2))),
    "cross_entropy": lambda x: F.cross_entropy(x, [0, 1]),
}


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
@pytest.mark.parametrize("name", FLOATS)
def test_integers_and_bool_are_refused_by_name_where_floats_are_expected(name: str, dtype: str):
    with pytest.raises(ShapeError, match=rf"^{name}: .*{dtype}") as caught:
        FLOATS[name](np.ones((2, 2), dtype))
    assert "\n" not in str(caught.value)


def test_a_list_of_integers_is_taken_for_floats():
    assert F.softmax([[3, 3]]).numpy().tolist() == [[0.5, 0.5]]
    assert F.mse([1, 2], [1.5, 3.5]).item() == (0.25 + 2.25) / 2
    assert F.linear([[200, 100]], [[2], [1]], [3]).numpy().tolist() == [[503.0]]
    assert F.linear([[1, 2]], [[1], [1]]).dtype == np.float32


@pytest.mark.parametrize("target", [np.array([200, 3], np.uint8), np.array([200, 3]), [200, 3], np.array([200.0, 3.0])])
def test_targets_become_floats_of_the_same_value(target: Any):
    assert F.mse(np.array([0.5, -1.5], np.float32), target).item() == (199.5**2 + 4.5**2) / 2


def test_bool_targets_are_zeros_and_ones():
    z = np.array([0.3, -0.7], np.float32)
    assert F.binary_cross_entropy(z, np.array([True, False])).item() == F.binary_cross_entropy(z, [1.0, 0.0]).item()


@pytest.mark.parametrize("other", ["bias", "beta", "variance", "state"])
def test_parameters_of_several_dtypes_do_not_mix(other: str):
    x, wide = np.ones((3, 2), np.float32), np.ones(2)
    one = np.ones(2, np.float32)
    use = {
        "bias": lambda: F.linear(x, np.ones((2, 2), np.float32), wide),
        "beta": lambda: F.batch_norm(x, one, wide),
        "variance": lambda: F.batch_norm(x, one, one, statistics=(one, wide)),
        "state": lambda: F.rnn(x[None], x[:2], x[:2], one, np.ones((1, 2))),
    }[other]
    with pytest.raises(ShapeError, match=r"float32.*float64"):
        use()


# --- labels beyond int64

HUGE = [np.array([2**63, 2**63 + 1], np.uint64), np.array([1e19, 2.0]), np.array([-1e30, 2.0])]


@pytest.mark.parametrize("labels", HUGE, ids=["uint64", "large", "small"])
def test_labels_beyond_int64_are_refused(labels: np.ndarray):
    for use in (
        lambda: metrics.accuracy(labels, [0, 1]),
        lambda: metrics.confusion_matrix([0, 1], labels),
        lambda: metrics.f1(labels, labels),
        lambda: KNNClassifier(1).fit([[0.0], [1.0]], labels),
    ):
        with pytest.raises(DataError, match="int64"):
            use()


def test_large_labels_within_int64_are_told_apart():
    labels = np.array([2**62, 2**62 + 1, 2**62 + 1])
    assert metrics.confusion_matrix(labels, labels.astype(np.uint64)).tolist() == [[1, 0], [0, 2]]
    assert KNNClassifier(1).fit([[0.0], [1.0], [2.0]], labels).predict([[0.1], [0.9]]).tolist() == labels[:2].tolist()
    with pytest.raises(DlcoreError, match="out of range"):
        F.cross_entropy([[0.0, 1.0]], np.array([2**63 + 1], np.uint64))
    with pytest.raises(DlcoreError, match="ids span"):
        F.embedding([[0.0, 1.0]], np.array([2**64 - 1], np.uint64))


# --- gradients that are asked for


def ask(*values: float) -> Tensor:
    return Tensor(np.array(values, np.float32), requires_grad=True)


Z = np.array([[1.0, -2.0], [0.5, 0.0]], np.float32)
ASKED: dict[str, Any] = {
    "binary_cross_entropy's target": (ask(0.3, 0.7), lambda a: F.binary_cross_entropy(Z, F.softmax(Z) * a)),
    "binary_cross_entropy's class_weight": (ask(1.0, 2.0), lambda a: F.binary_cross_entropy(Z, Z > 0, class_weight=a)),
    "binary_cross_entropy's weights": (ask(1.0, 2.0), lambda a: F.binary_cross_entropy(Z, Z > 0, sample_weight=a)),
    "cross_entropy's class_weight": (ask(1.0, 2.0), lambda a: F.cross_entropy(Z, [0, 1], class_weight=[a[0], a[1]])),
    "cross_entropy's sample_weight": (ask(1.0, 2.0), lambda a: F.cross_entropy(Z, [0, 1], sample_weight=a * 2)),
    "sequences' sample_weight": (
        ask(1.0), lambda a: F.cross_entropy(Z[None], [[0, 1]], sample_weight=a, lengths=[2]),
    ),
    "mse's sample_weight, listed": (ask(1.0, 2.0), lambda a: F.mse(Z, Z, sample_weight=[a[0], 1.0])),
    "mse's target": (ask(1.0, 2.0), lambda a: F.mse(Z[0], a)),
    "mse's target in float64": (Tensor(Z[0].astype(float), requires_grad=True), lambda a: F.mse(Z[0], a)),
    "StandardizedMSE's target": (ask(1.0, 2.0), lambda a: StandardizedMSE(1.0, 2.0)(Z[0], a)),
    "the mean": (ask(0.0, 0.0), lambda a: F.batch_norm(Z, Z[0], Z[0], statistics=(a, Z[1] + 1))[0].sum()),
    "the variance": (ask(1.0, 1.0), lambda a: F.batch_norm(Z, Z[0], Z[0], statistics=(Z[0], a))[0].sum()),
    "rnn's h0": (ask(0.1, 0.2), lambda a: F.rnn(Z[None], Z, Z, Z[0], a.reshape(1, 2))[1].sum()),
    "lstm's c0": (
        ask(0.1, 0.2),
        lambda a: F.lstm(Z[None], *[np.tile(Z, 4)] * 2, np.ones(8, np.float32), None, a.reshape(1, 2))[1].sum(),
    ),
    "gru's bn": (ask(0.1, 0.2), lambda a: F.gru(Z[None], *[np.tile(Z, 3)] * 2, np.ones(6, np.float32), a)[1].sum()),
    "packed rows": (Tensor(Z[None], requires_grad=True), lambda a: F.pack(a, [1]).sum()),
    "a filter's kernel": (ask(1.0, 2.0), lambda a: filters.correlate2d(Tensor(Z), a.reshape(1, 2)).sum()),
    "an exponent": (ask(1.0, 2.0), lambda a: (Tensor([2.0, 3.0]) ** a).sum()),
}  # fmt: skip


def outcome(function: Any, asked: Tensor) -> tuple[Any, str]:
    """The result, or what the refusal says."""
    try:
        return function(asked), ""
    except ShapeError as error:
        return None, str(error)


@pytest.mark.parametrize("name", ASKED)
def test_a_gradient_that_is_asked_for_is_given_or_refused_by_name(name: str):
    asked, function = ASKED[name]
    asked.grad = None
    y, refusal = outcome(function, asked)
    if refusal:
        assert "asks for a gradient" in refusal
        assert "detach()" in refusal
        assert "\n" not in refusal
        with dl.no_grad():
            function(asked)  # outside the graph it is a number as any other
        return
    y.backward()
    assert asked.grad.shape == asked.shape
    assert asked.grad.dtype == asked.dtype
    weights, step = asked.data.copy(), 1e-2
    place = (0,) * asked.ndim
    sides = []
    for sign in (1, -1):
        moved = weights.copy()
        moved[place] += sign * step
        with dl.no_grad():
            sides.append(float(function(Tensor(moved))))
    slope = (sides[0] - sides[1]) / (2 * step)
    assert abs(float(asked.grad[place]) - slope) < 2e-2 * max(1.0, abs(slope))


def test_a_second_derivative_is_refused():
    x = ask(1.0, 2.0)
    with pytest.raises(DlcoreError, match="first derivatives"):
        (x * x).backward(x)


@pytest.mark.parametrize("bad", [np.inf, np.nan, -1.0])
def test_weights_of_classes_and_samples_are_finite_and_not_negative(bad: float):
    for use in (
        lambda: F.cross_entropy(Z, [0, 1], class_weight=[1.0, bad]),
        lambda: F.binary_cross_entropy(Z, Z > 0, class_weight=np.array([bad, 1.0])),
        lambda: F.mse(Z, Z, sample_weight=[1.0, bad]),
        lambda: F.batch_norm(Z, Z[0], Z[0], eps=bad),
    ):
        with pytest.raises(ShapeError, match="expected"):
            use()


# --- tables of many rows


def test_a_large_table_gets_only_the_rows_that_were_read(arrays: Backend):
    ids = np.array([[5, 999, 5, 0]])
    layer = dl.nn.Embedding(1000, 3).build((4,), input_dtype="int64").to(arrays.device)
    expected = np.zeros((1000, 3))
    for _ in range(2):  # gradients add up
        layer(arrays.place(ids)).sum().backward()
        np.add.at(expected, ids.ravel(), 1.0)
    assert arrays.host(layer.w.grad).tolist() == expected.tolist()
    layer.w[arrays.place(np.array([-1, 3]))].sum().backward()
    expected[[999, 3]] += 1.0
    assert arrays.host(layer.w.grad).tolist() == expected.tolist()


def test_a_parameter_outside_of_a_model_and_a_plain_tensor_get_the_same():
    ids = np.array([7, 7, 400])
    for table in (dl.nn.Parameter(np.ones((500, 2))), Tensor(np.ones((500, 2)), requires_grad=True)):
        (F.embedding(table, ids) * 2).sum().backward()
        assert table.grad.shape == (500, 2)
        assert table.grad[[7, 400, 8]].tolist() == [[4.0, 4.0], [2.0, 2.0], [0.0, 0.0]]


# --- images in bytes


def test_bytes_given_to_a_function_are_named_with_their_dtype():
    layer = dl.nn.Dense(2).build((3,))
    with pytest.raises(ShapeError, match=r"x is uint8 .*float32; convert x"):
        F.linear(np.zeros((1, 3), np.uint8), layer.w, layer.b)


def test_bytes_before_an_embedding_that_is_not_the_first_are_told_how_they_are_taken():
    model = dl.nn.Sequential(dl.nn.MaxPool2D(2), dl.nn.Embedding(4, 2), dl.nn.Flatten(), dl.nn.Dense(2))
    with pytest.raises(ShapeError, match=r"\(4, 4, 1\), which an Embedding takes as int64: .*convert"):
        model(np.zeros((8, 4, 4, 1), np.uint8))


# --- size 0


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    "use",
    [
        lambda: F.linear(zeros(2, 0), zeros(0, 3)),
        lambda: F.linear_relu(zeros(2, 3), zeros(3, 0)),
        lambda: F.conv2d(zeros(1, 4, 4, 2), zeros(3, 3, 2, 0)),
        lambda: F.conv2d_relu(zeros(1, 4, 4, 0), zeros(3, 3, 0, 2)),
        lambda: F.avg_pool2d(zeros(1, 4, 4, 0)),
        lambda: F.batch_norm_relu(zeros(4, 0), zeros(0), zeros(0)),
        lambda: F.softmax(zeros(0)),
        lambda: F.softmax(np.float32(1.0)),
        lambda: F.embedding(zeros(3, 0), [1]),
        lambda: F.embedding(np.float32(1.0), [0]),
        lambda: F.cross_entropy(zeros(3, 0), [0, 0, 0]),
        lambda: F.cross_entropy(zeros(0, 3), np.zeros(0, int)),
        lambda: F.binary_cross_entropy(zeros(0, 1), zeros(0)),
        lambda: F.gru(zeros(1, 2, 0), zeros(0, 3), zeros(1, 3), zeros(3), zeros(1)),
        lambda: F.unpack(zeros(2, 1), [1, 1]),
        lambda: filters.sobel(zeros(4, 4, 0)),
        lambda: filters.gaussian(zeros(4, 0), 1.0),
        lambda: KNNClassifier(1).fit(zeros(2, 0), [0, 1]),
        lambda: Dataset(zeros(2, 0), [0, 1]),
        lambda: Dataset(zeros(2, 3, 0), [0, 1]),
        lambda: metrics.r2([], []),
        lambda: dl.nn.Dense(2)(zeros(3, 0)),
        lambda: dl.nn.Conv2D(2, 3).build((4, 4, 0)),
    ],
    ids=range(23),
)
def test_no_features_channels_classes_or_taps_are_refused_in_one_line(use: Any):
    with pytest.raises(DlcoreError) as caught:
        use()
    assert "\n" not in str(caught.value)


def test_no_rows_give_no_rows():
    assert F.linear(zeros(0, 3), zeros(3, 2)).shape == (0, 2)
    assert F.conv2d(zeros(0, 5, 5, 1), zeros(3, 3, 1, 2)).shape == (0, 3, 3, 2)
    assert F.max_pool2d(zeros(0, 4, 4, 1)).shape == (0, 2, 2, 1)
    assert F.log_softmax(zeros(0, 3)).shape == (0, 3)
    assert F.embedding(zeros(300, 2), np.zeros((0, 4), int)).shape == (0, 4, 2)
    assert filters.box(zeros(0, 4, 4, 1), 3).shape == (0, 4, 4, 1)
    assert KNNClassifier(1).fit([[0.0]], [3]).predict(zeros(0, 1)).shape == (0,)
    x, w = Tensor(zeros(0, 3), requires_grad=True), Tensor(zeros(3, 2), requires_grad=True)
    F.relu(F.linear(x, w)).sum().backward()
    assert (x.grad.shape, w.grad.shape) == ((0, 3), (3, 2))
