"""The drawing: what is in it, and that it appears whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlcore.bench.picture import MOST, Bars, check_target, draw, figure
from dlcore.errors import ConfigError, DataError

NAMES = ["conv2d", "linear"]
SIDES = [
    Bars("A: cpu", [0.004, 0.001], [0.003, 0.001], [0.008, 0.001]),
    Bars("B: cuda:0", [0.001, 0.002], [0.001, 0.002], [0.001, 0.004]),
]


def test_two_sides_have_their_times_and_the_speed_of_the_second() -> None:
    drawn = figure(NAMES, SIDES, ["cpu: a CPU", "commit 1234"])
    times, speeds = drawn.axes
    assert [label.get_text() for label in times.get_yticklabels()] == NAMES
    dots = [np.asarray(line.get_xdata()).tolist() for line in times.lines if line.get_marker() == "o"]
    assert dots == [[4.0, 1.0], [1.0, 2.0]]  # milliseconds
    lines = [
        (segment[:, 0].tolist())
        for bars in times.collections
        for segment in bars.get_segments()  # type: ignore[attr-defined]
    ]
    assert lines == [pytest.approx(ends) for ends in ([3.0, 8.0], [1.0, 1.0], [1.0, 1.0], [2.0, 4.0])]
    assert [bar.get_x() + bar.get_width() for bar in speeds.patches] == pytest.approx([4.0, 0.5])  # type: ignore[attr-defined]
    assert [text.get_text() for text in speeds.texts] == ["4.00", "0.50"]
    assert [text.get_text() for text in drawn.texts] == ["cpu: a CPU\ncommit 1234"]


def test_one_side_has_no_speeds() -> None:
    assert len(figure(NAMES, SIDES[:1], []).axes) == 1


def test_of_many_workloads_those_farthest_from_equal_are_drawn_and_that_is_said() -> None:
    count = MOST + 5
    a, b = [1.0] * count, [1.0] * count
    b[3], b[count - 1] = 8.0, 0.125
    drawn = figure([f"w{i}" for i in range(count)], [Bars("A", a, a, a), Bars("B", b, b, b)], [])
    shown = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert len(shown) == MOST
    assert {"w3", f"w{count - 1}"} <= set(shown)
    assert f"of {count} workloads the {MOST}" in drawn.texts[0].get_text()


@pytest.mark.parametrize("suffix", ["png", "SVG"])
def test_a_file_is_a_picture_of_its_kind_and_the_same_bytes_each_time(tmp_path: Path, suffix: str) -> None:
    paths = [draw(str(tmp_path / f"{name}.{suffix}"), NAMES, SIDES, ["about"]) for name in "ab"]
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    if suffix == "png":
        with Image.open(io.BytesIO(first)) as picture:
            assert min(picture.size) > 300
    else:
        assert b"<svg" in first
        assert b">conv2d</text>" in first


def test_a_file_that_could_not_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.png or \.svg"):
        check_target("a.jpg", "--picture", (".png", ".svg"))
    with pytest.raises(DataError, match="does not exist"):
        check_target(str(tmp_path / "no" / "a.png"), "--picture", (".png",))
    with pytest.raises(DataError, match="a folder has this name"):
        check_target(str(tmp_path), "--json")
