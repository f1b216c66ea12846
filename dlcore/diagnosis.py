"""What stands between a model and the error that is possible: avoidable bias, variance, or data of another kind.

Four errors in a row, each a little larger than the one before; the steps between them have names and remedies:

    Bayes error    →  training error   avoidable bias         the model does not even fit what it has seen
    training error →  train-dev error  variance               it does not carry over to examples that it has not seen
    train-dev error → dev error        train/dev mismatch     the development set is of another kind

Without a train-dev set, a part of the training data that is held out, variance and mismatch are one step.

An error of a classifier is a proportion of n examples, and so known up to chance. Each step has its interval: Wilson's
for the training error, and for a difference Newcombe's, which joins the Wilson intervals of the two proportions. A loss
and an R² are no proportions: their steps are given, but without more than two means nobody can say what chance does.

Source: notes, 2.1, 2.2 and 3.1; E. B. Wilson, Probable inference, the law of succession, and statistical inference
(1927); R. G. Newcombe, Interval estimation for the difference between independent proportions, Statistics in Medicine
17, 873–890 (1998), method 10; for the mismatch A. Ng, Machine Learning Yearning (2018), chapters 40 to 43.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

from dlcore.errors import ConfigError, DataError
from dlcore.recorded import did_you_mean

if TYPE_CHECKING:
    from dlcore.train.history import History

__all__ = ["Diagnosis", "Gap", "diagnose", "diagnose_parts", "difference_interval", "wilson_interval"]

Record = Mapping[str, Any]
PARTS = {"train": "", "train_dev": "train_dev_", "dev": "dev_"}
"""By set, what its figures' names begin with in a record."""

WORDS = {"bayes": "Bayes", "train": "training", "train_dev": "train-dev", "dev": "development"}
NO_FIGURES = ("epoch", "penalty", "lr", "seconds", "examples_per_second")
PROPORTIONS = ("accuracy", "top_k")
"""Metrics that are the share of the examples that are right: one minus them is an error with a known spread."""

KNOBS: dict[str, tuple[str, ...]] = {
    "underfitting": (
        "first fit the training set: a larger network (--hidden, --channels)",
        "then train longer, or with another optimiser, learning rate or schedule (--epochs, --optimizer, --lr)",
        "then search the hyperparameters, the learning rate first",
    ),
    "overfitting": (
        "for the development set: more training data, or augmentation (--augment)",
        "then regularise: L2, dropout, early stopping (--penalty l2, --dropout, --patience)",
    ),
    "mismatch": (
        "look at what the development set has and the training set lacks",
        "then train on data more like it: collect some, or make some by augmentation (--augment)",
    ),
    "uncertain": ("measure on more examples: a larger development set, and only then turn a knob",),
    "good": (
        "now the test set, once; where it is worse than the development set, take a larger development set",
        "if it disappoints in use all the same, change the development set or the metric",
    ),
}
"""By verdict, what the notes recommend (2.1, 2.2, 2.3, 3.1): one knob for one gap, in this order."""


@dataclass(frozen=True)
class Gap:
    """One step between two errors.

    name : "avoidable bias", "variance" or "mismatch"
    value : the larger set of conditions' error minus the other's
    low, high : its interval; None where chance cannot be told
    above, below : the two errors, by what they are of
    examples : over how many examples each was measured, where that is known
    state : "there": larger than chance and than what is permissible; "not there": even the interval's end is
        permissible; else "open"
    why : for an open one, what would settle it

    ``float(gap)`` is its value.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    above: tuple[str, float]
    below: tuple[str, float]
    examples: Mapping[str, int]
    state: Literal["there", "not there", "open"]
    why: str = ""

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        (of, error), (less, other) = self.above, self.below
        chance = "" if self.low is None else f" ({_signed(self.low)} to {_signed(self.high)})"
        return f"{self.name} {_signed(self.value)}{chance}: {WORDS[of]} {error:.4f} − {WORDS[less]} {other:.4f}"


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

    ``str(diagnosis)`` is for reading.
    """

    bias: Gap
    variance: Gap
    mismatch: Gap | None
    verdicts: tuple[str, ...]
    advice: tuple[str, ...]
    measure: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def gaps(self) -> tuple[Gap, ...]:
        return (self.bias, self.variance) if self.mismatch is None else (self.bias, self.variance, self.mismatch)

    def __str__(self) -> str:
        lines = [f"diagnosis: {', '.join(self.verdicts)} (error: {self.measure})"]
        lines += [f"  {gap}: {gap.state}{f'; {gap.why}' if gap.why else ''}" for gap in self.gaps]
        lines += [f"  {remark}" for remark in self.remarks]
        lines += [f"next {number}: {step}" for number, step in enumerate(self.advice, 1)]
        return "\n".join(lines)


