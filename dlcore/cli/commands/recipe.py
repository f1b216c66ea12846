"""``dlcore recipe``: the claims of the notes, tried and drawn."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from dlcore.cli.options import DEBUG, DEVICE
from dlcore.errors import ConfigError

__all__ = ["run", "show"]

WIDE = 120
"""Characters a line where the output is no terminal."""


def show(*, debug: DEBUG = False) -> int:
    """List the recipes: name, section of the notes, and what the notes claim there."""
    from dlcore.recipes import NAMES, find

    recipes = [find(name) for name in NAMES]
    first = max(len(name) for name in NAMES)
    indent = first + 2 + len("notes") + 2
    print(f"{'name':<{first}}  notes  claim")
    for recipe in recipes:
        head = f"{recipe.name:<{first}}  {recipe.chapter:<5}  "
        print(textwrap.fill(recipe.claim, _width(), initial_indent=head, subsequent_indent=" " * indent))
    return 0


def _whole(kind: Any, tokens: Any) -> int:
    """The value of a flag that takes a whole number: cyclopts would round 1.5."""
    text = tokens[0].value
    if not text.isdecimal():
        raise ConfigError(f"recipe: seed is {text!r:.40} but a whole number of at least 0 is expected")
    return int(text)


def run(
    name: Annotated[str, Parameter(help="one of those that dlcore recipe list shows")],
    /,
    *,
    quick: Annotated[bool, Parameter(negative=(), show_default=False, help="a smaller experiment, in seconds")] = False,
    seed: Annotated[
        int, Parameter(converter=_whole, help="seed of the data's split, the weights and the batch order")
    ] = 0,
    out: Annotated[Path, Parameter(help="folder of the picture; it is made where it is missing")] = Path("recipes"),
    device: DEVICE = None,
    debug: DEBUG = False,
) -> int:
    """Try a claim of the notes: what they say, what was measured, and a picture.

    The exit code is 0 where the claim holds with the margin that is shown, and 1 where it does not.
    """
    from dlcore.recipes import find

    recipe = find(name)
    _check_folder(out)
    from backends.runtime.device import describe, resolve
    from dlcore.recipes import Setup

    place = resolve(device)
    print(f"{recipe.name}: notes {recipe.chapter}, seed {seed}{', quick' * quick}")
    print(describe(place))
    _say("the notes", recipe.claim)
    start = time.process_time()
    result = recipe(Setup(device=place, seed=seed, quick=quick))
    from dlcore.cli.texts import table

    print("\n" + "\n".join(table(result.cells(), {0})) + "\n")
    for check in result.checks:
        _say("measured" if check.holds else "NOT SHOWN", str(check))
    for remark in result.remarks:
        _say("remark", remark)
    print(f"picture: {result.save(out / f'{recipe.name}.png')}")
    print(f"the claim {'holds' if result.holds else 'does not hold'}; {time.process_time() - start:.1f} s of CPU time")
    return 0 if result.holds else 1


def _check_folder(out: Path) -> None:
    """Raise ConfigError where the picture could not be written, before the experiment has taken its time."""
    there = next((folder for folder in (out, *out.absolute().parents) if folder.exists()), Path())
    if not there.is_dir():
        raise ConfigError(f"recipe: --out {out}: {there} is a file but a folder is expected; name another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"recipe: --out {out}: in {there} nothing may be written; name another folder")


def _say(what: str, text: str) -> None:
    print(textwrap.fill(text, _width(), initial_indent=f"{what}: ", subsequent_indent="  "))


def _width() -> int:
    return shutil.get_terminal_size((WIDE, 24)).columns if sys.stdout.isatty() else WIDE
