"""Softmax and its logarithm over the last axis (notes 1.2)."""

from __future__ import annotations

from backends.dispatch import kernel


@kernel
def softmax(xp, x, *, needed):
    """exp(x) / sum exp(x) over the last axis; the largest is subtracted first, so nothing overflows."""
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    y = e / xp.sum(e, axis=-1, keepdims=True)
    return y, y


@softmax.backward
def _(xp, dy, y, *, needed):
    return (y * (dy - xp.sum(dy * y, axis=-1, keepdims=True)),)


@kernel
def log_softmax(xp, x, *, needed):
    """x - log sum exp(x) over the last axis."""
    shifted = x - xp.max(x, axis=-1, keepdims=True)
    y = shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
    return y, y


@log_softmax.backward
def _(xp, dy, y, *, needed):
    return (dy - xp.exp(y) * xp.sum(dy, axis=-1, keepdims=True),)
