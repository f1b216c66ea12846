"""Parameters in words: ``lr=log:1e-4:1e-1``, ``dropout=uniform:0:0.5:3``, ``hidden=64,128,64+32``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dlcore._core.configurable import did_you_mean
from dlcore.errors import ConfigError
from dlcore.train.config.config import Setting, settings
from dlcore.tune.space import POINTS, Choice, Parameter, Range, choice, integers, log, uniform
from dlcore.tune.training import checked_parameter

__all__ = ["parse"]


def parse(words: Iterable[str]) -> dict[str, Parameter]:
    """The space that ``--search`` names: NAME=log:LOW:HIGH, NAME=uniform:LOW:HIGH, each perhaps with :POINTS, or
    NAME=VALUE,VALUE,...; the items of a list are joined by ``+``.

    A setting that takes whole numbers makes a range of whole numbers. Raises ConfigError for anything else.

    >>> parse(["hidden=64,64+32", "batch-size=log:8:128"])["hidden"].values
    ((64,), (64, 32))
    """
    space: dict[str, Parameter] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        if not equals:
            raise ConfigError(f"--search: {word!r} came but NAME=log:LOW:HIGH or NAME=VALUE,VALUE is expected")
        if name not in settings():
            raise ConfigError(f"--search: {name} is not a setting{did_you_mean(name, settings())}")
        if name in space:
            raise ConfigError(f"--search: {name} came twice; give all its values at once")
        try:
            space[name] = _parameter(settings()[name], text.strip())
            checked_parameter(name, space[name])
        except ConfigError as error:
            raise ConfigError(f"--search: {word}: {error}") from None
    return space


def _parameter(setting: Setting, text: str) -> Parameter:
    kind, colon, rest = text.partition(":")
    if colon and not setting.choices:
        if kind not in ("log", "uniform"):
            raise ConfigError(f"log:LOW:HIGH or uniform:LOW:HIGH is expected{did_you_mean(kind, ('log', 'uniform'))}")
        return _range(setting, kind, rest.split(":"))
    return _choice(setting, text)


def _range(setting: Setting, kind: str, parts: list[str]) -> Range:
    try:
        low, high = (float(part) for part in parts[:2])
        (points,) = (int(part) for part in parts[2:]) if len(parts) > 2 else (POINTS,)
    except ValueError:
        raise ConfigError(f"{kind}:LOW:HIGH or {kind}:LOW:HIGH:POINTS with numbers is expected") from None
    if setting.kind is not int:
        return (log if kind == "log" else uniform)(low, high, points)
    ends: list[Any] = [int(end) if end.is_integer() else end for end in (low, high)]
    return integers(*ends, points=points, log=kind == "log")


def _choice(setting: Setting, text: str) -> Choice:
    values = []
    for word in text.split(",") if text else []:
        if setting.kind is bool:
            truth = {"true": True, "yes": True, "false": False, "no": False}
            values.append(truth.get(word.strip().lower(), word))
        else:
            values.append(setting.parse(word.strip().split("+") if setting.many else [word.strip()]))
    return choice(*values)
