"""An ONNX graph, run by this package's functions as far as they can express it.

Every operator that computes goes through :mod:`dlcore.functional` or the operators of :class:`dlcore.Tensor`. What only
describes a graph, such as constants, shapes and integer arithmetic on them, stays on the host in NumPy: that is the
graph's bookkeeping and no kernel's. An operator, an attribute or a dtype without counterpart raises
:class:`NotExpressibleError` with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

import dlcore as dl
from dlcore import functional as F
from dlcore.functional.layers import batch_norm
from dlcore.tensor import concat, where

__all__ = ["NotExpressibleError", "run"]

Value = Any  # a dl.Tensor of floats, or a NumPy array of anything else, or None for an input left out
FLOATS = (np.float32, np.float64, np.float16)


BOOKKEEPING = {"Constant", "ConstantOfShape", "Shape", "Size", "Range", "Cast", "CastLike", "Identity"}
"""What describes a graph and computes nothing by a kernel."""


class NotExpressibleError(Exception):
    """What a case wants has no counterpart here; the reason, to be counted."""


def run(model: ModelProto, inputs: Sequence[Any]) -> list[np.ndarray]:
    """The graph's outputs for ``inputs``, in its order."""
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    graph = model.graph
    if {node.op_type for node in graph.node} <= BOOKKEEPING:
        raise NotExpressibleError("nothing that a kernel computes")
    constants = {t.name for t in graph.initializer}
    names = [i.name for i in graph.input if i.name not in constants or len(graph.input) == len(inputs)]
    values: dict[str, Value] = {t.name: _value(numpy_helper.to_array(t)) for t in graph.initializer}
    values |= {name: _value(x) for name, x in zip(names, inputs, strict=False)}
    _run_nodes(graph, values, opset)
    return [_host(values[o.name]) for o in graph.output]


def _run_nodes(graph: GraphProto, values: dict[str, Value], opset: int) -> None:
    for node in graph.node:
        operator = OPERATORS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if operator is None:
            raise NotExpressibleError(f"operator {node.op_type}")
        given = [values[name] if name else None for name in node.input]
        results = operator(_Call(node, given, opset))
        results = results if isinstance(results, tuple) else (results,)
        if any(node.output[len(results) :]):
            raise NotExpressibleError(f"{node.op_type} with more outputs")
        values.update({name: y for name, y in zip(node.output, results, strict=False) if name})


class _Call:
    """One node's inputs, attributes and outputs."""

    def __init__(self, node: NodeProto, inputs: list[Value], opset: int) -> None:
        self.node, self.inputs, self.opset = node, inputs, opset
        self.attributes = {a.name: _attribute(a) for a in node.attribute}
        self.outputs = list(node.output)

    def __getitem__(self, position: int) -> Value:
        return self.inputs[position] if position < len(self.inputs) else None

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def refuse(self, **allowed: Any) -> None:
        """Attributes that must keep one value, which ours has built in."""
        for name, value in allowed.items():
            if self.attributes.get(name, value) != value:
                raise NotExpressibleError(f"{self.node.op_type} with {name}={self.attributes[name]}")


def _attribute(a: AttributeProto) -> Any:
    value = helper.get_attribute_value(a)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return value


def _value(x: Any) -> Value:
    if isinstance(x, TensorProto):
        x = numpy_helper.to_array(x)
    elif np.isscalar(x):
        x = np.asarray(x)
    if not isinstance(x, np.ndarray):
        raise NotExpressibleError(f"an input that is no array ({type(x).__name__})")
    if x.dtype in FLOATS:
        return dl.Tensor(x)
    if x.dtype.kind not in "iub" or x.dtype.itemsize > 8 or x.dtype.isbuiltin != 1:
        raise NotExpressibleError(f"arrays of {x.dtype}")
    return x


def _host(x: Value) -> np.ndarray:
    return x.numpy() if isinstance(x, dl.Tensor) else np.asarray(x)


