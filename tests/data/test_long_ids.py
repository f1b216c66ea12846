"""Numbers that are names, such as an account's of 17 digits: float64 does not tell them apart beyond 2**53."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dlcore.data import Inputs
from dlcore.data.labelled import Reading
from dlcore.data.readers.csv.levels import Levels
from dlcore.errors import DataError

IDS = ("9007199254740993", "9007199254740995", "9007199254740997")


@pytest.mark.parametrize("cell", ["9007199254740992", "9007199254740994", "9007199254740996.0", "9.007199254740996e15"])
def test_a_level_that_differs_in_the_last_digit_is_another(cell: str) -> None:
    levels = Levels(IDS)
    assert levels.place(cell) is None
    assert [levels.place(f"{one}.0") for one in IDS] == [0, 1, 2]


def test_a_class_that_differs_in_the_last_digit_is_another(tmp_path: Path) -> None:
    inputs = Inputs.table(["a"])
    reading = Reading(shape=(1,), task="classification", classes=IDS, inputs=inputs, target="y")
    file = tmp_path / "new.csv"
    file.write_text("a,y\n" + "".join(f"1,{cell}\n" for cell in (IDS[1], f"+{IDS[2]}", f"{IDS[0]}.0")))
    data: Any = reading.read(file)[0]
    assert data.y.tolist() == [1, 2, 0]
    file.write_text("a,y\n1,9007199254740996\n")
    with pytest.raises(DataError, match="line 2: '9007199254740996' is no class that the model knows"):
        reading.read(file)
