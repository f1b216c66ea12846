"""Files of JSON lines that grow with the epochs: what an epoch adds is appended, so that each costs the same.

A checkpoint would grow with its run if it held the history. It holds instead how much of ``history.jsonl``, beside it,
is its own: every line up to a byte, and their digest. Lines are ``[label, value]``, one for each element of a list of
the state. A checkpoint's lines are never changed; what stands behind those of the last one, such as a torn line of a
process that was killed, is cut off by the next that writes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dlcore._core.files import append, write_atomically
from dlcore._core.regular import open_regular
from dlcore.errors import CheckpointError

__all__ = ["FILE", "EpochLog", "Growing", "LinesFile", "read_lines"]

FILE = "history.jsonl"
"""In the folder of the checkpoints."""


class Growing(list[Any]):
    """A list of JSON values in a state that is only added to: a checkpoint adds what is new of it to a file."""


class EpochLog:
    """The file of the growing lists of a run's checkpoints, for one fit.

    path : of the file
    kept : the bytes at its beginning that checkpoints refer to

    >>> import tempfile
    >>> log, values = EpochLog(Path(tempfile.mkdtemp()) / FILE), Growing([1])
    >>> log.add([values])
    ['0']
    >>> values.append(2)
    >>> log.add([values])  # one line more
    ['0']
    """

    def __init__(self, path: Path, kept: int = 0) -> None:
        self.path = path
        self.digest = hashlib.blake2b(digest_size=16)
        self.size = 0
        self.counts: Counter[str] = Counter()
        self._labels: dict[int, str] = {}  # of the lists of this fit, by their place among them
        content = _start_of(path, kept) if kept else b""
        self.size = len(content)
        self.digest.update(content)
        self._before: dict[str, list[bytes]] = {}  # the lines of a label that is nobody's in this fit yet
        for line in content.splitlines():
            self._before.setdefault(line[2:].partition(b'"')[0].decode(), []).append(line)
        self._labels_there = len(self._before)

    @property
    def mark(self) -> str:
        """What a checkpoint holds of the file: bytes and their digest."""
        return f"{self.size} {self.digest.hexdigest()}"

    def add(self, lists: Iterable[Growing]) -> list[str]:
        """Append what is new of each list, to the disk; the label of each. Raises CheckpointError."""
        lists = list(lists)
        labels = [self._label(place, values) for place, values in enumerate(lists)]
        lines = [
            _line(label, value)
            for label, values in zip(labels, lists, strict=True)
            for value in values[self.counts[label] :]
        ]
        if lines:
            text = "".join(lines)
            self._cut()
            append(self.path, text, durable=True)
            self.digest.update(text.encode())
            self.size += len(text.encode())
            self.counts.update({label: len(values) - self.counts[label]
                                for label, values in zip(labels, lists, strict=True)})  # fmt: skip
        return labels

    def _label(self, place: int, values: Growing) -> str:
        """The label of the lines that a list goes on from; a new one where none of the file's are its beginning."""
        known = self._labels.get(place)
        if known is not None and len(values) >= self.counts[known]:
            return known
        found = next((label for label, lines in self._before.items() if _begins(values, label, lines)), None)
        if found is None:
            found = str(self._labels_there)
            self._labels_there += 1
        self.counts[found] = len(self._before.pop(found, ()))
        self._labels[place] = found
        return found

    def _cut(self) -> None:
        """Take off what stands behind the lines that count."""
        try:
            descriptor = open_regular(self.path, os.O_RDWR)
            try:
                if os.fstat(descriptor).st_size > self.size:
                    os.ftruncate(descriptor, self.size)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be written ({error.strerror})") from None


def read_lines(path: Path, mark: str) -> dict[str, list[Any]]:
    """The lists of a checkpoint by label, from the file at ``path``; ValueError where that does not hold them."""
    size, digest = mark.split(" ")
    content = _start_of(path, int(size))
    if hashlib.blake2b(content, digest_size=16).hexdigest() != digest:
        raise ValueError(f"{path} is missing, damaged or of another run; keep it beside the checkpoints")
    found: dict[str, list[Any]] = {}
    for line in content.splitlines():
        label, value = json.loads(line)
        found.setdefault(label, []).append(value)
    return found


def _start_of(path: Path, size: int) -> bytes:
    try:
        with open(open_regular(path), "rb") as file:
            return file.read(size)
    except OSError:
        return b""


def _begins(values: list[Any], label: str, lines: list[bytes]) -> bool:
    """Whether the first of ``values`` are those of the lines."""
    return len(lines) <= len(values) and all(
        line == _line(label, value).encode().rstrip(b"\n") for line, value in zip(lines, values, strict=False)
    )


def _line(label: str, value: Any) -> str:
    return json.dumps([label, value]) + "\n"


class LinesFile:
    """A file of JSON lines for others to read, which follows a list: written whole once in a fit, then appended to.

    path : of the file

    >>> import tempfile
    >>> file = LinesFile(Path(tempfile.mkdtemp()) / "a.jsonl")
    >>> file.follow([{"epoch": 0}]); file.follow([{"epoch": 0}, {"epoch": 1}]); file.path.read_text()
    '{"epoch": 0}\\n{"epoch": 1}\\n'
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._count = -1

    def begin(self) -> None:
        """Another fit: the list may be another, and so the file is written whole the next time."""
        self._count = -1

    def follow(self, values: list[Any], line: Any = None) -> None:
        """Bring the file up to ``values``.

        line : makes the line's value of an element
        """
        whole = not 0 <= self._count <= len(values)
        new = values if whole else values[self._count :]
        text = "".join(json.dumps(value if line is None else line(value)) + "\n" for value in new)
        if whole:
            write_atomically(self.path, lambda: text)
        elif text:
            append(self.path, text)
        self._count = len(values)

    def end(self, values: list[Any], line: Any = None) -> None:
        """The last time in a fit: the file is flushed to the disk, or written where that fit had no epoch to do."""
        if values and self._count != len(values):
            self.follow(values, line)
        elif values:
            append(self.path, "", durable=True)
