"""What a step gets: the next batch, on the model's device, with what stays on the host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends.runtime.device import Device
from backends.runtime.prefetch import Prefetch
from dlcore._core.input_tree import leaves, like, rows_of, several, steps_of
from dlcore.functional import Lengths

__all__ = ["Batch", "Feed"]


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch on the host, ``x`` and ``y``, and on the device, ``inputs`` and ``targets``; y may be a dict by head, and
    x a tuple or a dict of several inputs.

    lengths : of sequences, whose numbers stay on the host; None where all steps are valid
    """

    x: Any
    y: Any
    inputs: Any
    targets: Any
    lengths: Lengths | None = None

    @property
    def rows(self) -> int:
        """How many examples it has."""
        return rows_of(self.x)


class Feed:
    """Brings the batches of passes to a device, each by one upload; see :mod:`backends.runtime.prefetch`."""

    def __init__(self, device: Device) -> None:
        self._prefetch = Prefetch(device)

    def __call__(self, batches: Iterable[tuple[Any, ...]], dtype: str, targets: bool = True) -> Iterator[Batch]:
        """The batches on the device, floats in ``dtype``.

        batches : of (x, y) or (x, y, lengths); close the iterator that comes back where it is left early
        targets : whether they are needed on the device too
        """

        def packed() -> Iterator[tuple[tuple[Any, Any, Lengths | None], list[np.ndarray]]]:
            for x, y, *rest in batches:
                lengths = Lengths(rest[0], steps_of(x), "lengths") if rest else None
                places = [] if lengths is None else lengths.packed()
                parts = [] if not targets else [*y.values()] if isinstance(y, dict) else [y]
                inputs = leaves(x) if several(x) else [x]
                yield (x, y, lengths), [_cast(part, dtype) for part in (*inputs, *places, *parts)]

        with closing(self._prefetch.batches(packed())) as fed:  # type: ignore[type-var]  both are generators
            for (x, y, lengths), (inputs, *parts) in fed:
                if several(x):
                    count = len(x)
                    inputs, parts = like(x, [inputs, *parts[: count - 1]]), parts[count - 1 :]
                if lengths is not None:
                    lengths.placed(*parts[:2])
                    parts = parts[2:]
                if not targets:
                    yield Batch(x, y, inputs, None, lengths)
                elif isinstance(y, dict):
                    yield Batch(x, y, inputs, dict(zip(y, parts, strict=True)), lengths)
                else:
                    yield Batch(x, y, inputs, parts[0], lengths)


def _cast(host: np.ndarray, dtype: str) -> np.ndarray:
    return host.astype(dtype, copy=False) if host.dtype.kind == "f" else host
