"""Fixtures for the tests of the stand-in itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import standin


@pytest.fixture
def cp() -> Iterator[ModuleType]:
    """The stand-in on a machine with one device."""
    with standin.installed() as cupy:
        yield cupy


@pytest.fixture
def two() -> Iterator[ModuleType]:
    """The stand-in on a machine with two devices."""
    with standin.installed(devices=2) as cupy:
        yield cupy


@pytest.fixture
def floats(cp: ModuleType) -> Callable[..., Any]:
    """Makes float32 device arrays that count from 0; the counts of the copies start anew after each."""

    def make(*shape: int) -> Any:
        array = cp.asarray(np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
        standin.reset()
        return array

    return make