def _ints(x: Value) -> list[int]:
    return [int(i) for i in np.atleast_1d(_host(x))]


def _tensor(x: Value, what: str) -> dl.Tensor:
    if not isinstance(x, dl.Tensor):
        raise NotExpressibleError(f"{what} of {getattr(x, 'dtype', 'nothing')}")
    return x


# --- elementwise


def _unary(function: Callable[[dl.Tensor], dl.Tensor]) -> Callable[[_Call], Value]:
    return lambda call: function(_tensor(call[0], call.node.op_type))


def _binary(function: Callable[[Any, Any], Any], of_ints: Callable[[Any, Any], Any] | None = None) -> Any:
    def operator(call: _Call) -> Value:
        a, b = call[0], call[1]
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
            if of_ints is None:
                raise NotExpressibleError(f"{call.node.op_type} of {a.dtype}")
            return of_ints(a, b)
        if _host(a).dtype != _host(b).dtype:
            raise NotExpressibleError(f"{call.node.op_type} of {_host(a).dtype} and {_host(b).dtype}")
        return function(a, b)

    return operator


def _compare(function: Callable[[Any, Any], Any]) -> Callable[[_Call], Value]:
    """Comparisons give bools, of integers too: through Tensor."""

    def operator(call: _Call) -> Value:
        a, b = (x if isinstance(x, dl.Tensor) else dl.Tensor(x) for x in (call[0], call[1]))
        return function(a, b).numpy()

    return operator


def _logical(function: Callable[..., Any]) -> Callable[[_Call], Value]:
    def operator(call: _Call) -> Value:
        operands = [dl.Tensor(_host(x)) for x in call.inputs]
        try:
            return function(*operands).numpy()
        except TypeError as error:  # an operator that Tensor has not
            raise NotExpressibleError(f"operator {call.node.op_type}") from error

    return operator


def _fold(function: Callable[[Any, Any], Any]) -> Callable[[_Call], Value]:
    def operator(call: _Call) -> Value:
        total = _tensor(call[0], call.node.op_type)
        for x in call.inputs[1:]:
            total = function(total, _tensor(x, call.node.op_type))
        return total

    return operator


def _larger(a: dl.Tensor, b: dl.Tensor) -> dl.Tensor:
    return where(a > b, a, b)


def _smaller(a: dl.Tensor, b: dl.Tensor) -> dl.Tensor:
    return where(a < b, a, b)


def _clip(call: _Call) -> Value:
    x = _tensor(call[0], "Clip")
    low, high = (call.get("min"), call.get("max")) if call.opset < 11 else (call[1], call[2])
    for bound, beyond in ((low, lambda x, b: x < b), (high, lambda x, b: x > b)):
        if bound is not None and _host(bound).size:
            b = float(_host(bound))
            x = where(beyond(x, b), b, x)
    return x


def _pow(call: _Call) -> Value:
    x, exponent = _tensor(call[0], "Pow"), _host(call[1])
    if exponent.ndim == 0 and exponent.dtype.kind in "fiu":
        return x ** exponent.item()
    if exponent.dtype != _host(x).dtype:
        raise NotExpressibleError(f"Pow by {exponent.dtype}")
    return dl.Tensor(_host(x)) ** dl.Tensor(exponent) if TENSOR_POWERS else _refuse("Pow by an array")


def _prelu(call: _Call) -> Value:
    x, slope = _tensor(call[0], "PRelu"), _tensor(call[1], "PRelu")
    if call.opset < 9 and slope.ndim == 1:  # one a channel, wherever the channels stand
        slope = slope.reshape((-1, *(1,) * (x.ndim - 2)))
    return where(x < 0.0, slope * x, x)


def _refuse(reason: str) -> Any:
    raise NotExpressibleError(reason)


def _supports_tensor_powers() -> bool:
    try:
        return (dl.Tensor([2.0]) ** dl.Tensor([3.0])).numpy().tolist() == [8.0]
    except dl.DlcoreError:
        return False


