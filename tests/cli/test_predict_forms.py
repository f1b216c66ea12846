"""The forms in which rows come to ``dlcore predict``: the same predictions, or words on what does not fit."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dlcore.cli import main

HEADER = ["größe", "🎨 colour", "note", "price"]
LEVELS = ("red 🟥", "deep\nblue", "green, light")
ROWS = [[str(i % 7), LEVELS[i % 3], "abc"[i % 3 // 2], str(3 * (i % 7) + i % 3)] for i in range(40)]


def written(rows: list[list[str]], **form: str) -> str:
    out = io.StringIO()
    csv.writer(out, **{"lineterminator": "\n", **form}).writerows(rows)  # type: ignore[arg-type]
    return out.getvalue()


def columns(*places: int) -> list[list[str]]:
    return [[row[place] for place in places] for row in [HEADER, *ROWS]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forms")
    (folder / "t.csv").write_text(written(columns(0, 1, 2, 3)), encoding="utf-8")
    words = ["--target", "price", "--epochs", "2", "--baseline", "none", "--device", "cpu"]
    assert main(["train", "--data", str(folder / "t.csv"), *words, "--runs", str(folder), "--name", "a"]) == 0
    return folder / "a"


def predicted(capsys: pytest.CaptureFixture[str], run: Path, *files: str, code: int = 0) -> tuple[list[str], str]:
    """The predictions of the rows that have one, and all that was printed."""
    capsys.readouterr()
    assert main(["predict", str(run), *files, "--json"]) == code
    captured = capsys.readouterr()
    records = map(json.loads, captured.out.splitlines())
    return [record["prediction"] for record in records if record.get("prediction") is not None], (
        captured.out + captured.err
    )


FORMS: dict[str, Callable[[], str | bytes]] = {
    "without the target": lambda: written(columns(0, 1, 2)),
    "another order": lambda: written(columns(2, 3, 1, 0)),
    "more columns": lambda: written([[*row, "🐧", "0"] for row in columns(0, 1, 2, 3)]).replace("🐧,0", "bird,id", 1),
    "a byte order mark": lambda: "\ufeff" + written(columns(0, 1, 2)),
    "CRLF": lambda: written(columns(0, 1, 2), lineterminator="\r\n"),
    "semicolons": lambda: written(columns(0, 1, 2), delimiter=";"),
    "tabs": lambda: written(columns(0, 1, 2), delimiter="\t"),
    "everything quoted": lambda: written([[cell.replace('"', "'") for cell in row] for row in columns(0, 1, 2)],
                                         quotechar='"'),
    "UTF-16": lambda: written(columns(0, 1, 2)).encode("utf-16"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_predicted_alike_in_every_form(form: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("plain.csv").write_text(written(columns(0, 1, 2, 3)), encoding="utf-8")
    text = FORMS[form]()
    Path("new.csv").write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    expected, _ = predicted(capsys, run, "plain.csv")
    assert len(expected) == 40
    assert predicted(capsys, run, "new.csv")[0] == expected


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (columns(0, 1, 2)[1:], ["new.csv", "größe"]),  # without a header
        ([["Größe", *row[1:]] if i == 0 else row for i, row in enumerate(columns(0, 1, 2))], ["did you mean Größe"]),
        ([["größe", "🎨 Colour", "note"], *ROWS], ["did you mean 🎨 Colour"]),
        ([["größe", "größe", "note"], *columns(0, 1, 2)[1:]], ["new.csv", "größe"]),  # the same name twice
        (columns(0, 2), ["new.csv", "🎨 colour"]),
    ],
    ids=["headerless", "another case", "another case of a category", "duplicate header", "a column is missing"],
)
def test_a_table_that_does_not_fit_says_where(
    rows: list[list[str]], words: list[str], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("new.csv").write_text(written([row[: len(rows[0])] for row in rows]), encoding="utf-8")
    found, printed = predicted(capsys, run, "new.csv", code=1)
    assert not found
    for word in words:
        assert word in printed


def test_of_several_files_the_missing_one_is_named_and_the_others_are_predicted(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one.csv", "three.csv"):
        Path(name).write_text(written(columns(0, 1, 2)[:5]), encoding="utf-8")
    found, printed = predicted(capsys, run, "one.csv", "two.csv", "three.csv", code=1)
    assert len(found) == 8
    assert found[:4] == found[4:]
    assert "two.csv" in printed
