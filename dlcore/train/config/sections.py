"""The sections of a configuration, one concern each: settings, and what is built from them.

NumPy is imported when something is built, and not before.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlcore.errors import ConfigError
from dlcore.train.config.data_section import DataConfig
from dlcore.train.config.defaults import BATCH_SIZE, CHOICES, DECAY, EPOCHS, FEW_EXAMPLES, RULES, TASKS
from dlcore.train.config.schema import Section, Setting, setting, settings_of
from dlcore.train.engine.memory import limit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlcore.data._change import Change
    from dlcore.data.augment import Augmentation
    from dlcore.nn import Module
    from dlcore.optim import Optimizer, Schedule
    from dlcore.optim.clipping import Clip
    from dlcore.optim.penalties import Penalty
    from dlcore.train.engine.callback import Callback

__all__ = [
    "SECTIONS",
    "DataConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PenaltyConfig",
    "RunConfig",
    "ScheduleConfig",
    "TrainConfig",
    "TransferConfig",
    "settings",
]


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Section):
    """What learns.

    >>> ModelConfig(model="mlp", hidden=(32,), activation="tanh").build(outputs=1)
    Sequential(
      0: Flatten()
      1: Dense(units=32, init='xavier_normal')
      2: Tanh()
      3: Dense(units=1)
    )
    """

    model: str | None = setting(
        None,
        f"{', '.join(CHOICES['model'])}, or one's own: file.py:build [default: cnn for images, mlp for "
        "tables, gru for sequences, lstm for text]",
        choices=CHOICES["model"],
        file=True,
    )
    channels: tuple[int, ...] | None = setting(
        None,
        "filters of each convolution; for images with 48 pixels or more on the shorter side 16 32 64",
        within="[1, inf)",
    )
    global_pool: bool | None = setting(
        None, "average each channel over the image before the last layer; for images of 48 pixels or more: yes"
    )
    hidden: tuple[int, ...] | None = setting(None, "units of each hidden layer", within="[1, inf)")
    bidirectional: bool | None = setting(None, "read sequences in both directions")
    activation: str | None = setting(
        None, "what follows each hidden layer", choices=("relu", "leaky_relu", "sigmoid", "tanh")
    )
    dropout: float | None = setting(None, "share of activations dropped in training", within="[0, 1)")
    neighbors: int | None = setting(None, "nearest training examples that vote", within="[1, inf)")
    distance: str | None = setting(None, "sum of absolute or of squared differences", choices=("l1", "l2"))
    votes: str | None = setting(
        None, "one vote each, or 1/distance, so that nearer ones count more", choices=("uniform", "distance")
    )

    def build(self, outputs: int | dict[str, int], text: bool = False, change: Change | None = None) -> Module:
        """The model, for so many outputs, or for so many of each head; see :mod:`dlcore.train.assembly.zoo`."""
        from dlcore.train.assembly import zoo

        return zoo.build(outputs, self, text, change)


@dataclass(frozen=True, kw_only=True)
class TransferConfig(Section):
    """Which weights the model begins with, and how they go on; patterns as in :meth:`dlcore.nn.Module.freeze`.

    >>> settings = TransferConfig(freeze=("0",), lr_scale=("2=0.1",))
    >>> from dlcore import nn
    >>> model = nn.Sequential(nn.Dense(4), nn.ReLU(), nn.Dense(2)).build((3,))
    >>> settings.scales(), settings.apply(model, runs="runs")
    ({'2': 0.1}, None)
    >>> [(s.path, s.active, s.lr_scale) for s in model.vector.segments][1:3]
    [('0.b', False, 1.0), ('2.w', True, 0.1)]
    """

    start_from: str | None = setting(
        None,
        "begin with the weights of another run, its name or folder, or of a file: those of all layers, of the last one "
        "where it fits [default: random ones]",
        alias="--from",
    )
    anew: tuple[str, ...] | None = setting(
        None, "with --from, what begins with new weights, as in --freeze; all else is taken over"
    )
    freeze: tuple[str, ...] | None = setting(
        None, "what does not learn: paths of parameters or layers as in the report, such as 0.w or 0, or with * and ?"
    )
    lr_scale: tuple[str, ...] | None = setting(
        None, "factors on the learning rate of parts, as PATTERN=FACTOR, such as 0=0.1"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.anew and self.start_from is None:
            raise ConfigError("anew goes with start_from, of whose weights it takes none; leave anew out")
        self.scales()

    def scales(self) -> dict[str, float]:
        """The factors on the learning rate by pattern."""
        return pairs("lr_scale", self.lr_scale or ())

    def apply(self, model: Module, runs: str, characters: Sequence[str] | None = None) -> None:
        """Give a built ``model`` its first weights, and freeze and scale what is asked for.

        runs : folder of all runs, in which ``start_from`` may be a name
        characters : of a text, in the order of their numbers

        Raises CheckpointError where the weights do not fit, ConfigError for a pattern that matches nothing and where
        nothing is left to learn; and where other characters of a text would get the weights of its own.
        """
        from dlcore.train.assembly.finetune import classes_of, transfer_weights

        if self.start_from is not None:
            if characters and self.anew is None and classes_of(self.start_from, runs) not in (None, list(characters)):
                raise ConfigError(
                    f"start_from: {self.start_from} has learnt other characters, whose weights mean nothing here; take "
                    "what lies between: --anew embed out"
                )
            transfer_weights(model, self.start_from, self.anew, runs=runs)
        for pattern in self.freeze or ():
            model.freeze(pattern)
        if self.freeze and not any(segment.active for segment in model.built().segments):
            raise ConfigError(f"freeze: {', '.join(self.freeze)} leaves nothing that learns; freeze less")
        for pattern, factor in self.scales().items():
            model.scale_lr(pattern, factor)


def pair(name: str, word: str) -> tuple[str, float]:
    """``word=number``, split."""
    key, equals, text = word.rpartition("=")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not equals or not key or not 0 <= value < float("inf"):
        raise ConfigError(f"{name} has {word!r:.60} but NAME=NUMBER is expected, the number at least 0, such as 0=0.1")
    return key, value


def pairs(name: str, words: Sequence[str]) -> dict[str, float]:
    """Each ``word=number``, split. Raises ConfigError for a word that occurs twice."""
    found: dict[str, float] = {}
    for key, value in (pair(name, word) for word in words):
        if key in found:
            raise ConfigError(f"{name} has {key!r:.60} twice; give it one number")
        found[key] = value
    return found


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Section):
    """How the parameters are updated.

    >>> settings = OptimizerConfig(optimizer="rmsprop", lr=0.1, beta=0.9, eps=1e-8, clip_norm=5.0)
    >>> settings.build(), settings.clip()
    (RMSprop(lr=0.1), clip_by_norm(limit=5.0))
    """

    optimizer: str | None = setting(
        None,
        "update rule [default: adam; adamw, which decays weights, for an mlp on a table without penalty]",
        choices=CHOICES["optimizer"],
    )
    lr: float | None = setting(
        None, "learning rate, per step [default: by optimizer, model and data]", within="[0, inf)"
    )
    beta: float | None = setting(None, "weight of the past", within="[0, 1)")
    beta1: float | None = setting(None, "weight of past gradients", within="[0, 1)")
    beta2: float | None = setting(None, "weight of past squares", within="[0, 1)")
    eps: float | None = setting(None, "added to the root", within="[0, inf)")
    bias_correction: bool | None = setting(None, "correct the average for its start at zero")
    nesterov: bool | None = setting(None, "look one step ahead")
    weight_decay: float | None = setting(
        None,
        f"decay of the weights, per unit of lr; of an mlp on a table {DECAY[0]:g}, below {FEW_EXAMPLES:,} examples "
        f"{DECAY[1]:g}",
        within="[0, inf)",
    )
    clip_norm: float | None = setting(
        None, "largest norm of the whole gradient [default: none; gru, lstm, rnn 5]", within="(0, inf)"
    )
    clip_value: float | None = setting(None, "largest value in the gradient [default: none]", within="(0, inf)")

    def build(self) -> Optimizer:
        """The optimiser."""
        from dlcore import optim

        rules = {
            "sgd": optim.SGD, "momentum": optim.Momentum, "rmsprop": optim.RMSprop, "adam": optim.Adam,
            "adamw": optim.AdamW, "adagrad": optim.Adagrad,
        }  # fmt: skip
        rule = self.optimizer or "adam"
        arguments = {name: getattr(self, name) for name in ("lr", *CHOICES["optimizer"][rule])}
        if "weight_decay" in arguments:
            arguments["decay"] = arguments.pop("weight_decay")
        return rules[rule](**arguments)

    def clip(self) -> Clip | None:
        """What limits the gradient; None where nothing does."""
        from dlcore import optim

        if self.clip_norm is not None:
            return optim.clip_by_norm(self.clip_norm)
        return None if self.clip_value is None else optim.clip_by_value(self.clip_value)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig(Section):
    """How the learning rate changes.

    >>> ScheduleConfig(schedule="inverse_time", lr_decay=1.0).build(epochs=10)(0.2, epoch=1)
    0.1
    """

    schedule: str = setting("cosine", "how the learning rate falls", choices=CHOICES["schedule"])
    lr_decay: float | None = setting(None, "lr / (1 + decay · epoch)", within="[0, inf)")
    lr_base: float | None = setting(None, "lr · base^epoch", within="(0, 1]")
    lr_k: float | None = setting(None, "lr · k / √epoch or √step", within="[0, inf)")
    lr_per: str | None = setting(None, "what the root counts", choices=("epoch", "step"))
    lr_factor: float | None = setting(None, "factor of each stair", within="[0, inf)")
    lr_every: int | None = setting(None, "epochs of a stair", within="[1, inf)")
    lr_floor: float | None = setting(None, "share of lr that is left at the end", within="[0, 1]")
    warmup: int = setting(0, "steps over which lr first rises from zero", within="[0, inf)")

    def build(self, epochs: int) -> Schedule:
        """The schedule of a run of ``epochs``."""
        from dlcore import optim

        schedules = {
            "constant": optim.Constant, "inverse_time": optim.InverseTime, "exponential": optim.Exponential,
            "inverse_sqrt": optim.InverseSqrt, "staircase": optim.Staircase, "cosine": optim.Cosine,
        }  # fmt: skip
        arguments = {name.removeprefix("lr_"): getattr(self, name) for name in CHOICES["schedule"][self.schedule]}
        if self.schedule == "cosine":
            arguments["epochs"] = epochs
        schedule = schedules[self.schedule](**arguments)
        return optim.Warmup(self.warmup, schedule) if self.warmup else schedule


@dataclass(frozen=True, kw_only=True)
class PenaltyConfig(Section):
    """What large weights cost.

    >>> PenaltyConfig(penalty="l2", lam=0.1).build()
    L2(lam=0.1)
    """

    penalty: str = setting("none", "penalty on the weights, part of the loss", choices=CHOICES["penalty"])
    lam: float | None = setting(
        None, "strength λ of the penalty, λ/m with m the number of training examples", within="[0, inf)"
    )

    def build(self, examples: int | None = None) -> Penalty | None:
        """The penalty; None where there is none.

        examples : m, where no trainer counts the training set
        """
        from dlcore import optim

        if self.penalty == "none" or self.lam is None:
            return None
        return {"l1": optim.L1, "l2": optim.L2}[self.penalty](self.lam, examples)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Section):
    """How long, in which precision, and where.

    >>> settings = TrainConfig(epochs=20, patience=3, augment=("flip", "shift"), loss_weights=("sex=0.5",))
    >>> settings.callbacks()[0].patience, len(settings.augmentation().transforms), settings.weights()
    (3, 2, {'sex': 0.5})
    """

    epochs: int | None = setting(
        None,
        f"passes over the training set [default: {EPOCHS[0]}, below {FEW_EXAMPLES:,} examples {EPOCHS[1]}]",
        within="[1, inf)",
    )
    batch_size: int | None = setting(
        None,
        f"examples per step [default: {BATCH_SIZE[0]}, below {FEW_EXAMPLES:,} examples {BATCH_SIZE[1]}]",
        within="[1, inf)",
    )
    seed: int = setting(
        0, "seed of the initial weights, the batch order, all masks and augmentations", within="[0, inf)"
    )
    device: str | None = setting(None, "cpu, cuda, cuda:N or auto [default: $DLCORE_DEVICE, else auto]")
    threads: int = setting(
        1, "threads of the BLAS on a CPU; 1 gives the same bits on any number of cores", within="[1, 4096]"
    )
    memory_limit: str | None = setting(
        None,
        "the most that training may take of a CUDA device's memory, such as 4GiB, or 0.5 for half of it; no effect "
        "on a CPU [default: no limit]",
    )
    tf32: bool = setting(
        False,
        "compute products of float32 in TF32, faster on a GPU of compute capability 8.0 or later, refused elsewhere; "
        "the results differ by about 1e-3",
    )
    precision: str = setting(
        "float32",
        "of the parameters and of all computation; mixed: passes in float16 beside float32 parameters",
        choices=("float32", "mixed", "float64"),
    )
    loss_weights: tuple[str, ...] | None = setting(
        None, "with heads, how much the loss of each counts, as HEAD=WEIGHT, such as sex=0.5 [default: 1 each]"
    )
    class_weight: tuple[str, ...] | None = setting(
        None,
        "weights of the classes in the loss: balanced, each n / (k · n_c) of the training set, so that rare classes "
        "count as much as common ones; or CLASS=WEIGHT, such as yes=5, others 1 [default: equal]",
    )
    metrics: tuple[str, ...] | None = setting(
        None,
        "what to measure beside the loss; of heads, each those that suit it; recall, precision and f1 of two classes "
        "are those of the positive one [default: accuracy; r2 for a regression]",
        choices=dict.fromkeys(name for task in TASKS.values() for name in task["metrics"]),
    )
    positive: str | None = setting(
        None, "of two classes, the one of which recall, precision and f1 are [default: the second in sorted order]"
    )
    augment: tuple[str, ...] | None = setting(
        None,
        "what to do at random to the images of each training batch, one after the other: flip left and right, rotate "
        "by up to 10°, zoom by 0.9 to 1.1, shift by up to a tenth, crop a window of 7/8 and enlarge it, brightness by "
        "up to 0.2, cutout of a square of 1/4 [default: nothing]",
        choices=("flip", "rotate", "zoom", "shift", "crop", "brightness", "cutout"),
    )
    patience: int = setting(
        0, "epochs without improvement after which training stops, with the best weights; 0: never", within="[0, inf)"
    )
    monitor: str = setting("dev_loss", "what patience watches: dev_loss, dev_accuracy, ...")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.weights()
        if self.class_weight not in (None, ("balanced",)):
            for word in self.class_weight or ():
                if "=" not in word:
                    raise ConfigError(
                        f"class_weight has {word!r:.60} but balanced, alone, or CLASS=WEIGHT is expected, such as yes=5"
                    )
            pairs("class_weight", self.class_weight or ())
        limit_of(self.memory_limit)

    def weights(self) -> dict[str, float]:
        """How much each head's loss counts, where that is given."""
        return pairs("loss_weights", self.loss_weights or ())

    def augmentation(self, rules: int = RULES) -> Augmentation | None:
        """What is done to each training batch; None where nothing is.

        rules : of the data; see ``DataConfig.rules``
        """
        from dlcore.data import augment

        if self.augment is None:
            return None
        usual = {
            "flip": augment.Flip(), "rotate": augment.Rotate(10), "zoom": augment.Zoom(0.9, 1.1),
            "shift": augment.Shift(0.1), "crop": augment.Crop(size=0.875), "brightness": augment.Brightness(0.2),
            "cutout": augment.Cutout(0.25),
        }  # fmt: skip
        usual["crop"].rules = rules
        return augment.Compose([usual[name] for name in self.augment])

    def callbacks(self) -> list[Callback]:
        """Early stopping, where it is asked for."""
        from dlcore.train.callbacks.early_stopping import EarlyStopping

        return [EarlyStopping(self.patience, self.monitor)] if self.patience else []


