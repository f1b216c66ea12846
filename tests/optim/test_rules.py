"""The update rules: three steps of each against plain Python arithmetic, and two problems that each must solve."""

import math

import numpy as np
import pytest

from dlcore import functional as F
from dlcore import nn
from dlcore.errors import ConfigError
from dlcore.optim import SGD, Adagrad, Adam, AdamW, Exponential, Momentum, Optimizer, RMSprop

START = [0.5, -2.0, 3.0]
GRADIENTS = [[0.1, -1.0, 2.0], [0.3, 0.5, -4.0], [-0.2, 1.5, 0.0]]  # of three steps
CLOSE = {"rtol": 1e-12}  # float64; Adam's kernel multiplies both sides of its quotient by a root


def vector_model(arrays, start=START):
    """A model whose weights are the three numbers of ``start``."""
    model = nn.Dense(1, bias=False).build((3,), dtype="float64", device=arrays.device)
    model.w.data = [[x] for x in start]
    return model


def run(arrays, optimizer, start=START, gradients=GRADIENTS):
    """The weights after each step."""
    model = vector_model(arrays, start)
    optimizer.attach(model)
    after = []
    for gradient in gradients:
        model.w.grad = [[g] for g in gradient]
        optimizer.step()
        after.append(model.w.numpy().ravel().tolist())
        optimizer.zero_grad()
        assert not arrays.host(model.vector.grad).any()
    return after


def by_hand(rule):
    """The same with ``rule(theta, gradients so far)`` on one number at a time."""
    columns = []
    for i, theta in enumerate(START):
        column, seen = [], []
        for gradient in GRADIENTS:
            seen.append(gradient[i])
            theta = rule(theta, seen)
            column.append(theta)
        columns.append(column)
    return [list(row) for row in zip(*columns, strict=True)]


def average(gradients, beta):
    """(1 - beta) sum beta^(t-k) g_k: the exponentially weighted average, unrolled."""
    t = len(gradients)
    return (1 - beta) * sum(beta ** (t - k) * g for k, g in enumerate(gradients, 1))


def sgd(theta, g):
    return theta - 0.1 * g[-1]


def momentum(theta, g):
    return theta - 0.1 * average(g, 0.8)


def momentum_corrected(theta, g):
    return theta - 0.1 * average(g, 0.8) / (1 - 0.8 ** len(g))


def nesterov(theta, g):
    return theta - 0.1 * (0.8 * average(g, 0.8) + 0.2 * g[-1])


def nesterov_corrected(theta, g):
    return theta - 0.1 * (0.8 * average(g, 0.8) + 0.2 * g[-1]) / (1 - 0.8 ** (len(g) + 1))


def rmsprop(theta, g):
    square = average([x**2 for x in g], 0.8)
    return theta - 0.1 * g[-1] / (math.sqrt(square) + 0.05)


def adam(theta, g):
    t = len(g)
    mean = average(g, 0.8) / (1 - 0.8**t)
    square = average([x**2 for x in g], 0.95) / (1 - 0.95**t)
    return theta - 0.1 * mean / (math.sqrt(square) + 0.05)


def adamw(theta, g):
    return adam(theta, g) - 0.1 * 0.3 * theta


def adagrad(theta, g):
    return theta - 0.1 * g[-1] / (math.sqrt(sum(x**2 for x in g)) + 0.05)


# eps is large, so that a wrong place for it shows.
THREE_STEPS = {
    "SGD": (SGD(0.1), sgd),
    "Momentum": (Momentum(0.1, beta=0.8), momentum),
    "Momentum corrected": (Momentum(0.1, beta=0.8, bias_correction=True), momentum_corrected),
    "Nesterov": (Momentum(0.1, beta=0.8, nesterov=True), nesterov),
    "Nesterov corrected": (Momentum(0.1, beta=0.8, bias_correction=True, nesterov=True), nesterov_corrected),
    "RMSprop": (RMSprop(0.1, beta=0.8, eps=0.05), rmsprop),
    "Adam": (Adam(0.1, beta1=0.8, beta2=0.95, eps=0.05), adam),
    "AdamW": (AdamW(0.1, beta1=0.8, beta2=0.95, eps=0.05, decay=0.3), adamw),
    "AdamW without decay": (AdamW(0.1, beta1=0.8, beta2=0.95, eps=0.05, decay=0.0), adam),
    "Adagrad": (Adagrad(0.1, eps=0.05), adagrad),
}


