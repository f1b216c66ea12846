"""The settings of a run: frozen dataclasses whose fields are Python arguments, TOML keys and command-line flags alike.

A setting has one name everywhere: ``TrainConfig(batch_size=32)``, ``batch_size = 32`` under ``[train]``, and
``--batch-size 32``. No name occurs twice, so a flag needs no prefix and a key in the wrong section can be put right.

>>> from dlcore.train import config
>>> settings = config.Config.of(data="digits", epochs=3)
>>> settings.train.epochs
3

None stands for "as the choice has it": :meth:`Config.resolve` looks at the data and fills in every such setting, from
the tables of ``_sections.py`` and nowhere else. NumPy is imported when something is built, and not before: ``--help``
reads this module.
"""

from __future__ import annotations

import functools
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dlcore.errors import ConfigError
from dlcore.recorded import did_you_mean
from dlcore.train._sections import (
    BATCH_SIZE,
    CHOICES,
    EPOCHS,
    FEW_EXAMPLES,
    RECURRENT,
    SECTIONS,
    TEXT,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    PenaltyConfig,
    RunConfig,
    ScheduleConfig,
    TrainConfig,
    TransferConfig,
)
from dlcore.train._setting import Setting, settings_of
from dlcore.train._tasks import check_metrics, default_metrics, losses_of, metrics_of, outputs_of, recorded, tasks_of

if TYPE_CHECKING:
    from backends.device import Device
    from dlcore.data import Splits
    from dlcore.nn import Module
    from dlcore.train.callbacks import Callback
    from dlcore.train.trainer import Trainer

__all__ = [
    "Config",
    "DataConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PenaltyConfig",
    "RunConfig",
    "ScheduleConfig",
    "Setting",
    "TrainConfig",
    "TransferConfig",
    "dump",
    "explain",
    "load",
    "outputs_of",
    "settings",
]

_OWNER = {name: owner for owner, table in CHOICES.items() for takes in table.values() for name in takes}
_FOLLOWS = _OWNER | {
    "lr": "optimizer", "baseline": "model", "target": "data", "heads": "data", "ignore": "data", "metrics": "data",
    "loss_weights": "data", "window": "data", "unknown": "data",
}  # fmt: skip
"""By setting, the choice that it depends on: where that changes, a former value means nothing."""


