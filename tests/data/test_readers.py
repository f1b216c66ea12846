import contextlib
import gzip
import os
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dlcore.data import read_idx
from dlcore.errors import DataError

# Six unsigned bytes, (2, 3), written by hand.
BYTES = b"\x00\x00\x08\x02" + b"\x00\x00\x00\x02" + b"\x00\x00\x00\x03" + bytes([1, 2, 3, 250, 251, 252])
VALUES = [[1, 2, 3], [250, 251, 252]]
GZIPPED = gzip.compress(BYTES, mtime=0)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "images.idx"


def test_values_shape_and_type_are_read(file):
    file.write_bytes(BYTES)
    array = read_idx(file)
    assert array.tolist() == VALUES
    assert array.dtype == np.uint8
    assert array.flags.writeable


@pytest.mark.parametrize(
    ("code", "letter", "dtype", "values"),
    [
        (0x08, "B", np.uint8, [0, 255]),
        (0x09, "b", np.int8, [-128, 127]),
        (0x0B, "h", np.int16, [-2, 300]),
        (0x0C, "i", np.int32, [-70000, 2**31 - 1]),
        (0x0D, "f", np.float32, [0.5, -1e10]),
        (0x0E, "d", np.float64, [1e-300, np.pi]),
    ],
)
def test_every_type_is_read_into_native_byte_order(file, code, letter, dtype, values):
    file.write_bytes(struct.pack(f">HBBI2{letter}", 0, code, 1, 2, *values))
    array = read_idx(file)
    assert array.dtype == dtype
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, np.array(values, dtype))


def test_gzip_is_told_by_the_content_not_by_the_name(file):
    file.write_bytes(GZIPPED)
    assert read_idx(file).tolist() == VALUES
    named = file.with_suffix(".gz")
    named.write_bytes(BYTES)
    assert read_idx(str(named)).tolist() == VALUES


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an IDX file: it starts with nothing"),
        (b"\x89PNG\r\n", "not an IDX file: it starts with 89 50 4e 47"),
        (b"\x00\x00\x07" + BYTES[3:], "not an IDX file: it starts with 00 00 07 02"),
        (b"\x00\x01" + BYTES[2:], "not an IDX file"),
        (b"\x00\x00\x08\x00\x01", "not an IDX file"),
        (b"\x00\x00\x08\x64" + b"\x00\x00\x00\x01" * 100 + b"\x01", "number of axes"),
        (BYTES[:9], "announces 2 axes, but the file ends after 9 bytes"),
        (BYTES[:-1], r"is cut short: shape \(2, 3\) needs 6 bytes of values, got 5"),
        (BYTES + b"\x00", r"has extra bytes: shape \(2, 3\) needs 6 bytes of values, got 7"),
        (BYTES[:7] + b"\x03" + BYTES[8:], r"is cut short: shape \(3, 3\) needs 9 bytes"),
        (b"\x00\x00\x08\x02" + b"\xff" * 8 + b"\x01", "is cut short"),
        (b"\x00\x00\x08\x02" + b"\x00" * 4 + b"\xff" * 4, "is empty"),
        (GZIPPED[:-6], "gzip file is damaged or cut short"),
        (GZIPPED[:12], "gzip file is damaged or cut short"),
        (GZIPPED[:-8] + b"\x00" * 8, "gzip file is damaged or cut short"),
        (GZIPPED + b"tail", "gzip file is damaged or cut short"),
        (gzip.compress(BYTES + b"\x01", mtime=0), "has extra bytes"),
        (
            gzip.compress(b"\x00\x00\x08\x02" + b"\xff" * 8, mtime=0),
            "announces the shape .*, 18,446,744,065,119,617,025 b",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_file_is_refused_in_one_line_with_its_name(file, content, words):
    file.write_bytes(content)
    with pytest.raises(DataError, match=words) as raised:
        read_idx(file)
    assert str(raised.value).startswith(str(file))
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: cannot be read: No such file"):
        read_idx(tmp_path / "nowhere")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_idx(tmp_path)


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_goes(file):
    file.write_bytes(gzip.compress(BYTES + bytes(200 << 20), mtime=0))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="has extra bytes"):
            read_idx(file)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_header_beyond_the_limit_is_refused_before_memory_is_taken(file):
    file.write_bytes(gzip.compress(BYTES, mtime=0))
    with pytest.raises(DataError, match=r"announces the shape \(2, 3\), 6 bytes, but at most 5 are read"):
        read_idx(file, limit=5)
    assert read_idx(file, limit=6).tolist() == VALUES


def test_a_name_of_two_lines_gives_a_message_of_one(tmp_path):
    path = tmp_path / "two\nlines"
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"two\\nlines: not an IDX file"):
        read_idx(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name are POSIX")
def test_a_pipe_that_nobody_writes_to_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="it is a pipe or a device"):
        read_idx(tmp_path / "pipe")


mutation = st.tuples(st.sampled_from(["set", "cut", "insert"]), st.integers(0, 60), st.integers(0, 255))


def mutated(content, changes):
    content = bytearray(content)
    for kind, place, value in changes:
        place %= len(content) + 1
        if kind == "set" and place < len(content):
            content[place] = value
        elif kind == "cut":
            del content[place : place + 1 + value % 4]
        elif kind == "insert":
            content.insert(place, value)
    return bytes(content)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(mutation, min_size=1, max_size=4))
def test_any_change_gives_a_dataerror_or_an_array_that_the_header_describes(file, changes):
    content = mutated(BYTES, changes)
    file.write_bytes(content)
    try:
        array = read_idx(file)
    except DataError:
        return
    axes = content[3]
    assert array.shape == struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    assert array.astype(array.dtype.newbyteorder(">")).tobytes() == content[4 + 4 * axes :]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(mutation, min_size=1, max_size=3))
def test_no_change_of_a_gzip_file_changes_the_values_unnoticed(file, changes):
    file.write_bytes(mutated(GZIPPED, changes))
    with contextlib.suppress(DataError):
        assert read_idx(file).tolist() == VALUES
