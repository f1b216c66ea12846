import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlcore.data import Dataset, batches
from dlcore.errors import ConfigError, DataError

N = 23
DATA = Dataset(np.arange(N * 2.0).reshape(N, 2), np.arange(N))


def order(**options):
    return [int(label) for _, y in batches(DATA, 5, **options) for label in y]


@given(
    size=st.integers(1, 40),
    shuffle=st.booleans(),
    seed=st.integers(-(2**63), 2**64),
    epoch=st.integers(0, 10**6),
)
def test_every_example_occurs_exactly_once_beside_its_own_target(size, shuffle, seed, epoch):
    seen = []
    for x, y in batches(DATA, size, shuffle, seed=seed, epoch=epoch):
        assert len(x) == len(y) <= size
        assert (x[:, 0] == 2 * y).all()
        seen += y.tolist()
    assert sorted(seen) == list(range(N))


def test_the_order_depends_on_the_seed_and_the_epoch_alone():
    assert order(seed=3, epoch=1) == order(seed=3, epoch=1)
    assert order(seed=3, epoch=1) != order(seed=3, epoch=2)
    assert order(seed=3, epoch=1) != order(seed=4, epoch=1)


def test_the_size_of_a_batch_does_not_change_the_order():
    by_one = [int(y[0]) for _, y in batches(DATA, 1, seed=2)]
    assert by_one == order(seed=2)


def test_without_shuffling_the_order_is_that_of_the_data():
    assert order(shuffle=False, seed=9, epoch=9) == list(range(N))


def test_all_batches_are_full_but_the_last():
    assert [len(y) for _, y in batches(DATA, 5)] == [5, 5, 5, 5, 3]


def test_drop_last_leaves_out_the_batch_that_is_not_full():
    assert [len(y) for _, y in batches(DATA, 5, drop_last=True)] == [5, 5, 5, 5]
    assert [len(y) for _, y in batches(DATA[:20], 5, drop_last=True)] == [5, 5, 5, 5]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("start", [0, 2, 4])
def test_starting_late_gives_the_rest_of_the_same_epoch(start, drop_last):
    options = {"seed": 1, "epoch": 4, "drop_last": drop_last}
    whole = [y.tolist() for _, y in batches(DATA, 5, **options)]
    rest = batches(DATA, 5, start=start, **options)
    assert [y.tolist() for _, y in rest] == whole[start:]
    assert len(rest) == len(whole) - start


def test_the_number_of_batches_is_known_beforehand():
    assert len(batches(DATA, 5)) == 5
    assert len(batches(DATA, 5, drop_last=True)) == 4
    assert len(batches(DATA, 100)) == 1


def test_a_pass_can_be_repeated():
    once = batches(DATA, 5, seed=5)
    assert [y.tolist() for _, y in once] == [y.tolist() for _, y in once]


def test_several_targets_and_lengths_come_along():
    data = Dataset(DATA.x, {"a": DATA.y, "b": DATA.y[:, None] / 2}, lengths=DATA.y % 2 + 1)
    for x, y, lengths in batches(data, 4, seed=1):
        assert (y["a"] == x[:, 0] / 2).all()
        assert (y["b"][:, 0] == y["a"] / 2).all()
        assert (lengths == y["a"] % 2 + 1).all()


@pytest.mark.parametrize("shuffle", [False, True])
def test_writing_into_a_batch_leaves_the_data_alone(shuffle):
    kept = DATA.x.copy()
    for x, _ in batches(DATA, 5, shuffle):
        x[:] = -1
    np.testing.assert_array_equal(DATA.x, kept)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "size is 0, expected a whole number of at least 1"),
        ({"size": -3}, "size is -3"),
        ({"size": 2.5}, "size is 2.5"),
        ({"size": 24, "drop_last": True}, "23 examples fill no batch of 24"),
        ({"size": 5, "start": 6}, "start is 6, expected 0 to 5"),
        ({"size": 5, "start": -1}, "start is -1"),
    ],
)
def test_bad_arguments_are_refused_at_the_call(options, words):
    with pytest.raises(ConfigError, match=words):
        batches(DATA, **options)


def test_anything_but_a_dataset_is_refused_at_the_call():
    with pytest.raises(DataError, match="data is a tuple, expected a Dataset"):
        batches((DATA.x, DATA.y), 5)


# Sequences of several lengths ----------------------------------------------------------------------------------------

LENGTHS = np.random.default_rng(3).integers(1, 30, 203)
SEQUENCES = Dataset(np.zeros((203, 29, 1)), np.arange(203), LENGTHS)


def batches_of(size=8, **options):
    return [y.tolist() for _, y, _ in batches(SEQUENCES, size, **options)]


def test_lengths_come_beside_their_sequences_and_every_one_comes_once():
    seen = []
    for _, y, lengths in batches(SEQUENCES, 8, seed=1):
        np.testing.assert_array_equal(lengths, LENGTHS[y])
        seen += y.tolist()
    assert sorted(seen) == list(range(203))


def test_batches_hold_sequences_of_similar_lengths():
    spread = [np.ptp(LENGTHS[rows]) for rows in batches_of(seed=1)[:-1]]
    at_random = [np.ptp(LENGTHS[rows]) for rows in np.random.default_rng(0).permutation(203)[:200].reshape(25, 8)]
    assert np.mean(spread) < 0.4 * np.mean(at_random)
    longest = [max(LENGTHS[rows]) for rows in batches_of(seed=1)[:-1]]
    assert longest != sorted(longest), "short ones should not come first"


def test_the_order_of_sequences_depends_on_the_seed_and_the_epoch_alone():
    assert batches_of(seed=1, epoch=2) == batches_of(seed=1, epoch=2)
    assert batches_of(seed=1, epoch=2) != batches_of(seed=1, epoch=3)
    assert batches_of(seed=1, epoch=2) != batches_of(seed=2, epoch=2)


def test_sequences_resume_in_the_middle_and_drop_the_batch_that_is_not_full():
    whole = batches_of(seed=1, epoch=2)
    assert batches_of(seed=1, epoch=2, start=7) == whole[7:]
    assert batches_of(seed=1, epoch=2, drop_last=True) == whole[:-1]
    assert len(whole[-1]) == 203 % 8


def test_more_examples_than_one_batch_holds_are_left_as_they_are_drawn():
    assert sorted(batches_of(size=300, seed=1)[0]) == list(range(203))
