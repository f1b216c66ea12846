"""Products of float16: cuBLAS adds them up in float32 and rounds once, so they need no copies in float32."""

from __future__ import annotations

from typing import Any

from backends.cuda import compile
from backends.reference import elementwise, linear


def _not_half(*arrays: Any, **params: Any) -> str | None:
    """Why the products are left to the reference: they are of another dtype, which it has as they are."""
    for x in arrays:
        if x is not None and getattr(x, "dtype", None) != "float16":
            return f"an array is of {getattr(x, 'dtype', type(x).__name__)}, and only float16 needs another way"
    return compile.why_not()


@linear.linear.alternative("cupy", unless=_not_half)
class LinearInHalf:
    """The reference as it is."""

    forward = staticmethod(linear.linear.forward)
    backward = staticmethod(linear.linear.backward)


@elementwise.matmul.alternative("cupy", unless=_not_half)
class MatmulInHalf:
    """The reference as it is."""

    forward = staticmethod(elementwise.matmul.forward)
    backward = staticmethod(elementwise.matmul.backward)
