"""Augmentation: what each does, and that a batch is augmented in the same way on every kind of array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arrays import KINDS, Backend, backend

import dlcore as dl
from backends.random import bits, derive
from backends.runtime import copies
from backends.runtime.device import Device
from dlcore.data.augment import (
    FILLS,
    Augmentation,
    Brightness,
    Compose,
    Crop,
    Cutout,
    Flip,
    Rotate,
    Shift,
    Zoom,
)

MOVING = [
    Flip(), Flip(1), Shift(2), Shift(0.3), *(Shift(9, fill, 0.5) for fill in FILLS), Crop(2), Crop(0.2, fill="reflect"),
    Cutout(3), Cutout(0.5, 0.5), Compose([Shift(1), Flip()]),
]  # fmt: skip
"""Pixels stay what they are."""
COMPUTING = [
    *(Rotate(40, fill, 0.5) for fill in FILLS), *(Zoom(0.4, 1.8, fill, 0.5) for fill in FILLS), Crop(size=1),
    Crop(size=0.7), Brightness(0.4), Compose([Rotate(10), Flip(), Compose([Zoom(0.9, 1.1), Cutout(2)])]),
]  # fmt: skip
ALL = [*MOVING, *COMPUTING]
PAD = {"constant": "constant", "nearest": "edge", "reflect": "reflect", "symmetric": "symmetric", "wrap": "wrap"}


def batch(n: int = 6, h: int = 7, w: int = 5, c: int = 2, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(n + h + w + c).standard_normal((n, h, w, c)).astype(dtype)


def drawn(name: str, words: int, n: int, seed: int = 0, step: int = 0) -> list[list[int]]:
    """The random words of each image, as the module's text defines them."""
    return bits(np, derive(seed, "augment", name, step), n, words).tolist()


# The same on every kind of array -------------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_seed_and_a_step_give_one_batch_on_every_kind_of_array(
    augmentation: Augmentation, dtype: str, arrays: Backend
) -> None:
    x = batch(dtype=dtype)
    placed = arrays.place(x)
    y = augmentation(placed, seed=3, step=8)
    assert arrays.device.holds(y)
    y = arrays.host(y)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert np.isfinite(y).all()
    assert y.tobytes() == augmentation(x, seed=3, step=8).tobytes()  # every kind computes by NumPy here
    assert arrays.host(placed).tobytes() == x.tobytes(), "the batch that came was written into"


@pytest.mark.level7
@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_a_real_gpu_gives_the_same_batch(augmentation: Augmentation, cuda: Device) -> None:
    x = batch()
    y = copies.to_host(augmentation(copies.to_device(x, cuda), seed=3, step=8))
    expected = augmentation(x, seed=3, step=8)
    if augmentation in MOVING:
        assert y.tobytes() == expected.tobytes()
    else:  # places in float32 are good to 1e-6 pixels, and neighbours differ by up to 6
        np.testing.assert_allclose(y, expected, atol=2e-5)


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_nothing_comes_back_and_each_augmentation_uploads_once(augmentation: Augmentation, arrays: Backend) -> None:
    x = arrays.place(batch())
    before = copies.counts()
    augmentation(x)
    counted = copies.counts().since(before)
    assert (counted.uploads, counted.downloads) == (_count(augmentation), 0)


def _count(augmentation: Augmentation) -> int:
    return sum(map(_count, augmentation.transforms)) if isinstance(augmentation, Compose) else 1


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_parts_of_a_batch_are_the_parts_of_the_whole(augmentation: Augmentation) -> None:
    x = batch(9)
    whole = augmentation(x, seed=1, step=4)
    parts = [augmentation(x[a:b], seed=1, step=4, first_row=a) for a, b in ((0, 1), (1, 6), (6, 9))]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_another_step_or_seed_gives_another_batch(augmentation: Augmentation) -> None:
    x = batch(16)
    batches = {augmentation(x, seed=seed, step=step).tobytes() for seed, step in ((0, 0), (0, 1), (1, 0), (0, 0))}
    assert len(batches) == (1 if augmentation.config.get("p") == 1 else 3)


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_each_image_is_augmented_on_its_own(augmentation: Augmentation) -> None:
    same = np.repeat(batch(1), 16, axis=0)
    different = {image.tobytes() for image in augmentation(same)}
    assert len(different) > 1 or augmentation.config.get("p") == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (6, 1), (2, 2)])
@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_images_of_any_size_keep_it(augmentation: Augmentation, size: tuple[int, int], arrays: Backend) -> None:
    for n, c in ((0, 1), (1, 1), (3, 4)):
        y = arrays.host(augmentation(arrays.place(batch(n, *size, c))))
        assert y.shape == (n, *size, c)
        assert np.isfinite(y).all()


