"""A counter-based random generator: the same bits on every device.

Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) is
a bijection of a 64-bit counter under a 64-bit key, built from 32-bit additions, rotations and exclusive-ors. Those are
exact everywhere, so a draw is a pure function of its name: there is no state to save, to share or to get out of step.

A draw is named by (seed, stream, path, counters ..., row, element). :func:`derive` folds all but the last two into a
:data:`Key`, on the host; :func:`bits` takes the rows and elements as the counter, on any device.

Normals are computed on the host in float64 and rounded to float32: logarithm and cosine differ by a unit in the last
place of float64 between machines, which the rounding hides.
"""

from __future__ import annotations

import hashlib
import math
import operator
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = [
    "PARITY",
    "ROTATIONS",
    "STREAMS",
    "Key",
    "bits",
    "derive",
    "fold",
    "normal",
    "own",
    "permutation",
    "threefry2x32",
    "uniform",
]

Key = tuple[int, int]
"""Two 32-bit words."""

STREAMS = {"init": 0, "shuffle": 1, "dropout": 2, "augment": 3, "split": 4, "probe": 5, "tune": 6, "generate": 7}
"""Independent streams: draws for one purpose never collide with draws for another."""

_MASK = 0xFFFFFFFF
PARITY = 0x1BD11BDA
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
"""The constants of Threefry-2x32."""


def threefry2x32(key: Key, x0: Any, x1: Any) -> tuple[Any, Any]:
    """Encrypt the counter ``(x0, x1)`` under ``key``: two uint32 arrays in, two out.

    Uses operators only, so it runs on any Array API array of uint32 of at least one dimension (NumPy warns when a
    0-d integer overflows); ``x0`` and ``x1`` broadcast.

    >>> zero = np.zeros(1, dtype=np.uint32)
    >>> [hex(int(word[0])) for word in threefry2x32((0, 0), zero, zero)]
    ['0x6b200159', '0x99ba4efe']
    """
    ks = (key[0], key[1], PARITY ^ key[0] ^ key[1])
    x0 = x0 + ks[0]
    x1 = x1 + ks[1]
    for injection in range(1, 6):
        for r in ROTATIONS[(injection - 1) % 2]:
            x0 = x0 + x1
            x1 = ((x1 << r) | (x1 >> (32 - r))) ^ x0
        x0 = x0 + ks[injection % 3]
        x1 = x1 + ((ks[(injection + 1) % 3] + injection) & _MASK)
    return x0, x1


def fold(key: Key, word0: int, word1: int = 0) -> Key:
    """A new key from ``key`` and two words: the same function as :func:`threefry2x32`, on Python integers.

    One call takes a few microseconds, where one-element arrays would take a hundred.

    >>> fold((0x13198A2E, 0x03707344), 0x243F6A88, 0x85A308D3) == (0xC4923A9C, 0x483DF7A0)
    True
    """
    k0, k1 = key
    ks = (k0, k1, PARITY ^ k0 ^ k1)
    x0 = (word0 + k0) & _MASK
    x1 = (word1 + k1) & _MASK
    for injection in range(1, 6):
        for r in ROTATIONS[(injection - 1) % 2]:
            x0 = (x0 + x1) & _MASK
            x1 = ((x1 << r) | (x1 >> (32 - r))) & _MASK ^ x0
        x0 = (x0 + ks[injection % 3]) & _MASK
        x1 = (x1 + ks[(injection + 1) % 3] + injection) & _MASK
    return x0, x1


def derive(seed: int, stream: str, path: str = "", *counters: int) -> Key:
    """The key of one named draw.

    ``seed`` is any integer (its lowest 64 bits count), ``stream`` one of :data:`STREAMS`, ``path`` the name of the
    parameter or layer, ``counters`` whatever else sets draws apart: the epoch, the step, the call in the step.

    >>> derive(0, "init", "0.w") != derive(0, "init", "1.w")
    True
    """
    return _derived(seed, (STREAMS[stream],), path, counters)


