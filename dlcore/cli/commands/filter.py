"""``dlcore filter``: a picture through one filter, or through several, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dlcore.cli.options import DEBUG, DEVICE
from dlcore.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from backends.runtime.device import Device

__all__ = ["filter_picture"]

_TAKES: dict[str, dict[str, Any]] = {
    "moving_average": {"k": 1},
    "box": {"size": 3},
    "gaussian": {"sigma": 1.0, "order": 0, "truncate": 4.0},
    "sobel": {"axis": "both"},
    "scharr": {"axis": "both"},
    "prewitt": {"axis": "both"},
    "laplacian": {},
}
"""The settings of each filter, with the values that they have unless they are given; all take a border too."""

_MONTAGE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("moving_average", {"k": 2}),
    ("box", {"size": 9}),
    ("gaussian", {"sigma": 2.0}),
    ("sobel", {}),
    ("scharr", {}),
    ("prewitt", {}),
    ("laplacian", {}),
)


def _whole(kind: Any, tokens: Sequence[Any]) -> int:
    """The value of a flag that takes a whole number: cyclopts would round 1.5."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ConfigError(
            f"filter: {tokens[0].keyword} is {tokens[0].value!r:.40} but a whole number is expected"
        ) from None


def filter_picture(
    source: Annotated[str, Parameter(help="a PNG, JPEG, BMP, GIF or WEBP picture, or an NPY file")],
    target: Annotated[str, Parameter(help="the file to write: .png, .jpg or .npy")],
    /,
    *,
    kernel: Annotated[
        str | None,
        Parameter(help="moving_average, box, gaussian, sobel, scharr, prewitt or laplacian; needed without --montage"),
    ] = None,
    sigma: Annotated[float | None, Parameter(help="gaussian: standard deviation, in pixels [default: 1]")] = None,
    order: Annotated[
        int | None, Parameter(converter=_whole, help="gaussian: 0, or 1 or 2 for a derivative [default: 0]")
    ] = None,
    truncate: Annotated[float | None, Parameter(help="gaussian: how many sigma it reaches [default: 4]")] = None,
    size: Annotated[int | None, Parameter(converter=_whole, help="box: pixels a side [default: 3]")] = None,
    k: Annotated[
        int | None,
        Parameter(converter=_whole, help="moving_average: the window has 2k + 1 pixels a side [default: 1]"),
    ] = None,
    axis: Annotated[
        str | None, Parameter(help="sobel, scharr, prewitt: x, y, or both for the magnitude [default: both]")
    ] = None,
    border: Annotated[
        str | None, Parameter(help="beyond the picture: zero, reflect, symmetric, nearest or wrap [default: symmetric]")
    ] = None,
    montage: Annotated[
        bool,
        Parameter(
            negative=(), show_default=False, help="show the picture and seven filters side by side, with their names"
        ),
    ] = False,
    device: DEVICE = None,
    debug: DEBUG = False,
) -> int:
    """Filter a picture, grey or in colour, each colour by itself.

    A PNG or JPEG gets whole numbers from 0 to 255. What a smoothing filter gives is rounded and clipped to them; of an
    edge filter the absolute values are shown, scaled so that the largest is 255. An NPY file keeps the numbers
    themselves, as float32, or float64 where that came.

    The picture is filtered in strips: beside the picture and the result, each of a byte for each pixel and colour, that
    takes 64 MiB, or what one row and those that it depends on take. The most is taken before, by decoding: up to 18
    bytes a pixel in colour and 5 in grey, so 1.8 GB for 100 megapixels in colour. An NPY file is not decoded.
    """
    from backends.runtime.device import describe, resolve
    from dlcore.cli import pictures

    given = {"sigma": sigma, "order": order, "truncate": truncate, "size": size, "k": k, "axis": axis}
    given = {name: value for name, value in given.items() if value is not None}
    pictures.check_target(target)
    if montage:
        _check_montage(target, kernel, given)
    elif kernel is None:
        raise ConfigError(f"filter: give --kernel, one of {', '.join(_TAKES)}, or --montage")
    name = "laplacian" if kernel is None else kernel
    settings = _settings(name, given)
    border = "symmetric" if border is None else border
    place = resolve(device)
    run = _filter(name, settings, border, place)
    run(_pixel())  # refuses what the filter does not take, before a large picture is read
    reach = _reach(name, settings)
    print(describe(place))

    if montage:
        panels = _panels(pictures.small(source), border, place)
        pictures.write(target, pictures.side_by_side(panels))
        print(f"{target}: {len(panels)} panels; smoothed ones are clipped to 0–255, edges scaled by their maximum")
        return 0
    image = pictures.read(source)
    if Path(target).suffix.lower() == ".npy":
        pictures.write_numbers(target, image, pictures.strips(image, run, reach, border))
        print(f"{target}: the numbers themselves, {'×'.join(map(str, image.shape))}")
        return 0
    pictures.check_channels(source, image)
    if _smooths(name, settings):
        pixels, rule = pictures.clipped(image.shape, pictures.strips(image, run, reach, border)), pictures.CLIPPED
    else:
        largest = pictures.largest(pictures.strips(image, run, reach, border))
        pixels = pictures.scaled(image.shape, pictures.strips(image, run, reach, border), largest)
        rule = f"absolute values scaled by 255 / {largest:.6g}, their maximum"
    del image
    pictures.write(target, pixels)
    print(f"{target}: {rule}")
    return 0


