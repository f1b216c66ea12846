"""A tensor beside Python and NumPy: formats, numbers, bits, whole division, NumPy's functions, copies."""

from __future__ import annotations

import copy
import operator
import pickle
from typing import Any

import numpy as np
import pytest
from arrays import Backend

from dlcore import Tensor, concat, no_grad, where
from dlcore.errors import DeviceError, DlcoreError, GraphError, ShapeError


@pytest.mark.parametrize(("value", "spec"), [(3.14159, ".2e"), (0.25, "8.1%"), (-2.0, "+09.3f"), (7, "g")])
def test_one_element_is_formatted_as_its_number(arrays: Backend, value: float, spec: str):
    x = Tensor(arrays.place(np.array([value])))
    assert f"{x:{spec}}" == format(value, spec)
    assert f"{x.sum():{spec}}" == format(value, spec)
    assert f"{x}" == repr(x)


@pytest.mark.parametrize("use", [float, int, Tensor.item, lambda x: f"{x:.3f}"], ids=["float", "int", "item", "format"])
def test_several_elements_are_no_number(use: Any):
    with pytest.raises(ShapeError, match=r"\(2, 1\).*one element"):
        use(Tensor([[1.0], [2.0]]))


def test_int_cuts_and_an_index_must_be_whole():
    assert int(Tensor(-2.7)) == -2
    assert int(Tensor(np.array([2**62 + 1]))) == 2**62 + 1
    assert "abc"[Tensor(np.array(1))] == "b"
    assert list(range(Tensor(np.array([5, 2]))[1])) == [0, 1]
    for bad in (Tensor(1.0), Tensor([1])):
        with pytest.raises(TypeError, match="no index"):
            range(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("op", [operator.and_, operator.or_, operator.xor])
def test_bits_and_logic_are_those_of_numpy(arrays: Backend, op: Any):
    masks = np.array([True, True, False, False]), np.array([True, False, True, False])
    whole = np.array([12, 10, 255], np.uint8), np.array([10, 3, 1], np.uint8)
    for a, b in (masks, whole):
        result = op(Tensor(arrays.place(a)), Tensor(arrays.place(b)))
        assert arrays.host(result.data).tolist() == op(a, b).tolist()
        assert result.numpy().dtype == a.dtype
    mask = Tensor(arrays.place(masks[0]))
    for result in (op(mask, True), op(True, mask)):
        assert result.numpy().dtype == bool
        assert result.numpy().tolist() == op(masks[0], True).tolist()
    assert (~mask).numpy().tolist() == [False, False, True, True]
    assert (~Tensor(arrays.place(np.array([0, 5])))).numpy().tolist() == [-1, -6]


@pytest.mark.parametrize(
    "use", [lambda x: ~x, lambda x: x & x, lambda x: (x > 1) | x, lambda x: (x > 1) ^ 1.0, lambda x: True & x]
)
def test_floats_have_no_bits(use: Any):
    with pytest.raises(ShapeError, match=r"(float32|float) came but bool or integers"):
        use(Tensor([1.0, 2.0]))


@pytest.mark.parametrize("op", [operator.floordiv, operator.mod])
def test_whole_division_is_that_of_numpy_and_has_no_gradient(arrays: Backend, op: Any):
    a, b = np.array([7.0, -7.0, 5.5]), np.array([2.0, 2.0, -2.0])
    x, y = Tensor(arrays.place(a)), Tensor(arrays.place(b))
    for result, expected in ((op(x, y), op(a, b)), (op(x, 3), op(a, 3)), (op(9, y), op(9, b))):
        np.testing.assert_array_equal(result.numpy(), expected)
    learnt = Tensor(arrays.place(a), requires_grad=True)
    with pytest.raises(GraphError, match="no gradient"):
        op(learnt, 2)
    with pytest.raises(GraphError, match="no gradient"):
        op(2, learnt)
    with no_grad():
        assert op(learnt, 2).numpy().tolist() == op(a, 2).tolist()


def test_divmod_gives_both():
    quotient, rest = divmod(Tensor([7, -7]), 2)
    assert (quotient.numpy().tolist(), rest.numpy().tolist()) == ([3, -4], [1, 1])
    assert [x.numpy().tolist() for x in divmod(7, Tensor([2.0]))] == [[3.0], [1.0]]


def test_shapes_that_do_not_broadcast_are_refused_in_comparisons_and_bits_too():
    mask = Tensor([True, False])
    for use in (
        lambda: mask & [True] * 3,
        lambda: Tensor([1.0, 2.0]) < np.ones(3),
        lambda: Tensor([5, 6]) // [1, 2, 3],
    ):
        with pytest.raises(ShapeError, match=r"\(2,\) and \(3,\)"):
            use()


# --- NumPy


def test_asarray_gives_the_numbers_in_the_dtype_that_is_asked_for():
    x = Tensor(np.array([[1.5, 2.0]]), requires_grad=True)
    assert np.asarray(x) is x.data
    assert np.asarray(x * 2).tolist() == [[3.0, 4.0]]
    assert np.array(x, dtype=np.float16).dtype == np.float16
    assert not np.shares_memory(np.array(x), x.data)
    assert np.asarray([Tensor(1.0), Tensor(2.5)]).tolist() == [1.0, 2.5]
    assert np.asarray(x.sum()).shape == ()


@pytest.mark.parametrize("use", [np.asarray, np.argmax, lambda x: np.asarray([x])], ids=["asarray", "argmax", "a list"])
def test_a_device_gives_no_numbers_unasked(arrays: Backend, use: Any):
    x = Tensor(arrays.place(np.array([1.0, 2.0])))
    if arrays.name in ("numpy", "readonly"):
        use(x)
    else:
        with pytest.raises(DeviceError, match="numpy"):
            use(x)


FUNCTIONS = {
    "exp": np.exp,
    "log": lambda x: np.log(x * x + 1.0),
    "tanh": np.tanh,
    "square": np.square,
    "abs": np.abs,
    "array on the left": lambda x: np.array([1.0, 2.0, 3.0]) * x,
    "scalar on the left": lambda x: np.float64(2.0) / (x + 5.0),
    "power": lambda x: np.float64(2.0) ** x,
    "matmul": lambda x: np.ones((4, 2)) @ x,
    "mean": lambda x: np.mean(x, axis=0),
    "sum": lambda x: np.sum(x, axis=1, keepdims=True),
    "max": lambda x: np.max(x, axis=-1),
    "reshape": lambda x: np.reshape(x, (3, 2)),
    "transpose": lambda x: np.transpose(x, (1, 0)),
    "concatenate": lambda x: np.concatenate([x, x * x], axis=1),
    "stack": lambda x: np.stack([x, x * x], axis=-1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpy_functions_with_a_counterpart_give_tensors_with_a_gradient(name: str):
    function = FUNCTIONS[name]
    host = np.random.default_rng(3).normal(size=(2, 3))
    x = Tensor(host, requires_grad=True)
    y = function(x)
    assert isinstance(y, Tensor)
    np.testing.assert_allclose(y.numpy(), function(host), rtol=1e-12)
    weights = np.random.default_rng(4).normal(size=y.shape)
    y.backward(weights)
    step = 1e-6
    for place in np.ndindex(host.shape):
        above, below = host.copy(), host.copy()
        above[place] += step
        below[place] -= step
        slope = float(np.sum((function(above) - function(below)) * weights)) / (2 * step)
        assert abs(x.grad[place] - slope) < 1e-6


@pytest.mark.parametrize(
    "function", [np.sin, np.floor, np.cbrt, lambda x: np.maximum(x, 0.0), lambda x: np.hypot(1.0, x)]
)
def test_numpy_functions_without_one_are_refused_where_a_gradient_would_be_lost(function: Any):
    x = Tensor([0.5, -1.0], requires_grad=True)
    with pytest.raises(GraphError, match=r"numpy\.\w+: no gradient is known"):
        function(x)
    np.testing.assert_array_equal(function(x.detach()).numpy(), function(x.numpy()))


def test_other_functions_of_numpy_take_the_numbers():
    x = Tensor([[1.0, np.nan], [3.0, 2.0]], requires_grad=True)
    assert np.isnan(x).numpy().tolist() == [[False, True], [False, False]]
    assert np.argmax(x[1]) == 0
    assert np.allclose(x[1], [3.0, 2.0])
    assert np.sort([x[1].detach(), x[1]], axis=1).tolist() == [[2.0, 3.0], [2.0, 3.0]]


@pytest.mark.parametrize(
    "use",
    [
        lambda x: np.add(x, x, out=np.zeros(2, np.float32)),
        np.add.reduce,
        lambda x: operator.iadd(np.zeros(2, np.float32), x),
        lambda x: np.mean(x, dtype=np.float64),
        lambda x: np.multiply.outer(x, x),
    ],
    ids=["out", "reduce", "in place", "dtype", "outer"],
)
def test_what_numpy_would_do_behind_the_graph_is_refused(use: Any):
    with pytest.raises(ShapeError, match=r"numpy\.\w+"):
        use(Tensor([1.0, 2.0]))


# --- axes and lists


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x.sum(axis=(0, -2)),
        lambda x: x.mean(axis=[2]),
        lambda x: x.max(axis=1.5),
        lambda x: x.sum(axis="rows"),
        lambda x: x.mean(axis=False),
        lambda x: x.transpose(-3, 1),
        lambda x: x.transpose((1, 1)),
        lambda x: x.transpose(True, False),
        lambda x: x[0, 0].max(axis=-1),
        lambda x: x.reshape("23"),
        lambda x: x.reshape(2.0, 3.0),
        lambda x: concat(x[0]),
        lambda x: concat([x, x], axis=-3),
        lambda x: concat([x, x], axis=1.0),
        lambda x: concat([x[0, 0], x[0, 1]]),
        lambda x: concat(7),
        lambda x: where([0, 1], x, x),
        lambda x: Tensor([x[0], x[1]]),
        lambda x: Tensor(np.zeros((0, 2))).mean(axis=0),
        lambda x: Tensor(np.zeros((2, 0))).max(axis=1),
    ],
    ids=range(20),
)
def test_axes_sizes_and_lists_that_cannot_be_are_refused_in_one_line(use: Any):
    with pytest.raises(DlcoreError) as caught:
        use(Tensor(np.ones((2, 3)), requires_grad=True))
    assert "\n" not in str(caught.value)


def test_lists_and_integers_of_numpy_name_axes_as_tuples_do(arrays: Backend):
    host = np.arange(24.0).reshape(2, 3, 4)
    x = Tensor(arrays.place(host), requires_grad=True)
    for ours, theirs in (
        (x.sum(axis=[0, -1]), host.sum(axis=(0, -1))),
        (x.mean(axis=np.int64(1)), host.mean(axis=1)),
        (x.max(axis=()), host),
        (x.transpose([2, 0, 1]), host.transpose(2, 0, 1)),
        (x.transpose(np.array([-1, 0, 1])), host.transpose(2, 0, 1)),
        (x.reshape(np.array([4, 6])), host.reshape(4, 6)),
        (x.reshape([np.int32(-1)]), host.ravel()),
        (concat(row for row in (x, x)), np.concatenate([host, host])),
        (concat([x, host.tolist()]), np.concatenate([host, host])),
    ):
        np.testing.assert_array_equal(ours.numpy(), theirs)
        assert ours.numpy().dtype == host.dtype
        ours.sum().backward()


# --- copies


def test_leaves_are_copied_and_results_say_what_to_do():
    x = Tensor([1.0, 2.0], requires_grad=True)
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.requires_grad
        assert twin.numpy().tolist() == [1.0, 2.0]
        assert not np.shares_memory(twin.data, x.data)
    for use in (copy.deepcopy, pickle.dumps):
        with pytest.raises(GraphError, match="detach"):
            use(x * 2)
        use((x * 2).detach())
