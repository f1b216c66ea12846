"""All tables of the package ``pydataset`` with default settings: each trains for an epoch, or is refused in one line.

``pytest -m full -n 0 tests/test_public_tables_bulk.py`` runs it and writes ``benchmarks/figures/bulk.json``. The
package is a download for this test alone, among the optional dependencies ``tables``.
"""

from __future__ import annotations

import collections
import math
import re
import tarfile
import warnings
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from public_tables import folder_of, missing_packages

from dlcore.cli import main
from dlcore.errors import DlcoreError
from dlcore.train.config.config import Config

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif("pydataset" in missing_packages(), reason="not installed: pydataset"),
]

REASONS = {
    "missing cells": "cell is missing",
    "missing targets": "the target,? is missing",
    "numbers with more around them": "has the pattern",
    "text among numbers": "is not a number, as",
    "a level for every second row, or more": "is text with|too few of each to learn from",
    "too many levels": "more than 1,000",
    "one column": "add a column to learn from",
    "no header": "holds only numbers",
    "too few rows": "too few|no row below the header",
    "one class": "classes are expected",
    "nothing but dates": "there are only dates",
}
"""What a refusal says, by reason."""
COMMANDS = 60  # of so many tables one is given to the command as well, which takes seconds


def _tables() -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of each, without importing the package, which unpacks itself into the home folder."""
    with tarfile.open(folder_of("pydataset") / "resources.tar.gz") as archive:
        for member in archive:
            path = Path(member.name)
            if path.suffix == ".csv" and path.parent.parent.name == "csv" and not path.name.startswith("."):
                file = archive.extractfile(member)
                assert file is not None
                yield f"{path.parent.name}/{path.stem}", file.read()


def _outcome(path: Path) -> tuple[str, str]:
    """How a table ends, and the refusal's message."""
    config = Config.of(data=str(path), epochs=1, baseline="none", device="cpu")
    try:
        data = config.data.load()
        chosen = config.resolve(data)
        trainer = chosen.trainer(data, "cpu")
        trainer.fit(data.train, data.dev, chosen.train.epochs or 0, chosen.train.batch_size or 0)
        assert all(math.isfinite(loss) for loss in trainer.history["loss"]), path
    except DlcoreError as error:
        message = str(error)
        assert message.startswith(str(path)), message
        assert len(message) < 500 + len(str(path)), message
        assert len(message.splitlines()) == 1, message
        reasons = [reason for reason, words in REASONS.items() if re.search(words, message)]
        assert reasons, message
        return reasons[0], message
    return f"trained, {data.task}", ""


def test_every_table_trains_or_is_refused_in_one_line(
    figures: MutableMapping[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    outcomes: dict[str, str] = {}
    warned: list[str] = []
    for place, (name, content) in enumerate(_tables()):
        path = tmp_path / f"{name.replace('/', '-')}.csv"
        path.write_bytes(content)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            outcomes[name], message = _outcome(path)
        warned += [f"{name}: {one.message}" for one in caught]
        if place % COMMANDS == 0:
            words = ["train", "--data", str(path), "--epochs", "1", "--baseline", "none", "--device", "cpu"]
            code, told = main([*words, "--name", str(place)]), capsys.readouterr().err
            assert (code, told) == ((1 if message else 0), f"dlcore: error: {message}\n" if message else ""), name
        path.unlink()
    counts = collections.Counter(outcomes.values())
    print("\n".join(f"{count:5} {outcome}" for outcome, count in counts.most_common()))
    figures["bulk"] = {"tables": len(outcomes), "outcomes": dict(counts.most_common()), "warnings": len(warned)}
    assert len(outcomes) == 757
    assert not warned