def diagnose(
    history: History | Iterable[Record] | Record,
    bayes_error: float | None = None,
    *,
    metric: str | None = None,
    examples: Mapping[str, int] | None = None,
    epoch: int | None = None,
    permissible: float = 0.02,
    confidence: float = 0.95,
) -> Diagnosis:
    """Say whether a model underfits, overfits, or was measured on data of another kind, and what to do next.

    history : of ``fit`` with a development set and, to tell mismatch from variance, ``train_dev=...``; or its records,
        or one record: ``{"accuracy": 0.95, "dev_accuracy": 0.9, "train_dev_accuracy": 0.94}``
    bayes_error : the smallest error that is possible, such as that of people; None takes 0, and says so
    metric : that was recorded; by default accuracy, then top_k, then the loss
    examples : how many examples, by "train", "dev" and "train_dev"; by default the history's. Of sequences, how many
        labels
    epoch : from 0; by default the one whose weights early stopping has kept, else the last
    permissible : a gap up to this needs nothing done about it
    confidence : of the intervals

    A gap is there where its interval excludes 0 and its value exceeds ``permissible``; it is not there where the
    interval's upper end is permissible; else it is open, and one of the verdicts is "uncertain". Of a loss or an R²
    every gap is open. The training figures of a history are those of the steps, with dropout and while the weights
    moved: what :func:`diagnose_parts` gets is better.

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
    metric = _metric(record, metric)
    proportion = metric.endswith(PROPORTIONS)
    larger = proportion or metric.endswith(("r2", "f1", "precision", "recall"))
    if larger and bayes_error >= 1:
        raise ConfigError(f"diagnose: bayes_error is {bayes_error!r} but a share below 1 is expected for {metric}")
    errors = {part: _error(record, metric, part, larger) for part in PARTS if f"{PARTS[part]}{metric}" in record}
    errors["bayes"] = bayes_error
    sized = {part: int(n) for part, n in counts.items() if n is not None}
    for part in (part for part in errors if part != "bayes" and sized.get(part, 1) < 1):
        raise ConfigError(f"diagnose: {part} has {sized[part]} examples but at least 1 is expected")
    judge = _Judge(errors, sized if proportion else {}, permissible, confidence, proportion, metric)
    last = "train_dev" if "train_dev" in errors else "dev"
    bias = judge.gap("avoidable bias", "train", "bayes")
    variance = judge.gap("variance", last, "train")
    mismatch = judge.gap("mismatch", "dev", "train_dev") if last == "train_dev" else None
    verdicts = _verdicts(bias, variance, mismatch)
    advice = tuple(step for verdict in verdicts for step in KNOBS[verdict])
    if not proportion:
        advice = _cautious([variance, *([mismatch] if mismatch else []), *([] if remarks else [bias])])
    return Diagnosis(bias, variance, mismatch, verdicts, advice, f"1 - {metric}" if larger else metric, remarks)


def diagnose_parts(
    parts: Mapping[str, Record], bayes_error: float | None = None, *, metric: str | None = None, **how: Any
) -> Diagnosis:
    """:func:`diagnose` of figures that one and the same weights gave on each set.

    parts : by "train", "dev" and "train_dev", the figures and ``examples``, as ``result.json`` holds them of a run; of
        several heads also ``sex_examples``, those with a label
    how : further arguments of :func:`diagnose`

    >>> parts = {"train": {"accuracy": 0.8, "examples": 9000}, "dev": {"accuracy": 0.79, "examples": 9000}}
    >>> diagnose_parts(parts, 0.05).verdicts
    ('underfitting', 'uncertain')
    """
    record = {
        f"{PARTS[part]}{name}": value
        for part, one in parts.items()
        for name, value in one.items()
        if not name.endswith("examples")
    }
    metric = _metric(record, metric)
    counts = {part: count for part, one in parts.items() if (count := _examples(one, metric)) is not None}
    return diagnose(record, bayes_error, metric=metric, examples=counts, **how)


def _examples(part: Record, metric: str) -> int | None:
    """Over how many examples a metric was measured: of one head of several, those that have its label."""
    heads = [name for name in part if name.endswith("_examples") and metric.startswith(name.removesuffix("examples"))]
    return part.get(max(heads, key=len, default="examples"))


# --- intervals


def wilson_interval(error: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval in which the true proportion lies, where a share ``error`` of ``n`` examples was counted.

    (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n), after Wilson (1927), without correction for continuity.

    >>> [round(end, 4) for end in wilson_interval(0.1, 100)]
    [0.0552, 0.1744]
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle, half = error + z * z / (2 * n), z * math.sqrt(error * (1 - error) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = (middle - half) / scale, (middle + half) / scale
    return (0.0 if error == 0 else max(low, 0.0)), (1.0 if error == 1 else min(high, 1.0))


def difference_interval(above: float, n: int, below: float, m: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval in which ``above - below`` lies: two proportions, of ``n`` and of ``m`` other examples.

    With the Wilson intervals (l₁, u₁) and (l₂, u₂): from d − √((p₁ − l₁)² + (u₂ − p₂)²) to d + √((u₁ − p₁)² +
    (p₂ − l₂)²), after Newcombe (1998), method 10.

    >>> [round(end, 4) for end in difference_interval(56 / 70, 70, 48 / 80, 80)]
    [0.0524, 0.3339]
    """
    (low, high), (other_low, other_high) = wilson_interval(above, n, confidence), wilson_interval(below, m, confidence)
    difference = above - below
    return (
        difference - math.hypot(above - low, other_high - below),
        difference + math.hypot(high - above, below - other_low),
    )


