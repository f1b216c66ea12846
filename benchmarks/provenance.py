"""What a figure belongs to: the commit that was measured, and the machine."""

from __future__ import annotations

from pathlib import Path

from dlcore.bench import provenance
from dlcore.bench.provenance import machine

__all__ = ["FOLDER", "commit_of", "machine"]

FOLDER = "benchmarks/figures"
"""Where the figures of the full tier are written."""


def commit_of(root: Path) -> str:
    """The commit checked out in ``root``, with ``+changes`` if files differ from it; else ``"unknown"``.

    The figures' folder does not count as a change: a second session would otherwise mark itself by the files of the
    first.
    """
    return provenance.commit_of(root, but=(FOLDER,))
