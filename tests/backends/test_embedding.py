"""The gradient of a table: rows of equal ids add up, in a fixed order, in the memory of the rows that were read."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from arrays import Backend

import backends.reference  # noqa: F401  (defines the kernels)
from backends.dispatch import explain, kernels, reference_only
from backends.reference.embedding import SMALL, add_rows_, embedding
from backends.runtime import copies

IDS = {
    "one": [3],
    "all different": [5, 1, 299, 0],
    "all equal": [7] * 37,
    "runs": [2, 9, 2, 2, 9, 0, 2, 2, 2],
    "none": [],
}


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
def test_rows_are_added_where_their_ids_say(arrays: Backend, ids: list[int], dtype: str, reference: bool):
    rng = np.random.default_rng(0)
    table, rows = rng.integers(-8, 8, (300, 2, 3)), rng.integers(-8, 8, (len(ids), 2, 3))
    expected = table.tolist()
    for i, row in zip(ids, rows.tolist(), strict=True):
        expected[i] = [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(expected[i], row, strict=True)]
    written = copies.to_device(table.astype(dtype), arrays.device)
    places, values = arrays.place(np.array(ids, np.int64)), arrays.place(rows.astype(dtype))
    with copies.guard("forbid"):
        if reference:
            with reference_only():
                add_rows_(written, places, values)
        else:
            add_rows_(written, places, values)
    assert arrays.host(written).dtype == dtype
    assert arrays.host(written).tolist() == expected


@pytest.mark.parametrize("reference", [False, True])
def test_a_frequent_id_is_summed_as_exactly_as_a_rare_one(reference: bool):
    rows = np.random.default_rng(1).uniform(0.5, 1.5, (100_000, 1)).astype(np.float32)
    table = np.zeros((SMALL + 1, 1), np.float32)
    if reference:
        with reference_only():
            add_rows_(table, np.full(100_000, 5), rows)
    else:
        add_rows_(table, np.full(100_000, 5), rows)
    exact = float(sum(map(Fraction, rows[:, 0].tolist())))
    assert abs(float(table[5, 0]) - exact) < 3e-7 * exact


def test_the_same_ids_give_the_same_bits_whatever_stands_between_them():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(200, 4)).astype(np.float32)
    alone, among = np.zeros((400, 4), np.float32), np.zeros((400, 4), np.float32)
    add_rows_(alone, np.full(200, 9), rows)
    ids = np.full(400, 9)
    ids[1::2] = rng.integers(10, 400, 200)
    both = rng.normal(size=(400, 4)).astype(np.float32)
    both[::2] = rows
    add_rows_(among, ids, both)
    assert alone[9].tobytes() == among[9].tobytes()


@pytest.mark.parametrize(
    ("vocabulary", "taken"), [(65, "reference"), (SMALL, "reference"), (5000, "EmbeddingBySorting")]
)
def test_a_small_table_keeps_its_product(vocabulary: int, taken: str):
    w, ids = np.zeros((vocabulary, 4), np.float32), np.zeros(3, int)
    assert explain(kernels()["embedding"], w, ids).taken == taken


def test_the_gradient_takes_the_memory_of_the_table_and_not_of_vocabulary_times_ids():
    w, ids = np.zeros((20_000, 4), np.float32), np.random.default_rng(0).integers(0, 20_000, 2000)
    y, saved = embedding.forward(np, w, ids, needed=(True, False))
    pair = embedding.choose(np, [w, ids], {})
    tracemalloc.start()
    pair.backward(np, np.ones_like(y), saved, needed=(True, False))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * w.nbytes  # vocabulary times ids would be 500 of them
