"""The curves: what is drawn and marked, odd histories, and that nothing else changes."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from dlcore.report import curves_svg, draw_curves
from dlcore.report.curves import COLOURS, best_of, figure, heading, metric_of
from dlcore.train import History


def history(epochs: int = 9, lowest: int = 4, **more: Any) -> list[dict[str, Any]]:
    """Records with a training loss that falls and a development loss that is least in epoch ``lowest``."""
    return [
        {
            "epoch": epoch,
            "loss": 1.0 / (epoch + 1),
            "accuracy": 1 - 0.5 / (epoch + 1),
            "dev_loss": 0.5 + 0.01 * (epoch - lowest) ** 2,
            "dev_accuracy": 0.8 - 0.01 * abs(epoch - lowest),
            "lr": 0.001,
            "seconds": 1.0,
            "examples_per_second": 1000.0,
            **more,
        }
        for epoch in range(epochs)
    ]


def lines_of(axes: Any) -> dict[str, tuple[list[float], list[float]]]:
    """The curves of a panel by label, without the marks."""
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in axes.lines
        if not line.get_label().startswith("_")
    }


def words_of(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def verticals(axes: Any) -> list[float]:
    """Where the vertical lines stand."""
    return [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]


def points(axes: Any) -> list[tuple[float, float]]:
    """The points that mark the best epoch."""
    marks = [line for line in axes.lines if line.get_label() == "_best"]
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in marks]


# --- what is drawn


def test_both_panels_show_training_and_development_over_epochs_from_1() -> None:
    records = history()
    loss, accuracy = figure(records).axes
    assert [axes.get_title(loc="left") for axes in (loss, accuracy)] == ["Loss", "Accuracy"]
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        drawn = lines_of(axes)
        assert list(drawn) == ["training", "development"]
        assert drawn["training"] == (list(range(1, 10)), [record[name] for record in records])
        assert drawn["development"][1] == [record[f"dev_{name}"] for record in records]
        assert axes.get_xlabel() == "epoch"
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "development"]


def test_the_best_epoch_is_the_least_development_loss_where_none_is_given() -> None:
    for axes, value in zip(figure(history(lowest=6)).axes, (0.5, 0.8), strict=True):
        assert words_of(axes) == ["best epoch 7"]
        assert verticals(axes) == [7]
        assert points(axes) == [(7, value)]


def test_the_best_epoch_that_is_given_goes_before_the_least_loss() -> None:
    loss, accuracy = figure(history(lowest=6), best_epoch=2, stopped_epoch=8).axes
    for axes in (loss, accuracy):
        assert words_of(axes) == ["best epoch 3", "stopped at 9"]
        assert verticals(axes) == [3, 9]
    assert points(loss) == [(3, pytest.approx(0.5 + 0.01 * 16))]


def test_of_equal_losses_the_first_epoch_is_the_best_and_what_is_not_finite_never_is() -> None:
    losses = [math.nan, 0.7, -math.inf, 0.2, 0.2, None]
    assert best_of([{"epoch": epoch, "dev_loss": loss} for epoch, loss in enumerate(losses)]) == 3
    assert best_of([{"epoch": 0, "loss": 0.1}]) is None


@pytest.mark.parametrize(("best", "stopped"), [(0, 8), (3, 8), (6, 8), (7, 8), (8, 8), (0, 1), (8, None)])
def test_the_words_above_the_axes_do_not_overlap(best: int, stopped: int | None) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    drawn = figure(history(), best_epoch=best, stopped_epoch=stopped)
    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    inside = drawn.bbox
    for axes in drawn.axes:
        texts = [*axes.texts, axes._left_title, axes.get_legend()]  # type: ignore[attr-defined]
        boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts]
        for i, box in enumerate(boxes):
            assert inside.x0 <= box.x0
            assert box.x1 <= inside.x1
            assert not any(box.overlaps(other) for other in boxes[:i])


def test_a_history_of_a_trainer_is_taken_as_it_is(tmp_path: Path) -> None:
    records = History()
    for record in history(3):
        records.append(record)
    assert draw_curves(tmp_path / "curves.png", records) == tmp_path / "curves.png"


def test_the_first_metric_is_drawn() -> None:
    record = {"epoch": 0, "loss": 1.0, "penalty": 0.1, "species_accuracy": 0.5, "sex_f1": 0.4, "dev_loss": 1.0, "lr": 1}
    assert metric_of([record]) == "species_accuracy"
    assert [axes.get_title(loc="left") for axes in figure([record]).axes] == ["Loss", "Species accuracy"]
    assert metric_of([{"epoch": 0, "loss": 1.0, "seconds": 2.0}]) is None


def test_a_penalty_is_said_to_be_part_of_the_training_loss() -> None:
    loss, accuracy = figure(history(penalty=0.1)).axes
    assert list(lines_of(loss)) == ["training, with penalty", "development"]
    assert list(lines_of(accuracy)) == ["training", "development"]


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([1.0, 0.011], "linear"), ([1.0, 0.009], "log"), ([1.0, 0.0], "linear"), ([1.0, -200.0], "linear")],
)
def test_more_than_two_decades_are_drawn_on_a_logarithmic_axis(losses: list[float], scale: str) -> None:
    (axes,) = figure([{"epoch": i, "loss": loss} for i, loss in enumerate(losses)]).axes
    assert axes.get_yscale() == scale


def test_shares_stay_on_a_linear_axis() -> None:
    records = [{"epoch": i, "loss": 1.0, "accuracy": value} for i, value in enumerate((0.001, 0.9))]
    assert figure(records).axes[1].get_yscale() == "linear"


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 100, 1000])
def test_the_ticks_are_whole_epochs_from_the_first_to_at_most_the_last(epochs: int) -> None:
    ticks = figure(history(epochs)).axes[0].get_xticks()
    assert ticks[0] == 1
    assert all(tick == int(tick) and 1 <= tick <= epochs for tick in ticks)
    assert 1 <= len(ticks) <= 9


def test_a_value_between_two_gaps_has_a_dot_of_its_own() -> None:
    losses = [1.0 if epoch != 20 else 0.5 for epoch in range(40)]
    losses[19] = losses[21] = math.nan
    (line,) = figure([{"epoch": i, "loss": loss} for i, loss in enumerate(losses)]).axes[0].lines
    assert np.flatnonzero(line.get_markevery()).tolist() == [20]


def test_headings_are_words() -> None:
    names = ["loss", "dev_accuracy", "r2", "species_top_k"]
    assert [heading(name) for name in names] == ["Loss", "Development accuracy", "R²", "Species top k"]


# --- odd histories

ODD: dict[str, list[dict[str, Any]]] = {
    "no records": [],
    "one epoch": history(1),
    "two epochs": history(2),
    "a thousand epochs": history(1000),
    "no development set": [{"epoch": i, "loss": 1.0 / (i + 1), "accuracy": 0.5} for i in range(5)],
    "no metric": [{"epoch": i, "loss": 1.0, "dev_loss": 2.0} for i in range(5)],
    "no loss": [{"epoch": i, "lr": 0.1} for i in range(3)],
    "all NaN": [{"epoch": i, "loss": math.nan, "dev_loss": math.nan, "accuracy": math.nan} for i in range(3)],
    "None and infinite": [{"epoch": i, "loss": v} for i, v in enumerate((None, math.inf, 1.0, -math.inf))],
    "words": [{"epoch": 0, "loss": "high", "accuracy": "low"}],
    "constant": [{"epoch": i, "loss": 0.7, "dev_loss": 0.7, "accuracy": 1.0, "dev_accuracy": 1.0} for i in range(4)],
    "zero": [{"epoch": i, "loss": 0.0, "dev_loss": 0.0} for i in range(4)],
    "huge": [{"epoch": i, "loss": 10.0 ** (90 - 60 * i), "dev_loss": 10.0 ** (-60 * i)} for i in range(4)],
    "beyond any plot": [{"epoch": i, "loss": v} for i, v in enumerate((1e308, -1e308, 5e-324))],
    "close together": [{"epoch": i, "loss": 1.0 + 1e-13 * i} for i in range(4)],
    "a gap in the middle": [{"epoch": i, "loss": 1.0, **({"dev_loss": 0.5} if i != 2 else {})} for i in range(5)],
    "from epoch 7 on": [{**record, "epoch": record["epoch"] + 7} for record in history(4)],
    "a penalty": history(penalty=0.3),
    "a metric in formulas and in letters that no font has": [{"epoch": 0, "loss": 1.0, "$x^{ \\frac 精度": 0.5}],
    "numbers of NumPy": [{"epoch": np.int64(i), "loss": np.float32(0.5), "dev_loss": np.float64(0.1)} for i in (0, 1)],
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_histories_are_drawn_without_a_warning(name: str, tmp_path: Path) -> None:
    with Image.open(draw_curves(tmp_path / "new" / "curves.png", ODD[name], stopped_epoch=2)) as image:
        image.load()
        assert image.width > 500
        assert np.asarray(image.convert("L")).min() < 255 or name in ("no records", "no loss")
    for part in re.findall(r"<svg.*?</svg>", curves_svg(ODD[name], stopped_epoch=2), re.DOTALL):
        ElementTree.fromstring(part)
        assert "nan" not in part.lower()


def test_epochs_that_are_not_there_are_not_marked() -> None:
    for axes in figure(history(3), best_epoch=30, stopped_epoch=40).axes:
        assert words_of(axes) == []


# --- nothing else changes


def test_settings_of_matplotlib_stay_as_they_are_and_do_not_matter(tmp_path: Path) -> None:
    with mpl.rc_context():
        plain = draw_curves(tmp_path / "plain.png", history()).read_bytes()
        mpl.rcParams.update({"text.usetex": True, "font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"})
        before = dict(mpl.rcParams)
        assert draw_curves(tmp_path / "set.png", history()).read_bytes() == plain
        assert "<text" in curves_svg(history())
        assert dict(mpl.rcParams) == before


def test_pyplot_is_not_imported_and_matplotlib_only_for_a_figure(tmp_path: Path) -> None:
    program = f"""
