"""Text: the vocabulary, the three parts by position, and streams whose windows follow one another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dlcore.data import Dataset, Text, Vocabulary, batches, load, open_text
from dlcore.errors import ConfigError, DataError


def text(n: int = 500, window: int = 7) -> Text:
    return Text(np.arange(n) % 26, Vocabulary.of("abcdefghijklmnopqrstuvwxyz"), window)


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "own.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_window_goes_on_where_the_same_stream_ended_before_and_targets_are_one_step_on() -> None:
    ids = np.random.default_rng(0).integers(0, 26, 500)
    source = Text(ids, Vocabulary.of("abcdefghijklmnopqrstuvwxyz"), 7)
    for options in ({}, {"seed": 3, "epoch": 2}):
        pieces = list(source.streams(4, **options))
        x = np.concatenate([x for x, _ in pieces], axis=1)
        y = np.concatenate([y for _, y in pieces], axis=1)
        np.testing.assert_array_equal(x[:, 1:], y[:, :-1])
        whole = x.reshape(-1)
        assert any(np.array_equal(ids[first : first + whole.size], whole) for first in range(len(ids) - whole.size))
        assert x.shape == (4, 7 * source.steps(4))


def test_the_first_character_of_an_epoch_is_a_function_of_seed_and_epoch() -> None:
    def start(seed: int, epoch: int) -> int:
        return batches(text(), 4, seed=seed, epoch=epoch).first  # type: ignore[union-attr]

    assert [start(1, epoch) for epoch in range(6)] == [start(1, epoch) for epoch in range(6)]
    assert len({start(seed, epoch) for seed in range(3) for epoch in range(6)}) > 3
    assert batches(text(), 4, shuffle=False).first == 0  # type: ignore[union-attr]


def test_starting_late_gives_the_rest_of_the_same_epoch() -> None:
    whole = [x.tolist() for x, _ in batches(text(), 4, seed=1, epoch=2)]
    rest = batches(text(), 4, seed=1, epoch=2, start=5)
    assert [x.tolist() for x, _ in rest] == whole[5:]
    assert len(rest) == len(whole) - 5  # type: ignore[arg-type]


def test_the_parts_of_hamlet_follow_one_another_and_lose_no_character() -> None:
    data = load("hamlet")
    assert [len(part.ids) for part in (data.train, data.dev, data.test)] == [156547, 8697, 8698]  # type: ignore[union-attr]
    assert data.train.vocabulary.symbols == data.classes  # type: ignore[union-attr]
    assert "To be, or not to be" in data.train.vocabulary.decode(data.train.ids)  # type: ignore[union-attr]


def test_the_vocabulary_is_that_of_the_training_part_and_rare_characters_are_unknown(tmp_path: Path) -> None:
    data = open_text(written(tmp_path, "ab" * 400 + "#" + "ab" * 200 + "xx" * 10), window=4)
    assert data.classes == ("<unk>", "a", "b")
    assert (data.train.ids == 0).sum() == 1  # type: ignore[union-attr]
    assert (data.test.ids == 0).sum() == 20  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("", {}, "the text is empty"),
        (" \n\n", {}, "the text is empty"),
        (b"\xff\xfe\x00", {}, "no text in UTF-8"),
        ("abc" * 50, {}, "dev part: it holds 7 characters, but windows of 64 take at least 65"),
        ("ab" * 500 + "x", {"window": 4, "unknown": "refuse"}, "test part: character 'x' at position 50 is not in"),
    ],
)
def test_a_text_that_is_none_is_one_clear_line(
    tmp_path: Path, content: str | bytes, options: dict[str, object], words: str
) -> None:
    with pytest.raises(DataError, match=words) as raised:
        open_text(written(tmp_path, content), **options)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_a_text_that_is_not_there_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            open_text(path)


def test_arguments_of_a_wrong_kind_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "ab" * 500)
    with pytest.raises(ConfigError, match="window is 0"):
        open_text(path, window=0)
    with pytest.raises(ConfigError, match="unknown is 'skip'"):
        open_text(path, unknown="skip")
    with pytest.raises(ConfigError, match="lower batch_size"):
        text().streams(100)
    with pytest.raises(DataError, match="each once"):
        Vocabulary(("a", "a"))


# Utterances ----------------------------------------------------------------------------------------------------------


def test_vowels_are_the_published_parts() -> None:
    data = load("vowels")
    train, dev, test = data.train, data.dev, data.test
    assert isinstance(train, Dataset)
    assert isinstance(dev, Dataset)
    assert isinstance(test, Dataset)
    assert (np.bincount(train.y) + np.bincount(dev.y)).tolist() == [30] * 9
    assert np.bincount(test.y).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert (int(test.lengths.min()), int(test.lengths.max())) == (7, 29)  # type: ignore[union-attr]
    assert int(train.lengths.sum() + dev.lengths.sum()) == 4274  # type: ignore[union-attr]
    assert int(test.lengths.sum()) == 5687  # type: ignore[union-attr]
    for part in (train, dev, test):
        behind = np.arange(29) >= part.lengths[:, None]  # type: ignore[index]
        assert not part.x[behind].any()
        assert part.x[~behind].any(axis=1).all()
