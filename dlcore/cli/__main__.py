"""``python -m dlcore.cli``: the command line without the installed ``dlcore`` command."""

import sys

from dlcore.cli import main

sys.exit(main())
