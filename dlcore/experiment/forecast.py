"""What a run on a series predicts: the values that follow the end of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlcore.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from dlcore.data import Normalizer

__all__ = ["columns_of_arrays", "forecasts", "is_series"]


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
) -> Iterator[dict[str, Any]]:
    """Of each series in each file, its name, and the next values with their times, in the unit of the target; or, of a
    file or series that cannot be read, the ``error``, which names it.

    about : of the model, as model.json has it
    answer : outputs (N, H) of windows (N, window, D)
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
            yield {"input": file, "error": str(error)}
        if not ends:
            continue
        x = np.stack([end.x for end in ends])
        outputs = answer(x.astype(np.float32) if normalizer is None else normalizer.transform(x))
        for end, values in zip(ends, outputs, strict=True):
            if not np.isfinite(values).all():
                of = f", series {end.group}" if inputs.by else ""
                value = values[~np.isfinite(values)][0]
                fault = f"the model's output is {value:g}, no finite number; check its weights"
                yield {"input": file, "error": f"{file}{of}: {fault}"}
                continue
            said: dict[str, Any] = {"input": file}
            said |= {"series": end.group} if inputs.by else {}
            said["target"] = inputs.columns[0]
            said["prediction"] = values.tolist() if len(values) > 1 else values.item()
            said |= {"times": end.times} if end.times is not None else {}
            yield {**said, "outputs": values.tolist()}
