"""Losses from logits (notes 1.3), averaged with optional weights.

A loss is the sum of each example's loss times its weight, divided by the sum of the weights. ``weight`` is None for
equal weights; labels and weights get no gradient. An example of weight 0 has no part in the sum, whatever its loss is.
"""

from __future__ import annotations

from backends.array_ops import one_hot, select, sign
from backends.dispatch import kernel


def _mean(xp, losses, weight):
    """The (weighted) mean of the losses of all examples, and the share of each example in it."""
    if weight is None:
        count = losses.size
        return xp.sum(losses) / count, 1.0 / count
    share = weight / xp.maximum(xp.sum(weight), float(xp.finfo(weight.dtype).smallest_normal))  # all 0: the loss is 0
    return xp.sum(select(xp, share != 0, losses) * share), share


def _shared(xp, slopes, dy, share):
    """dy share slopes, of each example's slopes; 0 for those of weight 0."""
    if isinstance(share, float):
        return slopes * (dy * share)
    share = share if share.ndim == slopes.ndim else share[:, None]
    return select(xp, share != 0, slopes) * (dy * share)


@kernel
def mse(xp, prediction, target, weight, *, needed):
    """mean (prediction - target)**2: equal shapes -> scalar; ``weight`` has their shape, one per element."""
    difference = prediction - target
    loss, share = _mean(xp, difference * difference, weight)
    return loss, (difference, share)


@mse.backward
def _(xp, dy, saved, *, needed):
    difference, share = saved
    dprediction = _shared(xp, difference, dy * 2.0, share)
    return dprediction if needed[0] else None, -dprediction if needed[1] else None, None


@kernel
def binary_cross_entropy(xp, logits, target, weight, *, label_smoothing, needed):
    """mean of -(y log s(z) + (1 - y) log(1 - s(z))) with s the sigmoid, z the logits and y the targets in [0, 1].

    Written as abs(z) abs(y - [z > 0]) + log(1 + exp(-abs(z))), which is finite for every finite z, and 0 where an
    infinite one says what is right. ``label_smoothing`` moves y towards 1/2: y (1 - smoothing) + smoothing / 2.
    """
    if label_smoothing:
        target = target * (1.0 - label_smoothing) + 0.5 * label_smoothing
    size = xp.abs(logits)
    e = xp.exp(-size)
    wrong = xp.abs(target - xp.astype(logits > 0, target.dtype))  # the share of the target on the other side
    losses = select(xp, wrong != 0, size) * wrong + xp.log1p(e)
    loss, share = _mean(xp, losses, weight)
    return loss, (logits, e, target, share) if needed[0] else None


@binary_cross_entropy.backward
def _(xp, dy, saved, *, label_smoothing, needed):
    if saved is None:
        return None, None, None
    logits, e, target, share = saved
    probability = xp.where(logits >= 0, 1.0 / (1.0 + e), e / (1.0 + e))
    return _shared(xp, probability - target, dy, share), None, None


@kernel
def cross_entropy(xp, logits, labels, weight, *, label_smoothing, needed):
    """mean of -sum_k q_k log softmax(z)_k: (M, K) logits, (M,) integer labels, (M,) weights or None -> scalar.

    q is the label as one-hot, moved towards the uniform distribution by ``label_smoothing``:
    q (1 - smoothing) + smoothing / K. A logit of minus infinity is a class that cannot be.
    """
    classes = logits.shape[-1]
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    e = xp.exp(shifted)
    total = xp.sum(e, axis=-1, keepdims=True)
    right = one_hot(xp, labels, classes)
    target = xp.astype(right, logits.dtype)
    if label_smoothing:
        target = target * (1.0 - label_smoothing) + label_smoothing / classes
        own = xp.sum(shifted * target, axis=-1)
    else:
        own = xp.sum(select(xp, right, shifted), axis=-1)
    losses = xp.log(total[:, 0]) - own  # the target's entries sum to 1
    loss, share = _mean(xp, losses, weight)
    return loss, (e, total, target, share) if needed[0] else None


@cross_entropy.backward
def _(xp, dy, saved, *, label_smoothing, needed):
    if saved is None:
        return None, None, None
    e, total, target, share = saved
    dlogits = e / total
    dlogits -= target
    return _shared(xp, dlogits, dy, share), None, None


@kernel
def soft_cross_entropy(xp, logits, target, weight, *, label_smoothing, needed):
    """mean of -sum_k q_k log softmax(z)_k: (M, K) logits, (M, K) probabilities, (M,) weights or None -> scalar.

    q is the target, moved towards the uniform distribution by ``label_smoothing``: target (1 - smoothing) +
    smoothing / K. A class of probability 0 adds nothing, also where its logit is minus infinity.
    """
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    e = xp.exp(shifted)
    total = xp.sum(e, axis=-1, keepdims=True)
    logs = shifted - xp.log(total)
    if label_smoothing:
        target = target * (1.0 - label_smoothing) + label_smoothing / logits.shape[-1]
    losses = -xp.sum(target * xp.where(target == 0, xp.zeros_like(logs), logs), axis=-1)
    loss, share = _mean(xp, losses, weight)
    return loss, (e / total, logs if needed[1] else None, target, share) if any(needed) else None


@soft_cross_entropy.backward
def _(xp, dy, saved, *, label_smoothing, needed):
    if saved is None:
        return None, None, None
    probability, logs, target, share = saved
    dlogits = dtarget = None
    if needed[0]:
        dlogits = _shared(xp, probability * xp.sum(target, axis=-1, keepdims=True) - target, dy, share)
    if needed[1]:
        dtarget = _shared(xp, logs, dy * (label_smoothing - 1.0), share)
    return dlogits, dtarget, None


# --- penalties on any number of weight arrays (notes 2.3)


@kernel
def sum_of_squares(xp, *weights, scale, needed):
    """scale · sum of w² over all elements of all arrays."""
    return scale * sum(xp.sum(w * w) for w in weights), weights


@sum_of_squares.backward
def _(xp, dy, weights, *, scale, needed):
    return tuple((dy * (2.0 * scale)) * w if wanted else None for w, wanted in zip(weights, needed, strict=True))


@kernel
def sum_of_absolutes(xp, *weights, scale, needed):
    """scale · sum of abs(w) over all elements of all arrays; the derivative at 0 is taken as 0."""
    return scale * sum(xp.sum(xp.abs(w)) for w in weights), weights


@sum_of_absolutes.backward
def _(xp, dy, weights, *, scale, needed):
    return tuple((dy * scale) * sign(xp, w) if wanted else None for w, wanted in zip(weights, needed, strict=True))
