"""``python -m gpu``: the suite, or with ``--part NAME RESULT`` one part of it, which the suite starts."""

from __future__ import annotations

import argparse
import ctypes
import signal
import sys
from pathlib import Path


def main(words: list[str]) -> int:
    """Run the suite; 0 where every part passed, 1 where one failed, 2 where there is no GPU to test."""
    parser = argparse.ArgumentParser(prog="run_all.sh", description="Level 7: all that only a real GPU can show.")
    parser.add_argument("--json", type=Path, default=Path("gpu-report.json"), help="the report; gpu-report.json")
    parser.add_argument("--parts", nargs="+", metavar="NAME", help="which parts; all")
    parser.add_argument("--budget", type=_seconds, metavar="SECONDS", help="the most that all parts may take")
    parser.add_argument("--commit", type=Path, metavar="FILE", help="holds the commit's id, where git cannot tell it")
    parser.add_argument("--part", nargs=2, metavar=("NAME", "RESULT"), help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    try:
        from backends.errors import DeviceError
        from backends.runtime.device import resolve
        from gpu import suite
        from gpu.parts import PARTS
    except ImportError as error:
        print(f"level 7: {error}; fix: pip install -e '.[cuda13,test]' in a copy of the repository", file=sys.stderr)
        return 2
    names = [part.name for part in PARTS]
    unknown = [name for name in asked.parts or () if name not in names]
    if unknown:
        print(f"level 7: --parts: there is no part {unknown[0]!r}, choose from {', '.join(names)}", file=sys.stderr)
        return 2
    if asked.commit is not None and not asked.commit.is_file():
        print(f"level 7: --commit: {asked.commit} is no file; give one with the commit's id", file=sys.stderr)
        return 2
    try:
        device = resolve("cuda")
    except DeviceError as error:
        print(f"level 7 needs a CUDA GPU: {error}".replace(", or --device cpu", ""), file=sys.stderr)
        return 2
    if asked.part:
        _end_with_the_suite()
        suite.run_one(asked.part[0], device, Path(asked.part[1]))
        return 0
    return suite.run_all(device, asked.json, asked.parts, asked.budget, asked.commit)


def _end_with_the_suite() -> None:
    """On Linux this process is killed where the suite that started it is: nobody else would end it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds above 0")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
