"""The trained model of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backends.runtime.device import Device
from dlcore.nn.module import Module
from dlcore.train.checkpoint.arrays import set_weights
from dlcore.train.checkpoint.model_json import new_model

__all__ = ["load_model"]


def load_model(
    folder: str | Path, *, device: Device | str = "cpu", trust: bool = False
) -> tuple[Module, dict[str, Any]]:
    """The trained model of a run's folder, on ``device`` and in evaluation mode, and the ``about`` it was saved with.

    trust : run the code of a run from somebody else, and remember it: its ``model.py``, and modules that its
        ``model.json`` names beside dlcore's own. What was trained here by the same user needs none

    The weights are those of ``model.safetensors``, or of the newest checkpoint where the run is not finished; call
    ``model.train()`` to train on. A folder with a ``model.json`` alone, as :func:`dlcore.train.save_model` makes it, is
    no run: its model is as new, with the weights of ``build`` and in training mode.

    Inputs are what the model was trained on, normalised where ``about`` has a normalizer. Raises CheckpointError, in
    one line that names the file, where ``model.json`` is missing, damaged, of another program or of a later format,
    where it says that the model cannot be rebuilt, where it needs code that is not trusted, where the model that comes
    out, or the weights in the folder, have other parameters than it had, and where a run has no weights yet;
    DeviceError where the device cannot be used.

    >>> import tempfile
    >>> from dlcore import nn
    >>> from dlcore.train import save_model, save_weights
    >>> folder = tempfile.mkdtemp()
    >>> trained = nn.Dense(3).build((2,), seed=1)
    >>> _ = save_model(f"{folder}/model.json", trained), save_weights(trained, f"{folder}/model.safetensors")
    >>> model, about = load_model(folder)
    >>> bool((model.w.numpy() == trained.w.numpy()).all()), model.training
    (True, False)
    """
    from dlcore.train.runs.run import Run

    model, about = new_model(folder, device=device, trust=trust)
    run = Run(folder)
    if run.has_weights or (run.folder / "config.toml").exists():
        set_weights(model, run.weights()[0], run.folder)
        model.eval()
    return model, about
