"""``dlcore filter``: pictures in and out, in strips of bounded memory, and every fault in one line."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays import Backend
from PIL import Image
from samples import numbers
from scipy import ndimage

from dlcore.cli import main, pictures
from dlcore.cli.commands import filter as command
from dlcore.cli.commands.filter import _TAKES, _filter, _reach


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scene = _scene(40, 60)
    Image.fromarray(scene).save("colour.png")
    Image.fromarray(scene).convert("L").save("grey.png")
    Image.fromarray(scene).save("colour.jpg", quality=95)


def _scene(height: int, width: int) -> np.ndarray:
    """A dark square and a light disc on a gradient."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([x * 200 // width, y * 200 // height, 255 - x * 150 // width], axis=-1)
    rgb[height // 4 : height // 2, width // 8 : width // 3] = 20
    rgb[(x - 2 * width // 3) ** 2 + (y - height // 2) ** 2 < (height // 4) ** 2] = (250, 220, 60)
    return rgb.astype(np.uint8)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["filter", *words, "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert not err
    assert out.startswith("device: cpu")
    return out.splitlines()[-1]


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


# --- what comes out


@pytest.mark.parametrize("source", ["grey.png", "colour.png"])
def test_smoothing_is_rounded_and_clipped(capsys: pytest.CaptureFixture[str], source: str) -> None:
    line = run(capsys, source, "out.png", "--kernel", "gaussian", "--sigma", "1.5", "--border", "nearest")
    assert line == "out.png: rounded, and clipped to 0–255"
    image = pixels(source).astype(np.float64)
    sigma = (1.5, 1.5, 0)[: image.ndim]
    expected = ndimage.gaussian_filter(image, sigma, mode="nearest")
    assert np.abs(pixels("out.png") - expected).max() <= 0.501


def test_edges_are_scaled_by_their_maximum(capsys: pytest.CaptureFixture[str]) -> None:
    image = pixels("grey.png").astype(np.float64)
    magnitude = np.hypot(ndimage.sobel(image, 0), ndimage.sobel(image, 1))
    line = run(capsys, "grey.png", "out.png", "--kernel", "sobel")
    assert line == f"out.png: absolute values scaled by 255 / {magnitude.max():.6g}, their maximum"
    assert np.abs(pixels("out.png") - magnitude * 255 / magnitude.max()).max() <= 0.51
    run(capsys, "grey.png", "x.png", "--kernel", "sobel", "--axis", "x")
    alone = np.abs(ndimage.sobel(image, 1))
    assert np.abs(pixels("x.png") - alone * 255 / alone.max()).max() <= 0.51


@pytest.mark.parametrize("kernel", _TAKES)
def test_an_npy_file_keeps_the_numbers(capsys: pytest.CaptureFixture[str], kernel: str) -> None:
    from dlcore import filters

    run(capsys, "colour.png", "out.npy", "--kernel", kernel)
    image, y = pixels("colour.png"), np.load("out.npy")
    own = {"moving_average": {"k": 1}, "box": {"size": 3}, "gaussian": {"sigma": 1.0}}.get(kernel, {})
    edges = kernel in ("sobel", "scharr", "prewitt")
    expected = filters.edges(image, kernel)[0] if edges else getattr(filters, kernel)(image, **own)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-4)


def test_numbers_and_jpegs_go_in_and_out(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("in.npy", 100.0 * numbers(9, 8, 5, dtype="float64"))
    run(capsys, "in.npy", "out.npy", "--kernel", "box", "--size", "2")
    assert np.load("out.npy").dtype == np.float64
    assert np.load("out.npy").shape == (9, 8, 5)
    run(capsys, "colour.jpg", "out.jpeg", "--kernel", "moving_average", "--k", "2")
    assert pixels("out.jpeg").shape == (40, 60, 3)
    run(capsys, "colour.jpg", "colour.jpg", "--kernel", "laplacian")  # in its own place
    assert pixels("colour.jpg").shape == (40, 60, 3)


def test_nan_infinity_and_nothing_to_scale_by_give_a_picture(capsys: pytest.CaptureFixture[str]) -> None:
    image = np.full((6, 6), 7.0, np.float32)
    np.save("flat.npy", image)
    assert "255 / 0," in run(capsys, "flat.npy", "flat.png", "--kernel", "prewitt")
    assert not pixels("flat.png").any()
    image[0, 0], image[5, 5] = np.nan, np.inf
    np.save("sick.npy", image)
    for kernel, colours in (("box", {0, 7, 255}), ("sobel", {0})):
        run(capsys, "sick.npy", "sick.png", "--kernel", kernel)
        assert set(np.unique(pixels("sick.png"))) == colours


@pytest.mark.parametrize("source", ["grey.png", "colour.png"])
def test_a_montage_shows_every_filter_once(capsys: pytest.CaptureFixture[str], source: str) -> None:
    assert run(capsys, source, "montage.png", "--montage").startswith("montage.png: 8 panels")
    sheet = pixels("montage.png")
    assert sheet.ndim == pixels(source).ndim
    width, height = 5 * 60, 5 * 40  # enlarged up to 320 pixels
    first = sheet[12 : 12 + height : 5, 12 : 12 + width : 5]
    np.testing.assert_array_equal(first, pixels(source))
    names = sheet[12 + height : 12 + height + 26]
    for i in range(4):
        assert (names[:, i * (width + 12) : (i + 1) * (width + 12)] < 128).any()  # black on white
    assert {name for name, _ in command._MONTAGE} == set(_TAKES)


def test_a_montage_of_a_large_picture_and_of_numbers_is_small(capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(_scene(700, 900)).save("large.png")
    np.save("large.npy", _scene(700, 900)[..., 0])
    for source in ("large.png", "large.npy"):
        run(capsys, source, "montage.png", "--montage", "--border", "wrap")
        assert max(pixels("montage.png").shape) <= 4 * 332 + 12


# --- strips


@pytest.mark.parametrize("border", ["zero", "reflect", "symmetric", "nearest", "wrap"])
@pytest.mark.parametrize(
    ("kernel", "changed"),
    [
        ("box", {"size": 4}),
        ("moving_average", {"k": 3}),
        ("gaussian", {"sigma": 2.0}),
        ("scharr", {}),
        ("laplacian", {}),
    ],
)
def test_strips_give_what_the_whole_image_gives(
    monkeypatch: pytest.MonkeyPatch, kernel: str, changed: dict[str, Any], border: str
) -> None:
    from backends.runtime.device import CPU

    settings = {**_TAKES[kernel], **changed}
    run, reach = _filter(kernel, settings, border, CPU), _reach(kernel, settings)
    for image in (_scene(37, 30), _scene(37, 30)[..., 0], numbers(5, 4), numbers(1, 6)):
        whole = run(image.astype(np.float32))
        for bound in (1, 60_000):
            monkeypatch.setattr(pictures, "STRIP", bound)
            parts = list(pictures.strips(image, run, reach, border))
            assert len(parts) == len(image) or bound > 1
            np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("kernel", _TAKES)
def test_a_strip_takes_no_more_memory_than_said(monkeypatch: pytest.MonkeyPatch, kernel: str) -> None:
    """100 megapixels in 64 MiB are as 1.2 megapixels in 1.5 MiB: the bound holds whatever the picture's size."""
    from backends.runtime.device import CPU

    bound = 1_500_000
    monkeypatch.setattr(pictures, "STRIP", bound)
    image = np.zeros((2000, 600), np.uint8)
    run, reach = _filter(kernel, _TAKES[kernel], "symmetric", CPU), _reach(kernel, _TAKES[kernel])
    tracemalloc.start()
    try:
        result = pictures.clipped(image.shape, pictures.strips(image, run, reach, "symmetric"))
        peak = tracemalloc.get_traced_memory()[1] - result.nbytes
    finally:
        tracemalloc.stop()
    assert peak <= bound


def test_a_device_filters_the_strips(arrays: Backend) -> None:
    image = _scene(20, 12)[..., 0]
    run = _filter("sobel", {"axis": "both"}, "symmetric", arrays.device)
    expected = np.hypot(*(ndimage.sobel(image.astype(np.float64), axis) for axis in (0, 1)))
    result = np.concatenate(list(pictures.strips(image, run, (1, 1), "symmetric")))
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-3)


# --- faults

USAGE: dict[str, tuple[list[str], list[str]]] = {
    "no kernel": (["grey.png", "x.png"], ["--kernel", "--montage", "sobel"]),
    "unknown kernel": (["grey.png", "x.png", "--kernel", "sobl"], ["'sobl'", "did you mean sobel?"]),
    "unknown suffix": (["grey.png", "x.gif", "--kernel", "sobel"], ["x.gif", "'.gif'", ".png"]),
    "a setting of another filter": (
        ["grey.png", "x.png", "--kernel", "sobel", "--sigma", "2"], ["--sigma goes with gaussian, not with sobel"],
    ),
    "axis of a blur": (
        ["grey.png", "x.png", "--kernel", "box", "--axis", "x"], ["--axis goes with sobel, scharr, prewitt"],
    ),
    "sigma 0": (["grey.png", "x.png", "--kernel", "gaussian", "--sigma", "0"], ["gaussian: sigma is 0"]),
    "a part of a pixel": (["grey.png", "x.png", "--kernel", "box", "--size", "2.5"], ["--size is '2.5'", "whole"]),
    "size 0": (["grey.png", "x.png", "--kernel", "box", "--size", "0"], ["box: size is 0"]),
    "unknown axis": (["grey.png", "x.png", "--kernel", "sobel", "--axis", "z"], ["'z'", "x, y, both"]),
    "unknown border": (["grey.png", "x.png", "--kernel", "box", "--border", "symetric"], ["did you mean symmetric?"]),
    "order 3": (["grey.png", "x.png", "--kernel", "gaussian", "--order", "3"], ["order is 3"]),
    "montage and a kernel": (["grey.png", "x.png", "--montage", "--kernel", "box"], ["--montage", "--kernel"]),
    "montage and a setting": (["grey.png", "x.png", "--montage", "--k", "2"], ["--montage", "--k"]),
    "montage of numbers": (["grey.png", "x.npy", "--montage"], ["x.npy", ".png"]),
    "no target": (["grey.png"], ["TARGET"]),
}  # fmt: skip


def _cut(source: str, target: str) -> None:
    content = Path(source).read_bytes()
    Path(target).write_bytes(content[: len(content) // 2])


def _prepare() -> None:
    _cut("colour.png", "cut.png")
    _cut("colour.jpg", "cut.jpg")
    np.save("whole.npy", np.zeros((9, 9)))
    _cut("whole.npy", "cut.npy")
    Path("text.png").write_text("no picture")
    Path("text.npy").write_text("no numbers")
    Path("empty.npy").write_bytes(b"")
    np.save("axes.npy", np.zeros((2, 3, 4, 5)))
    np.save("words.npy", np.array([["a"]]))
    np.save("objects.npy", np.array([[None]]), allow_pickle=True)
    np.save("complex.npy", np.zeros((3, 3), complex))
    np.save("channels.npy", np.zeros((3, 3, 4)))
    with open("archive.npy", "wb") as file:
        np.savez(file, x=np.zeros((2, 2)))
    os.mkdir("folder.npy")


FILES: dict[str, tuple[str, str, list[str]]] = {
    "missing": ("none.png", "x.png", ["none.png", "No such file"]),
    "missing numbers": ("none.npy", "x.png", ["none.npy", "No such file"]),
    "a picture cut short": ("cut.png", "x.png", ["cut.png", "damaged or cut short"]),
    "a JPEG cut short": ("cut.jpg", "x.png", ["cut.jpg", "damaged or cut short"]),
    "numbers cut short": ("cut.npy", "x.png", ["cut.npy", "damaged or cut short"]),
    "text as a picture": ("text.png", "x.png", ["text.png", "no picture"]),
    "text as numbers": ("text.npy", "x.png", ["text.npy", "no NPY file"]),
    "empty": ("empty.npy", "x.png", ["empty.npy", "no NPY file"]),
    "an archive": ("archive.npy", "x.png", ["archive.npy", "one array"]),
    "objects": ("objects.npy", "x.png", ["objects.npy"]),
    "a folder": ("folder.npy", "x.png", ["folder.npy", "directory"]),
    "four axes": ("axes.npy", "x.npy", ["(2, 3, 4, 5)", "(H, W, C)"]),
    "words": ("words.npy", "x.npy", ["<U1"]),
    "complex numbers": ("complex.npy", "x.npy", ["complex128"]),
    "four channels in a picture": ("channels.npy", "x.png", ["4 channels", ".npy"]),
    "a missing folder": ("grey.png", "no/x.png", ["no/x.png", "folder no does not exist"]),
}


def fault(capsys: pytest.CaptureFixture[str], *words: str, code: int) -> str:
    """The one line on stderr of a command that fails and leaves no file behind."""
    before = sorted(os.listdir())
    assert main(["filter", *words, "--device", "cpu"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dlcore: error: ")
    assert sorted(os.listdir()) == before
    return line


@pytest.mark.parametrize("name", USAGE)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], name: str) -> None:
    words, parts = USAGE[name]
    line = fault(capsys, *words, code=2)
    for part in parts:
        assert part in line


@pytest.mark.parametrize("how", ["--kernel=sobel", "--montage"])
@pytest.mark.parametrize("name", FILES)
def test_a_faulty_file_is_one_line_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    source, target, parts = FILES[name]
    if how == "--montage" and target.endswith(".npy"):
        target = "x.png"
    _prepare()
    line = fault(capsys, source, target, how, code=1)
    for part in parts:
        assert part in line


def test_a_failure_while_writing_leaves_the_old_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, file: str, **_: Any) -> None:
        Path(file).write_bytes(b"a part")
        raise OSError(28, "No space left on device")

    Path("out.png").write_bytes(b"the old file")
    monkeypatch.setattr(Image.Image, "save", full)
    line = fault(capsys, "grey.png", "out.png", "--kernel", "sobel", code=1)
    assert "out.png: cannot be written (No space left on device)" in line
    assert Path("out.png").read_bytes() == b"the old file"
