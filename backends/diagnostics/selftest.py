"""A self-test of a device: every kernel in float32 against its reference in float64, on inputs made here.

Each kernel's reference and each alternative that takes the call runs forward and backward; the result is compared with
what the reference gives for the same numbers, widened to float64, on the CPU. Errors are in units in the last place
(ULPs) of float32: of each element, or of the largest element of an array whose elements are sums of terms of both
signs. How many are allowed stands beside each call:

======  =============================================================================================================
``0``   elements are moved or chosen, nothing is computed
``4``   a few correctly rounded operations an element
``8``   exponentials, logarithms and the like, which libraries give to 1 – 4 units; ``16`` for powers
``64``  sums of up to some thousand terms in any order, whose errors grow like the root of their number
``128`` the same where an alternative may work by tiles, which subtracts large sums
======  =============================================================================================================

Where a kernel has a kink (relu and pooling behind a sum), the inputs are chosen so that no number lies near it: a
rounding error could otherwise send a gradient to another pixel.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import backends.reference  # noqa: F401  (defines the kernels)
from backends.dispatch import Kernel, kernels
from backends.namespace import NUMPY, name_of
from backends.packed_sequences import packed_rows
from backends.runtime import copies
from backends.runtime.device import Device

__all__ = ["Call", "Measured", "calls", "run"]


@dataclass(frozen=True)
class Call:
    """One call of a kernel.

    arrays : host arrays of float32, integers or bool, Python numbers, or None
    units : allowed of the outputs; of the gradients there are ``slope_units``
    of_each : whether they are units of each element, not of the largest

    >>> call = next(call for call in calls() if call.kernel == "linear")
    >>> [x.shape for x in call.arrays], call.units, call.differentiable()
    ([(256, 300), (300, 90), (90,)], 64.0, [True, True, True])
    """

    kernel: str
    arrays: tuple[Any, ...]
    params: dict[str, Any]
    units: float
    slope_units: float
    of_each: bool

    def differentiable(self) -> list[bool]:
        """Which arrays get a gradient: those of floats, where the kernel has a backward half."""
        kernel = kernels()[self.kernel]
        has = isinstance(kernel, Kernel) and "backward" in vars(kernel)
        fixed = _FIXED.get(self.kernel, ())
        return [has and _is_float(x) and i not in fixed for i, x in enumerate(self.arrays)]


_FIXED = {
    "batch_norm_fixed": (3, 4),
    "mse": (2,),
    "binary_cross_entropy": (1, 2),
    "cross_entropy": (1, 2),
    "soft_cross_entropy": (2,),
    "where": (0,),
}
"""Positions of arrays of floats that have no gradient."""


@dataclass
class Measured:
    """The worst of one implementation of a kernel, over all its calls.

    implementation : "reference", or the alternative's name
    forward, backward : errors in units in the last place; -1 where nothing was measured
    share : the largest error as a part of what is allowed; above 1 it is too large
    ran : whether it took any of the calls; ``declined`` is its reason for the first that it did not take
    trouble : what it raised, or gave besides

    >>> Measured("linear", "reference", forward=3.0, allowed=64.0, share=3 / 64, ran=True).ok
    True
    """

    kernel: str
    implementation: str
    forward: float = -1.0
    backward: float = -1.0
    allowed: float = 0.0
    share: float = 0.0
    ran: bool = False
    declined: str = ""
    trouble: str = ""

    @property
    def ok(self) -> bool:
        """Within what is allowed; also where it took none of the calls, which is no error."""
        return self.share <= 1.0 and not self.trouble


def run(device: Device) -> Iterator[Measured]:
    """Measure every kernel on ``device``: its reference, then its alternatives; as they come.

    >>> from backends.runtime.device import CPU
    >>> all(measured.ok for measured in run(CPU) if measured.kernel in ("add", "linear"))
    True
    """
    table: dict[str, list[Call]] = {}
    for call in calls():
        table.setdefault(call.kernel, []).append(call)
    for group in table.values():
        found: dict[str, Measured] = {}
        for call in group:
            with device.active():
                _measure(call, device, found)
        yield from found.values()


def _measure(call: Call, device: Device, found: dict[str, Measured]) -> None:
    kernel = kernels()[call.kernel]
    expected = _compute(kernel, NUMPY, [_widened(x) for x in call.arrays], call, np.float64)
    placed = _placed(call, device)
    kernel.choose(device.xp, placed, call.params)  # the first call on a library imports its alternatives
    pairs: list[tuple[str, Any, str | None]] = [("reference", kernel, None)]
    entries = kernel.alternatives.get(name_of(device.xp), ())
    pairs += [(entry.name, entry.pair, entry.declines(*placed, **call.params)) for entry in entries]
    for name, pair, reason in pairs:
        measured = found.setdefault(name, Measured(call.kernel, name))
        if reason is not None:
            measured.declined = measured.declined or reason
            continue
        measured.ran = True
        try:
            actual = _compute(pair, device.xp, _placed(call, device), call, np.float32)
        except Exception as error:  # whatever a broken kernel comes to
            measured.trouble = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
            continue
        _add(measured, call, actual, expected)


def _placed(call: Call, device: Device) -> list[Any]:
    """The arrays on the device, fresh: update kernels write into them."""
    return [copies.to_device(x.copy(), device) if isinstance(x, np.ndarray) else x for x in call.arrays]


def _compute(pair: Any, xp: Any, arrays: list[Any], call: Call, dtype: Any) -> tuple[list[Any], list[Any]]:
    """Outputs and gradients on the host; of an update kernel all its arrays are outputs."""
    if not isinstance(kernels()[call.kernel], Kernel):
        pair.forward(xp, *arrays, **call.params)
        return [copies.to_host(x) for x in arrays], []
    needed = call.differentiable()
    result, saved = pair.forward(xp, *arrays, needed=needed, **call.params)
    outputs = list(result) if isinstance(result, tuple) else [result]
    slopes: list[Any] = []
    if any(needed):
        shape = tuple(outputs[0].shape)
        dy = np.asarray(_generator(call.kernel, "dy").standard_normal(shape).astype(np.float32), dtype)
        device = Device.of(outputs[0])
        with device.active():
            first = copies.to_device(dy, device)
        dys = [first, *[None] * (len(outputs) - 1)] if isinstance(result, tuple) else first
        slopes = [g for g in pair.backward(xp, dys, saved, needed=needed, **call.params) if g is not None]
    return [copies.to_host(y) for y in outputs], [copies.to_host(g) for g in slopes]


def _add(measured: Measured, call: Call, actual: tuple[list, list], expected: tuple[list, list]) -> None:
    for half, units, ours, theirs in zip(
        ("forward", "backward"), (call.units, call.slope_units), actual, expected, strict=True
    ):
        if len(ours) != len(theirs):
            measured.trouble = f"{half} gives {len(ours)} arrays, but the reference {len(theirs)}"
            continue
        for a, b in zip(ours, theirs, strict=True):
            error = _ulps(a, b, call.of_each or units == 0)
            setattr(measured, half, max(getattr(measured, half), error))
            measured.share = max(measured.share, error / units if units else float("inf") if error else 0.0)
            measured.allowed = max(measured.allowed, units)


def _ulps(actual: np.ndarray, expected: np.ndarray, of_each: bool) -> float:
    """The largest error in units in the last place of float32; infinite for another shape, and where it is NaN."""
    if actual.shape != expected.shape:
        return float("inf")
    if not actual.size:
        return 0.0
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    size = np.abs(expected) if of_each else np.max(np.abs(expected))
    unit = np.maximum(size * float(np.finfo(np.float32).eps), float(np.finfo(np.float32).smallest_normal))
    error = np.max(np.abs(actual - expected) / unit)
    return float(error) if np.isfinite(error) else float("inf")


def _widened(x: Any) -> Any:
    if not isinstance(x, np.ndarray):
        return x
    return x.astype(np.float64) if _is_float(x) else x.copy()


def _is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


# --- the calls

Recipe = Callable[[np.random.Generator], np.ndarray]

CHOSEN, ROUNDED, FUNCTION, POWER, SUMS, TILES = 0.0, 4.0, 8.0, 16.0, 64.0, 128.0


def _generator(kernel: str, purpose: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"{kernel}/{purpose}".encode()))


def _call(kernel: str, /, *inputs: Any, units: float = SUMS, slopes: float = SUMS, each: bool = False, **params: Any):
    """A call from recipes, arrays and numbers; each: the units are of each element."""
    rng = _generator(kernel, "inputs")
    arrays = [x(rng) if callable(x) else x for x in inputs]
    narrow = [x.astype(np.float32) if isinstance(x, np.ndarray) and x.dtype == np.float64 else x for x in arrays]
    return Call(kernel, tuple(narrow), params, units, slopes, each)


def _normal(*shape: int) -> Recipe:
    return lambda rng: rng.standard_normal(shape)


def _small(*shape: int) -> Recipe:
    return lambda rng: 0.3 * rng.standard_normal(shape)


def _away(*shape: int) -> Recipe:
    """Numbers of both signs, at least 0.3 from 0."""
    return lambda rng: rng.choice([-1.0, 1.0], shape) * (0.3 + rng.exponential(1.0, shape))


def _positive(*shape: int) -> Recipe:
    return lambda rng: 0.3 + rng.exponential(1.0, shape)


def _shares(*shape: int) -> Recipe:
    return lambda rng: rng.random(shape)


def _distributions(n: int, k: int) -> Recipe:
    return lambda rng: rng.dirichlet(np.ones(k), n)


def _integers(high: int, *shape: int) -> Recipe:
    return lambda rng: rng.integers(0, high, shape)


def _distinct(*shape: int) -> Recipe:
    """Numbers no two of which are equal, in any order."""
    return lambda rng: 0.25 * (rng.permutation(int(np.prod(shape))).reshape(shape) - np.prod(shape) / 2 + 0.5)


def calls() -> Iterator[Call]:
    """Every call, those of one kernel one after the other.

    >>> next(calls()).kernel
    'add'
    """
    yield from _elementwise()
    yield from _moving()
    yield from _sums()
    yield from _images()
    yield from _normalisation()
    yield from _sequences()
    yield from _losses()
    yield from _updates()


def _elementwise() -> Iterator[Call]:
    rounded: dict[str, Any] = {"units": ROUNDED, "each": True}
    function: dict[str, Any] = {"units": FUNCTION, "slopes": POWER, "each": True}
    for name in ("add", "subtract", "multiply"):
        yield _call(name, _positive(40, 30), _positive(40, 30), slopes=ROUNDED, **rounded)
    yield _call("divide", _away(40, 30), _away(40, 30), slopes=FUNCTION, **rounded)
    yield _call("power", _positive(500), exponent=2.5, units=POWER, slopes=POWER, each=True)
    yield _call("power", _away(500), exponent=2, units=ROUNDED, slopes=FUNCTION, each=True)
    yield _call("power_of", _positive(500), _normal(500), units=POWER, slopes=POWER, each=True)
    yield _call("negative", _normal(500), units=CHOSEN, slopes=CHOSEN)
    yield _call("absolute", _away(500), units=CHOSEN, slopes=CHOSEN)
    yield _call("exp", _normal(500), **function)
    yield _call("log", _positive(500), units=FUNCTION, slopes=ROUNDED)
    yield _call("sqrt", _positive(500), slopes=FUNCTION, **rounded)
    yield _call("relu", _away(400, 330), units=CHOSEN, slopes=CHOSEN)
    yield _call("leaky_relu", _away(400, 30), alpha=0.01, slopes=ROUNDED, **rounded)
    yield _call("sigmoid", _normal(400, 30), units=FUNCTION, slopes=SUMS, each=True)
    yield _call("tanh", _normal(400, 30), units=FUNCTION, slopes=FUNCTION)
    yield _call("softmax", _normal(60, 11), units=POWER)
    yield _call("log_softmax", _normal(60, 11), units=POWER)
    yield _call("polar", _away(20, 30), _away(20, 30), **function)
    yield _call("dropout", _away(50, 31), rate=0.4, key=(7, 2**31 + 5), first_row=3, slopes=ROUNDED, **rounded)


def _moving() -> Iterator[Call]:
    chosen: dict[str, Any] = {"units": CHOSEN, "slopes": CHOSEN}
    yield _call("where", lambda rng: rng.random((20, 30)) < 0.5, _normal(20, 30), _normal(20, 30), **chosen)
    yield _call("max_", _distinct(4, 30, 5), axis=1, keepdims=False, **chosen)
    yield _call("reshape", _normal(12, 10), shape=(5, 24), **chosen)
    yield _call("transpose", _normal(4, 5, 6), axes=(2, 0, 1), **chosen)
    yield _call("concat", _normal(4, 5), _normal(7, 5), axis=0, **chosen)
    yield _call("getitem", _normal(6, 7, 5), key=(slice(1, None, 2), ..., slice(None, None, -1)), **chosen)
    yield _call("embedding", _normal(50, 16), _integers(50, 40, 3), units=CHOSEN)
    yield _call("embedding", _normal(1000, 16), _integers(1000, 40, 30), units=CHOSEN)
    yield _call("add_rows_", _normal(1000, 16), _integers(1000, 1200), _normal(1200, 16), units=SUMS)
    borders: dict[str, Any] = {"fill": "reflect", "value": 0.0}
    yield _call("move_pixels", _normal(3, 8, 9, 2), _integers(8, 3, 6), _integers(9, 3, 7), units=CHOSEN, **borders)
    near = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    yield _call(
        "resample", _normal(3, 8, 9, 2), lambda rng: near + rng.uniform(-0.2, 0.2, (3, 2, 3)) * [1.0, 1.0, 6.0],
        interpolation="bilinear", **borders,
    )  # fmt: skip


def _sums() -> Iterator[Call]:
    yield _call("sum_", _normal(40, 50), axis=0, keepdims=False, slopes=CHOSEN)
    yield _call("mean", _normal(40, 50), axis=(0, 1), keepdims=True)
    yield _call("matmul", _normal(3, 40, 100), _normal(100, 30))
    yield _call("linear", _normal(256, 300), _normal(300, 90), _normal(90))
    for n in (32, 1500):
        whole = lambda rng, n=n: rng.integers(-3, 4, (n, 300)) / 1.0  # noqa: E731  sums are whole numbers and 1/2
        signs = lambda rng: rng.integers(-1, 2, (300, 90)) / 1.0  # noqa: E731
        yield _call("linear_relu", whole, signs, lambda rng: rng.integers(-3, 3, 90) + 0.5)
    yield _call("l1_distances", _normal(9, 60), _normal(20, 60))
    yield _call("squared_distances", _normal(9, 60), _normal(20, 60))
    yield _call("sum_of_squares", _away(40, 30), _away(50), scale=0.05)
    yield _call("sum_of_absolutes", _away(40, 30), _away(50), scale=0.05)


def _images() -> Iterator[Call]:
    sides, none, one = ((1, 1), (1, 1)), ((0, 0), (0, 0)), (1, 1)
    plain: dict[str, Any] = {"stride": one, "padding": sides, "dilation": one}
    tiles: dict[str, Any] = {"units": TILES, "slopes": TILES}
    yield _call("conv2d", _normal(20, 41, 31, 3), _normal(3, 2, 3, 17), _normal(17), stride=(2, 1), padding=none,
                dilation=(1, 2), **tiles)  # fmt: skip
    yield _call("conv2d", _normal(2, 17, 16, 17), _normal(3, 3, 17, 18), _normal(18), **plain, **tiles)
    for n, channels, pool in ((16, 3, None), (16, 3, (2, 2)), (3, 17, None), (3, 17, (2, 2))):
        x, w = _off_the_kink(_generator("conv2d_relu", f"{channels} {pool}"), n, channels, 19)
        yield _call("conv2d_relu", x, w, np.zeros(19), pool=pool, **plain, **tiles)
    windows: dict[str, Any] = {"kernel": (3, 2), "stride": (2, 2), "padding": ((1, 1), (0, 1))}
    yield _call("max_pool2d", _distinct(3, 12, 11, 18), units=CHOSEN, slopes=ROUNDED, **windows)
    yield _call("avg_pool2d", _normal(3, 12, 11, 5), **windows)
    frame: dict[str, Any] = {"padding": sides, "border": "symmetric", "stride": one}
    yield _call("correlate2d", _normal(2, 12, 11, 3), _normal(3, 3), **frame)
    yield _call("correlate_separable", _normal(2, 12, 11, 3), _normal(3), _normal(3), **frame)


def _off_the_kink(rng: np.random.Generator, n: int, channels: int, filters: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and 3 × 3 filters whose convolution, padded by 1, is a whole number and 1/8 to 4/8.

    The fraction depends on the place in a 2 × 2 window: no two of its pixels are nearer than 1/8 to each other, and
    none to 0. It comes from the first channel, of which the filters take the middle pixel alone.
    """
    x = rng.integers(-3, 4, (n, 18, 16, channels)).astype(np.float64)
    row, column = np.arange(18)[:, None] % 2, np.arange(16) % 2
    x[..., 0] = (2 * row + column + 1) / 8
    w = rng.integers(-1, 2, (3, 3, channels, filters)).astype(np.float64)
    w[:, :, 0, :] = 0.0
    w[1, 1, 0, :] = 1.0
    return x, w


