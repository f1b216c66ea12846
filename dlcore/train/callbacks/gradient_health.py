"""The health of the gradients: how they come back through the layers, what a step changes, which units are dead.

Once an epoch a copy of the model takes one forward and backward pass over a fixed batch of training examples, in
training mode, without augmentation and without penalty. Training itself is left alone: its weights, running statistics
and random draws are the same bits as without, and no step waits for the device.

What shows that gradients vanish or explode is not ‖dW‖/‖W‖ from layer to layer. dW is made of what comes forward and
what comes back, and where all weights are scaled by one factor, a ReLU network loses on one way what it has left on the
other: ⟨W, dW⟩ is the same number in every layer. So the signal on the way back is taken by itself: the length of
the gradient for a layer's output over the length of that for the model's output. He's initial weights keep it, on
average, whatever the widths are; a factor on the weights multiplies it once for each layer.

Source: notes, 1.2, 2.4 and 5; Glorot and Bengio (2010); He et al. (2015), who keep the same length.
"""

from __future__ import annotations

import copy
import functools
import math
import operator
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from backends.namespace import namespace_of
from backends.runtime import copies
from dlcore._core.validation import whole
from dlcore.data.dataset import Dataset
from dlcore.data.source import Stream, as_source
from dlcore.errors import DataError
from dlcore.functional.lengths import Lengths
from dlcore.nn.copies import copy_as
from dlcore.nn.watch import Seen, Watch
from dlcore.tensor import Tensor
from dlcore.train.checkpoint.lines import Growing
from dlcore.train.engine.callback import Callback
from dlcore.train.engine.objective import each
from dlcore.train.engine.recurrent_state import called

if TYPE_CHECKING:
    from dlcore.nn.parameter import Parameter
    from dlcore.train.engine.trainer import Trainer

__all__ = ["DEAD", "EXPLODING", "REMEDIES", "VANISHING", "GradientHealth", "is_record", "words"]

VANISHING, EXPLODING = 1e-3, 1e3
"""Limits of the signal. Over 50 layers of 64 ReLU units it stays between 0.2 and 4 with He's weights, and of 16 units
above 0.002; with these weights times 0.7 or 1.3 it crosses the limits after some 20 and 27 layers, behind sigmoids with
Xavier's weights after 5."""

DEAD = 0.9
"""A layer is dead where more than this share of its units gives 0 for every example. Half of them is no fault: far
behind in a deep ReLU network all examples point one way, and of every two units one is off for all of them."""

REMEDIES = {
    "exploding": "smaller initial weights (He's for ReLU, Xavier's for tanh), batch norm, clipping (--clip-norm)",
    "vanishing": "ReLU in place of sigmoid and tanh, He's initial weights, batch norm, in sequences LSTM or GRU",
    "dead": "a lower learning rate, leaky ReLU, weights and inputs that do not push every sum below 0",
}
"""By verdict, what the notes recommend (1.2, 2.4, 3.9, 5)."""