# --- the verdicts


@dataclass(frozen=True)
class _Judge:
    """The errors by set, how many examples each is of, and what is asked of a gap."""

    errors: Mapping[str, float]
    examples: Mapping[str, int]
    permissible: float
    confidence: float
    proportion: bool
    metric: str

    def gap(self, name: str, above: str, below: str) -> Gap:
        value = self.errors[above] - self.errors[below]
        low, high = self._interval(above, below)
        state: Literal["there", "not there", "open"] = "open"
        if low is not None and high is not None:
            if low > 0 and value > self.permissible:
                state = "there"
            elif high <= self.permissible:
                state = "not there"
        counts = {part: self.examples[part] for part in (above, below) if part in self.examples}
        why = self._why(above, below, value) if state == "open" else ""
        ends = (above, self.errors[above]), (below, self.errors[below])
        return Gap(name, value, low, high, *ends, counts, state, why)

    def _interval(self, above: str, below: str) -> tuple[float | None, float | None]:
        n, m = self.examples.get(above), self.examples.get(below)
        if n is None or (m is None and below != "bayes"):
            return None, None
        if m is None:  # the Bayes error is taken as known
            low, high = wilson_interval(self.errors[above], n, self.confidence)
            return low - self.errors[below], high - self.errors[below]
        return difference_interval(self.errors[above], n, self.errors[below], m, self.confidence)

    def _why(self, above: str, below: str, value: float) -> str:
        """What would settle an open gap."""
        if not self.proportion:
            return f"{self.metric} is no share of right answers, so chance cannot be told from two means"
        missing = [part for part in (above, below) if part != "bayes" and part not in self.examples]
        if missing:
            return f"the number of {' and '.join(WORDS[part] for part in missing)} examples is not known; pass examples"
        few = min((part for part in (above, below) if part != "bayes"), key=lambda part: self.examples[part])
        needed = self._needed(self.errors[few])
        if needed <= self.examples[few]:
            return f"it lies near what is permissible, {self.permissible:g}"
        return (
            f"{self.examples[few]:,} {WORDS[few]} examples do not tell; some {_rounded(needed):,} would, "
            f"to within {self.permissible:g}"
        )

    def _needed(self, error: float) -> int:
        """How many examples make the half width of an error's interval what is permissible."""
        z = NormalDist().inv_cdf((1 + self.confidence) / 2)
        return math.ceil(max(z * z * error * (1 - error) / self.permissible**2, z * z / self.permissible))


