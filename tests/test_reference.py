"""The API reference: what pdoc makes of the docstrings, and that every public name has one."""

from __future__ import annotations

import html
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dlcore as dl
from dlcore.guides.reference import build, markdown, modules


def _public() -> Iterator[tuple[str, Any]]:
    """Every public class and function, by the module in which it is public."""
    for name in modules():
        module = importlib.import_module(name)
        for public in module.__all__:
            found = getattr(module, public)
            if inspect.isclass(found) or inspect.isroutine(found):
                yield f"{name}.{public}", found


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    assert build(folder).is_file()  # a warning would have been an error
    return folder


def test_every_public_name_is_in_the_reference_with_the_first_sentence_of_its_docstring(site: Path) -> None:
    missing = []
    for path in modules():
        page = (site / f"{path.replace('.', '/')}.html").read_text()
        text = _letters(html.unescape(re.sub(r"<[^>]+>", "", page)))
        for name, found in _public():
            first = re.sub(r":\w+:`~?", "", (found.__doc__ or "").strip().split("\n")[0])
            home, _, public = name.rpartition(".")
            if home == path and not (f'id="{public}"' in page and _letters(first) and _letters(first) in text):
                missing.append(name)
    assert not missing


def test_every_public_name_says_what_it_is() -> None:
    bad = []
    for name, found in _public():
        own = found.__dict__.get("__doc__") if inspect.isclass(found) else found.__doc__
        first = (own or "").strip().split("\n\n")[0].split(">>>")[0].strip()
        if not first or first[-1] not in ".:;)" or (found.__module__.startswith("dlcore") and len(first) < 10):
            bad.append((name, first))
    assert not bad


def test_the_layers_and_functions_of_the_reference_name_each_of_their_arguments() -> None:
    lacking = {}
    for name, found in _public():
        if name.split(".")[1] not in ("nn", "functional", "optim") or found.__module__.endswith("parameter"):
            continue
        call = found.__dict__.get("__init__") if inspect.isclass(found) else found
        parameters = [p for p in inspect.signature(call).parameters if p != "self"] if call else []
        text = f"{found.__doc__} {call.__doc__ if call else ''}"
        bare = [p for p in parameters if not re.search(rf"(?<!\w){p}(?!\w)", text)]
        if bare and not re.search(r"(as in|as for|see) :(func|class):", text):
            lacking[name] = bare
    assert not lacking


def test_the_layers_and_functions_of_the_reference_show_an_example() -> None:
    """Not the bases of one's own, nor what a parameter is made of."""
    bases = ("Schedule", "Buffer")
    without = [
        name for name, found in _public()
        if name.split(".")[1] in ("nn", "functional", "optim", "filters", "metrics", "neighbors")
        and ">>>" not in (found.__doc__ or "") and found.__name__ not in bases
    ]  # fmt: skip
    assert without == ["dlcore.filters.Way"]


def test_arguments_become_a_list_and_formulas_stay_as_they_are() -> None:
    about = "A * B_i by *this* rule, see :func:`dlcore.nn.Dense`."
    text = markdown(f"{about}\n\nx, w : (N, D)\n    arrays\nb : (K,)\n\n>>> 1 + 1\n2\n\nPYTEST_DONT_REWRITE: no.")
    assert (
        text
        == "A \\* B\\_i by *this* rule, see `dlcore.nn.Dense`.\n\n- **`x, w`**: (N, D) arrays\n- **`b`**: (K,)"
        + "\n\n```pycon\n>>> 1 + 1\n2\n```"
    )


def test_lines_of_120_characters_fit(site: Path) -> None:
    """Some 7 pixels a character, in a column of 66 rem, which are 1,056 pixels."""
    page = (site / "dlcore/interop/pytorch.html").read_text()
    assert page.index("width:calc(66rem") > page.index("width:calc(54rem")  # the later rule counts


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(dl.ConfigError, match=r"file/site: no folder can be made here \(Not a directory\)"):
        build(tmp_path / "file" / "site")


def test_without_pdoc_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pdoc", None)
    with pytest.raises(dl.ConfigError, match=r"pip install 'dlcore-xp\[docs\]'"):
        build(tmp_path)
