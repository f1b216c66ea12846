"""Refuse a ``backends`` that is not ours, before anything imports it.

``backends`` is a common name. A folder or file of that name beside a user's script comes first on ``sys.path`` and
hides the package that belongs to dlcore; what follows is an ImportError about some name inside it. ``dlcore`` imports
this module first, so that the error names the culprit instead. Nothing foreign is executed on the way.

The ``dlcore`` command cannot catch an error that is raised while its own package is imported, so for the command the
error becomes the one line and the exit code 1 that it owes its user. And pytest loads dlcore's plugin in every project
of an environment, also in those that have a ``backends`` of their own and never use dlcore: there the error waits in
:data:`hidden`, and the plugin sees to it that whoever imports dlcore gets it.
"""

from __future__ import annotations

import importlib.util
import os
import sys

__all__ = ["ForeignBackendsError", "check"]


class ForeignBackendsError(ImportError):
    """``import backends`` finds something else than the package that comes with dlcore; ``path`` says where."""


def check() -> None:
    """Raise :class:`ForeignBackendsError` unless ``import backends`` finds the package beside dlcore's.

    >>> check()
    """
    own = _beside(os.path.abspath(__file__))
    found = _find()
    if found is None:
        message = f"dlcore's own package 'backends' is missing from {own}; reinstall dlcore"
        raise ForeignBackendsError(message, name="backends")
    if _same(found, own) or _same(_behind(found), _beside(os.path.realpath(__file__))):
        return
    raise ForeignBackendsError(
        f"{found} hides dlcore's own package 'backends' ({own}); rename or remove it, or move your script to another "
        "folder",
        name="backends",
        path=found,
    )


def _find() -> str | None:
    """Where ``import backends`` looks: the folder of a package, the file of a module; None where there is neither."""
    module = sys.modules.get("backends")
    if module is not None:
        spec = getattr(module, "__spec__", None)
        if spec is None:
            return getattr(module, "__file__", None) or "a module made at run time"
    else:
        spec = importlib.util.find_spec("backends")
        if spec is None:
            return None
    if spec.submodule_search_locations is None:
        return spec.origin or "a module made at run time"
    if spec.has_location and spec.origin:
        return os.path.dirname(spec.origin)
    return next(iter(spec.submodule_search_locations), None)  # a folder without __init__.py


def _beside(file: str) -> str:
    return os.path.join(os.path.dirname(os.path.dirname(file)), "backends")


def _behind(folder: str) -> str:
    """The folder that really holds ``__init__.py``: installers may link folders or single files."""
    return os.path.dirname(os.path.realpath(os.path.join(folder, "__init__.py")))


def _same(a: str, b: str) -> bool:
    return os.path.normcase(os.path.abspath(a)) == os.path.normcase(os.path.abspath(b))


def _is_command() -> bool:
    """Whether this process is the ``dlcore`` command, or ``python -m dlcore``."""
    if sys.argv[:1] == ["-m"]:  # while the packages around the module to run are imported
        module = sys.orig_argv[sys.orig_argv.index("-m") + 1] if "-m" in sys.orig_argv[:-1] else ""
        return module.split(".")[0] == "dlcore"
    return os.path.splitext(os.path.basename(sys.argv[0] if sys.argv else ""))[0] == "dlcore"


def _is_entry_point() -> bool:
    """Whether dlcore is imported because somebody loads an entry point, as pytest does with its plugins."""
    metadata = sys.modules.get("importlib.metadata")
    load = metadata.EntryPoint.load.__code__ if metadata else None
    frame = sys._getframe()
    while frame is not None and frame.f_code is not load:
        frame = frame.f_back
    return frame is not None


hidden: ForeignBackendsError | None = None
"""The error, where it is not for this import to raise it."""

try:
    check()
except ForeignBackendsError as error:
    if _is_command():
        sys.exit(f"dlcore: error: {error}")
    if not _is_entry_point():
        raise
    hidden = error
