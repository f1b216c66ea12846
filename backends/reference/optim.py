"""Optimiser steps in place, on runs of the flat parameter vector (notes 1.4 and 3.4 to 3.6, with their errata).

Each kernel takes parameters, their gradient and the rule's state as flat arrays of one shape and writes into the first
and the state. ``lr`` is the learning rate of this step, ``step`` counts from 1. ``decay`` is AdamW's decoupled decay.

A step of mixed precision that may have to be left out has one more array at the end, the ``counts`` of
:mod:`backends.reference.mixed`: they say whether it is taken, and how many were, which is then the ``step``.
"""

from __future__ import annotations

import functools
import inspect
import math

from backends.array_ops import clip, sign
from backends.dispatch import update_kernel


def may_be_left_out(rule):
    """The rule with ``counts`` as an optional last array: nothing changes, to the bit, where they say so."""
    number = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in inspect.signature(rule).parameters.values()) - 1

    @functools.wraps(rule)
    def step_(xp, *arrays, **params):
        if len(arrays) == number:
            return rule(xp, *arrays, **params)
        *written, grad, counts = arrays
        taken = counts[0] > 0
        before = [xp.asarray(x, copy=True) for x in written]
        if "step" in params:
            params["step"] = xp.astype(counts[1], grad.dtype)
        rule(xp, *written, xp.where(taken, grad, xp.zeros_like(grad)), **params)
        for x, old in zip(written, before, strict=True):
            x[...] = xp.where(taken, x, old)
        return None

    return step_


def _weights(xp, beta, step):
    """1 - beta**step, what the weights of an average of ``step`` numbers add up to.

    Of a step that is known on the device alone it is computed there; expm1 loses nothing where it is small.
    """
    if isinstance(step, int):
        return 1.0 - beta**step
    return -xp.expm1(step * (math.log(beta) if beta else -math.inf))


def _root(xp, x):
    return math.sqrt(x) if isinstance(x, float) else xp.sqrt(x)


@update_kernel
@may_be_left_out
def sgd_(xp, theta, grad, *, lr):
    """theta = theta - lr grad."""
    theta -= lr * grad


@update_kernel
@may_be_left_out
def momentum_(xp, theta, velocity, grad, *, lr, beta, bias_correction, nesterov, step):
    """v = beta v + (1 - beta) grad; theta = theta - lr v, with v / (1 - beta**step) if corrected.

    Nesterov's variant steps along beta v + (1 - beta) grad, the average as it will be after the next such gradient; it
    averages step + 1 gradients, and is corrected as such.
    """
    velocity *= beta
    velocity += (1.0 - beta) * grad
    direction = beta * velocity + (1.0 - beta) * grad if nesterov else velocity
    averaged = step + 1 if nesterov else step
    theta -= (lr / _weights(xp, beta, averaged) if bias_correction else lr) * direction


@update_kernel
@may_be_left_out
def rmsprop_(xp, theta, square, grad, *, lr, beta, eps):
    """s = beta s + (1 - beta) grad**2; theta = theta - lr grad / (sqrt(s) + eps)."""
    square *= beta
    square += (1.0 - beta) * (grad * grad)
    theta -= lr * grad / (xp.sqrt(square) + eps)


@update_kernel
@may_be_left_out
def adam_(xp, theta, mean, square, grad, *, lr, beta1, beta2, eps, decay, step):
    """m and s average grad and grad**2; theta = theta - lr (m / (1 - beta1**t)) / (sqrt(s / (1 - beta2**t)) + eps).

    Both sides of the quotient are multiplied by sqrt(1 - beta2**t), which saves two passes. ``decay`` first shrinks
    theta by lr · decay · theta.
    """
    mean *= beta1
    mean += (1.0 - beta1) * grad
    square *= beta2
    square += (1.0 - beta2) * (grad * grad)
    root = _root(xp, _weights(xp, beta2, step))
    if decay:
        theta *= 1.0 - lr * decay
    scale = xp.sqrt(square)
    scale += eps * root
    change = mean / scale
    change *= lr * root / _weights(xp, beta1, step)
    theta -= change


@update_kernel
@may_be_left_out
def adagrad_(xp, theta, total, grad, *, lr, eps):
    """s = s + grad**2; theta = theta - lr grad / (sqrt(s) + eps)."""
    total += grad * grad
    theta -= lr * grad / (xp.sqrt(total) + eps)


@update_kernel
def clip_(xp, x, *, limit):
    """x = min(max(x, -limit), limit)."""
    x[...] = clip(xp, x, -limit, limit)


@update_kernel
def clip_by_norm_(xp, x, norm, *, limit):
    """x = x · min(1, limit / norm) with norm, a 0-d array, written by this kernel as the Euclidean norm of x.

    The elements are divided by the largest before they are squared: an exploding gradient must not overflow here. Of
    infinite elements the norm is infinite, and what they are scaled to is the limit of ever larger ones: all the length
    is theirs, in equal parts, and nothing is left to the others. NaN gives NaN, and is not clipped.
    """
    largest = xp.max(xp.abs(x))
    infinite = largest == math.inf
    endless = sign(xp, x) * xp.astype(xp.abs(x) == math.inf, x.dtype)
    endless *= limit / xp.sqrt(xp.maximum(xp.sum(xp.abs(endless)), 1.0))
    x[...] = xp.where(infinite, xp.zeros_like(x), x)
    clip_finite_by_norm(xp, x, norm, xp.where(infinite, xp.zeros_like(largest), largest), limit)
    x[...] = xp.where(infinite, endless, x)
    norm[...] = xp.where(infinite, xp.full_like(norm, math.inf), norm)


def clip_finite_by_norm(xp, x, norm, largest, limit):
    """The same for elements of which none is infinite, from the largest of their sizes."""
    largest = xp.maximum(largest, float(xp.finfo(x.dtype).smallest_normal))
    scaled = x / largest
    root = xp.sqrt(xp.sum(scaled * scaled))
    norm[...] = largest * root
    factor = limit / xp.maximum(largest, 1e-20 * limit) / xp.maximum(root, 1.0)  # root >= 1 unless all are 0
    x *= xp.where(norm > limit, factor, xp.ones_like(norm))
