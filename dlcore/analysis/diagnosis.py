"""What stands between a model and the error that is possible: avoidable bias, variance, or data of another kind.

Four errors in a row, each a little larger than the one before; the steps between them have names and remedies:

    Bayes error    →  training error   avoidable bias         the model does not even fit what it has seen
    training error →  train-dev error  variance               it does not carry over to examples that it has not seen
    train-dev error → dev error        train/dev mismatch     the development set is of another kind

Without a train-dev set, a part of the training data that is held out, variance and mismatch are one step.

An error of a classifier is a proportion of n examples, and so known up to chance. Each step has its interval: Wilson's
for the training error, and for a difference Newcombe's, which joins the Wilson intervals of the two proportions. A loss
and an R² are no proportions: they need their standard errors, which :func:`diagnose_parts` has of an R². From the means
alone nobody can say what chance does.

Source: notes, 2.1, 2.2 and 3.1; :mod:`dlcore.analysis.intervals`; for the mismatch A. Ng, Machine Learning Yearning
(2018), chapters 40 to 43.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

from dlcore._core.configurable import did_you_mean
from dlcore._core.validation import is_number, number
from dlcore.analysis.gap import PROPORTIONS, WORDS, Gap, Judge
from dlcore.errors import ConfigError, DataError

if TYPE_CHECKING:
    from dlcore.train.engine.history import History

__all__ = ["WORDS", "Diagnosis", "Gap", "diagnose", "diagnose_parts", "faults_of"]

Record = Mapping[str, Any]
PARTS = {"train": "", "train_dev": "train_dev_", "dev": "dev_"}
"""By set, what its figures' names begin with in a record."""

NO_METRICS = ("examples", "labels", "standard_errors", "never_predicted", "not_a_number")
_SETS = {"dev": "development", "train": "training"}
NO_FIGURES = ("epoch", "penalty", "lr", "seconds", "examples_per_second")
LARGER = (*PROPORTIONS, "r2", "f1", "precision", "recall")
"""Metrics that are 1 where all is right."""

KNOBS: dict[str, tuple[str, ...]] = {
    "underfitting": (
        "first fit the training set: a larger network (--hidden, --channels)",
        "then train longer, or with another optimiser, learning rate or schedule (--epochs, --optimizer, --lr)",
        "then search the hyperparameters, the learning rate first",
    ),
    "overfitting": (
        "for the development set: more training data, or of images augmentation (--augment)",
        "then regularise: L2, dropout, early stopping (--penalty l2, --dropout, --patience)",
    ),
    "mismatch": (
        "look at what the development set has and the training set lacks",
        "then train on data more like it: collect some, or make some by augmentation (--augment)",
    ),
    "good": (
        "now the test set, once; where it is worse than the development set, take a larger development set",
        "if it disappoints in use all the same, change the development set or the metric",
    ),
}
"""By verdict, what the notes recommend (2.1, 2.2, 2.3, 3.1): one knob for one gap, in this order."""


@dataclass(frozen=True)
class Diagnosis:
    """What is to be done about a model, and why.

    bias : avoidable bias, the training error minus the Bayes error
    variance : the error of the train-dev set, of the development set where there is none, minus the training error
    mismatch : the development error minus the train-dev error; None without a train-dev set
    verdicts : of "underfitting", "overfitting", "mismatch", "good" and "uncertain", in the order of dealing with them
    advice : the next steps, in order
    measure : what the errors are, such as "1 - accuracy"
    remarks : what was taken for granted
    faults : what the measure does not show, as :func:`faults_of` words it

    ``str(diagnosis)`` is for reading.
    """

    bias: Gap
    variance: Gap
    mismatch: Gap | None
    verdicts: tuple[str, ...]
    advice: tuple[str, ...]
    measure: str = ""
    remarks: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    @property
    def gaps(self) -> tuple[Gap, ...]:
        return (self.bias, self.variance) if self.mismatch is None else (self.bias, self.variance, self.mismatch)

    def __str__(self) -> str:
        lines = [f"diagnosis: {', '.join(self.verdicts)} (error: {self.measure})"]
        lines += [f"  {gap}: {gap.state}{f'; {gap.why}' if gap.why else ''}" for gap in self.gaps]
        lines += [f"  {remark}" for remark in self.remarks]
        lines += [f"next {number}: {step}" for number, step in enumerate(self.advice, 1)]
        return "\n".join([*lines, *self.faults])


