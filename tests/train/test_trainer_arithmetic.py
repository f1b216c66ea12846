"""``fit`` against a training loop written out in NumPy: every setting at work, every reported figure compared."""

from __future__ import annotations

import numpy as np
import pytest

import dlcore as dl
from backends.runtime import copies
from dlcore.train.engine import trainer as trainer_module

LAM, LIMIT, LR, K, SIZE, EPOCHS = 0.5, 0.2, 0.05, 1.5, 8, 3


def _data() -> dl.data.Dataset:
    rng = np.random.default_rng(3)
    return dl.data.Dataset(rng.standard_normal((29, 4)), rng.integers(0, 3, 29))  # 29: a ragged last batch of 5


def _by_hand(state: dict[str, np.ndarray], data: dl.data.Dataset) -> tuple[dict[str, np.ndarray], list[dict]]:
    """Two layers, tanh, softmax cross-entropy, L2, clipping by norm, Adam, lr · k / sqrt(t)."""
    theta = {name: value.astype(np.float64) for name, value in state.items()}
    mean = {name: np.zeros_like(value) for name, value in theta.items()}
    square = {name: np.zeros_like(value) for name, value in theta.items()}
    records, t = [], 0
    for epoch in range(EPOCHS):
        sums = {"loss": 0.0, "penalty": 0.0, "accuracy": 0.0}
        for x, y in dl.data.batches(data, SIZE, seed=5, epoch=epoch):
            t, m = t + 1, len(y)
            h = np.tanh(x @ theta["0.w"] + theta["0.b"])
            z = h @ theta["2.w"] + theta["2.b"]
            p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
            penalty = LAM / (2 * len(data)) * sum((theta[name] ** 2).sum() for name in ("0.w", "2.w"))
            sums["loss"] += m * (-np.log(p[np.arange(m), y]).mean() + penalty)
            sums["penalty"] += m * penalty
            sums["accuracy"] += (z.argmax(axis=1) == y).sum()
            dz = (p - np.eye(3)[y]) / m
            da = (dz @ theta["2.w"].T) * (1 - h**2)
            grad = {
                "0.w": x.T @ da + LAM / len(data) * theta["0.w"],
                "0.b": da.sum(axis=0),
                "2.w": h.T @ dz + LAM / len(data) * theta["2.w"],
                "2.b": dz.sum(axis=0),
            }
            norm = np.sqrt(sum((g**2).sum() for g in grad.values()))
            lr = LR * K / np.sqrt(t)
            for name, g in grad.items():
                g = g * min(1.0, LIMIT / norm)
                mean[name] = 0.9 * mean[name] + 0.1 * g
                square[name] = 0.999 * square[name] + 0.001 * g**2
                corrected = mean[name] / (1 - 0.9**t), square[name] / (1 - 0.999**t)
                theta[name] = theta[name] - lr * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
        records.append({name: value / len(data) for name, value in sums.items()} | {"lr": lr})
    return theta, records


def test_fit_takes_the_steps_of_a_loop_written_by_hand() -> None:
    data = _data()
    model = dl.nn.Sequential(dl.nn.Dense(6), dl.nn.Tanh(), dl.nn.Dense(3)).build((4,), seed=1, dtype="float64")
    theta, records = _by_hand(model.state_dict(), data)
    trainer = dl.Trainer(
        model,
        optimizer=dl.optim.Adam(LR),
        metrics=["accuracy"],
        schedule=dl.optim.InverseSqrt(K, per="step"),
        penalty=dl.optim.L2(LAM),
        clip=dl.optim.clip_by_norm(LIMIT),
        device="cpu",
        seed=5,
    )
    history = trainer.fit(data, epochs=EPOCHS, batch_size=SIZE)
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value, theta[name], rtol=1e-9, atol=1e-12, err_msg=name)
    for name in ("loss", "penalty", "accuracy", "lr"):
        np.testing.assert_allclose(history[name], [record[name] for record in records], rtol=1e-9, err_msg=name)


def test_weighted_heads_take_the_steps_of_a_loop_written_by_hand() -> None:
    data, lr, seen = _data(), 0.1, 0
    two = dl.data.Dataset(data.x, {"kind": data.y, "size": data.x[:, :1] * 2 - data.x[:, 1:2]})
    model = dl.nn.Heads({"kind": dl.nn.Dense(3), "size": dl.nn.Dense(1)}).build((4,), seed=1, dtype="float64")
    theta = model.state_dict()
    trainer = dl.Trainer(
        model,
        loss={"kind": "cross_entropy", "size": "mse"},
        loss_weights={"kind": 3.0, "size": 0.25},
        optimizer=dl.optim.SGD(lr),
        device="cpu",
        seed=5,
    )
    reported = trainer.fit(two, epochs=1, batch_size=SIZE)["loss"][0]

    def losses(x: np.ndarray, kind: np.ndarray, size: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        p = np.exp(x @ theta["kind.w"] + theta["kind.b"])
        p /= p.sum(axis=1, keepdims=True)
        error = x @ theta["size.w"] + theta["size.b"] - size
        value = 3.0 * -np.log(p[np.arange(len(x)), kind]).mean() + 0.25 * (error**2).mean()
        return value, 3.0 * (p - np.eye(3)[kind]) / len(x), 0.25 * 2 * error / len(x)

    total = 0.0
    for x, y in dl.data.batches(two, SIZE, seed=5, epoch=0):  # 8, 8, 8 and 5 examples
        value, dkind, dsize = losses(x, y["kind"], y["size"])
        total, seen = total + value * len(x), seen + len(x)
        for head, dz in (("kind", dkind), ("size", dsize)):
            theta[f"{head}.w"] = theta[f"{head}.w"] - lr * x.T @ dz
            theta[f"{head}.b"] = theta[f"{head}.b"] - lr * dz.sum(axis=0)
    assert seen == len(data)
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value, theta[name], rtol=1e-9, atol=1e-12, err_msg=name)  # float64 both
    assert reported == pytest.approx(total / seen, rel=1e-9)
    whole = losses(two.x, two.y["kind"], two.y["size"])[0]
    assert trainer.evaluate(two, batch_size=SIZE)["loss"] == pytest.approx(whole, rel=1e-9)


