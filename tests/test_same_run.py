"""One seed, one run: the same initial weights, batch order and masks on every kind of array, and the same losses."""

from __future__ import annotations

import numpy as np
import pytest
from arrays import KINDS, Backend, backend
from samples import images

import dlcore as dl
from backends.runtime import copies
from backends.runtime.device import Device
from dlcore import functional as F

STEPS = 50
# Float64 sums in another order differ by about 1e-15 relative a step, and Adam's division by small roots amplifies it;
# float32 has 2**29 times the unit.
TOLERANCE = {"float64": 1e-9, "float32": 1e-5}


def _cnn() -> dl.nn.Module:
    nn = dl.nn
    return nn.Sequential(
        nn.Conv2D(6, 3, padding="same", bias=False),
        nn.BatchNorm(),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.MaxPool2D(2),
        nn.Conv2D(8, 3, padding="same"),
        nn.LeakyReLU(),
        nn.AvgPool2D(2),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Dense(4),
    )


def _run(kind: Backend, dtype: str) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Initial weights, batch order and the losses of the first steps of one's own loop."""
    data = images()
    model = _cnn().build((8, 8, 2), seed=3, dtype=dtype, device=kind.device)
    initial = kind.host(model.vector.theta).copy()
    opt = dl.optim.Adam(1e-2).attach(model)
    order: list[np.ndarray] = []
    losses: list[float] = []
    epoch = 0
    while len(losses) < STEPS:
        for x, rows in dl.data.batches(dl.data.Dataset(data.x, np.arange(len(data))), 16, seed=3, epoch=epoch):
            x, y = kind.place(x.astype(dtype)), kind.place(data.y[rows])
            with copies.guard("forbid"):
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                opt.step()
                opt.zero_grad()
            order.append(rows)
            losses.append(loss.item())
        epoch += 1
    return initial, np.concatenate(order), losses[:STEPS]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_same_seed_gives_the_same_run_on_every_kind_of_array(dtype: str) -> None:
    runs = {}
    for name in KINDS:
        with backend(name) as kind:
            runs[name] = _run(kind, dtype)
    initial, order, losses = runs["numpy"]
    assert losses[-1] < 0.5 * losses[0], "the run should learn something"
    for name, (other_initial, other_order, other_losses) in runs.items():
        assert other_initial.tobytes() == initial.tobytes(), name
        assert np.array_equal(other_order, order), name
        np.testing.assert_allclose(other_losses, losses, rtol=TOLERANCE[dtype], err_msg=name)


@pytest.mark.level7
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_real_gpu_takes_the_same_run(dtype: str, cuda: Device) -> None:
    with cuda.active():
        initial, order, losses = _run(Backend("cuda", cuda), dtype)
    with backend("numpy") as kind:
        expected = _run(kind, dtype)
    assert initial.tobytes() == expected[0].tobytes()
    assert np.array_equal(order, expected[1])
    np.testing.assert_allclose(losses, expected[2], rtol=TOLERANCE[dtype])


def test_another_seed_gives_another_run() -> None:
    weights = [_cnn().build((8, 8, 2), seed=seed).vector.theta for seed in (0, 1)]
    assert not np.array_equal(*weights)


def test_dropout_masks_are_bit_equal_on_every_kind_of_array() -> None:
    masks = {}
    for name in KINDS:
        with backend(name) as kind:
            layer = dl.nn.Dropout(0.3).build((101,), seed=5, device=kind.device)
            ones = kind.place(np.ones((7, 101), dtype=np.float32))
            masks[name] = [kind.host(layer(ones).data).tobytes() for _ in range(3)]
    assert len(set(masks["numpy"])) == 3, "each call draws another mask"
    assert all(mask == masks["numpy"] for mask in masks.values())


def test_float64_weights_are_the_float32_ones() -> None:
    single, double = (_cnn().build((8, 8, 2), seed=0, dtype=d).vector.theta for d in ("float32", "float64"))
    assert np.array_equal(single.astype(np.float64), double)


def test_a_trained_epoch_copies_each_batch_once_and_reads_the_losses_rarely(arrays: Backend) -> None:
    data = images()
    trainer = dl.Trainer(_cnn(), optimizer=dl.optim.Adam(1e-2), device=arrays.device, seed=0)
    trainer.fit(data, epochs=1, batch_size=16)  # builds the model, which uploads its parameters
    before = copies.counts()
    trainer.fit(data, epochs=1, batch_size=16)
    counted = copies.counts().since(before)
    assert counted.uploads == 6 + 2  # six batches, and x and y of the two rows that fit tries first
    assert counted.downloads == 1  # the losses of all steps, at once
    assert counted.downloaded_bytes == 6 * 4


def test_training_with_everything_on_gives_the_same_history_on_every_kind_of_array(arrays: Backend) -> None:
    history = _everything(arrays)
    with backend("numpy") as kind:
        expected = _everything(kind)
    for name in ("loss", "penalty", "accuracy", "dev_loss", "dev_accuracy", "lr"):
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-5, err_msg=name)


def _everything(kind: Backend) -> dl.train.History:
    data = images()
    trainer = dl.Trainer(
        _cnn(),
        optimizer=dl.optim.AdamW(5e-3),
        metrics=["accuracy"],
        schedule=dl.optim.Warmup(4, dl.optim.InverseTime(0.1)),
        penalty=dl.optim.L2(1e-2),
        clip=dl.optim.clip_by_norm(1.0),
        device=kind.device,
        seed=1,
        callbacks=[dl.train.EarlyStopping(patience=2)],
    )
    return trainer.fit(data[:64], data[64:], epochs=3, batch_size=16)
