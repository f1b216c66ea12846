"""Elementwise arithmetic with broadcasting, the five activations, reductions and rearrangements."""

from __future__ import annotations

from math import prod

from backends.array_ops import device_of, mean_axes, select, sum_axes, unbroadcast
from backends.dispatch import kernel

# --- arithmetic: either operand may be a Python number, which has no shape and whose gradient is never needed


@kernel
def add(xp, x, y, *, needed):
    """x + y."""
    return x + y, (_shape(x), _shape(y))


@add.backward
def _(xp, dy, saved, *, needed):
    x_shape, y_shape = saved
    return (
        unbroadcast(xp, dy, x_shape) if needed[0] else None,
        unbroadcast(xp, dy, y_shape) if needed[1] else None,
    )


@kernel
def subtract(xp, x, y, *, needed):
    """x - y."""
    return x - y, (_shape(x), _shape(y))


@subtract.backward
def _(xp, dy, saved, *, needed):
    x_shape, y_shape = saved
    return (
        unbroadcast(xp, dy, x_shape) if needed[0] else None,
        unbroadcast(xp, -dy, y_shape) if needed[1] else None,
    )


@kernel
def multiply(xp, x, y, *, needed):
    """x · y."""
    return x * y, (x, y)


@multiply.backward
def _(xp, dy, saved, *, needed):
    x, y = saved
    return (
        unbroadcast(xp, dy * y, x.shape) if needed[0] else None,
        unbroadcast(xp, dy * x, y.shape) if needed[1] else None,
    )


@kernel
def divide(xp, x, y, *, needed):
    """x / y."""
    quotient = x / y
    return quotient, (_shape(x), y, quotient)


@divide.backward
def _(xp, dy, saved, *, needed):
    x_shape, y, quotient = saved
    scaled = dy / y
    return (
        unbroadcast(xp, scaled, x_shape) if needed[0] else None,
        unbroadcast(xp, -scaled * quotient, y.shape) if needed[1] else None,
    )


@kernel
def power(xp, x, *, exponent, needed):
    """x ** exponent, for a Python number as exponent."""
    return x**exponent, x


@power.backward
def _(xp, dy, x, *, exponent, needed):
    return (dy * (exponent * x ** (exponent - 1)) if exponent != 0 else xp.zeros_like(x),)


@kernel
def negative(xp, x, *, needed):
    """-x."""
    return -x, None


@negative.backward
def _(xp, dy, saved, *, needed):
    return (-dy,)


@kernel
def exp(xp, x, *, needed):
    """e ** x."""
    y = xp.exp(x)
    return y, y


@exp.backward
def _(xp, dy, y, *, needed):
    return (dy * y,)


@kernel
def log(xp, x, *, needed):
    """The natural logarithm."""
    return xp.log(x), x


@log.backward
def _(xp, dy, x, *, needed):
    return (dy / x,)


@kernel
def sqrt(xp, x, *, needed):
    """The square root."""
    y = xp.sqrt(x)
    return y, y


@sqrt.backward
def _(xp, dy, y, *, needed):
    return (dy / (2.0 * y),)


@kernel
def absolute(xp, x, *, needed):
    """abs(x); its derivative at 0 is taken as 0."""
    return xp.abs(x), x


@absolute.backward
def _(xp, dy, x, *, needed):
    return (select(xp, x > 0, dy) - select(xp, x < 0, dy),)


@kernel
def where(xp, condition, x, y, *, needed):
    """x where condition (bool), elsewhere y."""
    return xp.where(condition, x, y), (condition, _shape(x), _shape(y))


@where.backward
def _(xp, dy, saved, *, needed):
    condition, x_shape, y_shape = saved
    zero = xp.zeros_like(dy)
    return (
        None,
        unbroadcast(xp, xp.where(condition, dy, zero), x_shape) if needed[1] else None,
        unbroadcast(xp, xp.where(condition, zero, dy), y_shape) if needed[2] else None,
    )


@kernel
def power_of(xp, x, y, *, needed):
    """x ** y, for an exponent that is an array; x may be a Python number."""
    result = x**y
    return result, (x, y, result)


@power_of.backward
def _(xp, dy, saved, *, needed):
    x, y, result = saved
    dx = dexponent = None
    if needed[0]:
        one = xp.ones_like(y)
        slope = xp.where(y == 0, xp.zeros_like(result), y * x ** xp.where(y == 0, one, y - 1))  # 0 of x ** 0 at 0 too
        dx = unbroadcast(xp, dy * slope, x.shape)
    if needed[1]:
        if not hasattr(x, "shape"):
            x = xp.asarray(x, dtype=y.dtype, device=device_of(y))
        zero = x == 0
        logarithm = xp.where(zero, xp.zeros_like(x), xp.log(xp.where(zero, xp.ones_like(x), x)))
        dexponent = unbroadcast(xp, dy * (result * logarithm), y.shape)
    return dx, dexponent


# --- the five activations (notes 1.2)


@kernel
def relu(xp, x, *, needed):
    """max(0, x); its derivative at 0 is taken as 0."""
    y = xp.maximum(x, 0.0)
    return y, y


@relu.backward
def _(xp, dy, y, *, needed):
    return (select(xp, y > 0, dy),)


