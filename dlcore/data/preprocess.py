"""How a file becomes x, written down with a run, so that new files can be read the same way in another process."""

from __future__ import annotations

import os
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlcore._core.configurable import did_you_mean
from dlcore.data.readers import decode
from dlcore.data.readers.csv.levels import Levels
from dlcore.data.readers.csv.rows import MISSING, name_of, no_column, number, table_rows, too_large
from dlcore.data.readers.file import opened, shown
from dlcore.data.readers.images.decode import DEPTH
from dlcore.errors import DataError

__all__ = ["UNKNOWN_LEVELS", "Inputs"]

UNKNOWN_LEVELS = ("refuse", "missing")
"""What can be done about a category's level that training lacked."""


@dataclass(frozen=True)
class Inputs:
    """Images of one size, or the rows of a table with named columns; before any normalizer.

    kind : "images" or "table"
    size : H and W of an image
    channels : of an image, 1 for grey and 3 for colour
    depth : bits of 16-bit grey images, as :func:`~dlcore.data.readers.decode` takes them
    columns : of a table, in the order of x, each ``{"name": ..., "kind": "number", "fill": None or a number}`` or
        ``{"name": ..., "kind": "category", "values": [...]}``, as :class:`~dlcore.data.Table` has them
    missing : of a table, what was done about its missing cells in training; None where that is not known
    unknown_level : of a table, what to do about a category's level that training lacked: "refuse", or "missing", which
        takes it as a missing cell: the level "" where there is one, else none of the levels

    Raises DataError where these do not go together.

    >>> inputs = Inputs.table(["height", "width"])
    >>> inputs.shape, Inputs.from_dict(inputs.to_dict()) == inputs
    ((2,), True)
    >>> Inputs.images((28, 28), 1).to_dict()
    {'kind': 'images', 'size': [28, 28], 'channels': 1}
    """

    kind: str
    size: tuple[int, int] | None = None
    channels: int | None = None
    columns: tuple[Mapping[str, Any], ...] | None = None
    depth: int = DEPTH
    missing: str | None = None
    unknown_level: str = "refuse"

    def __post_init__(self) -> None:
        if self.kind == "images":
            size = self.size
            sound = (
                isinstance(size, tuple)
                and len(size) == 2
                and all(_is_whole(value) and 1 <= value <= 1 << 16 for value in size)
                and self.channels in (1, 3)
                and _is_whole(self.depth)
                and 9 <= self.depth <= DEPTH
                and self.columns is self.missing is None
                and self.unknown_level == "refuse"
            )
        else:
            columns = self.columns
            sound = (
                self.kind == "table"
                and isinstance(columns, tuple)
                and bool(columns)
                and all(map(_is_column, columns))
                and len({column["name"] for column in columns}) == len(columns)
                and self.size is self.channels is None
                and self.missing in (None, "refuse", "drop", "mean")
                and self.unknown_level in UNKNOWN_LEVELS
            )
        if not sound:
            raise DataError(f"Inputs: {self!r:.200} describes neither images nor a table; train the model again")

    @classmethod
    def images(cls, size: Sequence[int], channels: int, depth: int = DEPTH) -> Inputs:
        """Pictures, as :func:`~dlcore.data.readers.decode` makes them.

        size : H and W in pixels
        channels : 1 for grey, 3 for colour
        depth : bits that 16-bit grey uses
        """
        return cls("images", size=(size[0], size[1]), channels=channels, depth=depth)

    @classmethod
    def table(
        cls,
        columns: Sequence[str | Mapping[str, Any]],
        *,
        missing: str | None = None,
        unknown_level: str = "refuse",
    ) -> Inputs:
        """The columns of a table; a name alone stands for numbers without gaps."""
        whole = ({"name": one, "kind": "number", "fill": None} if isinstance(one, str) else one for one in columns)
        return cls("table", columns=tuple(whole), missing=missing, unknown_level=unknown_level)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example of x."""
        if self.size is not None and self.channels is not None:
            return (*self.size, self.channels)
        return (sum(len(column.get("values", [0])) for column in self.columns or ()),)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the entries of x's last axis, of a table.

        >>> Inputs.table(["height", {"name": "kind", "kind": "category", "values": ["a", "b"]}]).features
        ('height', 'kind=a', 'kind=b')
        """
        return tuple(
            name
            for column in self.columns or ()
            for name in [f"{column['name']}={value}" for value in column.get("values", ())] or [column["name"]]
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        if self.size is not None:
            deep = {} if self.depth == DEPTH else {"depth": self.depth}
            return {"kind": self.kind, "size": list(self.size), "channels": self.channels, **deep}
        rules = {} if self.missing is None else {"missing": self.missing}
        rules |= {} if self.unknown_level == "refuse" else {"unknown_level": self.unknown_level}
        return {"kind": self.kind, "columns": [dict(column) for column in self.columns or ()], **rules}

    @classmethod
    def from_dict(cls, saved: Any) -> Inputs:
        """The Inputs that :meth:`to_dict` wrote. Raises DataError where an entry is missing or damaged.

        saved : a dict
        """
        try:
            parts: dict[str, Any] = {n: tuple(part) if isinstance(part, list) else part for n, part in saved.items()}
            return cls(**parts)
        except (AttributeError, TypeError):
            raise DataError(
                f"Inputs: {saved!r:.200} describes neither images nor a table; train the model again"
            ) from None

    def read(self, path: str | os.PathLike[str]) -> np.ndarray:
        """x (n, ...) float32 from one file: an image, n = 1, in [0, 1]; or every row of a CSV table.

        path : of an image, or of a CSV table

        The columns of a table are found by their names, in any order, and others, the target among them, are left
        alone. A missing number becomes the mean of the training set where it did in training.

        Raises DataError, naming the file with the line and the column, for what :func:`decode` or
        :func:`~dlcore.data.read_csv` refuse, a column that is not there, text for a number, a missing cell that nothing
        fills, and a category that was not there in training, unless ``unknown_level`` takes it as a missing cell. A
        level may come in another dress: 1.0 for 1, TRUE for True.

        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "new.csv"
        >>> _ = file.write_text("width,height\\n1,2\\n3,4\\n")
        >>> Inputs.table(["height", "width"]).read(file).tolist()
        [[2.0, 1.0], [4.0, 3.0]]
        """
        found = array("f")
        for _, x in self.rows(path):
            if isinstance(x, str):
                raise DataError(f"{shown(path)}: {x}")
            found.frombytes(x.astype(np.float32).tobytes())
        return np.frombuffer(found, np.float32).reshape(-1, *self.shape)

    def rows(self, path: str | os.PathLike[str]) -> Iterator[tuple[int, np.ndarray | str]]:
        """Each row of a file, as :meth:`read` reads them: its line, and x (...), or in words why there is none.

        path : as for :meth:`read`

        x of a table is float64, with every digit; of an image, which is one row at line 1, float32. Raises DataError
        for what concerns the whole file, such as a column that is not there; what is wrong with one row does not stop
        the others.

        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "new.csv"
        >>> _ = file.write_text("width\\n1\\nwide\\n3\\n")
        >>> for line, x in Inputs.table(["width"]).rows(file):
        ...     print(line, x)
        2 [1.]
        3 column width, line 3: 'wide' is not a number; the model was trained on numbers here, without gaps
        4 [3.]
        """
        if self.size is not None and self.channels is not None:
            yield 1, self._picture(path, self.size, self.channels)
        else:
            yield from self._table_rows(path)

    def of_records(self, records: Iterable[Mapping[str, Any]]) -> Iterator[np.ndarray | str]:
        """Each row of a table in memory, as :meth:`rows` reads those of a file: x (...), or in words why there is none.

        records : of each row, its cells by the names of the columns; None and NaN are missing cells

        Raises DataError where the model reads no table.

        >>> list(Inputs.table(["height", "width"]).of_records([{"width": 1, "height": "2.5"}, {"width": 1}]))
        [array([2.5, 1. ]), 'column height is not in the row, but the model was trained on it']
        """
        if self.columns is None:
            raise DataError("rows of a table came, but the model reads pictures; give files or arrays")
        takers = [
            (c["name"], self._number(c["fill"]) if c["kind"] == "number" else self._category(c["values"]))
            for c in self.columns
        ]
        for record in records:
            cells = {self._name(name): _cell(value) for name, value in record.items()}
            found, fault = array("d"), None
            for name, take in takers:
                if name not in cells:
                    hint = shown(did_you_mean(name, list(cells)))
                    fault = f"column {name_of(name)} is not in the row, but the model was trained on it{hint}"
                elif said := take(found, cells[name]):
                    fault = f"column {name_of(name)}: {said}"
                if fault:
                    break
            yield fault or np.array(found)

    def _name(self, name: Any) -> str:
        """A column's name as the header of a file would give it."""
        text = str(name).strip()
        return unicodedata.normalize("NFC", text) if self.rules == 2 else text

    def _picture(self, path: str | os.PathLike[str], size: tuple[int, int], channels: int) -> np.ndarray:
        if os.fspath(path).lower().endswith((".csv", ".tsv", ".npz")):
            raise DataError(f"{shown(path)}: this is no picture, but the model reads pictures")
        x = decode(path, size, channels, depth=self.depth).astype(np.float32)
        x /= 255
        return x

    def _table_rows(self, path: str | os.PathLike[str]) -> Iterator[tuple[int, np.ndarray | str]]:
        file = shown(path)
        with opened(path) as start:
            if start.read(8).startswith((b"\x89PNG", b"\xff\xd8\xff")):
                raise DataError(f"{file}: this is a picture, but the model reads tables")
        faults: dict[int, str] = {}
        line = 0
        with table_rows(path, rules=self.rules, faults=faults) as (header, _, rows, _):
            takers = [self._taker(column, header, file) for column in self.columns or ()]
            for line, cells in rows:
                found = array("d")
                fault = faults.pop(line, None)
                for place, take in () if fault else takers:
                    if fault := take(found, cells[place]):
                        fault = f"column {name_of(header[place])}, line {line}: {fault}"
                        break
                yield line, fault or np.array(found)
        if not line:
            raise DataError(f"{file}: there is no row below the header; at least one is expected")

    @property
    def rules(self) -> int:
        """Of a table's rows: 1 where names or levels are not in NFC: version 0.1 took them as a file had them.

        >>> Inputs.table(["height"]).rules, Inputs.table(["e\u0301cole"]).rules
        (2, 1)
        """
        words = (word for column in self.columns or () for word in (column["name"], *column.get("values", ())))
        return 2 if all(unicodedata.is_normalized("NFC", word) for word in words) else 1

    def _taker(
        self, column: Mapping[str, Any], header: list[str], file: str
    ) -> tuple[int, Callable[[array[float], str], str | None]]:
        """The column's place in the file, and what appends a cell's features, or says why it cannot."""
        name = column["name"]
        if name not in header:
            raise DataError(f"{no_column(file, name, header)}, but the model was trained on it")
        take = self._number(column["fill"]) if column["kind"] == "number" else self._category(column["values"])
        return header.index(name), take

    def _number(self, fill: float | None) -> Callable[[array[float], str], str | None]:
        wanted = "numbers here, without gaps" if fill is None else "numbers here"

        def take(found: array[float], cell: str) -> str | None:
            value = fill if cell in MISSING else number(cell)
            if value is None and cell in MISSING:
                return self._gap()
            if value is None:
                return f"{cell!r:.60} is not a number; the model was trained on {wanted}"
            if too_large(value):
                return f"{cell!r:.60} is not finite in float32; mend the cell"
            found.append(value)
            return None

        return take

    def _category(self, values: Sequence[str]) -> Callable[[array[float], str], str | None]:
        levels = Levels(values)
        features = [array("d", [other == place for other in range(len(values))]) for place in range(len(values))]
        nothing = array("d", bytes(8 * len(values))) if "" not in values else features[values.index("")]

        def take(found: array[float], cell: str) -> str | None:
            place = levels.place(cell)
            if place is not None:
                found.extend(features[place])
            elif self.unknown_level == "missing":
                found.extend(nothing)
            elif cell in MISSING:
                return self._gap()
            else:
                some = [value for value in values if value]  # "" is a missing cell
                few = ", ".join(name_of(value) for value in some[:10]) + (", ..." if len(some) > 10 else "")
                hint = shown(did_you_mean(cell[:60], values))
                return (
                    f"{cell!r:.60} is no known category{hint}; known are {few}; to take it as a missing cell, give "
                    "--unknown-level missing"
                )
            return None

        return take

    def _gap(self) -> str:
        """What a missing cell is that nothing fills."""
        if self.missing == "drop":
            return (
                "the cell is missing; the model was trained with --missing drop, without such rows, and cannot predict "
                "them: fill the cell, or train with --missing mean"
            )
        return (
            "the cell is missing; the model was trained without gaps here: fill the cell, or train with --missing mean"
        )


def _cell(value: Any) -> str:
    """A value as it would stand in a file; "" for None, NaN and what else is not equal to itself."""
    if value is None or type(value).__name__ in ("NAType", "NaTType") or bool(value != value):
        return ""
    return str(value.item() if isinstance(value, np.generic) else value).strip()


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_column(column: Any) -> bool:
    if not isinstance(column, Mapping) or not isinstance(column.get("name"), str):
        return False
    if column.get("kind") == "number" and set(column) == {"name", "kind", "fill"}:
        fill = column["fill"]
        return fill is None or (isinstance(fill, int | float) and not isinstance(fill, bool) and not too_large(fill))
    values = column.get("values")
    return (
        column.get("kind") == "category"
        and set(column) == {"name", "kind", "values"}
        and isinstance(values, list)
        and bool(values)
        and all(isinstance(value, str) for value in values)
        and len(set(values)) == len(values)
    )
