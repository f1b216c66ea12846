"""What an evaluation of a run measures: a part of its data, what is left of it after a change, or another file."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlcore.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from dlcore.data import Dataset, Splits
    from dlcore.data.labelled import Reading
    from dlcore.train.config.config import Config
    from dlcore.train.runs.run import Run

__all__ = ["Examined", "check", "data_of", "of_dataset", "of_file", "of_run"]


@dataclass(frozen=True)
class Examined:
    """Examples to be measured, in the place of every part of ``splits``.

    left_out : of data that have changed, examples that are not measured because the run has learned from them
    """

    splits: Splits
    part: Any
    what: str
    left_out: int = 0


def of_run(run: Run, about: dict[str, Any], shape: tuple[int | None, ...], part: str) -> Examined:
    """A part of the data of a run, by the normalizer of its model.

    Where the data have changed since the training, they cannot be split into the same parts again: those are measured
    that the run has recorded to be in the part, and as test set those that it has not learned from.

    about, shape : of the model, as model.json has them

    Raises DataError where the data cannot be read, or nothing is left of the part.
    """
    from dlcore.train.runs.learned_rows import read_rows

    settings, known = run.settings, read_rows(run.folder)
    words = f"the {part} set"
    if known is None:
        splits = data_of(settings, about)
        check(splits, shape, about, part)
        return Examined(splits, getattr(splits, part), words)
    if settings.data.window is not None:
        splits = data_of(settings, about)
        if splits.train.shape == shape and not _changed(splits, about, part):
            return Examined(splits, getattr(splits, part), words)
        return _of_changed_series(splits, about, shape, part, known)
    try:
        splits = data_of(settings, about)
        if splits.train.shape == shape and not _changed(splits, about, part):
            return Examined(splits, getattr(splits, part), words)
    except DataError:  # such as too few rows for three parts; where they cannot be read, reading them again says so
        pass
    return _of_changed(settings, about, shape, part, known)


def of_file(
    run: Run, about: dict[str, Any], shape: tuple[int | None, ...], path: str, unknown_level: str | None = None
) -> Examined:
    """The labelled examples of a file, read and normalised as the run's own; a UserWarning where some were trained on.

    unknown_level : as for :class:`~dlcore.data.Inputs`, where it is not to be as in training

    Raises DataError for what cannot be read so, such as a class that the run does not know, and ConfigError for a run
    on text.
    """
    from dlcore.data.overlap import digests_of, in_training
    from dlcore.train.runs.learned_rows import read_rows

    if run.settings.data.window is not None and about.get("task") != "text":
        return _of_series(run, about, shape, path)
    reading = _reading(run.settings, about, shape)
    if unknown_level is not None:
        if reading.inputs is None or reading.inputs.columns is None:
            raise ConfigError(f"unknown_level goes with tables, but {run.folder} has learned from none; leave it out")
        reading = replace(reading, inputs=replace(reading.inputs, unknown_level=unknown_level))
    part, notes = reading.read(path)
    known = read_rows(run.folder)
    if known is not None:
        digests = digests_of(part)
        remark = in_training({"train": known["train"], "dev": digests[:0], "test": digests})
        if remark:
            warnings.warn(f"{path}: {remark}", stacklevel=2)
    return _alone(path, part, about, f"{path}{''.join(f'; {note}' for note in notes)}")


def of_dataset(run: Run, about: dict[str, Any], shape: tuple[int | None, ...], data: Dataset) -> Examined:
    """Examples in memory, in the unit of the run's data before any normalizer, with the run's labels as targets.

    Raises DataError as :func:`of_file`.
    """
    part = _reading(run.settings, about, shape).of_arrays(data, "data")
    return _alone("data", part, about, "data in memory")


def data_of(settings: Config, about: dict[str, Any]) -> Splits:
    """The data of a run, normalised by what its model was trained with, also where a file has changed since.

    about : of the model, as model.json has it
    """
    from dlcore.data import ImageFolder, Normalizer

    splits, learnt = settings.data.load(), about.get("normalizer")
    if learnt is None or splits.normalizer is None or splits.normalizer.to_dict() == learnt:
        return splits
    normalizer = Normalizer.from_dict(learnt)
    if len(normalizer.mean) != splits.train.shape[-1]:
        return splits  # of other features, which whoever evaluates a model says
    plain = replace(settings.data, normalize=False).load()
    parts: dict[str, Any] = {name: getattr(plain, name) for name in ("train", "dev", "test", "train_dev")}
    known = {
        name: part.normalized(normalizer) if isinstance(part, ImageFolder) else normalizer.apply(part)
        for name, part in parts.items()
        if part is not None
    }
    return replace(plain, normalizer=normalizer, **known)


def check(splits: Splits, shape: tuple[int | None, ...], about: dict[str, Any], part: str) -> None:
    """Say where the training set, or another part, is not that of the training any more.

    shape, about : of the model, as model.json has them

    Raises DataError for examples of another shape; others of the same shape are a UserWarning.
    """
    if splits.train.shape != shape:
        raise DataError(
            f"{splits.name}: examples have shape {splits.train.shape}, but the model was trained on {shape}; the data "
            "have changed since"
        )
    for name in _changed(splits, about, part):
        warnings.warn(f"{splits.name}: the {name} set is not the one of the training any more", stacklevel=2)


def _changed(splits: Splits, about: dict[str, Any], part: str) -> list[str]:
    """Which of the training set and another part are not those of the training."""
    from dlcore.data.source import as_source, fingerprint

    before = about.get("fingerprints") or {}
    wanted = [name for name in before if name in (part, "train")]
    return [name for name in wanted if fingerprint(as_source(getattr(splits, name))) != before[name]]


def _of_changed(
    settings: Config,
    about: dict[str, Any],
    shape: tuple[int | None, ...],
    part: str,
    known: dict[str, np.ndarray],
) -> Examined:
    from dlcore.data.overlap import digests_of, left

    path, named = _place(settings, part)
    found, notes = _reading(settings, about, shape).read(path, named)
    digests = digests_of(found)
    if part == "test":
        mask, (trained, watched) = left(digests, [known["train"], known["dev"]])
        said = f"{trained:,} of its {len(found):,} examples were trained on and {watched:,} were in the dev set"
        if not mask.any():
            raise DataError(
                f"{path}: the data have changed since the training; {said}, so that none is left to be tested; give "
                "others by --data FILE"
            )
        said += "; they are left out" if trained or watched else "; all are tested"
    else:
        mask = ~left(digests, [known[part]])[0]
        said = f"{mask.sum():,} of the {len(known[part]):,} examples of the {part} set are still among them"
        if not mask.any():
            raise DataError(f"{path}: the data have changed since the training; {said}")
        trained = watched = 0
    warnings.warn(f"{path}: the data have changed since the training; {said}", stacklevel=2)
    words = f"those of them that {'the run has not learned from' if part == 'test' else f'were the {part} set'}"
    source = f"{path}{''.join(f'; {note}' for note in notes)}"
    return _alone(path, found[mask], about, source, words, trained + watched)


def _windows(splits: Splits, shape: tuple[int | None, ...], about: dict[str, Any]) -> tuple[Any, np.ndarray]:
    """All windows of a series, whatever part they fell into, and their digests."""
    import numpy as np

    from dlcore.data import Dataset

    names = (about.get("inputs") or {}).get("columns")
    if splits.train.shape != shape or (names and list(splits.features or ())[: len(names)] != list(names)):
        raise DataError(
            f"{splits.name}: the columns are {', '.join(splits.features or ())}, but the model was trained on "
            f"{', '.join(names or ())} and windows of shape {shape}; give the same columns"
        )
    parts: list[Any] = [splits.train, splits.dev, splits.test]
    digests = splits.digests or {}
    whole = Dataset(np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts]))
    return whole, np.concatenate([digests[name] for name in ("train", "dev", "test")])


def _of_changed_series(
    splits: Splits, about: dict[str, Any], shape: tuple[int | None, ...], part: str, known: dict[str, np.ndarray]
) -> Examined:
    """The windows of a changed series that the run has not learned from, or that were the part."""
    from dlcore.data.overlap import left

    whole, digests = _windows(splits, shape, about)
    mask, counts = left(digests, [known["train"], known["dev"]])
    said = f"{counts[0]:,} of its {len(whole):,} windows were trained on and {counts[1]:,} were in the dev set"
    if part != "test":
        mask = ~left(digests, [known[part]])[0]
        said = f"{mask.sum():,} of the {len(known[part]):,} windows of the {part} set are still among them"
    if not mask.any():
        raise DataError(f"{splits.name}: the series has changed since the training; {said}, so that none is left")
    warnings.warn(f"{splits.name}: the series has changed since the training; {said}", stacklevel=2)
    chosen = whole[mask]
    words = f"those of them that {'the run has not learned from' if part == 'test' else f'were the {part} set'}"
    return Examined(replace(splits, test=chosen), chosen, words, sum(counts) if part == "test" else 0)


def _of_series(run: Run, about: dict[str, Any], shape: tuple[int | None, ...], path: str) -> Examined:
    """All windows of another series, by the normalizer of the run."""
    from dlcore.data.overlap import left
    from dlcore.train.runs.learned_rows import read_rows

    settings, known = run.settings, read_rows(run.folder)
    target = ((about.get("inputs") or {}).get("columns") or [settings.data.target])[0]
    other = replace(settings, data=replace(settings.data, data=path, target=target))
    splits = data_of(other, about)
    whole, digests = _windows(splits, shape, about)
    if known is not None and (trained := left(digests, [known["train"]])[1][0]):
        warnings.warn(f"{path}: {trained:,} of its {len(whole):,} windows were trained on", stacklevel=3)
    return Examined(replace(splits, test=whole), whole, "all windows of it")


def _place(settings: Config, part: str) -> tuple[str, tuple[str, str] | None]:
    """Where the examples of a part are, and the column and the word by which its rows are named, if any."""
    data = settings.data
    path = data.test if part == "test" and data.test is not None else data.data
    if os.path.isdir(os.path.expanduser(path)) and path == data.data:
        from dlcore.data._open_images import folders_of_parts

        folders = folders_of_parts(Path(os.path.expanduser(path)))[0]
        return str(folders.get(part, folders["train"])), None
    return path, None if data.split is None or part != "test" else (data.split, part)


def _reading(settings: Config, about: dict[str, Any], shape: tuple[int | None, ...]) -> Reading:
    """How the run's examples are read."""
    from dlcore.data import Inputs
    from dlcore.data.labelled import Reading

    inputs, data = about.get("inputs"), settings.data
    if about.get("task") == "text":
        raise ConfigError("evaluate: --data is for tables, series, arrays and images, but the run is of a text")
    aside = [data.group, data.split, *(data.time or ())]
    return Reading(
        shape=shape,
        task=about.get("task") or "",
        classes=about.get("classes"),
        inputs=None if not inputs else Inputs.from_dict(inputs),
        target=about.get("target") or data.heads or data.target,
        ignore=[*(data.ignore or ()), *(name for name in aside if name is not None)],
        missing=data.missing,
        missing_target=data.missing_target,
        corrupt=data.corrupt or "stop",
    )


def _alone(
    path: str, part: Any, about: dict[str, Any], source: str, what: str = "all of them", left_out: int = 0
) -> Examined:
    """The one part as Splits, for what a trainer must know of the data."""
    from dlcore.data import Normalizer, Splits
    from dlcore.data.labelled import prepared

    learnt = about.get("normalizer")
    normalizer = None if learnt is None else Normalizer.from_dict(learnt)
    ready, classes = prepared(part, normalizer), about.get("classes")
    if isinstance(classes, dict):
        classes = {name: tuple(names) for name, names in classes.items()}
    splits = Splits(
        train=ready,
        dev=ready,
        test=ready,
        name=Path(path).stem,
        task=about["task"],
        classes=classes if classes is None or isinstance(classes, dict) else tuple(classes),
        source=source,
        normalizer=normalizer,
    )
    return Examined(splits, ready, what, left_out)
