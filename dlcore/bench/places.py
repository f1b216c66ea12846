"""Where a benchmark runs: a device by its name, or ``cpu-reference``, the CPU with the reference kernels alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends.dispatch import reference_only
from backends.runtime import copies
from backends.runtime.device import CPU, Device, resolve, survey
from backends.runtime.threads import blas_threads
from dlcore.bench.provenance import machine
from dlcore.errors import DeviceError

__all__ = ["REFERENCE", "Place", "place"]

REFERENCE = "cpu-reference"


@dataclass(frozen=True)
class Place:
    """A device, and whether only the reference kernels run there.

    name : "cpu", "cuda:0" or "cpu-reference"
    threads : of the BLAS on the host; one, as in the trainer, since threads that wait for each other make products many
        times slower as soon as another process wants a core
    """

    name: str
    device: Device
    threads: int = 1

    @property
    def reference(self) -> bool:
        return self.name == REFERENCE

    @property
    def on_host(self) -> bool:
        """Whether its memory is the host's, so that nothing is copied."""
        return self.device.holds(np.zeros(1))

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside, work runs here."""
        with self.device.active(), blas_threads(self.threads), reference_only() if self.reference else nullcontext():
            yield

    def put(self, host: np.ndarray) -> Any:
        """A host array as one that is here, which may be the same array."""
        return copies.to_device(host, self.device)

    def wait(self) -> None:
        """Return when the work that was given to the device is done."""
        copies.synchronize(self.device)

    def title(self) -> str:
        """What it is made of, for people: "AMD EPYC 9R14"; for a CUDA device also its driver and CuPy."""
        if self.on_host:  # asking for the CPU loads no CuPy
            return f"{machine()['cpu']}{', reference kernels only' if self.reference else ''}"
        facts = next((report.facts for report in survey() if report.name == self.name), {})
        return ", ".join(
            [facts.get("name", "unknown"), *(f"{fact} {facts[fact]}" for fact in ("driver", "cupy") if fact in facts)]
        )


def place(name: str | None, threads: int = 1) -> Place:
    """The place of a name: cpu, cuda, cuda:N, auto, or cpu-reference.

    None is what it is in :func:`backends.runtime.device.resolve`.

    Raises DeviceError for another name, and with its cause for a device that cannot be used.

    >>> place("cpu-reference").reference
    True
    """
    if name == REFERENCE:
        return Place(REFERENCE, CPU, threads)
    if name is not None and "ref" in name.lower():
        raise DeviceError(
            f"device {name!r} is not known: expected cpu, cuda, cuda:N, auto or {REFERENCE}; did you mean {REFERENCE}?"
        )
    device = resolve(name)
    return Place(str(device), device, threads)
