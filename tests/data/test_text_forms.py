"""Text files as systems and people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlcore.data import Splits, open_text
from dlcore.errors import DataError


def opened(folder: Path, content: bytes) -> Splits:
    (folder / "own.txt").write_bytes(content)
    return open_text(folder / "own.txt", window=4)


def text_of(data: Splits) -> str:
    return "".join(part.vocabulary.decode(part.ids) for part in (data.train, data.dev, data.test))  # type: ignore[attr-defined]


LINES = ["To be, or not to be.", "Whether 'tis nobler.", "And by a sleep!"] * 20


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["no mark", "byte order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_line_ends_and_a_byte_order_mark_cost_no_character(tmp_path: Path, start: bytes, end: str) -> None:
    data = opened(tmp_path, start + end.join(LINES).encode())
    assert text_of(data).replace("\r", "\n") == "\n".join(LINES)
    assert "\ufeff" not in (data.classes or ())


@pytest.mark.parametrize(
    "piece",
    ["🐧 and 👩🏽‍🚀 sail ", "Cafe\u0301 au lait, A\u030angstro\u0308m ", "שלום עולם, مرحبا ", "a\x07bell\x1b[1m "],
    ids=["emoji", "combining marks", "right to left", "control characters"],
)
def test_every_character_is_a_symbol_and_comes_back(tmp_path: Path, piece: str) -> None:
    data = opened(tmp_path, (piece * 60).encode())
    assert text_of(data) == piece * 60
    assert set(piece) <= set(data.classes or ())


def test_the_character_zero_is_no_end(tmp_path: Path) -> None:
    data = opened(tmp_path, b"zero\0byte and so on " * 60)
    assert text_of(data).replace("<unk>", "\0") == "zero\0byte and so on " * 60


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "cp1252"])
def test_another_encoding_is_refused_in_one_line(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(DataError, match=r"own\.txt: no text in UTF-8 .*convert it") as raised:
        opened(tmp_path, ("Übermut tut selten gut. " * 60).encode(encoding))
    assert "\n" not in str(raised.value)


def test_a_tiny_text_says_what_it_takes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dev part: it holds 2 characters, but windows of 4 take at least 5"):
        opened(tmp_path, b"To be, or not to be, that is the quest")
