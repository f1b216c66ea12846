"""What a case of a kernel is: its inputs, what an oracle says of them, and how near a result must come.

Nothing here calls the code under test, but for :func:`implementations`, which finds it.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import backends.reference  # noqa: F401  (defines the kernels)
from backends.dispatch import Kernel, kernels, reference_only
from backends.namespace import name_of


@dataclass(frozen=True)
class Tolerance:
    """How far a result may be from the oracle: ``units`` in the last place of its dtype, and why so many.

    They are units of each element, or of the largest element of the result where terms of both signs are summed.
    """

    units: float
    reason: str
    of_each: bool = False

    def check(self, actual: np.ndarray, expected: Any, context: str = "") -> None:
        """Raise AssertionError unless the shapes agree, and the values within the tolerance of ``actual``'s dtype."""
        share = self.share(actual, expected, context)
        assert share <= 1, (  # which NaN is not
            f"{context}: off by up to {share:.3g} times the {self.units:g} units allowed ({self.reason})\n"
            f"actual:\n{actual}\nexpected:\n{expected}"
        )

    def share(self, actual: np.ndarray, expected: Any, context: str = "") -> float:
        """The largest error as a part of what is allowed; infinite or NaN where only one of two is a finite number.

        Infinities and NaN are expected where the oracle has them. Other shapes are an AssertionError.
        """
        expected = np.asarray(expected, dtype=np.float64)
        assert actual.shape == expected.shape, f"{context}: shape {actual.shape}, expected {expected.shape}"
        if not expected.size:
            return 0.0
        dtype = np.finfo(actual.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = expected.astype(actual.dtype)  # what is beyond the dtype's range is an infinity in it
            special = ~np.isfinite(rounded)
            if not np.array_equal(actual[special], rounded[special], equal_nan=True):
                return math.inf
            finite = np.where(special, 0.0, expected)
            scale = np.abs(finite) if self.of_each else np.abs(finite).max()
            allowed = self.units * float(dtype.eps) * scale + float(dtype.smallest_normal)
            return float(np.max(np.abs(np.where(special, 0.0, actual.astype(np.float64)) - finite) / allowed))


EXACT = Tolerance(0, "elements are moved or chosen, nothing is computed", of_each=True)
ROUNDED = Tolerance(4, "a few correctly rounded operations an element", of_each=True)
FUNCTION = Tolerance(8, "exponentials and logarithms are good to a few units, here and in the oracle", of_each=True)
SUMS = Tolerance(64, "sums of up to a hundred terms, in another order")
NEARLY_CERTAIN = Tolerance(200_000, "of the target 1 the probability leaves 6e-6, the difference of two near numbers")
OFFSET = Tolerance(1000, "the mean is 500 standard deviations, so its rounding comes back 500 times as large")


@dataclass(frozen=True, eq=False)
class Case:
    """One call of a kernel.

    arrays : host arrays in float64, integers or bool, Python numbers, or None, as the kernel takes them
    oracle : (*arrays, **params) -> the output, or a tuple of outputs, as float64 arrays
    differentiable : positions of the arrays that have a gradient
    tolerance : of the outputs
    gradient_tolerance : of a gradient against the reference's in float64
    gradient : (dy, *arrays, **params) -> a gradient an array, where the one defined is not a limit of differences
    """

    kernel: str
    name: str
    arrays: tuple[Any, ...]
    params: dict[str, Any]
    oracle: Callable[..., Any]
    differentiable: tuple[int, ...]
    tolerance: Tolerance = SUMS
    gradient_tolerance: Tolerance = SUMS
    gradient: Callable[..., Any] | None = None

    def __str__(self) -> str:
        return f"{self.kernel}-{self.name}".replace(" ", "_")

    def host(self, dtype: str) -> list[Any]:
        """The arrays, fresh, with ``dtype`` in place of float64."""
        return [
            x.astype(dtype if x.dtype == np.float64 else x.dtype) if isinstance(x, np.ndarray) else x
            for x in self.arrays
        ]

    @functools.cache  # noqa: B019  the cases live as long as the process
    def expected(self, dtype: str) -> tuple[np.ndarray, ...]:
        """What the oracle says of the arrays once they are rounded to ``dtype``, in float64: one array an output."""
        return outputs(self.oracle(*widened(self.host(dtype)), **self.params))


def widened(arrays: list[Any]) -> list[Any]:
    """Host arrays with float64 in place of float32."""
    return [x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype == np.float32 else x for x in arrays]


def total(values: Any) -> float:
    """The sum without rounding; with infinities and NaN what adding one after the other gives."""
    values = [float(v) for v in values]
    return math.fsum(values) if all(map(math.isfinite, values)) else sum(values)


def average(values: list[float]) -> float:
    """The mean, of a sum without rounding."""
    return total(values) / len(values)


def largest(values: Any) -> float:
    """The largest, and NaN where one is."""
    values = list(values)
    return math.nan if any(v != v for v in values) else max(values)


def outputs(result: Any) -> tuple[Any, ...]:
    """The outputs of a kernel or an oracle as a tuple, also where there is only one."""
    return result if isinstance(result, tuple) else (result,)


def implementations(case: Case, xp: Any, arrays: list[Any], *, alternatives: bool = True) -> Iterator[tuple[str, Any]]:
    """The pairs that can run the case on ``arrays``, by name: the reference, then each alternative that accepts."""
    kernel = kernels()[case.kernel]
    assert isinstance(kernel, Kernel)
    kernel.choose(xp, arrays, case.params)  # the first call on a library imports its alternatives
    with reference_only():
        yield f"{case}, reference", kernel.choose(xp, arrays, case.params)
    for alternative in kernel.alternatives.get(name_of(xp), ()) if alternatives else ():
        reason = alternative.unless(*arrays, **case.params)
        if reason is None:
            yield f"{case}, {alternative.name}", alternative.pair
        else:
            assert isinstance(reason, str), f"{case}: {alternative.name} declines with {reason!r}, not with a reason"
            assert reason.strip(), f"{case}: {alternative.name} declines without a reason"


# --- inputs: recipes that a case's own generator carries out, so that no case changes another

Recipe = Callable[[np.random.Generator], np.ndarray]


def normal(*shape: int, mean: float = 0.0, scale: float = 1.0) -> Recipe:
    return lambda rng: np.asarray(mean + scale * rng.standard_normal(shape))


def away(*shape: int) -> Recipe:
    """Numbers of both signs, at least 0.3 from 0."""
    return lambda rng: np.asarray(rng.choice([-1.0, 1.0], shape) * (0.3 + rng.exponential(1.0, shape)))


def positive(*shape: int) -> Recipe:
    """Numbers of at least 0.3."""
    return lambda rng: np.asarray(0.3 + rng.exponential(1.0, shape))


def distinct(*shape: int) -> Recipe:
    """Numbers of both signs, any two at least 0.1 apart."""
    return lambda rng: 0.1 * (rng.permutation(math.prod(shape)).reshape(shape) - math.prod(shape) / 2 + 0.5)


def shares(*shape: int) -> Recipe:
    """Numbers in [0, 1)."""
    return lambda rng: rng.random(shape)


def integers(high: int, *shape: int, dtype: str = "int64") -> Recipe:
    return lambda rng: rng.integers(0, high, shape).astype(dtype)


def extreme(*shape: int) -> Recipe:
    """Logits of up to +-1e4, near-ties among them, and moderate ones."""
    values = [-1e4, 1e4, 1e4 - 0.5, -1e4 + 1.0, 0.0, 30.0]
    return lambda rng: rng.choice(values, shape) + 0.25 * rng.integers(0, 3, shape)


FAR_APART = [[1e4, 1e4 - 1.0, 0.0], [-1e4, -1e4 + 1.0, -1e4 + 0.5]]  # each row has a largest of its own
LOGITS = [[-1e4, -800.0, -30.0, -1.0], [1e4, 800.0, 30.0, 0.0]]


def case(
    kernel: str,
    name: str,
    /,
    *inputs: Any,
    oracle: Callable[..., Any],
    differentiable: tuple[int, ...] | None = None,
    tolerance: Tolerance = SUMS,
    gradient_tolerance: Tolerance = SUMS,
    gradient: Callable[..., Any] | None = None,
    **params: Any,
) -> Case:
    """A case from recipes, lists, arrays and numbers; by default each array of floats has a gradient."""
    rng = np.random.default_rng(zlib.crc32(f"{kernel}/{name}".encode()))
    arrays = tuple(x(rng) if callable(x) else np.array(x) if isinstance(x, list) else x for x in inputs)
    if differentiable is None:
        floats = [isinstance(x, np.ndarray) and x.dtype == np.float64 for x in arrays]
        differentiable = tuple(position for position, is_float in enumerate(floats) if is_float)
    return Case(kernel, name, arrays, params, oracle, differentiable, tolerance, gradient_tolerance, gradient)


def each(function: Callable[..., float]) -> Callable[..., np.ndarray]:
    """An oracle that goes through the elements one by one."""
    return lambda x, **params: np.array([function(v, **params) for v in x.ravel().tolist()]).reshape(x.shape)
