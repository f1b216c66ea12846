"""The activations, one launch a pass."""

from __future__ import annotations

from backends.cuda import requirements
from backends.cuda.launch import by_packs, compact
from backends.reference import elementwise


def _unsuited(x, **_) -> str | None:
    return requirements.unsuited("elementwise", x=x)


def _run(xp, kernel: str, *arrays, alpha: tuple[float, ...] = ()):
    """An array of the first one's shape, computed element by element."""
    x = arrays[0]
    y = xp.empty(x.shape, dtype=x.dtype, device=x.device)
    inputs = (compact(xp, array) for array in arrays)
    by_packs("elementwise", kernel, (*inputs, y, x.size, *alpha), x.size, x.dtype)
    return y


@elementwise.relu.alternative("cupy", unless=_unsuited)
class ReluInOnePass:
    """max(0, x)."""

    @staticmethod
    def forward(xp, x, *, needed):
        y = _run(xp, "relu", x)
        return y, y

    @staticmethod
    def backward(xp, dy, y, *, needed):
        return (_run(xp, "relu_backward", dy, y),)


@elementwise.leaky_relu.alternative("cupy", unless=_unsuited)
class LeakyReluInOnePass:
    """x where it is positive, else alpha x."""

    @staticmethod
    def forward(xp, x, *, alpha, needed):
        return _run(xp, "leaky_relu", x, alpha=(float(alpha),)), x

    @staticmethod
    def backward(xp, dy, x, *, alpha, needed):
        return (_run(xp, "leaky_relu_backward", dy, x, alpha=(float(alpha),)),)


@elementwise.sigmoid.alternative("cupy", unless=_unsuited)
class SigmoidInOnePass:
    """1 / (1 + exp(-x))."""

    @staticmethod
    def forward(xp, x, *, needed):
        y = _run(xp, "sigmoid", x)
        return y, y

    @staticmethod
    def backward(xp, dy, y, *, needed):
        return (_run(xp, "sigmoid_backward", dy, y),)


@elementwise.tanh.alternative("cupy", unless=_unsuited)
class TanhInOnePass:
    """The hyperbolic tangent."""

    @staticmethod
    def forward(xp, x, *, needed):
        y = _run(xp, "tanh_forward", x)
        return y, y

    @staticmethod
    def backward(xp, dy, y, *, needed):
        return (_run(xp, "tanh_backward", dy, y),)
