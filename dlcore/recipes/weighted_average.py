"""Exponentially weighted averages (notes 3.4).

v = βv + (1 − β)θ remembers about 1 / (1 − β) values. A large β gives a smooth curve that comes late, a small one a
noisy curve that comes at once. Starting from v = 0, the first averages are too small; dividing by 1 − βᵗ puts them
right.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import MUTED, label, lines, panels

BETAS = (0.5, 0.9, 0.98)


def average(values: np.ndarray, beta: float, bias_correction: bool = True) -> np.ndarray:
    """The average after each value."""
    v = dl.metrics.ExponentialAverage(beta, bias_correction)
    return np.array([v.update(float(value)) for value in values])


def delay(season: np.ndarray, beta: float) -> int:
    """How many days late the average is: the shift of the season that fits it best, from day 100 on."""
    v = average(season, beta)[100:]
    return min(range(90), key=lambda days: float(np.abs(v - season[100 - days : len(season) - days]).sum()))


@recipe("3.4", "A large β is smooth and late, a small β noisy and fast; bias correction mends the first averages.")
def weighted_average(setup: Setup) -> Result:
    days = np.arange(1, 366)
    season = 14 - 8 * np.cos(2 * np.pi * days / 365)  # °C
    weather = season + np.random.default_rng(setup.seed).normal(0, 3, days.size)
    curves = {beta: average(weather, beta) for beta in BETAS}
    rough = {beta: float(np.std(np.diff(curve[100:]))) for beta, curve in curves.items()}
    late = {beta: delay(season, beta) for beta in BETAS}
    plain, mended = average(weather, 0.98, bias_correction=False), curves[0.98]
    error = {n: float(np.abs(v[:30] - season[:30]).mean()) for n, v in (("plain", plain), ("mended", mended))}

    def draw(figure: Any) -> None:
        left, right = panels(figure, 2)
        for axes, last in ((left, 365), (right, 120)):
            axes.plot(days[:last], weather[:last], ".", color=MUTED, markersize=2.5, alpha=0.6)
        lines(left, days, {f"β = {beta:g}": curve for beta, curve in curves.items()})
        label(left, "A year's temperatures and their averages", "day", "°C")
        lines(right, days[:120], {"v, from 0": plain[:120], "v / (1 − βᵗ)": mended[:120]})
        label(right, "The first days, β = 0.98", "day", "°C")

    return Result(
        ("β", "roughness, °C a day", "delay, days"),
        [(f"{beta:g}", rough[beta], late[beta]) for beta in BETAS],
        [
            at_least("roughness, β = 0.5 over β = 0.98", rough[0.5] / rough[0.98], 10),
            at_least("delay of β = 0.98, days", late[0.98], 20),
            at_most("delay of β = 0.5, days", late[0.5], 2),
            at_least(
                "error over the first 30 days, without correction over with it", error["plain"] / error["mended"], 3
            ),
            at_most("difference that the correction makes on day 365, °C", abs(plain[-1] - mended[-1]), 0.05),
        ],
        draw,
    )