def _verdicts(bias: Gap, variance: Gap, mismatch: Gap | None) -> tuple[str, ...]:
    gaps = {"underfitting": bias, "overfitting": variance, "mismatch": mismatch}
    there = [verdict for verdict, gap in gaps.items() if gap is not None and gap.state == "there"]
    doubt = ["uncertain"] if any(gap is not None and gap.state == "open" for gap in gaps.values()) else []
    return tuple(there + doubt) or ("good",)


def _cautious(gaps: list[Gap]) -> tuple[str, ...]:
    """What can be advised where chance cannot be told."""
    largest = max(gaps, key=float)
    verdict = {"avoidable bias": "underfitting", "variance": "overfitting", "mismatch": "mismatch"}[largest.name]
    repeat = "train again with other seeds and splits (--seed, --split-seed): a gap that stays is no chance"
    steps = KNOBS[verdict] if largest.value > 0 else ()
    return (repeat, *(f"if the {largest.name} stays: {step}" for step in steps))


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
    both = [name for name in record if f"dev_{name}" in record and name not in NO_FIGURES]
    if not any(name.startswith("dev_") for name in record):
        raise DataError("diagnose: nothing was measured on a development set; give fit one: fit(train, dev, ...)")
    if metric is None:
        measured = [name for name in both if _finite(record[name]) and _finite(record[f"dev_{name}"])]
        wanted = [name for kind in PROPORTIONS for name in measured if name.endswith(kind)]
        metric = next(iter([*wanted, *measured, *both]), None)
    if metric is None or metric not in both:
        raise ConfigError(
            f"diagnose: {metric or 'no metric'} was not recorded of both the training and the development set"
            f"{did_you_mean(metric or '', both)}; there are {', '.join(both) or 'none'}"
        )
    return metric


def _finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _error(record: Record, metric: str, part: str, larger: bool) -> float:
    value = record[f"{PARTS[part]}{metric}"]
    if not _finite(value):
        raise DataError(f"diagnose: {PARTS[part]}{metric} is {value!r} but a finite number is expected; train again")
    if part == "train" and metric == "loss":
        value -= record.get("penalty") or 0.0  # which the others do not contain
    if larger and metric.endswith(PROPORTIONS) and not 0 <= value <= 1:
        raise DataError(f"diagnose: {PARTS[part]}{metric} is {value!r} but a share in [0, 1] is expected")
    return 1.0 - value if larger else float(value)


def _bayes(bayes_error: float | None) -> tuple[float, tuple[str, ...]]:
    if bayes_error is None:
        return 0.0, ("The Bayes error is taken as 0; give what is possible, such as the error of people.",)
    if isinstance(bayes_error, bool) or not isinstance(bayes_error, int | float) or not 0 <= bayes_error < math.inf:
        raise ConfigError(f"diagnose: bayes_error is {bayes_error!r} but a number of at least 0 is expected")
    return float(bayes_error), ()


def _share(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ConfigError(f"diagnose: {name} is {value!r} but a number between 0 and 1 is expected")
    return float(value)


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}".replace("-", "−")


def _rounded(n: int) -> int:
    """Two digits, upwards.

    >>> _rounded(1234)
    1300
    """
    unit = 10 ** max(len(str(n)) - 2, 0)
    return -(-n // unit) * unit
