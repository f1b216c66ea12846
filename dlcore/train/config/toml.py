"""The TOML file of a configuration: what stands in it, checked key by key, and its text."""

from __future__ import annotations

import functools
import json
import os
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from dlcore._core.configurable import did_you_mean
from dlcore._core.regular import read_regular
from dlcore.errors import ConfigError
from dlcore.train.config.schema import Section
from dlcore.train.config.sections import SECTIONS, settings

__all__ = ["read", "text"]

_LARGEST = 2**20
"""Bytes of a configuration; a real one has a thousand."""


def read(path: str | os.PathLike[str], follow: bool = True) -> dict[str, dict[str, Any]]:
    """The settings in a file by section and name, through a link if ``follow``.

    Raises ConfigError as :func:`dlcore.train.config.config.load` does.
    """
    sections: dict[str, dict[str, Any]] = {}
    for name, content in _read(path, follow).items():
        if name not in SECTIONS:
            raise ConfigError(f"{path}: {_unknown_section(name, content)}")
        if not isinstance(content, dict):
            raise ConfigError(
                f"{path}: {name} is {content!r} but a section is expected; write [{name}] on a line of its own, and "
                f"its keys below: {', '.join(_names(name))}"
            )
        for key in content:
            if key not in _names(name):
                raise ConfigError(f"{path}: [{name}] {_unknown_key(name, key)}")
        sections[name] = {
            key: settings()[key].check(value, f"{path}: [{name}] {key}") for key, value in content.items()
        }
    return sections


def quickly(path: str | os.PathLike[str], rules: int) -> dict[str, Section] | None:
    """The sections in a file as :func:`read` and their own checks give them, from what other files had of them before:
    the runs in a folder are alike. None where there is anything to say about the file, which :func:`read` says."""
    try:
        blocks = re.split(r"\n(?=\[)", _content(path, follow=False))
        found = [_block(block, rules) for block in blocks]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return dict(found) if len(dict(found)) == len(found) else None


@functools.lru_cache(maxsize=1024)
def _block(block: str, rules: int) -> tuple[str, Section]:
    """One section from its text alone; a ValueError where that is none, as in the middle of a text of several lines."""
    ((name, content),) = tomllib.loads(block).items()
    given = {key: settings()[key].check(value, key) for key, value in content.items()}
    return name, SECTIONS[name](**({"rules": rules} if name == "data" else {}) | given)


def text(sections: Mapping[str, Section]) -> str:
    """The file from which :func:`read` takes the same settings; those that are None are left out."""
    blocks = []
    for name, section in sections.items():
        lines = [f"{key} = {_toml(getattr(section, key))}" for key in _names(name) if getattr(section, key) is not None]
        if lines:
            blocks.append("\n".join([f"[{name}]", *lines]))
    return "\n\n".join(blocks) + "\n"


@functools.cache
def _names(section: str) -> list[str]:
    return [name for name, entry in settings().items() if entry.section == section]


def _content(path: str | os.PathLike[str], follow: bool) -> str:
    if follow:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
    else:
        content = read_regular(path, _LARGEST)
    if len(content) > _LARGEST:
        raise ConfigError(f"{path}: no configuration: it has more than {_LARGEST:,} bytes")
    return content.decode()


def _read(path: str | os.PathLike[str], follow: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(_content(path, follow))
    except ConfigError:
        raise
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; check the path of the configuration") from None
    except OSError as error:
        raise ConfigError(f"{path}: the configuration cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: not in UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid TOML: brackets are nested too deeply") from None
    except ValueError as error:  # also a number of more digits than Python takes
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _unknown_section(name: str, content: Any) -> str:
    if name in settings():
        return f"{name} stands outside any section; it belongs in [{settings()[name].section}]"
    what, shown = ("section", f"[{name}]") if isinstance(content, dict) else ("key", name)
    known = SECTIONS if isinstance(content, dict) else settings()
    return f"{shown} is not a known {what}{did_you_mean(name, known)}; sections are {', '.join(SECTIONS)}"


def _unknown_key(section: str, key: str) -> str:
    known = settings()
    if key in known:
        return f"{key} belongs in [{known[key].section}]"
    near = did_you_mean(key.replace("-", "_"), _names(section)) or did_you_mean(key.replace("-", "_"), known)
    return f"{key} is not a known key{near}; known here are {', '.join(_names(section))}"


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):  # TOML's escapes are JSON's; only DEL must be escaped in one and not in the other
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value).lower() if isinstance(value, bool) else repr(value)
