"""Freezing: what is frozen moves by no bit under any rule, and the rest learns as before."""

import numpy as np
import pytest
from samples import RULES, model_on, numbers, train

from dlcore import nn
from dlcore.errors import ConfigError
from dlcore.optim import L1, L2, Adam, AdamW


def test_freezing_moves_nothing_and_records_nothing(arrays):
    model = model_on(arrays)
    theta, before = model.vector.theta, arrays.host(model.vector.theta).copy()
    starts = [s.start for s in model.vector.segments]
    assert model.freeze("0.*") is model
    assert model.vector.theta is theta
    np.testing.assert_array_equal(arrays.host(theta), before)
    assert [s.start for s in model.vector.segments] == starts
    assert not model[0].w.requires_grad
    y = model[0](arrays.place(numbers(2, 7)))
    assert y.node is None


@pytest.mark.parametrize("penalty", [None, L2(0.5), L1(0.5)], ids=["none", "L2", "L1"])
@pytest.mark.parametrize("rule", RULES)
def test_a_frozen_segment_stays_bit_identical_under_every_rule(arrays, rule, penalty):
    model = model_on(arrays)
    optimizer = RULES[rule]().attach(model)
    train(arrays, model, optimizer, penalty=penalty)  # so that there is momentum to go on with
    model.freeze("0")
    before = model.state_dict()
    train(arrays, model, optimizer, penalty=penalty)
    after = model.state_dict()
    for path in ("0.w", "0.b"):
        np.testing.assert_array_equal(after[path], before[path])
    for path in ("1.gamma", "3.w", "3.b"):
        assert (after[path] != before[path]).any()
    model.unfreeze("0")
    train(arrays, model, optimizer, penalty=penalty)
    assert (model.state_dict()["0.w"] != before["0.w"]).any()


def test_freezing_leaves_the_other_segments_on_the_same_path(arrays):
    """What is learnt above a frozen trunk is what is learnt above one that cannot move."""
    free, frozen = model_on(arrays), model_on(arrays)
    free.vector.scale_lr("0.w", 0.0)
    free.vector.scale_lr("0.b", 0.0)
    frozen.freeze("0")
    for model in (free, frozen):
        train(arrays, model, Adam(0.01).attach(model))
    for path, value in free.state_dict().items():
        np.testing.assert_array_equal(value, frozen.state_dict()[path], err_msg=path)


@pytest.mark.parametrize(
    ("pattern", "frozen"),
    [
        ("0.w", {"0.w"}),
        ("0", {"0.w", "0.b"}),
        ("1", {"1.gamma", "1.beta"}),
        ("*.w", {"0.w", "3.w"}),
        ("?.b", {"0.b", "3.b"}),
        ("[03].w", {"0.w", "3.w"}),
        ("*", {"0.w", "0.b", "1.gamma", "1.beta", "3.w", "3.b"}),
    ],
)
def test_patterns_match_paths_modules_and_wildcards(pattern, frozen):
    model = nn.Sequential(nn.Dense(5), nn.BatchNorm(), nn.ReLU(), nn.Dense(3)).build((7,))
    model.freeze(pattern)
    assert {s.path for s in model.vector.segments if not s.active} == frozen
    assert {path for path, p in model.named_parameters() if not p.requires_grad} == frozen
    model.unfreeze(pattern)
    assert all(s.active for s in model.vector.segments)


def test_a_module_is_not_matched_by_the_start_of_its_name():
    model = nn.Sequential(*[nn.Dense(2) for _ in range(11)]).build((2,))
    model.freeze("1")
    assert {s.path for s in model.vector.segments if not s.active} == {"1.w", "1.b"}  # not 10


def test_a_pattern_that_matches_nothing_is_refused_with_the_paths():
    model = nn.Sequential(nn.Dense(5), nn.Dense(3)).build((7,))
    with pytest.raises(ConfigError, match=r"'0\.v' matches no parameter \(did you mean 0\.w\?\); there are 0\.w, 0\.b"):
        model.freeze("0.v")


@pytest.mark.parametrize("pattern", [0, ["0", "1"], None])
def test_a_pattern_is_a_text(pattern):
    model = nn.Sequential(nn.Dense(5), nn.Dense(3)).build((7,))
    with pytest.raises(ConfigError, match="came but a pattern is expected"):
        model.freeze(pattern)


def test_freezing_everything_leaves_nothing_to_update(arrays):
    model = model_on(arrays).freeze("*")
    before = arrays.host(model.vector.theta).copy()
    optimizer = AdamW(0.1, decay=0.5).attach(model)
    optimizer.step()
    assert model.vector.runs() == []
    np.testing.assert_array_equal(arrays.host(model.vector.theta), before)


def test_building_again_keeps_what_was_frozen():
    model = nn.Sequential(nn.Dense(5), nn.Dense(3)).build((7,)).freeze("0")
    model.build((7,))
    assert [s.active for s in model.vector.segments] == [False, False, True, True]
