"""Archives of arrays: what is read, and what an archive must not announce."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dlcore.data import read_npz
from dlcore.errors import DataError

X = np.arange(12.0).reshape(3, 4)
Y = np.array([0, 1, 2])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_x_y_and_lengths_are_read(file: Path, save: Any) -> None:
    save(file, x=X, y=Y, lengths=np.array([1, 4, 2]))
    data = read_npz(file)
    np.testing.assert_array_equal(data.x, X)
    np.testing.assert_array_equal(data.y, Y)
    assert data.lengths is not None
    assert data.lengths.tolist() == [1, 4, 2]
    assert data.x.flags.writeable


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    x=arrays.arrays(
        st.sampled_from(["u1", "<i2", ">i4", "<i8", "<f4", ">f8", "<f2", "?"]),
        arrays.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4),
        elements={"allow_nan": False, "allow_infinity": False},
    ),
    fortran=st.booleans(),
    compressed=st.booleans(),
)
def test_any_real_array_comes_back(file: Path, x: np.ndarray, fortran: bool, compressed: bool) -> None:
    saved = np.asfortranarray(x) if fortran else x
    (np.savez_compressed if compressed else np.savez)(file, x=saved, y=np.zeros(len(x)))
    data = read_npz(file)
    np.testing.assert_array_equal(data.x, x)
    assert data.x.dtype == x.dtype.newbyteorder("=")
    assert data.x.flags.c_contiguous


def npy(
    array: Any = None, *, header: bytes | None = None, body: bytes | None = None, start: bytes = b"\x93NUMPY\x01\x00"
) -> bytes:
    """An array as NumPy writes it, or parts of it made up."""
    if header is None:
        out = io.BytesIO()
        np.save(out, array)
        return out.getvalue()
    return start + struct.pack("<H", len(header)) + header + (body or b"")


def archive(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return out.getvalue()


def x_of(header: bytes, body: bytes = b"", method: int = zipfile.ZIP_STORED) -> bytes:
    return archive({"x": npy(header=header, body=body), "y": npy(Y)}, method)


HUGE = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
SOUND = archive({"x": npy(X), "y": npy(Y)})
PACKED = archive({"x": npy(np.zeros((3, 4000))), "y": npy(Y)}, zipfile.ZIP_DEFLATED)

BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the NPZ file is damaged, or none at all"),
    "text": (b"x,y\n1,2\n", "the NPZ file is damaged, or none at all"),
    "a single array": (npy(X), "the NPZ file is damaged, or none at all"),
    "cut short": (SOUND[:-30], "the NPZ file is damaged"),
    "cut in the middle": (SOUND[:300], "the NPZ file is damaged"),
    "a changed byte": (SOUND.replace(X[1].tobytes(), X[0].tobytes()), "the NPZ file is damaged.*CRC"),
    "packed and changed": (PACKED[:130] + bytes([PACKED[130] ^ 255]) + PACKED[131:], "the NPZ file is damaged"),
    "no x": (archive({"y": npy(Y)}), "the key 'x' is missing, the file has y"),
    "no y": (archive({"x": npy(X)}), "the key 'y' is missing, the file has x"),
    "nothing": (archive({}), "the key 'x' is missing, the file has none"),
    "unknown": (
        archive({"x": npy(X), "y": npy(Y), "length": npy(Y)}),
        r"'length' is unknown \(did you mean lengths\?\)",
    ),
    "objects": (
        archive({"x": npy(np.array([[1], "a", None], object)), "y": npy(Y)}),
        "x holds Python objects, which are never loaded",
    ),
    "text array": (
        archive({"x": npy(X), "y": npy(np.array(["a", "b", "c"]))}),
        r"y holds text, but numbers are expected; encode the labels",
    ),
    "complex": (archive({"x": npy(X * 1j), "y": npy(Y)}), "x has the dtype .*, expected real numbers"),
    "records": (archive({"x": npy(np.zeros(3, "i4,f8")), "y": npy(Y)}), "x has the dtype .*, expected real numbers"),
    "dates": (archive({"x": npy(np.zeros(3, "M8[s]")), "y": npy(Y)}), "x has the dtype .*, expected real numbers"),
    "no such float": (
        x_of(b"{'descr': '<f9', 'fortran_order': False, 'shape': (3,), }"),
        "x has the dtype '<f9', which",
    ),
    "no array": (archive({"x": b"hello, you", "y": npy(Y)}), "x is no NumPy array: it starts with 68 65 6c"),
    "no header": (x_of(b"{'shape': (3,)}"), "x has a damaged header"),
    "code in the header": (x_of(b"__import__('os').abort()"), "x has a damaged header"),
    "a thousand axes": (
        x_of(b"{'descr': '<f8', 'fortran_order': False, 'shape': (" + b"1, " * 1000 + b"), }"),
        "damaged h",
    ),
    "10^12 elements": (
        x_of(HUGE),
        "x announces the shape .* of float64, 8,000,000,000,000 bytes, but only 4,294,967,296",
    ),
    "more than it can hold": (
        x_of(HUGE.replace(b"1000000000000", b"100000000")),
        "x announces 800,000,000 bytes, more than a file of .* can hold",
    ),
    "fewer values": (x_of(HUGE.replace(b"1000000000000", b"3"), bytes(16)), "24 bytes of values, but ends after 16"),
    "more values": (x_of(HUGE.replace(b"1000000000000", b"3"), bytes(25)), "24 bytes of values, but has more"),
    "another packing": (
        archive({"x": npy(X), "y": npy(Y)}, zipfile.ZIP_BZIP2),
        "x is packed by the method 12; write it by numpy.savez_compressed",
    ),
    "another number of rows": (archive({"x": npy(X), "y": npy(Y[:2])}), "x has 3 rows but y has 2"),
    "not finite": (archive({"x": npy(np.array([1, np.nan, 2])), "y": npy(Y)}), "x holds 1 NaN or infinite value"),
    "one value": (archive({"x": npy(np.float64(3)), "y": npy(Y)}), "x is the single value"),
    "no rows": (archive({"x": npy(X[:0]), "y": npy(Y[:0])}), "x is empty"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_in_one_line_with_its_key(file: Path, name: str) -> None:
    content, words = BAD[name]
    file.write_bytes(content)
    with pytest.raises(DataError, match=words) as raised:
        read_npz(file)
    assert str(raised.value).startswith(f"{file}: ")
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_key_that_is_there_twice_is_refused(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as out:
        for name in ("x", "y", "x"):
            out.writestr(f"{name}.npy", npy(Y))
    with pytest.raises(DataError, match="the key 'x' is there twice"):
        read_npz(file)


def test_a_member_that_inflates_beyond_its_header_is_not_unpacked(file: Path) -> None:
    small = npy(header=HUGE.replace(b"1000000000000", b"3"), body=bytes(300 << 20))
    file.write_bytes(archive({"x": small, "y": npy(Y)}, zipfile.ZIP_DEFLATED))
    del small
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="but has more"):
            read_npz(file)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_the_limit_holds_for_the_arrays_together(file: Path) -> None:
    np.savez(file, x=X, y=Y)
    assert len(read_npz(file, limit=X.nbytes + Y.nbytes)) == 3
    with pytest.raises(DataError, match=r"y announces the shape \(3,\) of int64, 24 bytes, but only 23 more are read"):
        read_npz(file, limit=X.nbytes + Y.nbytes - 1)
