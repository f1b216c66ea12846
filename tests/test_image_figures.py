"""The figures on images that README quotes: the CNN on the whole of Fashion-MNIST, and what the first run compiles.

``pytest -m full -n 0`` runs them and writes ``benchmarks/figures/images.json``. Accuracies are asserted; times are
recorded, and not asserted.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from dlcore.data.builtin.registry import has_fashion

pytestmark = pytest.mark.full
ROOT = Path(__file__).parent.parent
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def _recipe() -> list[str]:
    """The words of README's command for the whole of Fashion-MNIST, after ``dlcore``."""
    found = re.search(r"<!-- command: fashion -->\n```sh\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None
    return shlex.split(found[1])[1:]


def test_the_recipe_reaches_92_5_percent_on_the_whole_of_fashion_mnist(
    figures: MutableMapping[str, Any], tmp_path: Path
) -> None:
    assert has_fashion(DEBIAN), f"the whole set is not there; apt-get install dataset-fashion-mnist puts it in {DEBIAN}"
    start = time.perf_counter()
    command = [sys.executable, "-m", "dlcore", *_recipe(), "--name", "fashion"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    seconds = time.perf_counter() - start
    result = json.loads((tmp_path / "runs" / "fashion" / "result.json").read_text())
    accuracy = result["test"]["cnn"]["accuracy"]
    figures["images"] = {
        "cnn on the whole of Fashion-MNIST, with augmentation": {
            "test accuracy": accuracy,
            "epochs": result["epochs"],
            "parameters": result["parameters"],
            "minutes": round(seconds / 60, 2),
        }
    }
    assert result["epochs"] == 10
    assert accuracy >= 0.925


def test_what_the_first_run_takes_for_compilation(figures: MutableMapping[str, Any], tmp_path: Path) -> None:
    seconds = []
    for name in ("first", "second"):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "dlcore", "train", "--epochs", "1", "--baseline", "none", "--name", name],
            cwd=tmp_path, capture_output=True, text=True, check=True,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        )  # fmt: skip
        seconds.append(time.perf_counter() - start)
        assert done.stderr.count("compiling CPU kernels (first run)") == (name == "first")
    figures["images"] = {
        "dlcore train for one epoch": {
            "seconds of the first run": round(seconds[0], 1),
            "seconds of the second run": round(seconds[1], 1),
        }
    }