def own(seed: int, name: str, path: str = "", *counters: int) -> Key:
    """As :func:`derive`, of a stream that a user names: any name, of which those of :data:`STREAMS` are those streams.

    >>> own(0, "noise") != own(0, "sign"), own(0, "dropout") == derive(0, "dropout")
    (True, True)
    """
    number = STREAMS.get(name)
    return _derived(seed, _words_of(name) if number is None else (number,), path, counters)


@lru_cache(maxsize=256)
def _words_of(name: str) -> tuple[int, int]:
    """The number of a stream that a user names; its second word is odd, where the package's streams have 0."""
    digest = hashlib.blake2s(name.encode(), digest_size=8, person=b"stream").digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little") | 1


def _derived(seed: int, stream: tuple[int, ...], path: str, counters: tuple[int, ...]) -> Key:
    seed = operator.index(seed)  # also of an integer of NumPy's
    key = fold((seed & _MASK, (seed >> 32) & _MASK), *stream)
    digest = hashlib.blake2s(path.encode(), digest_size=8).digest()
    key = fold(key, int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little"))
    for counter in counters:
        key = fold(key, counter & _MASK, (counter >> 32) & _MASK)
    return key


def bits(xp: Any, key: Key, rows: int, columns: int, *, first_row: int = 0, device: Any = None) -> Any:
    """Random words, (rows, columns) uint32, made on ``device``.

    xp : namespace

    Word (r, c) depends on ``key``, on ``first_row + r`` and on c alone, not on how many are drawn: two parts of a batch
    drawn apart are the parts of the batch drawn at once.

    >>> key = derive(0, "dropout", "5", 0)
    >>> whole = bits(np, key, 4, 3)
    >>> whole.dtype, bool((bits(np, key, 2, 3, first_row=2) == whole[2:]).all())
    (dtype('uint32'), True)
    """
    half = (columns + 1) // 2
    row = xp.arange(rows, dtype=xp.uint32, device=device) + first_row
    block = xp.arange(half, dtype=xp.uint32, device=device)
    x0, x1 = threefry2x32(key, row[:, None], block[None, :])
    words = xp.reshape(xp.stack((x0, x1), axis=-1), (rows, 2 * half))  # each block gives two neighbours
    return words if columns == 2 * half else words[:, :columns]


def _words(key: Key, n: int) -> np.ndarray:
    return bits(np, key, 1, n)[0]


def uniform(key: Key, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Uniform float32 numbers in [low, high), drawn on the host with 32 random bits each.

    key, shape : as for :func:`normal`

    >>> numbers = uniform(derive(0, "init", "0.w"), (1000, 2), -0.5, 0.5)
    >>> numbers.dtype, bool((abs(numbers) <= 0.5).all()), bool(abs(numbers.mean()) < 0.05)
    (dtype('float32'), True, True)
    """
    unit = _words(key, math.prod(shape)) * 2.0**-32
    numbers = (low + (high - low) * unit).astype(np.float32).reshape(shape)
    return np.minimum(numbers, np.nextafter(np.float32(high), np.float32(low)))  # the rounding may have reached high


def normal(key: Key, shape: tuple[int, ...], scale: float = 1.0) -> np.ndarray:
    """Normal float32 numbers of mean 0 and standard deviation ``scale``, drawn on the host (Box and Muller, 1958).

    key : of :func:`derive`
    shape : of the array

    >>> normal((1, 2), (3,)).dtype
    dtype('float32')
    """
    n = math.prod(shape)
    words = _words(key, 2 * n).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((words[:n] + 1.0) * 2.0**-32))  # (0, 1], so that the logarithm is finite
    return (scale * radius * np.cos(words[n:] * (2.0 * np.pi * 2.0**-32))).astype(np.float32).reshape(shape)


def permutation(key: Key, n: int) -> np.ndarray:
    """A random order of ``range(n)``, int64, on the host: a stable sort of 64 random bits each.

    key : of :func:`derive`

    >>> sorted(permutation(derive(0, "shuffle", "", 3), 5).tolist())  # epoch 3
    [0, 1, 2, 3, 4]
    """
    words = _words(key, 2 * n).astype(np.uint64)
    return np.argsort((words[:n] << np.uint64(32)) | words[n:], kind="stable")
