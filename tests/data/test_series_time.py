"""The time of a series: which columns hold it, the order of its rows, gaps, several series, and the calendar."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlcore.data import Splits, open_series
from dlcore.errors import DataError

MONDAY = np.datetime64("2020-01-06")
DAYS = [(date(2019, 12, 28) + timedelta(days=i)).isoformat() for i in range(40)]


def opened(folder: Path, columns: dict[str, Any], window: int = 3, **options: Any) -> Splits:
    path = folder / "series.csv"
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return open_series(path, window, **options)


def windows(data: Splits) -> np.ndarray:
    """The target's past of all windows, and what follows it."""
    parts = [part.rows(slice(None)) for part in (data.train, data.dev, data.test)]
    return np.concatenate([np.concatenate([x[:, :, 0], y], axis=1) for x, y in parts])


FORMS = {
    "ISO": DAYS,
    "with a time of day": [f"{day} 12:00" for day in DAYS],
    "with a zone": [f"{day}T12:00:00+02:00" for day in DAYS],
    "day first": [f"{day[8:]}/{day[5:7]}/{day[:4]}" for day in DAYS],
    "month first": [f"{day[5:7]}/{day[8:]}/{day[:4]}" for day in DAYS],
    "points": [f"{day[8:]}.{day[5:7]}.{day[:4]}" for day in DAYS],
    "eight digits": [day.replace("-", "") for day in DAYS],
    "month's name": [date.fromisoformat(day).strftime("%d %b %Y") for day in DAYS],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_column_of_dates_is_the_time_and_no_feature(form: str, tmp_path: Path) -> None:
    data = opened(tmp_path, {"date": FORMS[form], "v": range(40)})
    assert data.features == ("v",)
    assert any("time: date, one row per 1 day" in line for line in data.notes)


@pytest.mark.parametrize(
    ("columns", "step"),
    [
        ({"year": range(1900, 1940)}, "year, one row per 1;"),
        ({"timestamp": range(1_600_000_000, 1_600_144_000, 3600)}, "timestamp, one row per 3600"),
        ({"month": [f"{2000 + i // 12}-{i % 12 + 1:02}" for i in range(40)]}, "month, one row per 1 month"),
        ({"when": [f"{1990 + i // 4}Q{i % 4 + 1}" for i in range(40)]}, "when, one row per 3 months"),
        (
            {"year": np.repeat(range(10), 4) + 1990, "quarter": [1, 2, 3, 4] * 10},
            "year and quarter, one row per 3 months",
        ),
        ({"date": np.repeat(DAYS[:20], 2), "hour": [0, 12] * 20}, "date and hour, one row per 12 hours"),
        ({"day": [str(np.busday_offset(MONDAY, i)) for i in range(40)]}, "day, one row per 1 weekday"),
    ],
)
def test_the_unit_of_the_steps_is_found(columns: dict[str, Any], step: str, tmp_path: Path) -> None:
    data = opened(tmp_path, {**columns, "v": range(40)})
    assert any(f"time: {step}" in line for line in data.notes), data.notes
    assert not any("gap" in line for line in data.notes)
    assert data.features == ("v",)


def test_numbers_that_do_not_count_evenly_stay_a_feature(tmp_path: Path) -> None:
    times = np.random.default_rng(0).exponential(size=40).round(4)
    assert opened(tmp_path, {"time": times, "v": range(40)}).features == ("v", "time")


@pytest.mark.parametrize("times", [DAYS, list(range(1960, 2000)), [f"{day} 06:30" for day in DAYS]])
def test_rows_that_stand_newest_first_are_turned_round(times: list[Any], tmp_path: Path) -> None:
    name = "date" if isinstance(times[0], str) else "year"
    data = opened(tmp_path, {name: times[::-1], "v": range(39, -1, -1)})
    assert any("newest first" in line for line in data.notes)
    np.testing.assert_array_equal(windows(data), np.arange(37)[:, None] + np.arange(4))


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (np.random.default_rng(1).permutation(40), "not in order.*sort the rows by time"),
        (np.repeat(np.arange(20), 2), "comes twice, in lines 2 and 3.*--by"),
        (np.r_[np.arange(20), np.arange(20)], r"starts again at line 22.*--by"),
        (np.r_[np.arange(39, 19, -1), np.arange(39, 19, -1)], r"starts again.*--by"),
        (np.r_[0, 1, 9, 11, 20, 28, 29:39:3, 39], "not evenly spaced.*resample"),
    ],
)
def test_rows_out_of_order_are_refused_with_a_remedy(order: np.ndarray, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words) as raised:
        opened(tmp_path, {"date": np.array(DAYS)[order], "v": np.arange(len(order))})
    assert "\n" not in str(raised.value)
    ignored = opened(tmp_path, {"date": np.array(DAYS)[order], "v": np.arange(len(order))}, ignore=["date"])
    assert len(windows(ignored)) == len(order) - 3