import sys
import dlcore as dl
report = dl.report.Report(title="a")
assert "matplotlib" not in sys.modules
dl.report.draw_curves({str(tmp_path / "curves.png")!r}, [{{"epoch": 0, "loss": 1.0}}])
assert "matplotlib.figure" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_drawing_repeats_to_the_bit() -> None:
    assert curves_svg(history()) == curves_svg(history())


# --- SVG


def test_the_svg_is_two_elements_that_load_nothing_and_tell_no_date() -> None:
    drawn = curves_svg(history(), best_epoch=4, stopped_epoch=8)
    assert drawn.startswith("<svg")
    assert drawn.endswith("</svg>")
    assert drawn.count("<svg") == 2
    for absent in ("<?xml", "DOCTYPE", "metadata", "<style", "<script", "@import"):
        assert absent not in drawn
    assert "//" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", drawn)
    assert ">best epoch 5<" in drawn
    assert ">stopped at 9<" in drawn


def test_ids_of_the_svg_occur_once_and_every_reference_has_its_target() -> None:
    drawn = curves_svg(history()) + curves_svg(history(5))
    ids = re.findall(r'\bid="([^"]+)"', drawn)
    assert len(ids) == len(set(ids))
    references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', drawn)
    assert references
    assert {first or second for first, second in references} <= set(ids)


def test_every_colour_of_the_svg_can_be_changed_by_the_page() -> None:
    records = [{**record, "train_dev_loss": 0.5} for record in history()]
    drawn = curves_svg(records, stopped_epoch=8)
    assert {f"var(--{name}, {colour})" for name, colour in COLOURS.items()} == set(re.findall(r"var\([^)]+\)", drawn))
    assert "#" not in re.sub(r'var\(--[\w-]+, #\w{6}\)|href="#[^"]+"|url\(#[^)]+\)', "", drawn)
    assert set(re.findall(r"font-family: ([^;\"]+)", drawn)) == {"inherit"}


def test_the_svg_says_what_it_shows() -> None:
    labels = re.findall(r'<svg role="img" aria-label="([^"]+)"', curves_svg([{"epoch": 0, "loss": 1.0, "a<b&c": 1.0}]))
    assert labels == ["Loss over the epochs", "A&lt;b&amp;c over the epochs"]
