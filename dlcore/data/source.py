"""What a trainer takes its examples from: arrays in memory, anything with a length and an index, or an iterator.

A :class:`Source` knows how many examples there are and fetches any of them by position: :class:`~dlcore.data.Dataset`
is one, and so is a folder of images. :class:`Stream` is for data of which only the order is known.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dlcore._core.input_tree import leaves, mapped
from dlcore.data.dataset import Dataset
from dlcore.errors import DataError

__all__ = ["Indexed", "Source", "Stream", "as_source", "collate", "fingerprint"]


@runtime_checkable
class Source(Protocol):
    """Examples that are fetched by position.

    shape : of one example of x, without N
    dtype : of x

    Of several inputs both are a tuple or a dict, as x is in what ``rows`` gives. A source of one's own, which reads
    from a file what is asked for, and no more:

    >>> class OnDisk:
    ...     def __init__(self, path):
    ...         self.x = np.load(path, mmap_mode="r")
    ...         self.shape, self.dtype = self.x.shape[1:], self.x.dtype
    ...     def __len__(self):
    ...         return len(self.x)
    ...     def rows(self, index):
    ...         return self.x[index], self.x[index].sum(axis=1)
    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/x.npy"
    >>> np.save(path, np.ones((100, 3), np.float32))
    >>> source = OnDisk(path)
    >>> isinstance(source, Source), source.shape, source.rows([4, 2])[1].tolist()
    (True, (3,), [3.0, 3.0])
    """

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...

    def __len__(self) -> int: ...

    def rows(self, index: Any) -> tuple[Any, ...]:
        """``(x, y)`` or ``(x, y, lengths)`` of the examples at these positions, as NumPy arrays."""
        ...


class BadExampleError(DataError):
    """One example of a batch is at fault.

    before, after : what the message says before and after the example's number
    row : its place in the batch

    >>> error = BadExampleError("label 7 of example", 1, "is out of range")
    >>> str(error), str(error.at([12, 40]))
    ('label 7 of example 1 is out of range', 'label 7 of example 40 is out of range')
    """

    def __init__(self, before: str, row: int, after: str) -> None:
        super().__init__(f"{before} {row} {after}")
        self.before, self.row, self.after = before, row, after

    def at(self, numbers: Sequence[int]) -> DataError:
        """The same error with the example's number in the whole set; ``numbers`` are those of the batch."""
        return DataError(f"{self.before} {numbers[self.row]} {self.after}")


class Indexed:
    """A source made of any object with ``__len__`` and ``__getitem__``, whose items are ``(x, y)``.

    >>> source = Indexed([([1.0, 2.0], 0), ([3.0, 4.0], 1)])
    >>> source.shape, source.rows([1])[1].tolist()
    ((2,), [1])
    """

    def __init__(self, examples: Any, name: str = "data") -> None:
        self.examples = examples
        self.name = name
        if not len(self):
            raise DataError(f"{name}: the set is empty; at least one example is expected")
        first = self.rows([0])[0]
        self.shape: Any = mapped(lambda leaf: leaf.shape[1:], first)
        self.dtype: Any = mapped(lambda leaf: leaf.dtype, first)

    def __len__(self) -> int:
        return len(self.examples)

    def rows(self, index: Any) -> tuple[Any, ...]:
        places = [int(i) for i in index]
        return collate([self.examples[i] for i in places], self.name, places)


class Stream:
    """Examples in the order in which an iterable gives them: for data beyond memory, or without an end in sight.

    examples : an object whose ``__iter__`` starts a new pass, a function that returns an iterator, or an iterator,
        which serves for one pass only; the items are ``(x, y)``
    name : what errors call it

    A run resumes in the middle of a pass by skipping what it has seen: the order must be the same every time.

    >>> def examples():
    ...     for i in range(3):
    ...         yield [float(i), 1.0], i
    >>> stream = Stream(examples)  # the function, so that each epoch begins anew
    >>> stream.shape, [y for _, y in stream], stream.first()[0].shape
    ((2,), [0, 1, 2], (1, 2))
    """

    def __init__(self, examples: Any, name: str = "data") -> None:
        self.name = name
        self._start: Callable[[], Any] = examples if callable(examples) else lambda: iter(examples)
        self._once = not callable(examples) and iter(examples) is examples
        start = iter(self._start())
        try:
            self._first = next(start)
        except StopIteration:
            raise DataError(f"{name}: the iterator gave no example; at least one is expected") from None
        self._only_pass: Iterator[Any] | None = chain([self._first], start) if self._once else None
        x = self.first()[0]
        self.shape: Any = mapped(lambda leaf: leaf.shape[1:], x)
        self.dtype: Any = mapped(lambda leaf: leaf.dtype, x)

    def first(self) -> tuple[Any, ...]:
        """``(x, y)`` of the first example alone, with an axis of one row; nothing is used up."""
        return collate([self._first], self.name)

    def __iter__(self) -> Iterator[Any]:
        """One pass from the start."""
        if not self._once:
            return iter(self._start())
        if self._only_pass is None:
            raise DataError(
                f"{self.name}: the iterator was used up in its first pass; give an object whose __iter__ starts anew, "
                "a function that returns an iterator, or train for one epoch"
            )
        only, self._only_pass = self._only_pass, None
        return only


