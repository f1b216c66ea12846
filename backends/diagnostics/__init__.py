"""What is installed and whether it works: ``libraries`` and, kernel by kernel, ``selftest``."""
