"""PyTorch's operators, said by this package's functions, for the samples that PyTorch tests itself by.

:data:`OURS` maps the name of an operator to a function with PyTorch's own signature. It takes Tensors of ours where
PyTorch takes tensors, and raises :class:`NotExpressibleError` for settings that have no counterpart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx_graph import NotExpressibleError

import dlcore as dl
from dlcore import functional as F
from dlcore.tensor import concat, where

__all__ = ["OURS"]


def only(given: dict[str, Any], **values: Any) -> None:
    """Settings that have one value here."""
    for name, value in given.items():
        if name not in values or value != values[name]:
            raise NotExpressibleError(f"{name}={value}"[:60])


def floats(*tensors: Any) -> None:
    for x in tensors:
        if isinstance(x, dl.Tensor) and x.dtype not in (np.float32, np.float64):
            raise NotExpressibleError(f"dtype {x.dtype}")


# --- arithmetic


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    def operator(*tensors: Any, **settings: Any) -> Any:
        only(settings)
        floats(*tensors)
        return function(*tensors)

    return operator


def _scaled(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """add and sub have a factor of the second operand."""
    return lambda x, y, *, alpha=1: function(x, alpha * y)


def _division(x: Any, y: Any, *, rounding_mode: str | None = None) -> Any:
    only({"rounding_mode": rounding_mode}, rounding_mode=None)
    return x / y


def _power(x: Any, y: Any) -> Any:
    floats(x, y)
    if isinstance(y, complex) or isinstance(x, complex):
        raise NotExpressibleError("complex numbers")
    try:
        return x**y
    except (dl.ShapeError, TypeError) as error:
        if isinstance(y, dl.Tensor):  # a power that is a tensor
            raise NotExpressibleError("a tensor as exponent") from error
        raise


def _clamp(x: Any, low: Any = None, high: Any = None, **settings: Any) -> Any:
    low, high = settings.pop("min", low), settings.pop("max", high)
    only(settings)
    if any(isinstance(b, dl.Tensor) and b.dtype != x.dtype for b in (low, high)):
        raise NotExpressibleError("bounds of another dtype")
    if low is not None:
        x = where(x < low, low, x)
    return x if high is None else where(x > high, high, x)


# --- products


def _matmul(a: Any, b: Any) -> Any:
    floats(a, b)
    left, right = a.ndim == 1, b.ndim == 1
    y = (a.reshape((1, -1)) if left else a) @ (b.reshape((-1, 1)) if right else b)
    shape = list(y.shape)
    if right:
        shape.pop()
    if left:
        shape.pop(-1 if right else -2)
    return y.reshape(tuple(shape)) if left or right else y


def _addmm(c: Any, a: Any, b: Any, *, alpha: float = 1, beta: float = 1) -> Any:
    return beta * c + alpha * _matmul(a, b)


def _outer(a: Any, b: Any) -> Any:
    return a.reshape((-1, 1)) * b.reshape((1, -1))


# --- reductions


def _axis(dim: Any) -> Any:
    return tuple(dim) if isinstance(dim, (list, tuple)) and dim else None if isinstance(dim, (list, tuple)) else dim


def _reduction(name: str) -> Callable[..., Any]:
    def operator(x: Any, dim: Any = None, keepdim: bool = False, **settings: Any) -> Any:
        only(settings)
        floats(x)
        if x.ndim == 0 and dim is not None:
            raise NotExpressibleError("an axis of a scalar")
        if name == "max" and not x.size:
            raise NotExpressibleError("the largest of no elements")
        return getattr(x, name)(axis=_axis(dim), keepdims=keepdim)

    return operator


def _amin(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return -_reduction("max")(-x, dim, keepdim)


def _largest(x: Any, *more: Any, **settings: Any) -> Any:
    if more or settings:
        raise NotExpressibleError("max with indices")
    return x.max()


def _variance(
    x: Any, dim: Any = None, *, correction: float | None = None, keepdim: bool = False, **settings: Any
) -> Any:
    if isinstance(dim, bool) or "unbiased" in settings:
        raise NotExpressibleError("unbiased as a bool")
    only(settings)
    if x.ndim == 0:
        raise NotExpressibleError("an axis of a scalar")
    axis = _axis(dim)
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    n = math.prod(x.shape[a] for a in axes) - (1 if correction is None else correction)
    if n <= 0:
        raise NotExpressibleError("a variance of too few elements")
    centred = x - x.mean(axis=axis, keepdims=True)
    return (centred * centred).sum(axis=axis, keepdims=keepdim) / float(n)


def _log_sum_exp(x: Any, dim: Any, keepdim: bool = False) -> Any:
    if x.ndim == 0:
        raise NotExpressibleError("an axis of a scalar")
    if not x.size:
        raise NotExpressibleError("the largest of no elements")
    axis = _axis(dim)
    top = x.detach().max(axis=axis, keepdims=True)
    total = (x - top).exp().sum(axis=axis, keepdims=True).log() + top
    return total if keepdim else total.sum(axis=axis)


# --- shapes


def _permute(x: Any, dims: Any) -> Any:
    return x.transpose(*dims) if x.ndim else x


def _swap(x: Any, one: int, other: int) -> Any:
    if not x.ndim:
        raise NotExpressibleError("an axis of a scalar")
    order = list(range(x.ndim))
    order[one], order[other] = order[other], order[one]
    return x.transpose(*order)


def _reshape(x: Any, *shape: Any) -> Any:
    shape = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    return x.reshape(shape)


def _flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    if not x.ndim:
        return x.reshape((1,))
    start, end = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape((*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


def _squeeze(x: Any, dim: Any = None) -> Any:
    if not x.ndim:
        return x
    dims = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    gone = {d % x.ndim for d in dims if x.shape[d] == 1}
    return x.reshape(tuple(n for i, n in enumerate(x.shape) if i not in gone))


def _unsqueeze(x: Any, dim: int) -> Any:
    shape = list(x.shape)
    shape.insert(dim % (x.ndim + 1), 1)
    return x.reshape(tuple(shape))


def _expand(x: Any, *shape: Any) -> Any:
    shape = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    ahead = len(shape) - x.ndim
    shape = tuple(x.shape[i - ahead] if n == -1 else n for i, n in enumerate(shape))
    return x * np.ones(shape, x.dtype)


def _split(x: Any, size: Any, dim: int = 0) -> Any:
    n = x.shape[dim]
    sizes = [min(size, n - i) for i in range(0, n, size)] or [0] if isinstance(size, int) else list(size)
    starts = np.cumsum([0, *sizes]).tolist()
    return tuple(_narrow(x, dim, start, length) for start, length in zip(starts, sizes, strict=False))


def _narrow(x: Any, dim: int, start: Any, length: int) -> Any:
    if isinstance(start, dl.Tensor):
        raise NotExpressibleError("a tensor as start")
    key = [slice(None)] * x.ndim
    start = start + x.shape[dim] if start < 0 else start
    key[dim] = slice(start, start + length)
    return x[tuple(key)]


def _select(x: Any, dim: int, index: int) -> Any:
    key: list[Any] = [slice(None)] * x.ndim
    key[dim] = index
    return x[tuple(key)]


def _index_select(x: Any, dim: int, ids: Any) -> Any:
    if not x.ndim:
        raise NotExpressibleError("an axis of a scalar")
    dim %= x.ndim
    ids = ids.numpy().reshape(-1)
    front = x.transpose(dim, *(i for i in range(x.ndim) if i != dim))[ids]
    return front.transpose(*range(1, dim + 1), 0, *range(dim + 1, x.ndim))


def _getitem(x: Any, key: Any) -> Any:
    def allowed(part: Any) -> bool:
        return part is None or part is Ellipsis or (isinstance(part, (int, slice)) and not isinstance(part, bool))

    parts = key if isinstance(key, tuple) else (key,)
    if isinstance(key, dl.Tensor) and key.dtype.kind == "i":
        return x[key]
    if not all(map(allowed, parts)):
        raise NotExpressibleError("an index of another kind")
    return x[key]


def _cat(tensors: Any, dim: int = 0) -> Any:
    shapes = {t.ndim for t in tensors}
    if len(shapes) > 1:
        raise NotExpressibleError("arrays of different dimensions")
    return concat(list(tensors), axis=dim)


def _stack(tensors: Any, dim: int = 0) -> Any:
    return concat([_unsqueeze(t, dim) for t in tensors], axis=dim)


def _flip(x: Any, dims: Any) -> Any:
    if not x.ndim:
        return x
    key = [slice(None)] * x.ndim
    for dim in dims:
        key[dim] = slice(None, None, -1)
    return x[tuple(key)]


def _where(x: Any, condition: Any, y: Any) -> Any:
    floats(x, y)
    return where(condition, x, y)


def _masked_fill(x: Any, mask: Any, value: Any) -> Any:
    return where(mask, value, x)


# --- networks


def _softmax(function: Callable[[Any], Any]) -> Callable[..., Any]:
    def operator(x: Any, dim: int, dtype: Any = None, **settings: Any) -> Any:
        only(settings)
        if dtype is not None:
            raise NotExpressibleError("softmax with another dtype")
        if not x.ndim:
            raise NotExpressibleError("an axis of a scalar")
        dim %= x.ndim
        if x.shape[dim] == 0:
            raise NotExpressibleError("a softmax of nothing, which is refused")
        order = [*(i for i in range(x.ndim) if i != dim), dim]
        back = [order.index(i) for i in range(x.ndim)]
        return function(x.transpose(*order)).transpose(*back)

    return operator


def _last(x: Any) -> Any:
    return x.transpose(0, *range(2, x.ndim), 1) if x.ndim > 2 else x


def _first(x: Any) -> Any:
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1)) if x.ndim > 2 else x


def _pairs(value: Any, space: int) -> tuple[int, ...]:
    return tuple(value) * (space if len(value) == 1 else 1) if isinstance(value, (tuple, list)) else (value,) * space


def _window(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, space: int) -> tuple[Any, ...]:
    """Images as (N, H, W, C); 1-D as height 1; without a batch as a batch of one."""
    lone = x.ndim == space + 1
    x = x.reshape((1, *x.shape)) if lone else x
    kernel, stride = _pairs(kernel, space), _pairs(stride or kernel, space)
    dilation = _pairs(dilation, space)
    if isinstance(padding, str):
        if padding == "same":
            total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
            pads = tuple((t // 2, t - t // 2) for t in total)
        else:
            pads = ((0, 0),) * space
    else:
        pads = tuple((p, p) for p in _pairs(padding, space))
    if space == 1:
        x = x.reshape((*x.shape[:2], 1, x.shape[2]))
        kernel, stride, dilation, pads = (1, *kernel), (1, *stride), (1, *dilation), ((0, 0), *pads)

    def back(y: Any) -> Any:
        y = _first(y)
        y = y.reshape((*y.shape[:2], y.shape[3])) if space == 1 else y
        return y.reshape(y.shape[1:]) if lone else y

    return _last(x), kernel, stride, pads, dilation, back


def _conv(space: int) -> Callable[..., Any]:
    def operator(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
        if groups != 1:
            raise NotExpressibleError("groups")
        x, _, stride, pads, dilation, back = _window(x, w.shape[2:], stride, padding, dilation, space)
        w = w.reshape((*w.shape[:2], 1, w.shape[2])) if space == 1 else w
        w = w.transpose(2, 3, 1, 0)
        return back(F.conv2d(x, w, bias, stride=stride, padding=pads, dilation=dilation))

    return operator


def _pool(function: Callable[..., Any], space: int) -> Callable[..., Any]:
    def operator(
        x, kernel_size, stride=None, padding=0, *more,
        dilation=1, ceil_mode=False, return_indices=False, count_include_pad=True, divisor_override=None,
    ):  # fmt: skip
        if more or return_indices or divisor_override is not None or _pairs(dilation, space) != (1,) * space:
            raise NotExpressibleError("pooling with dilation, indices or a divisor")
        x, kernel, stride, pads, _, back = _window(x, kernel_size, stride, padding, 1, space)
        if ceil_mode and any(
            (n + p + q - k) % s for n, k, s, (p, q) in zip(x.shape[1:3], kernel, stride, pads, strict=True)
        ):
            raise NotExpressibleError("ceil_mode")
        if function is F.avg_pool2d and count_include_pad and any(map(any, pads)):
            raise NotExpressibleError("a mean that counts its padding")
        return back(function(x, kernel, stride, pads))

    return operator


def _batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if x.ndim < 2:
        raise NotExpressibleError("one axis alone")
    channels = x.shape[1]
    weight = np.ones(channels, x.dtype) if weight is None else weight
    bias = np.zeros(channels, x.dtype) if bias is None else bias
    statistics = None if training else (running_mean.data, running_var.data)
    return _first(F.batch_norm(_last(x), weight, bias, statistics=statistics, eps=eps)[0])


def _cross_entropy(x, target, *, weight=None, reduction="mean", ignore_index=-100, label_smoothing=0.0, **settings):
    only(settings)
    if reduction != "mean":
        raise NotExpressibleError("a loss that is not the mean")
    if target.dtype.kind == "f":
        raise NotExpressibleError("class probabilities")
    if weight is not None and (weight.numpy() < 0).any():
        raise NotExpressibleError("negative weights of classes, which are refused")
    if label_smoothing and weight is not None:
        raise NotExpressibleError("label smoothing together with weights of classes, which are defined in two ways")
    if x.ndim == 1:
        x, target = x.reshape((1, -1)), target.reshape((1,))
    rows = _last(x)
    rows, labels = rows.reshape((-1, rows.shape[-1])), target.numpy().reshape(-1)
    kept = np.flatnonzero(labels != ignore_index)
    if not len(kept):
        raise NotExpressibleError("no label that counts")
    if len(kept) < len(labels):
        rows, labels = rows[kept], labels[kept]
    return F.cross_entropy(rows, labels, class_weight=weight, label_smoothing=label_smoothing)


def _binary(x, target, *, weight=None, reduction="mean", pos_weight=None, **settings):
    only(settings)
    if reduction != "mean" or pos_weight is not None or weight is not None:
        raise NotExpressibleError("a weighted sum in place of the mean")
    if target.requires_grad:
        raise NotExpressibleError("the gradient of a target, which is refused")
    return F.binary_cross_entropy(x, target)


def _mse(x, target, *, reduction="mean", **settings):
    only(settings)
    if reduction != "mean":
        raise NotExpressibleError("a loss that is not the mean")
    return F.mse(x, target)


def _embedding(w, ids, *, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    if padding_idx is not None or max_norm is not None or scale_grad_by_freq:
        raise NotExpressibleError("embedding with padding, norms or frequencies")
    return F.embedding(w, ids)


def _linear(x, w, bias=None):
    if bias is not None and bias.ndim != 1:
        raise NotExpressibleError("a bias that is no vector")
    lone = x.ndim == 1
    y = F.linear(x.reshape((1, -1)) if lone else x, w.reshape((1, -1)).T if w.ndim == 1 else w.T, bias)
    if w.ndim == 1:
        raise NotExpressibleError("weights that are a vector")
    return y.reshape(y.shape[1:]) if lone else y


def _elu(x: Any, alpha: float = 1.0, gamma: float = 1.0, scale: float = 1.0) -> Any:
    return gamma * where(x > 0, x, alpha * ((where(x > 0, 0.0, x) / scale).exp() - 1))


def _activation(function: Callable[..., Any]) -> Callable[..., Any]:
    def operator(x: Any, *more: Any, **settings: Any) -> Any:
        only(settings, inplace=False)
        floats(x)
        return function(x, *more)

    return operator


def _leaky(x: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    if negative_slope < 0:
        raise NotExpressibleError("a negative slope below 0")
    return F.leaky_relu(x, negative_slope)


OURS: dict[str, Callable[..., Any]] = {
    "T": _plain(lambda x: x.T),
    "__getitem__": _getitem,
    "__radd__": _plain(lambda x, y: y + x),
    "__rdiv__": _plain(lambda x, y: y / x),
    "__rmatmul__": _plain(lambda x, y: _matmul(y, x)),
    "__rmul__": _plain(lambda x, y: y * x),
    "__rsub__": _plain(lambda x, y: y - x),
    "abs": _plain(lambda x: x.abs()),
    "add": _scaled(lambda x, y: x + y),
    "addcdiv": lambda x, a, b, *, value=1: x + value * (a / b),
    "addcmul": lambda x, a, b, *, value=1: x + value * (a * b),
    "addmm": _addmm,
    "addmv": _addmm,
    "addr": lambda c, a, b, *, alpha=1, beta=1: beta * c + alpha * _outer(a, b),
    "amax": _reduction("max"),
    "amin": _amin,
    "baddbmm": _addmm,
    "bmm": _matmul,
    "broadcast_to": _expand,
    "cat": _cat,
    "clamp": _clamp,
    "clamp_max": lambda x, high: _clamp(x, None, high),
    "clamp_min": lambda x, low: _clamp(x, low),
    "clone": _plain(lambda x: x * 1),
    "diff": lambda x, n=1, dim=-1, prepend=None, append=None: _diff(x, n, dim, prepend, append),
    "div": _division,
    "dot": _plain(lambda a, b: (a * b).sum()),
    "eq": _plain(lambda x, y: x == y),
    "exp": _plain(lambda x: x.exp()),
    "expand": _expand,
    "expand_as": lambda x, y: _expand(x, tuple(y.shape)),
    "flatten": _flatten,
    "flip": _flip,
    "fliplr": lambda x: _flip(x, [1]),
    "flipud": lambda x: _flip(x, [0]),
    "ge": _plain(lambda x, y: x >= y),
    "gt": _plain(lambda x, y: x > y),
    "index_select": _index_select,
    "inner": lambda a, b: _inner(a, b),
    "le": _plain(lambda x, y: x <= y),
    "lerp": _plain(lambda x, y, weight: x + weight * (y - x)),
    "log": _plain(lambda x: x.log()),
    "log_softmax": _softmax(F.log_softmax),
    "logsumexp": _log_sum_exp,
    "lt": _plain(lambda x, y: x < y),
    "mT": lambda x: _swap(x, -1, -2),
    "masked_fill": _masked_fill,
    "matmul": _matmul,
    "max": _largest,
    "maximum": _plain(lambda x, y: 0.5 * (where(x > y, x, y) + where(y > x, y, x))),
    "mean": _reduction("mean"),
    "min": lambda x, *more, **settings: -_largest(-x, *more, **settings),
    "minimum": _plain(lambda x, y: 0.5 * (where(x < y, x, y) + where(y < x, y, x))),
    "mm": _matmul,
    "movedim": lambda x, source, destination: _movedim(x, source, destination),
    "mul": _plain(lambda x, y: x * y),
    "mv": _matmul,
    "narrow": _narrow,
    "ne": _plain(lambda x, y: x != y),
    "neg": _plain(lambda x: -x),
    "nn.functional.avg_pool1d": _pool(F.avg_pool2d, 1),
    "nn.functional.avg_pool2d": _pool(F.avg_pool2d, 2),
    "nn.functional.batch_norm": _batch_norm,
    "nn.functional.binary_cross_entropy_with_logits": _binary,
    "nn.functional.celu": lambda x, alpha=1.0, inplace=False: _elu(x, alpha, scale=alpha),
    "nn.functional.conv1d": _conv(1),
    "nn.functional.conv2d": _conv(2),
    "nn.functional.cross_entropy": _cross_entropy,
    "nn.functional.elu": lambda x, alpha=1.0, inplace=False: _elu(x, alpha),
    "nn.functional.embedding": _embedding,
    "nn.functional.hardtanh": lambda x, min_val=-1.0, max_val=1.0, inplace=False: _clamp(x, min_val, max_val),
    "nn.functional.leaky_relu": _leaky,
    "nn.functional.linear": _linear,
    "nn.functional.max_pool1d": _pool(F.max_pool2d, 1),
    "nn.functional.max_pool2d": _pool(F.max_pool2d, 2),
    "nn.functional.mse_loss": _mse,
    "nn.functional.relu": _activation(F.relu),
    "nn.functional.relu6": _activation(lambda x: _clamp(x, 0.0, 6.0)),
    "nn.functional.selu": _activation(lambda x: _elu(x, 1.6732632423543772, gamma=1.0507009873554805)),
    "nn.functional.silu": _activation(lambda x: x * F.sigmoid(x)),
    "nn.functional.softmin": lambda x, dim, dtype=None, **settings: _softmax(F.softmax)(-x, dim, dtype, **settings),
    "nn.functional.softsign": _activation(lambda x: x / (1 + x.abs())),
    "nn.functional.tanhshrink": _activation(lambda x: x - F.tanh(x)),
    "outer": _outer,
    "permute": _permute,
    "positive": _plain(lambda x: x * 1),
    "pow": _power,
    "ravel": _plain(lambda x: x.reshape(-1)),
    "reciprocal": _plain(lambda x: 1 / x),
    "reshape": _reshape,
    "reshape_as": lambda x, y: x.reshape(tuple(y.shape)),
    "rsqrt": _plain(lambda x: 1 / x.sqrt()),
    "rsub": lambda x, y, *, alpha=1: y - alpha * x,
    "select": _select,
    "sigmoid": _plain(F.sigmoid),
    "softmax": _softmax(F.softmax),
    "split": _split,
    "split_with_sizes": _split,
    "sqrt": _plain(lambda x: x.sqrt()),
    "square": _plain(lambda x: x * x),
    "squeeze": _squeeze,
    "stack": _stack,
    "std": lambda x, *more, **settings: _variance(x, *more, **settings).sqrt(),
    "sub": _scaled(lambda x, y: x - y),
    "sum": _reduction("sum"),
    "t": lambda x: x.T,
    "tanh": _plain(F.tanh),
    "transpose": _swap,
    "true_divide": _division,
    "unbind": lambda x, dim=0: tuple(_select(x, dim, i) for i in range(x.shape[dim])),
    "unsqueeze": _unsqueeze,
    "var": _variance,
    "view": _reshape,
    "view_as": lambda x, y: x.reshape(tuple(y.shape)),
    "where": _where,
}


def _inner(a: Any, b: Any) -> Any:
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if a.ndim == b.ndim == 1:
        return (a * b).sum()
    flat = a.reshape((-1, a.shape[-1])) @ b.reshape((-1, b.shape[-1])).T
    return flat.reshape((*a.shape[:-1], *b.shape[:-1]))


def _movedim(x: Any, source: Any, destination: Any) -> Any:
    sources, destinations = ([v] if isinstance(v, int) else list(v) for v in (source, destination))
    sources, destinations = ([v % max(x.ndim, 1) for v in some] for some in (sources, destinations))
    if not x.ndim:
        return x
    order: list[int] = [-1] * x.ndim
    for s, d in zip(sources, destinations, strict=True):
        order[d] = s
    rest = iter(i for i in range(x.ndim) if i not in sources)
    return x.transpose(*(next(rest) if i < 0 else i for i in order))


def _diff(x: Any, n: int, dim: int, prepend: Any, append: Any) -> Any:
    if n == 0:
        return x
    parts = [part for part in (prepend, x, append) if part is not None]
    x = concat(parts, axis=dim) if len(parts) > 1 else x
    for _ in range(min(n, x.shape[dim])):
        size = x.shape[dim]
        x = _narrow(x, dim, 1, size - 1) - _narrow(x, dim, 0, size - 1)
    return x
