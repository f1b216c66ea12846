"""All that a run needs to go on: taken from a trainer, written, found again, and put back.

A snapshot holds the weights and running statistics, the optimiser's state and the loss scale, how far the epoch has
come with its sums and predictions, the history, and the state of every callback, such as the best weights so far.
Random numbers need none: they are named by seed, layer and step. What a fit is given again (model, data, settings) is
compared, not stored.

In a file the arrays stand by name, and all else is JSON in the metadata, where {"\\0array": name} stands for an array,
and {"\\0lines": [label, count]} for a list that grows with the epochs, whose elements stand in ``history.jsonl`` beside
the checkpoints (:mod:`dlcore.train.checkpoint.lines`).
"""

from __future__ import annotations

import json
import platform
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.runtime import copies
from dlcore._core.regular import refuse_link
from dlcore.errors import CheckpointError, ConfigError, in_one_line
from dlcore.losses import StandardizedMSE
from dlcore.nn.module import Module
from dlcore.train.checkpoint.arrays import (
    MODEL,
    SNAPSHOT,
    DamagedError,
    metadata_of,
    read_arrays,
    set_weights,
    write_arrays,
)
from dlcore.train.checkpoint.kinds import (
    ARRAY,
    COUNT,
    FLAG,
    NUMBER,
    OBJECT,
    TEXT,
    by_name,
    each,
    either,
    kind,
    or_none,
    record,
)
from dlcore.train.checkpoint.lines import FILE as LINES
from dlcore.train.checkpoint.lines import EpochLog, Growing, read_lines
from dlcore.train.checkpoint.own_code import changed
from dlcore.version import __version__

if TYPE_CHECKING:
    from dlcore.train.engine.callback import Callback
    from dlcore.train.engine.trainer import Trainer

__all__ = [
    "FOLDER",
    "LINES",
    "Snapshot",
    "after_epoch",
    "check",
    "files",
    "find",
    "go_back",
    "log_of",
    "newest",
    "paths",
    "put_back",
    "put_back_callbacks",
    "read",
    "take",
    "write",
]

FORMAT = 2
"""Counts up when a reader of before could not read what is written: 2 has lists in ``history.jsonl``."""

FOLDER, WEIGHTS = "checkpoints", "model.safetensors"
"""In a run's folder: the checkpoints, and the weights at the end."""

_ARRAY, _LINES = "\0array", "\0lines"

_SWITCH = kind(
    lambda value: isinstance(value, list) and len(value) == 2 and not (FLAG(value[0], "") or NUMBER(value[1], "")),
    "[active, scale]",
)
_COUNTS = kind(lambda value: not each(COUNT)(value, "") and len(value) == 5, "a list of five whole numbers")
_SETTING = or_none(either("a text, a number or a truth value", TEXT, NUMBER, FLAG))
_DIGESTS = record({"python": TEXT, "same": by_name(TEXT), "near": by_name(TEXT)})
_MIXED = record({"counts": _COUNTS, "scale": NUMBER, "told": COUNT})
_HISTORY = record({"records": each(OBJECT), "best_epoch": or_none(COUNT), "stopped_epoch": or_none(COUNT)})
_PROGRESS = record({"batches": COUNT, "sums": each(NUMBER), "seconds": NUMBER, "measured": OBJECT})


def _rule(value: Any, where: str) -> str:
    return record({"steps": COUNT})(value, where) or by_name(either("an array or a number", ARRAY, NUMBER))(
        value, where
    )