def diagnose(
    history: History | Iterable[Record] | Record,
    bayes_error: float | None = None,
    *,
    metric: str | None = None,
    examples: Mapping[str, int] | None = None,
    standard_errors: Mapping[str, float] | None = None,
    epoch: int | None = None,
    permissible: float = 0.02,
    confidence: float = 0.95,
) -> Diagnosis:
    """Say whether a model underfits, overfits, or was measured on data of another kind, and what to do next.

    history : of ``fit`` with a development set and, to tell mismatch from variance, ``train_dev=...``; or its records,
        or one record: ``{"accuracy": 0.95, "dev_accuracy": 0.9, "train_dev_accuracy": 0.94}``
    bayes_error : the smallest error that is possible, such as that of people; None takes 0, and says so
    metric : that was recorded; by default accuracy, then top_k, then r2, then the loss
    examples : how many examples, by "train", "dev" and "train_dev"; by default the history's. Of sequences, how many
        labels
    standard_errors : of a metric that is no share of right answers, by set; of a loss the standard deviation of the
        examples' losses over √n
    epoch : from 0; by default the one whose weights early stopping has kept, else the last
    permissible : a gap up to this needs nothing done about it
    confidence : of the intervals

    A gap is there where its interval excludes 0 and its value exceeds ``permissible``; it is not there where the
    interval's upper end is permissible; else it is open, and one of the verdicts is "uncertain". Of a loss or an R²
    whose standard errors are not known, every gap is open. The training figures of a history are those of the
    steps, with dropout and while the weights moved: what :func:`diagnose_parts` gets is better.

    Raises ConfigError for a metric that was not recorded, a Bayes error or a share out of range; DataError where
    nothing was measured on a development set.

    >>> found = diagnose({"accuracy": 0.99, "dev_accuracy": 0.85}, 0.005, examples={"train": 9000, "dev": 1000})
    >>> found.verdicts, f"{float(found.variance):.2f}"
    (('overfitting',), '0.14')
    """
    record = _record(history, epoch)
    counts = dict(getattr(history, "examples", {}) if examples is None else examples)
    bayes_error, remarks = _bayes(bayes_error)
    permissible, confidence = _share("permissible", permissible), _share("confidence", confidence)
    asked, metric = metric, _metric(record, metric)
    larger = metric.endswith(LARGER)
    if larger and bayes_error >= 1:
        raise ConfigError(f"diagnose: bayes_error is {bayes_error!r} but a share below 1 is expected for {metric}")
    errors = {part: _error(record, metric, part, larger) for part in PARTS if f"{PARTS[part]}{metric}" in record}
    sized = _by_part("examples", counts, 1)
    spreads = _by_part("standard_errors", standard_errors or {}, 0)
    judge = Judge({**errors, "bayes": bayes_error}, sized, spreads, permissible, confidence, metric)
    last = "train_dev" if "train_dev" in errors else "dev"
    bias = judge.gap("avoidable bias", "train", "bayes")
    variance = judge.gap("variance", last, "train")
    mismatch = judge.gap("mismatch", "dev", "train_dev") if last == "train_dev" else None
    gaps = [bias, variance, *([mismatch] if mismatch else [])]
    verdicts = _verdicts(bias, variance, mismatch)
    advice = [step for verdict in verdicts for step in KNOBS.get(verdict, ())]
    if judge.proportion or all(gap.low is not None for gap in gaps):
        advice += judge.settling(gaps)
    else:
        advice = _cautious(gaps[1:] if remarks else gaps)
    others = [] if asked else [name for name in _common(record) if name.endswith(LARGER) and name != metric]
    if others:
        remarks += (f"By {metric}; measured too, and to be had by metric: {', '.join(others)}.",)
    return Diagnosis(bias, variance, mismatch, verdicts, tuple(advice), f"1 - {metric}" if larger else metric, remarks)


