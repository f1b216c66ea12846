"""The steps of the optimisers in one pass over the memory.

Each element is computed by the operations of the reference, in their order, so the results are the reference's bits.
Short vectors stay with the reference: a launch costs about as much as its few calls.
"""

from __future__ import annotations

from math import sqrt as root_of

import numpy as np

from backends.cpu import requirements
from backends.cpu.codegen.simd import (
    LANES,
    integers,
    larger,
    largest,
    load,
    numbers,
    spread,
    sqrt,
    store,
    store_number,
    total,
)
from backends.cpu.codegen.thread_pool import Task, launch, reads, task, writes
from backends.reference import optim

_PIECE = 16_384  # elements a task
_RUN = 1024  # elements that are added up before they go to the others
_ZERO = np.float32(0.0)


_LEAST = 32_768  # elements; with fewer a launch costs as much as the reference


def _unsuited(counts, **vectors) -> str | None:
    """Why a step on these vectors is left to the reference."""
    if counts is not None:
        return "the step may have to be left out"
    return requirements.not_flat(**vectors) or requirements.too_few(vectors["theta"], _LEAST)


def _launch(task: Task, *arrays, numbers) -> None:
    launch(task, -(-arrays[0].size // _PIECE), arrays, numbers=numbers)


@task(theta=writes("n"), velocity=writes("n"), grad=reads("n"))
def _momentum(piece, arguments):
    theta, velocity, grad, n = integers(arguments, 0, 4)
    beta, rest, lr = numbers(arguments, 4, 3)
    last = min(n, (piece + 1) * _PIECE)
    for i in range(piece * _PIECE, last, LANES):
        v = load(velocity, i, last - i) * beta + rest * load(grad, i, last - i)
        store(velocity, i, v, last - i)
        store(theta, i, load(theta, i, last - i) - lr * v, last - i)


@task(theta=writes("n"), velocity=writes("n"), grad=reads("n"))
def _nesterov(piece, arguments):
    theta, velocity, grad, n = integers(arguments, 0, 4)
    beta, rest, lr = numbers(arguments, 4, 3)
    last = min(n, (piece + 1) * _PIECE)
    for i in range(piece * _PIECE, last, LANES):
        g = rest * load(grad, i, last - i)
        v = load(velocity, i, last - i) * beta + g
        store(velocity, i, v, last - i)
        store(theta, i, load(theta, i, last - i) - lr * (beta * v + g), last - i)


@optim.momentum_.alternative(
    "numpy",
    unless=lambda theta, velocity, grad, counts=None, **_: _unsuited(counts, theta=theta, velocity=velocity, grad=grad),
)
class MomentumInOnePass:
    """theta, v in one pass."""

    @staticmethod
    def forward(xp, theta, velocity, grad, *, lr, beta, bias_correction, nesterov, step):
        averaged = step + 1 if nesterov else step
        rate = lr / (1.0 - beta**averaged) if bias_correction else lr
        rule = _nesterov if nesterov else _momentum
        _launch(rule, theta, velocity, grad, numbers=(beta, 1.0 - beta, rate))


@task(theta=writes("n"), square=writes("n"), grad=reads("n"))
def _rmsprop(piece, arguments):
    theta, square, grad, n = integers(arguments, 0, 4)
    beta, rest, lr, eps = numbers(arguments, 4, 4)
    last = min(n, (piece + 1) * _PIECE)
    for i in range(piece * _PIECE, last, LANES):
        g = load(grad, i, last - i)
        s = load(square, i, last - i) * beta + rest * (g * g)
        store(square, i, s, last - i)
        store(theta, i, load(theta, i, last - i) - lr * g / (sqrt(s) + eps), last - i)


@optim.rmsprop_.alternative(
    "numpy",
    unless=lambda theta, square, grad, counts=None, **_: _unsuited(counts, theta=theta, square=square, grad=grad),
)
class RMSpropInOnePass:
    """theta, s in one pass."""

    @staticmethod
    def forward(xp, theta, square, grad, *, lr, beta, eps):
        _launch(_rmsprop, theta, square, grad, numbers=(beta, 1.0 - beta, lr, eps))


@task(theta=writes("n"), mean=writes("n"), square=writes("n"), grad=reads("n"))
def _adam(piece, arguments):
    theta, mean, square, grad, n = integers(arguments, 0, 5)
    beta1, rest1, beta2, rest2, eps, rate, shrink = numbers(arguments, 5, 7)
    last = min(n, (piece + 1) * _PIECE)
    for i in range(piece * _PIECE, last, LANES):
        g = load(grad, i, last - i)
        m = load(mean, i, last - i) * beta1 + rest1 * g
        s = load(square, i, last - i) * beta2 + rest2 * (g * g)
        store(mean, i, m, last - i)
        store(square, i, s, last - i)
        store(theta, i, load(theta, i, last - i) * shrink - m / (sqrt(s) + eps) * rate, last - i)


@optim.adam_.alternative(
    "numpy",
    unless=lambda theta, mean, square, grad, counts=None, **_: _unsuited(
        counts, theta=theta, mean=mean, square=square, grad=grad
    ),
)
class AdamInOnePass:
    """theta, m, s in one pass; without decay theta is multiplied by 1, which changes no bit."""

    @staticmethod
    def forward(xp, theta, mean, square, grad, *, lr, beta1, beta2, eps, decay, step):
        root = root_of(1.0 - beta2**step)
        rate = lr * root / (1.0 - beta1**step)
        settings = (beta1, 1.0 - beta1, beta2, 1.0 - beta2, eps * root, rate, 1.0 - lr * decay)
        _launch(_adam, theta, mean, square, grad, numbers=settings)


@task(theta=writes("n"), total=writes("n"), grad=reads("n"))
def _adagrad(piece, arguments):
    theta, total, grad, n = integers(arguments, 0, 4)
    lr, eps = numbers(arguments, 4, 2)
    last = min(n, (piece + 1) * _PIECE)
    for i in range(piece * _PIECE, last, LANES):
        g = load(grad, i, last - i)
        s = load(total, i, last - i) + g * g
        store(total, i, s, last - i)
        store(theta, i, load(theta, i, last - i) - lr * g / (sqrt(s) + eps), last - i)


@optim.adagrad_.alternative(
    "numpy", unless=lambda theta, total, grad, counts=None, **_: _unsuited(counts, theta=theta, total=total, grad=grad)
)
class AdagradInOnePass:
    """theta, s in one pass."""

    @staticmethod
    def forward(xp, theta, total, grad, *, lr, eps):
        _launch(_adagrad, theta, total, grad, numbers=(lr, eps))


@task(x=reads("n"), sizes=writes("pieces"))
def _sizes(piece, arguments):
    """The largest size of a piece's elements; NaN may or may not win."""
    x, sizes, n = integers(arguments, 0, 3)
    zero, last = spread(_ZERO), min(n, (piece + 1) * _PIECE)
    most = zero
    for i in range(piece * _PIECE, last, LANES):
        value = load(x, i, last - i)
        most = larger(most, larger(value, zero - value))
    store_number(sizes, piece, largest(most))


@task(x=reads("n"), sums=writes("pieces"))
def _squares(piece, arguments):
    """The sum of the squares of a piece's elements, each divided by a number first."""
    x, sums, n = integers(arguments, 0, 3)
    unit, zero, last = numbers(arguments, 4, 1)[0], spread(_ZERO), min(n, (piece + 1) * _PIECE)
    all_ = zero
    for start in range(piece * _PIECE, last, _RUN):
        some = zero
        for i in range(start, min(last, start + _RUN), LANES):
            value = load(x, i, last - i) / unit
            some += value * value
        all_ += some
    store_number(sums, piece, total(all_))


@task(x=writes("n"))
def _scale(piece, arguments):
    """x times a number."""
    x, n = integers(arguments, 0, 2)
    factor, last = numbers(arguments, 2, 1)[0], min(n, (piece + 1) * _PIECE)
    for i in range(piece * _PIECE, last, LANES):
        store(x, i, load(x, i, last - i) * factor, last - i)


@optim.clip_by_norm_.alternative("numpy")
class ClipByNormOnHost:
    """The host sees at once whether anything is infinite, for which the reference has passes of its own.

    Long vectors are read in three passes at most, without anything in between.
    """

    @staticmethod
    def forward(xp, x, norm, *, limit):
        long = requirements.not_flat(x=x) is None and requirements.too_few(x, _LEAST) is None
        pieces = -(-x.size // _PIECE)
        found = np.empty(pieces, np.float32)
        if long:
            launch(_sizes, pieces, (x, found))
            most = found.max()
        else:
            most = np.max(np.abs(x))
        if most == np.inf:
            optim.clip_by_norm_.forward(xp, x, norm, limit=limit)
        elif not long:
            optim.clip_finite_by_norm(xp, x, norm, most, limit)
        else:
            most = max(float(most), float(np.finfo(np.float32).smallest_normal))
            launch(_squares, pieces, (x, found), numbers=(most,))
            root = root_of(found.sum(dtype=np.float64))  # NaN stays NaN
            with np.errstate(over="ignore"):
                norm[...] = most * root
            if norm > limit:
                launch(_scale, pieces, (x,), numbers=(limit / most / root,))
