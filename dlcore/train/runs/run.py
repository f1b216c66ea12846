"""The folder of a run, ``runs/NAME``: what is in it, how it is made, and how it is opened again."""

from __future__ import annotations

import functools
import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcore._core.configurable import did_you_mean
from dlcore._core.lock import holder
from dlcore._core.plain import plain
from dlcore._core.regular import read_regular
from dlcore.errors import CheckpointError
from dlcore.train.checkpoint import snapshot
from dlcore.train.checkpoint.arrays import read_arrays, set_weights
from dlcore.train.config import config
from dlcore.train.runs import shown
from dlcore.train.runs.before import (
    BEFORE,
    FILES,
    bring_back,
    empty,
    forget,
    keep,
    recover,
    settle,
)

if TYPE_CHECKING:
    from dlcore.nn import Module

__all__ = [
    "BEFORE", "Run", "bring_back", "empty", "forget", "keep", "recover", "settle", ]  # fmt: skip


_LARGEST_RESULT, _LARGEST_LINES = 2**24, 2**28
"""Bytes of result.json, and of a file with a line an epoch; ten thousand epochs have a few million."""


class Run:
    """A run's folder.

    ==========================  =================================================================
    ``config.toml``             every setting; ``dlcore train --config`` repeats the run with it
    ``model.json``              what the model is made of, and what its outputs mean
    ``rows.safetensors``        of one's own data, which examples are trained on and which are the dev set
    ``metrics.jsonl``           one record an epoch: the same bytes whenever the run is repeated
    ``timing.jsonl``            how long each epoch took
    ``health.jsonl``            the health of the gradients by layer, one record an epoch, in the same way
    ``checkpoints/``            from which an interrupted run goes on
    ``model.safetensors``       the weights at the end
    ``curves.png``              the losses and metrics over the epochs
    ``report.html``             all of it for reading
    ``result.json``             the test figures; written last: with it, the run is finished
    ==========================  =================================================================

    A run of knn has one record and no weights, checkpoints and curves: its model is the training set.

    >>> import tempfile
    >>> from dlcore.train.runs.creation import write_settings
    >>> folder = Path(tempfile.mkdtemp()) / "digits-mlp-001"
    >>> folder.mkdir()
    >>> write_settings(folder, config.Config.of(data="digits", model="mlp", epochs=2))
    >>> _ = (folder / "metrics.jsonl").write_text('{"epoch": 0, "loss": 0.9, "dev_loss": 1.0}\\n')
    >>> run = Run.find("digits-mlp-001", runs=folder.parent)
    >>> run  # doctest: +ELLIPSIS
    Run('...digits-mlp-001', interrupted: mlp on digits, 1 of 2 epochs; development loss 1.0000)
    >>> run.name, run.status, run.settings.train.epochs, run.result
    ('digits-mlp-001', 'interrupted', 2, None)
    >>> run.records(), run.figures, run.health(), run.has_weights
    ([{'epoch': 0, 'loss': 0.9, 'dev_loss': 1.0}], {'loss': 1.0, 'epochs': 1}, [], False)
    >>> [run.name for run in Run.all(folder.parent)]
    ['digits-mlp-001']
    """

    FILES = FILES

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def __repr__(self) -> str:
        return shown.run_text(self)

    def _repr_html_(self) -> str:
        """Settings, figures and curves, for notebooks."""
        return shown.run_html(self)

    @classmethod
    def find(cls, name: str | Path, runs: str | Path = "runs") -> Run:
        """The run in the folder ``name``, or of that name among ``runs``. CheckpointError where there is none."""
        for folder in (Path(name).expanduser(), Path(runs).expanduser() / name):
            if any((folder / file).exists() for file in ("config.toml", "model.json")):
                return cls(folder)
        there = [run.name for run in cls.all(runs)]
        hint = did_you_mean(Path(name).name, there)
        raise CheckpointError(f"{name}: no run is there, nor in {runs}{hint}; dlcore runs list shows which there are")

    @classmethod
    def all(cls, runs: str | Path = "runs", unreadable: list[str] | None = None) -> list[Run]:
        """The runs in a folder, the oldest first.

        unreadable : takes the names of folders that cannot be looked into, with the reasons; they are passed over
        """
        folder = Path(runs).expanduser()
        if not folder.is_dir():
            return []
        found = []
        for entry in folder.iterdir():
            try:
                there = (entry / "config.toml").lstat()
                if stat.S_ISREG(there.st_mode):
                    found.append((there.st_mtime, entry.name, cls(entry)))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                if unreadable is not None:
                    unreadable.append(f"{entry} ({error.strerror})")
        return [run for *_, run in sorted(found, key=lambda one: one[:2])]

    @property
    def name(self) -> str:
        """That of its folder."""
        plain = self.folder.name not in ("", "..") and not self.folder.is_symlink()
        return self.folder.name if plain else self.folder.resolve().name

    @functools.cached_property
    def settings(self) -> config.Config:
        """Raises ConfigError where config.toml is missing or faulty."""
        return config.load(self.folder / "config.toml", rules=1, follow=False)

    @property
    def result(self) -> dict[str, Any] | None:
        """The figures of a finished run; None where there are none, or none that can be read."""
        try:
            found = plain(json.loads(read_regular(self.folder / "result.json", _LARGEST_RESULT)))
        except (OSError, ValueError, RecursionError):
            return None
        return found if _is_result(found) else None

    @property
    def status(self) -> str:
        """finished, running or interrupted."""
        if holder(self.folder):
            return "running"
        return "finished" if self.result is not None else "interrupted"

    def outline(self, best_epoch: Any = None) -> tuple[int, dict[str, Any]]:
        """How many epochs are recorded, and the record of ``best_epoch``, else of the last; no other is looked at.

        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "metrics.jsonl").write_text('{"epoch": 0, "loss": 2.0}\\n{"epoch": 1, "loss": 1.5}\\n')
        >>> Run(folder).outline()
        (2, {'epoch': 1, 'loss': 1.5})
        """
        try:
            lines = read_regular(self.folder / "metrics.jsonl", _LARGEST_LINES).split(b"\n")
        except OSError:
            return 0, {}
        if lines and not lines[-1].endswith(b"}"):  # torn, or behind the last end of a line
            lines.pop()
        if not lines:
            return 0, {}
        place = best_epoch if isinstance(best_epoch, int) and 0 <= best_epoch < len(lines) else -1
        record: Any = None
        with suppress(ValueError, RecursionError):
            record = plain(json.loads(lines[place]))
        if _is_record(record):
            return len(lines), record
        records = self.records()
        return len(records), records[-1] if records else {}

    def records(self) -> list[dict[str, Any]]:
        """The records of the epochs so far; a line that cannot be read is left out."""
        return [record for record in _lines(self.folder / "metrics.jsonl") if _is_record(record)]

    def health(self) -> list[dict[str, Any]]:
        """The records of :class:`dlcore.train.GradientHealth` so far; empty where the run kept none."""
        from dlcore.train.callbacks.gradient_health import is_record

        return [record for record in _lines(self.folder / "health.jsonl") if is_record(record)]

    @property
    def figures(self) -> dict[str, float]:
        """What a choice among runs may go by: figures of the development set by plain names, of the training set as
        ``train_...``, ``ms_per_image``, ``parameters``, ``epochs`` and ``seconds``. Those of the test set are not
        among them: by it nothing is chosen (notes 2.1). Of a run that is not finished, those of its last epoch.
        """
        result = self.result or {}
        epochs, kept = self.outline(result.get("best_epoch"))
        parts = result.get("parts", {})
        no_figures = ("examples", "labels", "standard_errors", "never_predicted", "not_a_number")
        found = {name: v for name, v in parts.get("dev", {}).items() if name not in no_figures and _is_number(v)}
        no_figures = (*no_figures, "ms_per_image")
        found |= {
            f"train_{name}": v for name, v in parts.get("train", {}).items() if name not in no_figures and _is_number(v)
        }
        if not parts:
            found = {n.removeprefix("dev_"): v for n, v in kept.items() if n.startswith("dev_")}
        found |= {"parameters": result["parameters"]} if "parameters" in result else {}
        found |= {"seconds": result["timing"]["training"]} if "training" in result.get("timing", {}) else {}
        return {**{name: value for name, value in found.items() if value is not None}, "epochs": epochs}

    @property
    def has_weights(self) -> bool:
        """Whether there is a file of weights or a checkpoint, readable or not."""
        return os.path.lexists(self.folder / snapshot.WEIGHTS) or bool(snapshot.paths(self.folder))

    def weights(self) -> tuple[dict[str, Any], str]:
        """The arrays of the model, and which they are in words: those at the end, or of the newest good checkpoint.

        A file that :func:`dlcore.save_weights` wrote by hand into a folder without checkpoints counts as the end.
        """
        final = self.folder / "model.safetensors"
        latest = max(snapshot.paths(self.folder), default=-1)
        if os.path.lexists(final):
            arrays, metadata = read_arrays(final, follow=False)
            by_hand = "complete" not in metadata and latest < 0
            if by_hand or (metadata.get("complete") == "yes" and int(metadata.get("step", -1)) >= latest):
                return arrays, "the weights at the end"
        found = snapshot.newest(self.folder)
        if found is not None:
            return found.plain["model"], f"the weights of step {found.step:,}, for the run is not finished"
        if self.status == "finished":
            raise CheckpointError(f"{self.folder}: the run is finished and has no weights; take one of another model")
        raise CheckpointError(f"{self.folder}: there are no weights yet; train first, or resume the run")

    def model(self, device: Any, trust: bool = False) -> tuple[Module, dict[str, Any], str]:
        """The model with its weights, in evaluation mode, what model.json says about it, and which weights they are.

        device : as for :class:`dlcore.Trainer`
        trust : run the code of a run from somebody else, as for :func:`dlcore.train.load_model`

        Raises CheckpointError where there are no weights yet, the model cannot be rebuilt, or its code is not trusted.

        >>> from dlcore import nn
        >>> from dlcore.train import save_model, save_weights
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = save_model(folder / "model.json", nn.Dense(2).build((3,)), about={"task": "regression"})
        >>> _ = save_weights(nn.Dense(2).build((3,)), folder / "model.safetensors", {"complete": "yes", "step": "7"})
        >>> Run(folder).model("cpu")
        (Dense(units=2), {'task': 'regression'}, 'the weights at the end')
        >>> arrays, which = Run(folder).weights()
        >>> sorted(arrays), which
        (['b', 'w'], 'the weights at the end')
        """
        from dlcore.train.checkpoint import model_json

        model, known = model_json.new_model(self.folder, device=device, trust=trust)
        arrays, words = self.weights()
        set_weights(model, arrays, self.folder)
        return model.eval(), known, words


