"""What the backward pass promises: each gradient once and whole, graphs that are walked once and freed at once."""

import gc
import time
import weakref

import numpy as np
import pytest
from differences import check, numbers

from backends.dispatch import kernel
from backends.runtime import copies
from dlcore import Tensor, concat, where
from dlcore.errors import GraphError, ShapeError
from dlcore.nn import Dense, Parameter, Sequential
from dlcore.optim import SGD
from dlcore.tensor import apply


def test_a_tensor_used_twice_gets_both_gradients(arrays):
    check(arrays, lambda x: x * x + x, lambda x: x * x + x, numbers(2, 3))
    check(arrays, lambda x: x @ x.T @ x, lambda x: x @ x.T @ x, numbers(2, 2))


def test_a_diamond_collects_both_of_its_sides_before_going_on(arrays):
    def diamond(x, exp):
        top = x * 3
        return exp(top) * (top + 1) - top

    check(arrays, lambda x: diamond(x, Tensor.exp), lambda x: diamond(x, np.exp), numbers(2, low=0.1, high=0.5))


def test_a_shared_part_is_walked_once():
    x = Tensor([1.0], requires_grad=True)
    y = x
    for _ in range(40):
        y = y + y  # 2**40 paths
    y.sum().backward()
    assert x.grad[0] == 2.0**40


def test_sides_of_unequal_length_are_walked_in_order(arrays):
    def function(x):
        short, long = x * 2, x
        for _ in range(5):
            long = long * 1.5
        return short * long + short

    check(arrays, function, function, numbers(3))


def test_several_backwards_add_up(arrays):
    x = Tensor(arrays.place(np.array([1.0, 2.0])), requires_grad=True)
    for expected in ([2.0, 4.0], [4.0, 8.0], [6.0, 12.0]):
        (x * x).sum().backward()
        assert arrays.host(x.grad).tolist() == expected
    x.grad = None
    (x * 3).sum().backward()
    assert arrays.host(x.grad).tolist() == [3.0, 3.0]


def test_the_first_gradient_is_a_copy():
    """Adding hands one array to both of its operands: neither may see what is done to the other's."""
    x, y = Tensor(np.ones(3), requires_grad=True), Tensor(np.ones(3), requires_grad=True)
    dy = np.full(3, 5.0)
    (x + y).backward(dy)
    x.grad[0] = -1.0
    assert y.grad.tolist() == [5.0, 5.0, 5.0]
    assert dy.tolist() == [5.0, 5.0, 5.0]
    leaf = Tensor(np.ones(3), requires_grad=True)
    leaf.backward(dy)
    dy[:] = 0.0
    assert leaf.grad.tolist() == [5.0, 5.0, 5.0]


def test_a_gradient_handed_in_is_not_written_into(arrays):
    x = Tensor(arrays.place(np.ones((2, 3))), requires_grad=True)
    dy = arrays.place(np.full((2, 3), 2.0))
    y = x.reshape(3, 2).T.reshape(2, 3)
    (y + y).backward(dy)
    assert (arrays.host(x.grad) == 4).all()
    assert (arrays.host(dy) == 2).all()


def test_what_is_no_scalar_needs_dy(arrays):
    x = Tensor(arrays.place(np.ones((2, 3))), requires_grad=True)
    with pytest.raises(ShapeError, match=r"\(2, 3\).*scalar"):
        (x * 2).backward()
    with pytest.raises(ShapeError, match="dy has shape"):
        (x * 2).backward(arrays.place(np.ones(3)))
    assert x.grad is None
    (x * 2).backward(arrays.place(np.ones((2, 3))))
    assert (arrays.host(x.grad) == 2).all()


def test_results_hold_no_gradient():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.sum().backward()
    assert y.grad is None


def test_a_second_backward_raises_and_adds_nothing(arrays):
    x = Tensor(arrays.place(np.array([1.0, 2.0])), requires_grad=True)
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(GraphError, match="used before") as info:
        loss.backward()
    assert "forward pass again" in str(info.value)
    assert arrays.host(x.grad).tolist() == [2.0, 4.0]


def test_a_second_loss_on_a_used_trunk_raises_and_says_what_to_do(arrays):
    x = Tensor(arrays.place(np.array([1.0, 2.0])), requires_grad=True)
    trunk = x.exp()
    first, second = trunk.sum(), (trunk * trunk).sum()
    first.backward()
    with pytest.raises(GraphError, match=r"used before \(at exp\).*add the losses and call backward once"):
        second.backward()


def test_two_losses_added_share_their_trunk(arrays):
    host = np.array([1.0, 2.0])
    x = Tensor(arrays.place(host), requires_grad=True)
    trunk = x.exp()
    (trunk.sum() + (trunk * trunk).sum()).backward()
    np.testing.assert_allclose(arrays.host(x.grad), np.exp(host) + 2 * np.exp(2 * host), rtol=1e-14)


def test_an_optimiser_step_between_forward_and_backward_raises(arrays):
    model = Dense(2).build((3,), seed=0, dtype="float64", device=arrays.device)
    optimizer = SGD(0.1).attach(model)
    loss = model(arrays.place(numbers(4, 3))).sum()
    optimizer.step()
    with pytest.raises(GraphError, match=r"linear.*updated since the forward pass"):
        loss.backward()
    model(arrays.place(numbers(4, 3))).sum().backward()  # a new graph is fine