CLIP_NORM = 5.0
"""Of recurrent models, whose gradients may explode (notes 5)."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of a run, by section.

    >>> Config(train=TrainConfig(epochs=3)) == Config.of(epochs=3)
    True
    >>> Config.of(schedule="cosine", lr_decay=0.1)
    Traceback (most recent call last):
    dlcore.errors.ConfigError: lr_decay goes with the schedule inverse_time, but the schedule is cosine; leave \
lr_decay out or change schedule
    """

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    penalty: PenaltyConfig = field(default_factory=PenaltyConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        values = self.flat()
        for owner, table in CHOICES.items():
            choice = values[owner]
            if choice is None:
                continue  # resolve() makes the choice, and comes back here
            for name in (name for name, of in _OWNER.items() if of == owner):
                if values[name] is not None and name not in table.get(choice, {}):
                    takers = [other for other, takes in table.items() if name in takes]
                    raise ConfigError(
                        f"{name} goes with the {owner} {' or '.join(takers)}, but the {owner} is {choice}; "
                        f"leave {name} out or change {owner}"
                    )
        if self.optimizer.clip_norm is not None and self.optimizer.clip_value is not None:
            raise ConfigError("clip_norm and clip_value are both set, but one limit is expected; leave one out")
        if self.model.model == "knn":
            for name in (name for name in ("start_from", "freeze", "lr_scale") if values[name] is not None):
                raise ConfigError(f"{name} is for models with weights, but the model is knn; leave it out")
        unknown = set(self.train.weights()) - set(self.data.heads or ())
        if unknown:
            raise ConfigError(
                f"loss_weights has {', '.join(sorted(unknown))}, but the heads are "
                f"{', '.join(self.data.heads or ()) or 'none'}"
            )

    @classmethod
    def of(cls, **values: Any) -> Config:
        """A configuration from settings by name. Raises ConfigError for a name that is none."""
        known = settings()
        sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
        for name, value in values.items():
            if name not in known:
                raise ConfigError(f"{name} is not a setting{did_you_mean(name, known)}")
            sections[known[name].section][name] = value
        return cls(**{name: SECTIONS[name](**content) for name, content in sections.items()})

    def flat(self) -> dict[str, Any]:
        """Every setting by name.

        >>> Config.of(epochs=3).flat()["epochs"]
        3
        """
        return {name: getattr(getattr(self, setting.section), name) for name, setting in settings().items()}

    def override(self, given: Mapping[str, Any]) -> Config:
        """These settings with those ``given`` in place.

        Where another model is given, the settings of the former one go with it, and likewise for data, optimizer,
        schedule and penalty: the filters of a convolution mean nothing to an mlp.

        >>> Config.of(optimizer="sgd", lr=0.5).override({"optimizer": "adam"}).optimizer.lr is None
        True
        """
        values = self.flat()
        changed = {name for name in (*CHOICES, "data") if values[name] not in (None, given.get(name, values[name]))}
        dropped = {name: None for name, owner in _FOLLOWS.items() if owner in changed}
        return Config.of(**{**values, **dropped, **given})

    def resolve(self, data: Splits) -> Config:
        """These settings with everything filled in that follows from the data and the choices: no None is left but for
        settings that the choices do not take, and those that are off.

        Raises ConfigError where the model, the metrics, the baseline or an augmentation do not suit the data.

        >>> from dlcore.data import load
        >>> resolved = Config.of(data="digits").resolve(load("digits"))
        >>> resolved.model.model, resolved.train.epochs, resolved.optimizer.lr
        ('cnn', 40, 0.015)
        """
        task = self._check_task(data)
        few = len(data.train) < FEW_EXAMPLES
        model = self.model.model or _usual_model(data)
        _check_model(model, data)
        if self.train.augment and not _is_images(data):
            raise ConfigError(
                f"augment is for images (H, W, C), but {data.name} has examples of shape {data.train.shape}; leave it "
                "out"
            )
        given = self.override({"model": model})
        filled = {
            "epochs": EPOCHS[few],
            "batch_size": BATCH_SIZE[few],
            "metrics": default_metrics(data),
            "baseline": _baseline(model, data),
        }
        for owner, table in CHOICES.items():
            filled |= table.get(given.flat()[owner], {})
        values = given.flat()
        if task == "text":
            filled |= TEXT
        if model in RECURRENT and values["clip_value"] is None:
            filled["clip_norm"] = CLIP_NORM
        learner = model if model != "knn" else values["baseline"] or filled["baseline"]
        filled["lr"] = _learning_rate(given.optimizer.optimizer, learner, task, few)
        resolved = Config.of(**(values | {name: value for name, value in filled.items() if values[name] is None}))
        _check_measures(resolved, data)
        return resolved

    def beside(self) -> Config:
        """The settings of the model that these, resolved, are compared with, on the same data and from the same seed.

        It has its own defaults and is trained as long. Beside knn, which is not trained, the settings of training are
        all its own.

        >>> Config.of(model="knn", neighbors=3, epochs=2, baseline="mlp").beside() == Config.of(
        ...     model="mlp", epochs=2, baseline="none"
        ... )
        True
        """
        if self.model.model == "knn":
            return self.override({"model": self.run.baseline, "baseline": "none"})
        return Config(
            data=self.data,
            model=ModelConfig(model=self.run.baseline),
            train=replace(self.train, patience=0, augment=None),
            run=RunConfig(baseline="none"),
        )

    def anchored(self) -> Config:
        """These settings with every path absolute, so that they mean the same in another folder.

        >>> Config.of(data="digits", model="build.py:model").anchored().model.model == f"{os.getcwd()}/build.py:model"
        True
        """
        data, model = self.data.data, self.model.model
        if os.path.exists(os.path.expanduser(data)) and data not in _names_of_data():
            data = os.path.abspath(os.path.expanduser(data))
        if model and ".py:" in model:
            file, _, function = model.rpartition(":")
            model = f"{os.path.abspath(os.path.expanduser(file))}:{function}"
        start_from = self.transfer.start_from
        if start_from is not None:
            there = [os.path.expanduser(path) for path in (start_from, os.path.join(self.run.runs, start_from))]
            start_from = next((os.path.abspath(path) for path in there if os.path.exists(path)), start_from)
        return Config.of(**{**self.flat(), "data": data, "model": model, "start_from": start_from})

    def loss(self, data: Splits) -> str | dict[str, str]:
        """The loss that suits the task: cross_entropy, binary_cross_entropy or mse; by head where there are several.

        >>> from dlcore.data import load
        >>> Config.of(data="cars").loss(load("cars"))
        'mse'
        """
        self._check_task(data)
        return losses_of(data)

    def _check_task(self, data: Splits) -> str:
        """The task; where several targets were not asked for, a ConfigError."""
        if data.task == "multitask" and self.data.heads is None:
            raise ConfigError(
                f"{data.name} has the targets {', '.join(data.train.y)}, but one is expected; choose it with target, "
                "or several with heads"
            )
        tasks = tasks_of(data).values()
        return "regression" if "regression" in tasks else next(iter(tasks))

    def trainer(
        self,
        data: Splits,
        device: str | Device | None = None,
        callbacks: Sequence[Callback] = (),
        model: Module | None = None,
    ) -> Trainer:
        """The trainer with the model, built for the data, on its device.

        device : where it is known already; else as the setting says
        callbacks : run before early stopping
        model : built; made as the settings say where none comes

        >>> settings = Config.of(data="digits", model="mlp", hidden=(32,), epochs=2)
        >>> data = settings.data.load()
        >>> trainer = settings.trainer(data, "cpu")
        >>> len(trainer.fit(data.train, data.dev, epochs=settings.train.epochs)["dev_accuracy"])
        2
        """
        from backends.device import resolve
        from dlcore.train.memory import Memory
        from dlcore.train.trainer import Trainer

        chosen = self.resolve(data)
        place = resolve(chosen.train.device if device is None else device)
        if model is None:
            model = chosen.model.build(outputs_of(data), data.task == "text")
            dtype = "float64" if chosen.train.precision == "float64" else "float32"
            integer = "int64" if data.task == "text" else None
            with Memory(place, chosen.train.memory_limit).bounded():
                model.build(data.train.shape, chosen.train.seed, dtype=dtype, device=place, input_dtype=integer)
            chosen.transfer.apply(model, chosen.run.runs)
        return Trainer(
            model,
            loss=chosen.loss(data),
            optimizer=chosen.optimizer.build(),
            metrics=metrics_of(data, chosen.train.metrics or ()),
            loss_weights=chosen.train.weights() or None,
            schedule=chosen.schedule.build(chosen.train.epochs or 1),
            penalty=chosen.penalty.build(),
            clip=chosen.optimizer.clip(),
            device=place,
            seed=chosen.train.seed,
            threads=chosen.train.threads,
            precision=chosen.train.precision,
            memory_limit=chosen.train.memory_limit,
            tf32=chosen.train.tf32,
            augment=chosen.train.augmentation(),
            callbacks=[*callbacks, *chosen.train.callbacks()],
        )


def _names_of_data() -> tuple[str, ...]:
    from dlcore import data

    return data.names()


@functools.cache
def settings() -> dict[str, Setting]:
    """What is known about every setting, by name.

    >>> settings()["batch_size"].section, settings()["batch_size"].flag
    ('train', '--batch-size')
    """
    return {entry.name: entry for name, section in SECTIONS.items() for entry in settings_of(section, name)}


def explain(setting: Setting) -> str:
    """The help of a setting, with its choices, the choices that take it, and a default that follows from them.

    >>> explain(settings()["activation"]).partition(" [choices")[0]
    'cnn, mlp: what follows each hidden layer'
    """
    text = setting.help
    if setting.choices and not setting.file:
        what, bracket, default = text.partition(" [default: ")
        text = f"{what} [choices: {', '.join(setting.choices)}]{bracket}{default}"
    owner = _OWNER.get(setting.name)
    if owner is None:
        return text
    defaults = {choice: takes[setting.name] for choice, takes in CHOICES[owner].items() if setting.name in takes}
    (_, usual), *others = defaults.items()
    words = [_words(usual), *(f"{choice} {_words(value)}" for choice, value in others if value != usual)]
    return f"{', '.join(defaults)}: {text} [default: {', '.join(words)}]"


def _words(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


# What suits the data -------------------------------------------------------------------------------------------------


def _is_images(data: Splits) -> bool:
    return len(data.train.shape) == 3  # (H, W, C)


def _are_sequences(data: Splits) -> bool:
    """(T, D), of which it is known that the steps follow one another."""
    return len(data.train.shape) == 2 and (
        getattr(data.train, "lengths", None) is not None or data.last_value is not None
    )


def _usual_model(data: Splits) -> str:
    if data.task == "text":
        return "lstm"
    if _are_sequences(data):
        return "gru"
    return "cnn" if _is_images(data) else "mlp"


def _check_model(model: str, data: Splits) -> None:
    if data.task == "text" and model not in RECURRENT and ".py" not in model:
        raise ConfigError(f"{model} is not for text, but {data.name} is one; take {', '.join(RECURRENT)}")
    if model in RECURRENT and data.task != "text" and len(data.train.shape) != 2:
        raise ConfigError(
            f"{model} is for sequences (T, D) and text, but {data.name} has examples of shape {data.train.shape}; "
            f"take {'cnn' if _is_images(data) else 'mlp'}, or for a series give window"
        )
    if model == "cnn" and not _is_images(data):
        raise ConfigError(
            f"cnn is for images (H, W, C), but {data.name} has examples of shape {data.train.shape}; take mlp"
        )
    if model in ("logistic", "knn") and data.task == "multitask":
        raise ConfigError(f"{model} is for one target, but {data.name} has several; take linear or mlp")
    if model in ("logistic", "knn") and data.task == "regression":
        raise ConfigError(f"{model} is for classes, but {data.name} has numbers to predict; take linear or mlp")


def _learning_rate(optimizer: str, model: str, task: str, few: bool) -> float:
    """The default learning rate: sound rather than best.

    sgd and momentum follow the size of the gradient, and that of a squared error has no bound. The other rules take
    steps of about lr per parameter: few examples give few steps, and a single layer must go far in each.
    """
    if optimizer in ("sgd", "momentum"):
        return 0.01 if task == "regression" else 0.1
    if model in RECURRENT:
        few = False  # an epoch has few examples, but each has many steps
    rate = {"rmsprop": 1e-3, "adam": 3e-3, "adamw": 3e-3, "adagrad": 1e-2}[optimizer]
    return rate * (5 if few else 1) * (10 if model in ("logistic", "linear") else 1)


def _baseline(model: str, data: Splits) -> str:
    """The next simpler model; a network for knn, the other way of learning."""
    if model == "knn":
        return "cnn" if _is_images(data) else "mlp"
    if data.task == "text":
        return "none"
    if model in ("logistic", "linear"):
        return "none"
    if model != "mlp" and _is_images(data):
        return "mlp"
    return "linear" if data.task in ("regression", "multitask") else "logistic"


def _check_measures(config: Config, data: Splits) -> None:
    metrics = config.train.metrics or ()
    check_metrics(data, metrics)
    names = [f"{part}{name}" for part in ("dev_", "") for name in recorded(data, metrics)]
    if config.train.patience and config.train.monitor not in names:
        raise ConfigError(
            f"monitor is {config.train.monitor!r} but one of {', '.join(names)} is expected"
            f"{did_you_mean(config.train.monitor, names)}"
        )
    if config.run.baseline not in (None, "none"):
        _check_model(config.run.baseline, data)


# Files ---------------------------------------------------------------------------------------------------------------


def load(path: str | os.PathLike[str]) -> Config:
    """The configuration in a TOML file: sections such as ``[train]``, keys as in :class:`Config`; what is left out has
    its default.

    Raises ConfigError, naming the file, where it is missing or no TOML, and for an unknown or misplaced key, a value of
    the wrong type and one out of range, each with its section.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "run.toml"
    >>> _ = file.write_text("[train]\\nepochs = 3\\n")
    >>> load(file) == Config.of(epochs=3)
    True
    >>> _ = file.write_text("[train]\\nepoch = 3\\n")
    >>> load(file)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    dlcore.errors.ConfigError: ...run.toml: [train] epoch is not a known key (did you mean epochs?); known here are ...
    """
    sections: dict[str, dict[str, Any]] = {}
    for name, content in _read(path).items():
        if name not in SECTIONS:
            raise ConfigError(f"{path}: {_unknown_section(name, content)}")
        if not isinstance(content, dict):
            raise ConfigError(
                f"{path}: {name} is {content!r} but a section is expected; write [{name}] on a line of its own, and "
                f"its keys below: {', '.join(_names(name))}"
            )
        for key in content:
            if key not in _names(name):
                raise ConfigError(f"{path}: [{name}] {_unknown_key(name, key)}")
        sections[name] = {
            key: settings()[key].check(value, f"{path}: [{name}] {key}") for key, value in content.items()
        }
    try:
        return Config(**{name: SECTIONS[name](**content) for name, content in sections.items()})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def dump(config: Config) -> str:
    """The TOML text from which :func:`load` makes an equal configuration; a setting that is None is left out.

    >>> dump(Config.of(hidden=(64, 32))).splitlines()[6:8]
    ['[model]', 'hidden = [64, 32]']
    """
    blocks = []
    for name in SECTIONS:
        section = getattr(config, name)
        lines = [f"{key} = {_toml(getattr(section, key))}" for key in _names(name) if getattr(section, key) is not None]
        if lines:
            blocks.append("\n".join([f"[{name}]", *lines]))
    return "\n\n".join(blocks) + "\n"


def _names(section: str) -> list[str]:
    return [name for name, entry in settings().items() if entry.section == section]


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; check the path of the configuration") from None
    except OSError as error:
        raise ConfigError(f"{path}: the configuration cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: not in UTF-8 (byte {error.start})") from None
    except ValueError as error:  # also a number of more digits than Python takes
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _unknown_section(name: str, content: Any) -> str:
    if name in settings():
        return f"{name} stands outside any section; it belongs in [{settings()[name].section}]"
    what, shown = ("section", f"[{name}]") if isinstance(content, dict) else ("key", name)
    known = SECTIONS if isinstance(content, dict) else settings()
    return f"{shown} is not a known {what}{did_you_mean(name, known)}; sections are {', '.join(SECTIONS)}"


def _unknown_key(section: str, key: str) -> str:
    known = settings()
    if key in known:
        return f"{key} belongs in [{known[key].section}]"
    near = did_you_mean(key.replace("-", "_"), _names(section)) or did_you_mean(key.replace("-", "_"), known)
    return f"{key} is not a known key{near}; known here are {', '.join(_names(section))}"


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):  # TOML's escapes are JSON's; only DEL must be escaped in one and not in the other
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value).lower() if isinstance(value, bool) else repr(value)
