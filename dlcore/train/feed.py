"""What a step gets: the next batch, on the model's device, with what stays on the host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends.device import Device
from backends.prefetch import Prefetch

__all__ = ["Batch", "Feed"]


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch on the host, ``x`` and ``y``, and on the device, ``inputs`` and ``targets``; y may be a dict by head."""

    x: np.ndarray
    y: Any
    inputs: Any
    targets: Any


class Feed:
    """Brings the batches of any number of passes to a device, each by one upload; see :mod:`backends.prefetch`."""

    def __init__(self, device: Device) -> None:
        self._prefetch = Prefetch(device)

    def __call__(self, batches: Iterable[tuple[Any, ...]], dtype: str, targets: bool = True) -> Iterator[Batch]:
        """The batches on the device, floats in ``dtype``.

        batches : of (x, y, ...); close the iterator that comes back where it is left early
        targets : whether they are needed on the device too
        """

        def packed() -> Iterator[tuple[tuple[np.ndarray, Any], list[np.ndarray]]]:
            for x, y, *_ in batches:
                parts = [] if not targets else [*y.values()] if isinstance(y, dict) else [y]
                yield (x, y), [_cast(part, dtype) for part in (x, *parts)]

        with closing(self._prefetch.batches(packed())) as fed:  # type: ignore[type-var]  both are generators
            for (x, y), (inputs, *parts) in fed:
                if not targets:
                    yield Batch(x, y, inputs, None)
                elif isinstance(y, dict):
                    yield Batch(x, y, inputs, dict(zip(y, parts, strict=True)))
                else:
                    yield Batch(x, y, inputs, parts[0])


def _cast(host: np.ndarray, dtype: str) -> np.ndarray:
    return host.astype(dtype, copy=False) if host.dtype.kind == "f" else host
