"""Learning-rate schedules (notes 3.7): the rate of each step from the base rate.

A schedule is called with the base rate alpha0, the epoch, counted from 0, and the step t of the whole run, counted from
1, and gives the learning rate of that step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from dlcore._core.configurable import Recorded
from dlcore._core.validation import is_number, is_whole, number, whole
from dlcore.errors import ConfigError

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "InverseSqrt",
    "InverseTime",
    "Piecewise",
    "Schedule",
    "Staircase",
    "Warmup",
]


class Schedule(Recorded):
    """Base of the schedules: ``schedule(lr, epoch=0, step=1)`` gives the learning rate of that step.

    >>> class Halving(Schedule):
    ...     def __call__(self, lr, epoch=0, step=1):
    ...         return lr * 0.5**epoch
    >>> Halving()(0.1, epoch=2)
    0.025
    """

    ends: int | None = None
    """Epochs that it was made for, after which the rate changes no more; None where it has no end."""

    def __call__(self, lr: float, epoch: int = 0, step: int = 1) -> float:
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")


class Constant(Schedule):
    """alpha = alpha0.

    >>> Constant()(0.1, epoch=7)
    0.1

    Source: notes, 1.4.
    """

    def __call__(self, lr: float, epoch: int = 0, step: int = 1) -> float:
        return lr


class InverseTime(Schedule):
    """alpha = alpha0 / (1 + decay · epoch).

    >>> InverseTime(1.0)(0.2, epoch=1)
    0.1

    Source: notes, 3.7.
    """

    def __init__(self, decay: float) -> None:
        self.decay = number("InverseTime", "decay", decay, 0.0, math.inf)

    def __call__(self, lr: float, epoch: int = 0, step: int = 1) -> float:
        return lr / (1.0 + self.decay * epoch)


class Exponential(Schedule):
    """alpha = base**epoch · alpha0, with 0 < base <= 1, such as 0.95.

    >>> Exponential(0.5)(0.4, epoch=2)
    0.1

    Source: notes, 3.7 (the formulas that they call exponential are :class:`InverseSqrt`).
    """

    def __init__(self, base: float) -> None:
        self.base = number("Exponential", "base", base, 0.0, 1.0, "(]")

    def __call__(self, lr: float, epoch: int = 0, step: int = 1) -> float:
        return self.base**epoch * lr


class InverseSqrt(Schedule):
    """alpha = k / sqrt(t) · alpha0, or k / sqrt(epoch) · alpha0 with the epoch counted from 1.

    k : factor
    per : "step" or "epoch"

    >>> InverseSqrt(1.0, per="step")(0.2, step=4), InverseSqrt(1.0, per="epoch")(0.2, epoch=3)
    (0.1, 0.1)

    Source: notes, 3.7.
    """

    def __init__(self, k: float = 1.0, per: str = "step") -> None:
        if per not in ("step", "epoch"):
            raise ConfigError(f"InverseSqrt: per is {per!r} but 'step' or 'epoch' is expected")
        self.k = number("InverseSqrt", "k", k, 0.0, math.inf)
        self.per = per

    def __call__(self, lr: float, epoch: int = 0, step: int = 1) -> float:
        t = step if self.per == "step" else epoch + 1
        if t < 1:
            raise ConfigError(
                f"InverseSqrt: {self.per} is {t if self.per == 'step' else epoch} but steps count from 1, epochs from 0"
            )
        return self.k / math.sqrt(t) * lr


class Staircase(Schedule):
    """alpha = factor**floor(epoch / every) · alpha0: discrete values.

    >>> Staircase(0.5, every=10)(0.2, epoch=10)
    0.1

    Source: notes, 3.7.
    """

    def __init__(self, factor: float = 0.5, every: int = 10) -> None:
        self.factor = number("Staircase", "factor", factor, 0.0, math.inf)
        self.every = whole("Staircase", "every", every, 1)

    def __call__(self, lr: float, epoch: int = 0, step: int = 1) -> float:
        return self.factor ** (epoch // self.every) * lr


class Piecewise(Schedule):
    """Rates set by hand: {epoch: rate} holds from that epoch on; the base rate before the first.

    rates : learning rates by epoch, counted from 0

    >>> [Piecewise({2: 0.01, 4: 0.001})(0.1, epoch=e) for e in range(5)]
    [0.1, 0.1, 0.01, 0.01, 0.001]

    Source: notes, 3.7 (changing alpha manually).
    """

    def __init__(self, rates: Mapping[int, float]) -> None:
        pairs = rates.items() if isinstance(rates, Mapping) else ()
        pairs = [(int(e) if isinstance(e, str) and e.isdecimal() else e, rate) for e, rate in pairs]  # as TOML has keys
        if not pairs or not all(is_whole(e) and e >= 0 and is_number(r) and 0 <= r < math.inf for e, r in pairs):
            raise ConfigError(
                f"Piecewise: {rates!r:.80} came but {{epoch: rate}} with whole epochs and numbers >= 0 is expected"
            )
        self.rates = dict(sorted((int(epoch), float(rate)) for epoch, rate in pairs))

    def __call__(self, lr: float, epoch: int = 0, step: int = 1) -> float:
        for start, rate in self.rates.items():
            if epoch >= start:
                lr = rate
        return lr


class Cosine(Schedule):
    """alpha = alpha0 (floor + (1 - floor) (1 + cos(pi · epoch / epochs)) / 2), and alpha0 · floor afterwards.

    epochs : until the floor is reached
    floor : final rate as a share of alpha0

    >>> round(Cosine(10)(0.2, epoch=5), 6)
    0.1

    Source: Loshchilov and Hutter (2017).
    """

    def __init__(self, epochs: int, floor: float = 0.0) -> None:
        self.epochs = self.ends = whole("Cosine", "epochs", epochs, 1)
        self.floor = number("Cosine", "floor", floor, 0.0, math.inf)

    def __call__(self, lr: float, epoch: int = 0, step: int = 1) -> float:
        progress = min(epoch / self.epochs, 1.0)
        return lr * (self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * progress)))


class Warmup(Schedule):
    """alpha rises linearly over the first ``steps`` steps, alpha0 · t / steps, times what ``then`` says.

    >>> Warmup(10)(0.2, step=5), Warmup(10)(0.2, step=20)
    (0.1, 0.2)

    Source: Goyal and others (2017).
    """

    def __init__(self, steps: int, then: Schedule | None = None) -> None:
        self.steps = whole("Warmup", "steps", steps, 1)
        if then is not None and not isinstance(then, Schedule):
            raise ConfigError(f"Warmup: then is {then!r} but a schedule is expected, such as Cosine(10)")
        self.then = then or Constant()
        self.ends = self.then.ends

    def __call__(self, lr: float, epoch: int = 0, step: int = 1) -> float:
        return min(step / self.steps, 1.0) * self.then(lr, epoch, step)
