"""Kernels: a reference pair (forward, backward) and its alternatives.

A kernel is written twice at most. The *reference* uses only calls of the Array API standard and runs on every library;
it covers every parameter and is the oracle. An *alternative* is registered for one library, may decline a call with a
reason, and is taken when it does not. There is no branch on the library inside a kernel: a special case is another
alternative.

The contract of a pair, for a kernel of two arrays and one parameter::

    @kernel
    def scale(xp, x, factor, *, power, needed):       # arrays by position, parameters by keyword
        return x * factor**power, (x, factor)         # the output (or a tuple of outputs), what backward needs

    @scale.backward
    def _(xp, dy, saved, *, power, needed):           # dy: the gradient of the loss for the output
        return dx, dfactor                            # one gradient per array, None where it is not needed

``needed`` holds one bool per array: whether its gradient is wanted. It is known in the forward pass, so evaluation and
frozen layers save nothing. Optional arrays are None. A kernel takes dtype and device from its arrays and mutates
nothing; update kernels (:func:`update_kernel`, names ending in ``_``) write into their arrays and have no backward.
A kernel that nobody differentiates, such as a distance for nearest neighbours, defines none and saves None.

Arrays of float16 go to an alternative that takes them, or else are computed in float32, see :mod:`backends.float16`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from backends import float16
from backends.namespace import NUMPY, name_of, namespace
from backends.runtime.current import elsewhere

__all__ = [
    "Alternative",
    "Choice",
    "Kernel",
    "UpdateKernel",
    "explain",
    "kernel",
    "kernels",
    "reference_only",
    "update_kernel",
]

_reference_only: ContextVar[bool] = ContextVar("reference_only", default=False)

_REGISTRY: dict[str, _Dispatch] = {}

_ALTERNATIVES_OF = {"numpy": "backends.cpu", "cupy": "backends.cuda"}
"""The package that registers a library's alternatives when it is imported."""


class Pair(Protocol):
    """What a kernel or an alternative offers: ``backward`` is absent from update kernels."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]


@dataclass(frozen=True)
class Alternative:
    """A faster pair for one library: taken when ``unless(*arrays, **params)`` returns None.

    name : of the class
    library : "numpy" or "cupy"
    pair : with ``forward`` and ``backward``
    broken : why the pair cannot run on this machine at all, asked where ``unless`` accepts; None where it can

    >>> from backends.reference.linear import linear
    >>> all(isinstance(one, Alternative) for one in linear.alternatives.get("numpy", []))
    True
    """

    name: str
    library: str
    pair: Any
    unless: Callable[..., str | None]
    broken: Callable[[Any], str | None] | None = None

    def declines(self, *arrays: Any, **params: Any) -> str | None:
        """Why the pair does not run this call; None where it does.

        >>> small = Alternative("Small", "numpy", None, lambda x: "x is long" if x.size > 3 else None)
        >>> import numpy as np
        >>> small.declines(np.ones(5)), small.declines(np.ones(2))
        ('x is long', None)
        """
        return self.unless(*arrays, **params) or (self.broken(self.pair) if self.broken else None)


@dataclass(frozen=True)
class Choice:
    """What :func:`explain` answers: the implementation taken, and why each alternative before it was not.

    kernel, library : whose call it is
    taken : "reference", or the alternative's name
    declined : names with their reasons

    >>> print(Choice("relu", "numpy", "reference", (("ReluInOnePass", "x has one element"),)))
    relu on numpy: reference
      not ReluInOnePass: x has one element
    """

    kernel: str
    library: str
    taken: str
    declined: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        lines = [f"{self.kernel} on {self.library}: {self.taken}"]
        lines += [f"  not {name}: {reason}" for name, reason in self.declined]
        return "\n".join(lines)


class _Dispatch:
    """A reference and the alternatives registered for it."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        self.forward = forward
        self.name = forward.__name__
        self.__doc__ = forward.__doc__
        self.__module__ = forward.__module__
        self.alternatives: dict[str, list[Alternative]] = {}
        self.in_float32: float16.InFloat32 | None = None
        """The pair for arrays of float16; None where they are taken as they are."""
        if self.name in _REGISTRY:
            raise ValueError(f"kernel {self.name}: defined twice, in {_REGISTRY[self.name].__module__} and here")
        _REGISTRY[self.name] = self

    def __repr__(self) -> str:
        return f"<kernel {self.name}>"

    def alternative(self, library: str, unless: Callable[..., str | None] | None = None) -> Callable[[Any], Any]:
        """Register a pair for ``library`` ("numpy", "cupy"); later registrations are tried first.

        ``unless(*arrays, **params)`` returns None to accept a call, or the reason to decline it, such as
        ``"N=3 is odd"``.
        """

        def register(pair: Any) -> Any:
            accept_all: Callable[..., str | None] = lambda *arrays, **params: None  # noqa: E731
            entry = Alternative(pair.__name__, library, pair, unless or accept_all)
            self.alternatives.setdefault(library, []).insert(0, entry)
            return pair

        return register

    def choose(self, xp: Any, arrays: Sequence[Any], params: dict[str, Any]) -> Any:
        """The pair that runs this call."""
        entries = self.alternatives.get(_library(xp))
        if entries is not None and not _reference_only.get():
            for entry in entries:
                if entry.unless(*arrays, **params) is None:
                    if entry.broken is not None and entry.broken(entry.pair) is not None:
                        continue
                    return entry.pair
        if self.in_float32 is not None and float16.all_half(xp, arrays):
            return self.in_float32
        return self

    def explain(self, *arrays: Any, **params: Any) -> Choice:
        """Which pair would run this call, and why the others would not."""
        xp = namespace(self.name, arrays)
        library = _library(xp)
        entries = self.alternatives.get(library, [])
        declined: list[tuple[str, str]] = []
        for entry in entries:
            reason = "reference_only() is on" if _reference_only.get() else entry.declines(*arrays, **params)
            if reason is None:
                return Choice(self.name, library, entry.name, tuple(declined))
            declined.append((entry.name, reason))
        if self.in_float32 is not None and float16.all_half(xp, arrays):
            wide = self.explain(*self.in_float32.widened(xp, arrays), **params)
            return Choice(self.name, library, f"{wide.taken}, in float32", (*declined, *wide.declined))
        return Choice(self.name, library, "reference", tuple(declined))


