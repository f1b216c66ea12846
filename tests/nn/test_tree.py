"""Models as text and as HTML: the tree of layers, the summary, slices, and help()."""

from __future__ import annotations

import pydoc
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import dlcore as dl
from dlcore import nn
from dlcore._core.configurable import one_line


class Net(nn.Module):
    def __init__(self, width: int = 4) -> None:
        self.blocks = [nn.Dense(width), nn.ReLU()]
        self.heads = {"a": nn.Dense(2)}
        self.scale = nn.Parameter(np.ones(3, np.float32))

    def forward(self, x: Any) -> Any:
        for layer in [*self.blocks, *self.heads.values()]:
            x = layer(x)
        return x


def test_a_model_shows_its_layers_by_the_names_of_their_fields() -> None:
    assert repr(Net()).splitlines() == [
        "Net(", "  blocks.0: Dense(units=4)", "  blocks.1: ReLU()", "  heads.a: Dense(units=2)", ")",
    ]  # fmt: skip
    assert "  width=8" in repr(Net(8)).splitlines()


def test_a_built_model_shows_shapes_and_parameters() -> None:
    lines = repr(nn.Sequential(nn.Dense(4), nn.Residual(nn.ReLU())).build((3,))).splitlines()
    assert lines[1] == "  0: Dense(units=4)  # (N, 4), 16 parameters"
    assert lines[2:] == ["  1: Residual(", "    inner: ReLU()  # (N, 4)", "  )", ")  # 16 parameters"]


def test_a_layer_alone_is_one_line_built_or_not() -> None:
    assert repr(nn.Dense(3)) == repr(nn.Dense(3).build((2,))) == "Dense(units=3)"


def test_a_shared_layer_is_shown_once() -> None:
    shared = nn.Dense(2)
    assert repr(nn.Sequential(shared, shared)).count("Dense") == 1


def test_a_deep_model_is_cut_short() -> None:
    text = repr(nn.Sequential(*[nn.ReLU() for _ in range(5000)]))
    assert len(text.splitlines()) < 320
    assert "more layers" in text


def test_one_line_shows_a_model_as_it_was_constructed() -> None:
    model = nn.Sequential(nn.Residual(nn.Dense(2)), nn.Heads({"a": nn.ReLU()}))
    assert one_line(model) == "Sequential(layers=(Residual(inner=Dense(units=2)), Heads(heads={'a': ReLU()})))"
    assert one_line(nn.Sequential(nn.ReLU())) == "Sequential(layers=(ReLU(),))"


def test_what_a_model_is_in_one_line_does_not_depend_on_whether_it_is_built() -> None:
    assert one_line(nn.Sequential(nn.Dense(2))) == one_line(nn.Sequential(nn.Dense(2)).build((3,)))


def test_the_summary_of_an_unbuilt_model_claims_no_parameters() -> None:
    text = nn.Sequential(nn.Dense(2), nn.ReLU()).summary()
    assert "total" not in text
    assert "not built" in text
    assert re.search(r"Dense +\? +\?", text)


def test_the_summary_shows_own_parameters_of_a_model_with_layers() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            self.part = nn.Sequential(nn.Dense(2))

        def setup(self, x: Any) -> None:
            self.factor = self.parameter("factor", (2,), "zeros")

        def forward(self, x: Any) -> Any:
            return self.part(x) * self.factor

    text = nn.Sequential(Scaled()).build((3,)).summary()
    assert re.search(r"^0 +Scaled +\(N, 2\) +2$", text, re.M)
    assert text.endswith("total: 10 parameters")


# --- HTML


