"""A trained run as one object: its model with its weights, what it predicts, and how good it is."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from backends.runtime.device import Device, resolve
from dlcore._core.input_tree import several
from dlcore.errors import ConfigError, DataError
from dlcore.experiment.answers import (
    BATCH,
    Count,
    Row,
    from_arrays,
    from_files,
    from_npz,
    from_records,
    inputs_of,
    told,
)
from dlcore.experiment.forecast import forecasts, is_series
from dlcore.experiment.predictions import Predictions
from dlcore.nn._inputs import several_shapes
from dlcore.train.checkpoint.trust import trusting
from dlcore.train.runs.model_about import objective_of
from dlcore.train.runs.run import Run
from dlcore.train.runs.shown import run_html, run_text

if TYPE_CHECKING:
    from dlcore.data import Normalizer
    from dlcore.experiment.examined import Examined
    from dlcore.experiment.neighbours import Memory
    from dlcore.nn import Module
    from dlcore.train.config.config import Config
    from dlcore.train.engine.history import History

__all__ = ["Measured", "TrainedRun", "open_run"]

Part = Literal["test", "dev", "train"]


def open_run(
    name: str | os.PathLike[str],
    runs: str | os.PathLike[str] = "runs",
    *,
    device: Device | str | None = None,
    trust: bool = False,
) -> TrainedRun:
    """A run of ``dlcore train`` as one object, or a folder that holds ``model.json`` and ``model.safetensors``.

    name : the run's name among ``runs``, or its folder
    device : where its model computes: "auto", "cpu", "cuda", "cuda:N"; None asks DLCORE_DEVICE
    trust : run the code of a run from somebody else, as for :func:`dlcore.train.load_model`

    Nothing is read before it is asked for. Raises CheckpointError where there is no run, DeviceError where the device
    cannot be used.

    >>> import tempfile
    >>> import dlcore as dl
    >>> folder = tempfile.mkdtemp()
    >>> model = dl.nn.Dense(2).build((3,), seed=1)
    >>> about = {"task": "classification", "loss": "cross_entropy", "classes": ["cat", "dog"]}
    >>> _ = dl.train.save_model(f"{folder}/model.json", model, about=about)
    >>> _ = dl.save_weights(model, f"{folder}/model.safetensors")
    >>> run = dl.open_run(folder, device="cpu")
    >>> run.classes, run.model.training
    (('cat', 'dog'), False)
    >>> found = run.predict([[1.0, 2.0, 3.0], [3.0, -2.0, 1.0]])
    >>> found.values.tolist(), found.outputs.shape, found[0]["top"][0]["class"]
    (['dog', 'dog'], (2, 2), 'dog')
    """
    return TrainedRun(Run.find(os.fspath(name), os.fspath(runs)), resolve(device), trust=trust)


@dataclass(frozen=True)
class Measured:
    """What a run reaches on some examples.

    figures : the loss and the metrics by name
    faults : classes that are never predicted, and outputs that are not numbers, where there are any
    chosen : the examples, with what is known of them
    """

    figures: dict[str, float]
    faults: dict[str, Any]
    chosen: Examined


class TrainedRun:
    """A run to predict and to evaluate with; :func:`dlcore.open_run` makes it.

    run : the folder, with its records and results
    device : where the model computes
    trust : whether code that the run brings along runs though nobody has trusted it before
    """

    def __init__(self, run: Run, device: Device, *, trust: bool = False) -> None:
        self.run, self.device, self._trust = run, device, trust

    def __repr__(self) -> str:
        return run_text(self.run, type(self).__name__)

    def _repr_html_(self) -> str:
        """Settings, figures and curves, for notebooks."""
        return run_html(self.run, type(self).__name__)

    # --- what it is

    @functools.cached_property
    def _recorded(self) -> tuple[dict[str, Any], Any]:
        from dlcore.train.checkpoint.model_json import load_about

        return load_about(self.run.folder)

    @property
    def remembers(self) -> bool:
        """Whether it is a run of knn, which memorises its training set and has no layers."""
        return self._recorded[0].get("model") == "knn"

    @functools.cached_property
    def about(self) -> dict[str, Any]:
        """What ``model.json`` says of the model: task, loss, classes, normaliser, columns."""
        return self._memory[1] if self.remembers else self._recorded[0]

    @property
    def shape(self) -> Any:
        """Of one example, without N."""
        return self._recorded[1]

    @property
    def classes(self) -> Any:
        """The names of the classes in the order of their labels, of several heads a dict of them; None without."""
        found = self.about.get("classes")
        if isinstance(found, dict):
            return {head: None if names is None else tuple(names) for head, names in found.items()}
        return None if found is None else tuple(found)

    @property
    def config(self) -> Config:
        """Every setting. Raises ConfigError where the folder has no ``config.toml``."""
        return self.run.settings

    @property
    def history(self) -> History:
        """The figures of its epochs."""
        from dlcore.train.engine.history import History

        history = History()
        for record in self.run.records():
            history.append(record)
        history.best_epoch = (self.run.result or {}).get("best_epoch")
        return history

    @property
    def report(self) -> Path | None:
        """The page ``report.html``; None where the run has none yet."""
        path = self.run.folder / "report.html"
        return path if path.exists() else None

    @functools.cached_property
    def normalizer(self) -> Normalizer | None:
        """What is applied to inputs before the model sees them."""
        from dlcore.data import Normalizer

        saved = self.about.get("normalizer")
        return Normalizer.from_dict(saved) if saved else None

    # --- its model

    @functools.cached_property
    def _opened(self) -> tuple[Module, str]:
        model, _, words = self.run.model(self.device, self._trust)
        return model, words

    @functools.cached_property
    def _memory(self) -> tuple[Memory, dict[str, Any]]:
        from dlcore.experiment.neighbours import remembered

        memory, _, about = remembered(self.run, self.device)
        return memory, about

    @property
    def model(self) -> Module:
        """The model with its weights, in evaluation mode, on the device.

        Its inputs are as in training: normalised by :attr:`normalizer`. Raises ConfigError for a run of knn, else as
        :func:`dlcore.train.load_model`.
        """
        if self.remembers:
            raise ConfigError(f"{self.run.folder}: knn has no layers; predict and evaluate memorise its training set")
        return self._opened[0]

    @property
    def weights(self) -> str:
        """Which weights they are, in words: those at the end, or of the newest checkpoint."""
        return "its training set memorised again" if self.remembers else self._opened[1]

    @functools.cached_property
    def answer(self) -> Callable[[Any], Any]:
        """The outputs for inputs that are normalised: logits, numbers in the unit of the target, or shares of votes."""
        if self.remembers:
            return self._memory[0].answer
        from dlcore.train import Trainer

        trainer = Trainer(self.model, loss=objective_of(self.about), device=self.device)
        return functools.partial(trainer.predict, batch_size=BATCH)

    # --- what it does

    def predict(self, inputs: Any, *, top: int = 1, unknown_level: str | None = None) -> Predictions:
        """What the model says of new examples, which are read and normalised as those of the training were.

        inputs : one of

            - a file, a folder of images, an NPZ file, or a list of files, as ``dlcore predict`` takes them
            - an array (N, ...) of examples before any normaliser; of several inputs a tuple or a dict of them; a
              :class:`~dlcore.data.Dataset` where sequences have lengths
            - rows of a table by the names of its columns: a list of dicts, a dict of columns, or a DataFrame
        top : how many classes are told of each row
        unknown_level : "refuse" or "missing", about a category's level that training lacked; by default as trained

        The answers are those of ``dlcore predict --json``. A row that cannot be predicted gives its ``error``, the
        others are predicted. A run on a series predicts what follows a table, and from windows in an array. Raises
        ConfigError for a run on text, DataError for arrays of another shape.
        """
        if self._recorded[0].get("task") == "text":
            raise ConfigError(
                f"{self.run.folder} has learnt from text; dlcore generate {self.run.folder} writes with it"
            )
        if isinstance(top, bool) or not isinstance(top, int) or top < 1:
            raise ConfigError(f"predict: top is {top!r:.60} but a whole number of at least 1 is expected")
        files = _files(inputs)
        if files and is_series(self.about) and not _is_npz(files):
            return Predictions(forecasts(files, self.about, self.normalizer, self.answer))
        found, rows = Predictions(), self._rows(inputs, files, unknown_level)
        while some := list(islice(rows, BATCH)):
            found += ({"input": row.name, **said} for row, said in self.say(some, top))
        return found

    def say(self, rows: Sequence[Row], top: int = 1) -> Iterator[tuple[Row, dict[str, Any]]]:
        """Each row with what the model says of it, or with the ``error``."""
        said = iter(told([row for row in rows if not row.fault], self.about, self.answer, self.normalizer, top))
        return ((row, {"error": row.fault} if row.fault else next(said)) for row in rows)

    def _rows(self, inputs: Any, files: list[str], unknown_level: str | None) -> Iterator[Row]:
        from dlcore.data import Dataset

        sequences = bool(self.about.get("lengths"))
        records = None if files or several_shapes(self.shape) else _records(inputs)
        if unknown_level is not None and records is None and (not files or _is_npz(files)):
            raise ConfigError("predict: unknown_level goes with tables; leave it out")
        if _is_npz(files):
            return from_npz(files[0], self.shape, sequences, Count())
        if files:
            return from_files(files, inputs_of(self.about, str(self.run.folder), unknown_level), Count())
        if records is not None:
            if is_series(self.about):
                raise ConfigError("predict: rows came, but the run is on a series; give a file, or windows as an array")
            return from_records(records, inputs_of(self.about, str(self.run.folder), unknown_level))
        if isinstance(inputs, Dataset):
            return from_arrays(inputs.x, self.shape, inputs.lengths, sequences)
        return from_arrays(_on_host(inputs), self.shape, None, sequences)

    def generate(self, prompt: str = "", *, length: int = 300, temperature: float = 0.8, seed: int = 0) -> str:
        """``length`` characters that follow ``prompt``, of a run on text: those of ``dlcore generate``.

        prompt, length, temperature, seed : as for :func:`dlcore.experiment.generate_text.generate`

        Raises ConfigError for a run on anything else.
        """
        from dlcore.data import Vocabulary
        from dlcore.experiment.generate_text import generate

        if self.about.get("task") != "text":
            raise ConfigError(
                f"{self.run.folder} has learnt from {self.about.get('data')}, which is no text; train a model of one "
                "by dlcore train --data hamlet"
            )
        vocabulary = Vocabulary(tuple(self.about["classes"]))
        return generate(self.model, vocabulary, prompt, length=length, temperature=temperature, seed=seed)

    def evaluate(self, data: Any = None, part: Part = "test", *, unknown_level: str | None = None) -> dict[str, float]:
        """The loss and the metrics on a part of the run's data, or on other labelled data.

        data : a table, NPZ file or folder of images, read with the run's own columns, classes and normalisation; or a
            :class:`~dlcore.data.Dataset` before any normaliser, with the run's labels. None for the run's own data
        part : "test", "dev" or "train" of the run's own data
        unknown_level : of a table, as for :meth:`predict`

        The figures are those of ``dlcore evaluate``: where the run's own file has changed since, what the run has
        learned from is left out of the test set, with a warning. Raises ConfigError and DataError in one line.
        """
        return self.measure(part, data, unknown_level).figures

    def measure(self, part: Part = "test", data: Any = None, unknown_level: str | None = None) -> Measured:
        """What :meth:`evaluate` gives, with the examples that it is of and what is wrong with the outputs."""
        from dlcore.train.config.classes import with_names

        if part not in ("test", "dev", "train"):
            raise ConfigError(f"evaluate: part is {part!r:.60} but test, dev or train is expected")
        if data is not None and part != "test":
            raise ConfigError(f"evaluate: data and part {part} came together; other data have no parts, leave one out")
        if unknown_level is not None and not isinstance(data, str | os.PathLike):
            raise ConfigError("evaluate: unknown_level goes with a file of a table; leave it out")
        with trusting(self._trust):
            chosen, figures, faults = (self._by_memory if self.remembers else self._by_model)(part, data, unknown_level)
        return Measured(figures, with_names(chosen.splits, faults), chosen)

    def _by_memory(self, part: Part, data: Any, unknown_level: str | None) -> tuple[Examined, dict[str, float], Any]:
        from dlcore.experiment.examined import Examined
        from dlcore.experiment.neighbours import remembered

        memory, splits, _ = remembered(self.run, self.device, part)
        chosen = Examined(splits, getattr(splits, part), f"the {part} set")
        if data is not None:
            chosen = self._other(data, unknown_level)
        figures, labels, _ = memory.measure(chosen.part)
        return chosen, figures, memory.faults(chosen.part, labels)

    def _by_model(self, part: Part, data: Any, unknown_level: str | None) -> tuple[Examined, dict[str, float], Any]:
        from dlcore.experiment.examined import of_run

        settings, model = self.run.settings, self.model
        chosen = of_run(self.run, self.about, self.shape, part) if data is None else self._other(data, unknown_level)
        trainer = settings.trainer(chosen.splits, self.device, model=model, loss=objective_of(self.about))
        figures, measured = trainer.measure(chosen.part)
        return chosen, figures, measured.faults()

    def _other(self, data: Any, unknown_level: str | None) -> Examined:
        from dlcore.data import Dataset
        from dlcore.experiment.examined import of_dataset, of_file

        about, shape = self._recorded
        if isinstance(data, str | os.PathLike):
            return of_file(self.run, about, shape, os.fspath(data), unknown_level)
        if isinstance(data, Dataset):
            return of_dataset(self.run, about, shape, data)
        raise DataError(f"evaluate: data is a {type(data).__name__} but a file or a Dataset(x, y) is expected")


def _files(inputs: Any) -> list[str]:
    """The files that came; none where something else did."""
    if isinstance(inputs, str | os.PathLike):
        return [os.fspath(inputs)]
    if isinstance(inputs, list | tuple) and inputs and all(isinstance(one, str | os.PathLike) for one in inputs):
        return [os.fspath(one) for one in inputs]
    return []


def _is_npz(files: Sequence[str]) -> bool:
    return len(files) == 1 and files[0].lower().endswith(".npz")


def _records(inputs: Any) -> Sequence[Mapping[str, Any]] | None:
    """The rows of a table in memory, each a dict; None where something else came."""
    if hasattr(inputs, "to_dicts"):  # of polars
        return inputs.to_dicts()
    if hasattr(inputs, "columns") and hasattr(inputs, "to_dict"):  # of pandas
        return inputs.to_dict("records")
    if isinstance(inputs, Mapping):
        try:
            return [dict(zip(inputs, cells, strict=True)) for cells in zip(*inputs.values(), strict=True)]
        except (TypeError, ValueError):
            raise DataError("predict: a dict came whose columns are not lists of one length; give equal ones") from None
    if isinstance(inputs, list | tuple) and inputs and all(isinstance(row, Mapping) for row in inputs):
        return inputs
    return None


def _on_host(inputs: Any) -> Any:
    """An array, or several, as NumPy's."""
    import numpy as np

    from dlcore.tensor import Tensor

    if isinstance(inputs, Tensor):
        return inputs.numpy()
    if several(inputs):
        return inputs
    try:
        return np.asarray(inputs)
    except (TypeError, ValueError) as error:  # an array on another device; rows of different lengths
        raise DataError(f"predict: the inputs cannot become a NumPy array on the host ({error})") from error
