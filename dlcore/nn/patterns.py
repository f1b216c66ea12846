"""Which layers a pattern names."""

from __future__ import annotations

from collections.abc import Sequence

from dlcore._core.configurable import did_you_mean
from dlcore.errors import ConfigError
from dlcore.nn.module import matches

__all__ = ["meant", "patterns_of"]


def patterns_of(given: str | Sequence[str], what: str) -> list[str]:
    patterns = [given] if isinstance(given, str) else given
    if not isinstance(patterns, Sequence) or not all(isinstance(pattern, str) for pattern in patterns):
        raise ConfigError(f"{what}: {given!r:.60} came but a pattern such as '0', or a list of them, is expected")
    return list(patterns)


def meant(pattern: str, paths: Sequence[str], verb: str = "transfer_weights") -> list[str]:
    found = [path for path in paths if matches(path, pattern)]
    if not found:
        raise ConfigError(
            f"{verb}: {pattern!r} matches nothing{did_you_mean(pattern, paths)}; there are {', '.join(paths)}"
        )
    return found
