"""Series: windows of the past and the next value, in three parts that follow one another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcore.data import Splits, open_series
from dlcore.data._series_inputs import SeriesInputs
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
        (["v"], {}, "0 rows make 0 windows of 3, but at least 5"),
        (["date,v"], {}, "0 rows make 0 windows of 3, but at least 5"),
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


def values_of(data: Splits) -> list[tuple[np.ndarray, np.ndarray]]:
    return [part.rows(slice(None))[:2] for part in (data.train, data.dev, data.test)]


@pytest.mark.parametrize("horizon", [2, 3, 5])
def test_a_horizon_makes_the_next_values_the_targets_and_no_value_is_that_of_two_parts(
    horizon: int, tmp_path: Path
) -> None:
    data = open_series(written(tmp_path, ["v", *map(str, range(60))]), 4, horizon=horizon)
    parts = values_of(data)
    for x, y in parts:
        assert y.shape == (len(x), horizon)
        np.testing.assert_array_equal(y, x[:, -1] + np.arange(1, horizon + 1))
    (_, train), (_, dev), (_, test) = parts
    assert train.max() < dev.min() <= dev.max() < test.min()


HOLES = ["a,v", *(f"{'' if i == 30 else i % 7},{'NA' if i in (11, 50) else i}" for i in range(60))]


def test_windows_with_a_missing_cell_are_left_out_and_counted(tmp_path: Path) -> None:
    data = open_series(written(tmp_path, HOLES), 3, missing="drop")
    y = np.concatenate([y for _, y in values_of(data)]).ravel().tolist()
    lost = {*range(11, 15), *range(31, 34), *range(50, 54)}
    assert y == [float(i) for i in range(3, 60) if i not in lost]
    assert any(f"missing: {len(lost)} windows" in note for note in data.notes)


@pytest.mark.parametrize(("missing", "past", "other"), [("previous", 10.0, 1.0), ("mean", None, None)])
def test_a_missing_cell_is_filled_but_a_missing_value_is_never_a_target(
    missing: str, past: Any, other: Any, tmp_path: Path
) -> None:
    data = open_series(written(tmp_path, HOLES), 3, missing=missing)
    x, y = (np.concatenate([part[i] for part in values_of(data)]) for i in (0, 1))
    assert y.ravel().tolist() == [float(i) for i in range(3, 60) if i not in (11, 50)]
    seen = [i for i in range(37) if i != 11]  # the rows of training
    past = np.mean(seen) if past is None else past
    other = np.mean([i % 7 for i in range(37) if i != 30]) if other is None else other
    assert x[y[:, 0] == 12, :, 0].ravel().tolist() == pytest.approx([9, 10, past])
    assert x[y[:, 0] == 31, 2, 1].tolist() == pytest.approx([other])
    assert np.isfinite(x).all()


def test_missing_cells_are_refused_with_the_words_that_help(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column v, line 13: the cell is missing.*--missing.*--ignore"):
        open_series(written(tmp_path, HOLES), 3)
    with pytest.raises(ConfigError, match="missing is 'median' but one of refuse, drop, mean, previous"):
        open_series(written(tmp_path, HOLES), 3, missing="median")
    with pytest.raises(DataError, match="column a is missing in every row of the training set"):
        open_series(written(tmp_path, ["a,v", *(f"{'' if i < 50 else i},{i}" for i in range(60))]), 3, missing="mean")


@pytest.mark.parametrize("offset", [1_700_000_000, 1e10, -3e12])
def test_large_offsets_keep_every_digit_when_normalised(offset: float, tmp_path: Path) -> None:
    lines = ["a,v", *(f"{offset + i:.0f},{i % 5}" for i in range(200))]
    x = np.concatenate([x for x, _ in values_of(open_series(written(tmp_path, lines), 3, normalize=True))])
    assert len(np.unique(x[:, 0, 1])) == len(x)


def test_other_columns_are_known_by_level_too_unless_they_drift(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["hour,flag,trend,fixed,v"]
    lines += [f"{i % 24},{int(i % 24 > 8)},{i + rng.normal():.3f},7,{i % 10}" for i in range(240)]
    data = open_series(written(tmp_path, lines), 5, normalize=True)
    assert data.features == ("v", "hour", "flag", "trend", "fixed")
    assert data.change is not None
    assert data.change.changes == (0, 1, 3)
    assert data.change.levels == (1, 2, 4)
    assert any("set to 0: fixed" in note for note in data.notes)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("value", [5, 0, 1e6])
def test_where_a_target_that_never_moved_stands_is_not_learnt_from(
    value: float, normalize: bool, tmp_path: Path
) -> None:
    lines = ["f,v", *(f"{i % 7},{value}" for i in range(60))]
    change = open_series(written(tmp_path, lines), 3, normalize=normalize).change
    assert change is not None
    assert change.changes == (0, 1)
    assert change.levels == (1,)
    assert change.spread[0] == 1.0


def test_a_target_whose_changes_float32_rounds_away_is_remarked_on(tmp_path: Path) -> None:
    for offset, told in ((1_700_000_000, True), (1000, False), (1e12, True)):
        data = open_series(written(tmp_path, ["v", *(f"{offset + i:.0f}" for i in range(60))]), 3, normalize=True)
        assert any("subtract a constant" in note for note in data.notes) is told


def test_the_targets_past_has_no_bounds_and_other_columns_have(tmp_path: Path) -> None:
    lines = ["a,v", *(f"{i},{i}" for i in range(45)), *(f"{100 * i},{100 * i}" for i in range(45, 60))]
    data = open_series(written(tmp_path, lines), 3, normalize=True)
    assert data.normalizer is not None
    last = data.normalizer.inverse(values_of(data)[2][0][-1, -1])
    assert last[0] == pytest.approx(5800)
    assert last[1] < 5800 / 2


def test_the_rules_of_version_0_1_know_no_time_and_no_change(tmp_path: Path) -> None:
    lines = ["year,v", *(f"{2000 - i},{i}" for i in range(40))]
    data = open_series(written(tmp_path, lines), 3, rules=1, normalize=True)
    assert (data.features, data.notes, data.change, data.inputs) == (("v", "year"), (), None, None)
    assert data.normalizer is not None
    assert data.normalizer.low is None
    assert values_of(data)[0][1][:2].ravel().tolist() == [3.0, 4.0]


@pytest.mark.parametrize("options", [{}, {"missing": "mean"}, {"by": "g"}, {"calendar": True}])
def test_the_inputs_come_back_from_their_dict(options: dict[str, object], tmp_path: Path) -> None:
    lines = ["date,g,v", *(f"2020-{i // 28 + 1:02}-{i % 28 + 1:02},1,{i}" for i in range(28))]
    inputs = open_series(written(tmp_path, lines), 3, horizon=2, **options).inputs  # type: ignore[arg-type]
    assert isinstance(inputs, SeriesInputs)
    saved = json.loads(json.dumps(inputs.to_dict()))
    assert SeriesInputs.from_dict(saved) == inputs
    for name, value in {"window": 0, "columns": [], "missing": "x", "clock": {"unit": "weeks"}, "by": 3}.items():
        with pytest.raises(DataError, match="train the model again"):
            SeriesInputs.from_dict({**saved, name: value})
