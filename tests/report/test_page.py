"""The page: what it shows, that a user's words stay words, and how large it is."""

from __future__ import annotations

import base64
import io
import math
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dlcore as dl
from dlcore.report import Examination, Mistake, Report, write
from dlcore.report.html import page
from dlcore.report.mistakes import png

EVIL = "<script>alert(1)</script> & \"quotes' <b>"
VOID = {"meta", "link", "img", "br", "path", "use", "rect", "circle"}


class Reader(HTMLParser):
    """Reads a page: its elements, its text, and whether every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style" and data.strip():
            self.text.append(data.strip())

    def tags(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def rows_of(text: str, caption: str) -> list[list[str]]:
    """The cells of the table with this caption, as text."""
    found = next(t for t in re.findall(r"<table.*?</table>", text, re.DOTALL) if f"<caption>{caption}" in t)
    rows = re.findall(r"<tr.*?</tr>", found, re.DOTALL)
    return [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def full(**more: Any) -> Report:
    """A report with something in every section."""
    mistakes = [Mistake(7, 0, 1, 0.875, picture(8, 8, 1)), Mistake(3, 1, 0, 0.5, picture(8, 8, 1))]
    given: dict[str, Any] = {
        "title": "digits-cnn-001",
        "lines": ["device: cpu (no CUDA driver)", "data: Digits\n      1,078 training", "model: cnn; 5 parameters"],
        "settings": '[data]\ndata = "digits"\n',
        "environment": {"python": "3.13.1", "numpy": "2.3"},
        "summary": "layer  type\n0      Dense",
        "history": [{"epoch": i, "loss": 1 / (i + 1), "dev_loss": 0.5, "accuracy": 0.5, "lr": 0.001} for i in range(3)],
        "results": {"cnn": {"loss": 0.1, "accuracy": 0.96}, "mlp baseline": {"loss": 0.2, "accuracy": 0.91}},
        "examination": Examination(10, np.array([[4, 1], [2, 3]]), tuple(mistakes)),
        "classes": ("zero", "one"),
        "timing": {"training": 200.0, "one epoch": 0.25, "examples/s": 12345.6},
    }
    return Report(**given | more)


def test_a_page_has_every_section_in_order() -> None:
    text = page(full())
    assert re.findall(r"<h1>(.*?)</h1>", text) == ["digits-cnn-001"]
    assert re.findall(r"<h2>(.*?)</h2>", text) == [
        "Test", "Curves", "Confusion matrix", "Worst mistakes", "What ran", "Epochs", "Time", "Layers",
        "Settings", "Environment",
    ]  # fmt: skip
    assert "".join(re.findall(r"<title>(.*?)</title>", text)) == "digits-cnn-001 – dlcore"


def test_a_page_is_well_formed_and_every_table_has_a_caption_and_every_picture_a_text() -> None:
    read = Reader(page(full()))
    assert len(read.tags("table")) == len(read.tags("caption")) > 3
    assert [image["alt"] for image in read.tags("img")] == [
        "Example 7: zero, taken for one", "Example 3: one, taken for zero",
    ]  # fmt: skip
    assert all(drawing["aria-label"] and drawing["role"] == "img" for drawing in read.tags("svg"))
    assert {cell["scope"] for cell in read.tags("th")} == {"row", "col"}


def test_what_there_is_nothing_to_say_of_is_left_out(tmp_path: Path) -> None:
    text = write(tmp_path, Report(title="empty")).read_text(encoding="utf-8")
    assert "<h2>" not in text
    assert "<table" not in text
    Reader(text)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    "name",
    ["lines", "settings", "environment", "summary", "history", "results", "examination", "classes", "timing"],
)
def test_every_section_can_be_missing(name: str) -> None:
    empty = getattr(Report(title=""), name)
    Reader(page(full(**{name: empty})))


def test_the_files_are_written_and_take_the_place_of_earlier_ones(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "first"
    write(folder, full(title="earlier"))
    path = write(str(folder), full())
    assert path == folder / "report.html"
    assert sorted(file.name for file in folder.iterdir()) == ["curves.png", "report.html"]
    assert path.read_text(encoding="utf-8") == page(full())
    with Image.open(folder / "curves.png") as image:
        assert image.format == "PNG"


def test_an_iterator_as_history_serves_the_picture_and_the_page(tmp_path: Path) -> None:
    history = list(full().history)
    text = write(tmp_path, full(history=iter(history))).read_text(encoding="utf-8")
    assert text == page(full())
    assert (tmp_path / "curves.png").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a file is no folder there either, with another message")
def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(dl.CheckpointError, match="cannot be written"):
        write(tmp_path / "file", full())


# --- safe


@pytest.mark.parametrize(
    "more",
    [
        {"title": EVIL},
        {"lines": [f"device: {EVIL}", EVIL]},
        {"settings": EVIL},
        {"environment": {EVIL: EVIL}},
        {"summary": EVIL},
        {"history": [{"epoch": 0, "loss": 1.0, EVIL: 0.5}]},
        {"results": {EVIL: {EVIL: 1.0}, "mlp": {EVIL: 0.5}}},
        {"classes": (EVIL, EVIL)},
        {"classes": (EVIL, EVIL), "examination": Examination(9, np.array([[1, 1], [1, 1]]), (Mistake(0, 0, 1, 0.5),))},
        {"classes": (EVIL,) * 51, "examination": Examination(9, np.ones((51, 51), int), ())},
        {"timing": {EVIL: 1.0}},
    ],
    ids=lambda more: ", ".join(more),
)
def test_words_of_a_user_are_shown_as_they_are(more: dict[str, Any]) -> None:
    text = page(full(**more))
    read = Reader(text)
    assert not read.tags("script")
    assert "<b>" not in re.sub(r"<b>(?=[^<]*</b>)", "", text)
    assert any("<script>alert(1)</script> &" in part for part in read.text)
    assert not any(name.startswith("on") for _, attributes in read.elements for name in attributes)


def test_the_page_loads_nothing_and_may_not() -> None:
    text = page(full(settings="url = 'https://example.org/x.png'"))
    read = Reader(text)
    (policy,) = (m["content"] for m in read.tags("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert {"default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"} <= set(policy.split("; "))
    for _, attributes in read.elements:
        for name in {"src", "href", "xlink:href", "data", "srcset", "action"} & set(attributes):
            assert (attributes[name] or "").startswith(("data:", "#"))
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(
        r"(?:https?:)?//", re.sub(r'xmlns(:\w+)?="[^"]*"', "", text.replace("https://example.org", ""))
    )


def test_a_usual_page_is_small() -> None:
    n = 10
    mistakes = [Mistake(i, 0, 1, 0.9, picture(28, 28, 1)) for i in range(12)]
    found = Examination(1000, np.full((n, n), 10), tuple(mistakes))
    history = [{**record, "epoch": i} for i, record in enumerate([*full().history] * 10)]
    assert len(page(full(examination=found, classes=tuple("abcdefghij"), history=history)).encode()) < 300_000


def test_large_pictures_and_many_classes_stay_under_a_megabyte() -> None:
    mistakes = [Mistake(i, 0, 1, 0.9, picture(512, 384, 3)) for i in range(12)]
    found = Examination(10**6, np.full((50, 50), 400), tuple(mistakes))
    names = tuple(f"a class of a long name {i}" for i in range(50))
    history = [{"epoch": i, "loss": 1.0, "dev_loss": 0.5, "accuracy": 0.5} for i in range(1000)]
    assert len(page(full(examination=found, classes=names, history=history)).encode()) < 1_000_000


# --- figures


def test_the_results_have_the_loss_last_and_the_own_model_first() -> None:
    assert rows_of(page(full()), "On the test set") == [
        ["Model", "Accuracy", "Loss"], ["cnn", "0.9600", "0.1000"], ["mlp baseline", "0.9100", "0.2000"],
    ]  # fmt: skip


def test_the_first_figures_are_the_metric_the_epochs_and_the_time() -> None:
    head = page(full()).split("<header>")[1].split("</header>")[0]
    assert Reader(head).text == [
        "Training run", "digits-cnn-001", "Accuracy on the test set", "0.9600", "mlp baseline: 0.9100", "Epochs", "3",
        "best epoch 1", "Training", "3 min 20 s",
    ]  # fmt: skip


def test_the_epochs_are_a_table_from_1_with_the_best_one_marked() -> None:
    text = page(full(best_epoch=1))
    rows = rows_of(text, "Every epoch")
    assert rows[0] == ["Epoch", "Loss", "Dev loss", "Accuracy", "Learning rate"]
    assert rows[2] == ["2", "0.5000", "0.5000", "0.5000", "0.001"]
    assert re.findall(r'<tr class=marked><th scope="row">(\d+)', text) == ["2"]
    assert "<details" not in text


def test_a_long_table_of_epochs_is_folded() -> None:
    text = page(full(history=[{"epoch": i, "loss": 1.0} for i in range(1000)]))
    assert "<summary>All 1,000 epochs</summary>" in text
    assert rows_of(text, "Every epoch")[-1][0] == "1,000"


def test_figures_that_are_missing_or_not_finite_are_shown_as_such() -> None:
    history = [{"epoch": 0, "loss": math.nan, "dev_loss": None, "a": math.inf, "b": -math.inf, "c": -0.5, "d": 1e-9}]
    assert rows_of(page(full(history=history)), "Every epoch")[1] == ["1", "–", "–", "∞", "−∞", "−0.5000", "1e−09"]


def test_early_stopping_and_a_penalty_are_said_below_the_curves() -> None:
    history = [{"epoch": i, "loss": 1.0, "penalty": 0.1, "dev_loss": 0.5} for i in range(9)]
    caption = re.findall(r"<figcaption>(.*?)</figcaption>", page(full(history=history, best_epoch=3, stopped_epoch=8)))
    assert caption == [
        "Early stopping kept the weights of epoch 4. Training stopped after epoch 9, without further improvement. "
        "The training loss contains the penalty; the development loss does not."
    ]
    assert re.findall(r"<figcaption>(.*?)</figcaption>", page(full())) == [
        "The development loss was smallest in epoch 1."
    ]


def test_durations_have_their_natural_unit() -> None:
    timing = {"training": 3723.0, "epoch": 59.94, "short": 0.25, "examples/s": 12345.6, "none": math.nan, "edge": 59.96}
    assert rows_of(page(full(timing=timing)), "By the wall clock")[1:] == [
        ["Training", "1 h 2 min"], ["Epoch", "59.9 s"], ["Short", "250 ms"], ["Examples/s", "12,346"], ["None", "–"],
        ["Edge", "1 min 0 s"],
    ]  # fmt: skip


# --- mistakes


def test_the_matrix_is_a_table_with_shares_and_shades() -> None:
    text = page(full())
    assert rows_of(text, "Rows")[1:] == [["zero", "4", "1", "80%"], ["one", "2", "3", "60%"]]
    shades = re.findall(r'<td class="(hit|miss)[^"]*" style="--shade:([\d.]+)">(\d+)', text)
    assert [(kind, int(count)) for kind, _, count in shades] == [("hit", 4), ("miss", 1), ("miss", 2), ("hit", 3)]
    assert [float(shade) for _, shade, _ in shades] == pytest.approx(
        [0.8**0.5, 0.2**0.5, 0.4**0.5, 0.6**0.5], abs=0.006
    )
    assert "7 of 10 examples of the development set are right, 70%." in text


def test_the_most_frequent_confusion_is_said() -> None:
    found = Examination(11, np.array([[3, 0, 1], [0, 2, 3], [0, 2, 0]]))
    text = page(full(examination=found, classes=("a", "b", "c")))
    assert "Most often, <b>b</b> is taken for <b>c</b>: 3 times, 60% of that class." in text
    assert "Most often" not in page(full(examination=Examination(3, np.eye(3, dtype=int))))


def test_a_class_without_examples_has_no_share() -> None:
    text = page(full(examination=Examination(2, np.array([[2, 0], [0, 0]]))))
    assert rows_of(text, "Rows")[2] == ["one", "0", "0", "–"]


def test_of_more_than_50_classes_the_most_frequent_confusions_are_listed() -> None:
    counts = np.diag(np.full(60, 9))
    counts[5, 7], counts[8, 2], counts[1, 0] = 3, 6, 1
    text = page(full(examination=Examination(550, counts), classes=tuple(f"k{i}" for i in range(60))))
    assert rows_of(text, "The most frequent")[1:] == [
        ["k8", "k2", "6", "40%"], ["k5", "k7", "3", "25%"], ["k1", "k0", "1", "10%"],
    ]  # fmt: skip
    assert 'class="confusion' not in text
    assert 'class="confusion' in page(full(examination=Examination(450, counts[:50, :50])))


def test_classes_without_names_are_numbers() -> None:
    text = page(full(classes=None))
    assert rows_of(text, "Rows")[0] == ["", "0", "1", "Found"]
    assert "Example 7: 0, taken for 1" in text


def test_classes_of_several_outputs_are_let_through() -> None:
    Reader(page(full(classes={"kind": ("a", "b")}, examination=Examination(10))))


def test_a_mistake_is_shown_with_its_pixels() -> None:
    (first, _) = re.findall(r'src="data:image/png;base64,([^"]+)"', page(full()))
    with Image.open(io.BytesIO(base64.b64decode(first))) as image:
        shown = np.asarray(image)
    assert shown.shape == (96, 96)  # each pixel is 12 by 12
    np.testing.assert_array_equal(shown, np.kron(picture(8, 8, 1)[:, :, 0], np.ones((12, 12), np.uint8)))
    assert page(full()).count("<img class=pixels") == 2


@pytest.mark.parametrize(
    ("shape", "size"),
    [((28, 28, 1), (84, 84)), ((8, 4, 3), (48, 96)), ((96, 96, 3), (96, 96)), ((480, 960, 3), (96, 48))],
)
def test_pictures_come_to_about_96_pixels(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    with Image.open(io.BytesIO(png(picture(*shape)))) as image:
        assert (image.size, image.mode) == (size, "L" if shape[2] == 1 else "RGB")


def test_mistakes_without_pictures_are_a_table() -> None:
    found = Examination(10, np.array([[1, 1], [0, 0]]), (Mistake(7, 0, 1, 0.99951), Mistake(1_234, 1, 0, 0.5)))
    assert rows_of(page(full(examination=found)), "The surest first") == [
        ["Example", "What it is", "Taken for", "How sure"], ["7", "zero", "one", "&gt;99.9%"],
        ["1,234", "one", "zero", "50%"],
    ]  # fmt: skip


def test_the_errors_of_a_regression_are_a_table() -> None:
    found = Examination(10, None, (Mistake(38, 43.1, 34.62), Mistake(25, 24.0, 29.0)))
    text = page(full(examination=found, classes=None))
    assert rows_of(text, "The largest first") == [
        ["Example", "True", "Predicted", "Error"], ["38", "43.1", "34.62", "−8.48"], ["25", "24", "29", "+5"],
    ]  # fmt: skip
    assert "<h2>Largest errors</h2>" in text


def test_pictures_of_a_regression_have_numbers() -> None:
    found = Examination(10, None, (Mistake(38, 1.5, -2.0, None, picture(8, 8, 3)),))
    assert "Example 38: 1.5, taken for −2" in page(full(examination=found))
    assert "How sure" not in page(full(examination=found))


def test_what_ran_is_a_list_of_terms_whose_lines_go_on() -> None:
    text = page(full(lines=["device: cuda:0 (NVIDIA H100)", "data: Digits\n      1,078 training", "something else"]))
    terms = re.findall(r"<dt>([^<]*)</dt><dd>(.*?)</dd>", text.split("<h2>What ran</h2>")[1].split("</dl>")[0])
    assert terms == [
        ("Device", "cuda:0 (NVIDIA H100)"), ("Data", "Digits<br>1,078 training"), ("", "something else"),
    ]  # fmt: skip
