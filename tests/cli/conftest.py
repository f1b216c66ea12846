"""Every command is tested in an empty folder, below which runs are written."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _blank_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and saved blank: drawing them is most of the time of a small run, and tests/report draws them.

    A test that looks at a picture is marked ``draws``; commands in a process of their own draw too.
    """
    if request.node.get_closest_marker("draws"):
        return
    saved = Figure.savefig

    def blank(figure: Figure, file: Any, **settings: Any) -> None:
        saved(Figure(figsize=(1, 1)), file if isinstance(file, io.IOBase) else Path(file), **settings)

    monkeypatch.setattr(Figure, "savefig", blank)
