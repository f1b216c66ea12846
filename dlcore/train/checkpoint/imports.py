"""The modules that a run names: found without running any of them, and imported from the bytes that were checked."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

__all__ = ["CheckedSource", "imported", "sources_of"]


class CheckedSource(SourceFileLoader):
    """Runs the source that it was given: a compiled file beside it, which may hold something else, is not looked at."""

    def __init__(self, name: str, path: str, source: bytes) -> None:
        super().__init__(name, path)
        self.source = source

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.source, self.path)


def sources_of(name: str) -> dict[str, bytes]:
    """The content of each file that the import of a module would run, its packages' among them, by full name.

    Raises ImportError where there is no such module.

    >>> list(sources_of("dlcore.train.checkpoint.trust"))
    ['dlcore', 'dlcore.train', 'dlcore.train.checkpoint', 'dlcore.train.checkpoint.trust']
    """
    found: dict[str, bytes] = {}
    path: Sequence[str] | None = None
    if not all(part.isidentifier() for part in name.split(".")):
        raise ImportError(f"{name!r:.80} is no name of a module")
    for full in _prefixes(name):
        module = sys.modules.get(full)
        spec = _spec(full, path) if module is None else module.__spec__
        if spec is None and module is None:
            raise ModuleNotFoundError(f"No module named {full!r:.80}", name=full)
        found[full] = _source(module, spec)
        path = getattr(module, "__path__", None) if spec is None else spec.submodule_search_locations
        path = getattr(path, "_path", path)  # of a folder without a file, which else asks for its parent, imported
        if path is None and full != name:
            raise ModuleNotFoundError(f"No module named {name!r:.80}; {full!r:.80} is no package", name=name)
    return found


def _prefixes(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[: n + 1]) for n in range(len(parts)))


def _spec(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """What an import would find; unlike importlib.util.find_spec it imports no package on the way."""
    try:
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path)
            if spec is not None:
                return spec
    except KeyError:  # of a package without a file, whose parent, one too, is not imported
        spec = ModuleSpec(name, None, is_package=True)
        folders = [os.path.join(folder, name.rpartition(".")[2]) for folder in path or ()]
        spec.submodule_search_locations = [folder for folder in folders if os.path.isdir(folder)]
        return spec
    return None


def _source(module: ModuleType | None, spec: ModuleSpec | None) -> bytes:
    """The bytes of a module's file; of a built-in module, or a package without a file, none."""
    origin = getattr(module, "__file__", None) if spec is None else spec.origin if spec.has_location else None
    loader: Any = getattr(module, "__loader__", None) if spec is None else spec.loader
    try:
        return loader.get_data(origin) if origin else b""
    except (AttributeError, OSError):
        return b""


def imported(name: str, sources: Mapping[str, bytes]) -> ModuleType:
    """The module of that name, from ``sources`` as :func:`sources_of` gave them, unless it is imported already."""
    if name in sys.modules:
        return sys.modules[name]
    with _checked(sources):
        return importlib.import_module(name)


@contextmanager
def _checked(sources: Mapping[str, bytes]) -> Iterator[None]:
    finder = _Finder(sources)
    sys.meta_path.insert(0, finder)  # pyright: ignore[reportArgumentType]
    try:
        yield
    finally:
        sys.meta_path.remove(finder)  # pyright: ignore[reportArgumentType]


class _Finder:
    """Finds what the others find, with the source that was checked."""

    def __init__(self, sources: Mapping[str, bytes]) -> None:
        self.sources = sources

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if name not in self.sources:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if type(spec.loader) is SourceFileLoader and spec.origin:
                    spec.loader = CheckedSource(name, spec.origin, self.sources[name])
                return spec
        return None
