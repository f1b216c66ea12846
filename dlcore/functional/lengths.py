"""How many steps of each padded sequence are valid: checked once, and on the device as often as it is needed."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from backends.namespace import NUMPY, namespace_of
from backends.packed_sequences import packed_rows
from backends.reference import recurrent as _recurrent
from backends.runtime import copies
from backends.runtime.device import Device
from dlcore.functional.checks import refuse
from dlcore.tensor import Tensor, apply, as_tensor

__all__ = ["Lengths", "pack", "unpack"]


class Lengths:
    """The valid steps of N sequences that are padded to T: wherever a function takes ``lengths``, it takes this too.

    values : N integers on the host, each in 1 .. T: a list, a tuple or an array
    steps : T
    operation : what an error says first

    A plain list is turned into this in every call, which uploads the positions of the valid steps each time. One of
    these, made once a batch, uploads them once for all layers and the loss; ``to(device)`` does so ahead of the step,
    for ``transfer.guard("forbid")``. Raises ShapeError.

    >>> lengths = Lengths([1, 3], steps=4)
    >>> lengths.values, lengths.valid
    ((1, 3), 4)
    """

    def __init__(self, values: Any, steps: int, operation: str = "Lengths") -> None:
        host = _on_host(operation, values)
        if host.dtype.kind not in "iu" or host.ndim != 1:
            came = f"{host.dtype} of shape {host.shape}" if host.dtype != object else f"{values!r:.60}"
            refuse(operation, f"lengths are {came}", "one integer a sequence is expected", "convert them to int64")
        wrong = np.flatnonzero((host < 1) | (host > steps))
        if wrong.size:
            refuse(
                operation, f"lengths[{wrong[0]}] is {host[wrong[0]]}", f"x has {steps} steps: 1 to {steps} is expected",
                "drop empty sequences, or mend the lengths",
            )  # fmt: skip
        self.values: tuple[int, ...] = tuple(host.tolist())
        self.steps = int(steps)
        self.valid = sum(self.values)
        self._rows: dict[bool, Any] = {}

    @classmethod
    def of(cls, operation: str, lengths: Any, n: int, steps: int) -> Lengths:
        """``lengths`` for n sequences of ``steps`` steps, checked; what is one of these already stays the same.

        operation : what an error says first

        >>> lengths = Lengths.of("lstm", [1, 3], n=2, steps=4)
        >>> Lengths.of("cross_entropy", lengths, n=2, steps=4) is lengths
        True
        """
        if not isinstance(lengths, Lengths):
            lengths = cls(lengths, steps, operation)
        if len(lengths.values) != n:
            refuse(
                operation, f"{len(lengths.values)} lengths came", f"x has {n} sequences", "give one length a sequence"
            )
        if lengths.steps != steps:
            refuse(
                operation, f"the lengths are of {lengths.steps} steps", f"x has {steps}", "make Lengths of this batch"
            )
        return lengths

    def to(self, device: Device) -> Self:
        """Bring the positions of the valid steps to ``device``, for reading forwards and in reverse.

        >>> from backends.runtime.device import CPU
        >>> Lengths([1, 3], steps=4).to(CPU)
        Lengths(2 sequences of up to 4 steps, 4 valid)
        """
        self._rows = {}
        for reverse in (False, True):
            self._place(device, reverse)
        return self

    def packed(self) -> list[np.ndarray]:
        """The positions of the valid steps on the host, read forwards and in reverse: what :meth:`placed` takes.

        >>> lengths = Lengths([1, 3], steps=4)
        >>> [rows.tolist() for rows in lengths.packed()]
        [[4, 0, 5, 6], [6, 0, 5, 4]]
        >>> lengths.placed(*lengths.packed()).valid
        4
        """
        return [packed_rows(self.values, self.steps, reverse) for reverse in (False, True)]

    def placed(self, forwards: Any, backwards: Any) -> Self:
        """Take what :meth:`packed` gave, once it is on the device: for those who upload a whole batch at once.

        forwards, backwards : (M,) integers, the positions in each order of reading
        """
        self._rows = {False: forwards, True: backwards}
        return self

    def rows(self, x: Any, reverse: bool = False) -> Any:
        """``backends.packed_sequences.packed_rows`` of these, beside the array ``x``.

        reverse : in the order of reading from the end

        >>> Lengths([1, 3], steps=4).rows(np.zeros((2, 4, 1))).tolist()  # positions n · T + t
        [4, 0, 5, 6]
        """
        rows, xp = self._rows.get(reverse), namespace_of(x)
        if rows is not None and namespace_of(rows) is xp and (xp is NUMPY or rows.device == x.device):
            return rows
        return self._place(Device.of(x), reverse)

    def _place(self, device: Device, reverse: bool) -> Any:
        rows = copies.to_device(packed_rows(self.values, self.steps, reverse), device)
        self._rows[reverse] = rows
        return rows

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"Lengths({len(self.values)} sequences of up to {self.steps} steps, {self.valid} valid)"


def _on_host(operation: str, values: Any) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.data
    if not isinstance(values, list | tuple | np.ndarray):
        if hasattr(values, "dtype"):
            refuse(
                operation, "lengths are on a device", "the host is where the order of the steps is made",
                "pass the array that was loaded",
            )  # fmt: skip
        refuse(operation, f"lengths are {values!r:.60}", "one integer a sequence is expected", "pass a list of them")
    try:
        return np.asarray(values)
    except ValueError:  # rows of several lengths
        refuse(operation, f"lengths are {values!r:.60}", "one integer a sequence is expected", "flatten them")


def pack(x: Any, lengths: Any) -> Tensor:
    """The valid steps as rows, for what is computed step by step: padding is then in no product and in no sum.

    x : (N, T, ...) array
    lengths : N integers on the host, each in 1 .. T, or Lengths

    Returns (M, ...), M = sum of lengths, step 0 of all sequences first, the longest sequence first. Raises ShapeError.

    >>> pack([[[1.0], [2.0]], [[3.0], [0.0]]], [2, 1]).numpy().ravel()
    array([1., 3., 2.], dtype=float32)
    """
    x = as_tensor(x)
    if x.ndim < 2:
        refuse("pack", f"x has shape {tuple(x.shape)}", "(N, T, ...) is expected", "add the axis of steps")
    lengths = Lengths.of("pack", lengths, x.shape[0], x.shape[1])
    return apply(_recurrent.pack_steps, x, lengths.rows(x.data))


def unpack(packed: Any, lengths: Lengths) -> Tensor:
    """Rows back to their steps, and zeros behind each sequence's end: the inverse of :func:`pack`.

    packed : (M, ...) array
    lengths : Lengths, which know T

    Returns (N, T, ...). Raises ShapeError.

    >>> unpack([1.0, 3.0, 2.0], Lengths([2, 1], steps=2)).numpy()
    array([[1., 2.],
           [3., 0.]], dtype=float32)
    """
    packed = as_tensor(packed)
    if not isinstance(lengths, Lengths):
        refuse("unpack", f"lengths are {lengths!r:.60}", "Lengths are expected", "make them by Lengths(values, steps)")
    if not packed.ndim or packed.shape[0] != lengths.valid:
        refuse(
            "unpack", f"packed has shape {tuple(packed.shape)}", f"the lengths have {lengths.valid} valid steps",
            "pass the lengths with which it was packed",
        )  # fmt: skip
    rows = lengths.rows(packed.data)
    return apply(_recurrent.unpack_steps, packed, rows, n=len(lengths), steps=lengths.steps)
