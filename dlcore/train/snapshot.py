"""All that a run needs to go on: taken from a trainer, written, found again, and put back.

A snapshot holds the weights and running statistics, the optimiser's state, how far the epoch has come with its sums and
predictions, the history, and the state of every callback, such as the best weights so far. Random numbers need none:
they are named by seed, layer and step. What a fit is given again (data, settings) is compared, not stored.

In a file the arrays stand by name, and all else is JSON in the metadata, where {"array": name} stands for an array.
"""

from __future__ import annotations

import json
import platform
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backends import transfer
from dlcore.errors import CheckpointError, ConfigError
from dlcore.train.checkpoint import SNAPSHOT, read_arrays, write_arrays
from dlcore.version import __version__

if TYPE_CHECKING:
    from dlcore.train.callbacks import Callback
    from dlcore.train.trainer import Trainer

__all__ = ["FOLDER", "Snapshot", "find", "newest", "paths", "put_back", "put_back_callbacks", "read", "take", "write"]

FORMAT = 1
"""Counts up when a reader of before could not read what is written."""

FOLDER = "checkpoints"
"""In a run's folder."""


class LaterFormatError(CheckpointError):
    """A checkpoint of another format: intact, but not for this version."""


@dataclass(frozen=True)
class Snapshot:
    """One state of a run.

    plain : its tree of JSON values, with NumPy arrays among them
    path : where it was read from
    """

    plain: dict[str, Any]
    path: Path

    @property
    def step(self) -> int:
        return self.plain["step"]


# Taking --------------------------------------------------------------------------------------------------------------


def take(trainer: Trainer, epoch_done: bool = False) -> dict[str, Any]:
    """The state of a fit between two steps, or with ``epoch_done`` after all of an epoch; waits for the device.

    Raises TrainingError where a loss, a weight or the optimiser's state is not finite: nobody should go on from there.
    """
    trainer.read_losses()
    progress = trainer.progress
    state = {
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "segments": {s.path: [s.active, s.lr_scale] for s in trainer.model.built().segments},
        "epoch": trainer.epoch + epoch_done,
        "start": trainer.start,
        "step": trainer.step,
        "clock": trainer.model.clock.step,
        "lr": trainer.lr,
        "lr_given": trainer.optimizer.config.get("lr"),
        "lr_of_last_step": trainer.optimizer.lr,
        "stopping": trainer.stopping,
        "history": {
            "records": list(trainer.history),
            "best_epoch": trainer.history.best_epoch,
            "stopped_epoch": trainer.history.stopped_epoch,
        },
        "progress": None
        if epoch_done or not progress.batches
        else {
            "batches": progress.batches,
            "sums": progress.sums,
            "seconds": progress.seconds,
            "measured": progress.measured.state_dict(),
        },
        "callbacks": [
            {"type": type(callback).__name__, "state": held}
            for callback in trainer.callbacks
            if (held := callback.state_dict())
        ],
        "settings": _settings(trainer),
        "schedule": repr(trainer.schedule),
        "environment": _environment(trainer),
    }
    _check_finite(trainer, state)
    return state