def _normalisation() -> Iterator[Call]:
    yield _call("batch_norm", _normal(8, 16, 16, 34), _away(34), _normal(34), eps=1e-5)
    yield _call("batch_norm_fixed", _normal(64, 9), _away(9), _normal(9), _normal(9), _positive(9), eps=1e-5)
    for pool in (None, (2, 2)):
        x, gamma, beta = _evenly_spread(_generator("batch_norm_relu", str(pool)), (8, 16, 16), 34)
        yield _call("batch_norm_relu", x, gamma, beta, eps=1e-5, pool=pool, slopes=TILES)


def _evenly_spread(rng: np.random.Generator, shape: tuple[int, ...], channels: int) -> tuple[np.ndarray, ...]:
    """(x, gamma, beta) for which batch norm gives numbers in even steps, half a step from 0 where they are nearest."""
    n = int(np.prod(shape))
    steps = np.stack([rng.permutation(n) for _ in range(channels)], axis=-1) - (n - 1) / 2
    gamma = rng.choice([-1.0, 1.0], channels) * (0.5 + rng.random(channels))
    deviation = np.sqrt((n * n - 1) / 12)
    beta = gamma / deviation * rng.integers(-n // 3, n // 3, channels)
    return (3.0 + steps / 2**8).reshape(*shape, channels), gamma, beta


def _sequences() -> Iterator[Call]:
    lengths = (5, 7, 1, 7, 3)
    for name, gates, states in (("rnn", 1, 1), ("lstm", 4, 2), ("gru", 3, 1)):
        weights = [_small(6, gates * 19), _small(19, gates * 19), _normal(gates * 19)]
        weights += [_normal(19)] if name == "gru" else []
        for reverse, given in ((False, None), (True, lengths)):
            rows = None if given is None else packed_rows(given, 7, reverse)
            start = [_normal(5, 19) for _ in range(states)]
            how: dict[str, Any] = {"lengths": given, "reverse": reverse}
            yield _call(name, _normal(5, 7, 6), *weights, *start, rows, **how)
    steps = packed_rows(lengths, 7, reverse=False)
    yield _call("pack_steps", _normal(5, 7, 6), steps, units=CHOSEN, slopes=CHOSEN)
    yield _call("unpack_steps", _normal(sum(lengths), 6), steps, n=5, steps=7, units=CHOSEN, slopes=CHOSEN)


def _losses() -> Iterator[Call]:
    yield _call("mse", _normal(40, 5), _normal(40, 5), _positive(40, 5))
    yield _call("binary_cross_entropy", _normal(60, 3), _shares(60, 3), _positive(60, 3), label_smoothing=0.1)
    for weight in (None, _positive(2000)):
        yield _call("cross_entropy", _normal(2000, 17), _integers(17, 2000), weight, label_smoothing=0.1)
        yield _call("soft_cross_entropy", _normal(2000, 17), _distributions(2000, 17), weight, label_smoothing=0.1)


def _updates() -> Iterator[Call]:
    n = 40_000
    theta, grad, state, square = _normal(n), _normal(n), _normal(n), _positive(n)
    how: dict[str, Any] = {"units": ROUNDED * 4}
    yield _call("sgd_", theta, grad, lr=0.1, **how)
    for bias_correction, nesterov in ((False, False), (True, True)):
        yield _call("momentum_", theta, state, grad, lr=0.1, beta=0.9, bias_correction=bias_correction,
                    nesterov=nesterov, step=3, **how)  # fmt: skip
    yield _call("rmsprop_", theta, square, grad, lr=0.1, beta=0.9, eps=1e-8, **how)
    yield _call("adam_", theta, state, square, grad, lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.1, step=3, **how)
    yield _call("adagrad_", theta, square, grad, lr=0.1, eps=1e-8, **how)
    yield _call("running_average_", _normal(50), _normal(50), momentum=0.9, **how)
    yield _call("clip_", _normal(500), limit=0.5, units=CHOSEN)
    yield _call("clip_by_norm_", _normal(500), np.zeros(()), limit=2.0)
    yield from _in_half(n)


def _in_half(n: int) -> Iterator[Call]:
    """Numbers that float16 holds, and powers of two, so that nothing is rounded."""
    numbers = lambda rng: rng.integers(-1000, 1000, n) / 8.0  # noqa: E731
    exact = np.asarray(numbers(_generator("unscale_", "half")), np.float16)
    counts, steps = np.array([0, 5, 1, 2, 0], np.int32), {"grow_every": 200, "least": 1.0, "most": 2.0**24}
    yield _call("cast_", np.zeros(n, np.float16), numbers, units=CHOSEN)
    yield _call("keep_", numbers, numbers, counts, units=CHOSEN)
    yield _call("unscale_", np.zeros(n), np.full(1, 2.0**15), counts, exact, units=CHOSEN, **steps)
