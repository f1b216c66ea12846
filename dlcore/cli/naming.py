"""Settings in messages by their flags: a setting has one name everywhere, and on the command line that is its flag."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from dlcore.errors import ConfigError, DataError
from dlcore.train.config.config import settings

__all__ = ["flags_in_errors", "with_flags"]


def with_flags(text: str, from_file: Collection[str] = ()) -> str:
    """A message about settings with the flags in the place of the names.

    from_file : settings that a file gave: what is wrong with one of these is said by its name there

    >>> with_flags("lr_decay goes with the schedule inverse_time; leave lr_decay out or change schedule")
    '--lr-decay goes with the schedule inverse_time; leave --lr-decay out or change --schedule'
    >>> with_flags("data.csv, line 3: a cell is missing; mend the file, or set missing to drop or mean")
    'data.csv, line 3: a cell is missing; mend the file, or give --missing drop or --missing mean'
    >>> with_flags("hidden goes with the model mlp, but the model is cnn; leave hidden out", {"hidden"})
    'hidden goes with the model mlp, but the model is cnn; leave hidden out'
    """
    set_to, subject, verb, long = _patterns()

    def flag(match: re.Match[str]) -> str:
        name, before = match["name"], match.groupdict().get("before") or ""
        return before + (name if name in from_file else settings()[name].alias or settings()[name].flag)

    def given(match: re.Match[str]) -> str:
        words = " or ".join(f"{flag(match)} {word}" for word in re.split(", | or ", match["values"]))
        return f"give {words}"

    text = set_to.sub(given, text)
    for pattern in (subject, verb, long):
        text = pattern.sub(flag, text)
    return text


@contextmanager
def flags_in_errors() -> Iterator[None]:
    """Inside, errors that name settings as Python has them name their flags; also as a decorator of a command."""
    try:
        yield
    except (ConfigError, DataError) as error:
        error.args = (with_flags(str(error)), *error.args[1:])
        raise


@functools.cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    names = "|".join(sorted((name for name, one in settings().items() if not one.hidden), key=len, reverse=True))
    long = "|".join(name for name in names.split("|") if "_" in name)
    values = r"(?P<values>\w+(?:, \w+)*(?: or \w+)?)"
    return (
        re.compile(rf"\bset (?P<name>{names}) to {values}"),
        # what a message is about stands first; of two settings the second follows "and"
        re.compile(rf"^(?P<name>{names})(?=(?: and \w+)? (?:is|are|has|goes|names|and|came)\b|: )"),
        re.compile(rf"(?P<before>\b(?:lower|raise|change|leave) )(?P<name>{names})\b"),
        re.compile(rf"(?<![\w.\-'\"\[/])(?P<name>{long})(?![\w.'\"/])"),
    )
