"""gradient_check_function: plain functions of arrays, argument by argument."""

import numpy as np
import pytest
from wrong_gradients import RIGHT, STRICT, plant, rng, scale

from backends.dispatch import reference_only
from backends.reference import elementwise, linear
from backends.runtime import copies
from dlcore import functional as F
from dlcore.errors import ConfigError, GraphError
from dlcore.tensor import no_grad
from dlcore.testing import gradient_check_function


def read_only(a):
    a = np.array(a, order="F")
    a.flags.writeable = False
    return a


PLACES = pytest.mark.parametrize(
    "place", [None, read_only, lambda a: copies.to_device(a, STRICT)], ids=["numpy", "read-only", "strict"]
)


@PLACES
def test_a_right_function_passes_on_every_library(place):
    x, w, b = rng().normal(size=(2, 5, 5, 3)), rng().normal(size=(3, 3, 3, 4)), rng().normal(size=4)
    check = gradient_check_function(lambda x, w, b: F.conv2d(x, w, b, stride=2), x, w, b, place=place)
    assert check
    assert check.relative_error < RIGHT


@PLACES
def test_integer_arguments_are_passed_on(place):
    logits, labels = rng().normal(size=(6, 4)), rng().integers(0, 4, 6)
    check = gradient_check_function(F.cross_entropy, logits, labels, place=place)
    assert check.relative_error < RIGHT
    assert check.worst == "argument 0"


@PLACES
@pytest.mark.parametrize("argument", [0, 1, 2])
def test_a_wrong_argument_is_named(monkeypatch, argument, place):
    plant(monkeypatch, linear.linear, scale(argument, 1.01))
    inputs = rng().normal(size=(6, 4)), rng().normal(size=(4, 3)), rng().normal(size=3)
    with reference_only():
        check = gradient_check_function(F.linear, *inputs, place=place)
    assert not check
    assert check.worst == f"argument {argument}"


def test_a_wrong_large_argument_is_named(monkeypatch):
    plant(monkeypatch, linear.linear, scale(1, 1.01))
    inputs = rng().normal(size=(50, 60)), rng().normal(size=(60, 40)), rng().normal(size=40)
    with reference_only():
        check = gradient_check_function(F.linear, *inputs)
    assert not check
    assert check.worst == "argument 1"


def test_every_element_of_the_output_is_looked_at(monkeypatch):
    def exchange(xp, dy, saved, **params):
        return (-xp.flip(dy, axis=0),)

    monkeypatch.setattr(elementwise.negative, "backward", exchange)
    with reference_only():  # the gradient of a plain sum would be right
        assert not gradient_check_function(lambda x: -x, rng().normal(size=5))


def test_statistics_of_a_batch_can_be_checked_as_a_function():
    x, gamma, beta = rng().normal(size=(6, 3)), rng().normal(size=3), rng().normal(size=3)
    assert gradient_check_function(lambda *a: F.batch_norm(*a)[0], x, gamma, beta).relative_error < RIGHT


def test_the_same_argument_twice_and_an_unused_one_pass():
    x = rng().normal(size=(3, 3))
    check = gradient_check_function(lambda x, unused: (x @ x) * x, x, [1.0])
    assert check.relative_error < RIGHT
    assert check.worst == "argument 0"


def test_a_gradient_that_is_cut_off_is_found():
    assert not gradient_check_function(lambda x: x * x.detach(), [1.0, 2.0])


def test_inputs_are_not_changed_and_float32_is_checked_in_float64():
    x = rng().normal(size=(3, 2)).astype(np.float32)
    before = x.tobytes()
    assert gradient_check_function(lambda x: x.exp(), x).relative_error < RIGHT
    assert x.tobytes() == before


def test_a_function_without_a_floating_point_argument_is_refused():
    with pytest.raises(ConfigError, match="no floating-point input"):
        gradient_check_function(lambda x: x, [1, 2])


def test_inside_no_grad_there_is_nothing_to_check():
    with no_grad(), pytest.raises(GraphError, match="nothing was recorded"):
        gradient_check_function(lambda x: x.exp(), [1.0])
