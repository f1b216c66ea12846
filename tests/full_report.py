"""Figures measured by the full tier, written down with the commit and the machine that they belong to.

A test of the full tier reports what it measured through the session fixture ``figures``::

    def test_cnn_reaches_its_accuracy(figures):
        ...
        figures["foundation"] = {"cnn": {"test accuracy": accuracy, "epochs": 8}}

The key is the topic, the value a dict; a second dict for a topic is merged into the first, and a figure that is already
there with another value is refused. When a session that ran tests of the full tier ends without a failure, each topic
becomes ``benchmarks/figures/TOPIC.json``::

    {"commit": "3f2a...", "date": "2026-11-23T10:00:00+00:00", "machine": {...}, "processes": 2, "figures": {...}}

``commit`` ends in ``+changes`` where tracked or new files differ from it, and is ``unknown`` outside a repository; it
is read at the session's start. Workers of pytest-xdist send their figures to the controller, which merges and writes
them. ``processes`` counts the workers, because they disturb each other's timings: measure those with ``-n 0``.

``tests/conftest.py`` loads this module by ``pytest_plugins = ["full_report"]``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from benchmarks.provenance import FOLDER, commit_of, machine

__all__ = ["Figures"]


class Figures:
    """What the tests measured: a topic's name maps to a dict of JSON values.

    >>> figures = Figures()
    >>> figures["foundation"] = {"mlp": {"accuracy": 0.835}}
    >>> figures["foundation"] = {"mlp": {"epochs": 8}}
    >>> figures.topics
    {'foundation': {'mlp': {'accuracy': 0.835, 'epochs': 8}}}
    """

    def __init__(self) -> None:
        self.topics: dict[str, dict[str, Any]] = {}

    def __setitem__(self, topic: str, values: Mapping[str, Any]) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", topic):
            raise ValueError(f"figures[{topic!r}]: a topic names a file; use lower-case letters, digits, - and _")
        if not isinstance(values, Mapping):
            raise TypeError(f"figures[{topic!r}] takes a dict of figures, not {type(values).__name__}")
        try:
            plain = json.loads(json.dumps(values, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"figures[{topic!r}]: {error}; pass finite Python numbers, by float(x) or int(x)"
            ) from error
        _merge(self.topics.setdefault(topic, {}), plain, topic)


def _merge(into: dict[str, Any], values: dict[str, Any], path: str) -> None:
    for name, value in values.items():
        known = into.setdefault(name, value)
        if isinstance(known, dict) and isinstance(value, dict):
            _merge(known, value, f"{path}.{name}")
        elif known != value:
            raise ValueError(f"figure {path}.{name} was {known!r} and is now {value!r}; give each its own name")


class _Report:
    """The plugin: one in a plain session, else one in the controller and one in each worker of pytest-xdist."""

    def __init__(self, config: pytest.Config) -> None:
        self.figures = Figures()
        self.root = config.rootpath
        self.is_worker = hasattr(config, "workerinput")
        self.commit = "" if self.is_worker else commit_of(config.rootpath)
        self.processes = config.getoption("numprocesses", default=None) or 1
        self.conflicts: list[str] = []
        self.lines: list[str] = []

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        # The controller of pytest-xdist runs no test: it has what its workers sent, which is of the full tier already.
        is_controller = session.config.pluginmanager.hasplugin("dsession")
        if not is_controller and not any(item.get_closest_marker("full") for item in session.items):
            return
        if self.is_worker:
            session.config.workeroutput["figures"] = self.figures.topics  # type: ignore[attr-defined]
        elif self.figures.topics:
            self._finish(session, exitstatus)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A worker has ended; a crashed one sends nothing, and its test fails the session."""
        for topic, values in getattr(node, "workeroutput", {}).get("figures", {}).items():
            try:
                self.figures[topic] = values
            except ValueError as conflict:
                self.conflicts.append(str(conflict))

    def _finish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.conflicts:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if exitstatus != pytest.ExitCode.OK or self.conflicts:
            self.lines = [*self.conflicts, "figures not written: the session failed"]
            return
        folder = self.root / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        head = {
            "commit": self.commit,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "processes": self.processes,
        }
        for topic, values in self.figures.topics.items():
            text = json.dumps({**head, "figures": values}, indent=2, ensure_ascii=False)
            (folder / f"{topic}.json").write_text(f"{text}\n", encoding="utf-8")
            self.lines.append(f"figures: {FOLDER}/{topic}.json")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for line in self.lines:
            terminalreporter.write_line(line)


_REPORT = pytest.StashKey[_Report]()


def pytest_configure(config: pytest.Config) -> None:
    report = config.stash[_REPORT] = _Report(config)
    config.pluginmanager.register(report, "full-report")


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """Where tests of the full tier put what they measured: ``figures["topic"] = {"name": value}``."""
    return pytestconfig.stash[_REPORT].figures
