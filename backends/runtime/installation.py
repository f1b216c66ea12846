"""How this package was installed, and the command that installs an extra of it in the same way.

No index need have the distribution under its name: what works is the former command with an extra added. It is
needed for errors alone, so that it imports its modules when it is asked.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

__all__ = ["install_line"]

NAME = "dlcore-xp"
"""The distribution, as in pyproject.toml."""


def install_line(extra: str) -> str:
    """The command that installs an extra here, for the last words of an error.

    extra : of pyproject.toml, such as "cuda13"

    ==========================  ====================================================================
    a checkout                  ``pip install -e '.[cuda13]'``, with its folder where that is another
    files without metadata      the same, in a checkout
    a wheel                     ``pip install '/folder/dlcore_xp-1.0-py3-none-any.whl[cuda13]'``
    a folder, not editable      ``pip install '/folder[cuda13]'``
    a repository or an address  ``pip install 'dlcore-xp[cuda13] @ git+https://...'``
    an index                    ``pip install 'dlcore-xp[cuda13]'``
    ==========================  ====================================================================

    It never raises: an origin that cannot be read counts as a copy.

    >>> install_line("cuda13").startswith("pip install ")
    True
    """
    home = Path(__file__).resolve().parents[2]
    if _is_checkout(home):
        return _command("-e", "." if _is_here(home) else str(home), extra)
    from importlib import metadata

    try:
        distribution = metadata.distribution(NAME)
        if Path(str(distribution.locate_file("backends"))).resolve() != home / "backends":
            raise metadata.PackageNotFoundError(NAME)  # another copy of it
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        return _of_origin(origin, extra)
    except Exception:
        return f"{_command('-e', '.', extra)} in a checkout of dlcore"


def _of_origin(origin: dict[str, Any], extra: str) -> str:
    """From direct_url.json, which an installer writes for what did not come from an index.

    Source: https://packaging.python.org/en/latest/specifications/direct-url/

    >>> _of_origin({"url": "https://example.org/dlcore.git", "vcs_info": {"vcs": "git"}}, "tune")
    "pip install 'dlcore-xp[tune] @ git+https://example.org/dlcore.git'"
    """
    if not origin:
        return _command(NAME, extra)
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    url = origin["url"]
    if not url.startswith("file:") or "vcs_info" in origin:
        prefix = f"{origin['vcs_info']['vcs']}+" if "vcs_info" in origin else ""
        return f"pip install {shlex.quote(f'{NAME}[{extra}] @ {prefix}{url}')}"
    path = url2pathname(urlsplit(url).path)
    if os.path.isdir(path):
        return _command(path, extra)
    if not path.endswith(".whl"):
        raise FileNotFoundError(path)
    return _command(path if os.path.isfile(path) else os.path.basename(path), extra)


def _command(*words: str) -> str:
    *options, target, extra = words
    return " ".join(["pip install", *options, shlex.quote(f"{target}[{extra}]")])


def _is_checkout(folder: Path) -> bool:
    import tomllib

    try:
        text = (folder / "pyproject.toml").read_text(encoding="utf-8")
        return tomllib.loads(text)["project"]["name"] == NAME
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _is_here(folder: Path) -> bool:
    try:
        return folder.samefile(os.getcwd())
    except OSError:  # the current folder is gone
        return False