TENSOR_POWERS = _supports_tensor_powers()


def _elu(x: dl.Tensor, alpha: float = 1.0, gamma: float = 1.0, scale: float = 1.0) -> dl.Tensor:
    return gamma * where(x > 0, x, alpha * ((where(x > 0, 0.0, x) / scale).exp() - 1))


def _cast(call: _Call) -> Value:
    if call.node.op_type == "CastLike":
        target = _host(call[1]).dtype
    else:
        try:
            target = helper.tensor_dtype_to_np_dtype(call.get("to"))
        except (KeyError, ValueError, TypeError) as error:
            raise NotExpressibleError("Cast to another type") from error
    x = _host(call[0])
    kinds = x.dtype.kind + np.dtype(target).kind
    if kinds not in ("ff", "ii", "if", "bf", "bi", "uu", "uf", "bb", "iu", "ui", "ib", "fb"):
        raise NotExpressibleError(f"Cast of {x.dtype} to {target}")
    return _value(x.astype(target))


# --- shapes


def _reshape(call: _Call) -> Value:
    x = call[0]
    shape = call.get("shape") if call.opset < 5 else _ints(call[1])
    shape = list(shape)
    if not call.get("allowzero", 0):
        shape = [n or _host(x).shape[i] for i, n in enumerate(shape)]
    return x.reshape(tuple(shape))


def _flatten(call: _Call) -> Value:
    x, axis = call[0], call.get("axis", 1)
    shape = _host(x).shape
    axis = axis + len(shape) if axis < 0 else axis
    return x.reshape((math.prod(shape[:axis]), math.prod(shape[axis:])))


def _transpose(call: _Call) -> Value:
    x, order = call[0], call.get("perm")
    return x.transpose(*(order if order else range(_host(x).ndim - 1, -1, -1)))


def _axes(call: _Call, since: int, position: int = 1) -> list[int] | None:
    """Axes are an attribute before an opset and an input since."""
    if call.opset < since:
        return call.get("axes")
    return None if call[position] is None or not _host(call[position]).size else _ints(call[position])


def _squeeze(call: _Call) -> Value:
    x = call[0]
    shape, axes = _host(x).shape, _axes(call, 13)
    gone = {a % len(shape) for a in axes} if axes else {i for i, n in enumerate(shape) if n == 1}
    return x.reshape(tuple(n for i, n in enumerate(shape) if i not in gone))


def _unsqueeze(call: _Call) -> Value:
    x = call[0]
    shape, axes = list(_host(x).shape), _axes(call, 13) or []
    for axis in sorted(a % (len(shape) + len(axes)) for a in axes):
        shape.insert(axis, 1)
    return x.reshape(tuple(shape))


def _expand(call: _Call) -> Value:
    x = call[0]
    shape = np.broadcast_shapes(_host(x).shape, tuple(_ints(call[1])))
    if isinstance(x, dl.Tensor):
        return x * np.ones(shape, _host(x).dtype)
    return np.broadcast_to(x, shape)


def _slice(call: _Call) -> Value:
    x = call[0]
    shape = _host(x).shape
    if call.opset < 10:
        starts, ends, axes, steps = call.get("starts"), call.get("ends"), call.get("axes"), None
    else:
        starts, ends = _ints(call[1]), _ints(call[2])
        axes = None if call[3] is None else _ints(call[3])
        steps = None if call[4] is None else _ints(call[4])
    key = [slice(None)] * len(shape)
    for i, axis in enumerate(axes if axes is not None else range(len(starts))):
        step = steps[i] if steps else 1
        n, start, stop = shape[axis], starts[i], ends[i]
        if step < 0:  # the end before the first has no number in Python
            start = min(max(start + n if start < 0 else start, 0), n - 1)
            stop = max(stop + n if stop < 0 else stop, -1)
            key[axis] = slice(start, None if stop < 0 else stop, step)
        else:
            key[axis] = slice(start, stop, step)
    return x[tuple(key)]