# What each does ------------------------------------------------------------------------------------------------------


def test_two_flips_are_none() -> None:
    x = batch()
    assert np.array_equal(Flip(1)(x), x[:, :, ::-1])
    assert np.array_equal(Compose([Flip(1), Flip(1)])(x), x)
    assert np.array_equal(Flip(0)(x), x)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_share_of_flipped_images_is_p(p: float) -> None:
    x = np.tile(np.array([0.0, 1.0]).reshape(1, 1, 2, 1), (4000, 1, 1, 1))
    flipped = Flip(p)(x)[:, 0, 0, 0].mean()
    assert abs(flipped - p) < 4 * np.sqrt(p * (1 - p) / 4000)  # four standard deviations


@pytest.mark.parametrize("none", [Rotate(0), Zoom(1, 1), Shift(0), Crop(0), Crop(size=6), Brightness(0)], ids=repr)
def test_nothing_to_do_changes_no_bit(none: Augmentation) -> None:
    x = batch(4, 6, 6)
    assert none(x).tobytes() == x.tobytes()


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("make", [Shift, Crop])
def test_a_shift_is_a_window_of_the_image_continued_by_the_fill(make: Any, fill: str) -> None:
    x, d = batch(40, 5, 6), 4
    y = make(d, fill=fill, value=0.25)(x, seed=2, step=1)
    value = {"constant_values": 0.25} if fill == "constant" else {}
    seen = set()
    for image, moved, (down, right) in zip(x, y, drawn(make.__name__, 2, 40, seed=2, step=1), strict=True):
        a, b = ((word * (2 * d + 1)) // 2**32 - d for word in (down, right))
        wide = np.pad(image, ((d, d), (d, d), (0, 0)), PAD[fill], **value)
        assert np.array_equal(moved, wide[d - a : d - a + 5, d - b : d - b + 6])
        if fill == "wrap":
            assert np.array_equal(moved, np.roll(image, (a, b), (0, 1)))
        seen |= {("down", a), ("right", b)}
    assert len(seen) == 18, "each of -4 ... 4 on both axes"


def test_a_share_is_of_each_side() -> None:
    x = np.zeros((200, 20, 10, 1))
    x[:, 10, 5] = 1.0
    rows, columns = (np.argmax(Shift(0.1)(x).max(axis=axis)[..., 0], axis=1) for axis in (2, 1))
    assert sorted(set(rows.tolist())) == [8, 9, 10, 11, 12]
    assert sorted(set(columns.tolist())) == [4, 5, 6]


@pytest.mark.parametrize("angle", [90, 180])
def test_a_quarter_and_a_half_turn_are_exact(angle: int) -> None:
    """Where all bits of a word are 0 the angle is the smallest, -degrees: counter-clockwise."""
    x = batch(1, 5, 5, dtype="float64")
    y = Rotate(angle).apply(x, np.zeros((1, 1), np.uint32))
    np.testing.assert_allclose(y, np.rot90(x, angle // 90, axes=(1, 2)), atol=1e-14)  # cos 90° is 6e-17


def test_a_turn_is_about_the_middle_and_within_its_limit() -> None:
    plane = np.tile(np.arange(-10.0, 11.0)[None, :, None, None], (500, 1, 21, 1))  # interpolation keeps planes
    turned = Rotate(20)(plane)[:, 10, 11, 0]  # one pixel right of the middle: sin of the angle
    angles = np.degrees(np.arcsin(turned))
    assert np.allclose(Rotate(20)(plane)[:, 10, 10, 0], 0.0)
    assert -20 <= angles.min() < -19
    assert 19 < angles.max() <= 20


def test_a_zoom_stretches_about_the_middle_within_its_limits() -> None:
    plane = np.tile((np.arange(21.0) - 10)[None, :, None, None], (500, 1, 21, 1))
    zoomed = Zoom(0.8, 1.25)(plane)
    factors = 1 / zoomed[:, 11, 3, 0]
    assert np.allclose(zoomed[:, 10, 10, 0], 0.0)
    assert 0.8 <= factors.min() < 0.81
    assert 1.24 < factors.max() <= 1.25


def test_a_crop_enlarges_a_window_inside_the_image() -> None:
    plane = np.tile(np.arange(8.0)[None, :, None, None], (200, 1, 8, 1))
    y = Crop(size=4)(plane)
    tops = {(float(image[2, 0, 0]) - 0.75) for image in y}  # (2 + 1/2) · 4/8 − 1/2 = 3/4 below the top
    assert tops == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert np.allclose(np.diff(y[:, 1:-1], axis=1), 0.5)
    assert y.min() == 0
    assert y.max() == 7


def test_brightness_adds_one_number_an_image() -> None:
    x = batch(300, 3, 3, dtype="float64")
    added = Brightness(0.3)(x) - x
    assert np.allclose(added, added[:, :1, :1, :1])
    assert -0.3 <= added.min() < -0.29
    assert 0.29 < added.max() <= 0.3


@pytest.mark.parametrize(("size", "sides"), [(3, (3, 3)), (0.5, (5, 3)), (1, (1, 1)), (40, (10, 6))])
def test_cutout_covers_one_rectangle_of_an_image(size: float, sides: tuple[int, int]) -> None:
    covered = Cutout(size, value=2.0)(np.ones((300, 10, 6, 2))) == 2.0
    assert np.array_equal(covered[..., 0], covered[..., 1])
    for mask in covered[..., 0]:
        rows, columns = mask.any(axis=1), mask.any(axis=0)
        assert np.array_equal(mask, rows[:, None] & columns)
        for side, most in zip((rows, columns), sides, strict=True):
            (places,) = side.nonzero()
            assert 1 <= len(places) <= most
            assert places[-1] - places[0] == len(places) - 1
    assert covered[..., 0].any(axis=2).sum(axis=1).max() == sides[0]
    assert covered.any(axis=0).all(), "every pixel is covered at times"


def test_the_augmentations_of_a_compose_come_in_order_and_draw_numbers_of_their_own() -> None:
    x = batch(32)
    composed = Compose([Shift(1), Shift(1)])(x, seed=4, step=2)
    by_hand = Shift(1)(Shift(1)(x, seed=4, step=2, place="0."), seed=4, step=2, place="1.")
    assert composed.tobytes() == by_hand.tobytes()
    moved = np.zeros((300, 1, 9, 1))
    moved[:, :, 4] = 1.0
    places = Compose([Shift(1, "constant"), Shift(1, "constant")])(moved)[:, 0, :, 0].argmax(axis=1)
    assert {3, 5} < set(places.tolist()), "two shifts that drew the same could only move by 0 or 2"


def test_one_of_your_own_takes_part() -> None:
    class Invert(Augmentation):
        words = 1

        def apply(self, x: Any, words: np.ndarray) -> Any:
            assert words.shape == (6, 1)
            return 1.0 - x

    x = batch()
    assert np.array_equal(Compose([Invert(), Flip(1)])(x), (1.0 - x)[:, :, ::-1])


# What does not fit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Flip(1.5), r"Flip: p is 1\.5 but a number in \[0, 1\]"),
        (lambda: Flip("often"), r"p is 'often'"),
        (lambda: Flip(probability=0.5), r"Flip: .*it takes p"),
        (lambda: Rotate(-1), r"Rotate: degrees is -1 but a number in \[0, 180\]"),
        (lambda: Rotate(float("nan")), "degrees is nan"),
        (lambda: Zoom(0, 1), r"Zoom: low is 0 but a number in \[0\.01, 100\]"),
        (lambda: Zoom(1.2, 0.8), r"low is 1\.2 and high 0\.8 but low <= high"),
        (lambda: Zoom(True, 2), "low is True"),
        (lambda: Shift(-1), r"Shift: by is -1 but a whole number of pixels from 0 on, or a share between 0 and 1"),
        (lambda: Shift(1.5), r"by is 1\.5"),
        (lambda: Shift(2**40), "by is"),
        (lambda: Shift(1, "nearst"), r"fill is 'nearst' .*did you mean nearest"),
        (lambda: Shift(1, "constant", float("inf")), "value is inf but a finite number"),
        (lambda: Crop(), r"Crop: padding is None and size None but exactly one"),
        (lambda: Crop(1, 2), "exactly one"),
        (lambda: Crop(size=0), "size is 0 but a whole number of pixels from 1 on"),
        (lambda: Brightness(-0.1), r"Brightness: amount is -0\.1"),
        (lambda: Brightness(float("inf")), "amount is inf"),
        (lambda: Cutout(0), "Cutout: size is 0"),
        (lambda: Cutout(2, None), "value is None"),
        (lambda: Compose([]), r"Compose: transforms is \[\] but a list of augmentations"),
        (lambda: Compose([Flip]), "list of augmentations is expected"),
        (lambda: Compose(Flip()), "list of augmentations is expected"),
    ],
)
def test_bad_arguments_are_refused(make: Any, words: str) -> None:
    with pytest.raises(dl.ConfigError, match=words):
        make()


def test_what_is_no_batch_of_images_is_refused(arrays: Backend) -> None:
    with pytest.raises(dl.ShapeError, match=r"Flip: x has shape \(4, 3\) but images \(N, H, W, C\)"):
        Flip()(arrays.place(np.ones((4, 3))))
    with pytest.raises(dl.DataError, match=r"Rotate: x holds .*uint8 but floats"):
        Rotate(5)(arrays.place(np.ones((1, 2, 2, 1), np.uint8)))
    with pytest.raises(dl.ShapeError, match="Crop: size is 9 but the images are 7 x 5"):
        Crop(size=9)(arrays.place(batch()))


def test_float16_images_are_sampled_at_places_in_float32() -> None:
    x = batch(2, 40, 40, dtype="float64")
    y = Rotate(30)(x.astype(np.float16))
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, Rotate(30)(x), atol=0.02)  # ten units of numbers up to 4


