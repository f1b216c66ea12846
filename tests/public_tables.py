"""Thirty public tables that come with packages: the default model of ``dlcore train`` beside a linear one of
scikit-learn, on the same features and the same parts.

By hand, in seconds, for some of the tables, some seeds, the development set and settings other than the defaults::

    python tests/public_tables.py iris tips mpg --seeds 2 --part dev --set "hidden=(32,)" lam=0.3 penalty=l2

Each table becomes a CSV file and is read as ``dlcore train --data FILE --target T --ignore ... --missing mean`` reads
it. The linear model, logistic regression for classes and ridge with its penalty chosen by cross-validation for
numbers, gets the same columns before normalisation, and standardises them itself.
"""

from __future__ import annotations

import argparse
import ast
import csv
import functools
import importlib.util
import io
import json
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "PLAIN",
    "SEEDS",
    "TABLES",
    "Comparison",
    "Table",
    "compare",
    "folder_of",
    "lines",
    "missing_packages",
    "write_plain",
]

SEEDS = range(5)
PACKAGES = {"sklearn": "sklearn", "statsmodels": "statsmodels", "vega": "vega_datasets", "pydataset": "pydataset"}
"""By the word before a table's colon, the package to import."""


@dataclass(frozen=True)
class Table:
    """A table of a package, and how it is learnt from.

    source : the package's short name and the table's name in it
    target : the column to predict
    ignore : columns to leave out: names of the rows, and what is another form of the target
    categorical : columns of numbers that stand for categories
    task : "binary" or "classification" where numbers stand for classes; else "", the words or numbers tell it
    """

    source: str
    target: str
    ignore: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    task: str = ""

    def write(self, folder: Path) -> Path:
        """The table as a CSV file; rows that lack the target are left out."""
        package, _, name = self.source.partition(":")
        header, *rows = _READERS[package](name)
        place = header.index(self.target)
        file = folder / f"{name.replace('/', '-')}.csv"
        with file.open("w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([header, *(row for row in rows if row[place] not in ("", "NA", "nan", "None"))])
        return file


def _sklearn(name: str) -> Iterator[list[str]]:
    import sklearn.datasets

    data = getattr(sklearn.datasets, f"load_{name}")()
    yield [*data.feature_names, "target"]
    names = getattr(data, "target_names", None)
    for row, y in zip(data.data, data.target, strict=True):
        yield [*map(str, row.tolist()), str(y if names is None else names[y])]


def _statsmodels(name: str) -> Iterator[list[str]]:
    import importlib

    frame = importlib.import_module(f"statsmodels.datasets.{name}").load_pandas().data
    yield from csv.reader(io.StringIO(frame.to_csv(index=False)))


def _vega(file: str) -> Iterator[list[str]]:
    text = (folder_of("vega_datasets") / "_data" / file).read_text(encoding="utf-8")
    if file.endswith(".csv"):
        yield from csv.reader(io.StringIO(text))
        return
    records = json.loads(text)
    header = list(dict.fromkeys(key for record in records for key in record))
    yield header
    for record in records:
        yield ["" if record.get(key) is None else str(record[key]) for key in header]


def _pydataset(name: str) -> Iterator[list[str]]:
    """Without importing the package, which unpacks everything into the home folder."""
    with tarfile.open(folder_of("pydataset") / "resources.tar.gz") as archive:
        file = archive.extractfile(f"resources/rdata/csv/{name}.csv")
        assert file is not None
        for row in csv.reader(io.StringIO(file.read().decode("utf-8"))):
            yield row[1:]  # the first column holds the rows' names


def folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


_READERS: dict[str, Any] = {
    "sklearn": _sklearn, "statsmodels": _statsmodels, "vega": _vega, "pydataset": _pydataset,
}  # fmt: skip

TABLES = {
    "iris": Table("sklearn:iris", "target"),
    "wine": Table("sklearn:wine", "target"),
    "breast_cancer": Table("sklearn:breast_cancer", "target"),
    "diabetes": Table("sklearn:diabetes", "target"),
    "anes96": Table("statsmodels:anes96", "vote", task="binary"),
    "fair": Table("statsmodels:fair", "affairs"),
    "star98": Table("statsmodels:star98", "NABOVE", ignore=("NBELOW",)),
    "engel": Table("statsmodels:engel", "foodexp"),
    "modechoice": Table("statsmodels:modechoice", "choice", ("individual",), ("mode",), task="binary"),
    "cars": Table("vega:cars.json", "Miles_per_Gallon", ignore=("Name", "Year")),
    "weather": Table("vega:seattle-weather.csv", "weather", ignore=("date",)),
    "barley": Table("vega:barley.json", "yield"),
    "Boston": Table("pydataset:MASS/Boston", "medv"),
    "birthwt": Table("pydataset:MASS/birthwt", "low", ("bwt",), ("race",), task="binary"),
    "Pima.tr2": Table("pydataset:MASS/Pima.tr2", "type"),
    "fgl": Table("pydataset:MASS/fgl", "type"),
    "biopsy": Table("pydataset:MASS/biopsy", "class", ignore=("ID",)),
    "cpus": Table("pydataset:MASS/cpus", "perf", ignore=("name", "estperf")),
    "airquality": Table("pydataset:datasets/airquality", "Ozone"),
    "titanic": Table("pydataset:COUNT/titanic", "survived"),
    "tips": Table("pydataset:reshape2/tips", "tip"),
    "mpg": Table("pydataset:ggplot2/mpg", "hwy", ignore=("model",)),
    "Housing": Table("pydataset:Ecdat/Housing", "price"),
    "Computers": Table("pydataset:Ecdat/Computers", "price"),
    "Caschool": Table("pydataset:Ecdat/Caschool", "testscr", ("distcod", "county", "district", "readscr", "mathscr")),
    "Mroz": Table("pydataset:Ecdat/Mroz", "work", ignore=("hoursw", "hearnw", "wagew")),
    "Salaries": Table("pydataset:car/Salaries", "salary"),
    "SLID": Table("pydataset:car/SLID", "wages"),
    "Chile": Table("pydataset:car/Chile", "vote"),
    "bioChemists": Table("pydataset:pscl/bioChemists", "art"),
}
"""By a short name: 100 to 20,000 rows each, numbers and categories, cells missing in six."""


PLAIN = (
    "airports.csv", "anscombe.json", "barley.json", "burtin.json", "cars.json", "crimea.json", "driving.json",
    "iowa-electricity.csv", "iris.json", "la-riots.csv", "ohlc.json", "seattle-temps.csv", "seattle-weather.csv",
    "sf-temps.csv", "stocks.csv", "us-employment.csv", "wheat.json",
)  # fmt: skip
"""The tables in vega_datasets, of every kind: names, dates, series one below the other, a few rows."""


def write_plain(name: str, folder: Path) -> Path:
    """A table of :data:`PLAIN` as it is, as a CSV file."""
    file = (folder / name).with_suffix(".csv")
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows(_vega(name))
    return file


def missing_packages(names: Iterable[str] = TABLES) -> list[str]:
    """The packages of these tables that are not installed."""
    asked = {PACKAGES[TABLES[name].source.partition(":")[0]] for name in names} | {"sklearn"}
    return sorted(package for package in asked if importlib.util.find_spec(package) is None)


@dataclass(frozen=True)
class Comparison:
    """A table's result: the score, R² or accuracy, of both models by split seed."""

    name: str
    rows: int
    features: int
    score: str
    dlcore: list[float]
    linear: list[float]
    seconds: float

    @property
    def difference(self) -> float:
        """The median over the splits of dlcore's score, less that of the linear model."""
        return statistics.median(self.dlcore) - statistics.median(self.linear)

    def record(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {
            "rows": self.rows,
            "features": self.features,
            "score": self.score,
            "dlcore": [round(value, 4) for value in self.dlcore],
            "linear": [round(value, 4) for value in self.linear],
            "median": [round(statistics.median(self.dlcore), 4), round(statistics.median(self.linear), 4)],
            "difference": round(self.difference, 4),
        }


def compare(name: str, folder: Path, seeds: Iterable[int] = SEEDS, part: str = "test", **settings: Any) -> Comparison:
    """Train both models on the table for each seed of the split, and score them on a part.

    part : "test", or "dev" for whoever chooses settings by the result
    settings : others than the defaults, by their names in a configuration
    """
    from dlcore.train.config.config import Config

    table = TABLES[name]
    begin, ours, linear, shape, score = time.perf_counter(), [], [], (0, 0), ""
    given = {
        "data": str(table.write(folder)), "target": table.target, "ignore": table.ignore or None, "missing": "mean",
        "categorical": table.categorical or None, "task": table.task or None, "device": "cpu", "baseline": "none",
        "threads": 1, **settings,
    }  # fmt: skip
    for seed in seeds:
        config = Config.of(**given, split_seed=seed)
        data = config.data.load()
        score = "r2" if data.task == "regression" else "accuracy"
        config = config.resolve(data)
        trainer = config.trainer(data, "cpu")
        trainer.fit(data.train, data.dev, config.train.epochs or 1, config.train.batch_size or 1)
        ours.append(float(trainer.evaluate(getattr(data, part))[score]))
        plain = Config.of(**{**given, "normalize": False}, split_seed=seed).data.load()
        linear.append(_linear_score(plain.train, getattr(plain, part), score))
        shape = (sum(len(one) for one in (data.train, data.dev, data.test)), plain.train.shape[0])
    return Comparison(name, *shape, score, ours, linear, time.perf_counter() - begin)


def _linear_score(train: Any, test: Any, score: str) -> float:
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = LogisticRegression(max_iter=5000) if score == "accuracy" else RidgeCV(np.logspace(-3, 3, 13))
    pipeline = make_pipeline(StandardScaler(), model)
    pipeline.fit(np.asarray(train.x, np.float64), np.ravel(train.y))
    return float(pipeline.score(np.asarray(test.x, np.float64), np.ravel(test.y)))


def lines(found: Sequence[Comparison]) -> Iterator[str]:
    """The results as a table, the worst first, and the median difference."""
    yield f"{'table':14}{'rows':>6}{'features':>10}  {'score':9}{'dlcore':>8}{'linear':>8}{'diff':>8}{'s':>6}  by seed"
    for one in sorted(found, key=lambda one: one.difference):
        by_seed = " ".join(f"{a - b:+.3f}" for a, b in zip(one.dlcore, one.linear, strict=True))
        yield (
            f"{one.name:14}{one.rows:6}{one.features:10}  {one.score:9}{statistics.median(one.dlcore):8.3f}"
            f"{statistics.median(one.linear):8.3f}{one.difference:+8.3f}{one.seconds:6.1f}  {by_seed}"
        )
    below = sum(one.difference < -0.08 for one in found)
    yield f"median difference {statistics.median(one.difference for one in found):+.4f}; {below} more than .08 below"


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def _main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("names", nargs="*", default=list(TABLES), metavar="NAME", help=", ".join(TABLES))
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many splits")
    parser.add_argument("--part", choices=("test", "dev"), default="test")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings other than the defaults")
    given = parser.parse_args(words)
    settings = {name: _value(text) for name, _, text in (one.partition("=") for one in given.set)}
    with tempfile.TemporaryDirectory() as folder:
        run = functools.partial(compare, folder=Path(folder), seeds=range(given.seeds), part=given.part, **settings)
        found = []
        for name in given.names:
            found.append(run(name))
            print(name, file=sys.stderr, flush=True)
    print("\n".join(lines(found)))


if __name__ == "__main__":
    _main()
