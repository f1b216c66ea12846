"""The recipes: each quick experiment shows its claim, and what a recipe gives can be printed and drawn.

The full tier, ``pytest -m full -n 0``, does each whole experiment with three seeds or more and writes
``benchmarks/figures/recipes.json``.
"""

from __future__ import annotations

import math
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlcore as dl
from dlcore.recipes import NAMES, Check, Recipe, Result, Setup, at_least, at_most, find, recipe, run

SECONDS = 60
"""Of CPU time, on one core, for a whole experiment."""
SEEDS = {"transfer": 5}
"""How many the full tier takes, where they are not three."""


def _quick(name: str, seed: int = 0) -> Result:
    return run(name, seed=seed, quick=True, device="cpu")


@pytest.mark.parametrize("name", NAMES)
def test_the_quick_experiment_shows_the_claim(name: str) -> None:
    result = _quick(name)
    assert result.checks
    assert result.holds, [str(check) for check in result.checks if not check.holds]
    assert len(result.rows) >= 2
    assert all(len(row) == len(result.columns) for row in result.rows)
    figure: Any = result.figure()
    pixels = np.asarray(figure.canvas.buffer_rgba())
    assert min(pixels.shape[:2]) > 400
    assert len(np.unique(pixels.reshape(-1, 4), axis=0)) > 50  # something is drawn
    check_names(figure)
    check_numbers(figure)


def check_names(figure: Any) -> None:
    """A name stands for lines of one look in all panels, for one legend may speak for several."""
    looks: dict[str, set[Any]] = {}
    for line in (line for axes in figure.axes for line in axes.lines if line.get_label()[0] != "_"):
        looks.setdefault(line.get_label(), set()).add((line.get_color(), line._unscaled_dash_pattern))
    assert all(len(found) == 1 for found in looks.values()), looks


def check_numbers(figure: Any) -> None:
    """Epochs are whole, and no number at a bar lies on another one or on a bar."""
    for axes in figure.axes:
        if axes.get_xlabel() == "epoch":
            assert all(float(tick).is_integer() for tick in axes.get_xticks())
        boxes = [text.get_window_extent() for text in axes.texts if axes.containers]
        bars = [bar.get_window_extent() for bar in axes.patches if bar.get_height()]
        for place, box in enumerate(boxes):
            for other in boxes[place + 1 :] + bars:
                inside = box.intersection(box, other)
                assert inside is None or inside.width < 1.5 or inside.height < 1.5, axes.get_title(loc="left")


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_the_whole_experiment_shows_the_claim_with_several_seeds(
    name: str, figures: MutableMapping[str, Any], tmp_path: Path
) -> None:
    found: dict[str, list[float]] = {}
    bounds, most = {}, 0.0
    for seed in range(SEEDS.get(name, 3)):
        start = time.process_time()
        result = run(name, seed=seed, device="cpu")
        seconds = time.process_time() - start
        assert result.holds, (seed, [str(check) for check in result.checks if not check.holds])
        for check in result.checks:
            found.setdefault(check.what, []).append(check.value)
            bounds[check.what] = f"at {'most' if check.greatest else 'least'} {check.bound:g}"
        most = max(most, seconds)
        assert result.save(tmp_path / "picture.png").stat().st_size > 10_000
    assert most < SECONDS
    values = {what: {"by seed": values, "expected": bounds[what]} for what, values in found.items()}
    figures["recipes"] = {name: {"claim": find(name).claim, "most CPU seconds": round(most, 1), **values}}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_tells_its_section_and_its_claim(name: str) -> None:
    found = find(name)
    assert isinstance(found, Recipe)
    assert found.name == name
    assert found.chapter[0] in "123456"
    assert found.claim.endswith(".")


def test_every_file_of_a_recipe_is_listed() -> None:
    folder = Path(dl.recipes.__file__).parent
    files = {path.stem.replace("_", "-") for path in folder.glob("*.py") if "@recipe(" in path.read_text()}
    assert files - {"lesson"} == set(NAMES)
    chapters = [tuple(map(int, find(name).chapter.split("."))) for name in NAMES]
    assert chapters == sorted(chapters)


def test_one_seed_gives_the_same_figures_again() -> None:
    assert _quick("train-dev", 3).figures() == _quick("train-dev", 3).figures()


@pytest.mark.parametrize("name", ["edges", "correlation-and-convolution"])
def test_a_seed_beyond_the_number_of_images_takes_one_too(name: str) -> None:
    assert run(name, seed=4502, quick=True, device="cpu").figures() == run(name, seed=2, quick=True).figures()


def test_a_bound_is_kept_or_not() -> None:
    assert at_least("a", 2, 2).holds
    assert not at_least("a", 1.9, 2).holds
    assert at_most("a", 2, 2).holds
    assert not at_most("a", 2.1, 2).holds
    assert not at_least("a", math.nan, 0).holds
    assert not at_most("a", math.nan, 0).holds


def test_a_claim_holds_where_all_its_figures_do() -> None:
    good, bad = Check("good", 2.0, 1.0), Check("bad", 0.0, 1.0)
    assert Result((), [], [good, good], lambda _: None).holds
    assert not Result((), [], [good, bad], lambda _: None).holds


def test_a_seed_is_a_whole_number() -> None:
    @recipe("1.1", "Nothing.")
    def one_of_mine(setup: Setup) -> Result:
        return Result((), [], [], lambda _: None)

    assert one_of_mine.name == "one-of-mine"
    with pytest.raises(dl.ConfigError, match="seed is -1"):
        one_of_mine(Setup(dl.device("cpu"), seed=-1))


def test_an_unknown_name_is_a_question() -> None:
    with pytest.raises(dl.ConfigError, match="did you mean batch-norm"):
        run("batchnorm")
