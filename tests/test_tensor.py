"""Tensor: every operator against NumPy and central differences, how tensors are made, and what leaves the graph."""

import operator

import numpy as np
import pytest
from differences import VALUE, check, numbers

from dlcore import Tensor, concat, no_grad, where
from dlcore.errors import DeviceError, GraphError, ShapeError
from dlcore.tensor import grad_enabled

# --- operators and methods

SHAPES = [
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((3,), (2, 3)),
    ((2, 1), (1, 3)),
    ((2, 3), ()),
    ((), (2, 3)),
    ((1, 2), (4, 3, 1)),
    ((), ()),
]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("op", ["add", "sub", "mul", "truediv"])
def test_arithmetic_broadcasts_both_ways(arrays, op, shapes):
    function = getattr(operator, op)
    # Away from 0, where the third derivative of a quotient is large.
    check(arrays, function, function, numbers(*shapes[0]), numbers(*shapes[1], low=0.5, seed=1))


@pytest.mark.parametrize(
    "number", [3, 0.25, True, np.float32(0.5), np.float64(0.1), np.int64(3), np.bool_(True)], ids=repr
)
@pytest.mark.parametrize("op", ["add", "sub", "mul", "truediv"])
def test_a_number_may_stand_on_either_side(arrays, op, number):
    function, plain = getattr(operator, op), np.asarray(number).item()
    host = numbers(2, 3, low=0.5)
    check(arrays, lambda x: function(x, number), lambda x: function(x, plain), host)
    check(arrays, lambda x: function(number, x), lambda x: function(plain, x), host)


def test_a_list_may_stand_on_either_side(arrays):
    host = numbers(2, 3)
    check(arrays, lambda x: x * [0.1, 2, 3], lambda x: x * np.array([0.1, 2, 3]), host)
    check(arrays, lambda x: [0.1, 2, 3] - x, lambda x: np.array([0.1, 2, 3]) - x, host)
    check(arrays, lambda x: x @ [[0.1], [2], [3]], lambda x: x @ np.array([[0.1], [2], [3]]), host)


@pytest.mark.parametrize("op", ["add", "sub", "mul", "truediv", "matmul"])
def test_a_numpy_array_on_the_left_leaves_the_work_to_the_tensor(arrays, op):
    function = getattr(operator, op)
    left, host = numbers(2, 2, seed=1), numbers(2, 2, low=0.5)
    if arrays.name in ("numpy", "readonly"):
        check(arrays, lambda x: function(left, x), lambda x: function(left, x), host)
    else:
        with pytest.raises(DeviceError, match="do not mix"):
            function(left, Tensor(arrays.place(host)))


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, 0.5, -1.5, np.float64(2.5), np.int64(2)], ids=repr)
def test_powers(arrays, exponent):
    check(arrays, lambda x: x**exponent, lambda x: x ** float(exponent), numbers(2, 3, low=0.5))


def test_powers_of_negative_numbers_and_zero(arrays):
    x = Tensor(arrays.place(np.array([-2.0, 0.0, 3.0])), requires_grad=True)
    (x**2).sum().backward()
    assert arrays.host(x.grad).tolist() == [-4.0, 0.0, 6.0]


def test_powers_of_two_tensors(arrays):
    check(arrays, operator.pow, operator.pow, numbers(2, 3, low=0.5), numbers(3, seed=1))
    check(arrays, lambda x: 2**x, lambda x: 2.0**x, numbers(2, 3))
    check(arrays, lambda x: x ** [2, 0.5, -1], lambda x: x ** np.array([2, 0.5, -1]), numbers(2, 3, low=0.5))


def test_powers_of_zero_have_finite_gradients(arrays):
    x = Tensor(arrays.place(np.array([0.0, 0.0, 0.0])), requires_grad=True)
    y = Tensor(arrays.place(np.array([0.0, 1.0, 2.0])), requires_grad=True)
    (x**y).sum().backward()
    assert arrays.host(x.grad).tolist() == [0.0, 1.0, 0.0]
    assert arrays.host(y.grad).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "shapes",
    [((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((4, 1, 2, 3), (5, 3, 1))],
    ids=str,
)
def test_matrix_products_broadcast_their_batch_axes(arrays, shapes):
    check(arrays, operator.matmul, np.matmul, numbers(*shapes[0]), numbers(*shapes[1], seed=1))


@pytest.mark.parametrize(("left", "right"), [((2, 3), (4, 5)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 2, 3), (3, 2, 3))])
def test_matrices_that_do_not_fit_are_refused(arrays, left, right):
    with pytest.raises(ShapeError, match=r"matmul: .*do not fit"):
        Tensor(arrays.place(np.ones(left))) @ Tensor(arrays.place(np.ones(right)))


