"""A run as text and in a notebook: how far it has come and how good it is, whatever state its folder is in."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import dlcore as dl
from dlcore import nn
from dlcore.train.checkpoint.model_json import save_model
from dlcore.train.config import config
from dlcore.train.runs.creation import write_settings
from dlcore.train.runs.run import Run


class Page(HTMLParser):
    """Fails where tags do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("line", "circle", "path") or not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def words(text: str) -> str:
    Page(text)
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", text)).split())


def made(folder: Path, *, epochs: int = 3, done: int = 3, finished: bool = True, **settings: Any) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    write_settings(folder, config.Config.of(**{"data": "digits", "model": "mlp", "epochs": epochs, **settings}))
    lines = [
        json.dumps({"epoch": i, "loss": 1 / (i + 1), "dev_loss": 2.0, "dev_accuracy": 0.5 + i / 10}) + "\n"
        for i in range(done)
    ]
    (folder / "metrics.jsonl").write_text("".join(lines))
    if finished:
        test = {"mlp": {"loss": 0.25, "accuracy": 0.9375}, "logistic baseline": {"accuracy": 0.5}}
        (folder / "result.json").write_text(json.dumps({"test": test, "epochs": epochs, "best_epoch": 1}))
    return Run(folder)


def test_a_finished_run_tells_its_test_figures(tmp_path: Path) -> None:
    run = made(tmp_path / "r")
    expected = "finished: mlp on digits, 3 epochs; test loss 0.2500, accuracy 0.9375)"
    assert repr(run) == f"Run({str(tmp_path / 'r')!r}, {expected}"
    assert repr(dl.open_run(tmp_path / "r", device="cpu")) == f"TrainedRun({str(tmp_path / 'r')!r}, {expected}"


def test_a_run_on_the_way_tells_how_far_it_is(tmp_path: Path) -> None:
    run = made(tmp_path / "r", done=2, finished=False)
    assert "interrupted: mlp on digits, 2 of 3 epochs; development loss 2.0000, accuracy 0.6000" in repr(run)
    assert repr(made(tmp_path / "s", done=0, finished=False)).endswith("interrupted: mlp on digits)")


def test_a_notebook_shows_settings_figures_and_curves(tmp_path: Path) -> None:
    run = made(tmp_path / "r")
    (tmp_path / "r" / "report.html").write_text("")
    for shown in (run._repr_html_(), dl.open_run(tmp_path / "r", device="cpu")._repr_html_()):
        said = words(shown)
        for part in ("status finished", "model mlp on digits", "report.html", "mlp 0.2500 0.9375", "baseline 0.5000"):
            assert part in said
        assert shown.count("<svg") == 1
        assert "best: epoch 2" in said


def test_nearest_neighbours_have_no_epochs(tmp_path: Path) -> None:
    run = made(tmp_path / "r", done=1, model="knn", epochs=None, finished=False)
    (tmp_path / "r" / "result.json").write_text(json.dumps({"test": {"knn": {"accuracy": 0.75}}, "epochs": 0}))
    assert repr(run).endswith("finished: knn on digits; test accuracy 0.7500)")
    assert "<svg" not in run._repr_html_()


def test_a_model_that_was_saved_by_hand_is_one(tmp_path: Path) -> None:
    model = nn.Dense(2).build((3,))
    save_model(tmp_path / "model.json", model)
    dl.save_weights(model, tmp_path / "model.safetensors")
    assert repr(Run(tmp_path)).endswith("a saved model)")
    assert "a saved model" in words(Run(tmp_path)._repr_html_())


DAMAGES = {"config.toml": "data = [", "metrics.jsonl": '{"epoch": [}\n{"x"', "result.json": '{"test": 3}'}


@pytest.mark.parametrize("name", [*DAMAGES, "all of them"])
def test_what_cannot_be_read_is_left_out(name: str, tmp_path: Path) -> None:
    run = made(tmp_path / "r")
    for file, text in DAMAGES.items():
        if name in (file, "all of them"):
            (tmp_path / "r" / file).write_text(text)
    run = Run(tmp_path / "r")
    assert repr(run).startswith("Run(")
    words(run._repr_html_())
    assert repr(Run(tmp_path / "nowhere")).startswith("Run(")


def test_names_are_escaped(tmp_path: Path) -> None:
    run = made(tmp_path / "a<script>\x1b[2J", data="b<img>\u202e.csv", target="y")
    assert "\x1b" not in repr(run)
    assert "\u202e" not in repr(run)
    shown = run._repr_html_()
    assert not {"<script>", "<img>", "\x1b", "\u202e"} & set(re.findall(r"<\w+>|[\x1b\u202e]", shown))
    assert "b<img>\\u202e.csv" in words(shown)
