"""Searches: what is tried, by whom, what survives a kill, and what is refused."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tuning

from dlcore import tune
from dlcore.cli.commands.tune import _correlations
from dlcore.errors import CheckpointError, ConfigError, TrainingError
from dlcore.train.config.config import Config
from dlcore.tune.journal import opened
from dlcore.tune.pictures import scatter

LR = {"lr": tune.log(1e-5, 1.0)}
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits and signals")


def settings_of(study: tune.Study) -> list[dict[str, Any]]:
    return [dict(trial.settings) for trial in study.trials]


def test_two_workers_try_what_one_tries_and_a_killed_one_loses_nothing(tmp_path: Path) -> None:
    told: list[tune.Trial] = []
    objective = tuning.KillOnce(tmp_path / "killed")
    two = tune.search(objective, LR, trials=12, workers=2, folder=tmp_path / "s", on_trial=told.append, refine=True)
    assert (tmp_path / "killed").exists()
    assert sum(trial.state == "lost" for trial in told) == 1
    assert sum(trial.state == "done" for trial in told) == 12
    assert [(trial.number, trial.state) for trial in two.trials] == [(number, "done") for number in range(12)]
    one = tune.search(tuning.bowl, LR, trials=12, refine=True)
    assert settings_of(two) == settings_of(one)
    assert two.best.settings == one.best.settings


def test_a_trial_that_kills_every_process_is_given_up_after_three(tmp_path: Path) -> None:
    told: list[tune.Trial] = []
    study = tune.search(tuning.kill, {"lr": tune.choice(1e-3, 1e-1)}, method="grid", workers=2, folder=tmp_path,
                        on_trial=told.append)  # fmt: skip
    assert [trial.state for trial in study.trials] == ["done", "lost"]
    assert sum(trial.state == "lost" for trial in told) == 3


def test_a_search_that_was_ended_goes_on_and_what_is_done_counts(tmp_path: Path) -> None:
    tried: list[float] = []

    def objective(settings: dict[str, Any], report: Any) -> float:
        tried.append(settings["lr"])
        if len(tried) == 4:
            raise KeyboardInterrupt
        return settings["lr"]

    with pytest.raises(KeyboardInterrupt):
        tune.search(objective, LR, trials=6, folder=tmp_path)
    study = tune.search(objective, LR, trials=6, folder=tmp_path)
    assert len(tried) == 7  # the fourth twice
    assert [trial.state for trial in study.trials] == ["done"] * 6
    more = tune.search(objective, LR, trials=8, folder=tmp_path)
    assert len(tried) == 9
    assert settings_of(more)[:6] == settings_of(study)


def test_a_line_that_a_killed_process_left_unfinished_is_cut_off(tmp_path: Path) -> None:
    tune.search(tuning.bowl, LR, trials=2, folder=tmp_path)
    journal = tmp_path / "tune.log"
    journal.write_bytes(journal.read_bytes() + b'{"op_code":5,"work')
    assert len(tune.search(tuning.bowl, LR, trials=4, folder=tmp_path).trials) == 4
    for line in journal.read_text().splitlines():
        json.loads(line)


@pytest.mark.parametrize("line", [0, 3, -1])
def test_a_damaged_line_is_named_and_nothing_is_changed(tmp_path: Path, line: int) -> None:
    tune.search(tuning.bowl, LR, trials=2, folder=tmp_path)
    journal = tmp_path / "tune.log"
    lines = journal.read_bytes().splitlines()
    lines[line] = lines[line][:20]
    damaged = b"\n".join(lines) + b"\n"
    journal.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=rf"line {line % len(lines) + 1} is damaged"):
        tune.search(tuning.bowl, LR, trials=2, folder=tmp_path)
    assert journal.read_bytes() == damaged


@posix
def test_a_full_disk_ends_the_search_and_fails_no_trial(tmp_path: Path) -> None:
    tried: list[float] = []

    def objective(settings: dict[str, Any], report: Any) -> float:
        tried.append(settings["lr"])
        if len(tried) == 3:
            with tuning.full_disk(tmp_path / "tune.log"):
                report(1.0)
        return settings["lr"]

    with pytest.raises(CheckpointError, match=r"tune\.log: cannot be written .* make room"):
        tune.search(objective, LR, trials=5, folder=tmp_path)
    study = tune.search(objective, LR, trials=5, folder=tmp_path)
    assert [trial.state for trial in study.trials] == ["done"] * 5
    assert len(tried) == 6  # the third twice


@posix
def test_a_worker_that_cannot_write_says_nothing_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study = tune.search(tuning.FullOnce(tmp_path), LR, trials=4, workers=2, folder=tmp_path)
    assert [trial.state for trial in study.trials] == ["done"] * 4
    assert "Traceback" not in capfd.readouterr().err


@posix
def test_ctrl_c_is_for_the_process_that_looks_after_the_workers(tmp_path: Path) -> None:
    study = tune.search(tuning.hears_ctrl_c, LR, trials=4, workers=2, folder=tmp_path)
    assert [trial.value for trial in study.trials] == [0.0] * 4


def test_the_points_of_both_grids_are_numbered_through() -> None:
    study = tune.search(tuning.bowl, {"lr": tune.log(1e-5, 1.0, points=3)}, method="grid", refine=True)
    assert [trial.number for trial in study.trials] == list(range(len(study.trials)))
    assert [trial.round for trial in study.trials[2:4]] == ["coarse", "fine"]


def test_the_journal_is_optunas_own(tmp_path: Path) -> None:
    import optuna

    study = tune.search(tuning.bowl, LR, trials=5, folder=tmp_path)
    held = optuna.load_study(study_name="coarse", storage=opened(tmp_path))
    assert held.best_value == study.best.value
    assert held.best_params == dict(study.best.settings)


def test_the_second_round_lies_within_what_the_best_of_the_first_span() -> None:
    study = tune.search(tuning.bowl, LR, trials=24, refine=True)
    coarse, fine = study.trials[:12], study.trials[12:]
    best = sorted(coarse, key=lambda trial: trial.value or 0.0)[:3]  # a quarter of 12
    places = [np.log10(trial.settings["lr"]) for trial in best]
    assert study.fine is not None
    low, high = study.fine["lr"].low, study.fine["lr"].high  # type: ignore[union-attr]
    assert np.log10(low) == pytest.approx(max(min(places) - 5 / 13, -5), abs=1e-5)
    assert np.log10(high) == pytest.approx(min(max(places) + 5 / 13, 0), abs=1e-5)
    assert all(trial.round == "fine" and low <= trial.settings["lr"] <= high for trial in fine)


def test_pruned_and_diverged_trials_count_for_how_densely_the_first_round_was_tried() -> None:
    def objective(settings: dict[str, Any], report: Any) -> float:
        if settings["lr"] > 1e-2:
            raise TrainingError("the loss is nan")
        return tuning.bowl(settings, report)

    study = tune.search(objective, LR, trials=24, refine=True)
    done = sorted((t for t in study.trials[:12] if t.state == "done"), key=lambda trial: trial.value or 0.0)
    assert len(done) < 10
    assert study.fine is not None
    low = min(np.log10(trial.settings["lr"]) for trial in done[:2])  # a quarter, at least 2
    assert np.log10(study.fine["lr"].low) == pytest.approx(low - 5 / 13, abs=1e-5)  # type: ignore[union-attr]


@pytest.mark.parametrize("prune", ["median", "halving"])
def test_pruning_ends_the_worse_trials_early_and_spares_the_best(prune: str) -> None:
    def objective(settings: dict[str, Any], report: Any) -> float:
        for _ in range(9):
            report(settings["lr"])
        return settings["lr"]

    study = tune.search(objective, LR, trials=20, prune=prune)
    pruned = [trial for trial in study.trials if trial.state == "pruned"]
    assert 4 <= len(pruned) < 18
    assert all(len(trial.reported) < 9 for trial in pruned)
    assert study.best.value == min(trial.settings["lr"] for trial in study.trials)


def test_pruned_trials_count_for_the_correlation_and_are_told() -> None:
    def objective(settings: dict[str, Any], report: Any) -> float:
        for _ in range(9):
            report(settings["lr"])
        return settings["lr"]

    study = tune.search(objective, LR, trials=20, prune="median", refine=True)
    first, both = (
        sum(trial.state == "pruned" and trial.round in rounds for trial in study.trials)
        for rounds in (("coarse",), ("coarse", "fine"))
    )
    assert 1 < first < both
    assert _correlations(study)[-1].startswith(f"pruned in the first round: {first}, ")
    found = study.correlations()["lr"]
    assert found is not None
    assert found.n == 10  # with the half of 20 that the first round has
    assert found.rho == pytest.approx(1.0)
    drawn = scatter(study)
    assert drawn.get_supxlabel() == f"orange: the best; hollow: the first round; ×: {both} pruned, at their last figure"
    assert sum(line.get_marker() == "x" for line in drawn.axes[0].get_lines()) == both


def test_what_diverges_counts_as_tried_and_as_the_worst() -> None:
    def objective(settings: dict[str, Any], report: Any) -> float:
        if settings["lr"] > 1e-2:
            raise TrainingError("the loss is nan")
        return -settings["lr"]

    study = tune.search(objective, LR, trials=30)
    states = [trial.state for trial in study.trials]
    assert {"done", "diverged"} == set(states)
    found = study.correlations()["lr"]
    assert found is not None
    assert found.n == 30
    assert study.best.settings["lr"] == max(t.settings["lr"] for t in study.trials if t.state == "done")


def test_a_run_that_diverges_does_so_without_warnings() -> None:
    config = Config.of(data="penguins", target="sex", penalty="l2", lam=1e6, optimizer="sgd", epochs=1, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = tune.search(config, {"lr": tune.log(1e4, 1e5)}, trials=2)
    assert [trial.state for trial in study.trials] == ["diverged"] * 2


def test_a_search_in_which_all_fail_says_why() -> None:
    def objective(settings: dict[str, Any], report: Any) -> float:
        raise ValueError("no such luck")

    with pytest.raises(TrainingError, match=r"none of the 3 trials .* no such luck"):
        _ = tune.search(objective, LR, trials=3).best


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": 1}, "seed is 0 there but 1"),
        ({"space": {"lr": tune.log(1e-4, 1.0)}}, "lr is log:1e-05"),
        ({"maximize": True}, "maximize"),
        ({"trials": 2}, "3 trials but 2"),
    ],
)
def test_a_journal_of_another_search_is_refused(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    tune.search(tuning.bowl, LR, trials=3, folder=tmp_path)
    asked: dict[str, Any] = {"space": LR, "trials": 3, "folder": tmp_path}
    with pytest.raises(ConfigError, match=words):
        tune.search(tuning.bowl, **(asked | changed))


def test_a_search_is_not_mixed_with_a_run(tmp_path: Path) -> None:
    (tmp_path / "model.json").touch()
    with pytest.raises(ConfigError, match="holds a run; choose another"):
        tune.search(tuning.bowl, LR, trials=2, folder=tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.json"]


def test_a_journal_of_other_data_is_refused(tmp_path: Path) -> None:
    space = {"lr": tune.log(1e-3, 1e-1)}
    tune.search(Config.of(data="penguins", target="species", epochs=1), space, trials=1, folder=tmp_path)
    with pytest.raises(ConfigError, match="another search"):
        tune.search(Config.of(data="penguins", target="sex", epochs=1), space, trials=1, folder=tmp_path)


@pytest.mark.parametrize(("metric", "taken"), [(None, "dev_loss"), ("dev_sex_accuracy", "dev_sex_accuracy")])
def test_several_heads_are_searched_by_their_loss_or_by_the_metric_of_one(metric: str | None, taken: str) -> None:
    config = Config.of(data="penguins", heads=("species", "sex"), epochs=1, device="cpu")
    study = tune.search(config, {"lr": tune.log(1e-3, 1e-1)}, trials=2, metric=metric)
    assert [trial.state for trial in study.trials] == ["done"] * 2
    assert (study.metric, study.maximize) == (taken, taken != "dev_loss")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"space": {"learning": tune.log(1e-3, 1)}}, "not a setting"),
        ({"space": {"dropuot": tune.uniform(0, 0.5)}}, "did you mean dropout"),
        ({"space": {"dropout": tune.uniform(0, 1.5)}}, r"\[0, 1\)"),
        ({"space": {"data": tune.choice("digits", "cars")}}, "not to be searched"),
        ({"space": {"batch_size": tune.log(8, 64)}}, "integers"),
        ({"space": {"beta1": tune.uniform(0.5, 0.9), "optimizer": tune.choice("adam", "sgd")}}, "beta1 goes with"),
        ({"space": LR, "metric": "dev_acuracy"}, "did you mean dev_accuracy"),
        ({"space": LR, "method": "gird"}, "did you mean grid"),
        ({"space": LR, "workers": 2}, "folder"),
        ({"space": LR, "method": "grid", "trials": 4}, "5 points"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        tune.search(Config.of(data="digits", model="mlp", epochs=1), **asked)
    assert "\n" not in str(caught.value)


def test_an_objective_that_no_other_process_can_import_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers=1"):
        tune.search(lambda settings, report: 0.0, LR, trials=2, workers=2, folder=tmp_path)


@pytest.mark.full
def test_coarse_to_fine_beats_random_search_at_the_same_budget() -> None:
    """Of 32 trials on a noisy bowl in log lr and log lam, over ten seeds: the mean of the best true figures."""
    space = {"lr": tune.log(1e-5, 1.0), "lam": tune.log(1e-6, 1.0)}
    found = {}
    for refine in (False, True):
        regrets = []
        for seed in range(10):
            best = tune.search(
                lambda s, _, seed=seed: tuning.noisy(s, seed), space, trials=32, refine=refine, seed=seed
            ).best
            a, b = np.log10(best.settings["lr"]) + 2.3, np.log10(best.settings["lam"]) + 3.4
            regrets.append(a**2 + 0.5 * b**2 + 0.3 * a * b)
        found[refine] = float(np.mean(regrets))
    print(found)
    assert found[True] < 0.7 * found[False]
