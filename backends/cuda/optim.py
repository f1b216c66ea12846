"""The steps of the optimisers, one launch each, and clipping by the norm in two; no result comes to the host."""

from __future__ import annotations

from math import inf, log, sqrt

from backends.cuda import requirements
from backends.cuda.launch import THREADS, blocks, by_packs, launch
from backends.reference import optim

_SUMS = THREADS  # of squares, at most: a block adds up one a thread
_ELEMENTS_A_BLOCK = 16_384  # at least, before there is a second sum


def _unsuited(counts, **vectors) -> str | None:
    """Why a step on these vectors is left to the reference."""
    if counts is not None and not (counts.dtype == "int32" and counts.flags.c_contiguous):
        return f"counts of {counts.dtype} are not of int32 in one piece"
    return requirements.not_flat("optim", **vectors)


def _step(kernel: str, *vectors, counts=None, numbers) -> None:
    """A launch that updates the first vectors by the last, where ``counts`` let it."""
    n, dtype = vectors[0].size, vectors[0].dtype
    if counts is None:
        by_packs("optim", kernel, (*vectors, n, *numbers), n, dtype)
    else:
        by_packs("optim", f"{kernel}_if", (*vectors, counts, n, *numbers), n, dtype)


def _log(beta) -> float:
    return log(beta) if beta else -inf


@optim.sgd_.alternative("cupy", unless=lambda theta, grad, counts=None, **_: _unsuited(counts, theta=theta, grad=grad))
class SGDInOnePass:
    """theta in one pass."""

    @staticmethod
    def forward(xp, theta, grad, counts=None, *, lr):
        _step("sgd", theta, grad, counts=counts, numbers=(float(lr),))


@optim.momentum_.alternative(
    "cupy",
    unless=lambda theta, velocity, grad, counts=None, **_: _unsuited(counts, theta=theta, velocity=velocity, grad=grad),
)
class MomentumInOnePass:
    """theta, v in one pass."""

    @staticmethod
    def forward(xp, theta, velocity, grad, counts=None, *, lr, beta, bias_correction, nesterov, step):
        if counts is not None:
            numbers = (float(beta), 1.0 - beta, float(lr), _log(beta) if bias_correction else 0.0, int(nesterov))
            _step("momentum", theta, velocity, grad, counts=counts, numbers=numbers)
            return
        averaged = step + 1 if nesterov else step
        rate = lr / (1.0 - beta**averaged) if bias_correction else lr
        _step("momentum", theta, velocity, grad, numbers=(float(beta), 1.0 - beta, float(rate), int(nesterov)))


@optim.rmsprop_.alternative(
    "cupy",
    unless=lambda theta, square, grad, counts=None, **_: _unsuited(counts, theta=theta, square=square, grad=grad),
)
class RMSpropInOnePass:
    """theta, s in one pass."""

    @staticmethod
    def forward(xp, theta, square, grad, counts=None, *, lr, beta, eps):
        _step("rmsprop", theta, square, grad, counts=counts, numbers=(float(beta), 1.0 - beta, float(lr), float(eps)))


@optim.adam_.alternative(
    "cupy",
    unless=lambda theta, mean, square, grad, counts=None, **_: _unsuited(
        counts, theta=theta, mean=mean, square=square, grad=grad
    ),
)
class AdamInOnePass:
    """theta, m, s in one pass."""

    @staticmethod
    def forward(xp, theta, mean, square, grad, counts=None, *, lr, beta1, beta2, eps, decay, step):
        if counts is not None:
            averages = (float(beta1), 1.0 - beta1, _log(beta1), float(beta2), 1.0 - beta2, _log(beta2))
            numbers = (*averages, float(eps), float(lr), 1.0 - lr * decay)
            _step("adam", theta, mean, square, grad, counts=counts, numbers=numbers)
            return
        root = sqrt(1.0 - beta2**step)
        rate = lr * root / (1.0 - beta1**step)
        numbers = (float(beta1), 1.0 - beta1, float(beta2), 1.0 - beta2, eps * root, rate, 1.0 - lr * decay)
        _step("adam", theta, mean, square, grad, numbers=numbers)


@optim.adagrad_.alternative(
    "cupy", unless=lambda theta, total, grad, counts=None, **_: _unsuited(counts, theta=theta, total=total, grad=grad)
)
class AdagradInOnePass:
    """theta, s in one pass."""

    @staticmethod
    def forward(xp, theta, total, grad, counts=None, *, lr, eps):
        _step("adagrad", theta, total, grad, counts=counts, numbers=(float(lr), float(eps)))


@optim.clip_.alternative("cupy", unless=lambda x, **_: requirements.not_flat("optim", x=x))
class ClipInOnePass:
    """x in one pass."""

    @staticmethod
    def forward(xp, x, *, limit):
        _step("clip", x, numbers=(float(limit),))


@optim.clip_by_norm_.alternative(
    "cupy",
    unless=lambda x, norm, **_: requirements.not_flat("optim", x=x) or requirements.unsuited("optim", x=x, norm=norm),
)
class ClipByNormInTwoPasses:
    """The sums of squares of at most 256 blocks, whatever the chip; then every block adds them up for itself."""

    @staticmethod
    def forward(xp, x, norm, *, limit):
        n, dtype = x.size, x.dtype
        each = blocks(max(_ELEMENTS_A_BLOCK, blocks(n, _SUMS)), 64) * 64  # so that packs stay in one piece
        sums = blocks(n, each)
        largest, squares = (xp.empty(sums, dtype=dtype, device=x.device) for _ in range(2))
        launch("optim", "squares_by_blocks", (x, n, each, largest, squares), (sums,), (THREADS,), dtype)
        by_packs("optim", "clip_by_norm", (x, norm, n, largest, squares, sums, float(limit)), n, dtype)
