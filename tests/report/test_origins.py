"""The worst mistakes name the line, the row or the file that they come from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dlcore as dl
from dlcore.data import Dataset, hold_out, open_path
from dlcore.data.origins import Origins
from dlcore.report import Examination, Mistake, Report, examine, write


def told(loss: str, outputs: Any) -> dl.Trainer:
    """A trainer whose model answers as is written here, row by row."""
    trainer = dl.Trainer(dl.nn.Dense(1), loss, device="cpu")
    trainer.predict = lambda x, batch_size=256: np.asarray(outputs(x))
    return trainer


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A table of which the third line is blank, a cell has quotes, and a row has no target."""
    rows = [f"{i},{'no' if i % 2 else 'yes'}" for i in range(20)]
    rows[6] = "6,"
    rows[3] = '3,"no"'
    file = tmp_path / "things.csv"
    file.write_text("size,answer\n" + rows[0] + "\n\n" + "\n".join(rows[1:]) + "\n", encoding="utf-8")
    return file


def test_rows_of_a_table_name_their_lines(lines: Path) -> None:
    data = open_path(lines)
    text = lines.read_text(encoding="utf-8").splitlines()
    for part in ("train", "dev", "test"):
        found, origins = getattr(data, part), data.origins[part]
        assert len(found) == len(origins)
        for i, (size, label) in enumerate(zip(found.x[:, 0], found.y, strict=True)):
            line = int(origins[i].removeprefix("line "))
            cells = text[line - 1].replace('"', "").split(",")
            assert (float(cells[0]), cells[1]) == (size, data.classes[label])


def test_rows_of_an_archive_name_their_index(tmp_path: Path) -> None:
    x = np.arange(30.0)[:, None]
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(30) % 3)
    data = open_path(tmp_path / "a.npz")
    for part in ("train", "dev", "test"):
        assert [data.origins[part][i] for i in range(len(getattr(data, part)))] == [
            f"row {value:g}" for value in getattr(data, part).x[:, 0]
        ]


@pytest.mark.parametrize("backwards", [False, True])
def test_forecasts_name_the_line_of_the_value_that_is_predicted(tmp_path: Path, backwards: bool) -> None:
    days = [f"2020-01-{1 + i:02},{i * i}" for i in range(30)]
    file = tmp_path / "series.csv"
    file.write_text("day,price\n" + "\n".join(days[::-1] if backwards else days) + "\n", encoding="utf-8")
    data = dl.data.open_series(file, window=3)
    text = file.read_text(encoding="utf-8").splitlines()
    for part in ("train", "dev", "test"):
        y = getattr(data, part).y[:, 0]
        lines = [int(data.origins[part][i].removeprefix("line ")) for i in range(len(y))]
        assert [float(text[line - 1].split(",")[1]) for line in lines] == pytest.approx(y.tolist())


def test_what_is_held_out_takes_its_origins_along(lines: Path) -> None:
    data = hold_out(open_path(lines), 0.3)
    whole = open_path(lines).origins["train"]
    held = [*data.origins["train"].places, *data.origins["train_dev"].places]
    assert sorted(held) == sorted(whole.places)
    assert len(data.origins["train_dev"]) == len(data.train_dev)


def test_a_test_set_of_its_own_names_no_lines_of_another_file(lines: Path, tmp_path: Path) -> None:
    other = tmp_path / "more.csv"
    other.write_text("size,answer\n1,no\n2,yes\n", encoding="utf-8")
    assert set(open_path(lines, test=other).origins) == {"train", "dev"}


def test_pictures_name_their_files(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for shade, name in ((0, "dark"), (255, "light")):
        (root / name / "old").mkdir(parents=True)
        for i in range(5):
            Image.new("L", (4, 4), shade).save(root / name / ("old" if i == 4 else "") / f"{i}<b>.png")
    data = open_path(root)
    wrong = told("cross_entropy", lambda x: np.tile([[3.0, 0.0]], (len(x), 1)))
    found = examine(wrong, data.dev, data.classes)
    assert found.mistakes
    for mistake in found.mistakes:
        assert mistake.origin == f"photos/{data.dev.paths[mistake.position].relative_to(root).as_posix()}"
        assert mistake.origin.startswith("photos/light/")
    page = write(tmp_path / "run", Report(title="t", examination=found, classes=data.classes)).read_text(
        encoding="utf-8"
    )
    assert page.count("<dt>From</dt>") == len(found.mistakes)
    assert "&lt;b&gt;.png" in page
    assert "<b>.png" not in page
    assert str(tmp_path) not in page


def test_mistakes_of_a_table_name_lines_in_the_report(lines: Path, tmp_path: Path) -> None:
    data = open_path(lines)
    found = examine(
        told("cross_entropy", lambda x: np.tile([[3.0, 0.0]], (len(x), 1))), data.dev, data.classes,
        origins=data.origins["dev"],
    )  # fmt: skip
    assert {m.origin for m in found.mistakes} == {data.origins["dev"][m.position] for m in found.mistakes}
    page = write(tmp_path / "run", Report(title="t", examination=found, classes=data.classes)).read_text(
        encoding="utf-8"
    )
    assert "lines of things.csv" in page
    assert '<th scope="col">Where</th>' in page
    assert re.search(rf"<td>{found.mistakes[0].origin}</td></tr>", page)


def test_errors_of_a_regression_name_rows_too(tmp_path: Path) -> None:
    data = Dataset(np.zeros((3, 1)), np.array([[1.0], [5.0], [2.0]]))
    found = examine(
        told("mse", np.zeros_like), data, None, worst=1, origins=Origins("a.npz", "row", np.array([9, 7, 8]))
    )
    assert [m.origin for m in found.mistakes] == ["row 7"]
    page = write(tmp_path, Report(title="t", examination=found)).read_text(encoding="utf-8")
    assert "<td>row 7</td></tr>" in page


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    found = Examination(1, None, (Mistake(0, 1.0, 2.0, origin="<i>"),), "lines of <script>")
    page = write(tmp_path, Report(title="t", examination=found)).read_text(encoding="utf-8")
    assert "&lt;i&gt;" in page
    assert "<script>" not in page.split("Largest errors")[1]


def test_other_data_name_no_places() -> None:
    data = dl.data.load("cars")
    assert data.origins is None
    found = examine(told("mse", lambda x: np.zeros((len(x), 1))), data.dev, None, worst=2)
    assert [m.origin for m in found.mistakes] == ["", ""]
