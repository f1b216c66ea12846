"""What a model is trained for and measured by: for each output its loss, its weight and its metrics."""

from __future__ import annotations

import copy
import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from backends.namespace import namespace_of
from backends.runtime import copies
from dlcore import losses
from dlcore import metrics as _metrics
from dlcore.data.source import BadExampleError
from dlcore.errors import ConfigError, DataError
from dlcore.functional import Lengths
from dlcore.functional._calls import Call, calls
from dlcore.functional.checks import not_probabilities
from dlcore.tensor import Tensor
from dlcore.train.engine import class_weights

__all__ = ["Measured", "Objective", "Objectives", "each", "per_step"]


class Objective:
    """One output's loss, its weight in the total and its metrics.

    name : of the head; "" where the model has one output
    class_weight : of the loss; None for equal ones, else as :func:`dlcore.train.engine.class_weights.of_classes` takes
    it
    """

    def __init__(self, name: str, loss: Any, metrics: Sequence[Any], weight: float, class_weight: Any = None) -> None:
        if isinstance(metrics, str):
            raise ConfigError(f"metrics is {metrics!r} but a list is expected: metrics=[{metrics!r}]")
        self.name = name
        self.prefix = f"{name}_" if name else ""
        self.loss = losses.named(loss)
        self.weight = float(weight)
        if not math.isfinite(self.weight):
            raise ConfigError(f"loss_weights: {name} has {weight!r} but a finite number is expected")
        self.class_weight = class_weight
        if class_weight is not None:
            class_weights.check(class_weight)
            class_weights.weighted(self.loss, (1.0, 1.0))  # or a ConfigError
        self.table: tuple[float, ...] | None = None
        """The weights of the classes, once the outputs, and for "balanced" the training set's labels, are known."""
        self.labels: Any = None
        """Of the training set, where they are known."""
        self.outputs = 0
        """How many numbers there are for an example, or for a step, once that is known."""
        self.call: Call | None = None
        """How the last value came about, where it is not a plain mean of known losses."""
        self._made_of = ""
        self.metrics = [_metrics.named(metric) for metric in metrics]
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            raise ConfigError(
                f"metrics: {', '.join(names)} have a name twice; wrap one as dl.metrics.Metric(name, ...)"
            )

    @property
    def decoded_as(self) -> Callable[..., Any]:
        """The loss by which outputs become predictions: of a partial what it is of; of a loss of one's own the one loss
        that it calls with all outputs, as its last value has shown."""
        loss = losses.base(self.loss)
        return losses.named(self._made_of) if self._made_of else loss

    @property
    def of_classes(self) -> bool:
        """Whether the predictions are labels."""
        return self.decoded_as in (losses.cross_entropy, losses.binary_cross_entropy)

    @property
    def two_classes(self) -> bool:
        """Whether the outputs tell two classes apart, of which one is the positive one."""
        return self.outputs == {losses.cross_entropy: 2, losses.binary_cross_entropy: 1}.get(self.decoded_as)

    def part(self, y: Any) -> Any:
        """This output's part of targets or outputs."""
        return y[self.name] if self.name else y

    def value(self, outputs: Any, target: Any, lengths: Lengths | None = None, **options: Any) -> Tensor:
        """The loss; where there is an output for each step of sequences, that of the valid steps."""
        if per_step(outputs, lengths):
            if not _takes_lengths(self.loss):
                raise ConfigError(
                    f"loss: {getattr(self.loss, '__name__', self.loss)} takes no lengths, but the model gives outputs "
                    "at each step of sequences of several lengths; take cross_entropy or mse, or a function with an "
                    "argument lengths"
                )
            options["lengths"] = lengths
        loss = self.loss if self.table is None else class_weights.weighted(self.loss, self.table)
        if losses.is_plain(loss):
            return loss(outputs, target, **options)
        with calls() as found:
            value = loss(outputs, target, **options)
        self.call = found[0] if len(found) == 1 and found[0].value is value and found[0].weight is not None else None
        if losses.base(loss) is loss:  # one's own
            shape = tuple(outputs.shape) if hasattr(outputs, "shape") else None  # of several outputs none
            made_of = {call.loss for call in found if call.shape == shape}
            self._made_of = made_of.pop() if len(made_of) == 1 else ""
        return value

    def check(self, y: Any, set_name: str, outputs: Any, lengths: np.ndarray | None = None) -> None:
        """Labels that the loss does not take, found on the host before the first launch."""
        y = self.part(y)
        behind = None
        if lengths is not None and self.part(outputs).ndim > 2 and y.ndim > 1:
            behind = np.arange(y.shape[1]) >= np.asarray(lengths)[:, None]  # there they may be anything
            y = np.where(behind.reshape(*behind.shape, *(1,) * (y.ndim - 2)), np.zeros((), y.dtype), y)
        label = f"{set_name}: {self.name + ' ' if self.name else ''}label"
        self.outputs = self.part(outputs).shape[-1] if self.part(outputs).ndim > 1 else 1
        loss = losses.base(self.loss)
        if loss is losses.cross_entropy and y.dtype.kind in "iu":
            classes = self.part(outputs).shape[-1]
            lowest = -1 if self.name else 0  # a head's -1 marks a missing label
            self._refuse(y, (y < lowest) | (y >= classes), label, f"0 to {classes - 1} for {classes} outputs")
        if loss is losses.cross_entropy and y.dtype.kind == "f" and y.ndim == self.part(outputs).ndim:
            self._check_probabilities(y, label, behind)
        if loss is losses.binary_cross_entropy:
            with np.errstate(invalid="ignore"):
                inside = (y >= 0) & (y <= 1)
            missing = np.isnan(y) if y.dtype.kind == "f" else y == -1
            self._refuse(y, ~(inside | (missing & bool(self.name))), label, "0 to 1")
        if self.class_weight is not None and self.table is None:
            classes = 2 if loss is losses.binary_cross_entropy else self.outputs
            labels = self.labels
            if loss is losses.cross_entropy and labels is not None and np.asarray(labels).dtype.kind == "f":
                labels = class_weights.Probabilities(labels)
            self.table = class_weights.of_classes(self.class_weight, classes, labels)

    def _check_probabilities(self, y: np.ndarray, label: str, behind: np.ndarray | None) -> None:
        """Targets (..., K) that are class probabilities; a head's row with NaN is a missing label."""
        if y.shape[-1] != self.outputs:
            raise DataError(
                f"{label} probabilities are {y.shape[-1]} an example but the model has {self.outputs} outputs; "
                "check the last layer's units"
            )
        bad = not_probabilities(y)
        if self.name:
            bad &= ~np.isnan(y).any(axis=-1)
        if behind is not None:
            bad &= ~behind
        if bad.any():
            place = tuple(np.argwhere(bad)[0].tolist())
            row = y[place]
            raise BadExampleError(
                f"{label} probabilities of example",
                place[0],
                f"span {row.min():g} to {row.max():g} with the sum {row.sum():g}, but no negative entries and the sum "
                "1 are expected; divide each row by its sum",
            )

    def labels_of(self, y: Any) -> Any:
        """Targets as the metrics take them: of class probabilities (..., K) the most probable class, -1 where missing.

        y : this output's part, on the host
        """
        y = np.asarray(y)
        if y.dtype.kind != "f" or y.ndim < 2 or y.shape[-1] < 2 or self.decoded_as is not losses.cross_entropy:
            return y
        return np.where(np.isnan(y).any(axis=-1), -1, y.argmax(axis=-1))

    @staticmethod
    def _refuse(y: np.ndarray, bad: np.ndarray, label: str, expected: str) -> None:
        if bad.any():
            where = np.argwhere(bad)[0]
            raise BadExampleError(
                f"{label} {y[tuple(where)]} of example",
                int(where[0]),
                f"is out of range, {expected} expected; check the labels or the last layer's units",
            )


