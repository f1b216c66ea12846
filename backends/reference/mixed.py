"""Training in mixed precision: float16 beside the master parameters in float32, with a loss scale.

The smallest float16 is 6e-8, and gradients are smaller: so the loss is multiplied by a ``scale`` before the backward
pass, and the gradients are divided by it after. Where one of them has left the range of float16, the step is left out
and the scale halved; after ``grow_every`` steps without it is doubled. All of that is decided where the arrays are:
nobody waits for it.

scale : (1,) float32, a power of two, so that neither the product nor the quotient is rounded
counts : (5,) int32
    0  whether the step is taken: 1, or 0
    1  steps taken, Adam's t
    2  steps taken since the scale was last changed
    3  steps left out
    4  the first step, counted from 1, that was left out at the least scale, where nothing helps; 0: there was none

Source: Micikevicius et al. (2018), section 3.2.
"""

from __future__ import annotations

from backends.dispatch import update_kernel


@update_kernel
def cast_(xp, half, theta):
    """half = theta rounded to the dtype of half; beyond its range that is an infinity."""
    half[...] = xp.astype(theta, half.dtype)


@update_kernel
def unscale_(xp, grad, scale, counts, half, *, grow_every, least, most):
    """grad = half / scale; then counts and scale as they are after a step that is taken if all of grad is finite."""
    grad[...] = xp.astype(half, grad.dtype) / scale
    finite = xp.all(xp.isfinite(grad))
    taken = xp.astype(finite, counts.dtype)
    steps, skipped, good = counts[1] + taken, counts[3] + (1 - taken), (counts[2] + 1) * taken
    first = xp.astype((counts[4] == 0) & (scale[0] <= least), counts.dtype) * (1 - taken)  # of those at the least scale
    grown = good >= grow_every
    good = good * (1 - xp.astype(grown, counts.dtype))
    counts[...] = xp.stack([taken, steps, good, skipped, counts[4] + first * (steps + skipped)])
    larger = xp.where(grown, xp.minimum(2.0 * scale, most), scale)
    scale[...] = xp.where(finite, larger, xp.maximum(0.5 * scale, least))


@update_kernel
def keep_(xp, x, before, counts):
    """x = before where the step is left out."""
    x[...] = xp.where(counts[0] > 0, x, before)
