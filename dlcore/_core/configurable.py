"""Objects that remember how they were constructed, so that a run can write them down and rebuild them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from dlcore._core.validation import plain
from dlcore.errors import ConfigError, ShapeError

__all__ = ["Recorded", "changed", "did_you_mean", "one_line", "settings"]


def did_you_mean(word: str, known: Any) -> str:
    """A question, ready to be appended, where something known is close to ``word``; else the empty string.

    >>> did_you_mean("adm", ["adam", "sgd"])
    ' (did you mean adam?)'
    """
    close = difflib.get_close_matches(str(word), [str(k) for k in known], n=1)
    return f" (did you mean {close[0]}?)" if close else ""


@contextmanager
def settings() -> Iterator[None]:
    """In a constructor: what a function would refuse in its arguments is here a setting, and so a ConfigError."""
    try:
        yield
    except ShapeError as error:
        raise ConfigError(str(error)) from None


class Recorded:
    """Base of layers, optimisers, schedules and callbacks: ``config`` holds the constructor's arguments by name,
    scalars of NumPy as Python's numbers.

    An argument that the constructor does not take raises a ConfigError that lists those it takes.
    """

    config: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        if cls.__init__ is object.__init__:
            if args or kwargs:
                came = ", ".join([*map(repr, args), *kwargs])
                raise ConfigError(f"{cls.__name__}: {came} came but it takes no arguments")
            self.config = {}
            return self
        signature = inspect.signature(cls.__init__)
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError as error:
            takes = [name for name in signature.parameters if name != "self"]
            unknown = [name for name in kwargs if name not in takes]
            hint = did_you_mean(unknown[0], takes) if unknown else ""
            raise ConfigError(f"{cls.__name__}: {error}{hint}; it takes {', '.join(takes) or 'no arguments'}") from None
        bound.apply_defaults()
        self.config = {name: plain(value) for name, value in bound.arguments.items() if name != "self"}
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        bound = inspect.BoundArguments(inspect.signature(type(self).__init__), {"self": self, **self.config})  # type: ignore[arg-type]
        return bound.args[1:], bound.kwargs

    def __repr__(self) -> str:
        return one_line(self)


def changed(value: Recorded) -> dict[str, Any]:
    """The constructor's arguments that differ from their defaults.

    >>> import dlcore as dl
    >>> changed(dl.nn.Conv2D(8, 3, bias=False))
    {'filters': 8, 'kernel_size': 3, 'bias': False}
    """
    parameters = inspect.signature(type(value).__init__).parameters
    return {
        name: setting
        for name, setting in value.config.items()
        if name in parameters and parameters[name].default is not setting and parameters[name].default != setting
    }


def one_line(value: Any) -> str:
    """``repr`` in one line, also of a model with layers in it.

    >>> import dlcore as dl
    >>> one_line(dl.nn.Sequential(dl.nn.Dense(2), dl.nn.ReLU()))
    'Sequential(layers=(Dense(units=2), ReLU()))'
    """
    if isinstance(value, Recorded):
        return f"{type(value).__name__}({', '.join(f'{k}={one_line(v)}' for k, v in changed(value).items())})"
    if type(value) in (list, tuple):
        items = ", ".join(map(one_line, value)) + "," * (type(value) is tuple and len(value) == 1)
        return f"[{items}]" if type(value) is list else f"({items})"
    if type(value) is dict:
        return f"{{{', '.join(f'{one_line(k)}: {one_line(v)}' for k, v in value.items())}}}"
    return repr(value)
