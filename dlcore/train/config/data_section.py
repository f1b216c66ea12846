"""The section of a configuration that says what is learnt from, and opens it.

NumPy is imported when something is opened, and not before.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dlcore._core.configurable import did_you_mean
from dlcore.errors import ConfigError
from dlcore.train.config.defaults import RULES
from dlcore.train.config.schema import Section, setting

if TYPE_CHECKING:
    from dlcore.data import Splits

__all__ = ["DataConfig"]


@dataclass(frozen=True, kw_only=True)
class DataConfig(Section):
    """What is learnt from.

    >>> data = DataConfig(data="penguins", target="sex").load()
    >>> data.task, len(data.train)
    ('binary', 200)
    """

    data: str = setting(
        "fashion-subset",
        "fashion, fashion-subset, digits, cars, penguins, vowels, hamlet; a folder with the four IDX files of "
        "Fashion-MNIST, MNIST or the like, or with a folder of images per class; a .csv, .tsv, .npz or .txt, which is "
        "a text unless it plainly is a table",
    )
    target: str | None = setting(
        None, "what to predict: a table's column [default: the last]; of penguins species, sex or body_mass"
    )
    heads: tuple[str, ...] | None = setting(
        None,
        "several things to predict at once, by one model with a head each: columns of a table, in which cells may be "
        "missing; of penguins species, sex, body_mass",
    )
    missing: str | None = setting(
        None,
        "what to do about a table's missing cells, empty or NA, NaN, NULL, None, ?, #N/A and so on; previous: the "
        "value before, of a series [default: refuse]",
        choices=("refuse", "drop", "mean", "previous"),
    )
    missing_target: str | None = setting(
        None,
        "what to do about a table's rows whose target is missing [default: drop, leave them out]",
        choices=("drop", "refuse"),
    )
    unknown_level: str | None = setting(
        None,
        "what predict does about a category's level that training lacked: an error for the row, or a missing cell "
        "[default: refuse]",
        choices=("refuse", "missing"),
    )
    categorical: tuple[str, ...] | None = setting(
        None,
        "columns whose values, such as numbers, stand for categories, or among heads for classes",
        alias="--category",
    )
    ignore: tuple[str, ...] | None = setting(None, "columns of a table to leave out")
    task: str | None = setting(
        None,
        "what a table or an .npz is for [default: regression for numbers, for text classification]",
        choices=("classification", "binary", "regression"),
    )
    image_size: tuple[int, ...] | None = setting(
        None,
        "height and width of a folder's images, or one number for both [default: those of most, or else their median "
        "with a shorter side of 64 at most]",
        within="[1, inf)",
    )
    color: str | None = setting(
        None, "how a folder's images are read [default: grey where none has colours]", choices=("grey", "rgb")
    )
    corrupt: str | None = setting(
        None, "what to do about a folder's images that cannot be read [default: stop]", choices=("stop", "skip")
    )
    test: str | None = setting(
        None,
        "a file or folder with the test set of your own data, read with the columns and classes of data, which is then "
        "split into training and dev set only [default: none]",
    )
    group: str | None = setting(None, "a column of a table, not an input: rows with the same value stay in one part")
    split: str | None = setting(
        None, "a column of a table, not an input, that names each row's part: train, dev (or val) and test"
    )
    keep_equal_together: bool = setting(
        False,
        "keep examples with equal inputs in one part, so that no tested input is also trained on",
    )
    window: int | None = setting(
        None,
        "of a text, characters through which gradients flow [default: 64]; of a table, past rows from which the next "
        "value of the target is predicted [default: none, a row is an example]",
        within="[1, inf)",
    )
    horizon: int | None = setting(
        None, "of a series, how many of the next values are predicted [default: 1]", within="[1, inf)"
    )
    time: tuple[str, ...] | None = setting(
        None,
        "the column with the time of a row, or several that together give it, such as year month; the earliest rows of "
        "a table are the training set and the latest the test set [default: of a series a column of dates, or an "
        "evenly counting time or year; of another table none]",
    )
    by: str | None = setting(None, "of a table with several series below each other, the column that names the series")
    calendar: bool | None = setting(
        None, "of a series with dates, sine and cosine of hour, day of the week and day of the year as inputs"
    )
    unknown: str | None = setting(
        None,
        "what to do about a text's characters that its training part lacks [default: replace, by <unk>]",
        choices=("replace", "refuse"),
    )
    normalize: bool = setting(True, "bring inputs, and numbers to predict, to mean 0 and standard deviation 1")
    split_seed: int = setting(0, "seed of the split into training, dev and test set", within="[0, inf)")
    train_dev: float = setting(
        0.0,
        "share of the training examples held out and measured beside the dev set: where that is of another kind, it "
        "tells what of the difference is overfitting",
        within="[0, 1)",
    )
    rules: int = setting(
        RULES, "version of the rules by which data are read, split and normalised", within="[1, 2]", hidden=True
    )

    def load(self) -> Splits:
        """The data set in its three parts, and the train-dev part where one is held out."""
        from dlcore.data.split import hold_out

        return hold_out(self._load(), self.train_dev, self.split_seed, rules=self.rules)

    def _load(self) -> Splits:
        from dlcore import data
        from dlcore.data._open_idx import is_fashion, open_idx
        from dlcore.data._open_path import TAKES, is_a_table, refuse_others
        from dlcore.data.builtin.registry import has_fashion
        from dlcore.data.readers.file import shown

        own = {name: getattr(self, name) or None for name in _OWN_DATA}
        path = os.path.expanduser(self.data)
        of_tables = ("target", "heads", "horizon", "time", "by", "calendar", *TAKES["table"])
        asked = any(getattr(self, name) not in (None, False) for name in of_tables)
        text = self.rules == 1 or self.window is not None or self.unknown is not None
        table = self.data not in data.names() and is_a_table(Path(path), asked, text)
        self._check_series(table)
        if self.heads is not None:
            if self.target is not None:
                raise ConfigError("target and heads came together; give one thing to predict, or several heads")
            if self.data != "penguins" and (not table or self.window is not None):
                came = f"{self.data!r:.60}" + (" as a series, for window is given" if table else "")
                raise ConfigError(f"heads is for a table and for penguins, but data is {came}; leave it out")
        if self.data == "hamlet":
            from dlcore.data.builtin.sequences import hamlet

            refuse_others({**own, "target": self.target}, (), "is hamlet")
            return hamlet(self.window, self.unknown)
        if self.data in data.names():
            self._refuse_sequence(f"is {self.data}")
            refuse_others(own, (), f"is {self.data}")
            return data.load(self.data, self.normalize, target=self.heads or self.target, seed=self.split_seed)
        if not os.path.exists(path):
            folder, file = os.path.split(path)
            suffix = os.path.splitext(file)[1]
            if folder or suffix:
                hint = did_you_mean(file, glob.glob("*", root_dir=folder or None))
                raise ConfigError(f"data: there is no {'file' if suffix else 'folder'} {shown(self.data)}{shown(hint)}")
            raise ConfigError(
                f"data is {self.data!r} but a folder, a .csv, a .tsv, an .npz or one of {', '.join(data.names())} is "
                f"expected{did_you_mean(self.data, data.names())}"
            )
        if path.lower().endswith(".txt") and not table and os.path.isfile(path):
            refuse_others({**own, "target": self.target}, (), f"is {shown(self.data)}, a text")
            return data.open_text(path, window=self.window, unknown=self.unknown)
        if self.window is not None and table:
            series = f"is {shown(self.data)} as a series, for window is given"
            refuse_others(own, ("ignore", "missing", "time"), series)
            self._refuse_sequence(f"is {shown(self.data)}", ("unknown",))
            return data.open_series(
                path,
                self.window,
                target=self.target,
                ignore=self.ignore,
                normalize=self.normalize,
                horizon=self.horizon or 1,
                time=self.time,
                by=self.by,
                missing=self.missing or "refuse",
                calendar=bool(self.calendar),
                rules=self.rules,
            )
        self._refuse_sequence(f"is {shown(self.data)}")
        if has_fashion(path):
            refuse_others(own, (), f"is {self.data}, Fashion-MNIST")
            if self.rules > 1 and not is_fashion(path):
                refuse_others({"target": self.target}, (), f"is {self.data}, IDX files")
                return open_idx(path, self.normalize, self.split_seed)
            return data.load("fashion", self.normalize, target=self.target, seed=self.split_seed, path=path)
        return data.open_path(
            path,
            target=self.heads or self.target,
            normalize=self.normalize,
            seed=self.split_seed,
            rules=self.rules,
            **{name: value for name, value in own.items() if value is not None},
        )

    def _check_series(self, table: bool) -> None:
        """Refuse what is for a series where the data are none."""
        series = table and self.window is not None
        for name in ("horizon", "time", "by", "calendar"):
            if getattr(self, name) is not None and not (series or (table and name == "time")):
                remedy = "give --window, the rows of the past that a prediction sees" if table else f"leave {name} out"
                raise ConfigError(f"{name} goes with a table as a series, but data is {self.data!r:.60}; {remedy}")
        if self.missing == "previous" and not series:
            raise ConfigError("missing is previous, which is for a series; take refuse, drop or mean, or give --window")

    def _refuse_sequence(self, reason: str, names: tuple[str, ...] = ("window", "unknown")) -> None:
        for name in names:
            if getattr(self, name) is not None:
                takers = "a text or a table" if name == "window" else "a text"
                raise ConfigError(f"{name} goes with {takers}, but data {reason}; leave {name} out")


_OWN_DATA = (
    "missing", "missing_target", "unknown_level", "categorical", "ignore", "task", "image_size", "color", "corrupt",
    "test", "group", "split", "time", "keep_equal_together",
)  # fmt: skip
"""The settings of one's own data."""