def _lines(path: Path) -> Iterator[Any]:
    """The values of a file of JSON lines; what cannot be read is left out."""
    try:
        text = read_regular(path, _LARGEST_LINES).decode()
    except (OSError, UnicodeDecodeError):
        return
    for line in text.splitlines():
        try:
            value = plain(json.loads(line))
        except (ValueError, RecursionError):
            continue
        yield value


def _is_record(value: Any) -> bool:
    """Figures by name."""
    return isinstance(value, dict) and all(v is None or _is_number(v) for v in value.values())


def _is_number(value: Any) -> bool:
    """Whether a value is a number, and not one beyond all floats."""
    return isinstance(value, float) or (isinstance(value, int) and value.bit_length() < 1024)


def _is_result(value: Any) -> bool:
    """Whether a value has the layout of result.json, with what it may lack."""
    match value:
        case {"test": dict(test), "epochs": int(_)} if all(map(_is_record, test.values())):
            pass
        case _:
            return False
    parts = value.get("parts", {})
    return (
        isinstance(parts, dict)
        and all(isinstance(part, dict) for part in parts.values())
        and all(_is_record(value.get(name, {})) for name in ("timing", "memory", "ms_per_query"))
        and all(_is_number(value.get(name, 0)) for name in ("parameters", "epochs"))
        and all(value.get(name) is None or _is_number(value[name]) for name in ("best_epoch", "stopped_epoch"))
    )