def diagnose_parts(
    parts: Mapping[str, Record], bayes_error: float | None = None, *, metric: str | None = None, **how: Any
) -> Diagnosis:
    """:func:`diagnose` of figures that one and the same weights gave on each set.

    parts : by "train", "dev" and "train_dev", the figures and ``examples``, as ``result.json`` holds them of a run,
        perhaps with ``labels``, how many there are by metric, and ``standard_errors`` by metric
    how : further arguments of :func:`diagnose`

    >>> parts = {"train": {"accuracy": 0.8, "examples": 9000}, "dev": {"accuracy": 0.79, "examples": 9000}}
    >>> diagnose_parts(parts, 0.05).verdicts
    ('underfitting', 'uncertain')
    """
    figures = {part: {name: v for name, v in one.items() if name not in NO_METRICS} for part, one in parts.items()}
    record = {f"{PARTS[part]}{name}": value for part, one in figures.items() for name, value in one.items()}
    found = _metric(record, metric)
    for part, one in parts.items():
        for name in ("labels", "standard_errors"):
            if not isinstance(held := one.get(name, {}), Mapping):
                raise ConfigError(f"diagnose: {part} has {held!r:.60} in {name} but figures by metric are expected")
        if found in one.get("labels", {}):
            _by_part(f"labels of {found}", {part: one["labels"][found]}, 1)
    counts = {part: one.get("labels", {}).get(found, one.get("examples")) for part, one in parts.items()}
    spreads = {part: one.get("standard_errors", {}).get(found) for part, one in parts.items()}
    how |= {"examples": counts, "standard_errors": spreads}
    return replace(diagnose(record, bayes_error, metric=metric, **how), faults=faults_of(parts))


def faults_of(parts: Mapping[str, Record], part: str = "dev", where: str | None = None) -> tuple[str, ...]:
    """A sentence for each output of which a model never predicts a class, and for each that is NaN somewhere.

    parts : as :func:`diagnose_parts` takes them; ``never_predicted`` has by head and class how many examples there are
    part : of which there are sentences
    where : what it is called, by default as the set that it is

    >>> parts = {"dev": {"examples": 200, "never_predicted": {"": {"yes": 4}}}}
    >>> print(*faults_of(parts))
    never predicted on the development set: yes (4 of 200 examples); accuracy hides this, --metrics recall f1 \
shows it; where a class is rare, try --class-weight balanced, or CLASS=WEIGHT
    """
    figures, where = parts.get(part, {}), where or f"the {_SETS.get(part, part)} set"
    examples, lines = figures.get("examples", 0), []
    for head, classes in (figures.get("never_predicted") or {}).items():
        few = ", ".join(f"{name} ({number:,} of {examples:,} examples)" for name, number in list(classes.items())[:5])
        more = f" and {len(classes) - 5:,} more classes" if len(classes) > 5 else ""
        lines.append(
            f"never predicted on {where}: {f'{head} ' if head else ''}{few}{more}; accuracy hides this, --metrics "
            "recall f1 shows it; where a class is rare, try --class-weight balanced, or CLASS=WEIGHT"
        )
    for head, count in (figures.get("not_a_number") or {}).items():
        lines.append(
            f"not a number: {f'{head} ' if head else ''}outputs of {count:,} of {examples:,} examples of {where} are "
            "NaN; they count as wrong, and figures of a regression are NaN; check these examples, or lower --lr"
        )
    return tuple(lines)


# --- the verdicts


def _verdicts(bias: Gap, variance: Gap, mismatch: Gap | None) -> tuple[str, ...]:
    gaps = {"underfitting": bias, "overfitting": variance, "mismatch": mismatch}
    there = [verdict for verdict, gap in gaps.items() if gap is not None and gap.state == "there"]
    doubt = ["uncertain"] if any(gap is not None and gap.state == "open" for gap in gaps.values()) else []
    return tuple(there + doubt) or ("good",)


