import csv
import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dlcore.data.builtin.registry as sources
from backends.random import derive, permutation
from dlcore.data import Dataset, load, names, read_idx
from dlcore.errors import ConfigError, DataError

FILES = Path(sources.__file__).parents[1] / "files"


@pytest.fixture(autouse=True)
def no_data_on_this_machine(monkeypatch, tmp_path):
    """Only the package's own files are found, whatever the machine holds."""
    monkeypatch.delenv("DLCORE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "_DEBIAN", tmp_path / "no-such-package")


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_fashion(folder, n=40, m=10, mark=0, **changed):
    """Four files of n + m images whose pixels are all ``mark``; a keyword replaces the content of one file."""
    arrays = {
        "train-images-idx3-ubyte.gz": np.full((n, 28, 28), mark),
        "train-labels-idx1-ubyte.gz": np.arange(n) % 10,
        "t10k-images-idx3-ubyte.gz": np.full((m, 28, 28), mark),
        "t10k-labels-idx1-ubyte.gz": np.arange(m) % 10,
    } | changed
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        (folder / name).write_bytes(gzip.compress(idx(array)))
    return folder


def parts(data):
    return data.train, data.dev, data.test


# What every data set promises ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_every_data_set_has_a_licence_and_a_readme_beside_it(name):
    data = load(name)
    assert data.name == name
    assert data.licence
    assert "package" in data.source
    folder = FILES / name.removesuffix("-subset")
    assert (folder / "LICENSE").read_text().strip()
    assert (folder / "README.md").read_text().strip()


@pytest.mark.parametrize("name", ["fashion-subset", "digits", "cars", "penguins"])
def test_the_parts_share_no_row_and_the_seed_decides_them(name):
    data, again, other = load(name), load(name), load(name, seed=1)
    np.testing.assert_array_equal(data.train.x, again.train.x)
    assert not np.array_equal(data.train.x, other.train.x)
    everything = np.concatenate([part.x.reshape(len(part), -1) for part in parts(data)])
    shuffled = np.concatenate([part.x.reshape(len(part), -1) for part in parts(other)])
    in_order = [table[np.lexsort(table.T)] for table in (everything, shuffled)]
    np.testing.assert_array_equal(*in_order)  # the same rows, however they are dealt


@pytest.mark.parametrize("name", ["fashion-subset", "digits", "cars", "penguins"])
def test_normalising_uses_the_training_set_and_leaves_the_targets_alone(name):
    raw, data = load(name), load(name, normalize=True)
    axes = tuple(range(data.train.x.ndim - 1))
    np.testing.assert_allclose(data.train.x.mean(axis=axes, dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(data.train.x.std(axis=axes, dtype=np.float64), 1, atol=1e-5)
    np.testing.assert_array_equal(data.test.x, data.normalizer.transform(raw.test.x))
    assert raw.normalizer is None
    for part in ("train", "dev", "test"):
        before, after = getattr(raw, part).y, getattr(data, part).y
        for key in before if isinstance(before, dict) else ():
            np.testing.assert_array_equal(before[key], after[key])
        if not isinstance(before, dict):
            np.testing.assert_array_equal(before, after)


def test_importing_the_package_reads_no_file_and_only_needs_numpy():
    code = (
        "import sys, dlcore.data; print(*{m.split('.')[0] for m in sys.modules} & {'scipy', 'pandas', 'cupy', 'rich'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("name", "words"), [("fasion", "did you mean 'fashion'"), ("cifar", "known are fashion, fashion-subset, digits")]
)
def test_an_unknown_name_lists_the_known_ones(name, words):
    with pytest.raises(DataError, match=words):
        load(name)


def test_arguments_that_a_data_set_does_not_have_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="path is for 'fashion' only"):
        load("digits", path=tmp_path)
    with pytest.raises(ConfigError, match="path is for 'fashion' only, 'fashion-subset'"):
        load("fashion-subset", path=tmp_path)
    with pytest.raises(ConfigError, match="target is for 'penguins' only"):
        load("cars", target="mpg")
    with pytest.raises(ConfigError, match="no target 'weight'; give species, sex, body_mass"):
        load("penguins", target="weight")


# Fashion-MNIST -------------------------------------------------------------------------------------------------------


def test_the_subset_has_the_promised_shape_and_as_many_of_each_class():
    data = load("fashion-subset")
    assert data.task == "classification"
    assert len(data.classes) == 10
    assert [part.x.shape for part in parts(data)] == [
        (4500, 28, 28, 1),
        (500, 28, 28, 1),
        (1000, 28, 28, 1),
    ]
    assert [np.bincount(part.y).tolist() for part in parts(data)] == [
        [450] * 10,
        [50] * 10,
        [100] * 10,
    ]
    assert (data.train.x.dtype, data.train.y.dtype) == (np.float32, np.int64)
    assert (data.train.x.min(), data.train.x.max()) == (0.0, 1.0)


def test_the_subset_takes_at_most_2_6_megabytes():
    assert sum(file.stat().st_size for file in (FILES / "fashion").iterdir()) <= 2_600_000


def test_the_test_set_is_the_official_one_for_every_seed():
    one, other = load("fashion", seed=0), load("fashion", seed=5)
    np.testing.assert_array_equal(one.test.x, other.test.x)
    assert not np.array_equal(one.dev.x, other.dev.x)


@pytest.mark.skipif(
    not Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz").is_file(),
    reason="needs the Debian package dataset-fashion-mnist",
)
@pytest.mark.parametrize(("part", "k"), [("train", 500), ("t10k", 100)])
def test_the_subset_follows_the_rule_in_its_readme(part, k):
    full = Path("/usr/share/datasets/fashion-mnist")
    labels = read_idx(full / f"{part}-labels-idx1-ubyte.gz")
    order = permutation(derive(0, "split", f"fashion-mnist {part}"), len(labels))
    chosen = np.sort(np.concatenate([order[labels[order] == c][:k] for c in range(10)]))
    for content in ("images-idx3", "labels-idx1"):
        name = f"{part}-{content}-ubyte.gz"
        np.testing.assert_array_equal(read_idx(FILES / "fashion" / name), read_idx(full / name)[chosen])


def test_the_full_set_is_searched_in_path_variable_cache_and_debian_package(tmp_path, monkeypatch):
    def brightness():
        data = load("fashion")
        return round(float(data.train.x.max()) * 255), data.source

    folders = {1: "debian", 2: "cache/dlcore/fashion-mnist", 3: "variable/fashion-mnist", 4: "path"}
    places = {mark: write_fashion(tmp_path / folder, mark=mark) for mark, folder in folders.items()}
    monkeypatch.setattr(sources, "_DEBIAN", places[1])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert brightness() == (1, f"Fashion-MNIST, 40 training + 10 test images, {places[1]}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert brightness() == (2, f"Fashion-MNIST, 40 training + 10 test images, {places[2]}")
    monkeypatch.setenv("DLCORE_DATA", str(tmp_path / "variable"))
    assert brightness() == (3, f"Fashion-MNIST, 40 training + 10 test images, $DLCORE_DATA: {places[3]}")
    data = load("fashion", path=places[4])
    assert data.train.x.max() == np.float32(4 / 255)
    assert data.source == f"Fashion-MNIST, 40 training + 10 test images, path: {places[4]}"
    assert len(load("fashion-subset").train) == 4500  # whatever is found elsewhere


def test_the_home_folder_is_the_default_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    write_fashion(tmp_path / ".cache/dlcore")
    assert str(tmp_path / ".cache/dlcore") in load("fashion").source


def test_a_cache_that_lacks_a_file_is_passed_over(tmp_path):
    (write_fashion(tmp_path / "cache/dlcore") / "t10k-labels-idx1-ubyte.gz").unlink()
    assert load("fashion").source.endswith("the subset in the package")


def test_a_place_that_was_asked_for_but_lacks_the_files_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"path is .*nowhere, which lacks .*train-images-idx3-ubyte.gz"):
        load("fashion", path=tmp_path / "nowhere")
    monkeypatch.setenv("DLCORE_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"\$DLCORE_DATA is .*leave it out"):
        load("fashion")


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("DLCORE_DATA", "")
    assert load("fashion").source.endswith("the subset in the package")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"train-labels-idx1-ubyte.gz": np.arange(39) % 10}, r"images \(40, 28, 28\) of uint8 and labels \(39,\)"),
        ({"t10k-images-idx3-ubyte.gz": np.zeros((10, 28, 27))}, r"t10k files hold images \(10, 28, 27\)"),
        (
            {"t10k-labels-idx1-ubyte.gz": np.arange(10) + 1},
            r"t10k-labels-idx1-ubyte\.gz: label\[9\] is 10, but 10 classes have the labels 0 to 9",
        ),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tmp_path, changed, words):
    write_fashion(tmp_path, **changed)
    with pytest.raises(DataError, match=words):
        load("fashion", path=tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    file = write_fashion(tmp_path) / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz: the gzip file is damaged"):
        load("fashion", path=tmp_path)


# Digits, cars, penguins ----------------------------------------------------------------------------------------------


def test_digits_are_split_60_20_20_in_proportion():
    data = load("digits")
    assert [len(part) for part in parts(data)] == [1078, 360, 359]
    counts = np.array([np.bincount(part.y) for part in parts(data)])
    # class sizes as published with the data
    assert counts.sum(axis=0).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (abs(counts - np.outer([0.6, 0.2, 0.2], counts.sum(axis=0))) < 1).all()
    assert data.train.x.shape[1:] == (8, 8, 1)
    assert (data.train.x.min(), data.train.x.max()) == (0.0, 1.0)


def test_cars_are_the_rows_of_their_table():
    data = load("cars")
    with (FILES / "cars/cars.csv").open() as file:
        published = {tuple(float(v) for v in row.values()) for row in csv.DictReader(file)}
    found = np.concatenate([np.hstack((part.x, part.y)) for part in parts(data)])
    assert data.task == "regression"
    assert found.shape == (392, 7)
    assert found.dtype == np.float32
    assert {tuple(round(float(v), 2) for v in row) for row in found} == published
    assert [8, 307, 130, 3504, 12, 1970, 18] in found.tolist()  # the first car of the published table


def whole(data):
    """The three parts put together again."""
    x = np.concatenate([part.x for part in parts(data)])
    if data.task == "multitask":
        return Dataset(x, {task: np.concatenate([part.y[task] for part in parts(data)]) for task in data.train.y})
    return Dataset(x, np.concatenate([part.y for part in parts(data)]))


def test_penguins_have_three_targets_and_mark_the_sex_that_is_not_known():
    data = load("penguins")
    birds = whole(data)
    assert data.task == "multitask"
    assert data.features == ("bill_length", "bill_depth", "flipper_length")
    assert birds.x.shape == (342, 3)
    assert {k: (v.shape, str(v.dtype)) for k, v in birds.y.items()} == {
        "species": ((342,), "int64"),
        "sex": ((342, 1), "float32"),
        "body_mass": ((342, 1), "float32"),
    }
    # counts as published: 152 + 68 + 124 birds, less one Adelie and one Gentoo without measurements
    assert np.bincount(birds.y["species"]).tolist() == [151, 68, 123]
    sex = birds.y["sex"][:, 0]
    assert [int((sex == 0).sum()), int((sex == 1).sum()), int(np.isnan(sex).sum())] == [165, 168, 9]
    assert 2.7 <= birds.y["body_mass"].min() < birds.y["body_mass"].max() <= 6.3


def test_penguins_species_are_in_proportion_in_every_part():
    counts = np.array([np.bincount(part.y) for part in parts(load("penguins", target="species"))])
    assert (abs(counts - np.outer([0.6, 0.2, 0.2], [151, 68, 123])) < 1).all()


def test_penguins_sex_is_binary_with_the_body_mass_as_an_input():
    data = load("penguins", target="sex")
    birds = whole(data)
    assert (data.task, data.classes) == ("binary", ("female", "male"))
    assert birds.x.shape == (333, 4)
    assert birds.y.shape == (333, 1)
    assert birds.y.dtype == np.float32
    assert np.unique(birds.y).tolist() == [0.0, 1.0]
    males, females = birds.x[birds.y[:, 0] == 1, 3], birds.x[birds.y[:, 0] == 0, 3]
    assert males.mean() > females.mean() + 0.5  # published: 4.5457 and 3.8623 kg
    assert males.mean() == pytest.approx(4.5457, abs=1e-4)


def test_penguins_species_and_body_mass_can_be_the_only_target():
    species = load("penguins", target="species")
    assert (species.task, species.classes) == ("classification", ("Adelie", "Chinstrap", "Gentoo"))
    assert whole(species).x.shape == (342, 4)
    mass = load("penguins", target="body_mass")
    assert (mass.task, mass.classes, whole(mass).x.shape) == ("regression", None, (342, 3))
    assert whole(mass).y.mean() == pytest.approx(4.2018, abs=1e-4)  # published, kg
