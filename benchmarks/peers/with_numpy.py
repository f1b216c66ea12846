"""The products in NumPy, written by hand: what its BLAS gives."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from benchmarks.peers.timing import Part
from benchmarks.peers.workloads import Block, Dense, Product, Workload, normal

__all__ = ["VERSION", "applied", "parts_of", "threads"]

VERSION = np.__version__


def applied(setting: str) -> nullcontext[None]:
    return nullcontext()


def threads() -> str:
    return "BLAS " + "/".join(str(pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas")


def parts_of(work: Workload, setting: str) -> dict[str, Part]:
    match work:
        case Product(_, n):
            a, b = normal(n, n), normal(n, n, seed=2)
            return {"product": Part(lambda _: a @ b, check=lambda y: float(np.abs(y).mean()))}
        case Block(_, (Dense(units),), (features,), batch):
            return _linear(normal(batch, features), normal(features, units, seed=1), normal(batch, units, seed=2))
    raise NotImplementedError(f"{work.name} is no product")


def _linear(x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> dict[str, Part]:
    b = np.zeros(w.shape[1], dtype=np.float32)

    def forward(_: Any) -> np.ndarray:
        y = x @ w
        y += b
        return y

    return {"forward": Part(forward), "backward": Part(lambda _: (dy @ w.T, x.T @ dy, dy.sum(axis=0)))}
