"""The API reference: what pdoc makes of the docstrings, and that every public name has one."""

from __future__ import annotations

import functools
import html
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import backends
import backends.diagnostics
import backends.runtime
import dlcore as dl
from backends._renamed import NAMES
from backends.runtime.installation import install_line
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


def test_the_classes_and_functions_of_the_reference_name_each_of_their_arguments() -> None:
    lacking = {}
    for name, found in _public():
        if inspect.isclass(found) and (issubclass(found, BaseException) or getattr(found, "_is_protocol", False)):
            continue
        call = found.__dict__.get("__init__") if inspect.isclass(found) else found
        parameters = [p for p in inspect.signature(call).parameters if p != "self"] if call else []
        text = f"{found.__doc__} {call.__doc__ if call else ''}"
        bare = [p for p in parameters if not re.search(rf"(?<!\w){p}(?!\w)", text)]
        if bare and not re.search(r"([Aa]s|[Aa]s in|[Aa]s for|see) :(func|class):", text):
            lacking[name] = bare
    assert not lacking


def _documented() -> Iterator[tuple[str, Any]]:
    """Every public class and function by its path: of the reference's pages, of the modules below them, and of those
    that stand directly in ``backends`` and in its packages of devices and checks."""
    beside = [
        info.name
        for package in (backends, backends.runtime, backends.diagnostics)
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
        if not info.ispkg and info.name not in NAMES
    ]
    beside.remove("backends.numpy_namespace")  # NumPy's own names
    pages = [importlib.import_module(name) for name in dict.fromkeys([*modules(), *beside])]
    seen: set[int] = set()
    for page in pages:  # it grows
        for name in page.__all__:
            found = getattr(page, name)
            if inspect.ismodule(found):
                pages += [found] if found.__name__.startswith("dlcore.") and found not in pages else []
            elif (inspect.isclass(found) or inspect.isroutine(found)) and id(found) not in seen:
                seen.add(id(found))
                yield f"{page.__name__}.{name}", found


def _members(cls: type) -> dict[str, Any]:
    """A class's own public methods and properties, which are not documented where a base of it has them."""
    bases = [base for base in cls.__mro__[1:] if base.__module__.startswith(("dlcore", "backends"))]
    return {
        name: value
        for name, value in vars(cls).items()
        if name[0] != "_" and isinstance(value, _MEMBERS) and not any(name in vars(base) for base in bases)
    }


_MEMBERS = (FunctionType, classmethod, staticmethod, property, functools.cached_property)

_BETWEEN_OURSELVES = {
    "backends.cupy_namespace.of",  # needs CuPy
    "dlcore.nn.Parameter.leave",  # a vector calls it
    "dlcore.nn.Parameter.place",
    "dlcore.train.Callback.on_interrupt",  # needs a signal
    "backends.float16.InFloat32.forward",  # as of every kernel, see backends.dispatch
    "backends.float16.InFloat32.backward",
    "backends.runtime.memory.usage",  # needs a GPU
}


def _example(docstring: str | None) -> str:
    return "\n".join(line for line in (docstring or "").splitlines() if line.lstrip().startswith((">>>", "...")))


def test_every_public_name_shows_an_example() -> None:
    """A class or function in its own docstring; a method in that, or where an example of its class calls it."""
    without = []
    for path, found in _documented():
        if not _example(found.__doc__) and not (inspect.isclass(found) and issubclass(found, BaseException)):
            without.append(path)
        if inspect.isclass(found):
            own = _members(found)
            shown = "\n".join(_example(one.__doc__) for one in (found, *own.values()))
            without += [f"{path}.{name}" for name in own if not re.search(rf"(\.|def ){name}\b", shown)]
    assert set(without) == _BETWEEN_OURSELVES


def test_every_public_method_says_what_it_is() -> None:
    bad = [
        f"{path}.{name}"
        for path, found in _documented() if inspect.isclass(found) and not getattr(found, "_is_protocol", False)
        for name, value in _members(found).items() if not (value.__doc__ or "").strip()
    ]  # fmt: skip
    assert not bad


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
    with pytest.raises(dl.ConfigError, match=re.escape(install_line("docs"))):
        build(tmp_path)


BARE = """
import runpy, sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("cupy", "onnx", "optuna", "pandas", "scipy", "sklearn", "statsmodels", "torch"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
if pages := sys.argv[2:]:
    import pdoc
    real = pdoc.pdoc
    pdoc.pdoc = lambda *names, **options: real(*pages, **options)
sys.argv = ["guides", sys.argv[1]]
runpy.run_module("dlcore.guides", run_name="__main__")
"""


@pytest.mark.parametrize(
    "pages", [("dlcore.interop", "dlcore.tune"), pytest.param((), marks=pytest.mark.full)], ids=["two", "all"]
)
def test_without_the_other_extras_the_command_builds_all_but_what_needs_them(
    pages: tuple[str, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "site"
    words = [sys.executable, "-W", "error", "-c", BARE, str(folder), *pages]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    *left_out, page = done.stdout.splitlines()
    assert page == str(folder / "dlcore.html")
    names = {line.partition(" is left out: ")[0] for line in left_out}
    assert names == {"dlcore.interop.sklearn", "dlcore.tune.search"}
    for line, extra in zip(sorted(left_out), ("sklearn", "tune"), strict=True):
        assert install_line(extra) in line
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*.html")}
    assert {f"{name.replace('.', '/')}.html" for name in pages or modules()} <= found
    assert "dlcore/interop/pytorch.html" in found
    assert "dlcore/interop/sklearn.html" not in found
    assert 'id="Range"' in (folder / "dlcore/tune.html").read_text()


def test_building_leaves_the_public_names_as_they_were(site: Path) -> None:
    assert "search" in importlib.import_module("dlcore.tune").__all__
    assert dl.interop.__all__ == ["pytorch", "sklearn"]
