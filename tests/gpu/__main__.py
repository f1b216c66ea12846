"""``python -m gpu``: the suite, or with ``--part NAME RESULT`` one part of it, which the suite starts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main(words: list[str]) -> int:
    """Run the suite; 0 where every part passed, 1 where one failed, 2 where there is no GPU to test."""
    parser = argparse.ArgumentParser(prog="run_all.sh", description="Level 7: all that only a real GPU can show.")
    parser.add_argument("--json", type=Path, default=Path("gpu-report.json"), help="the report; gpu-report.json")
    parser.add_argument("--part", nargs=2, metavar=("NAME", "RESULT"), help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    try:
        from backends.device import resolve
        from backends.errors import DeviceError
        from gpu import suite
    except ImportError as error:
        print(f"level 7: {error}; fix: pip install -e '.[cuda13,test]' in a copy of the repository", file=sys.stderr)
        return 2
    try:
        device = resolve("cuda")
    except DeviceError as error:
        print(f"level 7 needs a CUDA GPU: {error}".replace(", or --device cpu", ""), file=sys.stderr)
        return 2
    if asked.part:
        suite.run_one(asked.part[0], device, Path(asked.part[1]))
        return 0
    return suite.run_all(device, asked.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
