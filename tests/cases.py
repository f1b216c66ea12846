"""Each kernel's inputs, once: the table behind the tests of the reference kernels and of every alternative to them.

The oracles are SciPy, or loops over Python numbers; nothing here calls the code under test. Inputs lie well away from
kinks, so that central differences never step across one; cases on a kink carry the gradient that the kernel's docstring
defines.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from case import (
    EXACT,
    FAR_APART,
    FUNCTION,
    LOGITS,
    ROUNDED,
    Case,
    average,
    away,
    case,
    distinct,
    each,
    extreme,
    integers,
    largest,
    normal,
    positive,
    shares,
    total,
)
from convolution_cases import convolutions, fused_convolutions
from dense_cases import dense_layers
from filter_cases import filtering
from loss_cases import losses, penalties
from norm_cases import normalisations
from pool_cases import pools
from recurrent_cases import recurrences
from sampling_cases import samplings
from scipy import spatial, special

__all__ = ["CASES", "threefry_word"]

# --- arithmetic with broadcasting

OPERANDS: dict[str, tuple[Any, Any]] = {
    "equal shapes": (away(3, 4), away(3, 4)),
    "a row": (away(3, 4), away(4)),
    "a column": (away(3, 1), away(3, 4)),
    "both ways": (away(3, 1), away(1, 4)),
    "three axes": (away(2, 1, 3), away(4, 1)),
    "ones that stay": (away(1, 3), away(2, 1, 3)),
    "a 0-d array": (away(), away(2, 3)),
    "two 0-d arrays": (away(), away()),
    "a number after": (away(2, 3), 1.5),
    "a number before": (2.5, away(2, 3)),
    "an integer": (away(2, 3), 3),
    "no rows": (away(0, 3), away(3)),
}


def both(function: Callable[[float, float], float]) -> Callable[..., np.ndarray]:
    """An oracle that goes through two operands element by element."""

    def oracle(x: Any, y: Any) -> np.ndarray:
        x, y = np.broadcast_arrays(x, y)
        return np.array([function(float(a), float(b)) for a, b in zip(x.flat, y.flat, strict=True)]).reshape(x.shape)

    return oracle


def _exp(x: np.ndarray) -> np.ndarray:
    return np.exp2(x.astype(np.longdouble) * np.log2(np.exp(np.longdouble(1.0)))).astype(np.float64)


def _log(x: np.ndarray) -> np.ndarray:
    return (np.log2(x.astype(np.longdouble)) * np.log(np.longdouble(2.0))).astype(np.float64)


def _sqrt(x: np.ndarray) -> np.ndarray:
    return np.where(x < 0, np.nan, np.float_power(np.abs(x.astype(np.longdouble)), 0.5)).astype(np.float64)


def arithmetic() -> Iterator[Case]:
    for name, operands in OPERANDS.items():
        yield case("add", name, *operands, oracle=both(lambda a, b: total((a, b))), tolerance=ROUNDED)
        yield case("subtract", name, *operands, oracle=both(lambda a, b: total((a, -b))), tolerance=ROUNDED)
        yield case("multiply", name, *operands, oracle=both(lambda a, b: a * b), tolerance=ROUNDED)
        yield case(
            "divide", name, *operands, oracle=both(lambda a, b: float(np.float64(a) / np.float64(b))), tolerance=ROUNDED
        )
    for exponent in (0, 1, 2, 3, -1, -2, 0.5, 2.5, -1.5):
        base = away(2, 3) if isinstance(exponent, int) else positive(2, 3)
        powers = each(lambda v, exponent: v**exponent)
        yield case("power", f"exponent {exponent}", base, exponent=exponent, oracle=powers, tolerance=FUNCTION)
    for exponent, slope in ((0, 0.0), (1, 1.0), (2, 0.0)):
        yield case(
            "power", f"zero to the {exponent}", [0.0, -0.0], exponent=exponent, tolerance=EXACT,
            oracle=each(lambda v, exponent: v**exponent),
            gradient=lambda dy, x, exponent, slope=slope: (dy * slope,),
        )  # fmt: skip
    yield case("negative", "both signs", away(2, 3), oracle=each(lambda v: 0.0 - v), tolerance=EXACT)
    yield case("exp", "both signs", away(2, 3), oracle=_exp, tolerance=FUNCTION)
    yield case("exp", "large and small", [-80.0, 0.0, 80.0], oracle=_exp, tolerance=FUNCTION)
    yield case("log", "positive", positive(2, 3), oracle=_log, tolerance=FUNCTION)
    yield case("sqrt", "positive", positive(2, 3), oracle=_sqrt, tolerance=ROUNDED)
    yield case("absolute", "both signs", away(2, 3), oracle=each(math.fabs), tolerance=EXACT)
    yield case(
        "absolute", "at zero", [0.0, -0.0, 2.0], oracle=each(math.fabs), tolerance=EXACT,
        gradient=lambda dy, x: (dy * [0.0, 0.0, 1.0],),
    )  # fmt: skip


def _where(condition: Any, x: Any, y: Any) -> np.ndarray:
    condition, x, y = np.broadcast_arrays(condition, x, y)
    picked = [a if c else b for c, a, b in zip(condition.flat, x.flat, y.flat, strict=True)]
    return np.array(picked, dtype=np.float64).reshape(condition.shape)


def conditions() -> Iterator[Case]:
    mixed = [[True, False, True], [False, True, False]]
    yield case("where", "equal shapes", mixed, normal(2, 3), normal(2, 3), oracle=_where, tolerance=EXACT)
    yield case("where", "all broadcast", [[True], [False]], normal(3), normal(4, 1, 1), oracle=_where, tolerance=EXACT)
    yield case("where", "a number and an array", mixed, 0.5, normal(3), oracle=_where, tolerance=EXACT)
    yield case("where", "an array and a number", mixed, normal(2, 1), 0.0, oracle=_where, tolerance=EXACT)


# --- activations

SHAPES = ((2, 3), (7,), (2, 3, 2, 2), ())


def activations() -> Iterator[Case]:
    relu = each(lambda v: largest((0.0, v)))
    leaky = each(lambda v, alpha: v if v > 0 else alpha * v if alpha else largest((0.0, v)))
    for shape in SHAPES:
        yield case("relu", f"shape {shape}", away(*shape), oracle=relu, tolerance=EXACT)
        yield case("leaky_relu", f"shape {shape}", away(*shape), alpha=0.01, oracle=leaky, tolerance=ROUNDED)
        yield case("sigmoid", f"shape {shape}", normal(*shape, scale=3.0), oracle=special.expit, tolerance=FUNCTION)
        yield case("tanh", f"shape {shape}", normal(*shape), oracle=each(math.tanh), tolerance=FUNCTION)
    for alpha in (0.0, 0.5):
        yield case("leaky_relu", f"alpha {alpha}", away(2, 3), alpha=alpha, oracle=leaky, tolerance=ROUNDED)
    on_kink = [-1.0, -0.0, 0.0, 1.0]
    yield case(
        "relu", "at zero", on_kink, oracle=relu, tolerance=EXACT,
        gradient=lambda dy, x: (dy * [0.0, 0.0, 0.0, 1.0],),
    )  # fmt: skip
    yield case(
        "leaky_relu", "at zero", on_kink, alpha=0.25, oracle=leaky, tolerance=ROUNDED,
        gradient=lambda dy, x, alpha: (dy * [alpha, alpha, alpha, 1.0],),
    )  # fmt: skip
    yield case("sigmoid", "extreme", LOGITS, oracle=special.expit, tolerance=FUNCTION)
    yield case("tanh", "extreme", LOGITS, oracle=each(math.tanh), tolerance=FUNCTION)

    softmax, log_softmax = (lambda x: special.softmax(x, axis=-1)), (lambda x: special.log_softmax(x, axis=-1))
    for shape in ((3, 4), (5,), (2, 3, 4), (3, 1), (1, 6)):
        yield case("softmax", f"shape {shape}", normal(*shape), oracle=softmax)
        yield case("log_softmax", f"shape {shape}", normal(*shape), oracle=log_softmax)
    for name, logits in (("extreme", extreme(6, 4)), ("rows far apart", FAR_APART)):
        yield case("softmax", name, logits, oracle=softmax)
        yield case("log_softmax", name, logits, oracle=log_softmax)
    yield case("softmax", "equal", [[3.0] * 3, [-1e4] * 3], oracle=lambda x: np.full(x.shape, 1 / 3))


# --- reductions


def reduced(fold: Callable[[list[float]], float]) -> Callable[..., np.ndarray]:
    """An oracle that collects, for each place of the result, the elements that fall on it."""

    def oracle(x: np.ndarray, *, axis: Any, keepdims: bool) -> np.ndarray:
        axes = range(x.ndim) if axis is None else [a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))]
        groups: dict[tuple[int, ...], list[float]] = {}
        for place in np.ndindex(x.shape):
            groups.setdefault(tuple(0 if a in axes else i for a, i in enumerate(place)), []).append(float(x[place]))
        kept = [1 if a in axes else n for a, n in enumerate(x.shape)]
        result = np.array([fold(groups[place]) for place in np.ndindex(*kept)])
        return result.reshape(kept if keepdims else [n for a, n in enumerate(x.shape) if a not in axes])

    return oracle


def reductions() -> Iterator[Case]:
    for axis, keepdims in itertools.product((None, 0, 1, -1, (0, 2), (-1, 0), (0, 1, 2)), (False, True)):
        name, how = f"axis {axis}{' kept' * keepdims}", {"axis": axis, "keepdims": keepdims}
        yield case("sum_", name, normal(2, 3, 4), oracle=reduced(total), **how)
        yield case("mean", name, normal(2, 3, 4), oracle=reduced(average), **how)
        yield case("max_", name, distinct(2, 3, 4), oracle=reduced(largest), tolerance=EXACT, **how)
    yield case("sum_", "a vector", normal(5), axis=0, keepdims=False, oracle=reduced(total))
    yield case("mean", "one element", normal(1, 1), axis=(0, 1), keepdims=False, oracle=reduced(average))
    yield case(
        "max_", "equal largest share", [[2.0, 1.0, 2.0], [0.0, 0.0, 0.0]], axis=1, keepdims=False,
        oracle=reduced(largest), tolerance=EXACT,
        gradient=lambda dy, x, axis, keepdims: (dy[:, None] * [[1 / 2, 0.0, 1 / 2], [1 / 3, 1 / 3, 1 / 3]],),
    )  # fmt: skip


# --- rearrangements


def _transpose(x: np.ndarray, *, axes: tuple[int, ...]) -> np.ndarray:
    y = np.empty([x.shape[a] for a in axes])
    for place in np.ndindex(x.shape):
        y[tuple(place[a] for a in axes)] = x[place]
    return y


def _concat(*arrays: np.ndarray, axis: int) -> np.ndarray:
    rows = [row for x in arrays for row in x.swapaxes(0, axis).tolist()]
    return np.array(rows).swapaxes(0, axis)


def _getitem(x: np.ndarray, *, key: Any) -> np.ndarray:
    numbers = np.arange(x.size).reshape(x.shape)[key]  # NumPy's indexing is the definition; values come one by one
    return np.array([x.ravel().tolist()[i] for i in np.ravel(numbers)]).reshape(np.shape(numbers))


RESHAPES = (((2, 3, 4), (6, 4)), ((2, 3, 4), (24,)), ((6,), (2, 3)), ((1, 1), ()), ((), (1, 1)), ((2, 3), (3, -1)))
KEYS: dict[str, Any] = {
    "an integer": 1,
    "a negative integer": -1,
    "integers for all axes": (1, 2, 3),
    "a slice": slice(1, 3),
    "a stride": (slice(None), slice(None, None, 2)),
    "backwards": (slice(None, None, -1), slice(None), slice(3, 0, -2)),
    "an integer between slices": (slice(None), 1, slice(1, None)),
    "dots": (..., 0),
    "a new axis": (None, slice(0, 2)),
    "dots and a new axis": (..., None, slice(1, 3)),
    "nothing": slice(2, 2),
    "all": ...,
}


def rearrangements() -> Iterator[Case]:
    for shape, new in RESHAPES:
        values = lambda x, shape: np.array(x.ravel().tolist()).reshape(shape)  # noqa: E731
        yield case("reshape", f"{shape} to {new}", normal(*shape), shape=new, oracle=values, tolerance=EXACT)
    for axes in itertools.permutations(range(3)):
        yield case("transpose", f"axes {axes}", normal(2, 3, 4), axes=axes, oracle=_transpose, tolerance=EXACT)
    yield case("transpose", "a matrix", normal(2, 3), axes=(1, 0), oracle=_transpose, tolerance=EXACT)
    for name, axis, shapes in (
        ("rows", 0, [(2, 3), (1, 3)]),
        ("three arrays", 1, [(2, 3), (2, 1), (2, 2)]),
        ("the last axis", -1, [(2, 2, 3), (2, 2, 1)]),
        ("an axis from the end", -2, [(2, 1, 3), (2, 2, 3)]),
        ("one array", 0, [(2, 3)]),
        ("an empty array", 0, [(0, 3), (2, 3)]),
    ):
        inputs = [normal(*shape) for shape in shapes]
        yield case("concat", name, *inputs, axis=axis, oracle=_concat, tolerance=EXACT)
    for name, key in KEYS.items():
        yield case("getitem", name, normal(3, 4, 5), key=key, oracle=_getitem, tolerance=EXACT)


# --- products


def _matmul(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x, y = np.broadcast_to(x, (*batch, *x.shape[-2:])), np.broadcast_to(y, (*batch, *y.shape[-2:]))
    product = np.empty((*batch, x.shape[-2], y.shape[-1]))
    for *place, i, k in np.ndindex(product.shape):
        product[(*place, i, k)] = total(x[(*place, i)] * y[(*place, slice(None), k)])
    return product


def _linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    y = _matmul(x.reshape(-1, x.shape[-1]), w).reshape(*x.shape[:-1], w.shape[1])
    return y if b is None else y + b


def _embedding(w: np.ndarray, ids: np.ndarray) -> np.ndarray:
    return np.array([w[i].tolist() for i in ids.ravel().tolist()]).reshape(*ids.shape, *w.shape[1:])


def powers() -> Iterator[Case]:
    for name, x, y in (
        ("equal shapes", positive(3, 4), away(3, 4)),
        ("a row", positive(3, 4), away(4)),
        ("a column", positive(3, 1), away(3, 4)),
        ("a number before", 2.5, away(2, 3)),
        ("0-d arrays", positive(), away()),
        ("no rows", positive(0, 3), away(3)),
    ):
        yield case("power_of", name, x, y, oracle=np.power, tolerance=FUNCTION)


def products() -> Iterator[Case]:
    yield case("matmul", "matrices", normal(3, 4), normal(4, 5), oracle=_matmul)
    yield case("matmul", "one row", normal(1, 4), normal(4, 1), oracle=_matmul)
    yield case("matmul", "a batch", normal(2, 3, 4), normal(2, 4, 5), oracle=_matmul)
    yield case("matmul", "a matrix on a batch", normal(3, 4), normal(2, 4, 5), oracle=_matmul)
    yield case("matmul", "a batch on a matrix", normal(2, 3, 4), normal(4, 2), oracle=_matmul)
    yield case("matmul", "batches that broadcast", normal(2, 1, 3, 4), normal(3, 4, 2), oracle=_matmul)
    for name, x, k in (
        ("a batch", (4, 3), 5),
        ("one example", (1, 3), 2),
        ("one feature, one unit", (4, 1), 1),
        ("sequences", (2, 3, 4), 2),
        ("four axes", (2, 1, 3, 4), 2),
        ("no examples", (0, 3), 2),
    ):
        yield case("linear", name, normal(*x), normal(x[-1], k), normal(k), oracle=_linear)
        yield case("linear", f"{name}, no bias", normal(*x), normal(x[-1], k), None, oracle=_linear)
    for name, w, ids in (
        ("repeated ids", (5, 3), [1, 4, 1, 1, 0]),
        ("sequences", (5, 3), integers(5, 2, 4)),
        ("int32", (5, 3), integers(5, 4, dtype="int32")),
        ("one id", (4, 2), [3]),
        ("one symbol", (1, 2), [0, 0, 0]),
        ("a vector as table", (5,), [2, 2, 0]),
        ("matrices as rows", (4, 2, 3), [3, 0, 3]),
        ("no ids", (4, 2), integers(4, 0)),
        ("a table of many rows", (300, 3), [7, 299, 7, 0, 7, 7, 8, 299]),
        ("many rows, uint8", (300, 2), integers(256, 40, dtype="uint8")),
        ("many rows, matrices", (257, 2, 2), integers(257, 2, 3)),
        ("many rows, no ids", (300, 2), integers(300, 0)),
    ):
        yield case("embedding", name, normal(*w), ids, oracle=_embedding, tolerance=EXACT)


# --- dropout, embeddings and dense layers


def threefry_word(key: tuple[int, int], row: int, column: int) -> int:
    """One random word, by the definition: Threefry-2x32 of 20 rounds, on the counter (row, column // 2)."""
    schedule = (*key, 0x1BD11BDA ^ key[0] ^ key[1])
    x = [row, column // 2]
    for round_ in range(21):
        if round_ % 4 == 0:  # before every fourth round, and after the last
            s = round_ // 4
            x = [(x[0] + schedule[s % 3]) % 2**32, (x[1] + schedule[(s + 1) % 3] + s) % 2**32]
        if round_ < 20:
            turn, word = (13, 15, 26, 6, 17, 29, 16, 24)[round_ % 8], f"{x[1]:032b}"
            x[0] = (x[0] + x[1]) % 2**32
            x[1] = int(word[turn:] + word[:turn], 2) ^ x[0]
    return x[column % 2]


def _dropout(x: np.ndarray, *, rate: float, key: tuple[int, int], first_row: int) -> np.ndarray:
    rows = x.reshape(len(x), -1)
    kept = [
        [threefry_word(key, first_row + r, c) >= math.floor(rate * 2**32) for c in range(rows.shape[1])]
        for r in range(len(rows))
    ]
    return np.where(kept, rows, 0.0).reshape(x.shape) / (1.0 - rate)


def layers() -> Iterator[Case]:
    for rate in (0.0, 0.1, 0.5, 0.9, 0.999):
        yield case(
            "dropout", f"rate {rate}", away(6, 7), rate=rate, key=(0xC0FFEE, 7), first_row=0, oracle=_dropout,
            tolerance=ROUNDED,
        )  # fmt: skip
    for name, shape, first_row in (("images", (2, 3, 3, 2), 5), ("a vector", (9,), 0), ("far rows", (3, 4), 2**31)):
        yield case(
            "dropout", name, away(*shape), rate=0.4, key=(0, 2**32 - 1), first_row=first_row, oracle=_dropout,
            tolerance=ROUNDED,
        )  # fmt: skip


# --- distances


def distances() -> Iterator[Case]:
    l1 = lambda a, b: spatial.distance.cdist(a, b, "cityblock")  # noqa: E731
    l2 = lambda a, b: spatial.distance.cdist(a, b, "sqeuclidean")  # noqa: E731
    for name, a, b in (
        ("a few", normal(4, 5), normal(3, 5)),
        ("one with one", normal(1, 4), normal(1, 4)),
        ("one feature", normal(3, 1), normal(4, 1)),
        ("images", shares(2, 64), shares(3, 64)),
        ("no queries", normal(0, 3), normal(2, 3)),
    ):
        yield case("l1_distances", name, a, b, oracle=l1, differentiable=())
        yield case("squared_distances", name, a, b, oracle=l2, differentiable=())
    levels = lambda *shape: lambda rng: rng.integers(0, 256, shape).astype(float)  # noqa: E731
    for kernel, oracle in (("l1_distances", l1), ("squared_distances", l2)):  # whole numbers: nothing is rounded
        yield case(kernel, "pixels", levels(3, 60), levels(4, 60), oracle=oracle, differentiable=(), tolerance=EXACT)
        yield case(
            kernel, "the same row", [[3.0, 4.0]], [[3.0, 4.0], [0.0, 0.0]], oracle=oracle, differentiable=(),
            tolerance=EXACT,
        )  # fmt: skip


CASES: list[Case] = [
    *arithmetic(),
    *conditions(),
    *dense_layers(),
    *activations(),
    *reductions(),
    *rearrangements(),
    *powers(),
    *products(),
    *convolutions(),
    *fused_convolutions(),
    *pools(),
    *filtering(),
    *layers(),
    *normalisations(),
    *recurrences(),
    *losses(),
    *penalties(),
    *samplings(),
    *distances(),
]
