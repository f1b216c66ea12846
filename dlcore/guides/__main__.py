"""``python -m dlcore.guides FOLDER``: build the API reference; needs pdoc, the extra ``docs``."""

import sys

from dlcore.errors import DlcoreError
from dlcore.guides.reference import build

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print("usage: python -m dlcore.guides FOLDER", file=sys.stderr)
        sys.exit(2)
    try:
        print(build(sys.argv[1]))
    except DlcoreError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
