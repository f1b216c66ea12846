"""The m of λ/m is that of the training set, whatever the batches are; own loops and iterables say it themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import job
import numpy as np
import pytest

import dlcore as dl
from dlcore.optim.penalties import Penalty
from dlcore.train.checkpoint import snapshot
from dlcore.train.config.config import Config, PenaltyConfig

LR = 0.5


def _data(n: int) -> dl.data.Dataset:
    rng = np.random.default_rng(4)
    return dl.data.Dataset(rng.standard_normal((n, 3)), rng.integers(0, 2, n))


def _no_loss(outputs: dl.Tensor, y: Any) -> dl.Tensor:
    """Only the penalty moves the weights."""
    return outputs.sum() * 0.0


def _trainer(penalty: Penalty, **settings: Any) -> dl.Trainer:
    model = dl.nn.Dense(2, init=dl.nn.init.uniform(1.0, 1.0))
    model.build((3,), dtype="float64" if not settings else "float32")
    return dl.Trainer(model, _no_loss, dl.optim.SGD(LR), penalty=penalty, device="cpu", seed=0, **settings)


@pytest.mark.parametrize("size", [1, 4, 5, 16, 17])
def test_a_step_shrinks_the_weights_by_the_training_sets_m_whatever_the_batch(size: int) -> None:
    """17 examples: the last batch of 4s and of 16s holds one example, and counts like any other."""
    trainer = _trainer(dl.optim.L2(3.4))
    trainer.fit(_data(17), epochs=2, batch_size=size)
    steps = 2 * -(-17 // size)
    np.testing.assert_allclose(trainer.model.w.numpy(), (1 - LR * 3.4 / 17) ** steps, rtol=1e-12)


def test_l1_takes_the_training_sets_m_too() -> None:
    trainer = _trainer(dl.optim.L1(3.4))
    history = trainer.fit(_data(17), epochs=1, batch_size=16)
    np.testing.assert_allclose(trainer.model.w.numpy(), 1 - 2 * LR * 3.4 / (2 * 17), rtol=1e-12)
    first, second = 6.0, 6.0 * (1 - LR * 3.4 / 34)  # sums of |w| at the two steps, of 16 rows and of 1
    assert history["penalty"] == [pytest.approx(3.4 / 34 * (16 * first + second) / 17, rel=1e-12)]


@pytest.mark.parametrize("drop_last", [False, True])
def test_what_is_dropped_counts_in_m(drop_last: bool) -> None:
    trainer = _trainer(dl.optim.L2(1.0))
    trainer.fit(_data(17), epochs=1, batch_size=16, drop_last=drop_last)
    np.testing.assert_allclose(trainer.model.w.numpy(), (1 - LR / 17) ** (2 - drop_last), rtol=1e-12)


def test_in_mixed_precision_m_is_the_same() -> None:
    trainer = _trainer(dl.optim.L2(3.4), precision="mixed")
    trainer.fit(_data(17), epochs=1, batch_size=16)
    np.testing.assert_allclose(trainer.model.w.numpy(), (1 - LR * 3.4 / 17) ** 2, rtol=1e-5)  # float32


def test_a_penalty_of_ones_own_is_called_with_the_training_sets_m() -> None:
    came: list[int] = []

    class Own(Penalty):
        def __init__(self) -> None:
            pass

        def __call__(self, model: dl.nn.Module, examples: int | None = None) -> dl.Tensor:
            came.append(examples or 0)
            return model.w.sum() * 0.0

    _trainer(Own()).fit(_data(5), epochs=1, batch_size=2)
    assert came == [5, 5, 5]


def _pairs() -> Iterator[tuple[np.ndarray, int]]:
    return ((np.ones(3, np.float32), i % 2) for i in range(6))


class _Indexed:
    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        return np.ones(3, np.float32), i % 2


@pytest.mark.parametrize("examples", [_pairs, lambda: list(_pairs()).__iter__()], ids=["generator", "iterator"])
@pytest.mark.parametrize("penalty", [dl.optim.L1(0.5), dl.optim.L2(0.5)], ids=repr)
def test_an_iterable_needs_the_number_of_examples(penalty: Penalty, examples: Callable[[], Any]) -> None:
    trainer = _trainer(penalty)
    with pytest.raises(dl.ConfigError, match=rf"{type(penalty).__name__}.*iterable.*examples=") as caught:
        trainer.fit(examples, epochs=1, batch_size=4)
    assert "\n" not in str(caught.value)
    assert trainer.step == 0


def test_an_iterable_is_trained_on_with_the_number_given() -> None:
    trainer = _trainer(dl.optim.L2(3.0, examples=6))
    trainer.fit(_pairs, epochs=1, batch_size=4)
    np.testing.assert_allclose(trainer.model.w.numpy(), (1 - LR * 3.0 / 6) ** 2, rtol=1e-12)
    _trainer(dl.optim.L2(3.0)).fit(_Indexed(), epochs=1)  # which has a length
    dl.Trainer(dl.nn.Dense(2), device="cpu").fit(_pairs)  # no penalty, no need


def test_what_the_penalty_says_goes_before_what_is_counted() -> None:
    trainer = _trainer(dl.optim.L2(3.0, examples=600))
    trainer.fit(_data(6), epochs=1, batch_size=6)
    np.testing.assert_allclose(trainer.model.w.numpy(), 1 - LR * 3.0 / 600, rtol=1e-12)


def test_in_a_loop_of_ones_own_m_is_an_argument_or_the_penaltys() -> None:
    model = dl.nn.Dense(2, init=dl.nn.init.uniform(1.0, 1.0)).build((3,))
    assert dl.optim.L2(2.0)(model, 3).item() == dl.optim.L2(2.0, examples=3)(model).item() == pytest.approx(2.0)
    assert dl.optim.L2(2.0, examples=3)(model, 6).item() == pytest.approx(1.0)
    with pytest.raises(dl.ConfigError, match=r"L2: examples.*training set"):
        dl.optim.L2(2.0)(model)


@pytest.mark.parametrize("examples", [0, -3, 2.5, "many", True])
def test_m_must_be_a_positive_whole_number(examples: Any) -> None:
    with pytest.raises(dl.ConfigError, match=r"L1: examples is .* but a whole number >= 1"):
        dl.optim.L1(1.0, examples=examples)
    with pytest.raises(dl.ConfigError, match=r"L2: examples is .* but a whole number >= 1"):
        dl.optim.L2(1.0)(dl.nn.Dense(2).build((3,)), examples)


def test_the_gradient_check_takes_the_penaltys_own_m() -> None:
    came: list[int] = []

    class Heard(dl.optim.L2):
        def __call__(self, model: dl.nn.Module, examples: int | None = None) -> dl.Tensor:
            came.append(examples or 0)
            return super().__call__(model, examples)

    model = dl.nn.Dense(2).build((3,))
    assert dl.testing.gradient_check(model, _data(4).x, _data(4).y, "cross_entropy", Heard(1.0, examples=40))
    assert set(came) == {40}


def test_the_configured_penalty_is_one_over_c_of_scikit_learns_logistic_regression() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    data, lam = _data(40), 2.0
    c = linear_model.LogisticRegression(C=1 / lam, tol=1e-12).fit(data.x, data.y)
    model = dl.nn.Dense(1).build((3,), dtype="float64")
    penalty = PenaltyConfig(penalty="l2", lam=lam).build()
    trainer = dl.Trainer(model, "binary_cross_entropy", dl.optim.SGD(1.0), penalty=penalty, device="cpu")
    trainer.fit(dl.data.Dataset(data.x, data.y[:, None].astype(np.float64)), epochs=300, batch_size=40)
    np.testing.assert_allclose(model.w.numpy()[:, 0], c.coef_[0], rtol=1e-5)  # both have settled to 1e-8


def test_a_checkpoint_of_version_0_1_with_a_penalty_is_refused_with_the_lambda_that_is_as_strong(
    cut: Path,
) -> None:
    path = list(snapshot.paths(cut).values())[-1]
    state = snapshot.read(path).plain
    m = state.pop("examples")
    snapshot.write(path, state)
    with pytest.raises(dl.ConfigError, match=r"version 0\.1.*lam") as caught:
        job.fit(job.trainer(cut), resume=path)
    assert f"lam {0.1 * m / job.BATCH:.3g}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_configured_lambda_reaches_the_trainer_without_an_m() -> None:
    config = Config.of(data="penguins", target="sex", penalty="l1", lam=0.3)
    trainer = config.trainer(config.data.load(), "cpu")
    assert repr(trainer.penalty) == "L1(lam=0.3)"
