"""What a run has said of new examples, for Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from dlcore.errors import DataError

__all__ = ["Predictions"]


class Predictions(list[dict[str, Any]]):
    """What a run says of each row, in their order: dicts as ``dlcore predict --json`` prints them.

    ``input`` is where the row comes from, ``prediction`` a class's name or a number, ``top`` the likeliest classes with
    their probabilities, and ``outputs`` the numbers that the model gave. A row that cannot be predicted has ``error``
    in their place. A model with heads has ``heads``, a dict of these by name.

    >>> found = Predictions([{"input": "row 1", "prediction": "cat", "outputs": [2.0, 0.5]}])
    >>> found.values.tolist(), found.outputs.shape, found.errors
    (['cat'], (1, 2), {})
    """

    @property
    def errors(self) -> dict[int, str]:
        """What is wrong with the rows that could not be predicted, by their position."""
        return {i: said["error"] for i, said in enumerate(self) if "error" in said}

    @property
    def values(self) -> Any:
        """The predictions of all rows, (N,) or (N, ...): names of classes, or numbers; of heads a dict of them by name.

        Raises DataError where a row could not be predicted.
        """
        return self._of_all("prediction")

    @property
    def outputs(self) -> Any:
        """The model's outputs for all rows, (N, ...); of heads a dict of them. Raises DataError as :attr:`values`."""
        return self._of_all("outputs")

    def _of_all(self, key: str) -> Any:
        if errors := self.errors:
            first = next(iter(errors))
            raise DataError(
                f"{len(errors):,} of {len(self):,} rows could not be predicted, the first: {self[first]['input']}: "
                f"{errors[first]}"
            )
        if self and "heads" in self[0]:
            return {head: np.array([said["heads"][head][key] for said in self]) for head in self[0]["heads"]}
        return np.array([said[key] for said in self])
