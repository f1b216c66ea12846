"""Folders of IDX files: packed or not, under the names of MNIST and its relatives, and what they are taken for."""

from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

import dlcore as dl
from dlcore.data import Splits, load
from dlcore.errors import ConfigError, DataError
from dlcore.train.config import config

FASHION = Path(dl.data.__file__).parent / "files" / "fashion"
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def packed(array: np.ndarray) -> bytes:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def write(folder: Path, names: tuple[str, ...] = NAMES, shape: tuple[int, int] = (6, 5), first: int = 0) -> Path:
    """40 + 8 images of four classes, whose labels begin at ``first``; the pixels of an image are 10 × its label."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in zip(names, (40, 40, 8, 8), strict=True):
        labels = first + np.arange(count) % 4
        array = np.broadcast_to((10 * labels)[:, None, None], (count, *shape)) if "images" in name else labels
        content = packed(np.asarray(array))
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
    return folder


def opened(folder: Path, **settings: object) -> Splits:
    return config.Config.of(data=str(folder), **{"normalize": False, **settings}).data.load()


@pytest.mark.parametrize(
    "names",
    [
        NAMES,
        tuple(f"{name}.gz" for name in NAMES),
        tuple(name.replace("-idx", ".idx") for name in NAMES),
        tuple(f"emnist-letters-{name.replace('t10k', 'test')}.gz" for name in NAMES),
        tuple(f"{name}/{name}" for name in NAMES),
        tuple(name.replace("train", "Train") for name in NAMES),
    ],
)
def test_files_of_any_usual_name_are_read(tmp_path: Path, names: tuple[str, ...]) -> None:
    data = opened(write(tmp_path / "mine", names))
    assert (len(data.train), len(data.dev), len(data.test)) == (36, 4, 8)
    assert (data.name, data.classes, data.train.shape) == ("mine", ("0", "1", "2", "3"), (6, 5, 1))
    x, y = data.test.rows([3])
    assert (x.max(), y.tolist()) == (np.float32(30) / np.float32(255), [3])
    assert "40 training + 8 test images of 6 × 5, IDX files" in data.source


def test_the_files_of_fashion_mnist_are_the_same_unpacked(tmp_path: Path) -> None:
    for file in FASHION.glob("*.gz"):
        (tmp_path / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    data, expected = opened(tmp_path), load("fashion-subset")
    assert data.classes == expected.classes
    np.testing.assert_array_equal(data.train.rows(slice(None))[0], expected.train.rows(slice(None))[0])
    np.testing.assert_array_equal(data.test.y, expected.test.y)


def test_files_of_mnist_are_not_taken_for_clothes(tmp_path: Path) -> None:
    write(tmp_path / "mnist", shape=(28, 28))
    assert opened(tmp_path / "mnist").classes == ("0", "1", "2", "3")
    shutil.copytree(tmp_path / "mnist", tmp_path / "my-fashion")
    assert "T-shirt/top" in (opened(tmp_path / "my-fashion").classes or ())
    earlier = opened(tmp_path / "mnist", rules=1)  # version 0.1 knew one data set of these names
    assert "T-shirt/top" in (earlier.classes or ())


def test_labels_may_begin_at_1(tmp_path: Path) -> None:
    data = opened(write(tmp_path / "letters", first=1))
    assert (data.classes, sorted(set(data.train.y.tolist()))) == (("1", "2", "3", "4"), [0, 1, 2, 3])


def test_normalised_by_the_training_images(tmp_path: Path) -> None:
    data = opened(write(tmp_path / "mine"), normalize=True)
    assert abs(float(data.train.rows(slice(None))[0].mean())) < 1e-5
    assert data.normalizer is not None


def test_what_does_not_go_together_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine")
    (folder / NAMES[3]).write_bytes(packed(np.full(8, 9)))
    with pytest.raises(
        DataError, match=r"t10k-labels-idx1-ubyte: label\[0\] is 9, but the training labels are .* 0 to 3"
    ):
        opened(folder)
    (folder / NAMES[3]).write_bytes(packed(np.zeros(7)))
    with pytest.raises(DataError, match=r"the test files hold images \(8, 6, 5\) of uint8 and labels \(7,\)"):
        opened(folder)
    (folder / NAMES[3]).unlink()
    with pytest.raises(DataError, match=r"no IDX file of the test labels, such as t10k-labels-idx1-ubyte\.gz"):
        opened(folder)
    write(folder, tuple(f"other-{name}" for name in NAMES))
    with pytest.raises(DataError, match=r"are of different data sets.*a folder of its own"):
        opened(folder)


def test_they_have_one_target(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="target goes with"):
        opened(write(tmp_path / "mine"), target="digit")
