"""One setting of a run: what its value must be, said once for Python, TOML and the command line."""

from __future__ import annotations

import functools
import math
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from dlcore._core.configurable import did_you_mean
from dlcore._core.validation import inside, plain
from dlcore.errors import ConfigError

__all__ = ["Section", "Setting", "setting", "settings_of"]


def setting(
    default: Any,
    help: str,
    *,
    choices: Iterable[str] = (),
    within: str = "",
    file: bool = False,
    alias: str = "",
    hidden: bool = False,
) -> Any:
    """A field of a :class:`Section`.

    help : one line
    choices : the words that are allowed; with ``file``, a reference ``file.py:build`` is too
    within : the interval of the numbers that are allowed, such as "[0, 1)"
    alias : another flag for it, of a word that is no name in Python
    hidden : it has no flag: a run records it, and nobody chooses it
    """
    about = {
        "help": help, "choices": tuple(choices), "within": within, "file": file, "alias": alias, "hidden": hidden,
    }  # fmt: skip
    return field(default=default, metadata=about)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is known about one setting: enough for a flag, its help, and a check of its value.

    kind : int, float, bool or str; of each item where ``many``
    nullable : whether None is allowed, for "as the choice has it" or "off"

    >>> from dlcore.train.config.config import settings
    >>> dropout = settings()["dropout"]
    >>> dropout.flag, dropout.expected, dropout.parse(["0.2"])
    ('--dropout', 'a number in [0, 1)', 0.2)
    >>> dropout.check(1, "dropout")
    Traceback (most recent call last):
    dlcore.errors.ConfigError: dropout is 1 but a number in [0, 1) is expected
    """

    name: str
    section: str
    kind: type
    many: bool
    nullable: bool
    default: Any
    help: str
    choices: tuple[str, ...]
    within: str
    file: bool
    alias: str = ""
    hidden: bool = False

    @property
    def flag(self) -> str:
        """As it stands on the command line, such as ``--batch-size``."""
        return "--" + self.name.replace("_", "-")

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        if self.choices:
            words = ", ".join(self.choices) + (" or file.py:build" if self.file else "")
            return f"a list of {words}" if self.many else f"one of {words}"
        words = {int: "whole number", float: "number", bool: "true or false", str: "text"}[self.kind]
        if self.many:
            words += "s"
        low, high = _bounds(self.within)
        if not self.within:
            pass
        elif math.isinf(high):
            words += f" of at least {low:g}" if self.within[0] == "[" else f" greater than {low:g}"
        else:
            words += f" in {self.within}"
        if self.many:
            return f"a list of {words}"
        return words if self.kind in (bool, str) else f"a {words}"

    def check(self, value: Any, label: str) -> Any:
        """``value`` in its exact type: a whole number becomes a float where one is due, a list a tuple.

        Raises ConfigError, which calls the setting ``label``.
        """
        value = plain(value)
        if value is None and self.nullable:
            return None
        if not self.many:
            return self._item(value, value, label)
        if not isinstance(value, list | tuple) or not value:
            raise ConfigError(f"{label} is {value!r:.80} but {self.expected} is expected")
        return tuple(self._item(item, value, label) for item in value)

    def parse(self, words: Sequence[str]) -> Any:
        """The value that the ``words`` after a flag stand for; "none" takes away a number that a file has set."""
        if self.nullable and self.kind in (int, float) and list(words) == ["none"]:
            return None
        values = [_number(self.kind, word) if self.kind in (int, float) else word for word in words]
        return self.check(values if self.many else values[-1], self.flag)

    def _item(self, item: Any, value: Any, label: str) -> Any:
        if self.kind is float and type(item) is int:
            item = _float(item)
        if self._fits(item):
            return item
        hint = did_you_mean(str(item), self.choices) if self.choices else ""
        raise ConfigError(f"{label} is {value!r:.80} but {self.expected} is expected{hint}")

    def _fits(self, item: Any) -> bool:
        if not isinstance(item, self.kind) or (isinstance(item, bool) and self.kind is not bool):
            return False
        if self.choices:
            return item in self.choices or (self.file and ".py" in str(item))
        return not self.within or inside(item, self.within)


class Section:
    """Base of the sections, dataclasses of settings: every field is checked, wherever it comes from."""

    def __post_init__(self) -> None:
        for entry in settings_of(type(self)):
            value = entry.check(getattr(self, entry.name), entry.name)
            object.__setattr__(self, entry.name, value)


@functools.cache
def settings_of(section: type, name: str = "") -> tuple[Setting, ...]:
    """The settings of a section, in the order of its fields; ``name`` is what the section is called."""
    hints = typing.get_type_hints(section)
    found = []
    for entry in fields(section):
        hint = hints[entry.name]
        if type(None) in typing.get_args(hint):
            (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
        many = typing.get_origin(hint) is tuple
        kind = typing.get_args(hint)[0] if many else hint
        nullable = entry.default is None
        found.append(
            Setting(
                name=entry.name, section=name, kind=kind, many=many, nullable=nullable, default=entry.default,
                **entry.metadata,
            )
        )  # fmt: skip
    return tuple(found)


def _number(kind: type, word: str) -> Any:
    try:
        return kind(word)
    except ValueError:
        return word  # the check says what is wrong with it


def _float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


@functools.cache
def _bounds(within: str) -> tuple[float, float]:
    low, high = within[1:-1].split(",") if within else ("-inf", "inf")
    return float(low), float(high)
