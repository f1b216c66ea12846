"""What layers with parameters compute, checked before any launch."""

from __future__ import annotations

from math import inf, prod
from typing import Any

from backends.array_ops import Padding, output_size
from backends.float16 import is_half
from backends.namespace import isdtype, namespace_of
from backends.random import Key
from backends.reference import conv, norm, pool
from backends.reference import dropout as _dropout
from backends.reference import linear as _linear
from dlcore._core.arrays import from_list
from dlcore.errors import ShapeError
from dlcore.functional.checks import (
    NotIntegersError,
    channels_first,
    check_key,
    constant,
    floats,
    none_empty,
    out_of_range,
    padding_of,
    pair,
    refuse,
    same_dtype,
    tensor,
)
from dlcore.tensor import Tensor, apply, pick

__all__ = [
    "avg_pool2d",
    "batch_norm",
    "batch_norm_relu",
    "conv2d",
    "conv2d_relu",
    "dropout",
    "embedding",
    "linear",
    "linear_relu",
    "max_pool2d",
]


def linear(x: Any, w: Any, b: Any = None) -> Tensor:
    """The affine map of a dense layer, x @ w + b.

    x : (..., D) float array — examples as rows
    w : (D, K) array of the same dtype — the notes' W transposed
    b : (K,) array, or None

    Returns (..., K). Raises ShapeError.

    >>> linear([[1.0, 2.0]], [[1.0], [10.0]], [0.5]).numpy()
    array([[21.5]], dtype=float32)

    Source: notes, 1.1.
    """
    return apply(_linear.linear, *_affine("linear", x, w, b))


def linear_relu(x: Any, w: Any, b: Any = None) -> Tensor:
    """max(0, :func:`linear`), in one go: what lies between is not kept.

    The arguments as for :func:`linear`, the result as from ``relu(linear(...))``.

    >>> linear_relu([[1.0, 2.0]], [[1.0, -1.0], [10.0, 0.0]], [0.5, 0.5]).numpy()
    array([[21.5,  0. ]], dtype=float32)

    Source: notes, 1.1 and 1.2.
    """
    return apply(_linear.linear_relu, *_affine("linear_relu", x, w, b))


def _affine(operation: str, x: Any, w: Any, b: Any) -> tuple[Tensor, Tensor, Tensor | None]:
    """The checked arrays of an affine map."""
    usual = isinstance(x, Tensor) and isinstance(w, Tensor) and w.owner is not None  # a parameter is of floats
    if not usual or x.data.dtype is not w.data.dtype:
        x, w = _floats_or_parameters(operation, x, w)
    shape, wshape = x.data.shape, w.data.shape
    if len(shape) < 2 or len(wshape) != 2 or shape[-1] != wshape[0]:
        refuse(
            operation,
            f"x has shape {tuple(shape)}",
            f"w {tuple(wshape)} expects (..., {wshape[0] if wshape else 'D'})",
            "check the features of the data, or flatten images first",
        )
    if 0 in wshape:
        none_empty(operation, x=("features", wshape[0]), w=("outputs", wshape[1]))
    return x, w, b if b is None else _bias(operation, b, wshape[1], x)


def _floats_or_parameters(operation: str, x: Any, w: Any) -> tuple[Tensor, Tensor]:
    """x and w, floats of one dtype."""
    if not (isinstance(w, Tensor) and w.owner is not None):
        w = floats(operation, "w", w)
    if not isinstance(x, Tensor):
        x = floats(operation, "x", x) if isinstance(x, list | tuple) else tensor(operation, "x", x)
    if x.data.dtype != w.data.dtype:
        same_dtype(operation, x, "w", w)
    return x, w


def conv2d(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: str | Padding = "valid",
    dilation: int | tuple[int, int] = 1,
) -> Tensor:
    """Cross-correlation of images with K filters: y[n, i, j, k] = sum over u, v, c of w[u, v, c, k] x[n, i+u, j+v, c].

    x : (N, H, W, C) float array — batch of images
    w : (kh, kw, C, K) array of the same dtype — filters; they are not flipped
    b : (K,) array, or None
    stride, dilation : positive int, or (vertical, horizontal), in pixels
    padding : "valid" (none), "same" (output as large as the input at stride 1), or ((top, bottom), (left, right))

    Returns (N, OH, OW, K) with OH = floor((H + top + bottom - f) / stride) + 1. Raises ShapeError.

    >>> edge = [[[[1.0]], [[0.0]], [[-1.0]]]]  # the notes' vertical edge, one row of it
    >>> conv2d([[[[1.0], [1.0], [1.0], [0.0]]]], edge).numpy().ravel()
    array([0., 1.], dtype=float32)

    Source: notes, 4.2 (where * stands for this correlation).
    """
    arrays, how = _convolution("conv2d", x, w, b, stride, padding, dilation)
    return apply(conv.conv2d, *arrays, **how)