METHODS = {
    "negative": (lambda x: -x, np.negative),
    "exp": (Tensor.exp, np.exp),
    "log": (Tensor.log, np.log),
    "sqrt": (Tensor.sqrt, np.sqrt),
    "abs": (Tensor.abs, np.abs),
    "builtin-abs": (abs, np.abs),
    "reshape": (lambda x: x.reshape(3, 4), lambda x: x.reshape(3, 4)),
    "reshape-tuple": (lambda x: x.reshape((4, 3)), lambda x: x.reshape(4, 3)),
    "reshape-inferred": (lambda x: x.reshape(-1), np.ravel),
    "transpose": (Tensor.transpose, np.transpose),
    "T": (lambda x: x.T, np.transpose),
    "transpose-axes": (lambda x: x.transpose(1, 0, 2), lambda x: x.transpose(1, 0, 2)),
    "transpose-cycle": (lambda x: x.transpose(1, 2, 0), lambda x: x.transpose(1, 2, 0)),
    "transpose-negative": (lambda x: x.transpose(-1, 0, 1), lambda x: x.transpose(2, 0, 1)),
}


@pytest.mark.parametrize("name", METHODS)
def test_elementwise_functions_and_rearrangements(arrays, name):
    function, oracle = METHODS[name]
    check(arrays, function, oracle, numbers(2, 2, 3, low=0.5))


def test_abs_of_negative_numbers_and_zero(arrays):
    x = Tensor(arrays.place(np.array([-2.0, 0.0, 3.0])), requires_grad=True)
    y = x.abs()
    y.sum().backward()
    assert y.numpy().tolist() == [2.0, 0.0, 3.0]
    assert arrays.host(x.grad).tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (1, -1), (0, 1, 2), ()], ids=str)
@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_reductions_over_any_axes(arrays, name, axis, keepdims):
    check(
        arrays,
        lambda x: getattr(x, name)(axis=axis, keepdims=keepdims),
        lambda x: getattr(np, name)(x, axis=axis, keepdims=keepdims),
        numbers(2, 3, 2),
    )


def test_equal_largest_elements_share_the_gradient(arrays):
    x = Tensor(arrays.place(np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])), requires_grad=True)
    x.max(axis=1).sum().backward()
    third = 1 / 3
    np.testing.assert_allclose(arrays.host(x.grad), [[0.0, 0.5, 0.5], [third] * 3], **VALUE)


KEYS = [
    0,
    -1,
    np.int64(1),
    slice(1, None),
    slice(None, None, 2),
    slice(None, None, -1),
    (slice(None), 1),
    (1, slice(0, 2), -1),
    (1, 2, 0),
    (..., 0),
    ...,
    None,
    (None, 1, None, slice(None)),
    (slice(2, 2),),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_basic_indexing(arrays, key):
    check(arrays, lambda x: x[key], lambda x: x[key], numbers(3, 4, 2))


@pytest.mark.parametrize("ids", [[0, 2], [2, 2, 0, 2], [-1, 0, -3], [[0, 1], [1, 1]], []], ids=str)
@pytest.mark.parametrize("kind", ["list", "numpy", "small", "device", "tensor"])
def test_integers_pick_along_the_first_axis_and_repeated_ones_add_their_gradients(arrays, kind, ids):
    host = np.array(ids, dtype=np.int8 if kind == "small" else np.int64)
    key = {"list": ids, "numpy": host, "small": host}.get(kind)
    if key is None:
        key = Tensor(arrays.place(host)) if kind == "tensor" else arrays.place(host)
    check(arrays, lambda x: x[key], lambda x: x[host], numbers(3, 2))


def test_small_integers_pick_from_a_long_axis(arrays):
    ids = np.array([-1, 3], dtype=np.int8)  # which cannot hold 300
    x = Tensor(arrays.place(np.arange(300.0)))
    assert x[ids].numpy().tolist() == [299.0, 3.0]


@pytest.mark.parametrize("key", [[3], [-4], np.array([0, 7])], ids=str)
def test_integers_out_of_range_are_refused(arrays, key):
    with pytest.raises(ShapeError, match=r"-3 to 2 is expected"):
        Tensor(arrays.place(np.ones((3, 2))))[key]


@pytest.mark.parametrize(
    "key", [np.array([True, False, True]), [0.5], "first", True, ([0], 1), (0, np.array([1])), 1.0], ids=repr
)
def test_other_keys_are_refused(arrays, key):
    with pytest.raises(ShapeError, match=r"index: .*cannot index"):
        Tensor(arrays.place(np.ones((3, 2))))[key]


def test_iterating_gives_the_rows(arrays):
    x = Tensor(arrays.place(numbers(3, 2)), requires_grad=True)
    rows = list(x)
    assert [row.shape for row in rows] == [(2,)] * 3
    (rows[0].sum() + rows[2].sum() * 2).backward()
    assert arrays.host(x.grad).tolist() == [[1.0, 1.0], [0.0, 0.0], [2.0, 2.0]]


@pytest.mark.parametrize(("axis", "shapes"), [(0, [(2, 3), (1, 3), (4, 3)]), (1, [(2, 1), (2, 3)]), (-1, [(2, 3)])])
def test_concat_joins_along_an_axis(arrays, axis, shapes):
    hosts = [numbers(*shape, seed=i) for i, shape in enumerate(shapes)]
    check(arrays, lambda *x: concat(x, axis=axis), lambda *x: np.concatenate(x, axis=axis), *hosts)


def test_concat_gives_a_gradient_only_where_it_is_wanted(arrays):
    x, y = Tensor(arrays.place(numbers(2, 2)), requires_grad=True), Tensor(arrays.place(numbers(2, 2, seed=1)))
    concat([y, x]).sum().backward()
    assert arrays.host(x.grad).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert y.grad is None


def test_concat_of_nothing_is_refused():
    with pytest.raises(ShapeError, match="no tensors"):
        concat([])


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((3,), (2, 1)), ((), (2, 3)), ((2, 3), ())], ids=str)
def test_where_chooses_and_broadcasts(arrays, shapes):
    mask = numbers(2, 3) > 0
    condition = arrays.place(mask)
    check(
        arrays,
        lambda x, y: where(condition, x, y),
        lambda x, y: np.where(mask, x, y),
        numbers(*shapes[0]),
        numbers(*shapes[1], seed=1),
    )


