"""Real files, changed at random: each is read or refused in one line that names it, in little time and memory."""

from __future__ import annotations

import gzip
import io
import struct
import sys
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlcore.data import load, read_csv, read_folder, read_idx, read_npz
from dlcore.errors import DataError

FILES = Path(load.__code__.co_filename).parents[1] / "files"
SECONDS = 2.0  # for one file
BYTES = 64 << 20  # that one file may make the reader allocate; the largest real one has 20,000
RESIDENT = 8 * 120_000_000  # by which the process may grow over all images: what decode() states for the largest

Change = Callable[[np.random.Generator, bytearray, bytes], bytes]


def _place(rng: np.random.Generator, content: bytearray) -> int:
    return int(rng.integers(len(content) or 1))


def _flip(rng: np.random.Generator, content: bytearray, _: bytes) -> bytes:
    for _ in range(rng.integers(1, 9)):
        content[_place(rng, content)] ^= int(rng.integers(1, 256))
    return bytes(content)


def _insert(rng: np.random.Generator, content: bytearray, _: bytes) -> bytes:
    place = _place(rng, content)
    content[place:place] = rng.bytes(int(rng.integers(1, 17)))
    return bytes(content)


def _cut(rng: np.random.Generator, content: bytearray, _: bytes) -> bytes:
    place = _place(rng, content)
    del content[place : place + int(rng.integers(1, 65))]
    return bytes(content)


def _repeat(rng: np.random.Generator, content: bytearray, _: bytes) -> bytes:
    place, end = _place(rng, content), _place(rng, content)
    content[place:place] = content[end : end + int(rng.integers(1, 129))]
    return bytes(content)


def _header(rng: np.random.Generator, content: bytearray, _: bytes) -> bytes:
    """A field of one, two or four bytes near the start or the end becomes extreme."""
    width = int(rng.choice([1, 2, 4]))
    near = min(100, max(len(content) - width, 1))
    place = int(rng.integers(near)) if rng.random() < 0.7 else len(content) - width - int(rng.integers(near))
    place = max(place, 0)
    content[place : place + width] = bytes([int(rng.choice([0x00, 0x01, 0x7F, 0x80, 0xFF]))]) * width
    return bytes(content)


def _truncate(rng: np.random.Generator, content: bytearray, _: bytes) -> bytes:
    return bytes(content[: _place(rng, content)])


def _join(rng: np.random.Generator, content: bytearray, other: bytes) -> bytes:
    return bytes(content) + (other if rng.random() < 0.5 else bytes(content))


def _write(rng: np.random.Generator, content: bytearray, _: bytes) -> bytes:
    """A character that has a meaning in text, or makes numbers strange, takes the place of another."""
    content[_place(rng, content)] = int(rng.choice(list(b",;\t\n\r\"' .-+eE?x019(){}")))
    return bytes(content)


CHANGES: tuple[Change, ...] = (_flip, _insert, _cut, _repeat, _header, _truncate, _join, _write, _write)