@dataclass(frozen=True, kw_only=True)
class RunConfig(Section):
    """What is written, and what the result is compared with.

    >>> RunConfig(name="first", checkpoint_minutes=5).runs
    'runs'
    >>> RunConfig(name="a/b")
    Traceback (most recent call last):
    dlcore.errors.ConfigError: name is 'a/b' but a folder's name is expected: letters, digits and _ . + = -
    """

    runs: str = setting("runs", "folder of all runs")
    name: str | None = setting(None, "name of this run's folder [default: data-model-001, counting up]")
    checkpoint_steps: int = setting(
        0, "save the run every so many steps, besides after each epoch; 0: not by steps", within="[0, inf)"
    )
    checkpoint_minutes: float = setting(
        10.0, "save the run every so many minutes too; 0: not by time", within="[0, inf)"
    )
    baseline: str | None = setting(
        None,
        "model to compare with, trained on the same data [default: mlp for the cnn, one layer for the mlp, for knn "
        "the cnn or, on tables, the mlp, to which all settings of training then apply]",
        choices=("cnn", "mlp", "logistic", "linear", "none"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name is not None and not re.fullmatch(r"\w[\w.+=-]*", self.name):
            raise ConfigError(f"name is {self.name!r} but a folder's name is expected: letters, digits and _ . + = -")


SECTIONS: dict[str, type] = {
    "data": DataConfig,
    "model": ModelConfig,
    "transfer": TransferConfig,
    "optimizer": OptimizerConfig,
    "schedule": ScheduleConfig,
    "penalty": PenaltyConfig,
    "train": TrainConfig,
    "run": RunConfig,
}


@functools.cache
def settings() -> dict[str, Setting]:
    """What is known about every setting, by name.

    >>> settings()["batch_size"].section, settings()["batch_size"].flag
    ('train', '--batch-size')
    """
    return {entry.name: entry for name, section in SECTIONS.items() for entry in settings_of(section, name)}