def conv2d_relu(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: str | Padding = "valid",
    dilation: int | tuple[int, int] = 1,
    pool: int | tuple[int, int] | None = None,
) -> Tensor:
    """max(0, :func:`conv2d`), and of it the largest pixel of each window, in one go: what lies between is not kept.

    pool : height and width of the windows, which lie side by side; None leaves the pooling out

    The other arguments as for :func:`conv2d`, the result as from ``max_pool2d(relu(conv2d(...)), pool)``.

    >>> conv2d_relu([[[[1.0], [2.0], [-3.0], [4.0]]]], [[[[1.0]]]], pool=(1, 2)).numpy().ravel()
    array([2., 4.], dtype=float32)

    Source: notes, 1.2, 4.2 and 4.3.
    """
    arrays, how = _convolution("conv2d_relu", x, w, b, stride, padding, dilation)
    if pool is not None:
        pool = pair("conv2d_relu", "pool", pool)
        (n, h, width, _), (kh, kw, _, k) = arrays[0].data.shape, arrays[1].data.shape
        (down, right), (below, across), sides = how["stride"], how["dilation"], how["padding"]
        size = output_size(h + sum(sides[0]), kh, down, below), output_size(width + sum(sides[1]), kw, right, across)
        _check_window("conv2d_relu", (n, *size, k), pool, pool, _NO_PADDING)
    return apply(conv.conv2d_relu, *arrays, pool=pool, **how)


_NO_PADDING = ((0, 0), (0, 0))


def _convolution(
    operation: str, x: Any, w: Any, b: Any, stride: Any, padding: Any, dilation: Any
) -> tuple[tuple[Tensor, Tensor, Tensor | None], dict[str, Any]]:
    """The checked arrays and parameters of a convolution."""
    x, w = _floats_or_parameters(operation, x, w)
    shape, wshape = x.data.shape, w.data.shape
    if len(shape) != 4 or len(wshape) != 4:
        refuse(
            operation,
            f"x has shape {tuple(shape)} and w {tuple(wshape)}",
            "x (N, H, W, C) and w (kh, kw, C, K) are expected",
            "reshape the images to four axes, channels last",
        )
    if shape[3] != wshape[2]:
        refuse(
            operation,
            f"x has {shape[3]} channels",
            f"w {tuple(wshape)} expects {wshape[2]}",
            channels_first(tuple(shape[1:]), (None, None, wshape[2]))
            or "build the layer on this data, or check that the channels come last",
        )
    if 0 in wshape:
        none_empty(operation, w=("pixels", wshape[0] * wshape[1]), x=("channels", shape[3]))
        refuse(operation, "w has no filters", "at least one is expected", "check the shape of w")
    stride, dilation = pair(operation, "stride", stride), pair(operation, "dilation", dilation)
    pads = padding_of(operation, padding, (wshape[0], wshape[1]), dilation)
    _check_window(operation, shape, (wshape[0], wshape[1]), stride, pads, dilation)
    bias = b if b is None else _bias(operation, b, wshape[3], x)
    return (x, w, bias), {"stride": stride, "padding": pads, "dilation": dilation}


def max_pool2d(
    x: Any,
    kernel: int | tuple[int, int] = 2,
    stride: int | tuple[int, int] | None = None,
    padding: str | Padding = "valid",
) -> Tensor:
    """The largest pixel of each window, channel by channel; padded places never win.

    x : (N, H, W, C) float array — batch of images
    kernel : height and width of the window, in pixels
    stride : step of the window; the kernel's size by default
    padding : "valid", "same" or ((top, bottom), (left, right)), less than the kernel

    Returns (N, OH, OW, C). Raises ShapeError.

    >>> max_pool2d([[[[1.0], [2.0]], [[3.0], [4.0]]]]).numpy().ravel()
    array([4.], dtype=float32)

    Source: notes, 4.3.
    """
    return _pool(pool.max_pool2d, "max_pool2d", x, kernel, stride, padding)


def avg_pool2d(
    x: Any,
    kernel: int | tuple[int, int] = 2,
    stride: int | tuple[int, int] | None = None,
    padding: str | Padding = "valid",
) -> Tensor:
    """The mean of each window, channel by channel; padded places do not count in the mean.

    Arguments and result as in :func:`max_pool2d`.

    >>> avg_pool2d([[[[1.0], [2.0]], [[3.0], [4.0]]]]).numpy().ravel()
    array([2.5], dtype=float32)

    Source: notes, 4.3.
    """
    return _pool(pool.avg_pool2d, "avg_pool2d", x, kernel, stride, padding)