@pytest.mark.parametrize("name", THREE_STEPS)
def test_three_steps_equal_the_formulas_worked_by_hand(arrays, name):
    optimizer, rule = THREE_STEPS[name]
    np.testing.assert_allclose(run(arrays, optimizer), by_hand(rule), **CLOSE)


def test_the_first_step_of_each_rule_in_numbers(arrays):
    """Worked out on paper: theta 1, gradient 2, learning rate 0.1."""
    expected = {
        SGD(0.1): 1 - 0.2,
        Momentum(0.1, beta=0.9): 1 - 0.02,
        Momentum(0.1, beta=0.9, bias_correction=True): 1 - 0.2,
        Momentum(0.1, beta=0.9, nesterov=True): 1 - 0.1 * (0.18 + 0.2),
        Momentum(0.1, beta=0.9, bias_correction=True, nesterov=True): 1 - 0.2,
        RMSprop(0.1, beta=0.75, eps=1.0): 1 - 0.2 / (1 + 1),
        Adam(0.1, eps=1.0): 1 - 0.2 / (2 + 1),
        AdamW(0.1, eps=1.0, decay=0.5): 0.95 - 0.2 / (2 + 1),
        Adagrad(0.1, eps=3.0): 1 - 0.2 / (2 + 3),
    }
    for optimizer, theta in expected.items():
        after = run(arrays, optimizer, [1.0, 1.0, 1.0], [[2.0, 2.0, 2.0]])
        np.testing.assert_allclose(after[0], theta, **CLOSE, err_msg=repr(optimizer))


def test_a_corrected_average_of_equal_gradients_is_that_gradient(arrays):
    """What bias correction is for: with it, the first steps are as long as the later ones."""
    for optimizer in (
        Momentum(0.1, bias_correction=True),
        Adam(0.1, eps=1e-15),
    ):
        after = run(arrays, optimizer, [0.0] * 3, [[1.0, 1.0, 1.0]] * 4)
        np.testing.assert_allclose(after, [[-0.1 * t] * 3 for t in (1, 2, 3, 4)], rtol=1e-12)


def test_the_other_convention_of_momentum_is_this_one_with_a_tenth_of_the_rate(arrays):
    """v = beta v + g with rate 0.01 takes the steps that the average takes with rate 0.1, as the docstring says."""
    beta, alpha = 0.9, 0.01
    theta, v, expected = np.array(START), np.zeros(3), []
    for g in np.array(GRADIENTS):
        v = beta * v + g
        theta = theta - alpha * v
        expected.append(theta.tolist())
    np.testing.assert_allclose(run(arrays, Momentum(alpha / (1 - beta), beta=beta)), expected, **CLOSE)


def test_momentum_with_beta_0_is_gradient_descent(arrays):
    np.testing.assert_allclose(run(arrays, Momentum(0.1, beta=0.0)), run(arrays, SGD(0.1)), **CLOSE)
    corrected = Momentum(0.1, beta=0.0, bias_correction=True, nesterov=True)
    np.testing.assert_allclose(run(arrays, corrected), run(arrays, SGD(0.1)), **CLOSE)


def test_rules_that_scale_do_not_care_how_large_the_gradients_are(arrays):
    large = [[1e3 * g for g in row] for row in GRADIENTS]
    for optimizer in (RMSprop(0.1, eps=1e-15), Adam(0.1, eps=1e-15), Adagrad(0.1, eps=1e-15)):
        scaled, plain = (run(arrays, optimizer, gradients=rows) for rows in (large, GRADIENTS))
        np.testing.assert_allclose(scaled, plain, rtol=1e-10)


def test_weight_decay_shrinks_weights_and_neither_biases_nor_norm_parameters(arrays):
    model = nn.Sequential(nn.Dense(2), nn.BatchNorm()).build((3,), seed=0, dtype="float64", device=arrays.device)
    model[0].b.data, model[1].beta.data = [1.0, 2.0], [3.0, 4.0]
    before = model.state_dict()
    AdamW(0.1, decay=0.5).attach(model).step()  # all gradients are zero
    after = model.state_dict()
    np.testing.assert_allclose(after["0.w"], 0.95 * before["0.w"], **CLOSE)
    for path in ("0.b", "1.gamma", "1.beta"):
        np.testing.assert_array_equal(after[path], before[path])


