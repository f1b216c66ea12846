"""The API reference: a page for each public module, made by pdoc from the docstrings.

The docstrings are plain text: arguments as ``name : what it is``, examples after ``>>>``, formulas as they are written.
pdoc reads Markdown, in which lines run together and ``*`` and ``_`` are marks; so they are rewritten here first.
"""

from __future__ import annotations

import importlib
import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from backends.runtime.installation import install_line
from dlcore.errors import ConfigError

__all__ = ["build", "markdown", "modules"]

_BACKENDS = ("backends.runtime.device", "backends.dispatch", "backends.random", "backends.runtime.copies")
_TEMPLATES = Path(__file__).parent / "templates"
_MARKS = re.compile(r"(?<!\w)\*(?!\w+\*(?!\w))(?<!\*\w)|[_<\[\]|]")
_ARGUMENTS = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*) : (.*)")


def modules() -> list[str]:
    """What is public: dlcore, its modules, and those of ``backends`` that a kernel of one's own needs.

    >>> [name for name in modules() if name.endswith(("nn", "dispatch"))]
    ['dlcore.nn', 'backends.dispatch']
    """
    import dlcore

    named = [name for name in dlcore.__all__ if name in dlcore._MODULES]
    return ["dlcore", *(f"dlcore.{name}" for name in named), *_BACKENDS]


def build(folder: str | Path, say: Callable[[str], object] = print) -> Path:
    """Write the reference into a folder, which is made where it is missing, and return its first page.

    say : gets a line for each public name that is left out, because a package that it needs is not installed

    Raises ConfigError where pdoc is not installed, and where the folder cannot be written.
    """
    try:
        import pdoc
        import pdoc.render
    except ImportError:
        raise ConfigError(f"the reference is built by pdoc, which is not installed; {install_line('docs')}") from None
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: no folder can be made here ({error.strerror}); name another") from None
    pdoc.render.configure(docformat="markdown", show_source=False, footer_text="dlcore", template_directory=_TEMPLATES)
    pdoc.render.env.filters["to_markdown"] = markdown
    root, others = "dlcore", [name for name in modules() if name.startswith("backends.")]
    with _all_imported(say):
        try:
            pdoc.pdoc(root, *others, output_directory=folder)
        except OSError as error:
            raise ConfigError(
                f"{folder}: the pages cannot be written ({error.strerror}); name another folder"
            ) from None
    return folder / "dlcore.html"


@contextmanager
def _all_imported(say: Callable[[str], object]) -> Iterator[None]:
    """Every public name is where pdoc looks for it, which lazily imported ones are not before; what lacks a package is
    no public name for this time."""
    before = []
    try:
        for name in modules():
            module = importlib.import_module(name)
            names = list(module.__all__)
            before.append((module, names))
            for public in names:
                try:
                    setattr(module, public, getattr(module, public))
                except (ConfigError, ImportError) as error:
                    vars(module)["__all__"] = [kept for kept in module.__all__ if kept != public]
                    say(f"{name}.{public} is left out: {error}")
        yield
    finally:
        for module, names in before:
            vars(module)["__all__"] = names


def markdown(docstring: str) -> str:
    """A docstring as Markdown.

    >>> print(markdown("The sum a_i + b_i.\\n\\na, b : (N,) arrays\\n    of one dtype"))
    The sum a\\_i + b\\_i.
    <BLANKLINE>
    - **`a, b`**: (N,) arrays of one dtype
    """
    return "\n\n".join(_block(block) for block in re.split(r"\n\s*\n", docstring.strip("\n")) if _is_shown(block))


def _is_shown(block: str) -> bool:
    return bool(block.strip()) and not block.startswith("PYTEST_DONT_REWRITE")


def _block(block: str) -> str:
    """A paragraph, a list of arguments, an example, or lines that stand as they are: tables and indented code."""
    lines = block.splitlines()
    if lines[0].startswith(">>>"):
        return "\n".join(["```pycon", *lines, "```"])
    if lines[0].startswith(("    ", "===")) or all(re.match(r"\S+ {2,}\S", line) for line in lines):
        return "\n".join(["```text", *textwrap.dedent(block).splitlines(), "```"])
    if any(_ARGUMENTS.match(line) for line in lines):
        return _arguments(lines)
    if lines[0].startswith("- "):
        return "\n".join(map(_text, lines))
    text = " ".join(map(_text, lines))
    return f"*{text}*" if text.startswith("Source: ") and "*" not in text else re.sub("::$", ":", text)


def _arguments(lines: list[str]) -> str:
    """One entry an argument; further lines of it are indented."""
    entries: list[str] = []
    for line in lines:
        match = _ARGUMENTS.match(line)
        if match:
            entries.append(f"- **`{match[1]}`**: {_text(match[2])}")
        elif line.startswith(" ") and entries:
            entries[-1] += f" {_text(line.strip())}"
        else:
            entries.append(_text(line) if not entries else f"\n{_text(line)}")
    return "\n".join(entries)


def _text(line: str) -> str:
    """A line outside code: roles as names, and what Markdown would take for marks as it is written."""
    line = re.sub(r":\w+:`~?([^`]+)`", lambda match: f"`{match[1]}`", line)
    parts = re.split(r"(`+[^`]+`+)", line)
    return "".join(part if part.startswith("`") else re.sub(_MARKS, r"\\\g<0>", part) for part in parts)
