"""Series: windows of the past and the next value, in three parts that follow one another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dlcore.data import open_series
from dlcore.errors import ConfigError, DataError


def written(folder: Path, lines: list[str]) -> Path:
    path = folder / "series.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def two_columns(n: int = 40) -> list[str]:
    return ["day,value,other", *(f"2020-01-{i:02},{i},{100 - i}" for i in range(n))]


def test_a_window_holds_the_past_and_the_target_is_the_next_value(tmp_path: Path) -> None:
    data = open_series(written(tmp_path, two_columns()), 3, target="value", ignore=["day"])
    assert data.features == ("value", "other")
    assert data.last_value == 0
    parts = [data.train, data.dev, data.test]
    assert [len(part) for part in parts] == [22, 7, 8]
    x, y = (np.concatenate([part.rows(slice(None))[i] for part in parts]) for i in (0, 1))
    np.testing.assert_array_equal(x[:, :, 0], np.arange(37)[:, None] + np.arange(3))
    np.testing.assert_array_equal(x[:, :, 1], 100 - x[:, :, 0])
    np.testing.assert_array_equal(y[:, 0], np.arange(3, 40))


def test_normalising_uses_the_rows_before_the_development_set_and_leaves_the_target(tmp_path: Path) -> None:
    path = written(tmp_path, two_columns())
    plain, data = (open_series(path, 3, target="value", ignore=["day"], normalize=on) for on in (False, True))
    seen = np.arange(25.0)
    for part, expected in ((data.train, plain.train), (data.dev, plain.dev), (data.test, plain.test)):
        past, before = part.rows(slice(None))[0], expected.rows(slice(None))[0]
        np.testing.assert_allclose(past[..., 0], (before[..., 0] - seen.mean()) / seen.std(), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(part.y, expected.y)


@pytest.mark.parametrize(
    ("lines", "options", "words"),
    [
        (two_columns(), {}, r"column day, line 2: '2020-01-00' is not a number; .* leave the column out by ignore"),
        (["v", *map(str, range(6))], {}, "6 rows make 3 windows of 3, but at least 5"),
        (["v", "1", "", "NA", *map(str, range(9))], {}, "line 4: the cell is missing"),
        (["v", *map(str, range(20))], {"target": "w"}, "w"),
        (["v", *map(str, range(20))], {"ignore": ["v"]}, "target is among the columns to ignore"),
    ],
)
def test_a_table_that_is_no_series_is_one_clear_line(
    tmp_path: Path, lines: list[str], options: dict[str, object], words: str
) -> None:
    with pytest.raises(DataError, match=words) as raised:
        open_series(written(tmp_path, lines), 3, **options)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_a_window_must_be_a_positive_whole_number(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="window is 0"):
        open_series(written(tmp_path, two_columns()), 0)
