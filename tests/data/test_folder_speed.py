"""What reading pictures from a folder costs a training run: recorded, for a share of the speed from arrays."""

from __future__ import annotations

import os
import statistics
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dlcore as dl
from dlcore.data import _open_images, read_idx
from dlcore.train.config.config import Config

FASHION = Path(dl.data.__file__).parent / "files" / "fashion"


def _folder(root: Path) -> Path:
    """5,000 PNG files in ten folders."""
    images, labels = (read_idx(FASHION / f"train-{name}-ubyte.gz") for name in ("images-idx3", "labels-idx1"))
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    return root


@pytest.mark.full
def test_training_from_a_folder_of_5000_pictures_is_recorded(
    tmp_path: Path, figures: MutableMapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = dl.data.open_path(_folder(tmp_path / "pictures"), normalize=True)
    monkeypatch.setattr(_open_images, "_MEMORY", 0)  # as where the pictures do not fit into memory
    read_again = dl.data.open_path(tmp_path / "pictures", normalize=True)
    sets = {
        "arrays": dl.data.Dataset(*kept.train.rows(np.arange(len(kept.train)))),
        "folder, pixels kept": kept.train,
        "folder, decoded each time": read_again.train,
    }
    speeds: dict[str, list[float]] = {name: [] for name in sets}
    busy: dict[str, list[float]] = {name: [] for name in sets}
    weights = set()
    for _ in range(3):  # in turns: a busy machine then slows all of them
        for name, train in sets.items():
            trainer = Config.of(model="cnn", epochs=3, batch_size=32).trainer(kept, "cpu")
            before = os.times()
            history = trainer.fit(train, epochs=3, batch_size=32)
            after = os.times()
            speeds[name] += history["examples_per_second"][1:]
            spent = after.user + after.system - before.user - before.system
            busy[name].append(spent / sum(history["seconds"]))
            weights.add(trainer.model.built().theta.tobytes())
    assert len(weights) == 1  # the same run, from wherever the pictures come
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    figures["survival"] = {
        "folder of 5,000 pictures, from the second epoch": {
            name: {
                "images a second, median of 6 epochs": medians[name],
                "share of the speed from arrays": medians[name] / medians["arrays"],
                "cores busy": statistics.median(busy[name]),
            }
            for name in sets
        }
    }
