"""Every kind of training, and a search, killed -9 at any moment and begun again: it ends as if nobody had."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from killed_commands import WORKLOADS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it forks")

KILLS = dict.fromkeys(WORKLOADS, 15) | {"tune with two workers": 10}


def killed(folder: Path, name: str, count: int) -> dict[str, Any]:
    script = Path(__file__).with_name("killed_commands.py")
    words = [sys.executable, str(script), str(folder), name, str(count), "1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=900, cwd=script.parent)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.full
@pytest.mark.parametrize("name", WORKLOADS)
def test_killed_at_random_it_ends_with_the_same_bytes(
    name: str, tmp_path: Path, figures: MutableMapping[str, Any]
) -> None:
    found = killed(tmp_path, name, KILLS[name])
    figures["kills"] = {name: found}
    assert found["killed"] == KILLS[name]
    assert found["killed while writing"] >= 1
    assert found["ended as one that nobody killed"] == found["runs"]


def test_they_are_a_hundred() -> None:
    assert sum(KILLS.values()) == 100