def test_decay_follows_the_learning_rate_and_its_scales(arrays):
    model = vector_model(arrays)
    model.vector.scale_lr("w", 0.5)
    optimizer = AdamW(0.1, decay=0.5).attach(model)
    optimizer.lr = 0.2
    optimizer.step()
    np.testing.assert_allclose(model.w.numpy().ravel(), 0.95 * np.array(START), **CLOSE)


@pytest.mark.parametrize("name", THREE_STEPS)
def test_a_step_leaves_the_gradients_alone(arrays, name):
    model = vector_model(arrays)
    optimizer = THREE_STEPS[name][0].attach(model)
    model.w.grad = [[1.0], [2.0], [3.0]]
    optimizer.step()
    assert arrays.host(model.w.grad).ravel().tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("name", [name for name in THREE_STEPS if name != "AdamW"])
def test_no_gradient_means_no_step_but_for_decay(arrays, name):
    assert run(arrays, THREE_STEPS[name][0], gradients=[[0.0] * 3] * 2) == [START] * 2


# --- the two problems that every rule must solve

SOLVERS = {  # name: (rule for the bowl, rule for the regression); the rates fit the rule and the problem
    "SGD": (lambda: SGD(0.018), lambda: SGD(0.3)),
    "Momentum": (lambda: Momentum(0.1), lambda: Momentum(0.3)),
    "Momentum corrected": (lambda: Momentum(0.1, bias_correction=True), lambda: Momentum(0.3, bias_correction=True)),
    "Nesterov": (lambda: Momentum(0.1, nesterov=True), lambda: Momentum(0.3, nesterov=True)),
    "RMSprop": (lambda: RMSprop(0.2), lambda: RMSprop(0.2)),
    "Adam": (lambda: Adam(0.2), lambda: Adam(0.2)),
    "AdamW": (lambda: AdamW(0.2, decay=0.0), lambda: AdamW(0.2, decay=0.0)),
    "Adagrad": (lambda: Adagrad(1.0), lambda: Adagrad(1.0)),
}


def rates(optimizer, steps):
    """Constant ones, but for RMSprop, whose steps do not shrink with the gradient: it would circle the minimum."""
    decay = Exponential(0.98 if isinstance(optimizer, RMSprop) else 1.0)
    return [decay(optimizer.lr, epoch=step) for step in range(steps)]


class Point(nn.Module):
    """Two numbers that are learnt."""

    def __init__(self, start):
        self.theta = nn.Parameter(start)

    def forward(self, x):
        return x * self.theta


@pytest.mark.parametrize("name", SOLVERS)
def test_every_rule_finds_the_bottom_of_a_narrow_bowl(name):
    """1/2 (x² + 100 y²) from (5, 1): 62.5 at the start."""
    model = Point([5.0, 1.0]).build((2,), dtype="float64")
    optimizer, curvature = SOLVERS[name][0]().attach(model), np.array([1.0, 100.0])
    for rate in rates(optimizer, steps=400):
        optimizer.lr = rate
        loss = (model.theta * model.theta * curvature).sum() * 0.5
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    # Within 0.01 of the bottom in both directions, from distances of 5 and 1. Gradient descent needs
    # log(500) / 0.018 = 345 steps for the flat one.
    assert np.abs(model.theta.numpy()).max() < 0.01, model.theta.numpy()


