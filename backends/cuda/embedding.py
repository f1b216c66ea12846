"""The gradient of a table of many rows: only those that were picked are written.

No source of its own: the reference's sums of runs, then one addition by integers. Of equal ids one adds the sum and the
others add 0, so the result does not depend on their order, and the host waits for nothing.
"""

from __future__ import annotations

from math import prod

from backends.reference import embedding as reference


def _small(w, ids) -> str | None:
    v = w.shape[0]
    return f"{v} rows are few enough for a product with the one-hot matrix" if v <= reference.SMALL else None


@reference.embedding.alternative("cupy", unless=_small)
class EmbeddingBySorting:
    """``w[ids]``, whose gradient holds no more than the table and the rows that were picked."""

    forward = staticmethod(reference.embedding.forward)

    @staticmethod
    def backward(xp, dy, saved, *, needed):
        flat, shape = saved
        dw = xp.zeros(shape, dtype=dy.dtype, device=dy.device)
        AddRowsBySorting.forward(xp, dw, flat, dy)
        return dw, None


@reference.add_rows_.alternative("cupy")
class AddRowsBySorting:
    """``table[ids] += rows``, which touches no other row."""

    @staticmethod
    def forward(xp, table, ids, rows):
        rows = reference.wide(xp, xp.reshape(rows, (ids.shape[0], prod(table.shape[1:]))))
        if not rows.size:
            return
        ids, sums = reference.sums_of_runs(xp, ids, rows)
        last = xp.concat([ids[1:] != ids[:-1], xp.ones((1,), dtype=xp.bool, device=ids.device)])
        sums = xp.astype(xp.where(last[:, None], sums, xp.zeros_like(sums[:1, :])), table.dtype)
        xp.add.at(table, ids, xp.reshape(sums, (ids.shape[0], *table.shape[1:])))
