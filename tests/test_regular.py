"""Files of a run's folder are regular files of that folder: a link, pipe, device or socket there is not touched."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dlcore._core.files import append
from dlcore._core.lock import Lock, holder
from dlcore._core.regular import is_regular, open_regular, read_regular, refuse_link
from dlcore.errors import CheckpointError, ConfigError
from dlcore.train.checkpoint import snapshot
from dlcore.train.checkpoint.arrays import read_arrays, shapes_of
from dlcore.train.checkpoint.lines import EpochLog, read_lines
from dlcore.train.config.config import Config, dump
from dlcore.train.runs.creation import create
from dlcore.train.runs.run import Run, bring_back, forget

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and sockets in folders are POSIX's")

KINDS = ("link", "dangling link", "pipe", "socket", "folder", "device")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, as a socket needs."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def put(kind: str, path: Path) -> Path:
    """Something that is no regular file; what is beside it."""
    target = path.parent.parent / f"{path.parent.name}-target"
    if kind == "link":
        target.write_text("somebody's own")
        path.symlink_to(target)
    elif kind == "dangling link":
        path.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    return target


USES: dict[str, Callable[[Path], object]] = {
    "open": open_regular,
    "open to write": lambda path: open_regular(path, os.O_RDWR | os.O_CREAT),
    "read": read_regular,
    "append": lambda path: append(path, "more\n"),
    "arrays": lambda path: read_arrays(path, follow=False),
    "shapes": shapes_of,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use", USES)
def test_what_is_no_regular_file_is_refused(use: str, kind: str, folder: Path) -> None:
    path = folder / "f"
    target = put(kind, path)
    with pytest.raises((OSError, CheckpointError), match="not a regular file"):
        USES[use](path)
    assert not is_regular(path)
    assert target.read_text() == "somebody's own" if kind == "link" else not target.exists()
    target.unlink(missing_ok=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lock_is_a_regular_file(kind: str, folder: Path) -> None:
    target = put(kind, folder / ".lock")
    with pytest.raises(CheckpointError, match="not a regular file"):
        Lock(folder).acquire()
    assert holder(folder) is None
    assert target.read_text() == "somebody's own" if kind == "link" else not target.exists()
    target.unlink(missing_ok=True)


@pytest.mark.parametrize("text", ["my thesis\n" * 100, '{"mine": 1}', "\0\0x"])
def test_a_file_that_is_no_lock_is_not_written_into(text: str, folder: Path) -> None:
    (folder / ".lock").write_text(text)
    with pytest.raises(ConfigError, match="no lock"):
        Lock(folder).acquire()
    assert (folder / ".lock").read_text() == text


@pytest.mark.parametrize("text", ["", "\0\0\0", '{"proc', '{"process": 1, "host": "a", "since": "2026-01-01"}'])
def test_a_lock_that_was_left_is_taken(text: str, folder: Path) -> None:
    (folder / ".lock").write_text(text)
    with Lock(folder):
        assert f'"process": {os.getpid()}' in (folder / ".lock").read_text()


def test_a_run_is_reached_through_links_to_it_and_to_all_runs(folder: Path) -> None:
    real = folder / "disk" / "a"
    real.mkdir(parents=True)
    (real / "config.toml").write_text(dump(Config.of(epochs=3)))
    (folder / "runs").symlink_to(folder / "disk")
    (folder / "disk" / "b").symlink_to(real)
    assert sorted(run.folder.name for run in Run.all(folder / "runs")) == ["a", "b"]
    assert Run.find("b", folder / "runs").settings.train.epochs == 3
    with Lock(folder / "runs" / "b"):
        assert holder(real)


@pytest.mark.parametrize("kind", ["link", "pipe", "device"])
@pytest.mark.parametrize("name", ["config.toml", "metrics.jsonl", "result.json", "health.jsonl", "timing.jsonl"])
def test_a_run_with_something_else_in_place_of_a_file_neither_hangs_nor_is_read(
    name: str, kind: str, folder: Path
) -> None:
    run = folder / "a"
    run.mkdir()
    (run / "config.toml").write_text(dump(Config()))
    (run / name).unlink(missing_ok=True)
    put(kind, run / name)
    found = Run.all(folder)
    assert [one.name for one in found] == ([] if name == "config.toml" else ["a"])
    for one in found:
        assert (one.records(), one.health(), one.result, one.status) == ([], [], None, "interrupted")
        assert one.outline() == (0, {})
    if name == "config.toml":
        with pytest.raises(ConfigError, match="not a regular file"):
            Run(run).settings  # noqa: B018


def test_checkpoints_that_are_a_link_are_not_followed(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "step-00000003.safetensors").write_bytes(b"")
    (folder / "a").mkdir()
    (folder / "a" / "checkpoints").symlink_to(folder / "other")
    with pytest.raises(CheckpointError, match="it is a link"):
        snapshot.newest(folder / "a")


@pytest.mark.parametrize("kind", ["link", "pipe", "device"])
def test_a_checkpoint_that_is_no_file_is_refused_and_the_run_does_not_begin_again(kind: str, folder: Path) -> None:
    (folder / "checkpoints").mkdir()
    put(kind, folder / "checkpoints" / "step-00000003.safetensors")
    with pytest.raises(CheckpointError, match="not a regular file"):
        snapshot.newest(folder)


def test_the_lines_of_checkpoints_are_not_cut_through_a_link(folder: Path) -> None:
    (folder / "mine.txt").write_text("a long text of mine")
    (folder / "history.jsonl").symlink_to("mine.txt")
    log = EpochLog(folder / "history.jsonl")
    with pytest.raises(CheckpointError, match="not a regular file"):
        log._cut()
    with pytest.raises(ValueError, match="missing, damaged or of another run"):
        read_lines(folder / "history.jsonl", f"5 {'0' * 32}")
    assert (folder / "mine.txt").read_text() == "a long text of mine"


@pytest.mark.parametrize("undo", [bring_back, forget, lambda folder: create(folder.parent, "", folder.name, True)])
def test_a_link_in_place_of_what_was_put_aside_is_refused(undo: Callable[[Path], object], folder: Path) -> None:
    project, run = folder / "project", folder / "run"
    (project / "checkpoints").mkdir(parents=True)
    (project / "thesis.tex").write_text("mine")
    run.mkdir()
    (run / "model.json").write_text('{"dlcore": "1"}')
    (run / "config.toml").write_text(dump(Config()))
    (run / ".before").symlink_to("../project")
    with pytest.raises((CheckpointError, ConfigError), match="link"):
        undo(run)
    assert (project / "thesis.tex").read_text() == "mine"


def test_a_file_that_is_too_large_is_refused_before_it_is_read(folder: Path) -> None:
    with open(folder / "sparse", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="at most"):
        read_regular(folder / "sparse", 1000)


def test_what_the_user_names_may_be_a_link(folder: Path) -> None:
    (folder / "file").write_text("x")
    (folder / "link").symlink_to("file")
    assert read_regular(folder / "link", follow=True) == b"x"
    put("pipe", folder / "pipe")
    with pytest.raises(OSError, match="a pipe"):
        read_regular(folder / "pipe", follow=True)


def test_a_folder_of_the_run_itself_is_none(folder: Path) -> None:
    (folder / "checkpoints").mkdir()
    assert refuse_link(folder / "checkpoints").is_dir()
    assert refuse_link(folder / "nothing").name == "nothing"


@pytest.mark.parametrize("kind", ["link", "pipe", "device"])
@pytest.mark.parametrize("name", ["model.json", "config.toml"])
def test_a_folder_with_something_else_in_place_of_a_file_is_not_overwritten(name: str, kind: str, folder: Path) -> None:
    run = folder / "a"
    run.mkdir()
    (run / "model.json").write_text('{"dlcore": "1"}')
    (run / "config.toml").write_text(dump(Config()))
    (run / name).unlink()
    put(kind, run / name)
    with pytest.raises(ConfigError):
        create(folder, "", "a", overwrite=True)
    assert os.path.lexists(run / name)