def _gather(call: _Call) -> Value:
    x, ids, axis = call[0], _host(call[1]), call.get("axis", 0)
    if not isinstance(x, dl.Tensor):
        return np.take(x, ids, axis=axis)
    axis %= x.ndim
    front = x.transpose(axis, *(i for i in range(x.ndim) if i != axis))
    y = front[ids] if ids.ndim else front[int(ids)]
    k = ids.ndim  # the picked axes come first; they belong where the axis was
    order = [*range(k, k + axis), *range(k), *range(k + axis, y.ndim)]
    return y.transpose(*order) if y.ndim else y


def _split(call: _Call) -> Value:
    x, axis = call[0], call.get("axis", 0)
    n = _host(x).shape[axis]
    sizes = call.get("split") if call.opset < 13 else (None if call[1] is None else _ints(call[1]))
    if not sizes:
        parts = len(call.outputs)
        size = -(-n // parts)
        sizes = [size] * (parts - 1) + [n - size * (parts - 1)]
    ends = np.cumsum(sizes).tolist()
    whole = [slice(None)] * _host(x).ndim
    pieces = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        key = list(whole)
        key[axis] = slice(start, end)
        pieces.append(x[tuple(key)])
    return tuple(pieces)


def _concat(call: _Call) -> Value:
    axis = call.get("axis", 1)
    if any(isinstance(x, dl.Tensor) for x in call.inputs):
        return concat([_tensor(x, "Concat") for x in call.inputs], axis=axis)
    return np.concatenate(call.inputs, axis=axis)


def _where(call: _Call) -> Value:
    condition, x, y = call.inputs
    if not (isinstance(x, dl.Tensor) and isinstance(y, dl.Tensor)):
        raise NotExpressibleError(f"Where of {_host(x).dtype}")
    return where(condition, x, y)


# --- reductions


def _reduce(function: Callable[[dl.Tensor, Any, bool], dl.Tensor], since: int = 18) -> Callable[[_Call], Value]:
    def operator(call: _Call) -> Value:
        x = _tensor(call[0], call.node.op_type)
        axes, keep = _axes(call, since), bool(call.get("keepdims", 1))
        if not x.size and ("Max" in call.node.op_type or "Min" in call.node.op_type or "Exp" in call.node.op_type):
            raise NotExpressibleError("the largest of no elements")
        if not axes and call.get("noop_with_empty_axes", 0):
            raise NotExpressibleError(f"{call.node.op_type} of nothing")
        return function(x, tuple(axes) if axes else None, keep)

    return operator


def _log_sum_exp(x: dl.Tensor, axis: Any, keep: bool) -> dl.Tensor:
    top = dl.Tensor(x.max(axis=axis, keepdims=True).numpy())
    total = (x - top).exp().sum(axis=axis, keepdims=True).log() + top
    return total if keep else total.sum(axis=axis, keepdims=False)


# --- softmax, norms, losses


def _softmax(function: Callable[[Any], dl.Tensor]) -> Callable[[_Call], Value]:
    def operator(call: _Call) -> Value:
        x = _tensor(call[0], call.node.op_type)
        if call.opset < 13:  # the axes from this one on are one
            axis = call.get("axis", 1) % max(x.ndim, 1)
            flat = x.reshape((math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
            return function(flat).reshape(x.shape)
        axis = call.get("axis", -1) % x.ndim
        order = [*(i for i in range(x.ndim) if i != axis), axis]
        back = [order.index(i) for i in range(x.ndim)]
        return function(x.transpose(*order)).transpose(*back)

    return operator


def _last(x: dl.Tensor) -> dl.Tensor:
    """(N, C, …) -> (N, …, C)"""
    return x.transpose(0, *range(2, x.ndim), 1) if x.ndim > 2 else x


def _first(x: dl.Tensor) -> dl.Tensor:
    """(N, …, C) -> (N, C, …)"""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1)) if x.ndim > 2 else x


def _batch_norm(call: _Call) -> Value:
    x, scale, bias, mean, var = (_tensor(call[i], "BatchNormalization") for i in range(5))
    call.refuse(spatial=1)
    eps, momentum = call.get("epsilon", 1e-5), call.get("momentum", 0.9)
    if not call.get("training_mode", 0):
        if call.opset < 14 and len([o for o in call.outputs if o]) > 1:
            raise NotExpressibleError("BatchNormalization with five outputs")
        return _first(batch_norm(_last(x), scale, bias, statistics=(mean.data, var.data), eps=eps)[0])
    y, batch_mean, batch_var = batch_norm(_last(x), scale, bias, eps=eps)
    running = [
        momentum * old + (1 - momentum) * dl.Tensor(_host(new)) for old, new in ((mean, batch_mean), (var, batch_var))
    ]
    return _first(y), *running


def _dropout(call: _Call) -> Value:
    training = call.opset >= 12 and call[2] is not None and bool(_host(call[2]))
    rate = 0.5 if call.opset < 12 or call[1] is None else float(_host(call[1]))
    if training and rate:
        raise NotExpressibleError("Dropout with its own random numbers")
    y = F.dropout(_tensor(call[0], "Dropout"), rate=rate, key=(0, 0), training=False)  # draws nothing
    return (y, np.ones(y.shape, bool)) if len(call.outputs) > 1 else y


def _cross_entropy(call: _Call) -> Value:
    call.refuse(reduction="mean")
    scores, labels, weight = call[0], _host(call[1]), call[2]
    ignored = call.get("ignore_index")
    rows = _last(_tensor(scores, call.node.op_type))
    rows = rows.reshape((-1, rows.shape[-1]))
    flat = labels.reshape(-1).astype(np.int64)
    if ignored is not None:
        kept = np.flatnonzero(flat != ignored)
        rows, flat = rows[kept], flat[kept]
    # The negative log-likelihood of log-probabilities is the cross-entropy of them as logits.
    if call.node.op_type == "NegativeLogLikelihoodLoss":
        sums = np.exp(_host(rows)).sum(-1)
        if not np.allclose(sums, 1, atol=1e-4):
            raise NotExpressibleError("NegativeLogLikelihoodLoss of numbers that are no log-probabilities")
    loss = F.cross_entropy(rows, flat, class_weight=None if weight is None else _host(weight))
    if len(call.outputs) > 1 and call.outputs[1]:
        return loss, _first(F.log_softmax(_last(scores)))
    return loss


# --- products, convolutions, pools


def _gemm(call: _Call) -> Value:
    a, b, c = _tensor(call[0], "Gemm"), _tensor(call[1], "Gemm"), call[2]
    a, b = a.T if call.get("transA", 0) else a, b.T if call.get("transB", 0) else b
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    if c is not None and _host(c).ndim == 1 and alpha == beta == 1 and _host(c).shape == b.shape[1:]:
        return F.linear(a, b, c)
    y = alpha * F.linear(a, b)
    return y if c is None else y + beta * _tensor(c, "Gemm")


def _matmul(call: _Call) -> Value:
    a, b = _tensor(call[0], "MatMul"), _tensor(call[1], "MatMul")
    left, right = a.ndim == 1, b.ndim == 1
    y = (a.reshape((1, -1)) if left else a) @ (b.reshape((-1, 1)) if right else b)
    shape = list(y.shape)
    if right:
        shape.pop()
    if left:
        shape.pop(-1 if right else -2)
    return y.reshape(tuple(shape)) if left or right else y


def _pads(call: _Call, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]):
    """((top, bottom), (left, right)), from pads or from auto_pad."""
    auto = call.get("auto_pad", "NOTSET")
    if auto == "VALID":
        return ((0, 0),) * len(kernel)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pairs = []
        for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
            total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            less, more = total // 2, total - total // 2
            pairs.append((less, more) if auto == "SAME_UPPER" else (more, less))
        return tuple(pairs)
    pads = call.get("pads") or [0] * (2 * len(kernel))
    half = len(pads) // 2
    return tuple(zip(pads[:half], pads[half:], strict=True))