# In training ---------------------------------------------------------------------------------------------------------


def _trainer(kind: Backend, **settings: Any) -> dl.Trainer:
    nn = dl.nn
    model = nn.Sequential(nn.Conv2D(4, 3), nn.ReLU(), nn.Flatten(), nn.Dense(3))
    return dl.Trainer(model, metrics=["accuracy"], device=kind.device, **{"seed": 2, **settings})


def _data() -> dl.data.Dataset:
    return dl.data.Dataset(batch(20, 6, 6, 1), np.arange(20) % 3)


class Watch(Augmentation):
    """Flips, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []

    def __call__(self, x: Any, seed: int = 0, step: int = 0, *, first_row: int = 0, place: str = "") -> Any:
        self.asked.append((x.shape[0], seed, step))
        return x[:, :, ::-1, :]


def test_each_training_batch_is_augmented_by_seed_and_step_and_no_other(arrays: Backend) -> None:
    watch = Watch()
    trainer = _trainer(arrays, augment=watch)
    trainer.fit(_data(), _data(), epochs=2, batch_size=8)
    rows, *asked = watch.asked
    assert rows == (2, 0, 0)  # the two rows that fit tries first
    assert asked == [(n, 2, step) for step, n in enumerate([8, 8, 4, 8, 8, 4])]
    trainer.evaluate(_data())
    trainer.predict(_data().x)
    assert len(watch.asked) == 7


def test_training_on_flipped_images_is_training_with_a_flip() -> None:
    with backend("numpy") as kind:
        data = _data()
        flipped = dl.data.Dataset(np.ascontiguousarray(data.x[:, :, ::-1]), data.y)
        one = _trainer(kind, augment=Flip(1)).fit(data, flipped, epochs=2, batch_size=8)
        other = _trainer(kind).fit(flipped, flipped, epochs=2, batch_size=8)
    for name in ("loss", "accuracy", "dev_loss"):
        assert one[name] == other[name]


def test_an_augmented_run_is_the_same_on_every_kind_of_array() -> None:
    augment = Compose([Flip(), Rotate(15), Zoom(0.8, 1.2), Shift(1), Crop(size=5), Brightness(0.1), Cutout(2)])
    histories, uploads = {}, {}
    for name in KINDS:
        with backend(name) as kind:
            trainer = _trainer(kind, augment=augment)
            trainer.fit(_data(), epochs=2, batch_size=8)
            before = copies.counts()
            histories[name] = trainer.fit(_data(), epochs=1, batch_size=8)
            uploads[name] = copies.counts().since(before).uploads
    # three batches, each x and y at once, and a trial of both; with seven augmentations each
    assert set(uploads.values()) == {(1 + 7) * 3 + (2 + 7)}
    for name, history in histories.items():
        np.testing.assert_allclose(history["loss"], histories["numpy"]["loss"], rtol=1e-5, err_msg=name)


def test_data_that_cannot_be_augmented_are_refused_before_the_first_step(arrays: Backend) -> None:
    table = dl.data.Dataset(np.ones((8, 3), np.float32), np.arange(8) % 2)
    trainer = dl.Trainer(dl.nn.Dense(2), device=arrays.device, augment=Compose([Flip()]))
    with pytest.raises(dl.ShapeError, match="images"):
        trainer.fit(table)
    assert trainer.step == 0
    with pytest.raises(dl.ConfigError, match=r"Trainer: augment is 'flip' .*dl\.data\.augment\.Flip"):
        dl.Trainer(dl.nn.Dense(2), augment="flip")  # type: ignore[arg-type]