# --- settings


def _settings(kernel: str, given: dict[str, Any]) -> dict[str, Any]:
    """The filter's settings, once each is known to be one of its own."""
    from dlcore.functional.filter import known

    takes = _TAKES[known("filter", "--kernel", kernel, _TAKES)]
    for name in given:
        if name not in takes:
            owners = ", ".join(filter_ for filter_, own in _TAKES.items() if name in own)
            raise ConfigError(f"filter: --{name} goes with {owners}, not with {kernel}; leave it out")
    return {**takes, **given}


def _check_montage(target: str, kernel: str | None, given: dict[str, Any]) -> None:
    if kernel is not None or given:
        came = "--kernel" if kernel is not None else f"--{next(iter(given))}"
        raise ConfigError(f"filter: --montage shows filters of its own and takes no {came}; leave one of the two out")
    if Path(target).suffix.lower() == ".npy":
        raise ConfigError(f"filter: {target}: a montage is a picture; write it to a .png or .jpg file")


def _smooths(kernel: str, settings: dict[str, Any]) -> bool:
    return kernel in ("moving_average", "box", "gaussian") and settings.get("order", 0) == 0


def _reach(kernel: str, settings: dict[str, Any]) -> tuple[int, int]:
    """How many rows above and below a row its result depends on."""
    if kernel == "box":
        return (settings["size"] - 1) // 2, settings["size"] // 2
    if kernel == "gaussian":
        from dlcore.filters import gaussian_kernel

        rows = len(gaussian_kernel((settings["sigma"], 1.0), settings["truncate"])) // 2
    else:
        rows = settings.get("k", 1)  # every mask is 3 × 3
    return rows, rows


def _filter(kernel: str, settings: dict[str, Any], border: str, place: Device) -> Callable[[np.ndarray], np.ndarray]:
    """The filter as a function of arrays on the host."""
    from backends.runtime.copies import to_device, to_host
    from dlcore import filters

    def run(image: np.ndarray) -> np.ndarray:
        x = to_device(image, place)
        if settings.get("axis") == "both":
            return to_host(filters.edges(x, kernel, border=border)[0])
        return to_host(getattr(filters, kernel)(x, **settings, border=border))

    return run


def _pixel() -> np.ndarray:
    import numpy as np

    return np.zeros((1, 1), np.float32)


def _panels(image: np.ndarray, border: str, place: Device) -> list[tuple[str, np.ndarray]]:
    """The picture and every filter of the montage, (H, W) or (H, W, 3) uint8 each, with their names."""
    from dlcore.cli import pictures

    panels = [("original", pictures.clipped(image.shape, [image]))]
    for kernel, changed in _MONTAGE:
        settings = {**_TAKES[kernel], **changed}
        y = _filter(kernel, settings, border, place)(image)
        if _smooths(kernel, settings):
            pixels = pictures.clipped(y.shape, [y])
        else:
            pixels = pictures.scaled(y.shape, [y], pictures.largest([y]))
        panels.append((", ".join([kernel.replace("_", " "), *(f"{n} {v:g}" for n, v in changed.items())]), pixels))
    return panels