def test_the_schedule_is_asked_with_the_base_rate_the_epoch_and_the_step_of_the_run() -> None:
    calls: list[tuple[float, int, int]] = []

    class Halving(dl.optim.Schedule):
        def __call__(self, lr: float, epoch: int = 0, step: int = 1) -> float:
            calls.append((lr, epoch, step))
            return lr / 2  # the next call must come with the base rate all the same

    trainer = dl.Trainer(dl.nn.Dense(3), optimizer=dl.optim.SGD(0.1), schedule=Halving(), device="cpu")
    trainer.fit(_data(), epochs=2, batch_size=16)
    trainer.fit(_data(), epochs=1, batch_size=16)
    assert calls == [(0.1, 0, 1), (0.1, 0, 2), (0.1, 1, 3), (0.1, 1, 4), (0.1, 2, 5), (0.1, 2, 6)]
    assert trainer.history["lr"] == [0.05, 0.05, 0.05]


def test_the_trainers_seed_names_the_masks_of_a_model_built_with_another() -> None:
    thetas = []
    for seed in (1, 2):
        model = dl.nn.Sequential(dl.nn.Dense(6), dl.nn.Dropout(0.5), dl.nn.Dense(3)).build((4,), seed=seed)
        model.load_state_dict({name: np.full_like(value, 0.1) for name, value in model.state_dict().items()})
        dl.Trainer(model, optimizer=dl.optim.SGD(0.1), device="cpu", seed=9).fit(_data(), epochs=1, batch_size=4)
        thetas.append(model.vector.theta.tobytes())
    assert thetas[0] == thetas[1]


def test_losses_are_read_within_a_long_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "READ_EVERY", 5)
    trainer = dl.Trainer(dl.nn.Dense(3), optimizer=dl.optim.SGD(0.1), device="cpu")
    trainer.fit(_data(), epochs=1, batch_size=1)
    before = copies.counts()
    trainer.fit(_data(), epochs=1, batch_size=1)
    assert copies.counts().since(before).downloads == 6  # 29 steps: after 5, 10, ..., 25, and at the end


def test_a_loss_that_is_not_finite_is_noticed_within_fifty_steps_of_a_long_epoch() -> None:
    class Count(dl.train.Callback):
        steps = 0

        def on_step(self, trainer: dl.Trainer) -> None:
            self.steps += 1

    def broken(outputs: dl.Tensor, y: object) -> dl.Tensor:
        return outputs.sum() * float("nan")

    count, data = Count(), _data()
    long = dl.data.Dataset(np.repeat(data.x, 7, axis=0), np.repeat(data.y, 7))  # 203 steps of one example
    trainer = dl.Trainer(dl.nn.Dense(3), loss=broken, device="cpu", callbacks=[count])
    with pytest.raises(dl.TrainingError, match="step 1;"):
        trainer.fit(long, epochs=1, batch_size=1)
    assert count.steps <= 50


def test_early_stopping_asks_for_min_delta_and_starts_anew_with_each_fit() -> None:
    stopping = dl.train.EarlyStopping(patience=2, monitor="loss", min_delta=1e9)
    trainer = dl.Trainer(dl.nn.Dense(3), optimizer=dl.optim.SGD(0.1), device="cpu", callbacks=[stopping])
    assert len(trainer.fit(_data(), epochs=9)) == 3  # the first is the best; nothing is better by 1e9
    assert len(trainer.fit(_data(), epochs=9)) == 4  # it goes on after the best epoch
    assert stopping.best_epoch == 1


def test_evaluation_records_no_graph_and_a_move_overtakes_one() -> None:
    from dlcore.tape import grad_enabled

    class Watch(dl.nn.Module):
        def forward(self, x: dl.Tensor) -> dl.Tensor:
            seen.append(grad_enabled())
            return x

    seen: list[bool] = []
    model = dl.nn.Sequential(Watch(), dl.nn.Dense(3)).build((4,))
    trainer = dl.Trainer(model, device="cpu")
    seen.clear()
    trainer.evaluate(_data())
    trainer.predict(_data().x)
    assert seen
    assert not any(seen)
    loss = model(_data().x.astype(np.float32)).sum()
    model.to("cpu")
    with pytest.raises(dl.GraphError, match="updated since"):
        loss.backward()
