"""``python -m gpu.sample DEVICE``: a launch or more of every CUDA kernel in every dtype, for compute-sanitizer."""

from __future__ import annotations

import importlib
import sys

from arrays import Backend
from cuda_samples import sample

from backends.cuda import compile
from backends.runtime.copies import synchronize
from backends.runtime.device import resolve


def main(name: str) -> None:
    """Run the samples and wait for the last of them."""
    device = resolve(name)
    # Out of a pool, an array's neighbour is another array's memory, which memcheck takes as valid.
    importlib.import_module("cupy").cuda.set_allocator(None)
    units = [(family, dtype) for family, dtypes in compile.DTYPES.items() for dtype in dtypes]
    with device.active():
        for family, dtype in units:
            sample(Backend("cuda", device), family, dtype)
            synchronize(device)
    print(f"sample: {len(units)} units")


if __name__ == "__main__":
    main(sys.argv[1])
