"""Runs of ``job.py`` that several files compare with."""

from __future__ import annotations

from pathlib import Path

import job
import pytest

import dlcore as dl


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run that was never interrupted leaves."""
    folder = tmp_path_factory.mktemp("whole")
    job.fit(job.trainer(folder), resume=None)
    return job.ended(folder)


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """The folder of a run that was interrupted."""
    with pytest.raises(dl.train.Interrupted):
        job.fit(job.trainer(tmp_path / "cut", [job.Interrupt(9)]))
    return tmp_path / "cut"
