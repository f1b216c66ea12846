"""Folders of pictures as systems and people leave them, and pictures under wrong names."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlcore.data import ImageFolder, open_path, read_folder
from dlcore.data.readers import decode
from dlcore.errors import DataError


def picture(path: Path, shade: int, suffix: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (6, 6), shade).save(path, suffix or path.suffix[1:])
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of ten pictures, of names in other letters, some of them deeper down."""
    for i in range(10):
        picture(tmp_path / "猫 🐈" / ("tief/ér" if i % 2 else "") / f"bild_ñ {i}.png", 5 * i)
        picture(tmp_path / "собака" / f"{i}.png", 100 + 5 * i)
    return tmp_path


def read(root: Path) -> ImageFolder:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that something is left out may be said
        return read_folder(root)


def test_names_in_other_letters_and_folders_below_a_class_are_read(root: Path) -> None:
    folder = read(root)
    assert folder.classes == ("собака", "猫 🐈")
    shades = np.rint(folder.rows(slice(None))[0][:, 0, 0, 0] * 255).astype(int)
    assert sorted(shades.tolist()) == sorted([*range(0, 50, 5), *range(100, 150, 5)])
    assert {bool(y) for y, shade in zip(folder.y, shades, strict=True) if shade < 100} == {True}


@pytest.mark.parametrize(
    "litter", [".DS_Store", "Thumbs.db", "desktop.ini", "._0.png", ".ipynb_checkpoints/0-checkpoint.png", "notes.md"]
)
@pytest.mark.parametrize("place", ["", "собака"], ids=["beside the classes", "in a class"])
def test_what_systems_leave_behind_changes_nothing(root: Path, litter: str, place: str) -> None:
    before = read(root)
    file = root / place / litter
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\x00\x05\x16\x07 no picture")
    after = read(root)
    assert (after.classes, after.paths) == (before.classes, before.paths)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert open_path(root).classes == before.classes


@pytest.mark.parametrize("suffix", ["webp", "bmp", "gif", "png"])
def test_the_content_decides_and_not_the_name(root: Path, suffix: str) -> None:
    file = picture(root / "собака" / "9.JPG", 77, suffix)
    assert decode(file, (6, 6), 1).ravel().tolist() == pytest.approx([77] * 36, abs=1)
    assert len(read(root)) == 21


@pytest.mark.parametrize("suffix", ["webp", "gif", "png"])
def test_the_first_frame_of_an_animation_counts(tmp_path: Path, suffix: str) -> None:
    first, second = (Image.new("L", (8, 8), shade) for shade in (40, 200))
    options = {"lossless": True} if suffix == "webp" else {}
    first.save(tmp_path / f"x.{suffix}", save_all=True, append_images=[second], **options)
    assert decode(tmp_path / f"x.{suffix}", (8, 8), 1).ravel().tolist() == pytest.approx([40] * 64, abs=1)


@pytest.mark.parametrize(
    "content", [b"", b"<!doctype html><html><body>404 Not Found</body></html>", b"\x89PNG\r\n\x1a\n\x00\x00"],
    ids=["empty", "a page of a server", "truncated"],
)  # fmt: skip
def test_what_is_no_picture_is_named(root: Path, content: bytes) -> None:
    (root / "собака" / "3.png").write_bytes(content)
    with pytest.raises(DataError, match=r"собака/3\.png") as raised:
        read(root)
    assert "\n" not in str(raised.value)
