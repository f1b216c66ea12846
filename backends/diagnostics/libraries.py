"""What the libraries behind the devices are like on this machine, and what to do where one is not as it should be.

:func:`backends.runtime.device.survey` says which devices can be used; here is what decides how fast they are, and what
they need when they compile.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from backends.runtime.installation import install_line

__all__ = ["Finding", "cpu", "cuda", "cupy_cache_folder"]


@dataclass(frozen=True)
class Finding:
    """One line of a report; ``fix`` says what to do, and is empty where nothing is wrong.

    >>> finding = Finding("numba", "not used", fix="pip install --upgrade numba")
    >>> f"{finding.label}: {finding.text}; fix: {finding.fix}"
    'numba: not used; fix: pip install --upgrade numba'
    """

    label: str
    text: str
    fix: str = ""


# --- the CPU


def cpu() -> Iterator[Finding]:
    """BLAS and Numba, and the kernels that it compiles, all of which are compiled for that: some seconds once.

    >>> [finding.label for finding in cpu()][:1]
    ['BLAS']
    """
    yield _blas()
    yield from _numba()


def _blas() -> Finding:
    """The libraries that are loaded, with the threads that each would use."""
    from backends.runtime.threads import loaded_blas

    found = [
        " ".join(str(x) for x in (one["internal_api"], one.get("version"), one.get("architecture")) if x)
        + f", {one['num_threads']} threads"
        for one in loaded_blas()
    ]
    if found:
        return Finding("BLAS", "; ".join(found))
    return Finding(
        "BLAS",
        "none is found whose threads can be set, so --threads has no effect",
        "pip install --force-reinstall numpy, whose packages bring OpenBLAS",
    )


def _numba() -> Iterator[Finding]:
    from backends.cpu import WHY_NOT, not_compiled
    from backends.runtime.threads import kernel_threads

    if WHY_NOT:
        fix = "unset NUMBA_DISABLE_JIT" if "NUMBA_DISABLE_JIT" in WHY_NOT else "pip install --upgrade numba"
        yield Finding("numba", f"not used, so the CPU has no compiled kernels: {WHY_NOT}", fix)
        return
    from backends.cpu.codegen.compile import cache_folder

    threads = kernel_threads()
    yield Finding("numba", f"{metadata.version('numba')}, compiled kernels on {threads} thread{'s' * (threads != 1)}")
    for name, reason in not_compiled().items():
        fix = "pip install --upgrade numba; where that does not help, report this line"
        yield Finding("not compiled", f"{name}, whose reference runs: {reason}", fix)
    folder = cache_folder()
    if folder:
        yield Finding("compiled kernels", f"kept in {folder}")
    else:
        nowhere = "kept nowhere, so each process compiles them anew"
        yield Finding("compiled kernels", nowhere, "set NUMBA_CACHE_DIR to a folder that can be written")


# --- CUDA


def cuda() -> Iterator[Finding]:
    """What CuPy would use: its package, NVRTC, CUB, the folder of compiled kernels. Nothing where it does not import.

    No device is needed: these are questions to the libraries, and one that fails is answered by a fix.

    >>> all(isinstance(finding, Finding) for finding in cuda())
    True
    """
    packages = _packages()
    if len(packages) > 1:
        first = ", ".join(packages)
        fix = f"pip uninstall {' '.join(packages)}, then {install_line('cuda13')}, or cuda12 in the place of cuda13"
        yield Finding("cupy", f"{len(packages)} packages, which overwrite each other's files: {first}", fix)
    try:
        import cupy  # pyright: ignore[reportMissingImports]
    except Exception:  # the survey of the devices says why
        return
    if len(packages) == 1:
        yield Finding("cupy", f"{cupy.__version__} ({packages[0]})")
    yield _nvrtc(cupy)
    yield _cub(cupy)
    yield _cupy_cache()


def _packages() -> list[str]:
    """The installed distributions that bring a module cupy."""
    names = {distribution.metadata["Name"] for distribution in metadata.distributions()}
    return sorted(name for name in names if name and re.fullmatch(r"cupy(-cuda\w+|-rocm\S+)?", name))


def _nvrtc(cupy: Any) -> Finding:
    """NVRTC compiles every kernel at run time; it is looked for when it is first used, and not at import."""
    try:
        major, minor = cupy.cuda.nvrtc.getVersion()
    except Exception as error:
        return Finding(
            "NVRTC",
            f"not found, and without it no kernel compiles: {type(error).__name__}",
            f"{install_line(f'cuda{_major(cupy)}')}, which brings the CUDA libraries",
        )
    return Finding("NVRTC", f"{major}.{minor}")


def _cub(cupy: Any) -> Finding:
    """CUB makes reductions many times as fast; CuPy leaves it out without a word where it lacks something."""
    chosen = os.environ.get("CUPY_ACCELERATORS", "cub")
    if "cub" not in re.split(r"[,\s]+", chosen):
        return Finding("CUB", f"off, by CUPY_ACCELERATORS={chosen!r}: reductions are slow", "unset CUPY_ACCELERATORS")
    if _ask(lambda: cupy.cuda.cub.available) is False:
        return Finding("CUB", "off, for this cupy is built without it: reductions are slow", "reinstall cupy")
    # https://github.com/cupy/cupy/issues/9720: without the toolkit's folder CuPy goes back to its older reductions.
    if _ask(lambda: cupy.cuda.get_cuda_path()) is None:
        return Finding(
            "CUB",
            "off for some reductions, which are slower: cupy knows no folder of the CUDA toolkit",
            f"set CUDA_PATH to it, or {install_line(f'cuda{_major(cupy)}')}",
        )
    return Finding("CUB", "on")


def cupy_cache_folder() -> Path:
    """Where CuPy keeps compiled kernels.

    >>> cupy_cache_folder().is_absolute() or "CUPY_CACHE_DIR" in os.environ
    True
    """
    return Path(os.environ.get("CUPY_CACHE_DIR") or "~/.cupy/kernel_cache").expanduser()


def _cupy_cache() -> Finding:
    """Where CuPy keeps what it has compiled."""
    if os.environ.get("CUPY_CACHE_IN_MEMORY", "0") not in ("", "0"):
        return Finding("CUDA kernels", "kept in memory alone, so each process compiles them anew",
                       "unset CUPY_CACHE_IN_MEMORY")  # fmt: skip
    folder = cupy_cache_folder()
    if _writable(folder):
        return Finding("CUDA kernels", f"kept in {folder}")
    return Finding(
        "CUDA kernels",
        f"{folder} cannot be written, so each process compiles them anew",
        "set CUPY_CACHE_DIR to a folder that can be written",
    )


def _writable(folder: Path) -> bool:
    """Whether a file can be made there, or the folder itself where it is not there yet; nothing stays behind."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _major(cupy: Any) -> int:
    """The CUDA that cupy is built for."""
    version = _ask(lambda: cupy.cuda.runtime.runtimeGetVersion() // 1000)
    return version if isinstance(version, int) else 13


def _ask(question: Callable[[], Any]) -> Any:
    """The answer, or "unknown" where asking fails."""
    try:
        return question()
    except Exception:
        return "unknown"
