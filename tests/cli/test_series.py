"""Series on the command line: what train tells, and what predict prints of the values that follow a table."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from commands import output_of, refused

from dlcore.cli import main

QUICK = ("--epochs", "1", "--baseline", "none", "--device", "cpu", "--name", "r")


def write(name: str, **columns: object) -> None:
    rows = zip(*columns.values(), strict=True)  # type: ignore[arg-type]
    Path(name).write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")


def days(n: int) -> list[str]:
    return [(date(2020, 1, 1) + timedelta(days=i)).isoformat() for i in range(n)]


def train(*words: str) -> None:
    assert main(("train", "--data", "s.csv", "--window", "6", "--model", "linear", *QUICK, *words)) == 0


def predicted(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict]:
    capsys.readouterr()
    return [json.loads(line) for line in output_of(capsys, "predict", "r", *words, "--json").splitlines()]


def test_predict_prints_the_next_values_with_their_times_in_the_unit_of_the_target(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("s.csv", date=days(60), wind=np.arange(60) % 7, load=1000 + np.arange(60))
    train("--horizon", "3")
    (line,) = predicted(capsys, "s.csv")
    assert line["times"] == ["2020-03-01", "2020-03-02", "2020-03-03"]
    assert line["prediction"] == pytest.approx([1060, 1061, 1062], abs=5)
    words = output_of(capsys, "predict", "r", "s.csv").splitlines()
    assert len(words) == 3
    assert words[0].startswith("s.csv, 2020-03-01: load 1,0")


def test_columns_are_taken_by_their_names_in_any_order_and_others_are_ignored(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wind, load = np.arange(60) % 7, 1000 + np.arange(60)
    write("s.csv", date=days(60), wind=wind, load=load)
    train()
    write("other.csv", load=load[::-1], note=["x"] * 60, date=days(60)[::-1], wind=wind[::-1])
    first, second = predicted(capsys, "s.csv", "other.csv")
    assert first["outputs"] == second["outputs"]
    assert first["times"] == second["times"] == ["2020-03-01"]


def test_a_table_that_the_run_cannot_go_on_from_is_named_and_the_others_are_predicted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    load = np.arange(60)
    write("s.csv", date=days(60), load=load)
    train()
    write("short.csv", date=days(4), load=load[:4])
    write("gap.csv", date=[*days(60)[:-3], "2021-01-01", "2021-01-02", "2021-01-03"], load=load)
    write("hole.csv", date=days(60), load=[*load[:-1], ""])
    write("none.csv", date=days(60), power=load)
    write("text.csv", date=days(60), load=[*load[:-1], "high"])
    capsys.readouterr()
    names = ("short", "gap", "hole", "none", "text")
    assert main(("predict", "r", *(f"{name}.csv" for name in names), "s.csv")) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1
    expected = ("4 rows, but the last 6", "gap of time before line 59", "line 61: the cell is missing",
                "no column 'load'", "line 61: 'high' is not a number")  # fmt: skip
    for line, words in zip(said.err.splitlines(), expected, strict=True):
        assert words in line


@pytest.mark.parametrize(
    ("zone", "hours", "expected"),
    [
        ("+0530", 1, ["2020-01-03 12:00+05:30", "2020-01-03 13:00+05:30"]),
        ("Z", 1, ["2020-01-03 12:00+00:00", "2020-01-03 13:00+00:00"]),
        ("-03:00", 24, ["2020-03-01", "2020-03-02"]),
    ],
)
def test_times_are_told_in_the_zone_of_the_last_row(
    zone: str, hours: int, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    step = np.timedelta64(hours, "h")
    write("s.csv", time=[f"{np.datetime64('2020-01-01T00:00') + i * step}{zone}" for i in range(60)], v=range(60))
    train("--horizon", "2")
    (line,) = predicted(capsys, "s.csv")
    assert line["times"] == expected


def test_times_that_no_date_can_say_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    write("s.csv", date=[f"9999-12-{day:02}" for day in range(2, 32)], v=range(30))
    train("--horizon", "2")
    (line,) = predicted(capsys, "s.csv")
    assert "times" not in line
    assert len(line["prediction"]) == 2


def test_each_of_several_series_has_its_forecast(capsys: pytest.CaptureFixture[str]) -> None:
    shops = ["a"] * 30 + ["b"] * 30
    write("s.csv", shop=shops, date=days(30) * 2, load=[*range(30), *range(500, 530)])
    train("--by", "shop")
    write("new.csv", shop=[*shops, "c"], date=[*days(30) * 2, days(1)[0]], load=[*range(30), *range(500, 530), 7])
    capsys.readouterr()
    assert main(("predict", "r", "new.csv", "--json")) == 1
    said = capsys.readouterr()
    first, second = (json.loads(line) for line in said.out.splitlines())
    assert (first["series"], second["series"]) == ("a", "b")
    assert second["prediction"] - first["prediction"] == pytest.approx(500, abs=1e-2)
    assert "shop c: 1 rows" in said.err


def test_model_json_names_the_columns_and_arrays_are_taken_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    write("s.csv", wind=np.arange(60) % 7, load=np.arange(60), rain=np.arange(60) % 3)
    train("--target", "load")
    about = json.loads(Path("runs/r/model.json").read_text())["about"]
    assert about["inputs"]["columns"] == ["load", "wind", "rain"]
    np.savez("x.npz", x=np.zeros((1, 6, 3), np.float32))
    np.savez("few.npz", x=np.zeros((1, 6, 2), np.float32))
    capsys.readouterr()
    assert main(("predict", "r", "--npz", "x.npz")) == 0
    assert "in this order: load, wind, rain" in capsys.readouterr().err
    assert main(("predict", "r", "--npz", "few.npz")) == 1
    assert "(6, 2)" in capsys.readouterr().err


def test_evaluate_resume_and_the_report_agree_on_a_horizon(capsys: pytest.CaptureFixture[str]) -> None:
    write("s.csv", year=range(1900, 2000), v=np.cumsum(np.random.default_rng(0).normal(size=100)).round(3))
    train("--horizon", "2")
    result = json.loads(Path("runs/r/result.json").read_text())["test"]
    assert set(result["last value"]) == {"r2", "loss"}
    capsys.readouterr()
    again = json.loads(output_of(capsys, "evaluate", "r", "--json"))["figures"]
    assert again == pytest.approx(result["linear"])
    assert main(("train", "--resume", "r", "--epochs", "2")) == 0
    other = ("--epochs", "2", "--baseline", "none", "--device", "cpu", "--name", "whole", "--horizon", "2")
    assert main(("train", "--data", "s.csv", "--window", "6", "--model", "linear", *other)) == 0
    assert (Path("runs/r/metrics.jsonl").read_text()) == Path("runs/whole/metrics.jsonl").read_text()


def test_the_figures_of_the_last_value_are_those_of_all_values_ahead(capsys: pytest.CaptureFixture[str]) -> None:
    v = np.cumsum(np.random.default_rng(1).normal(size=100)).round(3)
    write("s.csv", v=v)
    train("--horizon", "2", "--metrics", "r2", "mse")
    figures = json.loads(Path("runs/r/result.json").read_text())["test"]["last value"]
    first = int(93 * 0.8)
    y = np.stack([v[first + 6 : 99], v[first + 7 : 100]], axis=1)
    error = (y - v[first + 5 : 98, None]) ** 2
    assert figures["mse"] == pytest.approx(error.mean(), rel=1e-4)
    assert figures["r2"] == pytest.approx(np.mean(1 - error.mean(axis=0) / y.var(axis=0)), rel=1e-4)


def test_the_last_line_says_where_a_network_is_worse_than_nothing_changes(capsys: pytest.CaptureFixture[str]) -> None:
    write("s.csv", v=np.cumsum(np.random.default_rng(2).normal(size=200)).round(3))
    said = output_of(capsys, "train", "--data", "s.csv", "--window", "6", "--model", "mlp", *QUICK)
    assert "worse than the last value (nothing changes)" in said.splitlines()[-1]
    write("s.csv", v=np.arange(200) % 10)
    said = output_of(capsys, "train", "--data", "s.csv", "--window", "12", "--epochs", "20", "--device", "cpu")
    assert "worse than the last value" not in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--horizon", "3"), "horizon goes with a table as a series.*--window"),
        (("--by", "g"), "by goes with a table as a series.*--window"),
        (("--missing", "previous"), "missing is previous, which is for a series"),
        (("--window", "6", "--horizon", "70"), "windows of 6 and 70 rows that follow"),
        (("--window", "6", "--by", "x"), "no column 'x'"),
        (("--window", "6", "--calendar"), "calendar needs a column with dates"),
    ],
)
def test_what_a_series_cannot_be_is_one_line(
    words: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    write("s.csv", v=range(60))
    code = 1 if words[0] == "--window" else 2
    assert re.search(expected, refused(capsys, "train", "--data", "s.csv", *words, *QUICK, code=code))


def test_horizon_is_refused_for_what_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert "leave --horizon out" in refused(capsys, "train", "--data", "digits", "--horizon", "2", code=2)


def test_a_model_of_ones_own_learns_the_target_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.py").write_text(
        "from dlcore import nn\ndef build(outputs):\n    return nn.Sequential(nn.Flatten(), nn.Dense(outputs))\n"
    )
    write("s.csv", v=1000 + np.arange(60) % 9)
    words = ("train", "--data", "s.csv", "--window", "6", "--model", "own.py:build", "--horizon", "2", *QUICK)
    assert "mse of standardised targets" in output_of(capsys, *words)
    about = json.loads(Path("runs/r/model.json").read_text())["about"]
    assert about["targets"]["mean"] == pytest.approx(1004, abs=1)
    (line,) = predicted(capsys, "s.csv")
    assert line["prediction"] == pytest.approx([1004, 1004], abs=20)


@pytest.mark.parametrize("options", [(), ("--no-normalize",), ("--horizon", "2")])
def test_the_losses_beside_a_model_of_ones_own_are_in_its_unit(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own.py").write_text(
        "from dlcore import nn\ndef build(outputs):\n    return nn.Sequential(nn.Flatten(), nn.Dense(outputs))\n"
    )
    write("s.csv", v=np.cumsum(np.random.default_rng(2).normal(size=80)).round(3) + np.arange(80))
    words = ("train", "--data", "s.csv", "--window", "6", "--model", "own.py:build", "--baseline", "linear")
    said = output_of(capsys, *words, *QUICK[:2], *QUICK[4:], "--metrics", "mse", *options)
    figures = json.loads(Path("runs/r/result.json").read_text())["test"]
    assert len(figures) == 3
    unit = figures["last value"]["loss"] / figures["last value"]["mse"]
    for one in figures.values():
        assert one["loss"] == pytest.approx(unit * one["mse"], rel=1e-3)
    assert "worse than the last value" in said.splitlines()[-1]
    assert "the linear baseline" in said.splitlines()[-1]


def test_without_normalising_changes_are_learnt_in_the_targets_unit(capsys: pytest.CaptureFixture[str]) -> None:
    write("s.csv", v=1000 + np.arange(60) % 9)
    assert "loss mse," in output_of(
        capsys, "train", "--data", "s.csv", "--window", "6", "--model", "linear", "--no-normalize", *QUICK
    )
    result = json.loads(Path("runs/r/result.json").read_text())["test"]["last value"]
    assert result["loss"] == pytest.approx(np.mean((np.diff(1000 + np.arange(60) % 9)[48:]) ** 2.0), rel=0.1)
    (line,) = predicted(capsys, "s.csv")
    assert line["prediction"] == pytest.approx(1005, abs=20)


def evaluated(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    return json.loads(output_of(capsys, "evaluate", "r", *words, "--json"))


def test_of_a_series_that_has_grown_only_new_windows_are_tested(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    load = rng.normal(size=120).round(3)
    write("s.csv", date=days(80), load=load[:80])
    train()
    capsys.readouterr()
    before = evaluated(capsys)
    write("s.csv", date=days(120), load=load)  # by the new split all old windows but some would be trained on
    assert main(("evaluate", "r", "--json")) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (
        "has changed since the training; 44 of its 114 windows were trained on and 15 were in the dev set" in said.err
    )
    assert (before["examples"], found["examples"], found["left_out"]) == (15, 114 - 44 - 15, 44 + 15)
    write("s.csv", date=days(60), load=load[:60])
    assert main(("evaluate", "r")) == 1
    assert "none is left" in capsys.readouterr().err


def test_another_series_is_measured_by_what_the_run_has_learned(capsys: pytest.CaptureFixture[str]) -> None:
    load = np.random.default_rng(1).normal(size=(2, 70)).round(3)
    write("s.csv", date=days(70), wind=load[0], load=load[1])
    train()
    capsys.readouterr()
    write("new.csv", load=load[0] + 1, date=days(70), wind=load[1])  # other values, and another order of columns
    assert evaluated(capsys, "--data", "new.csv")["examples"] == 64
    write("same.csv", date=days(70), wind=load[0], load=load[1])
    assert main(("evaluate", "r", "--data", "same.csv")) == 0
    assert "38 of its 64 windows were trained on" in capsys.readouterr().err
    write("bare.csv", date=days(70), load=load[1])
    assert "wind" in refused(capsys, "evaluate", "r", "--data", "bare.csv", code=1)
