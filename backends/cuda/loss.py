"""Softmax cross-entropy in two launches forward and one backward; only a few numbers a row are kept."""

from __future__ import annotations

from backends.cuda import requirements
from backends.cuda.launch import THREADS, blocks, by_elements, compact, launch, real
from backends.reference import loss

_ROWS_A_BLOCK = THREADS // 32  # a warp takes a row


def _shares(label_smoothing: float, classes: int) -> tuple[float, float]:
    """The target's share of the label, and that of each class."""
    return float(1.0 - label_smoothing), float(label_smoothing / classes)


@loss.cross_entropy.alternative(
    "cupy", unless=lambda logits, labels, weight, **_: requirements.unsuited("loss", logits=logits, weight=weight)
)
class CrossEntropyByRows:
    """log sum exp(z - max z) - (z - max z) · target, with the exponentials computed anew for the gradient."""

    @staticmethod
    def forward(xp, logits, labels, weight, *, label_smoothing, needed):
        rows, classes = logits.shape
        dtype, number = logits.dtype, real(logits.dtype)
        logits, labels = compact(xp, logits), compact(xp, xp.astype(labels, xp.int64, copy=False))
        losses, highest, sums = (xp.empty(rows, dtype=number, device=logits.device) for _ in range(3))
        arguments = (logits, labels, losses, highest, sums, rows, classes, *_shares(label_smoothing, classes))
        launch("loss", "softmax_losses", arguments, (blocks(rows, _ROWS_A_BLOCK),), (THREADS,), dtype)
        weights = (logits, 0) if weight is None else (compact(xp, weight), 1)  # with 0 the array is not looked at
        mean = xp.empty((), dtype=dtype, device=logits.device)
        divisor = xp.empty(1, dtype=number, device=logits.device)
        launch("loss", "mean_loss", (losses, *weights, mean, divisor, rows), (1,), (THREADS,), dtype)
        return mean, (logits, labels, highest, sums, weights, divisor) if needed[0] else None

    @staticmethod
    def backward(xp, dy, saved, *, label_smoothing, needed):
        if saved is None:
            return None, None, None
        logits, labels, highest, sums, weights, divisor = saved
        dlogits = xp.empty(logits.shape, dtype=logits.dtype, device=logits.device)
        sizes = (logits.size, logits.shape[1], *_shares(label_smoothing, logits.shape[1]))
        arguments = (logits, labels, highest, sums, *weights, divisor, dy, dlogits, *sizes)
        by_elements("loss", "softmax_gradient", arguments, logits.size, logits.dtype)
        return dlogits, None, None