@pytest.mark.parametrize("gap", [1, 5, 14])
def test_no_window_reaches_across_a_gap(gap: int, tmp_path: Path) -> None:
    kept = np.r_[0 : 20 - gap, 20:40]
    data = opened(tmp_path, {"date": np.array(DAYS)[kept], "v": kept})
    found = windows(data)
    np.testing.assert_array_equal(np.diff(found, axis=1), 1)
    assert len(found) == (40 - gap) - 2 * 3
    assert any(f"a gap of {gap + 1} steps, first before line {22 - gap}; 3 windows" in note for note in data.notes)


def test_closed_days_of_a_market_are_no_gap(tmp_path: Path) -> None:
    days = [str(np.busday_offset(MONDAY, i)) for i in range(41) if i != 17]
    assert not any("gap" in note for note in opened(tmp_path, {"date": days, "v": range(40)}).notes)


def stacked(n: int = 20) -> dict[str, Any]:
    return {
        "shop": ["a"] * n + ["b"] * n,
        "date": DAYS[:n] * 2,
        "v": [*range(n), *range(100, 100 + n)],
    }


def test_stacked_series_are_refused_by_the_name_of_the_column_that_tells_them_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--by shop"):
        opened(tmp_path, stacked())
    mixed = {name: np.array(values).reshape(2, 20).T.ravel() for name, values in stacked().items()}  # by day, then shop
    with pytest.raises(DataError, match="--by shop"):
        opened(tmp_path, mixed, target="v")


def test_a_window_is_of_one_series_and_each_series_is_divided_in_time(tmp_path: Path) -> None:
    data = opened(tmp_path, stacked(), by="shop")
    assert data.features == ("v",)
    np.testing.assert_array_equal(np.diff(windows(data), axis=1), 1)
    for part, first, count in ((data.train, 3, 10), (data.dev, 13, 3), (data.test, 16, 4)):
        expected = np.r_[first : first + count]
        np.testing.assert_array_equal(part.y[:, 0], np.r_[expected, expected + 100])
    newest_first = {name: values[::-1] for name, values in stacked().items()}
    turned = opened(tmp_path, newest_first, by="shop")
    np.testing.assert_array_equal(np.sort(windows(turned), axis=0), np.sort(windows(data), axis=0))


def test_windows_across_two_series_do_not_count_as_lost_to_a_gap(tmp_path: Path) -> None:
    columns = {name: np.delete(np.array(values), [8, 9]) for name, values in stacked().items()}
    data = opened(tmp_path, columns, by="shop")
    assert len(windows(data)) == 34 - 5
    assert any("a gap of 3 steps, first before line 10; 3 windows" in note for note in data.notes)


def test_a_series_with_too_few_windows_is_left_out_and_counted(tmp_path: Path) -> None:
    columns = stacked()
    short = {
        "shop": [*columns["shop"], *"cccc"],
        "date": [*columns["date"], *DAYS[:4]],
        "v": [*columns["v"], *range(4)],
    }
    data = opened(tmp_path, short, by="shop")
    assert len(windows(data)) == 34
    assert any("3 series by shop, 1 of them with fewer than 5 windows" in note for note in data.notes)
    shorter = {name: values[:-1] for name, values in short.items()}  # without any window
    notes = opened(tmp_path, shorter, by="shop").notes
    assert any("3 series by shop, 1 of them with fewer than 5 windows" in note for note in notes)


@pytest.mark.parametrize(
    "names", [("1", "b"), ("007", "7"), ("12345678901234567", "12345678901234568"), ("1", "1.0"), ("NA", "None")]
)
def test_names_of_series_are_compared_as_text(names: tuple[str, str], tmp_path: Path) -> None:
    columns = stacked()
    columns["shop"] = np.repeat(names, 20).tolist()
    columns["date"] = [date.fromordinal(737_000 + i).isoformat() for i in range(40)]  # the second after the first
    data = opened(tmp_path, columns, by="shop")
    np.testing.assert_array_equal(np.diff(windows(data), axis=1), 1)
    assert len(windows(data)) == 34
    assert data.inputs is not None
    ends, wrong = data.inputs.read_ends(tmp_path / "series.csv")  # pyright: ignore[reportAttributeAccessIssue]
    assert [end.group for end in ends] == [*names]
    assert not wrong