@kernel
def leaky_relu(xp, x, *, alpha, needed):
    """max(alpha x, x) for 0 <= alpha < 1; its derivative at 0 is alpha."""
    positive = x > 0
    return xp.where(positive, x, alpha * x) if alpha else xp.maximum(x, 0.0), positive  # 0 is no factor of infinity


@leaky_relu.backward
def _(xp, dy, positive, *, alpha, needed):
    return (xp.where(positive, dy, alpha * dy) if alpha else select(xp, positive, dy),)


@kernel
def sigmoid(xp, x, *, needed):
    """1 / (1 + exp(-x)), without overflow: e ** -abs(x) never exceeds 1."""
    e = xp.exp(-xp.abs(x))
    y = xp.where(x >= 0, 1.0 / (1.0 + e), e / (1.0 + e))
    return y, y


@sigmoid.backward
def _(xp, dy, y, *, needed):
    return (dy * (y * (1.0 - y)),)


@kernel
def tanh(xp, x, *, needed):
    """The hyperbolic tangent."""
    y = xp.tanh(x)
    return y, y


@tanh.backward
def _(xp, dy, y, *, needed):
    return (dy * (1.0 - y * y),)


# --- reductions


@kernel
def sum_(xp, x, *, axis, keepdims, needed):
    """The sum over ``axis`` (None: over all)."""
    return sum_axes(xp, x, axis, keepdims), x.shape


@sum_.backward
def _(xp, dy, shape, *, axis, keepdims, needed):
    return (_spread(xp, dy, shape, axis, keepdims),)


@kernel
def mean(xp, x, *, axis, keepdims, needed):
    """The mean over ``axis`` (None: over all)."""
    y = mean_axes(xp, x, axis, keepdims)
    return y, (x.shape, prod(x.shape) // max(prod(y.shape), 1))


@mean.backward
def _(xp, dy, saved, *, axis, keepdims, needed):
    shape, count = saved
    return (_spread(xp, dy, shape, axis, keepdims) / count,)


@kernel
def max_(xp, x, *, axis, keepdims, needed):
    """The largest element over ``axis`` (None: over all); equal largest elements share the gradient, and so do NaN."""
    largest = xp.max(x, axis=axis, keepdims=True)
    y = largest if keepdims else xp.max(x, axis=axis)
    return y, (x, largest)


@max_.backward
def _(xp, dy, saved, *, axis, keepdims, needed):
    x, largest = saved
    mask = (x == largest) | (x != x)
    share = 1.0 / xp.sum(xp.astype(mask, dy.dtype), axis=axis, keepdims=True)
    return (select(xp, mask, xp.reshape(dy, largest.shape) * share),)


# --- rearrangements


@kernel
def reshape(xp, x, *, shape, needed):
    """The same elements in row-major order under another shape."""
    return xp.reshape(x, shape), x.shape


@reshape.backward
def _(xp, dy, x_shape, *, shape, needed):
    return (xp.reshape(dy, x_shape),)


@kernel
def transpose(xp, x, *, axes, needed):
    """The axes in another order."""
    return xp.permute_dims(x, axes), None


@transpose.backward
def _(xp, dy, saved, *, axes, needed):
    return (xp.permute_dims(dy, tuple(sorted(range(len(axes)), key=axes.__getitem__))),)


@kernel
def concat(xp, *arrays, axis, needed):
    """Arrays joined along an axis they have."""
    return xp.concat(arrays, axis=axis), tuple(x.shape[axis] for x in arrays)


@concat.backward
def _(xp, dy, sizes, *, axis, needed):
    grads, start = [], 0
    for size, wanted in zip(sizes, needed, strict=True):
        place = (*(slice(None),) * (axis % dy.ndim), slice(start, start + size), ...)
        grads.append(dy[place] if wanted else None)
        start += size
    return tuple(grads)


@kernel
def getitem(xp, x, *, key, needed):
    """x[key] for integers, slices, ... and None."""
    return x[_with_dots(key)], x.shape


@getitem.backward
def _(xp, dy, shape, *, key, needed):
    dx = xp.zeros(shape, dtype=dy.dtype, device=device_of(dy))
    key = tuple(part for part in _with_dots(key) if part is not None)  # the standard assigns to existing axes only
    dx[key] = xp.reshape(dy, dx[key].shape)
    return (dx,)


@kernel
def matmul(xp, x, y, *, needed):
    """(..., N, D) @ (..., D, K), batch axes broadcast."""
    return x @ y, (x, y)


@matmul.backward
def _(xp, dy, saved, *, needed):
    x, y = saved
    return (
        unbroadcast(xp, dy @ xp.matrix_transpose(y), x.shape) if needed[0] else None,
        unbroadcast(xp, xp.matrix_transpose(x) @ dy, y.shape) if needed[1] else None,
    )


def _with_dots(key):
    """The key with the ... that the standard expects where a key leaves axes out."""
    key = key if isinstance(key, tuple) else (key,)
    return key if Ellipsis in key else (*key, ...)


def _shape(x):
    return x.shape if hasattr(x, "shape") else ()


def _spread(xp, dy, shape, axis, keepdims):
    """The gradient of a sum: dy repeated along the axes that were summed."""
    if axis is None:
        kept = (1,) * len(shape)
    else:
        summed = {a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))}
        kept = tuple(1 if a in summed else n for a, n in enumerate(shape))
    return xp.broadcast_to(dy if keepdims else xp.reshape(dy, kept), shape)
