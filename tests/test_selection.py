"""The best run that is good enough, and why others are not."""

from __future__ import annotations

import pytest

from dlcore import ConfigError
from dlcore.metrics import SelectionPolicy

RUNS = {
    "small": {"accuracy": 0.88, "ms_per_image": 2.0, "loss": 0.3},
    "large": {"accuracy": 0.93, "ms_per_image": 9.0, "loss": 0.5},
    "middle": {"accuracy": 0.90, "ms_per_image": 5.0, "loss": 0.4},
}


def test_the_best_that_satisfies_all_is_chosen() -> None:
    assert SelectionPolicy("accuracy").choose(RUNS) == "large"
    assert SelectionPolicy("loss").choose(RUNS) == "small"
    assert SelectionPolicy("accuracy", {"ms_per_image": ("<=", 5)}).choose(RUNS) == "middle"
    assert SelectionPolicy("accuracy", {"ms_per_image": ("<", 5)}).choose(RUNS) == "small"
    assert SelectionPolicy("loss", larger_is_better=True).choose(list(RUNS.values())) is RUNS["large"]


@pytest.mark.parametrize(
    ("figure", "chosen"),
    [
        ("f1", "much"), ("r2", "much"), ("dev_accuracy", "much"), ("images_per_second", "much"),
        ("rmse", "little"), ("mae", "little"), ("error_rate", "little"), ("train_error", "little"),
        ("latency_ms", "little"), ("ms_per_image", "little"), ("size_mb", "little"),
    ],
)  # fmt: skip
def test_which_way_a_figure_is_better_is_known_by_its_name(figure: str, chosen: str) -> None:
    assert SelectionPolicy(figure).choose({"little": {figure: 1.0}, "much": {figure: 2.0}}) == chosen


def test_none_comes_with_reasons() -> None:
    policy = SelectionPolicy("accuracy", {"ms_per_image": ("<=", 1), "loss": ("<", 0.35)})
    assert policy.choose(RUNS) is None
    assert policy.reasons(RUNS)["large"] == "ms_per_image is 9, not <= 1, loss is 0.5, not < 0.35"
    assert set(policy.reasons(RUNS)) == set(RUNS)


def test_what_was_not_recorded_is_never_chosen() -> None:
    runs = {"a": {"accuracy": float("nan")}, "b": {"accuracy": 0.1}, "c": {"loss": 0.0}}
    assert SelectionPolicy("accuracy").choose(runs) == "b"
    assert SelectionPolicy("accuracy").reasons(runs)["c"] == "accuracy was not recorded"


def test_bad_input_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean accuracy"):
        SelectionPolicy("acuracy").choose(RUNS)
    with pytest.raises(ConfigError, match="no runs came"):
        SelectionPolicy("accuracy").choose({})
    with pytest.raises(ConfigError, match="a sign and a limit"):
        SelectionPolicy("accuracy", {"loss": ("=", 1)})
