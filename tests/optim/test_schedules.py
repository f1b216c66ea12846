"""Each schedule against values worked by hand: epochs count from 0, the step t from 1."""

import math

import pytest

from dlcore.errors import ConfigError
from dlcore.optim import (
    Constant,
    Cosine,
    Exponential,
    InverseSqrt,
    InverseTime,
    Piecewise,
    Schedule,
    Staircase,
    Warmup,
)

# schedule: {(epoch, step): rate}, from the base rate 0.2
BY_HAND = {
    Constant(): {(0, 1): 0.2, (99, 1000): 0.2},
    InverseTime(1.0): {(0, 1): 0.2, (1, 9): 0.1, (3, 99): 0.05},
    InverseTime(0.5): {(0, 1): 0.2, (2, 9): 0.1, (6, 99): 0.05},
    InverseTime(0.0): {(7, 1): 0.2},
    Exponential(0.95): {(0, 1): 0.2, (1, 9): 0.19, (2, 99): 0.1805},
    Exponential(1.0): {(5, 1): 0.2},
    InverseSqrt(): {(0, 1): 0.2, (0, 4): 0.1, (3, 16): 0.05},
    InverseSqrt(2.0, per="step"): {(0, 1): 0.4, (7, 4): 0.2},
    InverseSqrt(1.0, per="epoch"): {(0, 50): 0.2, (3, 50): 0.1, (15, 50): 0.05},  # its epoch counts from 1
    Staircase(0.5, every=10): {(0, 1): 0.2, (9, 1): 0.2, (10, 1): 0.1, (19, 1): 0.1, (20, 1): 0.05},
    Staircase(0.1, every=1): {(0, 1): 0.2, (1, 1): 0.02, (2, 1): 0.002},
    Piecewise({4: 0.01, 2: 0.05}): {(0, 1): 0.2, (1, 1): 0.2, (2, 1): 0.05, (3, 1): 0.05, (4, 1): 0.01, (99, 1): 0.01},
    Piecewise({0: 0.3}): {(0, 1): 0.3},  # absolute rates, not factors
    Piecewise({"3": 0.1}): {(2, 1): 0.2, (3, 1): 0.1},  # TOML's keys are words
    Cosine(4): {(0, 1): 0.2, (1, 1): 0.1 * (1 + math.sqrt(0.5)), (2, 1): 0.1, (4, 1): 0.0, (9, 1): 0.0},
    Cosine(4, floor=0.1): {(0, 1): 0.2, (2, 1): 0.11, (4, 1): 0.02, (9, 1): 0.02},
    Warmup(4): {(0, 1): 0.05, (0, 2): 0.1, (0, 4): 0.2, (1, 5): 0.2},
    Warmup(4, then=Exponential(0.5)): {(0, 1): 0.05, (0, 4): 0.2, (1, 2): 0.05, (1, 8): 0.1, (2, 12): 0.05},
    Warmup(2, then=InverseSqrt()): {(0, 1): 0.1, (0, 2): 0.2 / math.sqrt(2), (0, 4): 0.1},
}


@pytest.mark.parametrize("schedule", BY_HAND, ids=repr)
def test_a_schedule_equals_values_worked_by_hand(schedule):
    for (epoch, step), rate in BY_HAND[schedule].items():
        # A few roundings in float64; the cosine of pi/2 is 6e-17.
        assert schedule(0.2, epoch=epoch, step=step) == pytest.approx(rate, rel=1e-14, abs=1e-16), (epoch, step)


@pytest.mark.parametrize("schedule", BY_HAND, ids=repr)
def test_the_base_rate_is_a_factor_and_the_first_rate_is_the_default(schedule):
    assert schedule(0.2) == schedule(0.2, epoch=0, step=1)
    if not isinstance(schedule, Piecewise):
        assert schedule(0.4, 3, 7) == pytest.approx(2 * schedule(0.2, 3, 7), rel=1e-14)


def test_schedules_can_be_rebuilt_from_their_config():
    for schedule in BY_HAND:
        again = type(schedule)(**schedule.config)
        assert [again(0.2, epoch, 3) for epoch in range(6)] == [schedule(0.2, epoch, 3) for epoch in range(6)]
    assert repr(Warmup(10, then=Cosine(5))) == "Warmup(steps=10, then=Cosine(epochs=5))"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: InverseTime(-1), "InverseTime: decay is -1 but a number >= 0"),
        (lambda: InverseTime("slow"), "decay is 'slow'"),
        (lambda: Exponential(0), r"base is 0 but a number in \(0, 1\]"),
        (lambda: Exponential(1.05), "base is 1.05"),
        (lambda: Exponential("0.95"), "base is '0.95'"),
        (lambda: InverseSqrt(per="batch"), "per is 'batch' but 'step' or 'epoch'"),
        (lambda: InverseSqrt(-1), "k is -1"),
        (lambda: InverseSqrt(math.inf), "k is inf"),
        (lambda: Staircase(every=0), "every is 0"),
        (lambda: Staircase(factor=-0.5), "factor is -0.5"),
        (lambda: Piecewise({}), r"\{\} came but \{epoch: rate\}"),
        (lambda: Piecewise({-1: 0.1}), "numbers >= 0"),
        (lambda: Piecewise({1: -0.1}), "numbers >= 0"),
        (lambda: Piecewise({1: math.nan}), "numbers >= 0"),
        (lambda: Piecewise({"late": 0.1}), "numbers >= 0"),
        (lambda: Piecewise([0.1]), "numbers >= 0"),
        (lambda: Cosine(0), "epochs is 0"),
        (lambda: Cosine(5, floor=-1), "floor is -1"),
        (lambda: Warmup(0), "steps is 0"),
        (lambda: Warmup(5, then=0.1), "then is 0.1 but a schedule"),
        (lambda: Cosine(epoch=5), r"did you mean epochs\?"),
        (lambda: Constant(3), "Constant: 3 came but it takes no arguments"),
    ],
    ids=range(22),
)
def test_wrong_settings_are_refused(make, words):
    with pytest.raises(ConfigError, match=words) as info:
        make()
    assert "\n" not in str(info.value)


def test_a_schedule_of_ones_own_needs_only_a_call():
    class Twice(Schedule):
        def __call__(self, lr, epoch=0, step=1):
            return 2 * lr

    assert Warmup(2, then=Twice())(0.2, step=1) == 0.2
    with pytest.raises(NotImplementedError, match="Schedule defines no __call__"):
        Schedule()(0.1)


@pytest.mark.parametrize(
    ("schedule", "place"),
    [(InverseSqrt(), {"step": 0}), (InverseSqrt(), {"step": -3}), (InverseSqrt(per="epoch"), {"epoch": -1})],
)
def test_an_inverse_root_of_no_step_is_refused(schedule, place):
    with pytest.raises(ConfigError, match="count from 1"):
        schedule(0.1, **place)
