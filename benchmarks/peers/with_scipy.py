"""The filters in SciPy's ``ndimage``, with the output's memory given; they have no threads."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import scipy
from scipy import ndimage

from benchmarks.peers.timing import Part
from benchmarks.peers.workloads import Filter, Workload, normal

__all__ = ["VERSION", "applied", "parts_of", "threads"]

VERSION = scipy.__version__


def applied(setting: str) -> nullcontext[None]:
    return nullcontext()


def threads() -> str:
    return "1"


def parts_of(work: Workload, setting: str) -> dict[str, Part]:
    if not isinstance(work, Filter):
        raise NotImplementedError(f"{work.name} is no filter")
    image, taps = normal(work.size, work.size), normal(5, 5, seed=2)
    y = np.empty_like(image)
    # SciPy's "mirror" is NumPy's "reflect".
    run = {
        "gaussian": lambda _: ndimage.gaussian_filter(image, 2.0, mode="mirror", truncate=4.0, output=y),
        "sobel": lambda _: ndimage.sobel(image, axis=1, mode="mirror", output=y),
        "correlate": lambda _: ndimage.correlate(image, taps, mode="mirror", output=y),
        "box": lambda _: ndimage.uniform_filter(image, 9, mode="mirror", output=y),
    }[work.kind]
    return {"filter": Part(run, check=lambda _: float(np.abs(y).mean()))}
