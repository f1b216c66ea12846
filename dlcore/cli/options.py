"""Flags made from the settings of :mod:`dlcore.train.config.config`: one each, of the same name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from cyclopts import Group, Parameter

from dlcore.cli.naming import with_flags
from dlcore.errors import ConfigError, DataError
from dlcore.train.checkpoint.trust import allow
from dlcore.train.config import config

__all__ = ["COMMAND", "DEBUG", "DEVICE", "TRUST", "settings_as_flags"]

COMMAND = Group("Command", sort_key=9)
"""Where a command's own flags are listed, below the settings."""

DEBUG = Annotated[
    bool, Parameter(negative=(), group=COMMAND, show_default=False, help="show the traceback of an error")
]

TRUST = Annotated[
    bool,
    Parameter(
        negative=(),
        group=COMMAND,
        show_default=False,
        validator=lambda _, given: allow(given),
        help="run the code of a run from somebody else, which is asked once: its model.py, and modules that its "
        "model.json names beside dlcore's own",
    ),
]
"""Heeded where it is read, so that no command has to."""

DEVICE = Annotated[str | None, Parameter(help="cpu, cuda, cuda:N or auto [default: $DLCORE_DEVICE, else auto]")]

_TITLES = {
    "data": "Data",
    "model": "Model",
    "transfer": "Transfer learning",
    "optimizer": "Optimiser",
    "schedule": "Learning-rate schedule",
    "penalty": "Penalty",
    "train": "Training",
    "run": "Run",
}


def settings_as_flags(command: Callable[..., int]) -> Callable[..., int]:
    """Let ``command(..., **given)`` take a flag for every setting; ``given`` holds those that the user gave.

    The flags' defaults are shown in the help and passed to nobody: what is not given may come from a file. Errors name
    the flags.
    """
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD]
    flags = [_flag(setting) for setting in config.settings().values() if not setting.hidden]

    @functools.wraps(command)
    def run(*args: Any, **given: Any) -> int:
        try:
            return command(*args, **given)
        except (ConfigError, DataError) as error:
            file = given.get("config")  # what stands in it and not on the command line keeps the name that it has there
            if file is None or not str(error).startswith(f"{file}: "):
                held = () if file is None else [name for name in _in_file(file) if name not in given]
                error.args = (with_flags(str(error), held), *error.args[1:])
            raise

    run.__signature__ = inspect.Signature([*own, *flags])  # pyright: ignore[reportAttributeAccessIssue]
    return run


def _in_file(path: Any) -> list[str]:
    """The settings in a file that are not the defaults; none where the file itself is what is wrong."""
    try:
        return config.load(path).changed()
    except ConfigError:
        return []


def _flag(setting: config.Setting) -> inspect.Parameter:
    groups = list(_TITLES)
    kind: Any = tuple[setting.kind, ...] if setting.many else setting.kind
    parameter = Parameter(
        name=[setting.flag, *([setting.alias] if setting.alias else [])],
        group=Group(_TITLES[setting.section], sort_key=groups.index(setting.section)),
        help=config.explain(setting),
        converter=None if setting.kind is bool else _converter(setting),
        consume_multiple=setting.many,
        negative=None if setting.kind is bool else (),
        show_default=_yes_or_no if isinstance(setting.default, bool) else None,
    )
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=setting.default, annotation=Annotated[kind, parameter]
    )


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


def _converter(setting: config.Setting) -> Callable[[Any, Sequence[Any]], Any]:
    """The settings' own check: cyclopts would round 1.5 epochs to 2."""
    return lambda kind, tokens: setting.parse([token.value for token in tokens])
