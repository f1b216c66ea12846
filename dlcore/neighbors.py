"""Nearest neighbours: a classifier that learns by heart (notes 4.1).

Its training is O(1) and its prediction O(n), the wrong way round: a network takes its time once, and then answers at
once however much it has seen.

How the distances are computed decides which neighbour is the nearer of two. Pixels are whole numbers or k/255, many
distances between them are equal, and rounding would put them in any order. Therefore values k/255 are held as the k,
in a byte each, and everything is computed in float64, where sums of such numbers are exact. For any other numbers the
squared distance by products (:mod:`backends.reference.distance`) finds a few more candidates than are asked for, and
differences decide among them. Where the rounding of the products may have left a neighbour out, because features of
very different scale decide or many rows are as near as each other, differences to all rows decide. Rows that are equal
are so at equal distances, and the earlier one wins.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from backends.array_ops import device_of, smallest
from backends.namespace import isdtype, namespace_of
from backends.reference.distance import l1_distances, squared_distances
from backends.runtime import copies
from backends.runtime.device import Device, resolve
from dlcore._core.arrays import beyond_int64
from dlcore._core.configurable import Recorded, did_you_mean
from dlcore._core.validation import whole
from dlcore.errors import ConfigError, DataError, DeviceError, ShapeError

__all__ = ["KNNClassifier"]


def __dir__() -> list[str]:
    return sorted(__all__)


MIB = 2**20
METRICS = ("l1", "l2")
WEIGHTS = ("uniform", "distance")

_LARGEST = 1e150
"""Of a value: its square is still a number."""

_SPARE = 8
"""Candidates beyond k among which differences decide, in case that the products have rounded two into wrong order."""

_PIECE = 2 * MIB
"""Bytes of the differences of an L1 distance at a time: what a processor's cache holds."""


