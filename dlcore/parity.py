"""Parity: do two devices, or the compiled kernels and their references, take the same training step?

The same copy of a model takes one step on each device, forward and backward, and every layer is compared: its output,
the gradient of the loss for it, those of its parameters, its running statistics. The devices differ in the order of
their sums, so each number may differ by some rounding errors. How much is allowed is :data:`TOLERANCE`, relative to the
largest element, because in a sum of terms of both signs it is the terms that are rounded:

=========  =======  ==============================================================================================
float32    1e-4     a sum of 10,000 terms in another order differs by up to about 1e-5 of its size (the unit is 6e-8,
                    errors grow like the root of the number of terms), and each layer hands its share on to the next
float64    1e-11    the same with a unit that is 5e8 times as small, and room for a tenth
=========  =======  ==============================================================================================

A gradient for parameters is a sum over the gradients for the layer's output and may cancel, such as that of a bias in
front of batch norm, which is 0: it is compared with the larger of the two.

At a kink (relu near 0, max pooling of nearly equal pixels, as there are in a blank part of an image) a rounding error
can send a gradient another way. Where gradients disagree and outputs do not, the step is therefore taken again with
inputs and weights moved, up to three times: every weight by about a thousandth of itself, and every number of the input
by about a hundredth of the largest. A kink is then elsewhere, and a kernel that computes something else still does.
Batches should be small: of a million numbers, one is always near a kink.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends import random
from backends.dispatch import reference_only
from backends.runtime import copies
from backends.runtime.device import Device, resolve
from dlcore import losses, nn
from dlcore._core.input_tree import mapped
from dlcore.errors import ConfigError
from dlcore.nn.copies import copy_as
from dlcore.nn.watch import Seen, Watch
from dlcore.tensor import Tensor
from dlcore.train.engine.recurrent_state import are_inputs, called

__all__ = ["TOLERANCE", "Difference", "LayerParity", "Parity", "Place", "parity", "place"]

TOLERANCE = {"float32": 1e-4, "float64": 1e-11}
"""The largest difference that passes, relative to the largest element, by dtype."""

_REFERENCE = "-reference"
_ATTEMPTS = 4
_MOVE = {"weights": 2.0**-10, "inputs": 2.0**-7}


@dataclass(frozen=True)
class Place:
    """A device, or "cpu-reference" and "cuda-reference": a device on which every kernel runs its reference."""

    name: str
    device: Device
    only_reference: bool = False

    def active(self) -> AbstractContextManager[Any]:
        """A context in which kernels run as the name says."""
        return reference_only() if self.only_reference else nullcontext()

    def __str__(self) -> str:
        why = "every kernel runs its reference" if self.only_reference else self.device.why
        return f"{self.name} ({why})" if why else self.name


def place(name: str | Device) -> Place:
    """The place of a name: "cpu", "cuda", "cuda:N" or "auto", each also with "-reference" behind it.

    Raises DeviceError for another name, and for a device that cannot be used.

    >>> place("cpu-reference").only_reference
    True
    """
    only_reference = isinstance(name, str) and name.endswith(_REFERENCE)
    device = resolve(name.removesuffix(_REFERENCE) if isinstance(name, str) else name)
    return Place(f"{device}{_REFERENCE}" if only_reference else str(device), device, only_reference)


@dataclass(frozen=True)
class Difference:
    """How far two devices are apart in one array.

    what : "output", "d output" (the gradient of the loss for it), "dw" (that for the parameter w), "running_mean", ...
    error : the largest difference, in units of the largest element; infinite where a number is not finite
    worst : the place of that difference
    values : there, on either device
    ok : within the tolerance
    gradient : whether it belongs to the backward pass
    """

    what: str
    error: float
    worst: tuple[int, ...]
    values: tuple[float, float]
    ok: bool
    gradient: bool = False


@dataclass(frozen=True)
class LayerParity:
    """One layer, or several that are computed in one go, on a device, compared with the first device.

    path, kind : its name and type: "1 + 2", "BatchNorm + ReLU"; path "loss" for the loss itself
    kernels : what made its output on the first device and on this one: "batch_norm: BatchNormNumba"
    differences : its output, buffers, gradient for the output, gradients for the parameters, in this order
    """

    path: str
    kind: str
    device: str
    kernels: tuple[str, str]
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        return all(difference.ok for difference in self.differences)


@dataclass(frozen=True)
class Parity:
    """The outcome of :func:`parity`; true where every layer is within the tolerance. ``print`` shows it as a table.

    ok : whether every layer is within the tolerance
    devices : the first is the one that the others are compared with
    dtype, tolerance : as for :func:`parity`
    losses : by device
    layers : of each further device, in the order of the forward pass
    first : the first layer that is out of tolerance, empty where none is
    verdict : the result in a sentence
    moves : how often inputs and weights were moved, because gradients disagreed near kinks

    >>> import numpy as np
    >>> outcome = parity(nn.Dense(2).build((3,)), np.ones((4, 3), np.float32), ["cpu", "cpu-reference"])
    >>> bool(outcome), outcome.devices, outcome.first
    (True, ('cpu', 'cpu-reference'), '')
    >>> print(outcome.verdict.replace("; ", ";\\n"))  # so small a model runs the reference kernels on both
    parity: cpu-reference within tolerance of cpu in every layer;
    cpu and cpu-reference ran the same kernels in every layer, which compares nothing there
    """

    ok: bool
    devices: tuple[str, ...]
    dtype: str
    tolerance: float
    losses: dict[str, float]
    layers: tuple[LayerParity, ...]
    first: str
    verdict: str
    moves: int = 0

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return "\n".join([*_table(self), self.verdict])


def parity(
    model: nn.Module,
    x: Any,
    devices: Sequence[str | Device],
    *,
    y: Any = None,
    loss: str | Callable[[Any, Any], Tensor] | None = None,
    dtype: str | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> Parity:
    """Compare one training step from equal weights on several devices, layer by layer, forward and backward.

    model : a built model; it is left as it is, copies in training mode take the step
    x : (N, ...) batch, or a tuple or dict of several inputs, on the host or on any device; a small one, of 8 or so
    devices : at least two of "cpu", "cuda", "cuda:N", "auto", and of these names with "-reference" behind them, where
        every kernel runs its reference; the others are compared with the first
    y, loss : targets and "cross_entropy", "binary_cross_entropy", "mse" or a function (outputs, y) -> scalar Tensor;
        without them the loss is the sum of the outputs times fixed random weights
    dtype : "float32" or "float64"; by default the model's
    tolerance : relative to the largest element of each array; by default :data:`TOLERANCE` of the dtype
    seed : of those random weights

    Dropout masks are the same bits on every device, so it is the training mode that is compared. The update itself is
    not: an Adam step divides a gradient of 0 by its own rounding error. `dlcore doctor --self-test` checks its kernel.

    Returns a Parity. Raises ConfigError, and DeviceError where a device cannot be used.

    >>> model = nn.Sequential(nn.Dense(4), nn.BatchNorm(), nn.ReLU(), nn.Dense(3)).build((2,), seed=0)
    >>> found = parity(model, [[1.0, 2.0], [3.0, 4.0], [0.0, 1.0]], ["cpu", "cpu-reference"])
    >>> found.ok, [layer.path for layer in found.layers]
    (True, ['0', '1 + 2', '3', 'loss'])
    """
    places = _distinct([place(name) for name in devices])
    dtype = str(model.built().dtype).rpartition(".")[2] if dtype is None else dtype
    if dtype not in TOLERANCE:
        raise ConfigError(f"parity: dtype is {dtype!r} but one of {', '.join(TOLERANCE)} is expected")
    tolerance = TOLERANCE[dtype] if tolerance is None else tolerance
    if not 0 < tolerance < math.inf:
        raise ConfigError(f"parity: tolerance is {tolerance!r} but a number above 0 is expected")
    if (y is None) != (loss is None):
        raise ConfigError("parity: y and loss go together, but only one of them came")
    measure = functools.partial(_contracted, seed=seed) if loss is None else losses.named(loss)
    found: Parity | None = None
    for moves in range(_ATTEMPTS):
        steps = [_step(model, x, y, measure, at, dtype, moves) for at in places]
        found = _compare(places, steps, dtype, tolerance, moves)
        if found.ok or not all(d.ok for layer in found.layers for d in layer.differences if not d.gradient):
            break
    return found  # pyright: ignore[reportReturnType]  # of the last attempt, in which no kink is mistaken for an error


def _distinct(places: list[Place]) -> list[Place]:
    names = [at.name for at in places]
    if len(names) < 2:
        came = names[0] if names else "none"
        raise ConfigError(f"parity: devices is {came} but at least two are expected, such as cpu and cpu-reference")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigError(f"parity: device {twice} came twice, but different ones are expected")
    return places


# --- one step


@dataclass(frozen=True)
class _Step:
    """What one device computed."""

    seen: list[Seen]
    loss: np.ndarray


def _step(model: nn.Module, x: Any, y: Any, loss: Callable[..., Tensor], at: Place, dtype: str, moves: int) -> _Step:
    """One forward and backward pass on a copy of the model."""
    with at.device.active(), at.active():
        twin = copy_as(model, dtype, at.device).train()
        twin.built().zero_grad()
        inputs = mapped(_host, x) if are_inputs(x, model) else _host(x)
        if moves:
            inputs = mapped(functools.partial(_moved, moves=moves), inputs)
            for p in twin.parameters():
                host = copies.to_host(p.data)
                p.data = host * (1.0 + _MOVE["weights"] * _noise(moves, p.path, host.shape))
        watch = Watch(twin)
        total = loss(called(twin, mapped(lambda a: _placed(a, at.device, dtype), inputs)), _placed(y, at.device, dtype))
        total.backward()
        return _Step(watch.collect(), np.array(copies.to_host(total.data)))


def _moved(x: np.ndarray, moves: int) -> np.ndarray:
    """Numbers that differ a little from those of ``x``; integers, which are names of something, stay."""
    if x.dtype.kind != "f":
        return x
    return x + _MOVE["inputs"] * np.max(np.abs(x), initial=0.0) * _noise(moves, "input", x.shape)


def _noise(moves: int, path: str, shape: tuple[int, ...]) -> np.ndarray:
    return random.normal(random.derive(moves, "probe", path), shape)


def _host(data: Any) -> np.ndarray:
    """A list, a tensor or an array of any device on the host."""
    data = data.data if isinstance(data, Tensor) else data
    if isinstance(data, list | tuple | int | float | np.generic):
        array = np.asarray(data)
        return array.astype(np.float32) if array.dtype == np.float64 else array
    return copies.to_host(data)


def _placed(data: Any, device: Device, dtype: str) -> Any:
    """Arrays on the device, floating-point ones in the dtype."""
    if isinstance(data, dict):
        return {name: _placed(value, device, dtype) for name, value in data.items()}
    if data is None:
        return None
    host = _host(data)
    return copies.to_device(host.astype(dtype) if host.dtype.kind == "f" else host, device)


def _contracted(outputs: Any, y: Any, *, seed: int) -> Tensor:
    """The outputs times fixed random numbers, summed and divided by N: every output has its own share in it."""
    if isinstance(outputs, dict | list | tuple):
        parts = outputs.values() if isinstance(outputs, dict) else outputs
        return functools.reduce(operator.add, [_contracted(part, y, seed=seed) for part in parts])
    weights = random.normal(random.derive(seed, "probe", "parity"), tuple(outputs.shape))
    host = weights.astype(str(outputs.dtype).rpartition(".")[2])
    return (outputs * Tensor(copies.to_device(host, Device.of(outputs.data)))).sum() / max(outputs.shape[0], 1)


# --- the comparison


def _compare(places: list[Place], steps: list[_Step], dtype: str, tolerance: float, moves: int) -> Parity:
    layers: list[LayerParity] = []
    first, verdict = "", ""
    for at, step in zip(places[1:], steps[1:], strict=True):
        found = list(_layers(steps[0], step, at.name, tolerance))
        layers += found
        if not first and not all(layer.ok for layer in found):
            first, reason = _first(found, step.seen)
            verdict = f"parity: {at.name} is out of tolerance against {places[0].name}, first {reason}"
    names = tuple(at.name for at in places)
    if not first:
        verdict = f"parity: {' and '.join(names[1:])} within tolerance of {names[0]} in every layer"
    for at in places[1:]:
        verdict += _nothing_compared(places[0], at, [layer for layer in layers if layer.device == at.name])
    if moves:
        verdict += f" (inputs and weights moved {_times(moves)}, away from kinks)"
    values = {at.name: float(step.loss) for at, step in zip(places, steps, strict=True)}
    return Parity(not first, names, dtype, tolerance, values, tuple(layers), first, verdict, moves)


def _nothing_compared(first: Place, other: Place, layers: list[LayerParity]) -> str:
    """Which layers ran the same kernels on both sides, as where a device declines its compiled ones: of these nothing
    was compared."""
    if first.device.name.partition(":")[0] != other.device.name.partition(":")[0]:  # two libraries
        return ""
    own = [layer for layer in layers if layer.kernels[0]]
    same = [layer.path for layer in own if layer.kernels[0] == layer.kernels[1]]
    if not same:
        return ""
    which = "every layer" if len(same) == len(own) else ", ".join(same)
    return f"; {first.name} and {other.name} ran the same kernels in {which}, which compares nothing there"


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _layers(base: _Step, other: _Step, device: str, tolerance: float) -> Iterator[LayerParity]:
    for a, b in zip(base.seen, other.seen, strict=True):
        found = [_difference(n, a.outputs[n], b.outputs[n], tolerance) for n in a.outputs]
        found += [_difference(n, a.buffers[n], b.buffers[n], tolerance) for n in a.buffers]
        found += [_difference(f"d {n}", a.slopes[n], b.slopes[n], tolerance, 0.0) for n in a.slopes]
        least = max((float(np.max(np.abs(dy), initial=0.0)) for dy in a.slopes.values()), default=0.0)
        found += [_difference(f"d{n}", a.gradients[n], b.gradients[n], tolerance, least) for n in a.gradients]
        yield LayerParity(a.path or "all", a.kind, device, (a.kernel, b.kernel), tuple(found))
    yield LayerParity("loss", "", device, ("", ""), (_difference("value", base.loss, other.loss, tolerance),))


def _difference(what: str, a: np.ndarray, b: np.ndarray, tolerance: float, least: float | None = None) -> Difference:
    """least : of a gradient, the size that it is compared with at least, for it may be a sum of larger terms"""
    gradient = least is not None
    a, b = a.astype(np.float64), b.astype(np.float64)
    if not a.size:
        return Difference(what, 0.0, (), (0.0, 0.0), True, gradient)
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
    apart = np.where(np.isfinite(apart), apart, np.inf)
    worst = tuple(int(i) for i in np.unravel_index(np.argmax(apart), apart.shape))
    largest = float(apart[worst])
    scale = max(float(np.max(np.abs(a))), least or 0.0)
    error = 0.0 if largest == 0.0 else math.inf if scale == 0.0 or largest == math.inf else largest / scale
    return Difference(what, error, worst, (float(a[worst]), float(b[worst])), error <= tolerance, gradient)


def _first(layers: list[LayerParity], seen: list[Seen]) -> tuple[str, str]:
    """The first layer that is out of tolerance, and the reason: in the forward pass, else in the backward pass.

    A layer whose parameters' gradients are out, while the gradient that came to it is not, is wrong itself. Where the
    gradient for its output is out, those are wrong that have read the output and sent the gradient back.
    """
    for layer in layers:
        for d in layer.differences:
            if not d.ok and not d.gradient:
                return layer.path, f"in the forward pass: {_about(layer)}: {_values(d)}{_kernels(layer)}"
    by_name = {one.name: layer for one, layer in zip(seen, layers, strict=False)}
    for one, layer in reversed([*zip(seen, layers, strict=False)]):
        for d in layer.differences:
            if d.ok or not d.gradient:
                continue
            if not d.what.startswith("d output"):
                return layer.path, f"in the backward pass: {_about(layer)}: {_values(d)}{_kernels(layer)}"
            readers = [by_name[name] for name in one.readers] or [_beyond(one, layers, by_name)]
            paths = " or ".join(reader.path for reader in readers)
            said = " or ".join(map(_about, readers))
            return paths, f"in the backward pass: {said}: what it sends back to {layer.path}, {_values(d)}" + (
                _kernels(readers[0]) if len(readers) == 1 else ""
            )
    raise AssertionError("every layer is within the tolerance")


def _beyond(one: Seen, layers: list[LayerParity], by_name: dict[str, LayerParity]) -> LayerParity:
    """What took an output that no layer did: the code of the layer around it, or the loss."""
    return by_name.get(one.within, layers[-1])


def _about(layer: LayerParity) -> str:
    return f"{layer.path} ({layer.kind})" if layer.kind else f"the {layer.path}"


def _values(d: Difference) -> str:
    place = f" at {d.worst}" if d.worst else ""
    return f"{d.what}{place} is {d.values[0]:.7g} and {d.values[1]:.7g}, an error of {d.error:.1e}"


def _kernels(layer: LayerParity) -> str:
    a, b = layer.kernels
    if not a and not b:
        return ""
    return f"; both run {a}" if a == b else f"; they run {a} and {b.rpartition(': ')[2]}"


# --- what people read


def _table(found: Parity) -> list[str]:
    lines = []
    for device in found.devices[1:]:
        title = f"{device} against {found.devices[0]}"
        lines.append(f"{title:34}  {'error':>8}  {'allowed':>8}  worst element")
        for layer in (one for one in found.layers if one.device == device):
            lines.append(f"{layer.path}  {layer.kind}".rstrip())
            for d in layer.differences:
                mark = "" if d.ok else "  OUT"
                at = ", ".join(map(str, d.worst))
                lines.append(f"  {d.what:32}  {d.error:8.1e}  {found.tolerance:8.0e}  {at}{mark}".rstrip())
    lines.append("loss: " + ", ".join(f"{value:.8g} on {name}" for name, value in found.losses.items()))
    return lines