def test_where_takes_numbers_and_tensors_of_bool(arrays):
    host = numbers(2, 3)
    check(arrays, lambda x: where(x > 0, x, 0.0), lambda x: np.where(x > 0, x, 0.0), host)
    check(arrays, lambda x: where(x > 0, 1, x), lambda x: np.where(x > 0, 1.0, x), host)
    both = where(Tensor(arrays.place(host)) > 0, 1.0, np.float64(2.0))
    assert both.numpy().dtype == np.float32
    assert both.numpy().tolist() == np.where(host > 0, 1.0, 2.0).tolist()


@pytest.mark.parametrize("op", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_comparisons_give_bool_tensors_without_a_gradient(arrays, op):
    compare = getattr(operator, op)
    a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 3.0], [2.0, 4.0]])
    x, y = Tensor(arrays.place(a), requires_grad=True), Tensor(arrays.place(b))
    for result, expected in [
        (compare(x, y), compare(a, b)),
        (compare(x, 2), compare(a, 2)),
        (compare(2.0, x), compare(2.0, a)),
        (compare(x, np.float64(2.0)), compare(a, 2.0)),
        (compare(x, [1.0, 2.0]), compare(a, np.array([1.0, 2.0]))),
    ]:
        assert isinstance(result, Tensor)
        assert not result.requires_grad
        assert result.numpy().dtype == bool
        assert result.numpy().tolist() == expected.tolist()


def test_no_tensor_equals_none(arrays):
    x = Tensor(arrays.place(np.ones(3)))
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711


def test_only_a_single_element_is_true_or_false(arrays):
    x = Tensor(arrays.place(np.array([0.0, 2.0])))
    assert bool(x[1] > 1)
    assert not bool(x[0] > 1)
    with pytest.raises(ShapeError, match=r"bool: .*\(2,\)"):
        bool(x > 1)


def test_length_is_that_of_the_first_axis():
    assert len(Tensor(np.ones((3, 2)))) == 3
    with pytest.raises(TypeError, match="no length"):
        len(Tensor(1.0))


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x + Tensor(np.ones(5)),
        lambda x: x.reshape(4),
        lambda x: x.sum(axis=2),
        lambda x: x.max(axis=-3),
        lambda x: x[5],
        lambda x: x[0, 0, 0],
        lambda x: x.transpose(0, 0),
        lambda x: x.transpose(0),
        lambda x: concat([x, Tensor(np.ones((2, 2)))], axis=0),
        lambda x: concat([x, x], axis=2),
        lambda x: where(x > 0, x, Tensor(np.ones(4))),
    ],
    ids=range(11),
)
def test_shapes_axes_and_indices_that_do_not_fit_raise_a_shape_error_that_names_them(use):
    with pytest.raises(ShapeError, match=r"\(2, 3\)|\(3, 2\)") as info:
        use(Tensor(np.ones((2, 3)), requires_grad=True))
    assert "\n" not in str(info.value)


