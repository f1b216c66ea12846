"""People's own data from a path: three parts, filled and normalised by the training part alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlcore.data import Dataset, ImageFolder, Normalizer, Splits, open_path, read_folder
from dlcore.errors import ConfigError, DataError
from dlcore.train.config import config


def write_table(path: Path, n: int = 50) -> Path:
    rows = "".join(f"{i},{'uv'[i % 2]},{'' if i % 10 == 3 else i * i},{'abc'[i % 5 // 2]}\n" for i in range(n))
    path.write_text(f"place,side,square,kind\n{rows}")
    return path


def write_folder(root: Path, counts: dict[str, int], shape: tuple[int, int] = (4, 6)) -> Path:
    rng = np.random.default_rng(len(str(root)))
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (*shape, 3), np.uint8)).save(root / name / f"{i:03}.png")
    return root


def ids(data: Splits) -> list[list[int]]:
    return [sorted(part.rows(slice(None))[0][:, 0].astype(int).tolist()) for part in (data.train, data.dev, data.test)]


# Tables --------------------------------------------------------------------------------------------------------------


def test_a_table_is_split_60_20_20_in_proportion_of_its_classes(tmp_path: Path) -> None:
    data = open_path(write_table(tmp_path / "things.csv"), missing="mean")
    assert [np.bincount(part.y).tolist() for part in (data.train, data.dev, data.test)] == [
        [12, 12, 6], [4, 4, 2], [4, 4, 2],
    ]  # fmt: skip
    assert sorted(place for part in ids(data) for place in part) == list(range(50))
    assert (data.name, data.task, data.classes) == ("things", "classification", ("a", "b", "c"))
    assert data.features == ("place", "side=u", "side=v", "square")
    assert "things.csv, 50 rows; kind is predicted" in data.source
    assert ids(open_path(tmp_path / "things.csv", missing="mean")) == ids(data)
    assert ids(open_path(tmp_path / "things.csv", missing="mean", seed=1)) != ids(data)


def test_gaps_and_the_normalizer_know_the_training_rows_alone(tmp_path: Path) -> None:
    data = open_path(write_table(tmp_path / "things.csv"), missing="mean", normalize=True)
    raw = open_path(tmp_path / "things.csv", missing="mean")
    train = ids(raw)[0]
    fill = np.mean([i * i for i in train if i % 10 != 3])
    assert data.inputs is not None
    assert data.inputs.to_dict()["columns"][2] == {"name": "square", "kind": "number", "fill": pytest.approx(fill)}
    squares = np.array([fill if i % 10 == 3 else i * i for i in train])
    assert data.normalizer is not None
    assert data.normalizer.mean[3] == pytest.approx(squares.mean())
    assert data.normalizer.std[3] == pytest.approx(squares.std())
    x = raw.test.rows(slice(None))[0]
    z = (x - data.normalizer.mean) / data.normalizer.std  # of values that were rounded to float32 before
    np.testing.assert_allclose(data.test.rows(slice(None))[0], z, rtol=1e-5, atol=1e-7)


def test_dropped_rows_are_counted(tmp_path: Path) -> None:
    data = open_path(write_table(tmp_path / "things.tsv"), missing="drop")
    assert "45 rows, 5 with missing cells left out" in data.source
    assert data.inputs is not None
    assert data.inputs.to_dict()["columns"][2]["fill"] is None


@pytest.mark.parametrize(("task", "shape"), [("binary", (30, 1)), ("classification", (30,))])
def test_the_task_of_a_table_can_be_given(tmp_path: Path, task: str, shape: tuple[int, ...]) -> None:
    data = open_path(write_table(tmp_path / "t.csv"), target="side", task=task, missing="mean")
    assert (data.task, data.train.y.shape) == (task, shape)
    assert data.train.y.sum() == 15


def test_several_targets_are_split_in_proportion_of_the_first_that_has_classes(tmp_path: Path) -> None:
    data = open_path(write_table(tmp_path / "t.csv"), target=["square", "kind"], ignore=["side"])
    assert (data.task, data.features, data.classes) == ("multitask", ("place",), {"kind": ("a", "b", "c")})
    for part in (data.train, data.dev, data.test):
        np.testing.assert_array_equal(np.bincount(part.y["kind"]), len(part) // 5 * np.array([2, 2, 1]))
    missing = [int(np.isnan(part.y["square"]).sum()) for part in (data.train, data.dev, data.test)]
    assert sum(missing) == 5


def test_targets_far_from_0_are_said_where_nothing_is_normalised(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,price\n" + "".join(f"{i},{250_000 + i}\n" for i in range(30)))
    assert "price is about 250,000, which is far from 0: normalize, or divide" in open_path(tmp_path / "t.csv").source
    assert "far from 0" not in open_path(tmp_path / "t.csv", target="a").source
    assert "far from 0" not in open_path(tmp_path / "t.csv", normalize=True).source  # they are learnt standardised


def test_a_target_that_never_changes_is_said(tmp_path: Path) -> None:
    rows = "".join(f"{i},{'xy'[i % 2]},{'' if i == 29 else 7.5}\n" for i in range(30))
    (tmp_path / "t.csv").write_text(f"a,side,k\n{rows}")
    for target in ("k", ["side", "k"]):
        said = open_path(tmp_path / "t.csv", target=target, missing="drop" if target == "k" else None).source
        assert said.count("in every row") == 1
        assert "; k is 7.5 in every row, so that there is nothing to learn of it" in said


def test_few_rows_are_too_few_for_three_parts(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n2,3\n")
    with pytest.raises(DataError, match=r"t\.csv: split: 2 rows are too few"):
        open_path(tmp_path / "t.csv")


def test_an_index_that_is_left_out_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(",a,b\n" + "".join(f"{i},{i / 2},{i * i}\n" for i in range(10)))
    data = open_path(tmp_path / "t.csv")
    assert data.features == ("a",)
    assert "10 rows, the index left out;" in data.source


@pytest.mark.parametrize("name", ["t.txt", "t.dat", "t.data", "t", "t.tab"])
@pytest.mark.parametrize(("mark", "word"), [("\t", "tabs"), ("|", "|"), ("  ", "spaces"), (";", "semicolons")])
def test_a_file_that_plainly_is_a_table_is_read_as_one_whatever_its_name(
    tmp_path: Path, name: str, mark: str, word: str
) -> None:
    rows = "".join(f"{i % 7}{mark}{i / 4}{mark}{'uvw'[i % 3]}\n" for i in range(20))
    (tmp_path / name).write_text(f"a{mark}b{mark}y\n{rows}")
    for data in (open_path(tmp_path / name), config.DataConfig(data=str(tmp_path / name)).load()):
        assert (data.features, data.classes) == (("a", "b"), ("u", "v", "w"))
        assert f"20 rows, read as a table with {word} between its cells; y is" in data.source


def test_a_short_table_is_one_where_a_setting_of_tables_is_given(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("kind,y\n" + "u,b\nv,c\n" * 4)
    assert config.DataConfig(data=str(tmp_path / "t.txt"), target="kind").load().features == ("y=b", "y=c")
    with pytest.raises(DataError, match=r"ends in \.txt"):
        open_path(tmp_path / "t.txt")
    assert open_path(tmp_path / "t.txt", ignore=[], missing="drop").features == ("kind=u", "kind=v")


@pytest.mark.parametrize(
    "text",
    [
        "First Voice:\nSpeak, speak, I pray.\n\nSecond Voice:\nWell, then, I will.\n" * 40,
        "one, two, three\nfour, five, six\n" * 60,
        "\n".join(f"{i}: verse and so on, and on" + "!" * (i % 3) + ", or not" * (i % 2) for i in range(200)),
    ],
)
def test_prose_remains_a_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.txt").write_text(text)
    assert config.DataConfig(data=str(tmp_path / "t.txt")).load().task == "text"


def test_a_table_in_a_txt_is_a_text_by_the_settings_of_a_text_and_by_the_rules_of_version_0_1(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a\ty\n" + "".join(f"{i % 7}\t{i / 4}\n" for i in range(200)))
    settings: list[dict[str, Any]] = [{"window": 8}, {"unknown": "replace"}, {"rules": 1}]
    for one in settings:
        assert config.DataConfig(data=str(tmp_path / "t.txt"), **one).load().task == "text"
    series = config.DataConfig(data=str(tmp_path / "t.txt"), window=8, target="y").load()
    assert (series.task, series.train.x.shape[1:]) == ("regression", (8, 2))


def test_category_is_another_flag_for_categorical() -> None:
    assert config.settings()["categorical"].alias == "--category"


# Archives ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "task", "expected", "shape", "classes"),
    [
        (np.arange(20) % 3, None, "classification", (12,), ("0", "1", "2")),
        (np.arange(20.0)[:, None] % 3, "classification", "classification", (12,), ("0", "1", "2")),
        (np.arange(20) % 2 == 1, "binary", "binary", (12, 1), ("0", "1")),
        (np.arange(20) / 7, None, "regression", (12, 1), None),
        (np.arange(20), "regression", "regression", (12, 1), None),
    ],
)
def test_the_targets_of_an_archive(
    tmp_path: Path, y: np.ndarray, task: str | None, expected: str, shape: tuple[int, ...], classes: Any
) -> None:
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).normal(size=(20, 3)), y=y)
    data = open_path(tmp_path / "a.npz", task=task, normalize=True)
    assert (data.task, data.train.y.shape, data.classes) == (expected, shape, classes)
    x = data.train.rows(slice(None))[0]
    assert x.dtype == np.float32
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)


def test_bytes_are_images_and_whole_numbers_with_lengths_words(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 4), np.uint8)
    np.savez(tmp_path / "images.npz", x=images, y=np.arange(20) % 2)
    data = open_path(tmp_path / "images.npz")
    assert data.train.shape == (5, 4, 1)
    x = np.concatenate([part.rows(slice(None))[0] for part in (data.train, data.dev, data.test)])
    np.testing.assert_allclose(np.sort(x.ravel()), np.sort(images.ravel() / 255), rtol=1e-6)
    assert data.inputs is not None
    assert data.inputs.to_dict() == {"kind": "images", "size": [5, 4], "channels": 1}
    np.savez(tmp_path / "words.npz", x=np.ones((20, 6), int), y=np.arange(20) % 2, lengths=np.full(20, 3))
    words = open_path(tmp_path / "words.npz", normalize=True)
    assert words.train.dtype == np.int64
    assert words.normalizer is None
    assert isinstance(words.train, Dataset)
    assert words.train.lengths is not None


@pytest.mark.parametrize(
    ("y", "task", "words"),
    [
        (np.zeros((20, 2)), None, r"y has shape \(20, 2\), but one target per example"),
        (np.arange(20) - 1, None, r"y\[0\] is -1, but classification takes whole numbers from 0 to 999"),
        (np.arange(20) * 100, None, r"y\[10\] is 1000, but classification"),
        (np.arange(20) / 2, "classification", r"y\[1\] is 0.5, but classification"),
        (np.arange(20), "binary", r"y\[2\] is 2, but binary takes whole numbers from 0 to 1"),
        (np.zeros(20, int), None, "y is 0 throughout"),
        (np.full(20, 1e300), None, r"y holds 1e\+300, too large for float32"),
    ],
)
def test_targets_that_nothing_can_be_learnt_from_are_refused(
    tmp_path: Path, y: np.ndarray, task: str | None, words: str
) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((20, 3)), y=y)
    with pytest.raises(DataError, match=words) as raised:
        open_path(tmp_path / "a.npz", task=task)
    assert str(raised.value).startswith(str(tmp_path / "a.npz"))


# Folders of images ---------------------------------------------------------------------------------------------------


def test_a_folder_is_split_in_proportion_and_stays_lazy(tmp_path: Path) -> None:
    data = open_path(write_folder(tmp_path / "pets", {"cat": 20, "dog": 10}))
    assert [np.bincount(part.y).tolist() for part in (data.train, data.dev, data.test)] == [[12, 6], [4, 2], [4, 2]]
    parts = [part for part in (data.train, data.dev, data.test) if isinstance(part, ImageFolder)]
    assert len({path for part in parts for path in part.paths}) == 30
    assert (data.name, data.task, data.classes) == ("pets", "classification", ("cat", "dog"))
    assert "pets, 30 images, 4 × 6, in colour" in data.source
    assert data.inputs is not None
    assert data.inputs.to_dict() == {"kind": "images", "size": [4, 6], "channels": 3}


def test_the_statistics_of_a_folder_are_those_of_its_training_arrays(tmp_path: Path) -> None:
    data = open_path(write_folder(tmp_path / "pets", {"cat": 20, "dog": 10}), normalize=True)
    raw = open_path(tmp_path / "pets")
    expected = Normalizer.fit(Dataset(*raw.train.rows(slice(None))))
    assert data.normalizer is not None
    np.testing.assert_allclose(data.normalizer.mean, expected.mean, rtol=1e-6)
    np.testing.assert_allclose(data.normalizer.std, expected.std, rtol=1e-6)
    np.testing.assert_array_equal(
        data.dev.rows(slice(None))[0], data.normalizer.transform(raw.dev.rows(slice(None))[0])
    )


def test_a_channel_that_never_changes_becomes_0(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.new("RGB", (2, 2), (10 * i, 7, 7)).save(tmp_path / name / f"{i}.png")
    data = open_path(tmp_path, normalize=True)
    assert data.normalizer is not None
    assert data.normalizer.std.tolist()[1:] == [1, 1]
    np.testing.assert_allclose(data.train.rows(slice(None))[0][..., 1:], 0, atol=1e-7)


def test_splits_of_a_folder_decode_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = read_folder(write_folder(tmp_path / "pets", {"cat": 5, "dog": 5}), memory=0)
    monkeypatch.setattr("dlcore.data.readers.images.folder.decode", None)
    splits = Splits(
        train=folder[:8], dev=folder[8:9], test=folder[9:], name="pets", task="classification", classes=folder.classes
    )
    assert splits.inputs is None
    with pytest.raises(DataError, match=r"train y\[5\] is 1, but 1 classes"):
        Splits(train=folder, dev=folder, test=folder, name="pets", task="classification", classes=("cat",))


@pytest.mark.parametrize(
    ("y", "task", "told"),
    [
        (np.arange(30.0) % 3, None, True),
        (np.array([[1.0], [5.0]] * 15, np.float32), None, True),
        (np.arange(30) % 2 * -1.0, None, True),
        (np.arange(30.0), None, False),
        (np.arange(30) % 3 / 2, None, False),
        (np.arange(30.0) % 3, "regression", False),
        (np.arange(30) % 3, None, False),
    ],
)
def test_an_archive_of_few_whole_float_targets_is_remarked_on(
    tmp_path: Path, y: np.ndarray, task: str | None, told: bool
) -> None:
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).normal(size=(30, 2)), y=y)
    source = open_path(tmp_path / "a.npz", task=task).source
    assert ("read as numbers; task classification would take them as classes" in source) is told


# Paths and settings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [("x.txt", "ends in .txt"), ("x", "ends in nothing"), ("nowhere.csv", "nowhere.csv: .*No such file")],
)
def test_a_path_of_another_kind_is_refused(tmp_path: Path, name: str, words: str) -> None:
    if name != "nowhere.csv":
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=words):
        open_path(tmp_path / name)


SETTINGS = {
    "missing": "drop", "missing_target": "refuse", "unknown_level": "missing", "categorical": ("a",),
    "ignore": ("c",), "task": "binary",
    "image_size": (8,), "color": "grey", "corrupt": "skip",
}  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", ["digits", "table.csv", "array.npz", "images"])
def test_a_setting_goes_with_the_data_that_take_it(tmp_path: Path, kind: str, setting: str) -> None:
    write_folder(tmp_path / "images", {"cat": 5, "dog": 5})
    (tmp_path / "table.csv").write_text("c,a,b\n" + "7,1,0\n8,2,1\n" * 10)
    np.savez(tmp_path / "array.npz", x=np.zeros((20, 2)), y=np.arange(20) % 2)
    table = {"missing", "missing_target", "unknown_level", "categorical", "ignore", "task"}
    takes = {"table.csv": table, "array.npz": {"task"}, "digits": set()}
    data = kind if kind == "digits" else str(tmp_path / kind)
    settings = config.Config.of(data=data, **{setting: SETTINGS[setting]}).data
    if setting in takes.get(kind, {"image_size", "color", "corrupt"}):
        assert len(settings.load().train) >= 6
        return
    with pytest.raises(ConfigError, match=rf"^{setting} goes with .*, but data is .*{kind}.*; leave {setting} out"):
        settings.load()


def test_settings_reach_the_readers(tmp_path: Path) -> None:
    write_folder(tmp_path / "images", {"cat": 5, "dog": 5})
    (tmp_path / "images" / "cat" / "000.png").write_bytes(b"x")
    chosen = config.Config.of(data=str(tmp_path / "images"), image_size=(3, 2), color="grey", corrupt="skip").data
    with pytest.warns(UserWarning, match=r"000\.png"):
        data = chosen.load()
    assert (data.train.shape, len(data.train) + len(data.dev) + len(data.test)) == ((3, 2, 1), 9)
    assert data.normalizer is not None
    with pytest.raises(ConfigError, match=r"image_size is .* one or two numbers"):
        config.Config.of(data=str(tmp_path / "images"), image_size=(3, 2, 1)).data.load()
    (tmp_path / "table.csv").touch()
    with pytest.raises(ConfigError, match=r"there is no file .*tabel\.csv \(did you mean table\.csv\?\)"):
        config.Config.of(data=str(tmp_path / "tabel.csv")).data.load()
    with pytest.raises(ConfigError, match=r"data is .* one of .* \(did you mean penguins\?\)"):
        config.Config.of(data="pengiuns").data.load()


def test_a_device_is_no_data() -> None:
    with pytest.raises(DataError, match="/dev/null: it is no folder, table or archive"):
        open_path("/dev/null")


def test_the_source_says_what_each_column_is_and_what_the_target_might_be(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,y\n" + "".join(f"{i},{'uv'[i % 2]},{i // 5 % 2}\n" for i in range(30)))
    source = open_path(tmp_path / "t.csv").source
    assert "from 1 number, 1 category: b; it is read as numbers; task classification would take" in source
    assert "read as numbers" not in open_path(tmp_path / "t.csv", task="regression").source
    assert "read as numbers" not in open_path(tmp_path / "t.csv", target="a").source
    assert "; y read as numbers; categorical would" in open_path(tmp_path / "t.csv", target=["y", "b"]).source


def test_what_archives_of_others_hold_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    y = np.arange(20) % 2
    np.savez(file, x=np.zeros((20, 3, 8, 8)), y=y)
    with pytest.raises(DataError, match="looks like channels first, but channels last"):
        open_path(file)
    np.savez(file, x=np.full((20, 2), 1e300), y=y)
    with pytest.raises(DataError, match=r"x holds 1e\+300, too large for float32"):
        open_path(file)
    np.savez(file, x=np.zeros((20, 2)), y=np.array(["u", "v"])[y])
    with pytest.raises(DataError, match=r"y holds text.*encode the labels as 0, 1, 2"):
        open_path(file)
    np.savez(file, x=np.zeros((20, 2)), y=5 * y)
    with pytest.warns(UserWarning, match="no example of the classes 1, 2, 3, 4, of 0 to 5"):
        open_path(file)


# Columns that training cannot learn ----------------------------------------------------------------------------------


def write_rows(path: Path, header: str, rows: list[list[Any]]) -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n).round(3)


@pytest.mark.parametrize("name", ["ID", "row.names", "Unnamed: 0.1", "obs", "S.No", "index", "rownum"])
def test_a_column_that_numbers_the_rows_under_an_indexs_name_is_left_out(tmp_path: Path, name: str) -> None:
    rows = [[i + 17, value, "xyz"[i // 20]] for i, value in enumerate(noise(60))]
    data = open_path(write_rows(tmp_path / "t.csv", f"{name},a,kind", rows))
    assert data.features == ("a",)
    (note,) = data.notes
    assert name in note
    assert "left out" in note
    assert data.inputs is not None
    assert [column["name"] for column in data.inputs.to_dict()["columns"]] == ["a"]  # nor asked for at predict


def test_other_columns_that_count_by_one_stay_with_a_warning(tmp_path: Path) -> None:
    rows = [[1950 + i, i, value, round(2 * value, 3)] for i, value in enumerate(noise(40))]
    data = open_path(write_rows(tmp_path / "t.csv", "year,minutes,a,y", rows))
    assert data.features == ("year", "minutes", "a")
    (note,) = data.notes
    assert "warning: year, minutes" in note
    assert "--ignore" in note


@pytest.mark.parametrize(
    ("header", "shape"),
    [("id,a,y", "shuffled"), ("id,a,y", "gap"), ("a,b,id", "target"), ("id,y", "alone")],
)
def test_an_index_is_kept_where_it_does_not_count_or_is_needed(tmp_path: Path, header: str, shape: str) -> None:
    count = list(range(50))
    if shape == "shuffled":
        count = list(np.random.default_rng(1).permutation(50))
    if shape == "gap":
        count[30:] = range(31, 51)
    place = header.split(",").index("id")
    rows = [[*noise(len(header.split(",")) - 1, i)] for i in count]
    for row, number in zip(rows, count, strict=True):
        row.insert(place, number)
    data = open_path(write_rows(tmp_path / "t.csv", header, rows))
    assert "id" in (data.features or ()) or shape == "target"
    assert not any("left out" in note for note in data.notes)


def test_an_index_named_in_categorical_stays(tmp_path: Path) -> None:
    rows = [[i, value, value] for i, value in enumerate(noise(10))]
    data = open_path(write_rows(tmp_path / "t.csv", "id,a,y", rows), categorical=["id"])
    assert len(data.features or ()) == 11


def test_constant_columns_and_levels_are_named_and_become_0_for_ever(tmp_path: Path) -> None:
    rows = [[7, value, "ab"[i % 2], value + i % 2] for i, value in enumerate(noise(50))]
    train = open_path(write_rows(tmp_path / "t.csv", "lot,a,kind,y", rows)).train.rows(slice(None))[0]
    odd = next(i for i in range(50) if float(np.float32(rows[i][1])) not in train[:, 1])  # of dev or test
    rows[odd][2] = "rare"
    rows[odd][0] = 9  # a lot that training does not know
    data = open_path(write_rows(tmp_path / "t.csv", "lot,a,kind,y", rows), normalize=True)
    (note,) = data.notes
    assert "constant in the training set" in note
    assert "lot, kind=rare" in note
    for part in (data.train, data.dev, data.test):
        x = part.rows(slice(None))[0]
        assert not x[:, [0, 4]].any()
        assert set(np.unique(x[:, 2:4])) == {0.0, 1.0}


def test_an_archive_follows_the_same_rule(tmp_path: Path) -> None:
    x = np.column_stack([noise(50), np.full(50, 3.0), np.arange(50) % 2, 1_764_547_200 + np.arange(50)])
    np.savez(tmp_path / "t.npz", x=x, y=noise(50, 1))
    data = open_path(tmp_path / "t.npz", normalize=True)
    counting, constant = data.notes
    assert constant == "constant in the training set, so that nothing can be learned from it, and set to 0: feature 1"
    assert counting.startswith("warning: feature 3 ")
    found = np.concatenate([part.rows(slice(None))[0] for part in (data.train, data.dev, data.test)])
    assert not found[:, 1].any()
    assert set(found[:, 2]) == {0.0, 1.0}
    assert len(np.unique(found[:, 3])) == 50
    assert found.dtype == np.float32


def test_columns_of_a_table_keep_every_digit_until_they_are_normalised(tmp_path: Path) -> None:
    rows = [[1_764_547_200 + 3 * i, value] for i, value in enumerate(noise(1000))]
    data = open_path(write_rows(tmp_path / "t.csv", "stamp,y", rows), normalize=True)
    found = np.concatenate([part.rows(slice(None))[0] for part in (data.train, data.dev, data.test)])
    assert len(np.unique(found)) == 1000


def test_runs_of_version_0_1_keep_their_columns_and_their_scale(tmp_path: Path) -> None:
    rows = [[i, 5, "ab"[i % 7 // 6], value] for i, value in enumerate(noise(60))]
    old = open_path(write_rows(tmp_path / "t.csv", "id,lot,kind,y", rows), normalize=True, rules=1)
    assert old.features == ("id", "lot", "kind=a", "kind=b")
    x = old.train.rows(slice(None))[0]
    np.testing.assert_allclose(x[:, [0, 2, 3]].std(axis=0), 1, rtol=1e-5)
    assert old.normalizer is not None
    assert old.normalizer.low is None


def test_a_feature_of_an_archive_that_numbers_the_rows_is_remarked_on(tmp_path: Path) -> None:
    x = np.column_stack([noise(40), np.arange(40) + 100, np.arange(40) % 5])
    np.savez(tmp_path / "t.npz", x=x, y=noise(40, 1))
    (note,) = open_path(tmp_path / "t.npz").notes
    assert note.startswith("warning: feature 1 ")
    np.savez(tmp_path / "t.npz", x=x[np.random.default_rng(0).permutation(40)], y=noise(40, 1))
    assert open_path(tmp_path / "t.npz").notes == ()
