"""Parameters rounded to float16, gradients brought back from it with the verdict on the step, and what is kept then."""

from __future__ import annotations

import numpy as np

from backends.cuda import compile, requirements
from backends.cuda.launch import THREADS, blocks, by_elements, launch
from backends.reference import mixed

_BLOCKS = THREADS  # at most: the verdict's one block takes a number of each
_ELEMENTS_A_BLOCK = 4096  # at least, before there is a second block


def _unsuited(half=None, counts=None, **arrays) -> str | None:
    """Why the kernels do not take these: float16 ``half``, int32 ``counts`` and others of float32, all in one piece."""
    reason = requirements.unsuited("mixed", half=half) if half is not None else compile.why_not()
    wanted = {"half": (half, "float16"), "counts": (counts, "int32")} | {n: (x, "float32") for n, x in arrays.items()}
    for name, (x, dtype) in wanted.items() if reason is None else ():
        if x is None:
            continue
        if x.dtype.name != dtype:
            return f"{name} is of {x.dtype}, and {dtype} is expected"
        if not x.flags.c_contiguous:
            return f"{name} {x.shape} does not lie in one piece"
        reason = reason or requirements.uncountable(name, x.size)
    return reason


@mixed.cast_.alternative("cupy", unless=lambda half, theta: _unsuited(half, theta=theta))
class CastInOnePass:
    """A thread for each parameter."""

    @staticmethod
    def forward(xp, half, theta):
        by_elements("mixed", "cast", (half, theta, half.size), half.size, half.dtype)


@mixed.unscale_.alternative(
    "cupy", unless=lambda grad, scale, counts, half, **_: _unsuited(half, counts, grad=grad, scale=scale)
)
class UnscaleInOnePass:
    """The gradients in one pass, with a count for each block of those that are not finite; then the verdict."""

    @staticmethod
    def forward(xp, grad, scale, counts, half, *, grow_every, least, most):
        n, dtype = half.size, half.dtype
        each = max(_ELEMENTS_A_BLOCK, blocks(n, _BLOCKS))
        number = blocks(n, each)
        spoilt = xp.empty(number, dtype=xp.int32, device=half.device)
        launch("mixed", "unscale", (grad, half, scale, n, each, spoilt), (number,), (THREADS,), dtype)
        verdict = (scale, counts, spoilt, number, int(grow_every), float(least), float(most))
        launch("mixed", "judge", verdict, (1,), (THREADS,), dtype)


@mixed.keep_.alternative("cupy", unless=lambda x, before, counts: _unsuited(None, counts, x=x, before=before))
class KeepInOnePass:
    """A thread for each element."""

    @staticmethod
    def forward(xp, x, before, counts):
        by_elements("mixed", "keep", (x, before, counts, x.size), x.size, np.dtype("float16"))
