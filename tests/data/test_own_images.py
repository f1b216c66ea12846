"""Folders of images as data: which folders are parts, what is left out, and what is said of it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlcore.cli import main
from dlcore.cli.texts import about_data
from dlcore.data import Inputs, Splits, open_path, read_folder
from dlcore.errors import DataError


def write_folder(root: Path, counts: dict[str, int], shape: tuple[int, int] = (4, 6)) -> Path:
    rng = np.random.default_rng(len(str(root)))
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (*shape, 3), np.uint8)).save(root / name / f"{i:03}.png")
    return root


def sizes(data: Splits) -> list[list[int]]:
    return [np.bincount(part.y).tolist() for part in (data.train, data.dev, data.test)]


def notes(data: Splits) -> str:
    return "\n".join(data.notes)


# Parts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "dev", "test"),
    [
        ("train", "dev", "test"), ("train", "val", "test"), ("Train", "Valid", "Test"), ("TRAIN", "VALIDATION", "TEST"),
        ("training", "eval", "testing"), ("training_set", "validation_set", "test_set"),
        ("seg_train", None, "seg_test"), ("train_img", "img-val", "image test"),
        ("Training Data", "Val-Images", "Test.Data"), ("train", None, "test"), ("train", "val", None),
        ("Training", "Evaluation", None),
    ],
)  # fmt: skip
def test_parts_are_known_by_all_common_names(tmp_path: Path, train: str, dev: str | None, test: str | None) -> None:
    write_folder(tmp_path / train, {"cat": 20, "dog": 10})
    if dev:
        write_folder(tmp_path / dev, {"cat": 1, "dog": 1})
    if test:
        write_folder(tmp_path / test, {"cat": 2, "dog": 3}, shape=(9, 9))
    data = open_path(tmp_path)
    drawn = [4, 2]
    expected = (
        [[20, 10], [1, 1], [2, 3]] if dev and test else [[16, 8], [1, 1] if dev else drawn, [2, 3] if test else drawn]
    )
    assert (data.classes, sizes(data)) == (("cat", "dog"), expected)
    assert data.train.shape == (4, 6, 3)
    assert ("no folder of the dev set: 6 images of" in notes(data)) == (dev is None)
    assert ("no folder of the test set: 6 images of" in notes(data)) == (test is None)
    if test:
        np.testing.assert_array_equal(
            data.test.rows(slice(None))[0], read_folder(tmp_path / test, size=(4, 6)).rows(slice(None))[0]
        )


def test_images_drawn_for_a_part_are_not_trained_on(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"cat": 20, "dog": 10})
    write_folder(tmp_path / "val", {"cat": 2, "dog": 2})
    data = open_path(tmp_path)
    paths = [set(part.paths) for part in (data.train, data.dev, data.test)]  # type: ignore[attr-defined]
    assert len(set.union(*paths)) == sum(map(len, paths)) == 34


def test_a_folder_of_training_images_alone_is_split(tmp_path: Path) -> None:
    write_folder(tmp_path / "training", {"cat": 10, "dog": 10})
    data = open_path(tmp_path)
    assert (data.classes, sizes(data)) == (("cat", "dog"), [[6, 6], [2, 2], [2, 2]])


def test_a_part_without_classes_and_a_folder_that_is_no_part_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"cat": 20, "dog": 10})
    write_folder(tmp_path / "val", {"cat": 1, "dog": 1})
    write_folder(tmp_path, {"Test": 3, "spare": 1})
    data = open_path(tmp_path)
    assert sizes(data) == [[16, 8], [1, 1], [4, 2]]
    assert "Test has no folders of classes, and is left out" in notes(data)
    assert "left out beside the folders of the parts: spare" in notes(data)


@pytest.mark.parametrize(
    "names", [("fold1", "fold2", "fold3"), ("left", "right"), ("dev", "test"), ("train", "holdout")]
)
def test_folders_that_all_hold_the_same_classes_are_refused(tmp_path: Path, names: Sequence[str]) -> None:
    for name in names:
        write_folder(tmp_path / name, {"ant": 3, "bee": 3})
    with pytest.raises(DataError, match=f"{names[0]}.* hold the same folders, ant, bee.*call the parts train, dev and"):
        open_path(tmp_path)


@pytest.mark.parametrize(
    "folders",
    [
        {"cat/indoors": 5, "dog/indoors": 5},  # one folder is no set of classes
        {"cat/indoors": 5, "dog/outdoors": 5, "dog/indoors": 5},
        {"bus/red": 5, "bus/blue": 5, "train/red": 5},  # a train is a vehicle
        {"train": 10, "test": 10},
    ],
)
def test_classes_that_hold_folders_stay_classes(tmp_path: Path, folders: dict[str, int]) -> None:
    data = open_path(write_folder(tmp_path, folders))
    assert data.classes == tuple(sorted({name.partition("/")[0] for name in folders}))


def test_classes_that_are_called_like_parts_are_remarked_on(tmp_path: Path) -> None:
    assert "warning: the classes are called Train, Val; if these are parts" in notes(
        open_path(write_folder(tmp_path / "a", {"Train": 10, "Val": 10}))
    )
    assert "warning" not in notes(open_path(write_folder(tmp_path / "b", {"train": 5, "bus": 5, "test": 5})))


def test_images_beside_equal_folders_make_them_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_folder(tmp_path / name, {"indoors": 3, "outdoors": 3})
        Image.new("L", (6, 4)).save(tmp_path / name / "own.png")
    assert np.sum(sizes(open_path(tmp_path)), axis=0).tolist() == [7, 7]


def test_parts_of_other_classes_or_two_dev_sets_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "Train", {"cat": 3, "dog": 3})
    write_folder(tmp_path / "test", {"cat": 2, "cow": 2, "dog": 2})
    with pytest.raises(DataError, match="the class cow is in test but not in Train; give both the same"):
        open_path(tmp_path)
    for name in ("dev", "val"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="there are the folders dev and val"):
        open_path(tmp_path)


def test_a_folder_in_a_folder_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", {"cat": 3, "dog": 3})
    with pytest.raises(DataError, match=r"pets is the only class, .* give .*pets if the classes are the folders in it"):
        open_path(tmp_path)


# What is said --------------------------------------------------------------------------------------------------------


def test_classes_are_named_with_their_counts_in_the_training_set(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"cat": 20, "dog": 10})
    write_folder(tmp_path / "dev", {"cat": 2, "dog": 3})
    write_folder(tmp_path / "test", {"cat": 2, "dog": 3})
    assert "classes in the training set: cat: 20 (66.7 %), dog: 10 (33.3 %)" in about_data(open_path(tmp_path))


def test_what_is_left_out_is_counted_by_reason_in_one_line(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 5, "dog": 5, "__MACOSX": 1})
    (tmp_path / "cat" / "__MACOSX").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "cat" / "__MACOSX" / "1.png")
    for name in ("Thumbs.db", "cat/.DS_Store", "cat/._000.png", "dog/labels.txt", "dog/more.txt", "dog/README"):
        (tmp_path / name).touch()
    (tmp_path / "dog" / ".ipynb_checkpoints").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "loose.png")
    (tmp_path / "dog" / "damaged.png").write_bytes(b"<html>")
    with pytest.warns(UserWarning, match=r"damaged\.png"):
        data = open_path(tmp_path, corrupt="skip")
    assert data.classes == ("cat", "dog")
    assert "10 images" in data.source
    assert (
        "left out: 6 hidden, 1 picture beside the folders of the classes, 3 not PNG, JPEG, GIF, BMP, WEBP, TIFF or PNM "
        "by their content (.txt 2, no suffix 1), 1 unreadable"
    ) in data.notes


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_links_to_folders_are_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 5, "dog": 5})
    (tmp_path / "cat" / "up").symlink_to(tmp_path)
    assert "left out: 1 link to a folder" in open_path(tmp_path).notes


def test_nothing_left_out_and_nothing_decided_is_not_mentioned(tmp_path: Path) -> None:
    assert open_path(write_folder(tmp_path, {"cat": 5, "dog": 5})).notes == ()


def test_what_the_pictures_decided_is_said(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 6, "dog": 4})
    for name, shape in (("cat", (9, 9)), ("dog", (5, 5))):
        Image.fromarray(np.full(shape, 4000, np.uint16)).save(tmp_path / name / "deep.png")
    data = open_path(tmp_path)
    said = notes(data)
    assert "10 of 12 pictures have this size" in said
    assert "10 of 12 pictures have colours; --color grey" in said
    assert "16-bit grey of 0 to 4,095 (12 bits)" in said
    assert "have colours" not in notes(open_path(tmp_path, color="rgb"))
    assert "this size" not in notes(open_path(tmp_path, image_size=(4,)))
    assert isinstance(data.inputs, Inputs)
    assert data.inputs.to_dict() == {"kind": "images", "size": [4, 6], "channels": 3, "depth": 12}
    assert data.inputs.read(tmp_path / "cat" / "deep.png").max() == np.float32(249 / 255)


def test_all_parts_decide_about_colour(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        for name in "ab":
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(4):
                colour = (9, 200, 9) if part == "test" else (7 * i, 7 * i, 7 * i)
                Image.new("RGB", (4, 4), colour).save(tmp_path / part / name / f"{i}.png")
    assert open_path(tmp_path).train.shape == (4, 4, 3)
    for file in (tmp_path / "test").rglob("*.png"):
        Image.new("RGB", (4, 4), (5, 5, 5)).save(file)
    assert open_path(tmp_path).train.shape == (4, 4, 1)


def test_a_channel_that_training_never_saw_change_is_0_for_ever(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.new("RGB", (2, 2), (10 * i, 7, 7)).save(tmp_path / name / f"{i}.png")
    normalizer = open_path(tmp_path, normalize=True).normalizer
    assert normalizer is not None
    assert normalizer.transform(np.full((1, 1, 1, 3), 0.9))[0, 0, 0].tolist()[1:] == [0, 0]
    earlier = open_path(tmp_path, normalize=True, rules=1).normalizer
    assert earlier is not None
    assert earlier.transform(np.full((1, 1, 1, 3), 0.9))[0, 0, 0, 1] > 0.8


# Version 0.1 ---------------------------------------------------------------------------------------------------------


def test_the_rules_of_version_01_take_suffixes_and_the_first_picture(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 6, "dog": 6})
    for name in ("cat", "dog"):
        Image.fromarray(np.full((5, 5), 4000, np.uint16)).save(tmp_path / name / "00.png")  # the first by name
        Image.new("RGB", (6, 4)).save(tmp_path / name / "other.tif")
    data = open_path(tmp_path, rules=1)
    assert (data.train.shape, np.sum(sizes(data), axis=0).tolist()) == ((5, 5, 1), [7, 7])
    assert isinstance(data.inputs, Inputs)
    assert "depth" not in data.inputs.to_dict()
    assert data.inputs.read(tmp_path / "cat" / "00.png").max() == np.float32(16 / 255)
    data = open_path(tmp_path)
    assert (data.train.shape, np.sum(sizes(data), axis=0).tolist()) == ((4, 6, 3), [8, 8])


def test_the_rules_of_version_01_know_four_names_of_parts(tmp_path: Path) -> None:
    write_folder(tmp_path / "Train", {"cat": 20, "dog": 10})
    write_folder(tmp_path / "Test", {"cat": 2, "dog": 3})
    assert open_path(tmp_path, rules=1).classes == ("Test", "Train")
    for name in ("Train", "Test"):
        (tmp_path / name).rename(tmp_path / name.lower())
    assert sizes(open_path(tmp_path, rules=1)) == sizes(open_path(tmp_path)) == [[16, 8], [4, 2], [2, 3]]


# The command line ----------------------------------------------------------------------------------------------------


def test_a_run_prints_classes_and_what_was_left_out_and_predicts_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(Path("pets"), {"cat": 10, "dog": 10})
    Path("pets/cat/notes.txt").write_text("x")
    words = ("train", "--data", "pets", "--model", "logistic", "--epochs", "1", "--baseline", "none", "--name", "a")
    assert main(words) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines.count("classes in the training set: cat: 6 (50 %), dog: 6 (50 %)") == 1
    assert not any("by class" in line for line in lines)
    assert "left out: 1 not PNG, JPEG, GIF, BMP, WEBP, TIFF or PNM by its content (.txt 1)" in lines
    write_folder(Path("new"), {"b": 2, "a/deep": 1})
    Image.new("RGB", (6, 4)).save("new/z", format="PNG")
    Path("new/readme.txt").write_text("x")
    assert main(["predict", "a", "new", "pets/dog/000.png", "--json"]) == 0
    named = [json.loads(line)["input"] for line in capsys.readouterr().out.splitlines()]
    assert named == ["new/a/deep/000.png", "new/b/000.png", "new/b/001.png", "new/z", "pets/dog/000.png"]


def test_a_folder_without_pictures_and_a_damaged_picture_do_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(Path("pets"), {"cat": 10, "dog": 10})
    words = ("train", "--data", "pets", "--model", "logistic", "--epochs", "1", "--baseline", "none", "--name", "a")
    assert main(words) == 0
    Path("empty").mkdir()
    Path("pets/cat/004.png").write_bytes(b"cut")
    capsys.readouterr()
    assert main(["predict", "a", "empty", "pets/cat"]) == 1
    captured = capsys.readouterr()
    assert len([line for line in captured.out.splitlines() if "%" in line]) == 9
    assert "empty: no picture" in captured.err + captured.out
    assert "004.png" in captured.err + captured.out
