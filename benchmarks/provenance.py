"""What a figure belongs to: the commit that was measured, and the machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["FOLDER", "commit_of", "machine"]

FOLDER = "benchmarks/figures"
"""Where the figures of the full tier are written."""

SPEED_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "MKL_NUM_THREADS")
"""Environment variables that change how fast NumPy multiplies; reported where they are set."""


def commit_of(root: Path) -> str:
    """The commit checked out in ``root``, with ``+changes`` if files differ from it; else ``"unknown"``.

    A folder that only lies inside somebody else's repository has no commit of its own. The figures' folder does not
    count as a change: a second session would otherwise mark itself by the files of the first.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return "unknown"
        head = git("rev-parse", "HEAD")
        changes = git("status", "--porcelain", "--", ".", f":(exclude){FOLDER}")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+changes" if changes else head


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


def _cpu_model() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        info = ""
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    return model[1] if model else platform.processor() or platform.machine()