def mutations(seed: int, files: list[bytes], count: int) -> Iterator[tuple[int, bytes]]:
    """``count`` changed files, each with the position of the file that it was made from."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        content = files[i % len(files)]
        for _ in range(rng.integers(1, 4)):
            change = CHANGES[rng.integers(len(CHANGES))]
            content = change(rng, bytearray(content), files[rng.integers(len(files))]) or b"\0"
        yield i % len(files), content


@contextmanager
def _watched() -> Iterator[Callable[[], int]]:
    """Gives a function that says how much memory was allocated at most since it was last asked."""
    tracemalloc.start()

    def most() -> int:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.clear_traces()
        tracemalloc.reset_peak()
        return peak

    try:
        yield most
    finally:
        tracemalloc.stop()


def _refusal(read: Callable[[Path], Any], path: Path) -> str | None:
    try:
        read(path)
    except DataError as error:
        return str(error)
    return None


def survive(read: Callable[[Path], Any], path: Path, contents: Iterator[tuple[Path, bytes]]) -> dict[str, Any]:
    """Read ``path`` after each content is written to its file."""
    counts = {"read": 0, "refused": 0}
    longest, largest = 0.0, 0
    with _watched() as most:
        for file, content in contents:
            file.unlink(missing_ok=True)  # a file that is emptied and written anew is flushed to disk
            file.write_bytes(content)
            most()
            start = time.perf_counter()
            refusal = _refusal(read, path)
            counts["read" if refusal is None else "refused"] += 1
            if refusal is not None:
                assert refusal.startswith(str(file))
                assert len(refusal.splitlines()) == 1
            longest = max(longest, time.perf_counter() - start)
            largest = max(largest, most())
    assert longest < SECONDS
    assert largest < BYTES
    return {**counts, "longest, seconds": round(longest, 3), "largest, bytes": largest}


@dataclass(frozen=True)
class Sample:
    """A sound file, or its inside; ``seal`` packs it after it has changed: else its check sum stops every change."""

    content: bytes
    seal: Callable[[bytes], bytes] = bytes


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def _zip(content: bytes) -> bytes:
    """An archive with a sound y, whose x is ``content``."""
    y, file = io.BytesIO(), io.BytesIO()
    np.save(y, np.arange(8))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
        archive.writestr("y.npy", y.getvalue())
    return file.getvalue()


def _idx() -> tuple[Callable[[Path], Any], list[Sample]]:
    images = gzip.decompress((FILES / "digits" / "images-idx3-ubyte.gz").read_bytes())
    few = images[:4] + struct.pack(">3I", 40, 8, 8) + images[16 : 16 + 40 * 64]
    return read_idx, [Sample(_gzip(few)), Sample(few), Sample(few, _gzip)]


def _csv() -> tuple[Callable[[Path], Any], list[Sample]]:
    lines = (FILES / "penguins" / "penguins.csv").read_bytes().splitlines(keepends=True)
    cars = (FILES / "cars" / "cars.csv").read_bytes().splitlines(keepends=True)

    def read(path: Path) -> Any:
        return read_csv(path, missing="drop")

    return read, [Sample(b"".join(lines[:25])), Sample(b"\xef\xbb\xbf" + b"".join(cars[:25]).replace(b",", b";"))]


def _npz() -> tuple[Callable[[Path], Any], list[Sample]]:
    data = load("digits").train[:8]
    files = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, x=data.x[..., 0], y=data.y, lengths=np.full(8, 8))
        files.append(Sample(file.getvalue()))
    x = io.BytesIO()
    np.save(x, data.x[..., 0])
    return read_npz, [*files, Sample(x.getvalue(), _zip)]


READERS = {"idx": _idx, "csv": _csv, "npz": _npz}
COUNTS = [2000, pytest.param(20_000, marks=pytest.mark.full)]


def _record(figures: MutableMapping[str, Any], reader: str, count: int, outcome: dict[str, Any]) -> None:
    if count > 2000:
        figures["survival"] = {"mutated files a reader": {reader: {"files": count, **outcome}}}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("reader", READERS)
def test_a_changed_file_is_read_or_refused(
    reader: str, count: int, tmp_path: Path, figures: MutableMapping[str, Any]
) -> None:
    read, samples = READERS[reader]()
    path = tmp_path / "file"
    for sample in samples[:2]:  # unchanged, they are sound
        path.write_bytes(sample.seal(sample.content))
        read(path)
    changed = mutations(1, [sample.content for sample in samples], count)
    outcome = survive(read, path, ((path, samples[place].seal(content)) for place, content in changed))
    assert outcome["refused"] > count // 4
    assert outcome["read"] > count // 20
    _record(figures, reader, count, outcome)


def _pictures() -> dict[str, bytes]:
    """The same real garment in each format, in several modes."""
    shirt, *_ = load("fashion-subset").train[:1].x
    image = Image.fromarray((shirt[..., 0] * 255).astype(np.uint8))
    files = {}
    for name, mode, options in (
        ("grey.png", "L", {}),
        ("palette.png", "P", {"transparency": 3}),
        ("colour.jpg", "RGB", {}),
        ("turned.jpg", "L", {"exif": _exif(6), "progressive": True}),
        ("clear.webp", "RGBA", {}),
        ("first.gif", "P", {}),
        ("plain.bmp", "RGB", {}),
        ("plain.tif", "L", {"exif": _exif(6)}),
        ("packed.tif", "RGB", {"compression": "tiff_lzw"}),
        ("deep.pgm", "I", {}),
    ):
        file = io.BytesIO()
        image.convert(mode).save(file, Image.registered_extensions()[Path(name).suffix], **options)
        files[name] = file.getvalue()
    return files


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _with_sums(content: bytes) -> bytes:
    """A PNG whose chunks have the right check sums again: else hardly a change gets beyond them."""
    out, place = bytearray(content[:8]), 8
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        chunk = content[place + 4 : place + 8 + length]
        out += content[place : place + 4] + chunk + struct.pack(">I", zlib.crc32(chunk))
        place += 12 + length
    return bytes(out + content[place:])


@pytest.mark.parametrize("count", COUNTS)
def test_a_folder_with_a_changed_picture_is_read_or_refused(
    count: int, tmp_path: Path, figures: MutableMapping[str, Any]
) -> None:
    resource = pytest.importorskip("resource")
    pictures = _pictures()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "b" / "sound.png").write_bytes(pictures["grey.png"])
    files = list(pictures.values())
    names = [tmp_path / "a" / f"0{Path(name).suffix}" for name in pictures]

    def contents() -> Iterator[tuple[Path, bytes]]:
        for place, content in mutations(2, files, count):
            yield names[place], _with_sums(content) if names[place].suffix == ".png" and place % 2 else content
            names[place].unlink()

    def read(root: Path) -> None:
        folder = read_folder(root, size=16, workers=1)
        assert np.isfinite(folder.rows(slice(None))[0]).all()

    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    outcome = survive(read, tmp_path, contents())
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before
    assert grown < RESIDENT
    assert outcome["refused"] > count // 4
    assert outcome["read"] > count // 20
    _record(figures, "pictures", count, {**outcome, "process grew by, bytes": grown})
