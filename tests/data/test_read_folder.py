"""Folders of images: what pixels become x, in which memory, and what is refused by its name."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dlcore.data import Normalizer, read_folder
from dlcore.data.readers import decode
from dlcore.data.readers.images import folder as module
from dlcore.data.source import Source, as_source
from dlcore.errors import ConfigError, DataError

RNG = np.random.default_rng(0)


def save(path: Path, pixels: Any, mode: str | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels))
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, three grey pictures of 4 × 6 each; picture i is of shade 10 i."""
    for i in range(6):
        save(tmp_path / "ab"[i // 3] / f"{i}.png", np.full((4, 6), 10 * i, np.uint8))
    return tmp_path


def shades(x: np.ndarray) -> list[int]:
    return np.rint(x[:, 0, 0, 0] * 255).astype(int).tolist()


# The source ----------------------------------------------------------------------------------------------------------


def test_a_folder_is_a_source_of_float32_in_0_to_1_with_labels(root: Path) -> None:
    folder = read_folder(root)
    assert isinstance(folder, Source)
    assert as_source(folder) is folder
    assert (len(folder), folder.shape, folder.dtype, folder.lazy) == (6, (4, 6, 1), np.float32, True)
    assert folder.classes == ("a", "b")
    assert (folder.y.tolist(), folder.y.dtype) == ([0, 0, 0, 1, 1, 1], np.int64)
    x, y = folder.rows([4, 1])
    assert (x.shape, x.dtype, y.tolist()) == ((2, 4, 6, 1), np.float32, [1, 0])
    np.testing.assert_array_equal(x[0], np.full((4, 6, 1), np.float32(40) / np.float32(255)))
    assert [path.name for path in folder.paths] == [f"{i}.png" for i in range(6)]


def test_an_index_gives_an_example_or_a_folder_that_shares_the_pixels(root: Path) -> None:
    folder = read_folder(root)
    x, y = folder[4]
    assert (x.shape, y) == ((4, 6, 1), 1)
    for index, expected in (
        (slice(1, 3), [10, 20]),
        ([5, 0], [50, 0]),
        (np.array([2, 2]), [20, 20]),
        (np.arange(6) % 2 == 1, [10, 30, 50]),
    ):
        part = folder[index]
        assert shades(part.rows(slice(None))[0]) == expected
        assert part.y.tolist() == [value // 30 for value in expected]
        assert part.memory == folder.memory
    assert shades(folder[2:][[True, False, False, True]].rows(slice(None))[0]) == [20, 50]
    with pytest.raises(DataError, match="no picture is chosen"):
        folder[:0]


@pytest.mark.parametrize("memory", [0, 24 * 2 + 5, 1 << 20])
@pytest.mark.parametrize("workers", [1, 3])
def test_what_does_not_fit_in_memory_is_decoded_again(
    root: Path, monkeypatch: pytest.MonkeyPatch, memory: int, workers: int
) -> None:
    folder = read_folder(root, memory=memory, workers=workers)
    assert folder.memory == min(memory // 24, 6) * 24
    decoded: list[str] = []
    monkeypatch.setattr(
        module, "decode", lambda path, *rest, **more: decoded.append(path.name) or decode(path, *rest, **more)
    )
    assert shades(folder.rows(np.array([5, 0, 3, 1]))[0]) == [50, 0, 30, 10]
    assert len(decoded) == {0: 4, 53: 2, 1 << 20: 0}[memory]


def test_a_file_that_changes_later_is_named(root: Path) -> None:
    folder = read_folder(root, memory=0)
    (root / "b" / "4.png").unlink()
    with pytest.raises(DataError, match=r"4\.png: cannot be read: No such file"):
        folder.rows([0, 4])


def test_a_normalizer_is_applied_as_to_arrays(root: Path) -> None:
    folder = read_folder(root)
    normalizer = Normalizer(np.array([0.1]), np.array([0.3]))
    x = folder.rows(slice(None))[0]
    np.testing.assert_array_equal(folder.normalized(normalizer).rows(slice(None))[0], normalizer.transform(x))
    np.testing.assert_array_equal(folder.normalized(normalizer)[2:].rows([1])[0], normalizer.transform(x[3:4]))
    np.testing.assert_array_equal(folder.rows(slice(None))[0], x)


def test_the_fingerprint_follows_names_sizes_and_labels(root: Path) -> None:
    first = read_folder(root).fingerprint()
    assert len(first) == 16
    assert read_folder(root, size=2).fingerprint() == first
    assert read_folder(root)[1:].fingerprint() != first
    (root / "a" / "0.png").rename(root / "a" / "00.png")
    renamed = read_folder(root).fingerprint()
    assert renamed != first
    save(root / "a" / "00.png", RNG.integers(0, 255, (4, 6), np.uint8))
    assert read_folder(root).fingerprint() not in (first, renamed)
    (root / "a").rename(root / "c")
    assert read_folder(root).classes == ("b", "c")


def test_other_and_hidden_files_are_left_alone_and_folders_in_a_class_are_searched(root: Path) -> None:
    (root / "a" / "notes.txt").write_text("x")
    (root / "a" / ".hidden.png").write_text("x")
    (root / ".thumbs").mkdir()
    (root / "readme.md").write_text("x")
    save(root / "b" / "deep" / "7.PNG", np.zeros((4, 6), np.uint8))
    assert [path.relative_to(root).as_posix() for path in read_folder(root).paths] == [
        "a/0.png", "a/1.png", "a/2.png", "b/3.png", "b/4.png", "b/5.png", "b/deep/7.PNG",
    ]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_links_may_stand_for_classes_and_loops_end(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    save(elsewhere / "1.png", np.zeros((4, 6), np.uint8))
    (elsewhere / "loop").symlink_to(elsewhere)
    (root / "c").symlink_to(elsewhere)
    (root / "a" / "up").symlink_to(root)
    assert np.bincount(read_folder(root).y).tolist() == [3, 3, 1]
    (root / "b" / "0.png").symlink_to(root / "nowhere")
    with pytest.raises(DataError, match=r"b/0\.png: cannot be read: No such file"):
        read_folder(root)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("1.jfif", "jpeg"), ("1.JPE", "jpeg"), ("1.tif", "tiff"), ("1.TIFF", "tiff"), ("1", "png"), ("1.photo", "webp"),
     ("1.jpg.bak", "gif"), ("1.dat", "bmp"), ("img.2024", "ppm")],
)  # fmt: skip
def test_pictures_are_known_by_their_content(root: Path, name: str, kind: str) -> None:
    Image.fromarray(np.full((4, 6), 200, np.uint8)).save(root / "a" / name, format=kind)
    folder = read_folder(root)
    assert (len(folder), root / "a" / name in folder.paths) == (7, True)
    assert shades(folder.rows([folder.paths.index(root / "a" / name)])[0]) == [200]


@pytest.mark.parametrize(
    ("name", "content"),
    [("0.txt", b"P5 is a tracker"), ("0.csv", b"BMW,3\nAudi,4\n" * 9), ("0.wav", b"RIFF\0\0\0\0WAVEfmt "),
     ("0", b""), ("0.heic", b"\0\0\0\x18ftypheic"), ("0.nef", b"MM\0*\0\0\0\x08"), ("0.gz", b"\x1f\x8b\x08")],
)  # fmt: skip
def test_what_is_no_picture_by_its_content_is_left_out(root: Path, name: str, content: bytes) -> None:
    (root / "a" / name).write_bytes(content)
    assert len(read_folder(root)) == 6


# Pixels --------------------------------------------------------------------------------------------------------------

GREY = RNG.integers(0, 256, (5, 7), np.uint8)
COLOUR = RNG.integers(0, 256, (5, 7, 3), np.uint8)


def luma(colour: np.ndarray) -> np.ndarray:
    return colour @ np.array([0.299, 0.587, 0.114])


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "gif", "tif", "ppm"])
def test_grey_and_colour_pixels_come_back(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    path = save(tmp_path / f"x.{suffix}", GREY, **options)
    np.testing.assert_array_equal(decode(path, (5, 7), 1)[..., 0], GREY)
    np.testing.assert_array_equal(decode(path, (5, 7), 3), np.repeat(GREY[..., None], 3, axis=2))
    path = save(tmp_path / f"y.{suffix}", COLOUR, **options)
    if suffix != "gif":  # which has a palette
        np.testing.assert_array_equal(decode(path, (5, 7), 3), COLOUR)
        np.testing.assert_allclose(decode(path, (5, 7), 1)[..., 0], luma(COLOUR), atol=0.51)


def test_a_jpeg_is_near_what_was_saved(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    path = save(tmp_path / "x.jpg", smooth, quality=95)
    assert np.abs(decode(path, (64, 64), 3).astype(int) - smooth).max() <= 8
    small = decode(path, (4, 4), 3)  # decoded at an eighth
    np.testing.assert_allclose(small, smooth.reshape(4, 16, 4, 16, 3).mean(axis=(1, 3)), atol=8)


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    deep = np.array([[0, 128, 257, 1000], [30000, 40000, 65000, 65535]], np.uint16)
    path = save(tmp_path / "deep.png", deep)
    np.testing.assert_array_equal(decode(path, (2, 4), 1)[..., 0], np.rint(deep / 257))
    np.testing.assert_array_equal(decode(path, (2, 4), 3)[..., 2], np.rint(deep / 257))


def test_transparent_pixels_are_laid_on_white(tmp_path: Path) -> None:
    alpha = np.array([[0, 51], [204, 255]], np.uint8)
    pixels = np.dstack([np.full((2, 2), shade, np.uint8) for shade in (10, 100, 200)] + [alpha])
    expected = 255 + (pixels[..., :3] - 255.0) * alpha[..., None] / 255
    path = save(tmp_path / "clear.png", pixels)
    np.testing.assert_allclose(decode(path, (2, 2), 3), expected, atol=1)
    np.testing.assert_allclose(decode(path, (2, 2), 1)[..., 0], luma(expected), atol=1.5)
    path = save(tmp_path / "grey.png", pixels, "LA")
    np.testing.assert_allclose(decode(path, (2, 2), 1)[0, 0], 255)


def test_a_palette_with_and_without_a_transparent_entry(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    image.save(tmp_path / "p.png")
    assert decode(tmp_path / "p.png", (1, 2), 3)[0].tolist() == [[10, 20, 30], [200, 100, 50]]
    image.save(tmp_path / "t.png", transparency=1)
    assert decode(tmp_path / "t.png", (1, 2), 3)[0].tolist() == [[10, 20, 30], [255, 255, 255]]
    image.save(tmp_path / "b.png", transparency=b"\xff\x00")
    assert decode(tmp_path / "b.png", (1, 2), 3)[0].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_one_bit_and_four_inks(tmp_path: Path) -> None:
    path = save(tmp_path / "1.png", np.array([[True, False]]))
    assert decode(path, (1, 2), 1).tolist() == [[[255], [0]]]
    path = save(tmp_path / "cmyk.jpg", np.full((16, 16, 3), (200, 30, 30), np.uint8), "CMYK", quality=95)
    np.testing.assert_allclose(decode(path, (2, 2), 3), np.full((2, 2, 3), (200, 30, 30)), atol=6)


def test_the_first_picture_of_an_animation_counts(tmp_path: Path) -> None:
    first, second = (Image.new("L", (4, 4), shade) for shade in (40, 200))
    for suffix in ("gif", "png"):
        first.save(tmp_path / f"x.{suffix}", save_all=True, append_images=[second])
        assert decode(tmp_path / f"x.{suffix}", (4, 4), 1).tolist() == np.full((4, 4, 1), 40).tolist()


TURNED = {1: GREY, 2: GREY[:, ::-1], 3: GREY[::-1, ::-1], 4: GREY[::-1], 5: GREY.T, 6: GREY.T[:, ::-1],
          7: GREY.T[::-1, ::-1], 8: GREY.T[::-1]}  # fmt: skip


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
@pytest.mark.parametrize("orientation", [1, 3, 5, 6])
def test_a_tiff_stands_upright(tmp_path: Path, orientation: int, compression: str | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = TURNED[orientation]
    for name in "ab":
        path = save(tmp_path / name / "x.tif", GREY, exif=exif, compression=compression)
        np.testing.assert_array_equal(decode(path, expected.shape, 1)[..., 0], expected)
    assert read_folder(tmp_path).shape == (*expected.shape, 1)


@pytest.mark.parametrize("orientation", TURNED)
def test_a_picture_stands_upright(tmp_path: Path, orientation: int) -> None:
    """The table of EXIF 2.3: where the first row and the first column of the stored pixels belong."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a" / "x.png", GREY, exif=exif)
    expected = TURNED[orientation]
    np.testing.assert_array_equal(decode(path, expected.shape, 1)[..., 0], expected)
    save(tmp_path / "b" / "y.png", expected)
    assert read_folder(tmp_path).shape == (*expected.shape, 1)


def test_a_larger_picture_is_cut_in_the_middle_and_averaged(tmp_path: Path) -> None:
    wide = np.zeros((4, 12), np.uint8)
    wide[:, 4:8] = [[10, 30, 50, 70]] * 4
    path = save(tmp_path / "wide.png", wide)
    np.testing.assert_array_equal(decode(path, (4, 4), 1)[..., 0], wide[:, 4:8])
    tall = save(tmp_path / "tall.png", wide.T)
    np.testing.assert_array_equal(decode(tall, (4, 4), 1)[..., 0], wide[:, 4:8].T)
    board = np.indices((64, 64)).sum(axis=0) % 2 * 200
    path = save(tmp_path / "board.png", board.astype(np.uint8))
    np.testing.assert_allclose(decode(path, (8, 8), 1), 100, atol=1)  # without averaging it would be 0 or 200


def test_scaling_is_pillows_own(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", COLOUR)
    expected = Image.fromarray(COLOUR).resize((4, 4), Image.Resampling.BILINEAR, box=(1, 0, 6, 5))
    np.testing.assert_array_equal(decode(path, (4, 4), 3), np.asarray(expected))


def test_a_line_of_many_pixels_makes_no_huge_picture(tmp_path: Path) -> None:
    path = save(tmp_path / "line.png", np.full((1, 30_000), 9, np.uint8))
    assert decode(path, (64, 64), 1).tolist() == np.full((64, 64, 1), 9).tolist()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]))
def test_any_shape_becomes_any_other(
    tmp_path: Path, height: int, width: int, new_height: int, new_width: int, channels: int
) -> None:
    path = save(tmp_path / "x.png", np.full((height, width), 77, np.uint8))
    pixels = decode(path, (new_height, new_width), channels)
    assert pixels.shape == (new_height, new_width, channels)
    assert (pixels == 77).all()


@pytest.mark.parametrize("place", [0, 2, 4])
def test_one_coloured_picture_among_grey_ones_keeps_its_colour(tmp_path: Path, place: int) -> None:
    for i in range(6):
        save(tmp_path / "ab"[i // 3] / f"{i}.png", COLOUR if i == place else GREY)
    folder = read_folder(tmp_path)
    assert folder.shape == (5, 7, 3)
    np.testing.assert_array_equal(folder.bytes_at(place), COLOUR)
    np.testing.assert_array_equal(folder.bytes_at(5), np.repeat(GREY[..., None], 3, axis=2))
    assert read_folder(tmp_path, color="grey").shape == (5, 7, 1)


@pytest.mark.parametrize("memory", [0, 300, 1 << 20])
def test_files_that_could_hold_colour_and_do_not_are_grey(tmp_path: Path, memory: int) -> None:
    for i, mode in enumerate(["RGB", "RGBA", "P", "L", "LA", "RGB"]):
        save(tmp_path / "ab"[i // 3] / f"{i}.{'jpg' if i == 5 else 'png'}", np.full((5, 7), 40 * i, np.uint8), mode)
    folder = read_folder(tmp_path, memory=memory)
    assert folder.shape == (5, 7, 1)
    assert folder.bytes_at(range(6))[:, 0, 0, 0].tolist() == [0, 40, 80, 120, 160, 200]
    assert read_folder(tmp_path, color="rgb").shape == (5, 7, 3)


def test_the_size_of_most_pictures_is_taken_wherever_they_stand(tmp_path: Path) -> None:
    for i, shape in enumerate([(9, 9), (4, 6), (4, 6), (8, 2), (4, 6)]):
        save(tmp_path / "ab"[i // 3] / f"{i}.png", np.full(shape, i, np.uint8))
    assert read_folder(tmp_path).shape == (4, 6, 1)
    assert read_folder(tmp_path, size=3).shape == (3, 3, 1)
    assert read_folder(tmp_path, size=(3, 2)).shape == (3, 2, 1)


def test_pictures_of_all_sizes_take_their_median_with_a_shorter_side_of_64_at_most(tmp_path: Path) -> None:
    shapes = [(10, 30), (20, 40), (12, 44)]
    for i, shape in enumerate(shapes):
        save(tmp_path / "small" / "ab"[i % 2] / f"{i}.png", np.zeros(shape, np.uint8))
        save(tmp_path / "large" / "ab"[i % 2] / f"{i}.png", np.zeros((20 * shape[0], 20 * shape[1]), np.uint8))
        save(tmp_path / "huge" / "ab"[i % 2] / f"{i}.png", np.zeros((1025, 1025), np.uint8))
    assert read_folder(tmp_path / "small").shape == (12, 40, 1)
    assert read_folder(tmp_path / "large").shape == (64, 213, 1)
    assert read_folder(tmp_path / "huge").shape == (64, 64, 1)
    assert read_folder(tmp_path / "huge", size=(16, 1025)).shape == (16, 1025, 1)


@pytest.mark.parametrize(("top", "white"), [(300, 511), (4000, 4095), (4096, 8191), (65_535, 65_535)])
@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bit_grey_is_scaled_by_the_bits_that_all_pictures_use(
    tmp_path: Path, suffix: str, top: int, white: int
) -> None:
    deep = [np.full((4, 6), value, np.uint16) for value in (top // 4, top // 2, top, 40)]
    for i, pixels in enumerate(deep):
        save(tmp_path / "ab"[i % 2] / f"{i}.{suffix}", pixels)
    folder = read_folder(tmp_path)
    found = folder.bytes_at(range(4))[:, 0, 0, 0]
    order = [0, 2, 1, 3]
    np.testing.assert_array_equal(found, [np.rint(int(deep[i][0, 0]) * 255 / white) for i in order])
    assert 2**folder.depth - 1 == white


# What is refused -----------------------------------------------------------------------------------------------------


def corrupt(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(3000, dtype=np.uint8).reshape(50, 60)).save(file, "jpeg" if kind == "cut jpeg" else "png")
    whole = file.getvalue()
    return {
        "zero bytes": b"",
        "text": b"not a picture at all",
        "cut png": whole[: len(whole) // 2],
        "cut jpeg": whole[: len(whole) // 2],
        "flipped": whole[:60] + bytes([whole[60] ^ 0xFF]) + whole[61:],
        "only a mark": whole[:8],
    }[kind]


@pytest.mark.parametrize("kind", ["zero bytes", "text", "cut png", "cut jpeg", "flipped", "only a mark"])
@pytest.mark.parametrize("place", ["a/0.png", "b/4.png"])
def test_a_corrupt_file_stops_by_its_name_or_is_left_out_with_a_warning(root: Path, kind: str, place: str) -> None:
    (root / place).write_bytes(corrupt(kind))
    with pytest.raises(DataError, match=place) as raised:
        read_folder(root)
    assert str(raised.value).startswith(str(root / place))
    assert "--corrupt skip" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    with pytest.warns(UserWarning, match=place) as caught:
        folder = read_folder(root, corrupt="skip")
    assert len(caught) == 1
    assert place not in [path.relative_to(root).as_posix() for path in folder.paths]
    assert shades(folder.rows(slice(None))[0]) == [10 * i for i in range(6) if f"{i}.png" not in place]


@pytest.mark.parametrize("values", [np.array([[1, 70_000]], np.int32), np.array([[0.0, 0.5]], np.float32)])
def test_a_tiff_whose_white_is_not_known_is_refused(tmp_path: Path, values: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"x\.tif: the TIFF holds signed, 32-bit or floating-point .* 16 unsigned bits"):
        decode(save(tmp_path / "x.tif", values), (1, 2), 1)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "no picture: the file is empty"),
        (b"\x89PNG\r\n\x1a\nxxx", "damaged or cut short; replace the file"),
        (b"hello, world", "no picture: it starts with 68 65 6c 6c 6f"),
    ],
)
def test_a_damaged_file_is_described_without_the_decoders_internals(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=expected) as raised:
        decode(tmp_path / "x.png", (4, 4), 1)
    assert "unpack" not in str(raised.value)


def test_ten_corrupt_files_are_named_and_the_others_counted(root: Path) -> None:
    for i in range(13):
        (root / "a" / f"x{i:02}.png").write_bytes(b"x")
    with pytest.warns(UserWarning, match="left out") as caught:
        folder = read_folder(root, corrupt="skip")
    lines = [str(one.message) for one in caught]
    assert len(lines) == 11
    assert "x09.png" in lines[9]
    assert lines[10].endswith("3 more pictures are left out")
    assert len(folder) == 6


@pytest.mark.filterwarnings("ignore:left out")
def test_a_class_of_which_no_picture_can_be_read_is_named(root: Path) -> None:
    for i in range(3):
        (root / "b" / f"{3 + i}.png").write_bytes(b"x")
    with pytest.raises(DataError, match="b: no picture of this class can be read"):
        read_folder(root, corrupt="skip")


def test_a_picture_of_too_many_pixels_is_refused_by_name_before_it_is_decoded(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    path = save(tmp_path / "x.png", GREY)
    with pytest.raises(DataError, match=r"x\.png: the picture has 7 × 5 pixels, but 1 to 34 are read"):
        decode(path, (2, 2), 1, pixels=34)
    content = bytearray(b"BM" + bytes(52))  # a bitmap of 20,000 × 20,000
    content[10], content[14], content[26], content[28] = 54, 40, 1, 24
    content[18:26] = (20_000).to_bytes(4, "little") * 2
    (tmp_path / "y.bmp").write_bytes(content)
    with pytest.raises(
        DataError, match=r"y\.bmp: the picture has 20,000 × 20,000 pixels, but 1 to 120,000,000 are read"
    ):
        decode(tmp_path / "y.bmp", (2, 2), 1)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_hundred_megapixels_are_read(tmp_path: Path) -> None:
    """Above Pillow's own limit, which would warn."""
    path = tmp_path / "x.png"
    Image.new("1", (10_000, 10_000), 1).save(path)
    assert decode(path, (2, 2), 1).tolist() == np.full((2, 2, 1), 255).tolist()


def test_a_jpeg_that_decoding_would_not_end_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("L", (5000, 4000), 100).save(file, "jpeg", progressive=True)
    content = file.getvalue()
    scan = content[content.rfind(b"\xff\xda") : -2]
    assert len(scan) < 200
    path = tmp_path / "x.jpg"
    path.write_bytes(content[:-2] + 3 * scan + content[-2:])
    assert decode(path, (2, 2), 1).tolist() == np.full((2, 2, 1), 100).tolist()
    path.write_bytes(content[:-2] + 5000 * scan + content[-2:])
    with pytest.raises(DataError, match=r"x\.jpg: the JPEG has 5,006 scans"):
        decode(path, (2, 2), 1)


def test_folders_that_hold_no_classes_are_named(tmp_path: Path) -> None:
    def refused(words: str) -> None:
        with pytest.raises(DataError, match=words) as raised:
            read_folder(tmp_path / "root")
        assert str(raised.value).startswith(str(tmp_path / "root"))
        assert len(str(raised.value).splitlines()) == 1

    root = tmp_path / "root"
    refused("the folder cannot be read: No such file")
    root.write_text("")
    refused("the folder cannot be read: Not a directory")
    root.unlink()
    root.mkdir()
    refused("there is no folder in it, but one folder of pictures per class")
    save(root / "0.png", GREY)
    refused("1 picture lies in the folder itself")
    (root / "a").mkdir()
    (root / "a" / "x.txt").write_text("")
    (root / "b").mkdir()
    refused("no picture in the folders a, b, but 1 other file")
    save(root / "b" / "0.png", GREY)
    refused("root/a: no picture of this class, but 1 other file;")
    (root / "a" / "x.txt").unlink()
    refused("root/a: no picture of this class; add some")
    (root / "a").rmdir()
    refused("b is the only class")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("size", 0), ("size", (3,)), ("size", (2, 3, 4)), ("size", 1.5), ("size", True), ("size", 5000),
        ("color", "red"), ("corrupt", "ignore"), ("workers", 0), ("memory", -1), ("memory", 1.0),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_a_setting(root: Path, argument: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"read_folder: {argument} is"):
        read_folder(root, **{argument: value})
