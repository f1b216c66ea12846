"""What ``dlcore predict`` prints for a run on a series: the values that follow the end of a table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlcore.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from dlcore.data import Normalizer

__all__ = ["columns_of_arrays", "forecasts", "is_series", "lines"]


def is_series(about: dict[str, Any]) -> bool:
    """Whether a model.json says how the table of a series becomes windows; that of version 0.1 does not."""
    inputs = about.get("inputs")
    return isinstance(inputs, dict) and inputs.get("kind") == "series"


def columns_of_arrays(about: dict[str, Any]) -> str:
    """Which features an array of windows is taken to hold, for people: by name nobody can check it."""
    from dlcore.data._series_inputs import SeriesInputs

    inputs = SeriesInputs.from_dict(about["inputs"])
    return (
        f"x is taken as windows of {inputs.window} rows with the features, in this order: {', '.join(inputs.names())}"
    )


def forecasts(
    files: Sequence[str],
    about: dict[str, Any],
    normalizer: Normalizer | None,
    answer: Callable[[np.ndarray], np.ndarray],
    failed: list[str],
) -> Iterator[dict[str, Any]]:
    """Of each series in each file, its name, and the next values with their times, in the unit of the target.

    about : of the model, as model.json has it
    answer : outputs (N, H) of windows (N, window, D)
    failed : gets the files that cannot be read, which are named on stderr
    """
    import numpy as np

    from dlcore.data._series_inputs import SeriesInputs

    inputs = SeriesInputs.from_dict(about["inputs"])
    for file in files:
        try:
            ends, wrong = inputs.read_ends(file)
        except DataError as error:
            ends, wrong = [], [error]
        for error in wrong:
            print(f"dlcore: error: {error}", file=sys.stderr)
            failed.append(file)
        if not ends:
            continue
        x = np.stack([end.x for end in ends])
        outputs = answer(x.astype(np.float32) if normalizer is None else normalizer.transform(x))
        for end, values in zip(ends, outputs, strict=True):
            if not np.isfinite(values).all():
                of = f", series {end.group}" if inputs.by else ""
                value = values[~np.isfinite(values)][0]
                print(
                    f"dlcore: error: {file}{of}: the model's output is {value:g}, no finite number; check its weights",
                    file=sys.stderr,
                )
                failed.append(file)
                continue
            said: dict[str, Any] = {"input": file}
            said |= {"series": end.group} if inputs.by else {}
            said["target"] = inputs.columns[0]
            said["prediction"] = values.tolist() if len(values) > 1 else values.item()
            said |= {"times": end.times} if end.times is not None else {}
            yield {**said, "outputs": values.tolist()}


def lines(said: dict[str, Any], number: Callable[[float], str]) -> Iterator[str]:
    """A line for each value of a forecast: file, series, time or step, and the value.

    >>> said = {"input": "a.csv", "target": "load", "times": ["2020-01-02"], "prediction": 2.5, "outputs": [2.5]}
    >>> list(lines(said, str))
    ['a.csv, 2020-01-02: load 2.5']
    """
    name = ", ".join([said["input"], *([said["series"]] if "series" in said else [])])
    values = said["outputs"]
    steps = said.get("times") or [f"{i} step{'s' * (i > 1)} on" for i in range(1, len(values) + 1)]
    for step, value in zip(steps, values, strict=True):
        yield f"{name}, {step}: {said['target']} {number(value)}"