class Objectives(dict[str, Objective]):
    """The objectives by head; one under "" for a model with one output.

    loss : a loss, or a dict of them by head
    metrics : a list of metrics, or a dict of lists by head
    weights : of the heads' losses in the total; 1 by default
    class_weight : of the loss; with heads a dict of them by head
    """

    def __init__(self, loss: Any, metrics: Any, weights: Mapping[str, float] | None, class_weight: Any = None) -> None:
        super().__init__()
        if not isinstance(loss, Mapping):
            if weights or isinstance(metrics, Mapping):
                raise ConfigError("loss: one loss came with loss_weights or metrics by head; pass a dict of losses")
            self[""] = Objective("", loss, metrics, 1.0, class_weight)
            return
        if class_weight is not None and not (isinstance(class_weight, Mapping) and set(class_weight) <= set(loss)):
            raise ConfigError(
                f"class_weight is {class_weight!r:.60} but with losses by head a dict by head is expected, such as "
                f"{{{next(iter(loss), '')!r}: 'balanced'}}"
            )
        if metrics and not isinstance(metrics, Mapping):
            raise ConfigError("metrics: a list came with losses by head; pass a dict of lists by head")
        weights, metrics = weights or {}, metrics or {}
        foreign = (set(weights) | set(metrics)) - set(loss)
        if foreign or not loss:
            raise ConfigError(
                f"loss: {', '.join(sorted(foreign)) or 'no head'} has no loss; heads with a loss are {', '.join(loss)}"
            )
        for name, one in loss.items():
            if f"{name}_".startswith(("dev_", "train_dev_")):
                raise ConfigError(
                    f"loss: a head is called {name!r}, but so begin the figures of the development set; rename it"
                )
            own = None if class_weight is None else class_weight.get(name)
            self[name] = Objective(name, one, metrics.get(name, ()), weights.get(name, 1.0), own)

    def twin(self) -> Objectives:
        """The same with notes of their own on how their last losses came about, for a pass beside others."""
        twin = copy.copy(self)
        twin.update({name: copy.copy(objective) for name, objective in self.items()})
        return twin

    def learn_from(self, y: Any) -> None:
        """Take note of the training set's labels, None where they are not known: class weights may follow from them."""
        for objective in self.values():
            if objective.class_weight is not None:
                objective.labels, objective.table = None if y is None else objective.part(y), None

    def weight(self) -> Any:
        """The sum of the weights in the last loss of one output, on the device; None where they were equal. Of several
        outputs, and of sums over the steps of sequences, the losses of batches are weighed by their examples."""
        call = self[""].call if "" in self else None
        return None if call is None or call.sequences is not None else call.weight

    def loss(self, outputs: Any, y: Any, lengths: Lengths | None = None) -> Tensor:
        """The weighted sum of the losses."""
        if "" in self:
            return self[""].value(outputs, y, lengths)
        terms = [value * self[name].weight for name, value in self.losses(outputs, y, lengths).items()]
        return functools.reduce(operator.add, terms)

    def losses(self, outputs: Any, y: Any, lengths: Lengths | None = None) -> dict[str, Tensor]:
        """Each head's loss, without its weight; missing labels of a head (NaN or -1) count nothing."""
        if "" in self:
            return {"": self[""].value(outputs, y, lengths)}
        values = {}
        for name, objective in self.items():
            target, weight = losses.known(y[name])
            values[name] = objective.value(outputs[name], target, lengths, sample_weight=weight)
        return values

    def rows(self, y: Any, outputs: Any = None, lengths: Lengths | None = None) -> dict[str, int]:
        """By head, how many examples have a label; valid steps instead where a loss is a mean over these."""
        if "" in self and lengths is not None and losses.squared(self[""].decoded_as) and per_step(outputs, lengths):
            return {"": lengths.valid}
        return {name: int(np.sum(losses.known(y[name])[1])) if name else len(y) for name in self}

    def metric(self, name: str) -> _metrics.Metric | None:
        """The metric that is recorded as ``name``."""
        for objective in self.values():
            for metric in objective.metrics:
                if f"{objective.prefix}{metric.name}" == name:
                    return metric
        return None

    def in_unit(self, outputs: np.ndarray, name: str = "") -> np.ndarray:
        """A head's outputs on the host, those for standardised targets in the unit of the targets."""
        loss = self[name].loss if name in self else None
        return loss.predictions(outputs) if isinstance(loss, losses.StandardizedMSE) else outputs

    def names(self) -> list[str]:
        """The metrics' names as they are recorded."""
        return [f"{objective.prefix}{metric.name}" for objective in self.values() for metric in objective.metrics]

    def check(self, y: Any, set_name: str, outputs: Any, lengths: np.ndarray | None = None) -> None:
        """Raise DataError where targets, or the model's outputs (of a few rows), do not go with the losses."""
        for what, value in (("targets", y), ("the model's outputs", outputs)):
            heads = set(value) if isinstance(value, dict) else {""}
            if not heads >= set(self):
                raise DataError(
                    f"{set_name}: {what} {'by name: ' + ', '.join(value) if heads != {''} else 'without names'} came "
                    f"but the loss is {'one for all' if '' in self else 'for ' + ', '.join(self)}; "
                    "a dict of losses goes with Heads and with targets by the same names"
                )
        for objective in self.values():
            objective.check(y, set_name, outputs, lengths)


