"""The guides' code runs, in a process of its own, and prints what the guides say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import dlcore as dl

FOLDER = Path(dl.__file__).parent / "guides"
GUIDES = sorted(path.name for path in FOLDER.glob("*.md"))
README = (Path(__file__).parent.parent / "README.md").read_text()


def _blocks(guide: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (FOLDER / guide).read_text(), re.DOTALL)


@pytest.mark.parametrize("guide", GUIDES)
def test_the_code_of_a_guide_prints_what_the_guide_says(guide: str, tmp_path: Path) -> None:
    program = "".join(_blocks(guide, "python"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(_blocks(guide, "text"))
    assert done.stdout


def test_a_layer_and_a_kernel_take_at_most_40_lines() -> None:
    lines = [line for block in _blocks("layer-and-kernel.md", "python") for line in block.splitlines() if line.strip()]
    assert 20 < len(lines) <= 40
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("guide", GUIDES)
def test_the_names_in_a_guide_exist(guide: str) -> None:
    text = (FOLDER / guide).read_text()
    names = sorted(set(re.findall(r"\bdl\.([A-Za-z_][\w.]*\w)", text)))
    assert names
    for name in names:
        found: object = dl
        for part in name.split("."):
            assert hasattr(found, part), f"{guide}: dl.{name}"
            found = getattr(found, part)


def test_readme_leads_to_every_guide() -> None:
    assert set(re.findall(r"\(dlcore/guides/([\w-]+\.md)\)", README)) == set(GUIDES)
