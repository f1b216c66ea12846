"""The frameworks: their names, how to install them, and the settings in which each does a piece of work.

Nothing is imported here: a process imports one framework, and the process that starts them none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.peers.workloads import AdamStep, Block, Dense, Filter, Product, Training, Workload, has_images

__all__ = ["FRAMEWORKS", "IN_TRAINER", "OURS", "OWN_LOOP", "Framework", "settings_of"]

OURS = "dlcore"
OWN_LOOP = "own loop"  # NumPy's BLAS has the threads that it takes by itself
IN_TRAINER = "as in Trainer"  # which gives the BLAS one thread


@dataclass(frozen=True)
class Framework:
    """One framework.

    module : of this package, that speaks to it
    package : what that module imports
    install : the command that brings it
    settings : those that apply to a piece of work, the default one first; none where it does not do such work
    """

    title: str
    module: str
    package: str
    install: str
    settings: Callable[[Workload], tuple[str, ...]]


def _ours(work: Workload) -> tuple[str, ...]:
    return (OWN_LOOP,) if isinstance(work, Filter) else (OWN_LOOP, IN_TRAINER)


def _pytorch(work: Workload) -> tuple[str, ...]:
    if isinstance(work, Filter):
        return ()
    layouts = ("", "channels last") if has_images(work) else ("",)
    rules = ("", "fused Adam") if isinstance(work, Training | AdamStep) else ("",)
    return tuple(", ".join(filter(None, (layout, rule))) or "default" for layout in layouts for rule in rules)


def _jax(work: Workload) -> tuple[str, ...]:
    return () if isinstance(work, Filter) else ("jit",)


def _numpy(work: Workload) -> tuple[str, ...]:
    """Where a few calls of NumPy do the work: products."""
    dense = isinstance(work, Block) and all(isinstance(layer, Dense) for layer in work.layers)
    return ("default",) if dense or isinstance(work, Product) else ()


def _of_filters(work: Workload) -> tuple[str, ...]:
    return ("default",) if isinstance(work, Filter) else ()


FRAMEWORKS: dict[str, Framework] = {
    OURS: Framework("dlcore", "ours", "dlcore", "pip install -e .", _ours),
    "pytorch": Framework("PyTorch", "with_pytorch", "torch", "pip install torch", _pytorch),
    "jax": Framework("JAX", "with_jax", "jax", "pip install jax", _jax),
    "numpy": Framework("NumPy", "with_numpy", "numpy", "pip install numpy", _numpy),
    "opencv": Framework("OpenCV", "with_opencv", "cv2", "pip install opencv-python-headless", _of_filters),
    "scipy": Framework("SciPy", "with_scipy", "scipy", "pip install scipy", _of_filters),
}


def settings_of(framework: str, work: Workload, compiled: bool = False) -> tuple[str, ...]:
    """The settings in which ``framework`` does ``work``; ``compiled`` adds PyTorch's compiler to each of them."""
    settings = FRAMEWORKS[framework].settings(work)
    if not compiled or framework != "pytorch" or not isinstance(work, Training | Block):
        return settings
    return (*settings, *("compile" if s == "default" else f"compile, {s}" for s in settings))