class Measured:
    """Predictions of many batches, kept on the device and read once, and their targets, for the metrics."""

    def __init__(self, objectives: Objectives) -> None:
        self.objectives = [objective for objective in objectives.values() if objective.metrics]
        self.kept: dict[tuple[str, str], list[Any]] = {}
        self.targets: dict[str, list[np.ndarray]] = {}
        self.lengths: dict[str, list[np.ndarray]] = {}
        """Of the heads with an output at each step."""

    def add(self, outputs: Any, y: Any, lengths: Lengths | None = None) -> None:
        """outputs : of the model, on its device; y : their targets, on the host; lengths : of sequences."""
        for objective in self.objectives:
            if lengths is not None and per_step(objective.part(outputs), lengths):
                self.lengths.setdefault(objective.name, []).append(np.array(lengths.values))
            self.targets.setdefault(objective.name, []).append(objective.labels_of(objective.part(y)))
            scores = objective.part(outputs).data
            for needs in {metric.needs for metric in objective.metrics}:
                kept = scores if needs == "scores" else losses.decode(objective.decoded_as, scores)
                self.kept.setdefault((objective.name, needs), []).append(kept)

    def to_host(self) -> None:
        """Bring the predictions to the host; where the device is current that is done once, whatever is asked after."""
        self.kept = {key: [array] for key, array in self._on_host()[0].items()}

    def metrics(self) -> dict[str, float]:
        """The metrics of all predictions so far; examples without a label, and steps
        behind the end of a sequence, are left out."""
        return {
            name: metric.measure(target, predicted, two) if len(target) else float("nan")
            for name, metric, target, predicted, two in self._pairs()
        }

    def chance(self) -> dict[str, dict[str, float]]:
        """What tells chance from a difference: of heads, which may lack labels, the ``labels`` by metric, how many
        there are; of R² the ``standard_errors`` by metric. What would be empty is left out."""
        labels, errors = {}, {}
        if not any(
            one.name or any(metric.function is _metrics.r2 for metric in one.metrics) for one in self.objectives
        ):
            return {}
        for name, metric, target, predicted, _ in self._pairs():
            if name != metric.name:
                labels[name] = len(target)
            error = _metrics.r2_standard_error(target, predicted) if metric.function is _metrics.r2 else math.nan
            if math.isfinite(error):
                errors[name] = error
        return {key: found for key, found in (("labels", labels), ("standard_errors", errors)) if found}

    def faults(self) -> dict[str, dict[str, Any]]:
        """What the metrics do not tell, by head: ``never_predicted``, how many examples there are of the classes that
        are never among the predictions; ``not_a_number``, of how many examples an output is NaN. What would be empty is
        left out."""
        missing: dict[str, Any] = {}
        bad: dict[str, Any] = {}
        host, targets = self._on_host()
        for objective in self.objectives:
            name = objective.name
            predicted = host.get((name, "prediction"))
            if predicted is None:
                predicted = losses.decode(objective.decoded_as, host[name, "scores"])
            present = self._present(name, targets[name])
            target, predicted = targets[name][present], predicted[present]
            wrong = predicted < 0 if objective.of_classes else np.isnan(predicted)
            if wrong.any():
                bad[name] = int(wrong.reshape(len(wrong), -1).any(axis=1).sum())
            if objective.of_classes:
                classes, numbers = np.unique(target, return_counts=True)
                never = ~np.isin(classes, predicted) & (classes == np.rint(classes))
                if never.any():
                    labels = classes[never].astype(int).tolist()
                    missing[name] = dict(zip(labels, numbers[never].tolist(), strict=True))
        return {key: found for key, found in (("never_predicted", missing), ("not_a_number", bad)) if found}

    def _present(self, name: str, target: np.ndarray) -> np.ndarray:
        """Which targets of a head count: those with a label, and of sequences the valid steps."""
        present = losses.known(target)[1] > 0 if name else np.ones(len(target), dtype=bool)
        if name in self.lengths:  # (N,) -> (N, T)
            valid = np.arange(target.shape[1]) < np.concatenate(self.lengths[name])[:, None]
            present = valid & present[:, None]
        return present

    def _pairs(self) -> Iterator[tuple[str, _metrics.Metric, np.ndarray, np.ndarray, bool]]:
        """Each metric's name in a record, the targets and predictions that it is of, and whether these are of two
        classes."""
        host, targets = self._on_host()
        for objective in self.objectives:
            target = targets[objective.name]
            present = self._present(objective.name, target)
            for metric in objective.metrics:
                predicted = host[objective.name, metric.needs]
                yield (
                    f"{objective.prefix}{metric.name}",
                    metric,
                    target[present],
                    predicted[present],
                    objective.two_classes,
                )

    def _on_host(self) -> tuple[dict[tuple[str, str], np.ndarray], dict[str, np.ndarray]]:
        host = {key: copies.to_host(namespace_of(parts[0]).concat(parts, axis=0)) for key, parts in self.kept.items()}
        return host, {name: np.concatenate(parts) for name, parts in self.targets.items()}

    def state_dict(self) -> dict[str, Any]:
        """All that was added, as arrays on the host."""
        host, targets = self._on_host()
        return {
            "predictions": {f"{name}/{needs}": array for (name, needs), array in host.items()},
            "targets": targets,
            "lengths": {name: np.concatenate(parts) for name, parts in self.lengths.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any], upload: Callable[[np.ndarray], Any]) -> None:
        """Go on from what :meth:`state_dict` gave; ``upload`` brings an array to the device."""
        self.kept = {}
        for key, array in state["predictions"].items():
            name, _, needs = key.rpartition("/")
            self.kept[name, needs] = [upload(array)]
        self.targets = {name: [array] for name, array in state["targets"].items()}
        self.lengths = {name: [array] for name, array in state.get("lengths", {}).items()}


def each(function: Callable[[Any], Any], value: Any) -> Any:
    """``function`` of an array, or of every array in a dict."""
    return {name: function(v) for name, v in value.items()} if isinstance(value, dict) else function(value)


def per_step(outputs: Any, lengths: Lengths | None) -> bool:
    """Whether outputs (N, T, ...) are those of each step of sequences, many to many."""
    return lengths is not None and outputs.ndim > 2 and outputs.shape[1] == lengths.steps


def _takes_lengths(loss: Callable[..., Any]) -> bool:
    parameters = inspect.signature(loss).parameters.values()
    return any(p.name == "lengths" or p.kind is p.VAR_KEYWORD for p in parameters)