_STATE = record(
    {
        "model": by_name(ARRAY), "optimizer": _rule,
        "mixed": or_none(_MIXED), "segments": by_name(_SWITCH), "fit": COUNT, "epoch": COUNT, "start": COUNT,
        "epochs": COUNT, "step": COUNT, "clock": COUNT, "lr": NUMBER, "lr_of_last_step": NUMBER,
        "lr_given": or_none(NUMBER), "stopping": FLAG, "history": _HISTORY, "progress": or_none(_PROGRESS),
        "callbacks": each(record({"type": TEXT, "state": OBJECT})), "settings": by_name(_SETTING),
        "examples": or_none(COUNT), "layers": by_name(TEXT), "may_differ": by_name(TEXT), "own_code": _DIGESTS,
    },
    optional=frozenset({"mixed", "lr_given", "examples", "own_code"}),
)  # fmt: skip
"""What a snapshot's tree holds at least; those of before lack what is optional."""


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
    state = {
        "model": trainer.model.state_dict(),
        **_learning(trainer, epoch_done),
        "segments": {s.path: [s.active, s.lr_scale] for s in trainer.model.built().segments},
        "fit": trainer.fits,
        "start": trainer.first_epoch,
        "epochs": trainer.epochs,
        "lr_given": trainer.optimizer.config.get("lr"),
        "stopping": trainer.stopping,
        "history": {
            "records": trainer.history.records,
            "best_epoch": trainer.history.best_epoch,
            "stopped_epoch": trainer.history.stopped_epoch,
        },
        "progress": None if epoch_done else trainer.progress.state_dict(),
        "callbacks": [
            {"type": type(callback).__name__, "state": callback.state_dict()} for callback in trainer.callbacks
        ],
        "settings": _settings(trainer),
        "examples": trainer.examples,
        "layers": _layers(trainer.model),
        "may_differ": _may_differ(trainer),
        "own_code": trainer.own_code,
    }
    for part in ("model", "optimizer"):
        if odd := first_not_finite(state[part]):
            raise trainer.divergence(f"{odd} of the {part} is not finite", trainer.step)
    return state


def after_epoch(trainer: Trainer) -> dict[str, Any]:
    """All from which training goes on after the epoch that is ending, but the history and the callbacks: for
    :func:`go_back`."""
    return {"model": trainer.model.state_dict(), **_learning(trainer, epoch_done=True)}


def _learning(trainer: Trainer, epoch_done: bool) -> dict[str, Any]:
    """What changes with each step, besides the model: the rule's state, and the counters that name rates and draws."""
    return {
        "optimizer": trainer.optimizer.state_dict(),
        "mixed": None if trainer.mixed is None else trainer.mixed.state_dict(),
        "epoch": trainer.epoch + epoch_done,
        "step": trainer.step,
        "clock": trainer.model.clock.step,
        "lr": trainer.lr,
        "lr_of_last_step": trainer.optimizer.lr,
    }


def first_not_finite(arrays: dict[str, Any]) -> str | None:
    """The name of the first array that holds NaN or an infinity."""
    for name, value in arrays.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
            return name
    return None


def _settings(trainer: Trainer) -> dict[str, Any]:
    """What must be the same for a run to be the same, in words; the learning rate stands apart."""
    rule = trainer.optimizer
    return {
        "optimizer": f"{type(rule).__name__} {_words({k: v for k, v in rule.config.items() if k != 'lr'})}",
        "loss": ", ".join(f"{o.weight:g} {_name(o.loss)} {name}".strip() for name, o in trainer.objectives.items()),
        "class_weight": ", ".join(
            f"{_words(o.table)} {name}".strip() for name, o in trainer.objectives.items() if o.table
        )
        or None,
        "metrics": ", ".join(trainer.objectives.names()),
        "penalty": _words(trainer.penalty),
        "clip": _words(trainer.clip),
        "augmentation": _words(trainer.augment),
        "seed": trainer.seed,
        "batch_size": trainer.batch_size,
        "drop_last": trainer.drop_last,
        "precision": "mixed" if trainer.mixed else str(trainer.model.built().dtype).rpartition(".")[2],
        "training data": trainer.fingerprints.get("train"),
        "development data": trainer.fingerprints.get("dev"),
        "train-dev data": trainer.fingerprints.get("train_dev"),
    }


def _layers(model: Module) -> dict[str, str]:
    """Every layer in words, by path."""
    return {path: f"{type(module).__name__} {_words(_without_modules(module.config))}" for path, module in
            model.named_modules()}  # fmt: skip