class Checked(HTMLParser):
    """Every element is closed in its order; nothing is loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "style", "iframe")
        assert not {"src", "href", "onclick"} & {name for name, _ in attrs}
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def words(shown: Any) -> list[str]:
    return Checked(shown._repr_html_()).words


def test_a_notebook_shows_layers_shapes_and_parameters() -> None:
    found = words(nn.Sequential(nn.Conv2D(2, 3), nn.Flatten(), nn.Dense(3)).build((5, 5, 1)))
    for word in ("Conv2D(filters=2, kernel_size=3)", "(N, 3, 3, 2)", "20", "57", "77 parameters, cpu, float32"):
        assert any(word in text for text in found), word
    assert any("not built" in text for text in words(nn.Dense(3)))


def test_names_are_escaped_in_a_notebook() -> None:
    bad = "<script>alert(1)</script>"
    record = {"epoch": 0, "loss": 1.0, bad: 2.0}
    history = dl.train.History()
    history.append(record)
    x = np.zeros((2, 3))
    for shown in (
        nn.Heads({bad: nn.Dense(1)}),
        dl.data.Dataset(x, {bad: np.arange(2)}),
        history,
        dl.Trainer(nn.Heads({bad: nn.Dense(1)}), {bad: "mse"}, device="cpu"),
    ):
        assert bad not in shown._repr_html_()
        assert any(bad in text or bad.replace("_", " ") in text for text in words(shown))
    assert "\x1b" not in nn.Heads({"\x1b[31m": nn.Dense(1)})._repr_html_()


@pytest.mark.parametrize("epochs", [0, 1, 2, 3000])
def test_a_history_draws_its_loss_and_first_metric(epochs: int) -> None:
    history = dl.train.History()
    for epoch in range(epochs):
        figures = {"loss": 0.1**epoch if epoch < 90 else 0.0, "dev_loss": 1.0, "accuracy": 0.5, "f1": None}
        history.append({"epoch": epoch, **figures, "lr": 0.1, "seconds": 1.0})
    history.best_epoch = epochs - 1 if epochs > 1 else None
    text = history._repr_html_()
    Checked(text)
    assert text.count("<svg") == 2 * bool(epochs)
    assert text.count("<path") == 3 * bool(epochs)
    assert len(text) < 60_000
    assert "nan" not in text
    assert ("dasharray" in text) == (epochs > 1)
    assert f"{epochs:,}" in text or not epochs


def test_gaps_in_a_curve_stay_gaps() -> None:
    history = dl.train.History()
    for epoch, loss in enumerate([1.0, float("nan"), 0.5, float("inf"), 0.2, 0.1]):
        history.append({"epoch": epoch, "loss": loss})
    (path,) = re.findall(r'<path d="([^"]*)"', history._repr_html_())
    assert path.count("M") == 3
    assert history._repr_html_().count("<circle") == 2


def test_a_history_tells_the_figures_of_its_last_epoch() -> None:
    history = dl.train.History()
    assert "no epochs" in repr(history)
    history.append({"epoch": 0, "loss": 0.25, "dev_loss": 0.5, "seconds": 3.0})
    assert "1 epoch;" in repr(history)
    assert "dev_loss 0.5000" in repr(history)
    assert "seconds" not in repr(history)


def test_a_trainer_shows_what_it_trains_with() -> None:
    data = dl.data.Dataset(np.eye(3, dtype=np.float32), np.arange(3))
    trainer = dl.Trainer(
        nn.Sequential(nn.Dense(3)), metrics=["accuracy"], optimizer=dl.optim.SGD(0.3), device="cpu", seed=4,
        penalty=dl.optim.L2(0.1), class_weight="balanced", callbacks=[dl.train.EarlyStopping(2, "loss")],
    )  # fmt: skip
    before = repr(trainer)
    for word in (
        "Dense(units=3)",
        "SGD(lr=0.3)",
        "cross_entropy",
        "accuracy",
        "L2(lam=0.1)",
        "seed: 4",
        "EarlyStopping",
    ):
        assert word in before
    assert "schedule" not in before
    assert "object at" not in before
    trainer.fit(data, epochs=2)
    assert "2 epochs, 2 steps" in repr(trainer)
    found = words(trainer)
    assert "balanced" in found
    assert "12 parameters, cpu, float32" in " ".join(found)
    own = dl.Trainer(nn.Dense(1), lambda a, y: dl.losses.mse(a, y), device="cpu")
    assert "<lambda>" in repr(own)


def test_data_show_their_parts() -> None:
    data = dl.data.load("penguins")
    text = repr(data)
    assert [line.split(":")[0].strip() for line in text.splitlines()[1:-1]] == [
        "name", "task", "classes", "train", "dev", "test",
    ]  # fmt: skip
    assert "Adelie" in text
    found = words(data)
    assert {"train", "205", "CC0 1.0"} <= set(found)
    shown = words(data.train)
    assert any("some missing" in text for text in shown)
    assert any("-1 to" in text or "0 to 2" in text for text in shown)
    assert Checked(dl.data.load("hamlet")._repr_html_())


def test_arrays_of_every_dtype_have_a_range() -> None:
    y = {"b": np.array([True, False]), "u": np.array([3, 200_000], np.uint32), "n": np.full((2, 1), np.nan)}
    found = words(dl.data.Dataset(np.ones((2, 1), np.float16), y))
    assert {"False to True", "3 to 200000", "all missing", "1 to 1"} <= set(found)


# --- slices


def test_a_slice_of_a_sequential_is_one_that_shares_its_layers() -> None:
    model = nn.Sequential(nn.Dense(4), nn.ReLU(), nn.Dense(2)).build((3,)).eval()
    vector = model.vector
    x = np.ones((2, 3), np.float32)
    first, last = model[:2], model[-1:]
    assert isinstance(first, nn.Sequential)
    assert (len(first), len(model[::2])) == (2, 2)
    np.testing.assert_array_equal(last(first(x)).numpy(), model(x).numpy())
    assert model.vector is vector
    model.check_vector()
    assert not first.training
    assert first.count() == 16
    unbuilt = nn.Sequential(nn.Dense(4), nn.ReLU())[:1]
    assert unbuilt(x).shape == (2, 4)


# --- help


@pytest.mark.parametrize("thing", ["nn.Module", "nn.Sequential", "nn.LSTM", "Trainer", "Tensor", "data.Dataset"])
def test_help_lists_public_names_alone(thing: str) -> None:
    found: Any = dl
    for name in thing.split("."):
        found = getattr(found, name)
    text = pydoc.render_doc(found, renderer=pydoc.plaintext)
    assert re.findall(r"^ \|  (_[a-z]\w*)\b", text, re.M) == []


@pytest.mark.parametrize("name", ["data", "nn", "functional", "optim", "losses", "metrics", "train", "report", "tune"])
def test_dir_of_a_module_lists_what_it_offers(name: str) -> None:
    module = getattr(dl, name)
    assert dir(module) == sorted(module.__all__)
