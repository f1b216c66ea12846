"""Level 2: the stand-in's memory: what shares it, what writes into it, and which indices are refused."""

from __future__ import annotations

import copy
import importlib
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import standin

pytestmark = pytest.mark.level2


def test_fresh_memory_shows_when_it_is_read(cp: ModuleType, floats: Any) -> None:
    for dtype in (np.float16, np.float32, np.float64, np.int32, np.uint8):
        garbage = cp.asnumpy(cp.empty((2, 3), dtype)).astype(np.float64)
        assert not (np.abs(garbage) < 100).any()
    assert cp.empty_like(floats(2)).tolist()[0] > 1e38


VIEWS: dict[str, Callable[[ModuleType, Any], Any]] = {
    "slice": lambda cp, x: x[1:, ::2],
    "element": lambda cp, x: x[1, 2],
    "new axis": lambda cp, x: x[None, ..., 0],
    "transpose": lambda cp, x: x.T,
    "mT": lambda cp, x: x.mT,
    "method transpose": lambda cp, x: x.transpose(1, 0),
    "reshape": lambda cp, x: x.reshape(-1, 2),
    "function reshape": lambda cp, x: cp.reshape(x, (12,)),
    "ravel": lambda cp, x: x.ravel(),
    "view": lambda cp, x: x.view(np.int32),
    "flip": lambda cp, x: cp.flip(x),
    "moveaxis": lambda cp, x: cp.moveaxis(x, 0, 1),
    "expand_dims": lambda cp, x: cp.expand_dims(x, 0),
    "split": lambda cp, x: cp.split(x, 2, axis=1)[1],
    "windows": lambda cp, x: cp.lib.stride_tricks.sliding_window_view(x, (2, 2)),
    "strided": lambda cp, x: cp.lib.stride_tricks.as_strided(x, (2, 2), (16, 4)),
    "real": lambda cp, x: x.real,
}


@pytest.mark.parametrize("case", VIEWS)
def test_views_share_memory_and_cost_no_kernel(cp: ModuleType, floats: Any, case: str) -> None:
    x = floats(3, 4)
    view = VIEWS[case](cp, x)
    assert cp.shares_memory(view, x)
    assert view is x or view.base is x
    assert standin.counts() == standin.Counts()


@pytest.mark.parametrize("make", [lambda x: x.T.reshape(-1), lambda x: x.copy(), lambda x: x.flatten(), abs])
def test_copies_do_not_share_memory(cp: ModuleType, floats: Any, make: Callable[[Any], Any]) -> None:
    x = floats(3, 4)
    assert not cp.shares_memory(make(x), x)
    assert standin.counts().kernel == 1


def test_operators_write_in_place_through_views_and_keep_identity(cp: ModuleType, floats: Any) -> None:
    x = floats(6)
    same, part = x, x[2:4]
    x += 1
    x[0:2] += cp.ones(2)
    part *= cp.asarray(np.array([10.0, 100.0]))  # float64 into float32: the array stays what it is
    assert same is x
    assert x.dtype == np.float32
    assert x.tolist() == [2.0, 3.0, 30.0, 400.0, 5.0, 6.0]
    standin.reset()
    x[0:2] += 0
    assert standin.counts().kernel == 1  # the view that is stored where it already stands costs nothing
    x[...] = x[::-1]
    x[3] = 0.5
    x.reshape(2, 3)[1, 1] = -1
    x.fill(x[0])
    assert x.tolist() == [6.0] * 6


def test_the_shape_can_be_assigned_where_memory_allows(cp: ModuleType, floats: Any) -> None:
    x = floats(2, 3)
    x.shape = (3, 2)
    assert x.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    with pytest.raises(AttributeError):
        x.T.shape = (6,)


def test_copying_and_pickling_keep_the_values(cp: ModuleType, floats: Any) -> None:
    x = floats(3)
    for twin in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin is not x
        assert twin.tolist() == x.tolist()


def test_an_unavoidable_copy_is_refused_where_none_is_allowed(cp: ModuleType, floats: Any) -> None:
    x = floats(3)
    assert cp.array(x, copy=False) is x
    for make in (lambda: cp.asarray(np.ones(3), copy=False), lambda: cp.array(x, np.float64, copy=False)):
        with pytest.raises(ValueError, match="Unable to avoid copy"):
            make()


# Indices


def test_an_index_array_selects_a_copy_also_if_it_is_a_single_number(cp: ModuleType, floats: Any) -> None:
    x = floats(3, 4)
    for index in (cp.asarray(np.array([1])), cp.asarray(1), x[:, 0] > 1):
        assert not cp.shares_memory(x[index], x)
    assert x[cp.asarray(1)].tolist() == [4.0, 5.0, 6.0, 7.0]


def test_refuses_an_index_outside_the_axis_where_cupy_wraps_around(cp: ModuleType, floats: Any) -> None:
    x, outside = floats(3), cp.asarray(np.array([5]))
    for use in (
        lambda: x[outside],
        lambda: x.__setitem__(outside, 1.0),
        lambda: cp.take(x, outside),
        lambda: x.take(outside, axis=0),
        lambda: cp.take_along_axis(x, outside, 0),
        lambda: cp.add.at(x, outside, 1.0),
    ):
        with pytest.raises(AssertionError, match="wraps around silently"):
            use()
    with pytest.raises(IndexError):
        x[5]
    assert float(x[cp.asarray(np.array([-3]))][0]) == 0.0


def test_refuses_duplicate_indices_in_an_assignment(cp: ModuleType, floats: Any) -> None:
    x, twice = floats(3), cp.asarray(np.array([0, 0]))
    with pytest.raises(AssertionError, match="duplicate indices"):
        x[twice] = floats(2)
    with pytest.raises(AssertionError, match="duplicate indices"):
        x[twice] += 1.0
    with pytest.raises(AssertionError, match="duplicate indices"):
        floats(3, 3)[twice, twice] = floats(2)
    x[twice] = 7.0  # one value for all places is well defined
    assert x.tolist() == [7.0, 1.0, 2.0]


def test_adds_at_duplicate_indices(cp: ModuleType) -> None:
    x, twice = cp.zeros(3, np.float32), cp.asarray(np.array([0, 0, 2]))
    cp.add.at(x, twice, cp.ones(3, np.float32))
    assert x.tolist() == [2.0, 0.0, 1.0]
    with pytest.warns(DeprecationWarning, match=r"cupy\.add\.at"):
        importlib.import_module("cupyx").scatter_add(x, twice, 1.0)
    assert x.tolist() == [4.0, 0.0, 2.0]
    with pytest.raises(TypeError, match="only supports int32"):
        cp.add.at(cp.zeros(3, np.int64), twice, 1)
    with pytest.raises(NotImplementedError):
        cp.multiply.at(x, twice, 2.0)
