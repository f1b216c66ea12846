"""Layers with parameters or randomness: dense, convolution, embedding, batch norm, dropout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from backends.array_ops import Padding
from backends.reference.norm import running_average_
from dlcore import functional as F
from dlcore._core.configurable import settings
from dlcore._core.validation import flag, number, whole
from dlcore.errors import ConfigError
from dlcore.functional.checks import padding_of, pair
from dlcore.nn._order import check_images
from dlcore.nn.activation import ReLU
from dlcore.nn.init import Initializer, named
from dlcore.nn.module import Module
from dlcore.nn.parameter import Buffer
from dlcore.nn.shape import MaxPool2D
from dlcore.tensor import Tensor, as_tensor

__all__ = ["BatchNorm", "Conv2D", "Dense", "Dropout", "Embedding"]


class Dense(Module):
    """A fully connected layer, x @ w + b.

    units : outputs, K
    bias : whether to add b; leave it out before a BatchNorm
    init : initial weights, a name or an initialiser of ``dlcore.nn.init``

    (..., D) -> (..., K). Parameters: w (D, K), b (K,). With ``lengths``, (N, T, D) -> (N, T, K) on valid steps alone,
    zeros behind each sequence's end.

    >>> Dense(3)([[1.0, 2.0]]).shape
    (1, 3)

    Source: notes, 1.1 and 4.4.
    """

    def __init__(self, units: int, bias: bool = True, init: str | Initializer = "he_normal") -> None:
        self.units = whole("Dense", "units", units, 1)
        self.bias = _flag("Dense", "bias", bias)
        self.init = named(init)

    def setup(self, x: Tensor) -> None:
        self.w = self.parameter("w", (x.shape[-1], self.units), self.init)
        self.b = self.parameter("b", (self.units,), "zeros", decay=False) if self.bias else None

    def forward(self, x: Any, lengths: Any = None, relu: bool = False) -> Tensor:
        affine = F.linear_relu if relu else F.linear
        if lengths is None:
            return affine(x, self.w, self.b)
        return over_valid_steps(lambda x: affine(x, self.w, self.b), x, lengths)

    def takes_over(self, following: Sequence[Module]) -> tuple[int, dict[str, Any]]:
        return (1, {"relu": True}) if type(self) is Dense and following and type(following[0]) is ReLU else (0, {})


class Conv2D(Module):
    """A convolution layer: cross-correlation with K learnt filters.

    filters : outputs, K
    kernel_size, stride, dilation : int, or (vertical, horizontal), in pixels
    padding : "valid", "same" or ((top, bottom), (left, right))
    bias : whether to add b; leave it out before a BatchNorm
    init : initial filters, a name or an initialiser

    (N, H, W, C) -> (N, OH, OW, K). Parameters: w (kh, kw, C, K), b (K,): f · f · C · K + K numbers.

    >>> Conv2D(8, 3, padding="same")(np.zeros((2, 5, 5, 1), dtype=np.float32)).shape
    (2, 5, 5, 8)

    Source: notes, 4.2.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | Padding = "valid",
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
        init: str | Initializer = "he_normal",
    ) -> None:
        self.filters = whole("Conv2D", "filters", filters, 1)
        with settings():
            self.kernel_size = pair("Conv2D", "kernel_size", kernel_size)
            self.stride = pair("Conv2D", "stride", stride)
            self.dilation = pair("Conv2D", "dilation", dilation)
            self.padding = padding_of("Conv2D", padding, self.kernel_size, self.dilation)
        self.bias = _flag("Conv2D", "bias", bias)
        self.init = named(init)

    def setup(self, x: Tensor) -> None:
        geometry = {name: getattr(self, name) for name in ("kernel_size", "stride", "padding", "dilation")}
        check_images(self.path, x, self.filters, geometry)
        self.w = self.parameter("w", (*self.kernel_size, x.shape[-1], self.filters), self.init)
        self.b = self.parameter("b", (self.filters,), "zeros", decay=False) if self.bias else None

    def forward(self, x: Any, relu: bool = False, pool: tuple[int, int] | None = None) -> Tensor:
        how = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        if not relu:
            return F.conv2d(x, self.w, self.b, **how)
        return F.conv2d_relu(x, self.w, self.b, pool=pool, **how)

    def takes_over(self, following: Sequence[Module]) -> tuple[int, dict[str, Any]]:
        return relu_and_pool(following) if type(self) is Conv2D else (0, {})


class Embedding(Module):
    """A learnt table: integers in, rows out.

    size : rows, V
    dim : numbers a row, D
    init : initial rows, a name or an initialiser

    (...) integers -> (..., D). Parameter: w (V, D). With ``lengths``, (N, T) -> (N, T, D) with zeros behind each
    sequence's end, where the integers may be anything.

    >>> Embedding(10, 4)(np.array([[1, 2, 3]])).shape
    (1, 3, 4)

    Source: Bengio, Ducharme, Vincent and Jauvin (2003).
    """

    def __init__(self, size: int, dim: int, init: str | Initializer = "xavier_normal") -> None:
        self.size = whole("Embedding", "size", size, 1)
        self.dim = whole("Embedding", "dim", dim, 1)
        self.init = named(init)

    def setup(self, x: Tensor) -> None:
        self.w = self.parameter("w", (self.size, self.dim), self.init)

    def forward(self, x: Any, lengths: Any = None) -> Tensor:
        return over_valid_steps(lambda ids: F.embedding(self.w, ids), x, lengths, axes=2)


