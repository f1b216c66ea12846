#!/usr/bin/env bash
# Level 7 on this machine's CUDA GPU: prints a page, and writes gpu-report.json to the
# current folder (--json FILE: elsewhere), anew after each part, so that a run that is cut off leaves what it found.
#
#   pip install -e '.[cuda13,test]' && tests/gpu/run_all.sh
#   tests/gpu/run_all.sh --parts kernels runs --budget 480     some parts, in no more than so many seconds
#   tests/gpu/run_all.sh --commit FILE                         the commit's id, as where .git is not there
#
# Runs the `python` of the active environment, or `python3` where there is none, or $PYTHON. Exit codes: 0 every part
# passed or has nothing to run with, 1 a part failed or was left out for the budget, 2 no CUDA GPU can be used, an
# argument is wrong, or a package of the tests is missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PYTHONPATH="$root:$root/tests${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-$(command -v python || command -v python3)}
exec "$python" -m gpu "$@"
