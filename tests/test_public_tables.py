"""The default model on thirty public tables, beside logistic regression or ridge on the same features and parts.

``pytest -m full -n 0 tests/test_public_tables.py`` runs it and writes ``benchmarks/figures/tables.json``; tables of
one's choice and other settings run by ``tests/public_tables.py``, whose docstring shows how. The packages that hold the
tables are in the optional dependencies ``tables``.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from public_tables import PLAIN, SEEDS, TABLES, compare, lines, missing_packages, write_plain

from dlcore.cli import main

MOST_BELOW, BELOW = 2, 0.08
"""So many tables may be further than this below the linear model, in R² or accuracy."""


@pytest.mark.full
@pytest.mark.skipif(bool(missing_packages()), reason=f"not installed: {', '.join(missing_packages())}")
def test_the_default_model_keeps_up_with_a_linear_one(figures: MutableMapping[str, Any], tmp_path: Path) -> None:
    found = [compare(name, tmp_path) for name in TABLES]
    print("\n".join(lines(found)))
    found.sort(key=lambda one: one.difference)
    below = [one.name for one in found if one.difference < -BELOW]
    figures["tables"] = {
        "splits": len(SEEDS),
        "median difference": round(statistics.median(one.difference for one in found), 4),
        "worst": [one.name for one in found[:5]],
        f"more than {BELOW} below": below,
        "tables": {one.name: one.record() for one in found},
    }
    assert len(found) == 30
    assert all(100 <= one.rows <= 20_000 for one in found)
    assert len(below) <= MOST_BELOW, below


@pytest.mark.full
@pytest.mark.skipif("vega_datasets" in missing_packages(), reason="vega_datasets is not installed")
@pytest.mark.parametrize("name", PLAIN)
def test_a_table_as_it_is_trains_or_is_refused_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--missing", "mean", "--epochs", "1", "--baseline", "none", "--device", "cpu"]
    code = main(["train", "--data", write_plain(name, tmp_path).name, *words])
    errors = [line for line in capsys.readouterr().err.splitlines() if "warning" not in line]
    assert (code, len(errors)) in ((0, 0), (1, 1), (2, 1)), errors
    print(name, code, *errors)


@pytest.mark.skipif(bool(missing_packages(["diabetes"])), reason="scikit-learn is not installed")
def test_what_is_compared_is_what_the_command_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (score,) = compare("diabetes", tmp_path, [3], epochs=2).dlcore
    words = ["train", "--data", "diabetes.csv", "--target", "target", "--missing", "mean", "--split-seed", "3"]
    assert main([*words, "--epochs", "2", "--baseline", "none", "--device", "cpu", "--name", "run"]) == 0
    capsys.readouterr()
    assert json.loads((tmp_path / "runs" / "run" / "result.json").read_text())["test"]["mlp"]["r2"] == score