class BatchNorm(Module):
    """Batch normalisation over all axes but the last: gamma (x - mean) / sqrt(variance + eps) + beta.

    momentum : share of the old running statistics that is kept in each step: running = momentum · old +
        (1 - momentum) · new
    eps : added to the variance

    In training the statistics are the batch's (its variance divides by the number of positions), and the running mean
    and variance average them; in evaluation the running ones are used. The running variance is the average of those
    biased batch variances. A frozen layer (``model.freeze``) uses its running statistics and keeps them.

    (..., C) -> (..., C). Parameters: gamma, beta (C,). Buffers: running_mean, running_variance (C,).

    >>> BatchNorm()(np.array([[1.0], [3.0]], dtype=np.float32)).numpy().round(2).ravel()
    array([-1.,  1.], dtype=float32)

    Source: notes, 3.9; Ioffe and Szegedy (2015).
    """

    def __init__(self, momentum: float = 0.9, eps: float = 1e-5) -> None:
        self.momentum = number("BatchNorm", "momentum", momentum, 0.0, 1.0)
        self.eps = number("BatchNorm", "eps", eps, 0.0, float("inf"))

    def setup(self, x: Tensor) -> None:
        c = (x.shape[-1],)
        self.gamma = self.parameter("gamma", c, "ones", decay=False)
        self.beta = self.parameter("beta", c, "zeros", decay=False)
        self.running_mean = Buffer(np.zeros(c, dtype=np.float32))
        self.running_variance = Buffer(np.ones(c, dtype=np.float32))

    def forward(self, x: Any, relu: bool = False, pool: tuple[int, int] | None = None) -> Tensor:
        if self._fixed():
            running = (self.running_mean.data, self.running_variance.data)
            return F.batch_norm(x, self.gamma, self.beta, statistics=running, eps=self.eps)[0]
        if relu:
            y, mean, variance = F.batch_norm_relu(x, self.gamma, self.beta, eps=self.eps, pool=pool)
        else:
            y, mean, variance = F.batch_norm(x, self.gamma, self.beta, eps=self.eps)
        running_average_(self.running_mean.data, mean, momentum=self.momentum)
        running_average_(self.running_variance.data, variance, momentum=self.momentum)
        return y

    def _fixed(self) -> bool:
        """Whether the running statistics are used."""
        return not self.training or not self.gamma.requires_grad

    def takes_over(self, following: Sequence[Module]) -> tuple[int, dict[str, Any]]:
        return relu_and_pool(following) if type(self) is BatchNorm and not self._fixed() else (0, {})


class Dropout(Module):
    """In training, set each element to 0 with probability ``rate`` and divide the others by 1 - rate.

    The mask is named by the seed, the layer's path, the step, the call in the step and the row's position in the batch:
    the same on every device, another in every step.

    >>> Dropout(0.5).eval()([[1.0, 2.0]]).numpy()
    array([[1., 2.]], dtype=float32)

    Source: notes, 2.3.
    """

    def __init__(self, rate: float = 0.5) -> None:
        self.rate = number("Dropout", "rate", rate, 0.0, 1.0)

    def forward(self, x: Any) -> Tensor:
        if not self.training or not self.rate:
            return x
        return F.dropout(x, self.rate, key=self.draw("dropout"), first_row=self.clock.first_row)


def over_valid_steps(function: Callable[[Any], Tensor], x: Any, lengths: Any, axes: int = 3) -> Tensor:
    """``function`` of the rows of sequences x (N, T, ...) that are valid, so that padding is in no product and no sum.

    Of x itself where there are no lengths, or where x has no axis of steps any more: after a layer that gives the last
    state.
    """
    x = as_tensor(x)
    if lengths is None or x.ndim < axes:
        return function(x)
    lengths = F.Lengths.of("lengths", lengths, *x.shape[:2])
    return F.unpack(function(F.pack(x, lengths)), lengths)


def relu_and_pool(following: Sequence[Module]) -> tuple[int, dict[str, Any]]:
    """Whether a ReLU follows, and a pooling of windows side by side: an answer for ``takes_over``."""
    if not following or type(following[0]) is not ReLU:
        return 0, {}
    pool = following[1] if len(following) > 1 else None
    if type(pool) is MaxPool2D and pool.stride == pool.kernel_size and pool.padding == ((0, 0), (0, 0)):
        return 2, {"relu": True, "pool": pool.kernel_size}
    return 1, {"relu": True}


def _flag(layer: str, name: str, value: Any) -> bool:
    try:
        return flag(layer, name, value)
    except ConfigError as error:  # Dense(784, 10), as other frameworks have it
        whole = isinstance(value, int) and value > 0
        remedy = f": for {value} outputs write {layer}({value})" if whole and (layer, name) == ("Dense", "bias") else ""
        raise ConfigError(f"{error}; the size of the input is learnt from the data{remedy}") from None
