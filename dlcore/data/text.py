"""Text as streams of characters: a vocabulary, and windows that follow one another, for truncated backpropagation.

A batch of S windows of T characters holds S places of the text, and the next batch the T characters after each of them:
row i of a batch goes on where row i of the batch before has ended. A trainer carries the state over from one batch to
the next and cuts the gradient between them (notes 5). With ``shuffle`` the first character of an epoch is another one
each time, a pure function of seed and epoch; the order stays that of the text.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backends.random import derive, permutation
from dlcore.data.dataset import Splits
from dlcore.data.readers.file import bytes_of, opened, shown
from dlcore.errors import ConfigError, DataError

__all__ = ["UNKNOWN", "Streams", "Text", "Vocabulary", "open_text"]

UNKNOWN = "<unk>"
"""What stands for every character that the vocabulary lacks."""

WINDOW = 64
"""Characters through which gradients flow, by default."""

_FRACTIONS = (0.9, 0.05, 0.05)
_LARGEST = 1 << 28  # bytes of a text
_WINDOWS = 16  # of each stream in an evaluation, at least: its first state is zero


@dataclass(frozen=True)
class Vocabulary:
    """The characters that a model knows, in the order of their labels.

    symbols : single characters, each once; before them :data:`UNKNOWN` where others may come

    >>> vocabulary = Vocabulary.of("abba", unknown="replace")
    >>> vocabulary.symbols, vocabulary.encode("abc").tolist(), vocabulary.decode([2, 0])
    (('<unk>', 'a', 'b'), [1, 2, 0], 'b<unk>')
    >>> Vocabulary.of("abba").encode("abc")
    Traceback (most recent call last):
    dlcore.errors.DataError: text: character 'c' at position 2 is not in the vocabulary of 2; leave it out, or train \