@pytest.mark.parametrize("name", SOLVERS)
def test_every_rule_fits_a_regression(name):
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(40, 3)), 0.1 * rng.normal(size=40)
    y = x @ [1.0, -2.0, 0.5] + 3.0 + noise
    exact = np.linalg.lstsq(np.column_stack([x, np.ones(40)]), y, rcond=None)[0]
    model = nn.Dense(1).build((3,), seed=0, dtype="float64")
    optimizer = SOLVERS[name][1]().attach(model)
    for rate in rates(optimizer, steps=300):
        optimizer.lr = rate
        F.mse(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    learnt = [*model.w.numpy().ravel(), *model.b.numpy()]
    np.testing.assert_allclose(learnt, exact, atol=1e-3)  # of coefficients of order 1


# --- using an optimiser


def test_an_optimiser_must_be_attached_first():
    for use in (Adam().step, Adam().zero_grad):
        with pytest.raises(ConfigError, match=r"Adam: attach\(model\) must come before"):
            use()


def test_an_optimiser_is_attached_to_a_built_model():
    with pytest.raises(ConfigError, match="not built"):
        SGD(0.1).attach(nn.Dense(3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_state_is_like_theta_and_starts_at_zero(arrays, dtype):
    model = nn.Dense(2).build((3,), dtype=dtype, device=arrays.device)
    for optimizer, names in [
        (SGD(0.1), []),
        (Momentum(0.1), ["velocity"]),
        (RMSprop(0.1), ["square"]),
        (Adam(), ["mean", "square"]),
        (AdamW(), ["mean", "square"]),
        (Adagrad(0.1), ["total"]),
    ]:
        optimizer.attach(model)
        assert list(optimizer.state) == names
        for array in optimizer.state.values():
            assert arrays.device.holds(array)
            assert array.shape == model.vector.theta.shape
            assert arrays.host(array).dtype == dtype
            assert not arrays.host(array).any()


def test_attaching_again_starts_anew(arrays):
    optimizer = Adam(0.1)
    first = run(arrays, optimizer)
    assert optimizer.steps == 3
    assert run(arrays, optimizer) == first


def test_the_learning_rate_may_change_between_steps(arrays):
    model = vector_model(arrays)
    optimizer = SGD(0.1).attach(model)
    for rate in (0.1, 0.5, 0.0):
        before = model.w.numpy()
        model.w.grad = [[1.0], [1.0], [1.0]]
        optimizer.lr = rate
        optimizer.step()
        np.testing.assert_allclose(before - model.w.numpy(), rate, rtol=1e-12, atol=1e-15)


def test_a_rule_of_ones_own_needs_only_an_update():
    class Sign(Optimizer):
        """theta = theta - alpha, for whatever gradient."""

        def update(self, vector, run, lr):
            vector.theta[run.place] -= lr

    model = nn.Dense(1, bias=False).build((2,))
    before = model.w.numpy()
    Sign(0.25).attach(model).step()
    np.testing.assert_allclose(before - model.w.numpy(), 0.25, rtol=1e-6)
    with pytest.raises(NotImplementedError, match="Optimizer defines no update"):
        Optimizer(0.1).attach(model).step()


def test_config_and_repr_tell_how_it_was_made():
    assert Adam(0.01, eps=1e-7).config == {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-7}
    assert repr(Adam(0.01, eps=1e-7)) == "Adam(lr=0.01, eps=1e-07)"
    assert repr(Adam()) == "Adam()"
    assert repr(Momentum(0.1, nesterov=True)) == "Momentum(lr=0.1, nesterov=True)"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SGD(-0.1), r"SGD: lr is -0.1 but a number >= 0 is expected"),
        (lambda: SGD("fast"), "lr is 'fast'"),
        (lambda: SGD(math.nan), "lr is nan"),
        (lambda: SGD(math.inf), "lr is inf"),
        (lambda: SGD(True), "lr is True"),
        (lambda: SGD(), "lr"),
        (lambda: Momentum(0.1, beta=1.0), r"Momentum: beta is 1.0 but a number in \[0, 1\)"),
        (lambda: RMSprop(0.1, beta=-0.1), "RMSprop: beta"),
        (lambda: RMSprop(0.1, eps=-1e-8), "RMSprop: eps"),
        (lambda: RMSprop(0.1, eps=0.0), "RMSprop: eps is 0 but a number above 0"),
        (lambda: Adam(eps=0), "Adam: eps is 0"),
        (lambda: Adagrad(0.1, eps=0), "Adagrad: eps is 0"),
        (lambda: Adam(beta1=1.0), "Adam: beta1"),
        (lambda: Adam(beta2=1.5), "Adam: beta2"),
        (lambda: AdamW(decay=-1), "AdamW: decay is -1"),
        (lambda: AdamW(beta1=1.0), "AdamW: beta1"),
        (lambda: Adagrad(0.1, eps=None), "Adagrad: eps is None"),
        (lambda: Adam(learning_rate=0.1), r"it takes lr, beta1, beta2, eps"),
        (lambda: Adam(beta=0.9), r"did you mean beta1\?|did you mean beta2\?"),
        (lambda: SGD(0.1, momentum=0.9), r"SGD: .*momentum.*it takes lr"),
    ],
    ids=range(20),
)
def test_wrong_settings_are_refused(make, words):
    with pytest.raises(ConfigError, match=words) as info:
        make()
    assert "\n" not in str(info.value)