class KNNClassifier(Recorded):
    """The label that most of the k nearest training examples have.

    The distance of two examples is that of all their numbers in a row: L1 = Σ |a − b|, or L2 = √Σ (a − b)². Neighbours
    at equal distances come in the order of the training set. Where labels have equal votes, the smallest one wins.

    k : how many neighbours vote; with 1, the nearest alone decides
    metric : "l1" (Manhattan) or "l2" (Euclidean)
    weights : "uniform", a vote each, or "distance", 1/distance votes each; where neighbours are at distance 0, they
        alone vote, one vote each
    memory : bytes that :meth:`predict` may hold at a time besides its argument and the training set
    device : where the distances are computed, as everywhere

    Raises ConfigError for arguments out of range.

    >>> classifier = KNNClassifier(k=3, metric="l1", device="cpu").fit([[0.0], [1.0], [7.0], [9.0]], [0, 0, 1, 1])
    >>> classifier.predict([[2.0], [6.0]]).tolist()
    [0, 1]
    >>> distances, positions = classifier.neighbors([[2.0]])
    >>> distances.tolist(), positions.tolist()
    ([[1.0, 2.0, 5.0]], [[1, 0, 2]])

    Source: notes, 4.1.
    """

    def __init__(
        self,
        k: int = 5,
        metric: str = "l2",
        weights: str = "uniform",
        memory: int = 256 * MIB,
        device: str | Device | None = None,
    ) -> None:
        self.k = whole("KNNClassifier", "k", k, 1)
        self.metric = _choice("metric", metric, METRICS)
        self.weights = _choice("weights", weights, WEIGHTS)
        self.memory = whole("KNNClassifier", "memory", memory, 1)
        self.device = resolve(device)
        self._x: Any = None  # (N, D), as it came or as levels of 255
        self._unit = 1  # what a value is multiplied by to give what is held
        self._centre: Any = None  # (D,)
        self._reach: Any = None  # the largest squared length of a centred row, 0-d
        self._whole = False  # whether all that is held are whole numbers, whose products are exact
        self._shape: tuple[int, ...] = ()
        self.classes = np.zeros(0, np.int64)
        self._labels = np.zeros(0, np.int64)  # (N,), positions in classes

    def fit(self, x: Any, y: Any = None) -> KNNClassifier:
        """Memorise a training set; returns the classifier.

        x : (N, ...) real numbers of any dtype, images or tables; kept as it is, so leave it alone afterwards. Or a
            Dataset, in place of both
        y : (N,) whole numbers, of any size and sign

        Raises DataError for NaN, infinity or labels that are not whole numbers, ShapeError where x and y do not fit,
        ConfigError for fewer than k examples, and where ``memory`` is too small for examples of this size.
        """
        x, y = _pair(x, y)
        rows = self._rows(x)
        labels = _labels(y, x.shape[0])
        n, features = rows.shape
        if self.k > n:
            raise ConfigError(f"KNNClassifier: k is {self.k} but there are {n} training examples; lower k")
        need = least_memory(self.k, features)
        if self.memory < need:
            raise ConfigError(
                f"KNNClassifier: memory is {self.memory:,} bytes but examples of {features:,} numbers need at least "
                f"{need:,}"
            )
        fitted = copy.copy(self)  # who asks meanwhile, in another thread, gets an answer of the former training set
        fitted._shape = tuple(x.shape[1:])
        fitted.classes, fitted._labels = np.unique(labels, return_inverse=True)
        with self.device.active():
            fitted._memorise(rows)
        self.__dict__ = fitted.__dict__
        return self

    def predict(self, x: Any) -> np.ndarray:
        """The label of each example: (Q, ...) -> (Q,) int64. Raises as :meth:`neighbors`.

        x : (Q, ...) real numbers, examples of the training set's shape

        >>> KNNClassifier(k=1, device="cpu").fit([[0.0], [9.0]], [-5, 70]).predict([[1.0], [8.0], [4.5]]).tolist()
        [-5, 70, -5]
        """
        known = copy.copy(self)
        parts = [known.classes[np.argmax(votes, axis=1)] for votes in known._votes(x)]  # of equals the smallest label
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def predict_proba(self, x: Any) -> np.ndarray:
        """The share of the votes for each label: (Q, ...) -> (Q, K) float64, columns as in ``classes``.

        x : (Q, ...) real numbers, examples of the training set's shape

        Raises as :meth:`neighbors`.

        >>> classifier = KNNClassifier(k=2, device="cpu").fit([[0.0], [1.0], [9.0]], [4, 6, 6])
        >>> classifier.predict_proba([[0.2], [8.0]]).tolist()
        [[0.5, 0.5], [0.0, 1.0]]
        """
        known = copy.copy(self)
        parts = [votes / votes.sum(axis=1, keepdims=True) for votes in known._votes(x)]
        return np.concatenate([np.zeros((0, len(known.classes))), *parts])

    def score(self, x: Any, y: Any = None) -> float:
        """The share of examples whose label is predicted; x may be a Dataset, in place of both.

        y : (Q,) labels

        >>> classifier = KNNClassifier(k=1, device="cpu").fit([[0.0], [9.0]], [0, 1])
        >>> classifier.score([[1.0], [8.0], [7.0], [2.0]], [0, 1, 1, 1])
        0.75
        >>> classifier.nbytes
        16
        """
        x, y = _pair(x, y)
        y = _labels(y, x.shape[0])
        return float(np.mean(self.predict(x) == y))

    def neighbors(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest training examples of each example, the nearest first.

        x : (Q, ...) real numbers, examples of the training set's shape

        Returns distances (Q, k) float64 and positions in the training set (Q, k) int64, on the host. Raises
        ConfigError before :meth:`fit`, ShapeError for examples of another shape, DataError for NaN and infinity.
        """
        parts = list(copy.copy(self)._search(x))
        distances = [np.zeros((0, self.k)), *(part[0] for part in parts)]
        positions = [np.zeros((0, self.k), np.int64), *(part[1] for part in parts)]
        return np.concatenate(distances), np.concatenate(positions)

    # --- the training set

    @property
    def nbytes(self) -> int:
        """Bytes that the memorised examples take, without their labels; 0 before :meth:`fit`."""
        return 0 if self._x is None else int(self._x.size) * int(self._x.dtype.itemsize)

    def _rows(self, x: Any) -> Any:
        """(N, ...) numbers on the host or a device -> (N, D) on this one."""
        xp = namespace_of(x)
        if not any(isdtype(xp, x.dtype, kind) for kind in ("real floating", "integral", "bool")):
            raise DataError(f"KNNClassifier: x holds {x.dtype} but real numbers are expected; encode names as numbers")
        if x.ndim < 2:
            raise ShapeError(f"KNNClassifier: x has shape {tuple(x.shape)} but (N, ...) is expected, a row an example")
        if 0 in x.shape[1:]:
            raise DataError(f"KNNClassifier: x has shape {tuple(x.shape)}, no features; give each example a number")
        x = copies.to_device(x, self.device)
        return self.device.xp.reshape(x, (x.shape[0], -1 if x.size else 0))

    def _memorise(self, rows: Any) -> None:
        xp = self.device.xp
        step = max(1, self.memory // (64 * max(1, rows.shape[1])))
        parts = [rows[some, :] for some in _blocks(rows.shape[0], step)]
        total = xp.zeros(rows.shape[1], dtype=xp.float64, device=device_of(rows))
        for part in parts:
            total += xp.sum(self._finite(xp.astype(part, xp.float64)), axis=0)
        is_levels = rows.dtype in (xp.float32, xp.float64) and all(map(self._is_levels, parts))
        self._unit = 255 if is_levels else 1
        mean = total * self._unit / rows.shape[0]
        whole = is_levels or not isdtype(xp, rows.dtype, "real floating") or all(map(self._is_whole, parts))
        self._centre = xp.round(mean) if whole else mean  # whole numbers stay whole
        if self.metric == "l2" and rows.shape[0]:
            centred = ((xp.astype(part, xp.float64) * self._unit - self._centre) for part in parts)
            self._reach = xp.max(xp.stack([xp.max(_squares(xp, part)) for part in centred]))
            self._whole = whole
        levels = [xp.astype(xp.round(part * 255), xp.uint8) for part in parts] if is_levels else []
        self._x = xp.concat(levels, axis=0) if is_levels else rows

    def _is_whole(self, part: Any) -> bool:
        xp = self.device.xp
        return bool(xp.all(part == xp.round(part)))

    def _is_levels(self, part: Any) -> bool:
        """Whether all values are k/255, as near as the dtype has them."""
        xp = self.device.xp
        levels = part * 255
        near = xp.abs(levels - xp.round(levels)) <= 4 * float(xp.finfo(part.dtype).eps) * levels
        return bool(xp.all(near & (part >= 0) & (part <= 1)))  # what is not 0 is no level 0, however small

    def _finite(self, values: Any) -> Any:
        xp = self.device.xp
        if values.shape[0] and values.shape[1] and not bool(xp.all(xp.abs(values) < _LARGEST)):  # as NaN is not
            raise DataError("KNNClassifier: x holds NaN, infinity or values beyond 1e150; drop or fill such rows")
        return values

    # --- the search

    def _search(self, x: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Distances and positions of the neighbours, (q, k) each, for some queries at a time."""
        if self._x is None:
            raise ConfigError("KNNClassifier: there is no training set yet; call fit first")
        x = _array(x)
        if tuple(x.shape[1:]) != self._shape and x.shape[1:] != self._x.shape[1:]:
            raise ShapeError(
                f"KNNClassifier: x has shape {tuple(x.shape)} but the training examples have {self._shape}; give "
                "(Q, ...) of the same"
            )
        with self.device.active():
            q, n = self._plan()
            for some in _blocks(x.shape[0], q):
                distances, positions = self._nearest(self._queries(self._rows(x[some, ...])), n)
                yield copies.to_host(distances), copies.to_host(positions)

    def _plan(self) -> tuple[int, int]:
        """How many queries and training rows are compared at a time.

        A quarter of the memory is for the rows in float64 and what is made of them, a quarter for the queries, and a
        quarter for their distances and what it takes to sort these.
        """
        rows, features = self._x.shape
        quarter, row = self.memory // 4, 32 * max(1, features)
        n = max(1, min(rows, quarter // row))
        q = max(1, min(quarter // row, quarter // (64 * (n + 2 * self._candidates() + len(self.classes)))))
        return q, n

    def _candidates(self) -> int:
        return self.k if self.metric == "l1" else min(self.k + _SPARE, self._x.shape[0])

    def _queries(self, rows: Any) -> Any:
        """Queries in the unit of what is held, as float64; where they are k/255 too, as exactly the k."""
        xp = self.device.xp
        values = self._finite(xp.astype(rows, xp.float64))
        if self._unit == 1:
            return values
        values = values * self._unit
        levels = xp.round(values)
        eps = float(xp.finfo(rows.dtype).eps) if rows.dtype in (xp.float32, xp.float64) else 0.0
        return xp.where(xp.abs(values - levels) <= 4 * eps * xp.abs(levels), levels, values)

    def _nearest(self, queries: Any, n: int) -> tuple[Any, Any]:
        """(q, D) -> distances and positions (q, k), from n rows of the training set at a time."""
        if self.metric == "l1":
            distances, positions = self._found(queries, n, self.k, self._l1)
            return distances / self._unit, positions
        products, candidates = self._found(queries - self._centre, n, self._candidates(), self._products)
        distances, positions = self._decided(queries, candidates)
        doubtful = self._doubtful(queries, products, distances)
        if doubtful.size:
            xp, order = self.device.xp, np.arange(queries.shape[0])
            order[doubtful] = len(order) + np.arange(doubtful.size)
            chosen, order = copies.to_device(doubtful, self.device), copies.to_device(order, self.device)
            found = self._found(xp.take(queries, chosen, axis=0), n, self.k, self._differences)
            distances = xp.take(xp.concat([distances, xp.sqrt(found[0])], axis=0), order, axis=0)
            positions = xp.take(xp.concat([positions, found[1]], axis=0), order, axis=0)
        return distances / self._unit, positions

    def _found(self, queries: Any, n: int, wanted: int, measure: Any) -> tuple[Any, Any]:
        """The smallest of ``measure(queries, rows)`` and where they stand, (q, wanted): a running merge of the best."""
        xp = self.device.xp
        best: list[tuple[Any, Any]] = []
        for some in _blocks(self._x.shape[0], n):
            distances = measure(queries, xp.astype(self._x[some, :], xp.float64))
            found, places = smallest(xp, distances, min(wanted, distances.shape[1]))
            best.append((found, places + some.start))
            if len(best) == 2:  # what came first stands on the left, and wins where distances are equal
                values, positions = (xp.concat(both, axis=-1) for both in zip(*best, strict=True))
                found, places = smallest(xp, values, min(wanted, values.shape[1]))
                best = [(found, xp.take_along_axis(positions, places, axis=-1))]
        return best[0]

    def _products(self, queries: Any, rows: Any) -> Any:
        """Squared distances (q, n) of centred queries by products."""
        rows -= self._centre
        return squared_distances(queries, rows)

    def _l1(self, queries: Any, rows: Any) -> Any:
        return self._in_pieces(l1_distances, queries, rows)

    def _differences(self, queries: Any, rows: Any) -> Any:
        """Squared distances (q, n) by differences."""
        return self._in_pieces(lambda a, b: _squares(self.device.xp, b[None, :, :] - a[:, None, :]), queries, rows)

    def _in_pieces(self, measure: Any, queries: Any, rows: Any) -> Any:
        """(q, D), (n, D) -> (q, n), of a measure that holds all differences at a time."""
        xp = self.device.xp
        (q, features), n = queries.shape, rows.shape[0]
        numbers = max(1, min(_PIECE, self.memory // 16) // (8 * max(1, features)))
        down = max(1, min(8, numbers))
        across = max(1, numbers // down)
        distances = xp.empty((q, n), dtype=xp.float64, device=device_of(rows))
        for some in _blocks(q, down):
            for others in _blocks(n, across):
                distances[some, others] = measure(queries[some, :], rows[others, :])
        return distances

    def _doubtful(self, queries: Any, products: Any, distances: Any) -> np.ndarray:
        """The queries, by number, of which a row that is no candidate may be as near as the last neighbour.

        Such a row has a product of at least the largest among the candidates', and a product is off by the rounding of
        D + 3 terms of the size of both lengths, and of the centring. Whole numbers are not rounded at all.
        """
        xp, (rows, features) = self.device.xp, self._x.shape
        if products.shape[1] == rows:
            return np.zeros(0, np.int64)
        lengths = _squares(xp, queries - self._centre) + self._reach
        off = 8.0 * (features + 8) * float(xp.finfo(xp.float64).eps) * lengths
        if self._whole:
            whole = xp.all(queries == xp.round(queries), axis=-1) & (4.0 * lengths < 2.0**53)
            off = xp.where(whole, xp.full_like(off, -1.0), off)
        doubtful = distances[:, -1] ** 2 >= xp.max(products, axis=-1) - off
        return np.flatnonzero(copies.to_host(doubtful))

    def _decided(self, queries: Any, positions: Any) -> tuple[Any, Any]:
        """The k nearest among candidates (q, m), by L2 distances (q, k) from differences."""
        xp, (q, m) = self.device.xp, positions.shape
        positions = xp.sort(positions, axis=-1)  # of equal ones the earlier comes first
        step = max(1, self.memory // (4 * 32 * m * max(1, self._x.shape[1])))
        parts = []
        for some in _blocks(q, step):
            chosen = positions[some, :]
            rows = xp.astype(xp.take(self._x, xp.reshape(chosen, (-1,)), axis=0), xp.float64)
            differences = xp.reshape(rows, (*chosen.shape, -1)) - queries[some, None, :]  # (q, m, D)
            parts.append(_squares(xp, differences))
        values, places = smallest(xp, xp.concat(parts, axis=0), self.k)
        return xp.sqrt(values), xp.take_along_axis(positions, places, axis=-1)

    def _votes(self, x: Any) -> Iterator[np.ndarray]:
        """How many votes each label has, (q, K), for some queries at a time."""
        return (self._ballot(distances, positions) for distances, positions in self._search(x))

    def _ballot(self, distances: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """(q, k) -> (q, K)"""
        votes = np.ones_like(distances)
        if self.weights == "distance":
            same = distances == 0
            with np.errstate(divide="ignore"):
                votes = np.where(same.any(axis=1, keepdims=True), same, 1 / distances)
        ballot = np.zeros((len(distances), len(self.classes)))
        np.add.at(ballot, (np.arange(len(distances))[:, None], self._labels[positions]), votes)
        return ballot


def least_memory(k: int, features: int) -> int:
    """Bytes without which k neighbours of examples of so many numbers cannot be searched."""
    return 128 * (k + _SPARE) * (features + 16)


def _squares(xp: Any, x: Any) -> Any:
    """The sum of the squares along the last axis."""
    return xp.sum(x * x, axis=-1)


def _blocks(n: int, size: int) -> list[slice]:
    """0 to n in slices of ``size``; the standard has none that reach beyond the end."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


# --- checks


def _choice(name: str, value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        expected = " or ".join(map(repr, known))
        raise ConfigError(f"KNNClassifier: {name} is {value!r} but {expected} is expected{did_you_mean(value, known)}")
    return value


def _pair(x: Any, y: Any) -> tuple[Any, Any]:
    """x and y as arrays, also from a data set that came in place of both."""
    if y is None:
        if not hasattr(x, "rows"):
            raise DataError("KNNClassifier: y is missing; give the labels, or a Dataset in place of x and y")
        x, y, *lengths = x.rows(slice(None))
        if lengths or isinstance(y, dict):
            what = "sequences" if lengths else "several targets"
            raise DataError(f"KNNClassifier: the data set has {what} but examples of one shape and label are expected")
    return _array(x), y


def _array(x: Any) -> Any:
    """An array of any library as it is, anything else as one of NumPy."""
    try:
        return np.asarray(x) if namespace_of(x) is None else x
    except DeviceError:  # no array: a list, say
        pass
    try:
        return np.asarray(x)
    except (TypeError, ValueError) as error:
        raise DataError(f"KNNClassifier: x cannot become an array ({error})") from None


def _labels(y: Any, n: int) -> np.ndarray:
    """(n,) whole numbers on the host, as int64."""
    y = _array(y)
    y = y if isinstance(y, np.ndarray) else copies.to_host(y)
    if y.shape != (n,):
        raise ShapeError(f"KNNClassifier: y has shape {y.shape} but ({n},) is expected, a label for each of x")
    if y.dtype.kind not in "biu" and not (y.dtype.kind == "f" and bool(np.all(np.isfinite(y) & (y == np.rint(y))))):
        raise DataError(f"KNNClassifier: y holds {y.dtype} but whole numbers are expected; number the classes")
    if beyond_int64(y):
        raise DataError(f"KNNClassifier: y holds numbers up to {y.max()}, beyond int64; number the classes")
    return y.astype(np.int64)
