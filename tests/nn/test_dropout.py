"""Dropout layers: what names a mask."""

import numpy as np
import pytest

from backends import random
from dlcore import functional as F
from dlcore import nn
from dlcore.optim import SGD

ONES = np.ones((8, 16), dtype=np.float32)


def model_on(arrays, seed=0):
    return nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5)).build((16,), seed=seed, device=arrays.device)


def test_masks_differ_between_layers_calls_and_steps(arrays):
    model, x = model_on(arrays), arrays.place(ONES)
    masks = [model[0](x).numpy(), model[1](x).numpy(), model[0](x).numpy()]
    model.clock.step = 1
    masks += [model[0](x).numpy(), model[1](x).numpy()]
    masks.append(model_on(arrays, seed=1)[0](x).numpy())
    for i, first in enumerate(masks):
        for second in masks[:i]:
            assert (first != second).any()


def test_masks_are_equal_for_equal_seed_step_and_call_on_every_kind_of_array(arrays):
    model, again = model_on(arrays), nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5)).build((16,), seed=0)
    x = arrays.place(ONES)
    for step in (0, 3):
        model.clock.step = again.clock.step = step
        for _ in range(2):
            np.testing.assert_array_equal(model(x).numpy(), again(ONES).numpy())


def test_a_step_that_is_taken_again_draws_the_same_masks(arrays):
    model, x = model_on(arrays), arrays.place(ONES)
    first = [model[0](x).numpy(), model[0](x).numpy()]
    model.clock.step = 1
    model[0](x)
    model.clock.step = 0
    np.testing.assert_array_equal(model[0](x).numpy(), first[0])
    np.testing.assert_array_equal(model[0](x).numpy(), first[1])


def test_a_mask_is_named_by_seed_path_step_call_and_row(arrays):
    model, x = model_on(arrays, seed=5), arrays.place(ONES)
    model.clock.step, model.clock.first_row = 7, 3
    model[1](x)
    key = random.derive(5, "dropout", "1", 7, 1)  # the second call of this step
    expected = F.dropout(x, 0.5, key=key, first_row=3).numpy()
    np.testing.assert_array_equal(model[1](x).numpy(), expected)


def test_each_optimiser_step_brings_new_masks(arrays):
    model = nn.Sequential(nn.Dense(16), nn.Dropout(0.5)).build((16,), device=arrays.device)
    optimizer, x = SGD(0.0).attach(model), arrays.place(ONES)
    first = model(x)
    first.sum().backward()
    optimizer.step()
    assert (first.numpy() != model(x).numpy()).any()


def test_evaluation_passes_its_input_on(arrays):
    model = model_on(arrays).eval()
    x = arrays.place(ONES)
    assert model(x).data is x


@pytest.mark.parametrize("rate", [0.0, 0.25])
def test_the_mean_is_kept(arrays, rate):
    layer = nn.Dropout(rate).build((1000,), device=arrays.device)
    y = layer(arrays.place(np.ones((40, 1000), np.float32))).numpy()
    # Five standard deviations of the mean of 40,000 elements of variance rate / (1 - rate).
    assert abs(y.mean() - 1) <= 5 * np.sqrt(rate / (1 - rate) / y.size) + 1e-6
    assert (y == 0).any() == (rate > 0)


def test_dropout_draws_do_not_change_the_initial_weights():
    plain = nn.Sequential(nn.Dense(3), nn.ReLU()).build((4,), seed=1)
    dropped = nn.Sequential(nn.Dense(3), nn.Dropout(0.5)).build((4,), seed=1)
    np.testing.assert_array_equal(plain[0].w.numpy(), dropped[0].w.numpy())