class GradientHealth(Callback):
    """Measure, by layer and once an epoch, whether gradients vanish or explode, and whether units are dead.

    data : what is trained on: a Dataset, or anything with a length; some of it, evenly spaced, is the fixed batch
    examples : how many of it; they go through the model in batches of the trainer's size, and of a last one that is
        smaller nothing is taken

    ``records`` holds one record an epoch: ``epoch`` and ``layers``, of each layer that has parameters or gives a ReLU

    ============  ==================================================================================================
    ``layer``     its path and type; layers that are computed in one go are one, "1 + 2 (BatchNorm + ReLU)"
    ``signal``    length of the gradient for its output, over that of the gradient for the model's output
    ``gradient``  ‖dW‖ on the batch, of its weights; of a layer that has none, such as batch norm, of all parameters
    ``weight``    ‖W‖ of the same
    ``update``    ‖ΔW‖ / ‖W‖ of the epoch's last step, decay included; about 1e-3 is usual
    ``dead``      share of its ReLU units, channels of an image, that give 0 for every example
    ``verdicts``  of "exploding" (signal above 1,000, or not finite), "vanishing" (below 0.001) and "dead" (above 90 %)
    ============  ==================================================================================================

    A figure is None where there is none: a frozen layer has no gradient, an iterable has no last step that could be
    known before it ends, a number that is not finite cannot be written. What is computed by functions inside a layer's
    ``forward`` is seen as that layer's output alone, and so is a recurrent layer over all of its steps.

    >>> import dlcore as dl
    >>> data = dl.data.load("digits", normalize=True)
    >>> health = GradientHealth(data.train)
    >>> model = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(32), dl.nn.ReLU(), dl.nn.Dense(10))
    >>> _ = dl.Trainer(model, callbacks=[health], device="cpu", seed=0).fit(data.train, epochs=1)
    >>> [(layer["layer"], layer["verdicts"]) for layer in health.records[0]["layers"]]
    [('1 + 2 (Dense + ReLU)', []), ('3 (Dense)', [])]
    """

    def __init__(self, data: Any, examples: int = 64) -> None:
        self.examples = whole("GradientHealth", "examples", examples, 1)
        source = as_source(data, "GradientHealth")
        if isinstance(source, Stream) or not len(source):
            came = "an iterator" if isinstance(source, Stream) else "an empty set"
            raise DataError(f"GradientHealth: {came} came, but a fixed batch is expected; pass a Dataset")
        x, y, *_ = source.rows(np.unique(np.linspace(0, len(source) - 1, min(examples, len(source))).astype(int)))
        self.data = Dataset(x, y)
        self.config["data"] = self.data  # the rest need not be kept
        self.records: list[dict[str, Any]] = Growing()
        self._before: Any = None  # theta before the last step of the epoch, on the device

    def on_start(self, trainer: Trainer) -> None:
        self.records = Growing(record for record in self.records if record["epoch"] < trainer.epoch)
        self._remember(trainer)

    def on_epoch_start(self, trainer: Trainer) -> None:
        self._remember(trainer)

    def on_step(self, trainer: Trainer) -> None:
        self._remember(trainer)

    def _remember(self, trainer: Trainer) -> None:
        if trainer.progress.batches == trainer.steps_per_epoch - 1:
            vector = trainer.model.built()
            self._before = vector.xp.asarray(vector.theta, copy=True)

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        before, self._before = self._before, None
        layers = _layers(trainer, self.data)
        if layers is not None:
            updates = {} if before is None else _updates(trainer, copies.to_host(before))
            self.records.append(
                {"epoch": record["epoch"], "layers": [layer.record(updates) for layer in layers if layer.counts]}
            )

    def state_dict(self) -> dict[str, Any]:
        return {"records": self.records, "before": None if self._before is None else copies.to_host(self._before)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.records = Growing(state["records"])
        if state["before"] is not None:
            self._before = state["before"]


def words(record: Mapping[str, Any]) -> list[str]:
    """A line for each layer that is not healthy.

    >>> layer = {"layer": "0 (Dense)", "signal": 2e-9, "dead": None, "verdicts": ["vanishing"]}
    >>> words({"epoch": 3, "layers": [layer]})
    ['0 (Dense): vanishing, signal 2e-09 (below 0.001)']
    """
    lines = []
    for layer in record["layers"]:
        signal = "not finite" if layer["signal"] is None else f"{layer['signal']:.2g}"
        said = {
            "exploding": f"signal {signal} (above {EXPLODING:,g})",
            "vanishing": f"signal {signal} (below {VANISHING:g})",
            "dead": f"{layer['dead'] or 0:.0%} of its units give 0 for every example (above {DEAD:.0%})",
        }
        lines += [f"{layer['layer']}: {verdict}, {said[verdict]}" for verdict in layer["verdicts"]]
    return lines


def is_record(value: Any) -> bool:
    """Whether a line of a file holds what :class:`GradientHealth` measures."""
    match value:
        case {"epoch": int(_), "layers": list(layers)}:
            return all(map(_is_layer, layers))
    return False


def _is_layer(value: Any) -> bool:
    match value:
        case {"layer": str(_), "verdicts": list(verdicts)}:
            figures = [value.get(name, "") for name in ("signal", "gradient", "weight", "update", "dead")]
            return set(map(str, verdicts)) <= set(REMEDIES) and all(
                figure is None or isinstance(figure, int | float) for figure in figures
            )
    return False


# --- one pass of a copy


class _Layer:
    """What all calls of a layer gave: lengths and marks stay on the device until :meth:`record`.

    output : lengths of the gradients for the model's output, of the same passes
    """

    def __init__(self, seen: Seen, output: list[Any]) -> None:
        self.name, self.output = seen.name, output
        self.relu = _gives_relu(seen)
        self.slopes: list[Any] = []
        self.alive: list[Any] = []
        self.parameters: list[Parameter] = []

    def add(self, seen: Seen) -> None:
        self.slopes += seen.slopes.values()
        self.alive += [alive for alive in seen.outputs.values() if alive is not None]
        self.parameters += [p for _, p in seen.parameters]

    @property
    def counts(self) -> bool:
        return bool(self.parameters) or self.relu

    def record(self, updates: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
        """updates : by a parameter's path, the squares of its last step and of itself before."""
        weights = [p for p in self.parameters if p.decay] or self.parameters
        signal = _total(self.slopes) / (_total(self.output) or math.nan) if self.slopes else None
        gradient = _total([p.grad for p in weights]) if weights else None
        moved = [updates[p.path] for p in weights if p.path in updates]
        before = math.fsum(square for _, square in moved)
        dead = None
        if self.relu and self.alive:
            dead = 1.0 - float(np.mean(np.any([copies.to_host(alive) for alive in self.alive], axis=0)))
        return {
            "layer": self.name,
            "signal": _finite(signal),
            "gradient": _finite(gradient),
            "weight": _finite(_total([p.data for p in weights]) if weights else None),
            "update": _finite(math.sqrt(math.fsum(square for square, _ in moved) / before) if before else None),
            "dead": dead,
            "verdicts": list(_verdicts(signal if weights else None, gradient, dead)),
        }


_RELU = ("relu", "linear_relu", "conv2d_relu", "batch_norm_relu")
"""Kernels whose output is that of a ReLU, also where a pooling has followed, which gives 0 for zeros alone."""


def _verdicts(signal: float | None, gradient: float | None, dead: float | None) -> Iterator[str]:
    if signal is not None and (signal > EXPLODING or math.isinf(signal) or not math.isfinite(gradient or 0.0)):
        yield "exploding"
    elif signal is not None and signal < VANISHING:
        yield "vanishing"
    if dead is not None and dead > DEAD:
        yield "dead"


def _layers(trainer: Trainer, data: Dataset) -> list[_Layer] | None:
    """The layers after a forward and a backward pass of a copy; None where the model cannot be copied."""
    try:
        twin = copy_as(trainer.model, str(trainer.model.built().dtype).rpartition(".")[2]).train()
    except (TypeError, copy.Error, NotImplementedError) as error:
        warnings.warn(f"GradientHealth: the model cannot be copied, so nothing is measured: {error}", stacklevel=2)
        return None
    watch = Watch(twin, output=_alive, slope=lambda _, dy: _length(dy))
    size = min(trainer.batch_size, len(data))
    starts = range(0, len(data) - size + 1, size)
    output: list[Any] = []
    with np.errstate(over="ignore", invalid="ignore"):  # gradients that explode are what is looked for
        for start in starts:
            x, y, *rest = data.rows(slice(start, start + size))
            lengths = Lengths(rest[0], x.shape[1]).to(trainer.device) if rest else None
            output += _passes(trainer, twin, x, y, lengths, len(starts))
            watch.let_go()
    watch.collect()
    layers: dict[str, _Layer] = {}
    for seen in watch.seen:
        layers.setdefault(seen.name, _Layer(seen, output)).add(seen)
    return list(layers.values())


def _passes(trainer: Trainer, twin: Any, x: np.ndarray, y: Any, lengths: Lengths | None, count: int) -> list[Any]:
    """Forward and backward by the loss over ``count``; the lengths of the gradients for the outputs.

    The loss goes back to the outputs and from there through the model, because a tensor inside keeps no gradient.
    """
    outputs = called(twin, trainer.upload(x), lengths)
    leaves = each(lambda value: Tensor(value.data, requires_grad=True), outputs)
    (trainer.objectives.loss(leaves, each(trainer.upload, y), lengths) / count).backward()
    pairs = list(zip(outputs.values(), leaves.values(), strict=True)) if isinstance(outputs, dict) else [
        (outputs, leaves)
    ]  # fmt: skip
    told = [(value, leaf.grad) for value, leaf in pairs if leaf.grad is not None and value.requires_grad]
    functools.reduce(operator.add, [(value * Tensor(slope)).sum() for value, slope in told]).backward()
    return [_length(slope) for _, slope in told]


def _length(x: Any) -> Any:
    """√Σx² as an array () on the device. In float32 a length below some 1e-22 is 0, and one above 1e19 infinite."""
    xp = namespace_of(x)
    flat = xp.reshape(x, (-1,))
    return xp.sqrt(xp.vecdot(flat, flat))


def _gives_relu(seen: Seen) -> bool:
    return "ReLU" in seen.kind.split(" + ") or seen.kernel.partition(":")[0] in _RELU


def _alive(seen: Seen, x: Any) -> Any:
    """Of a ReLU's output (..., D): (D,), where anything is above 0. Else None."""
    return namespace_of(x).any(x > 0, axis=tuple(range(x.ndim - 1))) if _gives_relu(seen) else None


def _total(parts: list[Any]) -> float:
    """The length of all arrays together, in float64 on the host."""
    return math.hypot(*(float(np.linalg.norm(copies.to_host(part).astype(np.float64))) for part in parts))


def _updates(trainer: Trainer, before: np.ndarray) -> dict[str, tuple[float, float]]:
    """By path, the square of what the last step has added to a parameter, and of what it was before."""
    vector = trainer.model.built()
    before, after = before.astype(np.float64), copies.to_host(vector.theta).astype(np.float64)
    found = {}
    for segment in vector.segments:
        place = slice(segment.start, segment.start + segment.size)
        found[segment.path] = (
            float(np.sum((after[place] - before[place]) ** 2)),
            float(np.sum(before[place] ** 2)),
        )
    return found


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