class _Window:
    """Kernel, strides, padding of a 1-D or 2-D window; 1-D as 2-D of height 1."""

    def __init__(self, call: _Call, x: dl.Tensor, kernel: Sequence[int]) -> None:
        space = len(kernel)
        if space not in (1, 2) or x.ndim != space + 2:
            raise NotExpressibleError(f"{call.node.op_type} in {space} dimensions")
        strides, dilations = call.get("strides") or [1] * space, call.get("dilations") or [1] * space
        pads = _pads(call, x.shape[2:], kernel, strides, dilations)
        if space == 1:
            x = x.reshape((*x.shape[:2], 1, x.shape[2]))
            kernel, strides, dilations, pads = [1, *kernel], [1, *strides], [1, *dilations], ((0, 0), *pads)
        self.x, self.space = _last(x), space
        self.kernel, self.stride, self.dilation, self.padding = tuple(kernel), tuple(strides), tuple(dilations), pads

    def back(self, y: dl.Tensor) -> dl.Tensor:
        y = _first(y)
        return y.reshape((*y.shape[:2], y.shape[3])) if self.space == 1 else y


def _conv(call: _Call) -> Value:
    x, w, b = _tensor(call[0], "Conv"), _tensor(call[1], "Conv"), call[2]
    call.refuse(group=1)
    window = _Window(call, x, w.shape[2:])
    if window.space == 1:
        w = w.reshape((*w.shape[:2], 1, w.shape[2]))
    w = w.transpose(2, 3, 1, 0)  # (K, C, kh, kw) -> (kh, kw, C, K)
    return window.back(F.conv2d(window.x, w, b, stride=window.stride, padding=window.padding, dilation=window.dilation))