def batch_norm(
    x: Any, gamma: Any, beta: Any, *, statistics: tuple[Any, Any] | None = None, eps: float = 1e-5
) -> tuple[Tensor, Any, Any]:
    """gamma (x - mean) / sqrt(variance + eps) + beta, per channel.

    x : (..., C) float array — all axes but the last are the batch
    gamma, beta : (C,) arrays — scale and shift
    statistics : (mean, variance), each a (C,) array, as in evaluation; by default those of the batch, whose variance
        divides by the number of positions
    eps : added to the variance

    Returns (y, mean, variance); the last two are plain arrays. Raises ShapeError, also for a batch of one position,
    which normalises to 0 whatever it holds.

    >>> y, mean, variance = batch_norm([[1.0], [3.0]], [1.0], [0.0], eps=0.0)
    >>> y.numpy().ravel(), mean, variance
    (array([-1.,  1.], dtype=float32), array([2.], dtype=float32), array([1.], dtype=float32))

    Source: notes, 3.9; Ioffe and Szegedy (2015).
    """
    x, gamma, beta = _normalisation("batch_norm", x, gamma, beta, eps)
    if statistics is not None:
        shape = x.data.shape
        mean, variance = (
            floats("batch_norm", name, constant("batch_norm", name, s, "x, gamma and beta"))
            for name, s in zip(("the mean", "the variance"), statistics, strict=True)
        )
        if mean.shape != shape[-1:] or variance.shape != shape[-1:]:
            refuse(
                "batch_norm",
                f"the statistics have shapes {tuple(mean.shape)} and {tuple(variance.shape)}",
                f"x has {shape[-1]} channels",
                "give one mean and one variance a channel",
            )
        if not is_half(namespace_of(x.data), x.data):  # of mixed precision: the running statistics are float32
            same_dtype("batch_norm", x, "the mean", mean)
            same_dtype("batch_norm", x, "the variance", variance)
        return apply(norm.batch_norm_fixed, x, gamma, beta, mean, variance, eps=eps), mean.data, variance.data
    _check_positions("batch_norm", x)
    y, mean, variance = apply(norm.batch_norm, x, gamma, beta, eps=eps)
    return y, mean.data, variance.data


def batch_norm_relu(
    x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5, pool: int | tuple[int, int] | None = None
) -> tuple[Tensor, Any, Any]:
    """max(0, :func:`batch_norm`) of a batch, and of it the largest pixel of each window, in one go.

    pool : height and width of the windows, which lie side by side; None leaves the pooling out, else x is (N, H, W, C)

    The other arguments as for :func:`batch_norm`; returns (y, mean, variance), y as from
    ``max_pool2d(relu(batch_norm(...)), pool)``. What lies between is not kept.

    >>> batch_norm_relu([[1.0], [3.0]], [1.0], [0.0], eps=0.0)[0].numpy().ravel()
    array([0., 1.], dtype=float32)

    Source: notes, 1.2, 3.9 and 4.3.
    """
    x, gamma, beta = _normalisation("batch_norm_relu", x, gamma, beta, eps)
    _check_positions("batch_norm_relu", x)
    if pool is not None:
        pool = pair("batch_norm_relu", "pool", pool)
        if x.ndim != 4:
            refuse("batch_norm_relu", f"x has shape {tuple(x.shape)}", "to pool, (N, H, W, C)", "reshape to four axes")
        _check_window("batch_norm_relu", x.shape, pool, pool, _NO_PADDING)
    y, mean, variance = apply(norm.batch_norm_relu, x, gamma, beta, eps=eps, pool=pool)
    return y, mean.data, variance.data


