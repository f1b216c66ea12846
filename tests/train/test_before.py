"""A finished run is never lost, whatever fails at whatever moment while another takes its place or it goes on."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from file_faults import fault_at

import dlcore as dl
from dlcore._core.files import append, write_atomically
from dlcore._core.lock import Lock
from dlcore.train.checkpoint import snapshot
from dlcore.train.config.config import Config
from dlcore.train.runs import creation
from dlcore.train.runs import run as folders

SETTINGS = Config.of(data="digits", model="mlp", epochs=2)


def fill(folder: Path, words: str, steps: tuple[int, ...] = (5, 10), finished: bool = True) -> None:
    """The files of a run in the order in which training writes them."""
    creation.write_settings(folder, SETTINGS)
    write_atomically(folder / "model.json", lambda: f'{{"dlcore": "{words}"}}')
    for step in steps:
        for file in ("checkpoints/" + snapshot.LINES, "metrics.jsonl"):
            add(folder / file, f"{words} {step}\n")
        write_atomically(folder / "checkpoints" / f"step-{step:08}.safetensors", lambda step=step: f"{words} {step}")
    if finished:
        write_atomically(folder / "model.safetensors", lambda: words)
        write_atomically(folder / "result.json", lambda: words)


def add(path: Path, line: str) -> None:
    """Append a line, unless it is there, behind the last one that has an end."""
    text = path.read_text() if path.exists() else ""
    if text[-1:] not in ("", "\n"):
        os.truncate(path, text.rfind("\n") + 1)
    if line not in text:
        append(path, line, durable=True)


def content(folder: Path) -> dict[str, str]:
    """All that is there, but for what was put aside, the lock and what a killed process left."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def overwrite(runs: Path, words: str = "new", finished: bool = True) -> None:
    """What ``dlcore train --name a --overwrite`` does."""
    lock = creation.create(runs, "x", "a", overwrite=True)
    try:
        try:
            fill(lock.folder, words, finished=finished)
        finally:
            folders.settle(lock.folder)
    finally:
        lock.release()


def go_on(runs: Path, finished: bool = True) -> None:
    """What ``dlcore train --resume a --epochs 4`` does."""
    folder = runs / "a"
    folders.recover(folder)
    with Lock(folder):
        folders.settle(folder)
        try:
            if (folder / "result.json").exists():
                folders.keep(folder)
            fill(folder, "new", steps=(15, 20), finished=finished)
        finally:
            folders.settle(folder)


JOBS = {"overwrite": overwrite, "go on": go_on}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    lock = creation.create(folder, "x", "a")
    fill(lock.folder, "old")
    lock.release()
    return folder


def copy(runs: Path, place: Path) -> Path:
    import shutil

    return Path(shutil.copytree(runs, place))


def check(runs: Path, old: dict[str, str], whole: dict[str, str]) -> None:
    """Of a folder that somebody has settled: the old run is there, or beside the new one, or the new one is whole."""
    folder = runs / "a"
    now = content(folder)
    assert old in (now, content(folder / ".before")) or now == whole
    assert not list(folder.glob(".before.*"))


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("kind", ["kill", "full", "once"])
def test_a_fault_at_any_file_operation_loses_no_finished_run(name: str, kind: str, runs: Path, tmp_path: Path) -> None:
    job, old = JOBS[name], content(runs / "a")
    whole = copy(runs, tmp_path / "whole")
    with fault_at(0) as counted:
        job(whole)
    new = content(whole / "a")
    assert new != old
    assert counted.count > 50
    for at in range(1, counted.count + 1, 1 if kind == "kill" else 6):
        place = copy(runs, tmp_path / f"{at}")
        with fault_at(at, kind), suppress(dl.DlcoreError, OSError):
            job(place)
        folders.recover(place / "a")
        check(place, old, new)
        with fault_at(0):
            job(place)
        assert content(place / "a") == new, at
        assert not list((place / "a").rglob(".*.tmp")) or name == "go on"
        assert not (place / "a" / ".before").exists()


