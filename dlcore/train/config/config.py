"""The settings of a run: frozen dataclasses whose fields are Python arguments, TOML keys and command-line flags alike.

A setting has one name everywhere: ``TrainConfig(batch_size=32)``, ``batch_size = 32`` under ``[train]``, and
``--batch-size 32``. No name occurs twice, so a flag needs no prefix and a key in the wrong section can be put right.

>>> from dlcore.train import config
>>> settings = config.Config.of(data="digits", epochs=3)
>>> settings.train.epochs
3

None stands for "as the choice has it": :meth:`Config.resolve` looks at the data and fills in every such setting, from
the tables of ``_choices.py`` and nowhere else. NumPy is imported when something is built, and not before: ``--help``
reads this module.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dlcore._core.configurable import did_you_mean
from dlcore.errors import ConfigError
from dlcore.train.config import toml
from dlcore.train.config.classes import OF_A_CLASS, class_weights, positives
from dlcore.train.config.defaults import (
    BATCH_SIZE,
    CHOICES,
    CLIP_NORM,
    DECAY,
    EPOCHS,
    FEW_EXAMPLES,
    LARGE,
    RECURRENT,
    RULES,
    TEXT,
)
from dlcore.train.config.resolve import (
    are_large,
    baseline,
    check_measures,
    check_model,
    check_text_model,
    decays,
    is_images,
    learning_rate,
    usual_model,
    usual_optimizer,
)
from dlcore.train.config.schema import Setting
from dlcore.train.config.sections import (
    SECTIONS,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    PenaltyConfig,
    RunConfig,
    ScheduleConfig,
    TrainConfig,
    TransferConfig,
    settings,
)
from dlcore.train.config.targets import (
    default_metrics,
    losses_of,
    metrics_of,
    outputs_of,
    recorded,
    standardized,
    tasks_of,
)

if TYPE_CHECKING:
    from backends.runtime.device import Device
    from dlcore.data import Splits
    from dlcore.nn import Module
    from dlcore.train.engine.callback import Callback
    from dlcore.train.engine.trainer import Trainer

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
    "standardized",
]

_OWNER = {name: owner for owner, table in CHOICES.items() for takes in table.values() for name in takes}
_FOLLOWS = _OWNER | {
    "lr": "optimizer", "baseline": "model", "target": "data", "heads": "data", "ignore": "data", "metrics": "data",
    "loss_weights": "data", "class_weight": "data", "positive": "data", "window": "data", "unknown": "data",
    "horizon": "data", "time": "data", "by": "data", "calendar": "data", "test": "data", "group": "data",
    "split": "data",
}  # fmt: skip
"""By setting, the choice that it depends on: where that changes, a former value means nothing."""


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
            if self.train.class_weight is not None:
                raise ConfigError("class_weight is for models that learn by a loss, but the model is knn; leave it out")
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

    def changed(self) -> list[str]:
        """The settings whose values are not the defaults.

        >>> Config.of(epochs=3, patience=0).changed()
        ['epochs']
        """
        return [name for name, value in self.flat().items() if value != settings()[name].default]

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
        model = self.model.model or usual_model(data)
        check_model(model, data)
        if self.train.augment and not is_images(data):
            raise ConfigError(
                f"augment is for images (H, W, C), but {data.name} has examples of shape {data.train.shape}; leave it "
                "out"
            )
        given = self.override({"model": model})
        learner = model if model != "knn" else self.run.baseline or baseline(model, data)
        if given.optimizer.optimizer is None:
            penalized = given.penalty.penalty != "none" and given.optimizer.weight_decay is None  # one decay is enough
            given = given.override({"optimizer": "adam" if penalized else usual_optimizer(learner, data)})
        optimizer = given.optimizer.optimizer or ""
        filled = {
            "epochs": EPOCHS[few],
            "batch_size": BATCH_SIZE[few],
            "metrics": default_metrics(data),
            "baseline": baseline(model, data),
        }
        for owner, table in CHOICES.items():
            filled |= table.get(given.flat()[owner], {})
        values = given.flat()
        if task == "text":
            takes = CHOICES["model"].get(model, {})  # of a model of one's own: nothing
            filled |= {name: value for name, value in TEXT.items() if name in takes or name not in _OWNER}
        large = self.data.rules > 1 and are_large(data)
        if model == "cnn" and large:
            filled |= LARGE
        if model in RECURRENT and values["clip_value"] is None:
            filled["clip_norm"] = CLIP_NORM
        if optimizer == "adamw" and decays(learner, data):
            filled["weight_decay"] = DECAY[few]
        filled["lr"] = learning_rate(optimizer, learner, task, few, math.prod(data.train.shape) if large else 0)
        resolved = Config.of(**(values | {name: value for name, value in filled.items() if values[name] is None}))
        check_measures(resolved, data)
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

    def recorded(self, data: Splits) -> list[str]:
        """What an epoch's record holds under these settings, resolved: loss and metrics, and those of the dev set.

        >>> from dlcore.data import load
        >>> data = load("digits")
        >>> Config.of(data="digits").resolve(data).recorded(data)
        ['dev_loss', 'dev_accuracy', 'loss', 'accuracy']
        """
        names = recorded(data, self.train.metrics or ())
        return [f"{part}{name}" for part in ("dev_", "") for name in names]

    def measured(self) -> list[str]:
        """What the metrics may be called in a record; with heads each for each, of which those that suit are there.

        >>> Config.of(data="penguins", heads=("sex", "species"), metrics=("accuracy",)).measured()
        ['sex_accuracy', 'species_accuracy']
        """
        metrics = self.train.metrics or ("loss",)
        return [f"{head}_{name}" for head in self.data.heads or () for name in metrics] or list(metrics)

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
        test = self.data.test
        test = None if test is None else os.path.abspath(os.path.expanduser(test))
        start_from = self.transfer.start_from
        if start_from is not None:
            there = [os.path.expanduser(path) for path in (start_from, os.path.join(self.run.runs, start_from))]
            start_from = next((os.path.abspath(path) for path in there if os.path.exists(path)), start_from)
        return Config.of(**{**self.flat(), "data": data, "test": test, "model": model, "start_from": start_from})

    def loss(self, data: Splits) -> str | dict[str, str]:
        """The loss that suits the task: cross_entropy, binary_cross_entropy or mse; by head where there are several.

        >>> from dlcore.data import load
        >>> Config.of(data="cars").loss(load("cars"))
        'mse'
        """
        self._check_task(data)
        return losses_of(data)

    def objective(self, data: Splits) -> Any:
        """What is minimised: :meth:`loss`, with the numbers to predict standardised where the inputs are normalised.

        >>> from dlcore.data import load
        >>> Config.of(data="cars").objective(load("cars", normalize=True)).mean > 20  # miles per gallon
        True
        """
        names, standard = self.loss(data), standardized(self.seen(data))
        if isinstance(names, str):
            return standard.get("", names)
        return names | standard

    def seen(self, data: Splits) -> Splits:
        """The data as the model has them: to a model of one's own file, a series' target is a number like any other.

        >>> from dlcore.data import load
        >>> data = load("cars")
        >>> Config.of(model="linear").seen(data) is data
        True
        """
        if data.change is not None and ".py" in (self.model.model or ""):
            return replace(data, change=None)
        return data

    def metrics(self, data: Splits) -> Any:
        """What these settings, resolved, measure, as a trainer takes it; precision, recall and f1 of two classes are
        those of the positive one, and macro averages in a run of version 0.1.

        >>> from dlcore.data import load
        >>> data = load("penguins", target="sex")
        >>> [m.positive for m in Config.of(data="penguins", metrics=("recall",), positive="female").metrics(data)]
        [0]
        """
        from dlcore.metrics import named

        found: Any = metrics_of(data, self.train.metrics or ())
        labels = positives(data, self.train.positive)

        def of(head: str, name: str) -> Any:
            if name not in OF_A_CLASS:
                return name
            return replace(named(name), positive=labels.get(head) if self.data.rules > 1 else None)

        if isinstance(found, dict):
            return {head: [of(head, name) for name in names] for head, names in found.items()}
        return [of("", name) for name in found]

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
        loss: Any = None,
    ) -> Trainer:
        """The trainer with the model, built for the data, on its device.

        device : where it is known already; else as the setting says
        callbacks : run before early stopping
        model : built; made as the settings say where none comes
        loss : what the model has learnt by; :meth:`objective` of the data where none comes

        >>> settings = Config.of(data="digits", model="mlp", hidden=(32,), epochs=2)
        >>> data = settings.data.load()
        >>> trainer = settings.trainer(data, "cpu")
        >>> len(trainer.fit(data.train, data.dev, epochs=settings.train.epochs)["dev_accuracy"])
        2
        """
        from backends.runtime.device import resolve
        from dlcore.data.source import as_source
        from dlcore.train.engine.memory import Memory
        from dlcore.train.engine.trainer import Trainer

        chosen = self.resolve(data)
        place = resolve(chosen.train.device if device is None else device)
        if model is None:
            model = chosen.model.build(outputs_of(data), data.task == "text", self.seen(data).change)
            dtype = "float64" if chosen.train.precision == "float64" else "float32"
            integer = "int64" if as_source(data.train).dtype.kind in "iub" else None
            with Memory(place, chosen.train.memory_limit).bounded():
                model.build(data.train.shape, chosen.train.seed, dtype=dtype, device=place, input_dtype=integer)
            characters = data.classes if data.task == "text" and isinstance(data.classes, tuple) else None
            if data.task == "text":
                check_text_model(chosen.model.model or "", model, outputs_of(data))
            chosen.transfer.apply(model, chosen.run.runs, characters)
        return Trainer(
            model,
            loss=chosen.objective(data) if loss is None else loss,
            optimizer=chosen.optimizer.build(),
            metrics=chosen.metrics(data),
            class_weight=class_weights(data, chosen.train.class_weight) if loss is None else None,
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
            augment=chosen.train.augmentation(chosen.data.rules),
            callbacks=[*callbacks, *chosen.train.callbacks()],
        )


def _names_of_data() -> tuple[str, ...]:
    from dlcore import data

    return data.names()


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


def load(path: str | os.PathLike[str], rules: int = RULES, *, follow: bool = True) -> Config:
    """The configuration in a TOML file: sections such as ``[train]``, keys as in :class:`Config`; what is left out has
    its default.

    rules : those of the data where the file records none: 1 for the config.toml of a run of version 0.1
    follow : go through a link; not for a file that a run's folder holds

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
    quickly = None if follow else toml.quickly(path, rules)  # a pipe that the user names is read once
    if quickly is not None and "data" in quickly:
        with suppress(ConfigError):  # which is said below, with the file
            given: dict[str, Any] = dict(quickly)
            return Config(**given)
    sections = toml.read(path, follow)
    sections["data"] = {"rules": rules, **sections.get("data", {})}
    try:
        return Config(**{name: SECTIONS[name](**content) for name, content in sections.items()})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def dump(config: Config) -> str:
    """The TOML text from which :func:`load` makes an equal configuration; a setting that is None is left out.

    >>> "hidden = [64, 32]" in dump(Config.of(hidden=(64, 32))).splitlines()
    True
    """
    return toml.text({name: getattr(config, name) for name in SECTIONS})