def _pool(function: Callable[..., dl.Tensor]) -> Callable[[_Call], Value]:
    def operator(call: _Call) -> Value:
        x = _tensor(call[0], call.node.op_type)
        call.refuse(storage_order=0)
        window = _Window(call, x, call.get("kernel_shape"))
        if set(window.dilation) != {1}:
            raise NotExpressibleError(f"{call.node.op_type} with dilations")
        if call.get("ceil_mode", 0):
            for n, k, s, (p, q) in zip(window.x.shape[1:3], window.kernel, window.stride, window.padding, strict=True):
                if (n + p + q - k) % s:
                    raise NotExpressibleError(f"{call.node.op_type} with ceil_mode")
        if call.get("count_include_pad", 0) and any(map(any, window.padding)):
            raise NotExpressibleError(f"{call.node.op_type} that counts its padding")
        return window.back(function(window.x, window.kernel, window.stride, window.padding))

    return operator


def _global(function: Callable[[dl.Tensor, Any], dl.Tensor]) -> Callable[[_Call], Value]:
    return lambda call: function(_tensor(call[0], call.node.op_type), tuple(range(2, call[0].ndim)))


# --- recurrent cells

ORDER = {"RNN": [0], "LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2]}  # ours i f g o of theirs i o f c; r z n of z r h
CELLS: Mapping[str, Callable[..., Any]] = {"RNN": F.rnn, "LSTM": F.lstm, "GRU": F.gru}
USUAL = {"RNN": ["Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}


def _recurrent(call: _Call) -> Value:
    kind = call.node.op_type
    x, w, r = (_host(_tensor(call[i], kind)) for i in range(3))
    call.refuse(clip=None, input_forget=0, activation_alpha=None, activation_beta=None)
    directions = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[
        call.get("direction", "forward")
    ]
    if [a.lower() for a in call.get("activations", USUAL[kind] * len(directions))] != [
        a.lower() for a in USUAL[kind] * len(directions)
    ]:
        raise NotExpressibleError(f"{kind} with other activations")
    if kind == "GRU" and not call.get("linear_before_reset", 0):
        raise NotExpressibleError("GRU that resets before its product")
    if kind == "LSTM" and call[7] is not None and np.any(_host(call[7])):
        raise NotExpressibleError("LSTM with peepholes")
    batch_first, gates = call.get("layout", 0), len(ORDER[kind])
    x = x if batch_first else x.swapaxes(0, 1)
    n, units = x.shape[0], call.get("hidden_size") or r.shape[-1]
    lengths = None if call[4] is None else _host(call[4]).tolist()
    states = [call[5], call[6]][: 1 + (kind == "LSTM")]
    ys: list[Any] = []
    lasts: list[list[Any]] = [[] for _ in states]
    for d, reverse in enumerate(directions):
        columns = lambda v: np.concatenate([np.split(v, gates)[g] for g in ORDER[kind]]).T  # noqa: E731
        both = np.zeros(2 * gates * units, x.dtype) if call[3] is None else _host(call[3])[d]
        of_input, of_state = (columns(part) for part in np.split(both, 2))
        more = []
        if kind == "GRU":  # the bias of n's product with h stays inside the reset
            more = [of_state[2 * units :]]
            of_state = np.concatenate([of_state[: 2 * units], np.zeros(units, x.dtype)])
        start = []
        for state in states:
            s = np.zeros((n, units), x.dtype) if state is None else _host(state)
            start.append(s if state is None else (s[:, d] if batch_first else s[d]))
        y, *last = CELLS[kind](
            x, columns(w[d]), columns(r[d]), of_input + of_state, *more, *start, lengths=lengths, reverse=reverse
        )
        ys.append(y.numpy())
        for all_of_them, one in zip(lasts, last, strict=True):
            all_of_them.append(one.numpy())
    if batch_first:
        return dl.Tensor(np.stack(ys, 2)), *(dl.Tensor(np.stack(some, 1)) for some in lasts)
    steps_first = [y.swapaxes(0, 1) for y in ys]  # (N, T, H) -> (T, N, H)
    return dl.Tensor(np.stack(steps_first, 1)), *(dl.Tensor(np.stack(some)) for some in lasts)


# --- constants and shapes on the host


def _constant(call: _Call) -> Value:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in call.attributes:
            x = call.get(name)
            return _value(np.asarray(x, np.float32 if "float" in name else None))
    raise NotExpressibleError("Constant of another kind")


def _constant_of_shape(call: _Call) -> Value:
    value = call.get("value", np.zeros(1, np.float32))
    return _value(np.full(tuple(int(i) for i in _host(call[0])), value.reshape(-1)[0], value.dtype))


def _shape(call: _Call) -> Value:
    shape = _host(call[0]).shape
    return np.asarray(shape[call.get("start", 0) : call.get("end", None)], np.int64)


OPERATORS: dict[str, Callable[[_Call], Value]] = {
    "Abs": _unary(dl.Tensor.abs),
    "Add": _binary(lambda a, b: a + b, np.add),
    "And": _logical(lambda a, b: a & b),
    "AveragePool": _pool(F.avg_pool2d),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "CastLike": _cast,
    "Celu": lambda call: _elu(_tensor(call[0], "Celu"), a := call.get("alpha", 1.0), scale=a),
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Div": _binary(lambda a, b: a / b, lambda a, b: np.trunc(a / b).astype(a.dtype)),
    "Dropout": _dropout,
    "Elu": lambda call: _elu(_tensor(call[0], "Elu"), call.get("alpha", 1.0)),
    "Equal": _compare(lambda a, b: a == b),
    "Exp": _unary(dl.Tensor.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "GRU": _recurrent,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": _global(lambda x, axes: x.mean(axis=axes, keepdims=True)),
    "GlobalMaxPool": _global(lambda x, axes: x.max(axis=axes, keepdims=True)),
    "Greater": _compare(lambda a, b: a > b),
    "GreaterOrEqual": _compare(lambda a, b: a >= b),
    "HardSigmoid": lambda call: _hard_sigmoid(call),
    "Identity": lambda call: call[0],
    "LSTM": _recurrent,
    "LeakyRelu": lambda call: F.leaky_relu(_tensor(call[0], "LeakyRelu"), call.get("alpha", 0.01)),
    "Less": _compare(lambda a, b: a < b),
    "LessOrEqual": _compare(lambda a, b: a <= b),
    "Log": _unary(dl.Tensor.log),
    "LogSoftmax": _softmax(F.log_softmax),
    "MatMul": _matmul,
    "Max": _fold(_larger),
    "MaxPool": _pool(F.max_pool2d),
    "Mean": lambda call: _fold(lambda a, b: a + b)(call) / float(len(call.inputs)),
    "Min": _fold(_smaller),
    "Mul": _binary(lambda a, b: a * b, np.multiply),
    "Neg": lambda call: -call[0],
    "NegativeLogLikelihoodLoss": _cross_entropy,
    "Not": _logical(lambda a: ~a),
    "Or": _logical(lambda a, b: a | b),
    "PRelu": _prelu,
    "Pow": _pow,
    "RNN": _recurrent,
    "Range": lambda call: _value(np.arange(*(_host(x)[()] for x in call.inputs), dtype=_host(call[0]).dtype)),
    "Reciprocal": _unary(lambda x: 1.0 / x),
    "ReduceL1": _reduce(lambda x, axis, keep: x.abs().sum(axis=axis, keepdims=keep)),
    "ReduceL2": _reduce(lambda x, axis, keep: (x * x).sum(axis=axis, keepdims=keep).sqrt()),
    "ReduceLogSum": _reduce(lambda x, axis, keep: x.sum(axis=axis, keepdims=keep).log()),
    "ReduceLogSumExp": _reduce(_log_sum_exp),
    "ReduceMax": _reduce(lambda x, axis, keep: x.max(axis=axis, keepdims=keep)),
    "ReduceMean": _reduce(lambda x, axis, keep: x.mean(axis=axis, keepdims=keep)),
    "ReduceMin": _reduce(lambda x, axis, keep: -(-x).max(axis=axis, keepdims=keep)),
    "ReduceSum": _reduce(lambda x, axis, keep: x.sum(axis=axis, keepdims=keep), since=13),
    "ReduceSumSquare": _reduce(lambda x, axis, keep: (x * x).sum(axis=axis, keepdims=keep)),
    "Relu": _unary(F.relu),
    "Reshape": _reshape,
    "Selu": lambda call: _elu(
        _tensor(call[0], "Selu"), call.get("alpha", 1.6732632), gamma=call.get("gamma", 1.0507010)
    ),
    "Shape": _shape,
    "Sigmoid": _unary(F.sigmoid),
    "Size": lambda call: np.asarray(_host(call[0]).size, np.int64),
    "Slice": _slice,
    "Softmax": _softmax(F.softmax),
    "SoftmaxCrossEntropyLoss": _cross_entropy,
    "Softplus": _unary(lambda x: F.relu(x) + (1.0 + (-x.abs()).exp()).log()),
    "Softsign": _unary(lambda x: x / (1.0 + x.abs())),
    "Split": _split,
    "Sqrt": _unary(dl.Tensor.sqrt),
    "Squeeze": _squeeze,
    "Sub": _binary(lambda a, b: a - b, np.subtract),
    "Sum": _fold(lambda a, b: a + b),
    "Tanh": _unary(F.tanh),
    "ThresholdedRelu": lambda call: where(call[0] > call.get("alpha", 1.0), call[0], 0.0),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
    "Xor": _logical(lambda a, b: a ^ b),
}


def _hard_sigmoid(call: _Call) -> Value:
    y = call.get("alpha", 0.2) * _tensor(call[0], "HardSigmoid") + call.get("beta", 0.5)
    return where(y < 0.0, 0.0, where(y > 1.0, 1.0, y))
