"""Gradient checks: is backward the derivative of forward? (notes 2.4) Parity of devices stands in dlcore/parity.py.

The number (f(theta + eps) - f(theta - eps)) / 2 eps approximates a derivative with an error of order eps², and of order
u / eps from rounding, with u = 2e-16 in float64: eps = 1e-5 makes both about 1e-11, far below the tolerance of 1e-6.
In float32 neither could be: checks compute in float64, whatever the model does.

At a kink (relu at 0, max pooling of equal pixels) the quotient is a mix of two slopes. Where it disagrees with the
gradient, it is therefore measured again with other steps: a smaller one steps over fewer kinks and cuts the error of a
strong curvature, a larger one suffers less from rounding. A wrong gradient disagrees with all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from backends import random
from backends.namespace import namespace_of
from backends.runtime import copies
from backends.runtime.device import Device
from dlcore import nn
from dlcore._core.input_tree import mapped, rows_of, steps_of
from dlcore.errors import ConfigError
from dlcore.functional import Lengths
from dlcore.nn.copies import copy_as
from dlcore.nn.parameter import Parameter
from dlcore.parity import Parity, parity
from dlcore.tensor import Tensor, no_grad
from dlcore.train.engine.objective import Objectives
from dlcore.train.engine.recurrent_state import are_inputs, called

__all__ = ["GradientCheck", "Parity", "gradient_check", "gradient_check_function", "parity"]


def __dir__() -> list[str]:
    return sorted(__all__)


_STEPS = (1.0, 10.0, 0.1, 0.01)  # times eps, one after the other until the quotient agrees
_IN_FULL = 2000
_PROBES = 4
_ROUNDING = 16 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class GradientCheck:
    """The outcome of a gradient check; true where it passed.

    ok : whether the relative error is within the tolerance
    relative_error : ‖g_num - g‖₂ / (‖g_num‖₂ + ‖g‖₂) over all parameters
    worst : path of the parameter with the largest relative error of its own
    errors : the relative error of each parameter, the worst first

    >>> from dlcore import optim
    >>> model = nn.Sequential(nn.Dense(4), nn.Tanh(), nn.Dense(3)).build((2,), seed=0)
    >>> check = gradient_check(model, [[1.0, 2.0], [3.0, 4.0]], [0, 2], "cross_entropy", optim.L2(0.1))
    >>> bool(check), check.worst in check.errors, check.relative_error < 1e-8
    (True, True, True)

    Source: notes, 2.4.
    """

    ok: bool
    relative_error: float
    worst: str
    errors: Mapping[str, float] = field(default_factory=dict, repr=False, compare=False)

    def __bool__(self) -> bool:
        return self.ok


def gradient_check(
    model: nn.Module,
    x: Any,
    y: Any,
    loss: str | Callable[..., Tensor] | Mapping[str, Any],
    penalty: Callable[[nn.Module, int], Tensor] | None = None,
    *,
    lengths: Any = None,
    eps: float = 1e-5,
    tolerance: float = 1e-6,
    probes: int | None = None,
    seed: int = 0,
) -> GradientCheck:
    """Compare the gradient that ``backward`` gives for a model's parameters with two-sided differences of its loss.

    model : a built model; it is left as it is, a float64 copy on the same device is checked
    x, y : (N, ...) batch (or a tuple or dict of several inputs) and its targets (or a dict of targets), on the host or
        on the model's device
    loss : "cross_entropy", "binary_cross_entropy", "mse", or a function (prediction, y) -> scalar Tensor; of heads a
        dict of them, whose sum is checked
    penalty : such as ``dlcore.optim.L2``; called with (model, m) and added to the loss, m as it was made with, else N
    lengths : (N,) integers, the valid steps of padded sequences
    eps : step of the differences
    tolerance : the largest relative error that passes
    probes : random directions a parameter. By default each element is checked by itself where at most 2,000 are learnt,
        and else 4 directions a parameter (each element of a parameter that has no more)
    seed : of the directions

    The relative error is taken on the concatenated theta, without gaps and frozen parameters. Its denominator is kept
    above what rounding in the loss can amount to, so that a gradient of zero, such as that of a dead unit, passes; an
    error below that cannot be seen, which matters where a loss is a million times its gradient.

    Each layer keeps its mode but BatchNorm, which uses its running statistics: in training, its output depends on the
    whole batch. A layer that draws random numbers, such as an active Dropout, is refused by its path; call
    ``model.eval()``, which turns dropout off, or set its rate to 0. Parameters at exactly 0, such as new biases, are
    moved by up to 1e-3, because blank pixels hold relu at its kink there.

    What random directions can miss: an error of relative size r is so nearly orthogonal to a direction that it looks
    smaller than the tolerance t with probability about t / r; to all ``probes`` of them, (t / r) to that power. Either
    way an error is lost in a parameter whose share of the whole gradient is below the tolerance.

    Returns a GradientCheck. Raises ConfigError.

    >>> model = nn.Sequential(nn.Dense(4), nn.Tanh(), nn.Dense(3)).build((2,), seed=0)
    >>> check = gradient_check(model, [[1.0, 2.0], [3.0, 4.0]], [0, 2], "cross_entropy")
    >>> check.ok, check.relative_error < 1e-8
    (True, True)

    Source: notes, 2.4.
    """
    objectives = Objectives(loss, (), None)
    _check_settings(eps, tolerance, probes)
    model = _float64_copy(model)
    vector = model.built()
    inputs = x if are_inputs(x, model) else (x,)
    inputs, y = mapped(lambda leaf: _placed(leaf, vector.device), inputs), _placed(y, vector.device)
    x = inputs if are_inputs(x, model) else inputs[0]
    n = rows_of(x)
    lengths = None if lengths is None else Lengths.of("gradient_check", lengths, n, steps_of(x))

    m = getattr(penalty, "examples", None) or n

    def compute() -> Tensor:
        total = objectives.loss(called(model, x, lengths), y, lengths)
        return total if penalty is None else total + penalty(model, m)

    active = [p for p in vector.parameters if p.requires_grad]
    if not active:
        raise ConfigError("gradient_check: every parameter is frozen; unfreeze those to be checked")
    _leave_zero(active, seed)
    compute().backward()

    def evaluate() -> float:
        with no_grad():
            return compute().item()

    return _compare([_parameter_part(p, evaluate) for p in active], eps, tolerance, probes, seed)


def gradient_check_function(
    function: Callable[..., Tensor],
    *inputs: Any,
    place: Callable[[np.ndarray], Any] | None = None,
    eps: float = 1e-5,
    tolerance: float = 1e-6,
    probes: int | None = None,
    seed: int = 0,
) -> GradientCheck:
    """Compare the gradients that ``backward`` gives for a function's arguments with two-sided differences.

    function : takes one Tensor an input, gives a Tensor of any shape; where it is no scalar, the sum of its elements
        times fixed random weights is differentiated
    inputs : arrays on the host; floating-point ones are checked, as float64, others (labels, ids) are passed on
    place : puts a NumPy array on the device to be checked, such as ``lambda a: transfer.to_device(a, device)``
    eps, tolerance, probes, seed : as in :func:`gradient_check`

    Keep inputs away from kinks (relu at 0, equal pixels in a max pool): here, nothing is moved.

    Returns a GradientCheck whose ``worst`` is "argument 0", "argument 1", ... Raises ConfigError.

    >>> from dlcore import functional as F
    >>> gradient_check_function(F.linear, np.ones((2, 3)), np.ones((3, 4)), np.zeros(4)).ok
    True
    >>> gradient_check_function(lambda x: (x - x.detach()) * x.exp(), [1.0, 2.0]).ok  # x.detach() hides a part
    False

    Source: notes, 2.4.
    """
    _check_settings(eps, tolerance, probes)
    arrays = [_as_float64(np.asarray(a)) for a in inputs]
    checked = [i for i, a in enumerate(arrays) if a.dtype == np.float64]
    if not checked:
        raise ConfigError("gradient_check_function: no floating-point input came, so there is nothing to differentiate")
    placed = [Tensor(a if place is None else place(a), requires_grad=i in checked) for i, a in enumerate(arrays)]
    output = function(*placed)
    weights = _normal("contraction", tuple(output.shape), seed) if output.shape else np.ones(())
    output.backward(weights if place is None else place(weights))

    def part(i: int) -> _Part:
        def value_at(displacement: np.ndarray) -> float:
            moved = arrays[i] + displacement.reshape(arrays[i].shape)
            operands = [*placed]
            operands[i] = Tensor(moved if place is None else place(moved))
            with no_grad():
                return float(np.sum(function(*operands).numpy() * weights))

        gradient = placed[i].grad
        host = np.zeros(arrays[i].size) if gradient is None else copies.to_host(gradient).ravel()
        return _Part(f"argument {i}", host, value_at)

    return _compare([part(i) for i in checked], eps, tolerance, probes, seed)


# --- the comparison


@dataclass
class _Part:
    """One parameter under test: its gradient, flat on the host, and the loss where it is displaced.

    The other fields are squared norms of what was measured.
    """

    path: str
    gradient: np.ndarray
    value_at: Callable[[np.ndarray], float] = field(repr=False)
    difference: float = 0.0
    numeric: float = 0.0
    analytic: float = 0.0
    rounding: float = 0.0

    def add(self, numeric: float, analytic: float, rounding: float, weight: float) -> None:
        self.difference += weight * (numeric - analytic) ** 2
        self.numeric += weight * numeric**2
        self.analytic += weight * analytic**2
        self.rounding += weight * rounding**2


def _compare(parts: list[_Part], eps: float, tolerance: float, probes: int | None, seed: int) -> GradientCheck:
    if probes is None:
        probes = _IN_FULL if sum(part.gradient.size for part in parts) <= _IN_FULL else _PROBES
    for part in parts:
        _measure(part, eps, tolerance, probes, seed)
    errors = [_relative_error([part], tolerance) for part in parts]
    total = _relative_error(parts, tolerance)
    order = sorted(range(len(parts)), key=lambda i: -math.inf if math.isnan(errors[i]) else -errors[i])
    by_path = {parts[i].path: errors[i] for i in order}
    return GradientCheck(total <= tolerance, total, parts[order[0]].path, by_path)


def _measure(part: _Part, eps: float, tolerance: float, probes: int, seed: int) -> None:
    """Compare along each element, or along random directions of which the expected square is the squared norm."""
    n = part.gradient.size
    if n <= probes:
        for i in range(n):
            direction = np.zeros(n)
            direction[i] = 1.0
            analytic = float(part.gradient[i])
            part.add(*_quotient(part, direction, analytic, eps, tolerance), weight=1.0)
        return
    for k in range(probes):
        direction = _normal(part.path, (n,), seed, k)
        analytic = float(direction @ part.gradient)
        step = eps / math.sqrt(n)  # so that theta moves by about eps
        part.add(*_quotient(part, direction, analytic, step, tolerance), weight=1.0 / probes)


def _quotient(
    part: _Part, direction: np.ndarray, analytic: float, step: float, tolerance: float
) -> tuple[float, float, float]:
    """(numeric, analytic, rounding): the difference quotient of the step that agrees best, and its rounding error."""
    best, nearest = (math.nan, analytic, 0.0), math.inf
    for factor in _STEPS:
        h = factor * step
        above, below = part.value_at(h * direction), part.value_at(-h * direction)
        # However small a loss is, what it is of is rounded by about u: 1 + s of log(1 + s), a of (a - y)².
        rounding = _ROUNDING * max(abs(above), abs(below), 1.0) / h
        numeric = (above - below) / (2.0 * h)
        distance = abs(numeric - analytic)
        if distance < nearest:
            best, nearest = (numeric, analytic, rounding), distance
        if distance <= tolerance * abs(analytic) + rounding:
            break
    return best


def _relative_error(parts: list[_Part], tolerance: float) -> float:
    difference, numeric, analytic, rounding = (
        math.sqrt(sum(getattr(part, name) for part in parts))
        for name in ("difference", "numeric", "analytic", "rounding")
    )
    if difference == 0.0:
        return 0.0
    return difference / max(numeric + analytic, rounding / tolerance)


# --- the model under test


def _float64_copy(model: nn.Module) -> nn.Module:
    """The model with parameters and buffers of its own, in float64 on its device, ready to be checked."""
    model = copy_as(model, "float64")
    for path, module in model.named_modules():
        if isinstance(module, nn.BatchNorm):
            module.training = False
        module.draw = _refusal(path, module)
    return model


def _refusal(path: str, module: nn.Module) -> Any:
    """What stands in for ``module.draw``."""
    name = type(module).__name__

    def refuse(stream: str) -> NoReturn:
        raise ConfigError(
            f"gradient_check: layer {path or name} ({name}) draws random numbers ({stream}) but the same loss is "
            "expected from every evaluation; call model.eval() first, or set its rate to 0"
        )

    return refuse


def _leave_zero(parameters: list[Parameter], seed: int) -> None:
    """Move every element that is exactly 0 by 0.5e-3 to 1e-3, up or down."""
    for p in parameters:
        host = copies.to_host(p.data)
        away = random.uniform(random.derive(seed, "probe", p.path, -1), host.shape, -1.0, 1.0).astype(np.float64)
        p.data = np.where(host == 0.0, 0.5e-3 * (away + np.where(away < 0.0, -1.0, 1.0)), host)


def _parameter_part(p: Parameter, evaluate: Callable[[], float]) -> _Part:
    base = np.array(copies.to_host(p.data))

    def value_at(displacement: np.ndarray) -> float:
        p.data = base + displacement.reshape(base.shape)
        value = evaluate()
        p.data = base
        return value

    return _Part(p.path, np.array(copies.to_host(p.grad)).ravel(), value_at)


# --- small helpers


def _check_settings(eps: float, tolerance: float, probes: int | None) -> None:
    for name, value in (("eps", eps), ("tolerance", tolerance)):
        if not value > 0:
            raise ConfigError(f"gradient_check: {name} is {value!r} but a number above 0 is expected")
    if probes is not None and (not isinstance(probes, int) or probes < 1):
        raise ConfigError(f"gradient_check: probes is {probes!r} but a positive integer or None is expected")


def _normal(path: str, shape: tuple[int, ...], seed: int, *counters: int) -> np.ndarray:
    return random.normal(random.derive(seed, "probe", path, *counters), shape).astype(np.float64)


def _as_float64(a: np.ndarray) -> np.ndarray:
    return a.astype(np.float64) if a.dtype.kind == "f" else a


def _placed(data: Any, device: Device) -> Any:
    """Arrays on ``device``, floating-point ones as float64."""
    if isinstance(data, Mapping):
        return {name: _placed(value, device) for name, value in data.items()}
    if isinstance(data, Tensor):
        data = data.data
    if isinstance(data, list | tuple | int | float):
        data = np.asarray(data)
    if isinstance(data, np.ndarray | np.generic):
        return copies.to_device(_as_float64(np.asarray(data)), device)
    xp = namespace_of(data)
    with device.active():
        return xp.astype(data, xp.float64) if xp.isdtype(data.dtype, "real floating") else data
