#!/usr/bin/env bash
# Level 7 on this machine's CUDA GPU, in less than ten minutes: prints a page, and writes gpu-report.json to the
# current folder (--json FILE: elsewhere).
#
#   pip install -e '.[cuda13,test]' && tests/gpu/run_all.sh
#
# Runs the `python` of the active environment, or $PYTHON. Exit codes: 0 every part passed or has nothing to run with,
# 1 a part failed, 2 no CUDA GPU can be used, or a package of the tests is missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PYTHONPATH="$root:$root/tests${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m gpu "$@"
