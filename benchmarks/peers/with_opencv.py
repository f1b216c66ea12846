"""The filters in OpenCV, on every core that the process may use, with the output's memory given."""

from __future__ import annotations

import os
from contextlib import nullcontext

import cv2
import numpy as np

from benchmarks.peers.timing import Part
from benchmarks.peers.workloads import Filter, Workload, normal

__all__ = ["VERSION", "applied", "parts_of", "threads"]

VERSION = cv2.__version__

cv2.setNumThreads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def applied(setting: str) -> nullcontext[None]:
    return nullcontext()


def threads() -> str:
    return str(cv2.getNumThreads())


def parts_of(work: Workload, setting: str) -> dict[str, Part]:
    if not isinstance(work, Filter):
        raise NotImplementedError(f"{work.name} is no filter")
    image, taps = normal(work.size, work.size), normal(5, 5, seed=2)
    y, border = np.empty_like(image), cv2.BORDER_REFLECT_101  # NumPy's "reflect"
    run = {
        "gaussian": lambda _: cv2.GaussianBlur(image, (17, 17), 2.0, dst=y, borderType=border),
        "sobel": lambda _: cv2.Sobel(image, cv2.CV_32F, 1, 0, dst=y, ksize=3, borderType=border),
        "correlate": lambda _: cv2.filter2D(image, -1, taps, dst=y, borderType=border),
        "box": lambda _: cv2.blur(image, (9, 9), dst=y, borderType=border),
    }[work.kind]
    return {"filter": Part(run, check=lambda _: float(np.abs(y).mean()))}