def _without_modules(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_modules(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_modules(item) for item in value]
    return "a layer" if isinstance(value, Module) else value


def _words(value: Any) -> str:
    """``repr`` without the addresses in memory."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _name(function: Any) -> str:
    if isinstance(function, StandardizedMSE):
        return str(function)
    return getattr(function, "__name__", type(function).__name__)


def _may_differ(trainer: Trainer) -> dict[str, str]:
    """What the bits depend on besides; another one is said, not refused."""
    return {
        "schedule": _words(trainer.schedule),
        "device": str(trainer.device),
        "threads": str(trainer.threads),
        "dlcore": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    } | {
        f"callback {type(callback).__name__}": _words(callback.config)
        for callback in trainer.callbacks
        if callback.state_dict() and not callback.saves_runs
    }


# Files ---------------------------------------------------------------------------------------------------------------


def write(path: Path, state: dict[str, Any], log: EpochLog | None = None) -> Path:
    """Write what :func:`take` gave: complete, or not at all.

    log : of the checkpoints' folder, takes what is new of the lists that grow; without it they stand in the file

    Raises CheckpointError where it cannot be written, ConfigError for a callback's state that no file can hold.
    """
    arrays: dict[str, np.ndarray] = {}
    growing: list[tuple[Growing, dict[str, Any]]] = []

    def plain(value: Any, where: str) -> Any:
        if log is not None and isinstance(value, Growing):
            growing.append((value, {}))
            return growing[-1][1]
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
            name = where if where.startswith(MODEL) else str(len(arrays))
            arrays[name] = value.astype(value.dtype.newbyteorder("="), copy=False)
            return {_ARRAY: name}
        if isinstance(value, dict) and all(isinstance(key, str) and key not in (_ARRAY, _LINES) for key in value):
            return {key: plain(item, f"{where}/{key}" if where else key) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item, f"{where}/{i}{_kind(item)}") for i, item in enumerate(value)]
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise ConfigError(
            f"a checkpoint cannot hold {where}, {value!r:.60}; a state_dict is made of dicts by name, lists, numbers, "
            "text, None and arrays of numbers"
        )

    tree, metadata = plain(state, ""), {"format": SNAPSHOT, "version": str(FORMAT)}
    if log is not None:
        labels = log.add(values for values, _ in growing)
        for label, (values, node) in zip(labels, growing, strict=True):
            node[_LINES] = [label, len(values)]
        metadata["lines"] = log.mark
    return write_arrays(path, arrays, {**metadata, "state": json.dumps(tree)})


def _kind(item: Any) -> str:
    return f" ({item['type']})" if isinstance(item, dict) and "type" in item else ""


def read(path: Path, *, follow: bool = False) -> Snapshot:
    """The snapshot in a file; ``follow`` goes through a link that the user has named.

    Raises CheckpointError where it is damaged, foreign, or of a later format.
    """
    arrays, metadata = read_arrays(path, follow=follow)
    if metadata.get("format") != SNAPSHOT:
        raise CheckpointError(
            f"{path}: a safetensors file, but no checkpoint of a run; give one from the {FOLDER} of a run's folder"
        )
    if metadata.get("version") not in ("1", str(FORMAT)):
        raise LaterFormatError(
            f"{path}: written in format {metadata.get('version')} by another version of dlcore; this one "
            f"({__version__}) reads format 1 to {FORMAT}: update dlcore"
        )
    lines: dict[str, list[Any]] = {}

    def damaged(why: str) -> DamagedError:
        return DamagedError(f"{path}: damaged: its state cannot be read ({why}); use another")

    def with_arrays(value: Any, where: str = "") -> Any:
        if isinstance(value, list):
            return [with_arrays(item, where) for item in value]
        if not isinstance(value, dict):
            return value
        try:
            match value:
                case {"\0array": name, **rest} if not rest:
                    return arrays[name]
                case {"\0lines": [label, count], **rest} if not rest:
                    return Growing(lines[label][:count] if count else ())
        except (KeyError, ValueError, TypeError):
            raise damaged(f"{where[1:]} stands for an array or lines that are not there") from None
        return {key: with_arrays(item, f"{where}.{key}") for key, item in value.items()}

    try:
        if "lines" in metadata:
            lines = read_lines(path.with_name(LINES), metadata["lines"])
        state = with_arrays(json.loads(metadata["state"]))
        if wrong := _STATE(state, ""):
            raise damaged(wrong)
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise damaged(in_one_line(error)) from None
    return Snapshot(state, path)


def paths(folder: Path) -> dict[int, Path]:
    """The checkpoints in a run's folder by step, the newest last."""
    found = {}
    with_step = re.compile(r"step-([0-9]{8,})\.safetensors")
    if refuse_link(folder / FOLDER).is_dir():
        for path in (folder / FOLDER).iterdir():
            if (match := with_step.fullmatch(path.name)) and not path.is_dir():
                found[int(match[1])] = path  # a link or a pipe is refused by whoever reads it
    return dict(sorted(found.items()))


def files(folder: Path) -> list[Path]:
    """All that a run's folder has of its checkpoints: those that are there, the newest last, and their lines."""
    lines = folder / FOLDER / LINES
    return [*paths(folder).values(), *([lines] if lines.is_file() else [])]


def log_of(folder: Path, upto: int) -> EpochLog:
    """What the checkpoints of a run's folder, up to a step, append their growing lists to."""
    kept = [metadata_of(path).get("lines", "0") for step, path in paths(folder).items() if step <= upto]
    return EpochLog(folder / FOLDER / LINES, max((int(mark.split(" ")[0]) for mark in kept), default=0))


def newest(folder: Path) -> Snapshot | None:
    """The newest good checkpoint of a run's folder; None where there is none at all.

    A damaged one is passed over with a warning. Raises CheckpointError where every one is damaged, and where one cannot
    be read for another reason: it may be good.
    """
    there = list(paths(folder).values())
    for path in reversed(there):
        try:
            return read(path)
        except DamagedError as error:
            if path == there[0]:
                raise CheckpointError(f"{folder}: no checkpoint can be read; of the last: {error}") from None
            warnings.warn(f"{error}; falling back to the checkpoint before", stacklevel=2)
    return None


def find(resume: str | Path, callbacks: Iterable[Callback] = ()) -> Snapshot | None:
    """What ``fit(resume=...)`` means: a checkpoint, the newest of a run's folder, or with "auto" of the run's own.

    None where "auto" finds nothing yet. Raises CheckpointError and ConfigError.
    """
    if not isinstance(resume, str | Path):
        raise ConfigError(f"resume is {resume!r} but a path, or 'auto', is expected")
    if resume == "auto":
        folders = [callback.folder for callback in callbacks if callback.saves_runs]  # type: ignore[attr-defined]
        if not folders:
            raise ConfigError("resume: 'auto' needs a Checkpoint among the callbacks, in whose folder to look")
        return newest(folders[0])
    path = Path(resume).expanduser()
    if path.is_file():
        return read(path, follow=True)
    if not path.is_dir():
        raise CheckpointError(f"resume: there is no file or folder {path}; give a checkpoint or a run's folder")
    found = newest(path)
    if found is None:
        raise CheckpointError(f"resume: {path} holds no checkpoint; give a run's folder, or train anew")
    return found


# Putting back --------------------------------------------------------------------------------------------------------


def check(trainer: Trainer, snapshot: Snapshot) -> None:
    """Raise ConfigError where the model, the data or a setting is not that of the snapshot's run.

    What may change the bits without making it another run, such as another NumPy, is a warning.
    """
    state, path = snapshot.plain, snapshot.path
    layers = _layers(trainer.model)
    for place in [*layers, *state["layers"]]:
        before, now = state["layers"].get(place, "not there"), layers.get(place, "not there")
        if before != now:
            raise ConfigError(
                f"resume: layer {place!r} was {before} in {path} but is {now}; give the same model, or start a new run"
            )
    for name, now in _settings(trainer).items():
        before = state["settings"].get(name)
        if before != now:
            what = (
                f"the {name} of {path} were others" if "data" in name else f"{name} was {before} in {path} but is {now}"
            )
            raise ConfigError(f"resume: {what}; give the same, or start a new run")
    for name in changed(state.get("own_code", {}), trainer.own_code, "same"):
        raise ConfigError(
            f"resume: the {name} computes something else than in {path}: its code, its arguments or a value that it "
            "uses has changed; give the same, or start a new run"
        )
    if trainer.penalty is not None and "examples" not in state:
        lam = getattr(trainer.penalty, "lam", 0.0)
        kept = (
            f"{lam * (trainer.examples or 0) / trainer.batch_size:.3g}" if trainer.examples else "lam · m / batch_size"
        )
        raise ConfigError(
            f"resume: {path} was written by version 0.1, where the penalty divided lam by the batch's examples; now "
            f"λ/m takes the m of the training set; start a new run, with lam {kept} in the place of {lam:g} for a "
            "penalty as strong"
        )
    for name, now in _may_differ(trainer).items():
        before = state["may_differ"].get(name, now)
        if before != now:
            warnings.warn(
                f"resume: {name} was {before} and is {now}; the run goes on, but not to the same bits", stacklevel=4
            )
    for name in changed(state.get("own_code", {}), trainer.own_code, "near"):
        warnings.warn(
            f"resume: the code of the {name} has changed; the run goes on, but may not be the same run", stacklevel=4
        )
    given = trainer.optimizer.config.get("lr")
    if state.get("lr_given") != given:
        warnings.warn(
            f"resume: the learning rate was {state.get('lr_given')} and is {given} from here on", stacklevel=4
        )


def go_back(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Bring a trainer to where :func:`after_epoch` has taken ``state``."""
    trainer.model.load_state_dict(state["model"])
    _put_learning(trainer, state)
    trainer.lr = state["lr"]


def _put_learning(trainer: Trainer, state: Mapping[str, Any]) -> None:
    trainer.optimizer.load_state_dict(state["optimizer"])
    if trainer.mixed is not None:
        trainer.mixed.load_state_dict(state["mixed"])
    trainer.optimizer.lr = state["lr_of_last_step"]
    trainer.model.clock.step = state["clock"]
    for _, module in trainer.model.named_modules():
        module.__dict__.pop("_calls", None)  # a step that is done again draws the same
    trainer.epoch, trainer.step = state["epoch"], state["step"]
    trainer.model.built().zero_grad()


def put_back(trainer: Trainer, snapshot: Snapshot) -> None:
    """Bring a trainer, whose model is built and attached, to where a snapshot was taken.

    Raises CheckpointError, naming the file, where it does not fit.
    """
    state = snapshot.plain
    try:
        set_weights(trainer.model, state["model"], snapshot.path)
        _put_learning(trainer, state)
        if state.get("lr_given") == trainer.optimizer.config.get("lr"):
            trainer.lr = state["lr"]
        vector = trainer.model.built()
        for path, (active, scale) in state["segments"].items():
            vector.set_active(path, active)
            vector.scale_lr(path, scale)
        trainer.first_epoch = state["start"]
        trainer.fits, trainer.stopping = state["fit"], state["stopping"]
        history = state["history"]
        trainer.history.records = Growing(history["records"])
        trainer.history.best_epoch, trainer.history.stopped_epoch = history["best_epoch"], history["stopped_epoch"]
        device = trainer.device
        trainer.progress.load_state_dict(state["progress"], lambda array: copies.to_device(array, device))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, CheckpointError) as error:
        text = in_one_line(error)
        named = text if str(snapshot.path) in text else f"{snapshot.path}: it does not fit: {text}"
        raise CheckpointError(named) from None
    trainer.resumed = trainer.saved = snapshot.path


def put_back_callbacks(trainer: Trainer, snapshot: Snapshot) -> None:
    """Give each callback its state, after ``on_start``: the nth of a type gets the state of the nth of that type.

    Raises ConfigError where one with a state is not among the callbacks, CheckpointError where a state does not fit.
    """
    waiting = list(trainer.callbacks)
    for held in snapshot.plain["callbacks"]:
        try:
            kind, state = held["type"], held["state"]
            match = next((c for c in waiting if type(c).__name__ == kind), None)
            if match is not None:
                waiting.remove(match)
                if state:
                    match.load_state_dict(state)
            elif state:
                raise ConfigError(
                    f"resume: {snapshot.path} holds the state of {kind}, which is not among the callbacks; add it, or "
                    "start a new run"
                )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, CheckpointError) as error:
            if isinstance(error, ConfigError):
                raise
            raise CheckpointError(
                f"{snapshot.path}: the state of a callback, {held!r:.60}, does not fit: {in_one_line(error)}"
            ) from None
