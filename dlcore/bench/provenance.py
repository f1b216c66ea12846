"""What a figure belongs to: the commit that was measured, and the machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["ROOT", "commit_info", "commit_of", "machine", "machine_info"]

ROOT = Path(__file__).resolve().parents[2]
"""Where the package lies: a copy of the repository, or a folder of installed packages, which has no commit."""

SPEED_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "MKL_NUM_THREADS")
"""Environment variables that change how fast NumPy multiplies; reported where they are set."""


def commit_of(root: Path, but: Sequence[str] = ()) -> str:
    """The commit checked out in ``root``, with ``+changes`` if files differ from it; else ``"unknown"``.

    but : folders whose files do not count as changes

    A folder that only lies inside somebody else's repository has no commit of its own.
    """
    try:
        if Path(_git(root, "rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return "unknown"
        head = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--", ".", *(f":(exclude){folder}" for folder in but))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+changes" if changes else head


def commit_info(root: Path = ROOT) -> dict[str, Any]:
    """The commit of dlcore itself as pytest-benchmark writes one: id, time, author_time, dirty, project, branch."""
    commit, _, changes = commit_of(root).partition("+")
    info: dict[str, Any] = {"id": commit, "time": None, "author_time": None, "dirty": bool(changes)}
    info |= {"project": "dlcore", "branch": "(unknown)"}
    if commit != "unknown":
        info["time"], info["author_time"] = _git(root, "show", "-s", "--format=%cI%n%aI").splitlines()
        branch = _git(root, "rev-parse", "--abbrev-ref", "HEAD")
        info["branch"] = "(detached head)" if branch == "HEAD" else branch
    return info


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code: processor, usable cores, system, Python, NumPy and its BLAS."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only; it knows a container's limit
    return {
        "cpu": _cpu_model(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas['name']} {blas['version']}",
        "environment": {name: os.environ[name] for name in SPEED_VARIABLES if name in os.environ},
    }


def machine_info() -> dict[str, Any]:
    """The machine as pytest-benchmark describes one, under its names."""
    return {
        "node": platform.node(),
        "processor": platform.processor(),
        "machine": platform.machine(),
        "python_compiler": platform.python_compiler(),
        "python_implementation": platform.python_implementation(),
        "python_implementation_version": platform.python_version(),
        "python_version": platform.python_version(),
        "python_build": list(platform.python_build()),
        "release": platform.release(),
        "system": platform.system(),
        "cpu": {"brand_raw": _cpu_model(), "count": os.cpu_count(), "arch_string_raw": platform.machine()},
    }


def _cpu_model() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        info = ""
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    return model[1] if model else platform.processor() or platform.machine()