with unknown replace
    """

    symbols: tuple[str, ...]
    _labels: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rest = self.symbols[1:] if self.symbols[:1] == (UNKNOWN,) else self.symbols
        if not rest or len(set(rest)) < len(rest) or any(not isinstance(s, str) or len(s) != 1 for s in rest):
            raise DataError(f"Vocabulary: {self.symbols!r:.80} came but single characters, each once, are expected")
        object.__setattr__(self, "_labels", {symbol: label for label, symbol in enumerate(self.symbols)})

    @classmethod
    def of(cls, text: str, unknown: str = "refuse") -> Vocabulary:
        """The characters of a text in the order of their code points; with unknown="replace" also :data:`UNKNOWN`."""
        return cls((*((UNKNOWN,) if unknown == "replace" else ()), *sorted(set(text))))

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def unknown(self) -> int | None:
        """The label of :data:`UNKNOWN`; None where there is none.

        >>> Vocabulary.of("ab", unknown="replace").unknown, Vocabulary.of("ab").unknown
        (0, None)
        """
        return self._labels.get(UNKNOWN)

    def encode(self, text: str, name: str = "text") -> np.ndarray:
        """Labels (len(text),) int64. Raises DataError, which begins with ``name``, for a character that is not known
        where nothing stands for it."""
        labels, other = self._labels, self.unknown
        found = [labels.get(character, other) for character in text]
        if other is None and None in found:
            place = found.index(None)
            raise DataError(
                f"{name}: character {text[place]!r} at position {place:,} is not in the vocabulary of {len(self)}; "
                "leave it out, or train with unknown replace"
            )
        return np.array(found, np.int64)

    def decode(self, labels: Sequence[int] | np.ndarray) -> str:
        """The text of labels."""
        return "".join(self.symbols[label] for label in labels)


class Text:
    """A stretch of text to learn from: at each step the next character is to be told.

    ids : (n,) integers, the labels of the characters
    vocabulary : what they mean
    window : T, characters of a window
    name : what errors call it

    As a :class:`~dlcore.data.Source` it has the windows of one stream as its rows: x (T,) int64, and y (T,), x one
    step on. :func:`~dlcore.data.loader` makes streams of it instead, as many as its ``size``. What fills no window
    of every stream is left out: fewer characters than two windows a stream. Raises DataError for too short a text.

    >>> text = Text(np.arange(9) % 4, Vocabulary.of("abcd"), window=2)
    >>> [(x.tolist(), y.tolist()) for x, y in text.streams(2)]
    [([[0, 1], [0, 1]], [[1, 2], [1, 2]]), ([[2, 3], [2, 3]], [[3, 0], [3, 0]])]
    """

    contiguous = True
    """Row i of a batch goes on where row i of the one before has ended."""

    def __init__(self, ids: np.ndarray, vocabulary: Vocabulary, window: int = WINDOW, name: str = "text") -> None:
        if isinstance(window, bool) or not isinstance(window, int | np.integer) or window < 1:
            raise ConfigError(f"{name}: window is {window!r} but a whole number of at least 1 is expected")
        self.ids, self.vocabulary, self.window, self.name = ids, vocabulary, int(window), name
        if len(ids) < window + 1:
            count = "it is empty" if not len(ids) else f"it holds {len(ids):,} characters"
            raise DataError(
                f"{name}: {count}, but windows of {window} take at least {window + 1:,}; give a longer text, or a "
                "smaller window"
            )
        self.shape = (self.window,)
        self.dtype = np.dtype(np.int64)

    def __len__(self) -> int:
        return (len(self.ids) - 1) // self.window

    def rows(self, index: Any) -> tuple[Any, ...]:
        """``(x, y)`` of windows of the text as one stream.

        index : positions of windows, or a slice of them

        >>> text = Text(np.arange(9) % 4, Vocabulary.of("abcd"), window=2)
        >>> [part.tolist() for part in text.rows([0, 3])], text.y.shape
        ([[[0, 1], [2, 3]], [[1, 2], [3, 0]]], (4, 2))
        """
        starts = (np.arange(len(self)) * self.window)[index]
        places = np.asarray(starts)[..., None] + np.arange(self.window)
        return self.ids[places], self.ids[places + 1]

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return self.rows(index)

    @property
    def y(self) -> np.ndarray:
        """The targets of all windows, (N, T)."""
        return self.rows(slice(None))[1]

    @property
    def most_streams(self) -> int:
        """Streams of an evaluation, at most: each long enough that its start from a zero state matters little.

        >>> Text(np.zeros(1001, np.int64), Vocabulary.of("a"), window=10).most_streams
        6
        """
        return max(1, len(self) // _WINDOWS)

    def steps(self, size: int) -> int:
        """Batches of ``size`` streams in an epoch. Raises ConfigError where there are too few characters for one.

        >>> Text(np.zeros(1001, np.int64), Vocabulary.of("a"), window=10).steps(4)
        25
        """
        steps = (len(self.ids) - 1) // (size * self.window)
        if not steps:
            raise ConfigError(
                f"{self.name}: {size} streams of windows of {self.window} take {size * self.window + 1:,} characters, "
                f"but there are {len(self.ids):,}; lower batch_size or window, or give a longer text"
            )
        return steps

    def streams(self, size: int, seed: int | None = None, epoch: int = 0, start: int = 0) -> Streams:
        """The batches of one pass.

        size : streams side by side
        seed : with ``epoch`` names the first character, among those that would be left out at the end; None: the first
        start : batches to skip
        """
        spare = len(self.ids) - 1 - self.steps(size) * size * self.window
        first = 0
        if seed is not None and spare:
            first = int(permutation(derive(seed, "shuffle", "text", epoch), spare + 1)[0])
        return Streams(self, size, first, start)

    def fingerprint(self) -> str:
        """A digest of the text, the vocabulary and the window.

        >>> a, b = (Text(np.zeros(9, np.int64), Vocabulary.of("a"), window=window) for window in (2, 3))
        >>> a.fingerprint() == a.fingerprint(), a.fingerprint() == b.fingerprint()
        (True, False)
        """
        digest = hashlib.blake2s(repr((self.window, self.vocabulary.symbols)).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(self.ids).tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        return f"Text({len(self.ids):,} characters, {len(self.vocabulary)} of them different, windows of {self.window})"


@dataclass(frozen=True, eq=False)
class Streams:
    """The batches of one pass over a text: iterate it, or ask its ``len``. Made by :meth:`Text.streams`."""

    text: Text
    size: int
    first: int = 0
    start: int = 0

    def __len__(self) -> int:
        return self.text.steps(self.size) - self.start

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        window, steps = self.text.window, self.text.steps(self.size)
        begin = self.first + np.arange(self.size)[:, None] * (steps * window)  # (S, 1)
        for step in range(self.start, steps):
            places = begin + step * window + np.arange(window)  # (S, T)
            yield self.text.ids[places], self.text.ids[places + 1]


def open_text(
    path: str | os.PathLike[str],
    *,
    window: int | None = None,
    unknown: str | None = None,
    name: str | None = None,
    source: str | None = None,
    licence: str = "",
) -> Splits:
    """A text file, UTF-8, in three parts by position: 90 % for training, then 5 % each for dev and test.

    path : of the file
    window : characters through which gradients flow; 64 by default
    unknown : what to do about a character that the training part lacks: "replace" by ``<unk>``, the default, or
        "refuse"
    name, source, licence : what is known about it, for :class:`~dlcore.data.Splits`; by default the file's own name

    The vocabulary is that of the training part. With "replace", characters that occur there only once become ``<unk>``
    too, so that a model has seen it. Raises DataError for a file that is missing, empty, too short or no text, and
    where "refuse" finds a character.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "ab.txt"
    >>> _ = file.write_text("ab" * 500)
    >>> data = open_text(file, window=8)
    >>> data.task, data.classes, len(data.train.ids), len(data.dev.ids)
    ('text', ('<unk>', 'a', 'b'), 900, 50)
    """
    if unknown not in (None, "replace", "refuse"):
        raise ConfigError(f"open_text: unknown is {unknown!r} but replace or refuse is expected")
    path = Path(os.path.expanduser(path))
    text = _read(path)
    ends = [int(len(text) * _FRACTIONS[0]), int(len(text) * (1 - _FRACTIONS[2])), len(text)]
    pieces = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    vocabulary = _vocabulary(pieces[0], unknown or "replace")
    parts = []
    for part, piece in zip(("training", "dev", "test"), pieces, strict=True):
        label = f"{shown(path)}, {part} part"
        parts.append(Text(vocabulary.encode(piece, label), vocabulary, WINDOW if window is None else window, label))
    said = source or shown(path)
    return Splits(
        train=parts[0],
        dev=parts[1],
        test=parts[2],
        name=name or shown(path.stem),
        task="text",
        classes=vocabulary.symbols,
        source=f"{said}, {len(text):,} characters",
        licence=licence,
    )


def _read(path: Path) -> str:
    with opened(path) as file:
        if bytes_of(file) > _LARGEST:
            raise DataError(f"{shown(path)}: {bytes_of(file):,} bytes, but at most {_LARGEST:,} are read; cut it")
        content = file.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(path)}: no text in UTF-8 (byte {error.start:,}); convert it") from None
    if not text.strip():
        raise DataError(f"{shown(path)}: the text is empty; give one with at least a few thousand characters")
    return text.replace("\r\n", "\n")


def _vocabulary(text: str, unknown: str) -> Vocabulary:
    if unknown == "refuse":
        return Vocabulary.of(text)
    found, counts = np.unique(np.array(list(text or " ")), return_counts=True)
    often = [str(character) for character, count in zip(found, counts, strict=True) if count > 1]
    return Vocabulary.of("".join(often or map(str, found)), unknown)