def _settings(trainer: Trainer) -> dict[str, Any]:
    """What must be the same for a run to be the same, in words; the learning rate stands apart."""
    rule = trainer.optimizer
    return {
        "optimizer": f"{type(rule).__name__} { ({k: v for k, v in rule.config.items() if k != 'lr'})!r}",
        "loss": ", ".join(f"{name} {_name(o.loss)}".strip() for name, o in trainer.objectives.items()),
        "metrics": ", ".join(trainer.objectives.names()),
        "penalty": repr(trainer.penalty),
        "clip": repr(trainer.clip),
        "augmentation": repr(trainer.augment),
        "seed": trainer.seed,
        "batch_size": trainer.batch_size,
        "drop_last": trainer.drop_last,
        "training data": trainer.fingerprint,
    }


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _environment(trainer: Trainer) -> dict[str, str]:
    """What the bits may depend on besides."""
    return {
        "device": str(trainer.device),
        "threads": str(trainer.threads),
        "dlcore": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _check_finite(trainer: Trainer, state: dict[str, Any]) -> None:
    for part in ("model", "optimizer"):
        for name, value in state[part].items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
                raise trainer.divergence(f"{name} of the {part} is not finite", trainer.step)


# Files ---------------------------------------------------------------------------------------------------------------


def write(path: Path, state: dict[str, Any]) -> Path:
    """Write what :func:`take` gave: complete, or not at all. Raises CheckpointError where it cannot be written."""
    arrays: dict[str, np.ndarray] = {}

    def without_arrays(value: Any, name: str) -> Any:
        if isinstance(value, np.ndarray):
            arrays[name] = value
            return {"array": name}
        if isinstance(value, dict):
            return {key: without_arrays(item, f"{name}/{key}" if name else key) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [without_arrays(item, f"{name}/{i}") for i, item in enumerate(value)]
        return value.item() if isinstance(value, np.generic) else value

    text = json.dumps(without_arrays(state, ""))
    return write_arrays(path, arrays, {"format": SNAPSHOT, "version": str(FORMAT), "state": text})


def read(path: Path) -> Snapshot:
    """The snapshot in a file. Raises CheckpointError where it is damaged, foreign, or of a later format."""
    arrays, metadata = read_arrays(path)
    if metadata.get("format") != SNAPSHOT:
        raise CheckpointError(
            f"{path}: a safetensors file, but no checkpoint of a run; give one from the {FOLDER} of a run's folder"
        )
    if metadata.get("version") != str(FORMAT):
        raise LaterFormatError(
            f"{path}: written in format {metadata.get('version')} by another version of dlcore; this one "
            f"({__version__}) reads format {FORMAT}: update dlcore"
        )

    def with_arrays(value: Any) -> Any:
        if isinstance(value, dict):
            if value.keys() == {"array"} and isinstance(value["array"], str):
                return arrays[value["array"]]
            return {key: with_arrays(item) for key, item in value.items()}
        return [with_arrays(item) for item in value] if isinstance(value, list) else value

    try:
        return Snapshot(with_arrays(json.loads(metadata["state"])), path)
    except (KeyError, ValueError, TypeError, RecursionError):
        raise CheckpointError(f"{path}: damaged: its state cannot be read; use another checkpoint") from None


def paths(folder: Path) -> dict[int, Path]:
    """The checkpoints in a run's folder by step, the newest last."""
    found = {}
    with_step = re.compile(r"step-([0-9]{8,})\.safetensors")
    if (folder / FOLDER).is_dir():
        for path in (folder / FOLDER).iterdir():
            if match := with_step.fullmatch(path.name):
                found[int(match[1])] = path
    return dict(sorted(found.items()))


def newest(folder: Path) -> Snapshot | None:
    """The newest good checkpoint of a run's folder; None where there is none at all.

    A damaged one is passed over with a warning. Raises CheckpointError where every one is damaged.
    """
    there = list(paths(folder).values())
    for path in reversed(there):
        try:
            return read(path)
        except LaterFormatError:
            raise
        except CheckpointError as error:
            if path == there[0]:
                raise CheckpointError(f"{folder}: no checkpoint can be read; of the last: {error}") from None
            warnings.warn(f"{error}; falling back to the checkpoint before", stacklevel=2)
    return None


def find(resume: str | Path, callbacks: Iterable[Callback] = ()) -> Snapshot | None:
    """What ``fit(resume=...)`` means: a checkpoint, the newest of a run's folder, or with "auto" of the run's own.

    None where "auto" finds nothing yet. Raises CheckpointError and ConfigError.
    """
    if resume == "auto":
        folders = [Path(callback.config["folder"]) for callback in callbacks if callback.saves_runs]
        if not folders:
            raise ConfigError("resume: 'auto' needs a Checkpoint among the callbacks, in whose folder to look")
        return newest(folders[0])
    path = Path(resume).expanduser()
    if path.is_file():
        return read(path)
    if not path.is_dir():
        raise CheckpointError(f"resume: there is no file or folder {path}; give a checkpoint or a run's folder")
    found = newest(path)
    if found is None:
        raise CheckpointError(f"resume: {path} holds no checkpoint; give a run's folder, or train anew")
    return found


# Putting back --------------------------------------------------------------------------------------------------------


def put_back(trainer: Trainer, snapshot: Snapshot) -> None:
    """Bring a trainer, whose model is built and attached, to where a snapshot was taken.

    Raises ConfigError where a setting or the data differ, CheckpointError where the weights do not fit. What may change
    the bits, such as another NumPy, is a warning.
    """
    try:
        _put_back(trainer, snapshot)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise CheckpointError(
            f"{snapshot.path}: its state lacks something or is of another kind ({type(error).__name__}: {error}); "
            "use another checkpoint"
        ) from None


def _put_back(trainer: Trainer, snapshot: Snapshot) -> None:
    state, path = snapshot.plain, snapshot.path
    for name, now in _settings(trainer).items():
        before = state["settings"].get(name)
        if before != now and None not in (before, now):
            raise ConfigError(f"resume: {name} was {before} in {path} but is {now}; give the same, or start a new run")
    was = {**state["environment"], "schedule": state["schedule"]}
    now = {**_environment(trainer), "schedule": repr(trainer.schedule)}
    for name in was.keys() & now.keys():
        if was[name] != now[name]:
            warnings.warn(
                f"resume: {name} was {was[name]} and is {now[name]}; the run goes on, but not to the same bits",
                stacklevel=4,
            )
    given = trainer.optimizer.config.get("lr")
    if state["lr_given"] == given:
        trainer.lr = state["lr"]
    else:
        warnings.warn(f"resume: the learning rate was {state['lr_given']} and is {given} from here on", stacklevel=4)
    trainer.optimizer.lr = state["lr_of_last_step"]
    trainer.model.load_state_dict(state["model"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    vector = trainer.model.built()
    for segment_path, (active, scale) in state["segments"].items():
        vector.set_active(segment_path, active)
        vector.scale_lr(segment_path, scale)
    vector.zero_grad()
    trainer.model.clock.step = state["clock"]
    trainer.epoch, trainer.start, trainer.step = state["epoch"], state["start"], state["step"]
    trainer.stopping = state["stopping"]
    history = state["history"]
    trainer.history.records = list(history["records"])
    trainer.history.best_epoch, trainer.history.stopped_epoch = history["best_epoch"], history["stopped_epoch"]
    if progress := state["progress"]:
        trainer.progress.batches = progress["batches"]
        trainer.progress.sums = list(progress["sums"])
        trainer.progress.seconds = progress["seconds"]
        device = trainer.device
        trainer.progress.measured.load_state_dict(progress["measured"], lambda array: transfer.to_device(array, device))
    trainer.saved = path


def put_back_callbacks(trainer: Trainer, snapshot: Snapshot) -> None:
    """Give each callback its state, after ``on_start``: the first of a type gets the first state of that type."""
    waiting = list(trainer.callbacks)
    for held in snapshot.plain["callbacks"]:
        match = next((c for c in waiting if type(c).__name__ == held["type"]), None)
        if match is None:
            raise ConfigError(
                f"resume: {snapshot.path} holds the state of {held['type']}, which is not among the callbacks; add it, "
                "or start a new run"
            )
        waiting.remove(match)
        match.load_state_dict(held["state"])