@pytest.mark.parametrize("built", [True, False], ids=["in a model", "by itself"])
def test_assigning_a_parameter_between_forward_and_backward_raises(arrays, built):
    if built:
        model = Dense(2, bias=False).build((3,), seed=0, dtype="float64", device=arrays.device)
        parameter, loss = model.w, model(arrays.place(numbers(4, 3))).sum()
    else:
        parameter = Parameter(arrays.place(numbers(3, 2)))
        loss = (parameter * parameter).sum()
    parameter.data = np.zeros((3, 2))
    with pytest.raises(GraphError, match="updated"):
        loss.backward()


def test_updating_one_model_leaves_the_graph_of_another_alone():
    model, other = Dense(1).build((2,), seed=0), Dense(1).build((2,), seed=1)
    loss = model(np.ones((1, 2), np.float32)).sum()
    SGD(0.1).attach(other).step()
    loss.backward()
    assert model.w.grad.tolist() == [[1.0], [1.0]]


def test_a_backward_pass_that_failed_leaves_nothing_behind():
    """What an overtaken graph had collected before it raised must not be added to a later, valid pass."""
    model = Dense(1, bias=False).build((1,), seed=0)
    x = Tensor(np.ones((1, 1), np.float32), requires_grad=True)
    valid = (x * 2).sum()
    overtaken = valid + model(x).sum()
    model.w.data = [[5.0]]
    with pytest.raises(GraphError):
        overtaken.backward()
    x.grad = None
    valid.backward()
    assert x.grad.tolist() == [[2.0]]


def test_a_kernel_of_several_outputs_gathers_their_gradients(arrays, monkeypatch):
    monkeypatch.setattr("backends.dispatch._REGISTRY", {})  # a kernel of this test, and no other's

    @kernel
    def multiples(xp, x, *, needed):
        return (x * 2, x * 3, x * 5), None

    @multiples.backward
    def _(xp, dys, saved, *, needed):
        assert dys[1] is None  # of which no loss was made
        return (2 * dys[0] + 5 * dys[2],)

    x = Tensor(arrays.place(np.ones(2)), requires_grad=True)
    first, _, last = apply(multiples, x)
    (first * last + first).sum().backward()  # 10 x² + 2 x
    assert arrays.host(x.grad).tolist() == [22.0, 22.0]


def test_the_graph_keeps_only_what_was_saved():
    """An addition needs none of its numbers for its gradient, so an intermediate sum must not stay in memory."""
    x = Tensor(np.ones(1000), requires_grad=True)
    y = x + 1
    watched = weakref.ref(y.data)
    z = y + 2
    del y
    assert watched() is None
    z.sum().backward()
    assert (x.grad == 1).all()


def test_saved_arrays_are_released_by_backward():
    x = Tensor(np.ones(100_000), requires_grad=True)
    y = x.exp()
    saved = weakref.ref(y.data)
    loss = y.sum()
    del y
    assert saved() is not None
    loss.backward()
    assert saved() is None
    assert loss.item() == pytest.approx(100_000 * np.e)  # the loss itself stays


def test_a_dropped_graph_is_freed_without_the_garbage_collector():
    x = Tensor(np.ones(1000), requires_grad=True)
    gc.collect()
    gc.disable()
    try:
        y = x.exp()
        watched = [weakref.ref(y), weakref.ref(y.data)]
        loss = (y * y + y[1:].sum()).mean()
        watched.append(weakref.ref(loss))
        del y, loss  # never walked
        assert [w() for w in watched] == [None] * 3
        model = Sequential(Dense(3), Dense(2)).build((4,))
        y = model(np.ones((2, 4), np.float32))
        watched = [weakref.ref(y)]
        loss = y.sum()
        loss.backward()
        watched.append(weakref.ref(loss))
        del y, loss
        assert [w() for w in watched] == [None] * 2
    finally:
        gc.enable()


def test_a_chain_of_5000_nodes_needs_neither_recursion_nor_long():
    start = time.perf_counter()
    x = Tensor(np.ones(3), requires_grad=True)
    y = x
    for _ in range(5000):
        y = y + 0.5
    loss = y.sum()
    loss.backward()
    del y, loss  # freeing it must not recurse either
    seconds = time.perf_counter() - start
    assert x.grad.tolist() == [1.0, 1.0, 1.0]
    assert seconds < 2  # takes 0.02 s; a walk that searches for the next node would take minutes


@pytest.mark.full
def test_a_chain_of_100_000_nodes_is_walked_and_freed() -> None:
    x = Tensor(np.ones(3), requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 0.5
    y.sum().backward()
    del y
    assert x.grad.tolist() == [1.0, 1.0, 1.0]


def test_recording_and_walking_wait_for_no_device(arrays):
    x = Tensor(arrays.place(numbers(3, 4)), requires_grad=True)
    ids = arrays.place(np.array([0, -1, 1]))
    w = Tensor(arrays.place(numbers(4, 2)), requires_grad=True)
    with copies.guard("forbid"):
        y = where(x > 0, x.exp(), abs(x) + 1).sqrt()[ids] @ w
        loss = (concat([y, y * 2], axis=1).max(axis=1) ** 2).mean() + y[0, 1:].log().sum() * 0
        loss.backward()
    assert np.isfinite(arrays.host(x.grad)).all()
