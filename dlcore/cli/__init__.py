"""The command line: ``dlcore COMMAND``, one file a command.

Exit codes: 0 done, 1 a run-time failure, 2 wrong usage (an unknown flag, a value out of range, a faulty configuration),
130 interrupted by Ctrl-C (by another signal: 128 and its number). An error is one line on stderr; ``--debug`` shows its
traceback instead.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from cyclopts import App, CycloptsError, UnusedCliTokensError

from dlcore._core.escapes import Escaping, escaped
from dlcore.cli.help import tell_all
from dlcore.errors import ConfigError, DlcoreError
from dlcore.version import __version__

__all__ = ["app", "main"]

app = App(
    name="dlcore",
    help="Train, evaluate and study neural networks; the same run on the CPU and on a CUDA GPU.",
    help_epilogue="Begin with dlcore train, then dlcore diagnose RUN; dlcore COMMAND --help says more of a command.\n"
    "Exit codes: 0 done, 1 a run-time failure, 2 wrong usage. An error is one line; --debug shows its traceback.",
    version=__version__,
    help_format="plaintext",
    print_error=False,
    exit_on_error=False,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
# Commands by the place of their function: a command's module is imported when it is run or asked for help.
app.command(
    "dlcore.cli.commands.train:train",
    name="train",
    help="Train a model: without any flag, a small CNN on the 5,000 images of Fashion-MNIST in the package.",
)
app.command(
    "dlcore.cli.commands.evaluate:evaluate",
    name="evaluate",
    help="Measure a run's model again: its loss and metrics on the test set, or on another part of its data.",
)
app.command(
    "dlcore.cli.commands.predict:predict",
    name="predict",
    help="Say what a run's model makes of images, of a table, or of arrays in an NPZ file.",
)
app.command(
    "dlcore.cli.commands.generate:generate",
    name="generate",
    help="Write text with the model of a run that has learnt from text.",
)
app.command(
    "dlcore.cli.commands.filter:filter_picture",
    name="filter",
    help="Filter a picture: smooth it or find its edges; or show several filters side by side.",
)
app.command(
    "dlcore.cli.commands.parity:parity",
    name="parity",
    help="Take one training step on several devices, and compare every layer, forward and backward.",
)
app.command(
    "dlcore.cli.commands.tune:tune",
    name="tune",
    help="Search hyper-parameters: train with many settings, and say which were best and which mattered.",
)
app.command(
    "dlcore.cli.commands.diagnose:diagnose_run",
    name="diagnose",
    help="Say whether a run's model underfits or overfits, with intervals, and what to do next.",
)
app.command(
    "dlcore.cli.commands.gradcheck:gradcheck",
    name="gradcheck",
    help="Check the backward pass of a model against differences of its loss, parameter by parameter.",
)
runs = App(name="runs", help="List the runs in a folder, and compare some of them.")
runs.command(
    "dlcore.cli.commands.runs:show", name="list", help="List the runs, the oldest first: how far each is, how good."
)
runs.command(
    "dlcore.cli.commands.compare:compare", name="compare", help="Set runs side by side, and choose one of them."
)
app.command(runs)
app.command(
    "dlcore.cli.commands.bench:bench",
    name="bench",
    help="Measure how fast dlcore is on this machine, or on one device beside another; compare files of figures.",
)
app.command(
    "dlcore.cli.commands.doctor:doctor",
    name="doctor",
    help="Show versions, devices and data: what this machine offers, and what to do about what it does not.",
)
recipes = App(name="recipe", help="Try the claims of the course notes: what they say, what is measured, and a picture.")
recipes.command(
    "dlcore.cli.commands.recipe:show", name="list", help="List the recipes: section of the notes, and the claim."
)
recipes.command("dlcore.cli.commands.recipe:run", name="run", help="Try one claim, and draw it.")
app.command(recipes)
data = App(name="data", help="List the data sets, and download the one that is too large for the package.")
data.command("dlcore.cli.commands.data:show", name="list", help="List the data sets, and where they are found.")
data.command("dlcore.cli.commands.data:fetch", name="fetch", help="Download the full Fashion-MNIST: 30.9 MB.")
app.command(data)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; ``arguments`` are those of the process by default."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "×" is no reason to stop
    with _escaping():
        return _run(words)


@contextmanager
def _escaping() -> Iterator[None]:
    """What a file has as a name is not obeyed by the terminal, whoever prints it."""
    before = sys.stdout, sys.stderr
    ours: list[Any] = [stream and Escaping(stream) for stream in before]
    sys.stdout, sys.stderr = ours
    try:
        yield
    finally:
        if sys.stdout is ours[0]:  # nobody has stopped listening meanwhile
            sys.stdout = before[0]
        sys.stderr = before[1]


def _run(words: list[str]) -> int:
    try:
        from dlcore.train.engine.signals import raised

        if {"--help", "-h"} & set(words):
            tell_all(app, words)
        with _one_line_warnings(), raised():
            code = copy_context().run(app, words)  # --trust is of this command alone
            sys.stdout.flush()  # a closed pipe shows here, not when Python exits
            return int(code or 0)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt as error:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # the terminal has echoed ^C
        return _say(" ".join(["interrupted", *map(str, error.args)]), getattr(error, "exit_code", 130))
    except Exception as error:
        if "--debug" in words:
            traceback.print_exc()
            return _code(error)
        return _say(f"error: {_message(error)}", _code(error))


def _open_streams() -> None:
    """Where a stream was closed before the start, as by ``>&-``, write to nowhere: no file may get its number."""
    if sys.stdout is not None and sys.stderr is not None:
        return
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  until the process ends


def _code(error: Exception) -> int:
    return 2 if isinstance(_cause(error), CycloptsError | ConfigError) else 1


def _cause(error: BaseException) -> BaseException:
    """A setting's own error, where cyclopts has wrapped it up."""
    wrapped = isinstance(error, CycloptsError) and isinstance(error.__cause__, ConfigError)
    return error.__cause__ if wrapped and error.__cause__ else error


def _message(error: Exception) -> str:
    """What went wrong, in one line."""
    cause: Any = _cause(error)
    if isinstance(cause, UnusedCliTokensError):
        words = " ".join(cause.unused_tokens or ())
        return f"unexpected argument {words!r}; every setting is a flag, see dlcore --help"
    if isinstance(cause, CycloptsError | DlcoreError):
        text = str(cause)
    elif isinstance(cause, MemoryError):
        text = "out of memory; lower batch_size, or train on less data"
    elif isinstance(cause, OSError):
        text = ": ".join(str(part) for part in (cause.filename, cause.strerror or cause) if part)
    else:
        text = f"unexpected {type(cause).__name__}: {cause}; --debug shows where"
    return " ".join(text.split())


def _say(text: str, code: int) -> int:
    print(f"dlcore: {escaped(text)}", file=sys.stderr)  # a bar hands on what is printed beside it as it is
    return code


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        _say(f"warning: {' '.join(str(message).split())}", 0)

    with warnings.catch_warnings():
        warnings.showwarning = show
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's on overflow: the trainer itself checks the losses
        yield