def collate(examples: list[Any], name: str, numbers: Sequence[int] | None = None) -> tuple[Any, ...]:
    """Examples ``(x, y)`` as arrays with an axis N in front, checked as a :class:`Dataset`; y may be a dict.

    numbers : of the examples in their whole set, 0, 1, ... by default

    Raises DataError, which begins with ``name`` and names the number of the first example that does not fit.
    """
    numbers = range(len(examples)) if numbers is None else numbers
    for number, example in zip(numbers, examples, strict=True):
        if not isinstance(example, tuple | list) or len(example) not in (2, 3):
            raise DataError(
                f"{name}: example {number} is {type(example).__name__} {example!r:.40}, expected a pair (x, y); for "
                "arrays of all examples make a Dataset(x, y)"
            )
    try:
        return _together(examples)
    except (ValueError, TypeError, KeyError) as error:
        why = _culprit(examples, numbers) or f"the examples do not make a batch: {error}"
        raise DataError(f"{name}: {why}") from None


def _together(examples: Sequence[Any]) -> tuple[Any, ...]:
    x, y, *lengths = zip(*examples, strict=True)
    targets = {key: np.stack([one[key] for one in y]) for key in y[0]} if isinstance(y[0], dict) else np.stack(y)
    return Dataset(_stacked(x), targets, *map(np.asarray, lengths)).rows(slice(None))


def _culprit(examples: Sequence[Any], numbers: Sequence[int]) -> str:
    """Which of the examples that make no batch does not fit, and why; empty where none stands out."""
    shapes = []
    for number, example in zip(numbers, examples, strict=True):
        try:
            parts = _together([example])
        except (ValueError, TypeError, KeyError) as error:
            return f"example {number}: {error}"
        shapes.append(tuple(tuple(leaf.shape[1:]) for part in parts for leaf in leaves(part)))
    usual, _ = Counter(shapes).most_common(1)[0]
    for number, shape in zip(numbers, shapes, strict=True):
        if shape != usual:
            of = ("x", "y") if len(shape) == len(usual) == 2 else ("",) * len(shape)
            odd = [f"{part} {had}".strip() for part, had, due in zip(of, shape, usual, strict=False) if had != due]
            due = [str(d) for had, d in zip(shape, usual, strict=False) if had != d]
            return f"example {number} has {' and '.join(odd)} where the others have {' and '.join(due)}"
    return ""


def _stacked(x: tuple[Any, ...]) -> Any:
    """The inputs of examples with an axis N in front; a tuple of arrays, or a dict, is several inputs."""
    first = x[0]
    if isinstance(first, dict):
        return {name: np.stack([one[name] for one in x]) for name in first}
    if isinstance(first, tuple) and all(isinstance(leaf, np.ndarray) for leaf in first):
        return tuple([np.stack(leaf) for leaf in zip(*x, strict=True)])
    return np.stack(x)


def as_source(data: Any, name: str = "data") -> Source | Stream:
    """``data`` as something that batches can be made of. Raises DataError where it is nothing of the kind.

    >>> as_source([(np.zeros(3), 1)] * 4).shape
    (3,)
    """
    if isinstance(data, Source | Stream):
        return data
    if not isinstance(data, dict | str | bytes | np.ndarray):
        if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
            return Indexed(data, name)
        if hasattr(data, "__iter__") or callable(data):
            return Stream(data, name)
    raise DataError(
        f"{name}: {type(data).__name__} came but a Dataset is expected, or pairs (x, y) in an object with __len__ and "
        "__getitem__ or from an iterator; make a Dataset by dl.data.Dataset(x, y)"
    )


def fingerprint(source: Source | Stream) -> str | None:
    """A short digest that tells one set of examples from another; None for a stream, which cannot be known.

    It covers how many there are, their shape, all targets where they are at hand, and some sixty examples.

    >>> a, b = (Dataset(np.ones((3, 2)) * scale, np.arange(3)) for scale in (1, 2))
    >>> fingerprint(a) == fingerprint(a), fingerprint(a) == fingerprint(b)
    (True, False)
    """
    if isinstance(source, Stream):
        return None
    if isinstance(own := getattr(source, "fingerprint", None), Callable):
        return own()
    some = np.unique(np.linspace(0, len(source) - 1, 64).astype(int))
    parts = [*source.rows(some), *([source.y] if isinstance(source, Dataset) else [])]
    if getattr(source, "lengths", None) is not None:
        parts.append(source.lengths)  # type: ignore[attr-defined]
    digest = hashlib.blake2s(repr((len(source), source.shape, str(source.dtype))).encode(), digest_size=16)
    for part in parts:
        named = enumerate(part) if isinstance(part, tuple) else sorted(part.items()) if isinstance(part, dict) else None
        for name, array in named or [("", part)]:
            digest.update(str(name).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