# --- making tensors, and leaving the graph


def test_what_becomes_a_tensor_and_with_which_dtype():
    assert Tensor(1).numpy().dtype == np.float32
    assert Tensor(1.5).numpy().dtype == np.float32
    assert Tensor([[1.0, 2.0]]).numpy().dtype == np.float32
    assert Tensor([1, 2]).numpy().dtype == np.int64  # labels and ids stay integers
    assert Tensor(np.ones(2)).numpy().dtype == np.float64
    assert Tensor(Tensor(np.ones(2))).numpy().dtype == np.float64


@pytest.mark.parametrize("data", ["word", None, object(), {1: 2}], ids=["str", "None", "object", "dict"])
def test_what_is_no_array_is_refused(data):
    with pytest.raises((DeviceError, ShapeError), match="array"):
        Tensor(data)


def test_integers_cannot_ask_for_a_gradient():
    with pytest.raises(ShapeError, match="floating-point"):
        Tensor(np.array([1, 2]), requires_grad=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "use",
    [
        lambda x: x + 1,
        lambda x: 2.5 * x,
        lambda x: 1 / x,
        lambda x: x**2,
        lambda x: x ** np.float64(0.5),
        lambda x: x * np.float64(2.5),
        lambda x: x / np.int64(3),
        lambda x: x - True,
        lambda x: x + [1, 2, 3],  # noqa: RUF005  a sum
        lambda x: x.mean(),
        lambda x: x.sum(axis=0),
        lambda x: x.max(axis=1),
        lambda x: x.exp().log().sqrt().abs(),
        lambda x: where(x > 1, x, 0.0),
        lambda x: concat([x, x])[0],
        lambda x: -x[[0, 1]] @ x.T,
    ],
    ids=range(16),
)
def test_the_dtype_is_kept_beside_numbers_and_through_every_operation(arrays, use, dtype):
    x = Tensor(arrays.place(numbers(2, 3, low=1.0).astype(dtype)), requires_grad=True)
    y = use(x)
    y.sum().backward()
    assert y.numpy().dtype == dtype
    assert arrays.host(x.grad).dtype == dtype


def test_numpy_gives_the_values_on_the_host(arrays):
    host = numbers(2, 3)
    x = Tensor(arrays.place(host))
    assert isinstance(x.numpy(), np.ndarray)
    np.testing.assert_array_equal(x.numpy(), host)
    assert x[0, 1].item() == host[0, 1]
    assert float(x[0, 1]) == host[0, 1]
    assert x.shape == (2, 3)
    assert (x.ndim, x.size) == (2, 6)


def test_to_moves_the_values_and_leaves_the_graph(arrays):
    host = numbers(2, 3)
    leaf = Tensor(host, requires_grad=True)
    moved = leaf.to(arrays.device)
    assert arrays.device.holds(moved.data)
    assert moved.requires_grad
    np.testing.assert_array_equal(moved.numpy(), host)
    (moved * 2).sum().backward()
    assert (arrays.host(moved.grad) == 2).all()
    assert leaf.grad is None
    back = (moved * 2).to("cpu")
    assert not back.requires_grad
    np.testing.assert_array_equal(back.numpy(), 2 * host)
    with pytest.raises(DeviceError, match="gpu"):
        leaf.to("gpu")


def test_detach_gives_the_same_array_outside_the_graph(arrays):
    x = Tensor(arrays.place(numbers(2, 3)), requires_grad=True)
    y = x * 2
    y_out = y.detach()
    assert y_out.data is y.data
    assert not y_out.requires_grad
    (y_out * x).sum().backward()
    np.testing.assert_array_equal(arrays.host(x.grad), y.numpy())  # y counts as a constant


def test_nothing_is_recorded_under_no_grad(arrays):
    x = Tensor(arrays.place(numbers(2, 3)), requires_grad=True)
    with no_grad():
        assert not grad_enabled()
        with no_grad():
            pass
        y = (x * x).sum()
    assert grad_enabled()
    assert not y.requires_grad
    assert y.node is None
    assert y.grad is None
    with pytest.raises(GraphError, match="nothing was recorded"):
        y.backward()


def test_no_grad_ends_with_its_block_even_after_an_error():
    with pytest.raises(ZeroDivisionError), no_grad():
        _ = 1 / 0
    assert grad_enabled()


def test_constants_record_nothing_and_get_no_gradient(arrays):
    x, c = Tensor(arrays.place(numbers(3)), requires_grad=True), Tensor(arrays.place(numbers(3, seed=1)))
    assert not (c * c).requires_grad
    (x * c).sum().backward()
    assert c.grad is None
    np.testing.assert_array_equal(arrays.host(x.grad), c.numpy())