def _normalisation(operation: str, x: Any, gamma: Any, beta: Any, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """The checked arrays of a batch normalisation."""
    if not 0 <= eps < inf:
        refuse(operation, f"eps is {eps}", "a finite number >= 0 is expected", "leave it out for 1e-5")
    x, gamma, beta = (floats(operation, name, a) for name, a in (("x", x), ("gamma", gamma), ("beta", beta)))
    shape = x.data.shape
    if len(shape) < 2 or gamma.shape != shape[-1:] or beta.shape != shape[-1:]:
        refuse(
            operation,
            f"x has shape {tuple(shape)}",
            f"gamma {tuple(gamma.shape)} and beta {tuple(beta.shape)} expect as many channels on its last axis",
            "build the layer on this data",
        )
    same_dtype(operation, x, "gamma", gamma)
    same_dtype(operation, x, "beta", beta)
    none_empty(operation, x=("channels", shape[-1]))
    if not 0 <= eps < float("inf"):
        refuse(operation, f"eps is {eps}", "a finite number of at least 0 is expected", "the usual eps is 1e-5")
    return x, gamma, beta


def _check_positions(operation: str, x: Tensor) -> None:
    positions = prod(x.shape[:-1])
    if positions < 2:
        refuse(
            operation,
            f"the batch has {'one position' if positions else 'no positions'} {tuple(x.shape)}",
            "statistics need at least two",
            "use a larger batch, drop_last=True, or eval mode",
        )


def dropout(x: Any, rate: float = 0.5, *, key: Key, first_row: int = 0, training: bool = True) -> Tensor:
    """Set a random share of the elements to 0 and divide the others by 1 - rate, which keeps the mean.

    x : (N, ...) float array
    rate : probability of dropping an element, 0 <= rate < 1
    key : names the mask: equal keys give equal masks on every device (``backends.random.derive`` makes one)
    first_row : position of the first row in the whole batch, where a batch is split
    training : False leaves x as it is

    Returns an array like x. Raises ShapeError.

    >>> dropout([[1.0, 1.0, 1.0, 1.0]], 0.5, key=(0, 1)).numpy()
    array([[0., 0., 0., 2.]], dtype=float32)

    Source: notes, 2.3; Srivastava et al. (2014), in the "inverted" form.
    """
    x = floats("dropout", "x", x)
    if not 0 <= rate < 1:
        raise ShapeError(f"dropout: rate is {rate} but 0 <= rate < 1 is expected; it is the share that is dropped")
    check_key("dropout", key)
    if not training or rate == 0 or x.size == 0:
        return x
    if x.ndim < 2:
        x = x.reshape(-1, 1)
        return dropout(x, rate, key=key, first_row=first_row).reshape(-1)
    return apply(_dropout.dropout, x, rate=float(rate), key=key, first_row=first_row)


def embedding(w: Any, ids: Any) -> Tensor:
    """Rows of a table: w[ids].

    w : (V, D) float array — one row for each of V symbols
    ids : integer array of any shape, each in [0, V); checked where they are on the host

    Returns (*ids.shape, D). Raises ShapeError.

    >>> embedding([[0.0, 1.0], [2.0, 3.0]], [1, 0, 1]).numpy()
    array([[2., 3.],
           [0., 1.],
           [2., 3.]], dtype=float32)
    """
    w, ids = floats("embedding", "w", w), _integers("embedding", "ids", ids)
    if not w.ndim or 0 in w.shape[1:]:
        refuse("embedding", f"w has shape {tuple(w.shape)}", "(V, D) with D > 0 is expected", "give a row a symbol")
    if out_of_range(ids, w.shape[0]):
        refuse(
            "embedding",
            f"ids span {ids.data.min()} to {ids.data.max()}",
            f"the table has rows 0 to {w.shape[0] - 1}",
            "enlarge the vocabulary, or map unknown symbols",
        )
    return pick(w, ids)


def _integers(operation: str, name: str, values: Any) -> Tensor:
    integers = values
    if not isinstance(values, Tensor):
        integers = tensor(operation, name, from_list(values) if isinstance(values, list | tuple) else values)
    if not isdtype(namespace_of(integers.data), integers.data.dtype, "integral"):
        raise NotIntegersError(
            f"{operation}: {name} are {integers.data.dtype} but integers are expected; convert them to int64"
        )
    return integers


def _bias(operation: str, b: Any, k: int, x: Tensor) -> Tensor:
    if not (isinstance(b, Tensor) and b.owner is not None):
        b = floats(operation, "b", b)
    if b.data.shape != (k,):
        refuse(operation, f"b has shape {tuple(b.shape)}", f"w has {k} outputs", f"give b the shape ({k},)")
    if b.data.dtype != x.data.dtype:
        same_dtype(operation, x, "b", b)
    return b


def _check_window(
    operation: str,
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: Padding,
    dilation: tuple[int, int] = (1, 1),
) -> None:
    for axis in (0, 1):
        n = shape[1 + axis] + sum(padding[axis])
        if output_size(n, kernel[axis], stride[axis], dilation[axis]) < 1:
            refuse(
                operation,
                f"x has shape {tuple(shape)}",
                f"a kernel of {kernel} with dilation {dilation} and padding {padding} is larger",
                "use fewer pooling layers, a smaller kernel, or padding='same'",
            )


def _pool(kernel_pair: Any, operation: str, x: Any, kernel: Any, stride: Any, padding: Any) -> Tensor:
    x = floats(operation, "x", x, "convert the images to float32")
    if x.ndim != 4:
        refuse(operation, f"x has shape {tuple(x.shape)}", "(N, H, W, C) is expected", "reshape to four axes")
    none_empty(operation, x=("channels", x.shape[3]))
    kernel = pair(operation, "kernel", kernel)
    stride = kernel if stride is None else pair(operation, "stride", stride)
    pads = padding_of(operation, padding, kernel)
    if any(side >= size for sides, size in zip(pads, kernel, strict=True) for side in sides):
        refuse(operation, f"padding is {pads}", f"it must be less than the kernel {kernel}", "pad less")
    _check_window(operation, x.shape, kernel, stride, pads)
    return apply(kernel_pair, x, kernel=kernel, stride=stride, padding=pads)
