"""Convolution layers: cross-correlation of images NHWC with filters HWIO (notes 4.2)."""

from __future__ import annotations

from backends.array_ops import fold_windows, output_size, pad, select, strip, sum_rows, windows
from backends.dispatch import kernel
from backends.reference.pool import max_pool2d, max_pool2d_backward


@kernel
def conv2d(xp, x, w, b, *, stride, padding, dilation, needed):
    """(N, H, W, C), (kh, kw, C, K), (K,) or None -> (N, OH, OW, K): windows laid out as rows, then one product.

    ``stride`` and ``dilation`` are (vertical, horizontal), ``padding`` is ((top, bottom), (left, right)).
    """
    kh, kw, c, k = w.shape
    xpad = pad(xp, x, padding)
    n, h, width, _ = xpad.shape
    size = output_size(h, kh, stride[0], dilation[0]), output_size(width, kw, stride[1], dilation[1])
    columns = xp.reshape(windows(xp, xpad, (kh, kw), size, stride, dilation), (-1, kh * kw * c))
    y = xp.matmul(columns, xp.reshape(w, (kh * kw * c, k)))  # (N OH OW, kh kw C) @ (kh kw C, K)
    if b is not None:
        y += b
    return xp.reshape(y, (n, *size, k)), (columns if needed[1] else None, w, xpad.shape)


@conv2d.backward
def _conv2d_backward(xp, dy, saved, *, stride, padding, dilation, needed):
    columns, w, shape = saved
    kh, kw, c, k = w.shape
    rows = xp.reshape(dy, (-1, k))  # (N, OH, OW, K) -> (N OH OW, K)
    dx = dw = db = None
    if needed[0]:
        # One product per tap: (N OH OW, K) @ (K, C).
        taps = [
            xp.reshape(xp.matmul(rows, xp.matrix_transpose(w[i, j, :, :])), (*dy.shape[:3], c))
            for i in range(kh)
            for j in range(kw)
        ]
        dx = strip(fold_windows(xp, taps, shape, (kh, kw), stride, dilation), padding)
    if needed[1]:
        dw = xp.reshape(xp.matmul(xp.matrix_transpose(columns), rows), w.shape)
    if needed[2]:
        db = sum_rows(xp, rows)
    return dx, dw, db


_NONE = ((0, 0), (0, 0))


@kernel
def conv2d_relu(xp, x, w, b, *, stride, padding, dilation, pool, needed):
    """max(0, :func:`conv2d`), and the largest of it in each window (height, width) of ``pool``, unless that is None.

    One kernel, because the steps in between are large, and are not needed again: the windows neither overlap nor hang
    over, so the pooled value and where it stood are all that the gradient asks for.
    """
    how = {"stride": stride, "padding": padding, "dilation": dilation}
    y, convolved = conv2d.forward(xp, x, w, b, needed=needed, **how)
    y, winners = xp.maximum(y, 0.0), None
    if pool is not None:
        pooling = {"kernel": pool, "stride": pool, "padding": _NONE}
        y, winners = max_pool2d.forward(xp, y, needed=(any(needed),), **pooling)
    return y, (convolved, y, winners) if any(needed) else None


@conv2d_relu.backward
def _(xp, dy, saved, *, stride, padding, dilation, pool, needed):
    convolved, y, winners = saved
    dy = select(xp, y > 0, dy)
    if pool is not None:
        (dy,) = max_pool2d_backward(xp, dy, winners, kernel=pool, stride=pool, padding=_NONE, needed=(True,))
    return _conv2d_backward(xp, dy, convolved, stride=stride, padding=padding, dilation=dilation, needed=needed)