class Kernel(_Dispatch):
    """A differentiable kernel; calling it runs the forward pass alone and returns the output.

    >>> import numpy as np
    >>> from backends.reference.elementwise import relu
    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def __init__(self, forward: Callable[..., Any]) -> None:
        super().__init__(forward)
        self.in_float32 = float16.InFloat32(self)
        self.rounds_all = False
        """Whether all outputs for arrays of float16 are of float16, and not the first alone."""

    def backward(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Define the backward half; the rule takes this method's place.

        >>> import numpy as np
        >>> from backends.reference.elementwise import exp
        >>> x = np.array([0.0, 1.0])
        >>> y, saved = exp.forward(np, x, needed=(True,))
        >>> exp.backward(np, np.ones(2), saved, needed=(True,))[0] == y
        array([ True,  True])
        """
        self.backward = rule
        return rule

    def __call__(self, *arrays: Any, **params: Any) -> Any:
        xp = namespace(self.name, arrays)
        if xp is not NUMPY and (place := elsewhere(self.name, xp, arrays)) is not None:
            with place:
                return self(*arrays, **params)
        pair = self.choose(xp, arrays, params)
        return pair.forward(xp, *arrays, needed=(False,) * len(arrays), **params)[0]


class UpdateKernel(_Dispatch):
    """A kernel that writes into its first arrays; calling it runs it.

    >>> import numpy as np
    >>> from backends.reference.optim import sgd_
    >>> theta = np.array([1.0, 2.0])
    >>> sgd_(theta, np.array([10.0, 0.0]), lr=0.01)
    >>> theta
    array([0.9, 2. ])
    """

    def __call__(self, *arrays: Any, **params: Any) -> None:
        xp = namespace(self.name, arrays)
        if xp is not NUMPY and (place := elsewhere(self.name, xp, arrays)) is not None:
            with place:
                self(*arrays, **params)
            return
        self.choose(xp, arrays, params).forward(xp, *arrays, **params)


@functools.cache
def _library(xp: Any) -> str:
    """The name of a namespace's library, whose alternatives are imported at its first use."""
    library = name_of(xp)
    package = _ALTERNATIVES_OF.get(library)
    if package is not None and importlib.util.find_spec(package) is not None:
        importlib.import_module(package)
    return library


def kernel(forward: Callable[..., Any]) -> Kernel:
    """Make a kernel of its reference forward function; its ``.backward`` takes the other half.

    >>> @kernel
    ... def twice_of_the_doctest(xp, x, *, needed):
    ...     return 2 * x, None
    >>> @twice_of_the_doctest.backward
    ... def _(xp, dy, saved, *, needed):
    ...     return (2 * dy,)
    >>> twice_of_the_doctest(3.0)
    6.0
    """
    return Kernel(forward)


def update_kernel(forward: Callable[..., Any]) -> UpdateKernel:
    """Make an update kernel: its name ends in ``_`` and it writes into its first arrays.

    forward : the reference function

    >>> @update_kernel
    ... def halve_in_the_doctest_(xp, theta):
    ...     theta *= 0.5
    >>> import numpy as np
    >>> theta = np.array([1.0, 2.0])
    >>> halve_in_the_doctest_(theta)
    >>> theta
    array([0.5, 1. ])
    """
    if not forward.__name__.endswith("_"):
        raise ValueError(f"update kernel {forward.__name__}: the name of a kernel that writes must end in _")
    return UpdateKernel(forward)


def kernels() -> dict[str, _Dispatch]:
    """Every kernel defined so far, by name.

    >>> import backends.reference  # which defines them
    >>> {"linear", "conv2d", "adam_"} <= kernels().keys()
    True
    """
    return dict(_REGISTRY)


def explain(kernel: _Dispatch, /, *arrays: Any, **params: Any) -> Choice:
    """Which implementation of ``kernel`` would take this call, and why the others would not.

    arrays, params : of the call

    >>> import numpy as np
    >>> from backends.reference.linear import linear
    >>> with reference_only():
    ...     explain(linear, np.ones((2, 3)), np.ones((3, 4)), None).taken
    'reference'
    """
    return kernel.explain(*arrays, **params)


@contextmanager
def reference_only() -> Iterator[None]:
    """Inside, every kernel runs its reference: the oracle, and ``--device cpu-reference`` of the benchmarks.

    >>> import numpy as np
    >>> from backends.reference.linear import linear
    >>> x, w = np.ones((2, 3), np.float32), np.full((3, 4), 0.1, np.float32)
    >>> with reference_only():
    ...     oracle = linear(x, w, None)
    >>> bool(np.allclose(linear(x, w, None), oracle))
    True
    """
    token = _reference_only.set(True)
    try:
        yield
    finally:
        _reference_only.reset(token)