def twice(job: Callable[..., None], runs: Path, tmp_path: Path, pairs: list[tuple[int, int]]) -> None:
    old = content(runs / "a")
    whole = copy(runs, tmp_path / "whole")
    with fault_at(0):
        job(whole)
    new = content(whole / "a")
    for first, second in pairs:
        place = copy(runs, tmp_path / f"{first}-{second}")
        for at in (first, second):
            with fault_at(at), suppress(dl.DlcoreError):
                job(place)
        folders.recover(place / "a")
        check(place, old, new)
        with fault_at(0):
            job(place)
        assert content(place / "a") == new, (first, second)


@pytest.mark.parametrize("name", JOBS)
def test_two_kills_in_a_row_lose_no_finished_run(name: str, runs: Path, tmp_path: Path) -> None:
    draw = random.Random(0)
    twice(JOBS[name], runs, tmp_path, sorted({(draw.randint(1, 70), draw.randint(1, 70)) for _ in range(30)}))


@pytest.mark.full
@pytest.mark.parametrize("name", JOBS)
def test_two_kills_anywhere_lose_no_finished_run(name: str, runs: Path, tmp_path: Path) -> None:
    twice(JOBS[name], runs, tmp_path, [(first, second) for first in range(1, 90) for second in range(1, 90, 2)])


def test_a_finished_run_outlives_overwriting_that_is_overwritten_and_fails(runs: Path) -> None:
    old = content(runs / "a")
    overwrite(runs, "half", finished=False)
    assert content(runs / "a" / ".before") == old
    half = content(runs / "a")
    with pytest.raises(RuntimeError):
        fails(runs)
    assert content(runs / "a") == half  # nothing came of it
    assert content(runs / "a" / ".before") == old
    overwrite(runs, "half again", finished=False)
    assert content(runs / "a" / ".before") == old  # and not the one that was never finished
    overwrite(runs)
    assert not (runs / "a" / ".before").exists()


def fails(runs: Path) -> None:
    lock = creation.create(runs, "x", "a", overwrite=True)
    try:
        creation.write_settings(lock.folder, SETTINGS)
        raise RuntimeError("in the new run's start")
    finally:
        folders.settle(lock.folder)
        lock.release()


def test_an_unfinished_run_is_kept_until_the_new_one_has_a_checkpoint(runs: Path) -> None:
    (runs / "a" / "result.json").unlink()
    old = content(runs / "a")
    with pytest.raises(RuntimeError):
        fails(runs)
    assert content(runs / "a") == old
    overwrite(runs, finished=False)
    assert not (runs / "a" / ".before").exists()


def test_a_finished_run_that_goes_on_stays_beside_until_more_is_finished(runs: Path) -> None:
    old = content(runs / "a")
    go_on(runs, finished=False)
    assert content(runs / "a" / ".before") == old
    assert (runs / "a" / ".before" / "metrics.jsonl").read_text().count("\n") == 2  # and not what was added since


def test_a_link_in_the_place_of_what_is_put_aside_is_refused(runs: Path, tmp_path: Path) -> None:
    for name in (".before", ".before.moving", ".before.gone"):
        os.symlink(tmp_path, runs / "a" / name)
        with pytest.raises(dl.ConfigError, match="is a link"):
            overwrite(runs)
        (runs / "a" / name).unlink()


@pytest.mark.parametrize("left", [[".config.toml.ab12.tmp"], [".lock"], ["checkpoints/history.jsonl"]])
def test_a_folder_in_which_nothing_began_is_free_for_a_run_of_its_name(left: list[str], tmp_path: Path) -> None:
    for name in left:
        path = tmp_path / "runs" / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    lock = creation.create(tmp_path / "runs", "x", "a")
    lock.release()
    assert [path.name for path in (tmp_path / "runs" / "a").iterdir()] == [".lock"]


def test_a_foreign_folder_is_never_free(tmp_path: Path) -> None:
    for name in ("notes.txt", "checkpoints/precious", ".before/thesis.tex"):
        path = tmp_path / name[:3] / "a" / name
        path.parent.mkdir(parents=True)
        path.write_text("mine")
        with pytest.raises(dl.ConfigError):
            creation.create(tmp_path / name[:3], "x", "a", overwrite=True)
        assert path.read_text() == "mine"
