"""The steps of the optimisers, one launch each, and clipping by the norm in two; no result comes to the host."""

from __future__ import annotations

from math import sqrt

from backends.cuda import accept
from backends.cuda.launch import THREADS, blocks, by_packs, launch
from backends.reference import optim

_SUMS = THREADS  # of squares, at most: a block adds up one a thread
_ELEMENTS_A_BLOCK = 16_384  # at least, before there is a second sum


def _step(kernel: str, *vectors, numbers) -> None:
    """A launch that updates the first vectors by the last."""
    n, dtype = vectors[0].size, vectors[0].dtype
    by_packs("optim", kernel, (*vectors, n, *numbers), n, dtype)


@optim.sgd_.alternative("cupy", unless=lambda theta, grad, **_: accept.not_flat("optim", theta=theta, grad=grad))
class SGDInOnePass:
    """theta in one pass."""

    @staticmethod
    def forward(xp, theta, grad, *, lr):
        _step("sgd", theta, grad, numbers=(float(lr),))


@optim.momentum_.alternative(
    "cupy",
    unless=lambda theta, velocity, grad, **_: accept.not_flat("optim", theta=theta, velocity=velocity, grad=grad),
)
class MomentumInOnePass:
    """theta, v in one pass."""

    @staticmethod
    def forward(xp, theta, velocity, grad, *, lr, beta, bias_correction, nesterov, step):
        averaged = step + 1 if nesterov else step
        rate = lr / (1.0 - beta**averaged) if bias_correction else lr
        _step("momentum", theta, velocity, grad, numbers=(float(beta), 1.0 - beta, float(rate), int(nesterov)))


@optim.rmsprop_.alternative(
    "cupy", unless=lambda theta, square, grad, **_: accept.not_flat("optim", theta=theta, square=square, grad=grad)
)
class RMSpropInOnePass:
    """theta, s in one pass."""

    @staticmethod
    def forward(xp, theta, square, grad, *, lr, beta, eps):
        _step("rmsprop", theta, square, grad, numbers=(float(beta), 1.0 - beta, float(lr), float(eps)))


@optim.adam_.alternative(
    "cupy",
    unless=lambda theta, mean, square, grad, **_: accept.not_flat(
        "optim", theta=theta, mean=mean, square=square, grad=grad
    ),
)
class AdamInOnePass:
    """theta, m, s in one pass."""

    @staticmethod
    def forward(xp, theta, mean, square, grad, *, lr, beta1, beta2, eps, decay, step):
        root = sqrt(1.0 - beta2**step)
        rate = lr * root / (1.0 - beta1**step)
        numbers = (float(beta1), 1.0 - beta1, float(beta2), 1.0 - beta2, eps * root, rate, 1.0 - lr * decay)
        _step("adam", theta, mean, square, grad, numbers=numbers)


@optim.adagrad_.alternative(
    "cupy", unless=lambda theta, total, grad, **_: accept.not_flat("optim", theta=theta, total=total, grad=grad)
)
class AdagradInOnePass:
    """theta, s in one pass."""

    @staticmethod
    def forward(xp, theta, total, grad, *, lr, eps):
        _step("adagrad", theta, total, grad, numbers=(float(lr), float(eps)))


@optim.clip_.alternative("cupy", unless=lambda x, **_: accept.not_flat("optim", x=x))
class ClipInOnePass:
    """x in one pass."""

    @staticmethod
    def forward(xp, x, *, limit):
        _step("clip", x, numbers=(float(limit),))


@optim.clip_by_norm_.alternative(
    "cupy", unless=lambda x, norm, **_: accept.not_flat("optim", x=x) or accept.unsuited("optim", x=x, norm=norm)
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