def test_names_of_series_that_begin_with_a_number_do_not_merge_the_others(tmp_path: Path) -> None:
    columns = {"shop": np.repeat(["1", "b", "c"], 13).tolist(), "date": DAYS[:39], "v": np.arange(39)}
    assert len(windows(opened(tmp_path, columns, by="shop"))) == 3 * 10


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (np.arange(20) * 24, np.arange(20) * 24 + 12, "1 day;"),
        (np.arange(20), np.arange(20) + 1 / 3, "1 hour;"),
        (np.arange(20) * 168, np.arange(20) * 168 + 72, "1 week;"),
        (np.arange(20) * 2, np.arange(20) * 2 + 1, "2 hours;"),
    ],
)
def test_the_step_is_that_within_a_series_where_others_lie_between(
    first: np.ndarray, second: np.ndarray, words: str, tmp_path: Path
) -> None:
    minutes = np.round(np.r_[first, second] * 60).astype("timedelta64[m]")
    data = opened(tmp_path, {**stacked(), "date": np.datetime64("2020-01-06T00:00") + minutes}, by="shop")
    assert any(f"one row per {words}" in note for note in data.notes)
    assert len(windows(data)) == 34


def test_months_and_weekdays_are_found_where_series_have_other_days(tmp_path: Path) -> None:
    months = [f"{2000 + i // 12}-{i % 12 + 1:02}-{day}" for day in ("01", "15") for i in range(20)]
    assert any(
        "one row per 1 month" in note for note in opened(tmp_path, {**stacked(), "date": months}, by="shop").notes
    )
    weekdays = [str(np.busday_offset(MONDAY, first + i)) for first in (0, 300) for i in range(20)]
    notes = opened(tmp_path, {**stacked(), "date": weekdays}, by="shop").notes
    assert any("one row per 1 weekday" in note for note in notes)


def test_days_and_months_that_may_be_exchanged_are_refused(tmp_path: Path) -> None:
    firsts = [f"0{month}/0{day}/2020" for month in range(1, 9) for day in range(1, 6)]
    assert len(opened(tmp_path, {"date": firsts, "v": range(40)}, window=2).train)  # in order only month first
    with pytest.raises(DataError, match=r"may be %d/%m/%Y or %m/%d/%Y.*2020-01-31"):
        opened(tmp_path, {"date": [f"0{i % 9 + 1}/0{i % 9 + 1}/{2000 + i // 9}" for i in range(40)], "v": range(40)})


def test_the_time_may_be_named_and_must_be_one(tmp_path: Path) -> None:
    columns = {"tick": np.arange(40) * 5, "word": ["x"] * 40, "v": range(40)}
    assert opened(tmp_path, columns, time=["tick"], ignore=["word"]).features == ("v",)
    with pytest.raises(DataError, match="column word, line 2: 'x' is no time"):
        opened(tmp_path, columns, time=["word"])
    with pytest.raises(DataError, match=r"no column 'tock'.*tick"):
        opened(tmp_path, columns, time=["tock"])
    with pytest.raises(DataError, match="target is among the columns of the time"):
        opened(tmp_path, columns, time=["tick"], target="tick")


def test_a_row_without_a_time_is_named(tmp_path: Path) -> None:
    times = [*DAYS[:7], "", *DAYS[8:]]
    with pytest.raises(DataError, match="column date, line 9: '' is no time"):
        opened(tmp_path, {"date": times, "v": range(40)})


def test_further_dates_and_row_numbers_are_left_out_with_a_line(tmp_path: Path) -> None:
    data = opened(tmp_path, {"id": range(40), "date": DAYS, "updated": DAYS[::-1], "v": range(40)})
    assert data.features == ("v",)
    assert any("left out: id, updated" in note for note in data.notes)


def test_the_calendar_gives_waves_of_day_week_and_year(tmp_path: Path) -> None:
    hours = [f"2020-01-01 {h:02}:00" for h in range(24)] + [f"2020-01-02 {h:02}:00" for h in range(24)]
    data = opened(tmp_path, {"time": hours, "v": range(48)}, calendar=True)
    assert data.features == ("v", "day sin", "day cos", "week sin", "week cos", "year sin", "year cos")
    x = data.train.rows(slice(None))[0][:, 0]
    np.testing.assert_allclose(x[:, 1], np.sin(2 * np.pi * np.arange(len(x)) / 24), atol=1e-6)
    daily = opened(tmp_path, {"date": DAYS, "v": range(40)}, calendar=True)
    assert daily.features == ("v", "week sin", "week cos", "year sin", "year cos")
    for columns in ({"year": range(40), "v": range(40)}, {"v": range(40)}):
        with pytest.raises(DataError, match="calendar"):
            opened(tmp_path, columns, calendar=True)
