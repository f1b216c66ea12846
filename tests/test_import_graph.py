"""Imports go one way: no module joins a circle of imports, of whatever kind."""

from __future__ import annotations

from pathlib import Path

from import_graph import circles, graph

KNOWN = {
    "dlcore._numpy_functions", "dlcore.tensor",
    *(f"dlcore.data.{name}" for name in (
        "_change", "_shown", "dataset", "normalize", "preprocess", "readers.images.folder",
    )),
    *(f"dlcore.nn.{name}" for name in ("_build", "_inputs", "_tree", "module")),
    *(f"dlcore.train.{name}" for name in (
        "assembly.finetune", "assembly.zoo", "callbacks.progress_lines", "config.classes", "config.config",
        "config.resolve", "config.sections", "config.toml", "engine.callback", "engine.callback_list",
        "engine.evaluate", "engine.loss_scaling", "engine.own_code", "engine.resuming", "engine.shown",
        "engine.signals", "engine.step", "engine.trainer", "engine.validate", "runs.before", "runs.run", "runs.shown",
    )),
}  # fmt: skip
"""The modules that are in a circle still; the list only gets shorter."""


def test_no_other_module_is_in_a_circle() -> None:
    assert {module for group in circles(graph()) for module in group} == KNOWN


def test_circles_of_every_kind_are_found(tmp_path: Path) -> None:
    files = {
        "dlcore/__init__.py": "",
        "dlcore/top.py": "from dlcore.low import thing\n",
        "dlcore/low.py": "def thing():\n    from dlcore import top\n",
        "dlcore/typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from dlcore.part import name\n",
        "dlcore/part/__init__.py": "from dlcore.part.home import name\n",
        "dlcore/part/home.py": "import dlcore.typed\nname = 1\n",
        "dlcore/lazy/__init__.py": "_HOME = {'later': 'far'}\ndef __getattr__(name):\n    ...\n",
        "dlcore/lazy/far.py": "import dlcore.user\nlater = 1\n",
        "dlcore/user.py": "from dlcore.lazy import later\n",
        "dlcore/alone.py": "from dlcore.top import thing\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert circles(graph(tmp_path)) == [
        ["dlcore.lazy.far", "dlcore.user"], ["dlcore.low", "dlcore.top"], ["dlcore.part.home", "dlcore.typed"],
    ]  # fmt: skip