def _cautious(gaps: list[Gap]) -> list[str]:
    """What can be advised where chance cannot be told."""
    largest = max(gaps, key=float)
    verdict = {"avoidable bias": "underfitting", "variance": "overfitting", "mismatch": "mismatch"}[largest.name]
    repeat = "train again with other seeds and splits (--seed, --split-seed): a gap that stays is no chance"
    steps = KNOBS[verdict] if largest.value > 0 else ()
    return [repeat, *(f"if the {largest.name} stays: {step}" for step in steps)]


# --- what was given


def _record(history: Any, epoch: int | None) -> dict[str, Any]:
    """The one record that counts."""
    if isinstance(history, Mapping):
        return dict(history)
    records = [dict(record) for record in history]
    if not records:
        raise DataError("diagnose: the history is empty; train for an epoch first")
    epoch = getattr(history, "best_epoch", None) if epoch is None else epoch
    if epoch is None:
        return records[-1]
    found = [record for place, record in enumerate(records) if record.get("epoch", place) == epoch]
    if not found:
        raise ConfigError(f"diagnose: epoch is {epoch!r} but there are {len(records)}, from 0")
    return found[0]


def _metric(record: Record, metric: str | None) -> str:
    """The figure to go by, recorded of the training and of the development set."""
    both = _common(record)
    if not any(name.startswith("dev_") for name in record):
        raise DataError("diagnose: nothing was measured on a development set; give fit one: fit(train, dev, ...)")
    if metric is None:
        wanted = [name for kind in (*PROPORTIONS, "r2") for name in both if name.endswith(kind)]
        finite = [name for name in (*wanted, *both) if _is_finite(record[name]) and _is_finite(record[f"dev_{name}"])]
        metric = next(iter([*finite, *both]), None)
    if metric is None or metric not in both:
        raise ConfigError(
            f"diagnose: {metric or 'no metric'} was not recorded of both the training and the development set"
            f"{did_you_mean(metric or '', both)}; there are {', '.join(both) or 'none'}"
        )
    return metric


def _common(record: Record) -> list[str]:
    """The figures of the training and of the development set."""
    return [name for name in record if f"dev_{name}" in record and name not in NO_FIGURES]


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _error(record: Record, metric: str, part: str, larger: bool) -> float:
    value = record[f"{PARTS[part]}{metric}"]
    if not _is_finite(value):
        raise DataError(f"diagnose: {PARTS[part]}{metric} is {value!r} but a finite number is expected; train again")
    if part == "train" and metric == "loss":
        value -= record.get("penalty") or 0.0  # which the others do not contain
    if larger and metric.endswith(PROPORTIONS) and not 0 <= value <= 1:
        raise DataError(f"diagnose: {PARTS[part]}{metric} is {value!r} but a share in [0, 1] is expected")
    return 1.0 - value if larger else float(value)


def _bayes(bayes_error: float | None) -> tuple[float, tuple[str, ...]]:
    if bayes_error is None:
        return 0.0, ("The Bayes error is taken as 0; give what is possible, such as the error of people.",)
    return number("diagnose", "bayes_error", bayes_error, 0.0, math.inf), ()


def _by_part(name: str, given: Mapping[str, Any], least: int) -> dict[str, Any]:
    """What is known of each set. ConfigError for another name, or for less than ``least``."""
    known = {part: value for part, value in given.items() if value is not None}
    for part, value in known.items():
        if part not in PARTS:
            raise ConfigError(f"diagnose: {name} has {part!r} but train, train_dev or dev is expected")
        if not is_number(value) or not _is_finite(value) or value < least or (least and value != int(value)):
            what = "a whole number" if least else "a finite number"
            raise ConfigError(f"diagnose: {part} has {value!r} in {name} but {what} of at least {least} is expected")
    return known


def _share(name: str, value: Any) -> float:
    return number("diagnose", name, value, 0.0, 1.0, "()")
