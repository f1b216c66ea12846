"""Exploding and vanishing gradients (notes 2.4).

A signal that is multiplied by slightly more than 1 in each of 50 layers explodes, one that is multiplied by slightly
less vanishes, and the gradients on their way back do the same. Weights drawn by He's rule keep the length of what
passes a ReLU; scaled by 1.3 and by 0.7 they do not. A sigmoid, whose slope is at most 1/4, lets gradients vanish
anyway.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import label, lines, panels

WIDTH = 64
NETWORKS: dict[str, tuple[Any, float]] = {
    "ReLU, He × 1.3": (dl.nn.ReLU, 1.3),
    "ReLU, He": (dl.nn.ReLU, 1.0),
    "ReLU, He × 0.7": (dl.nn.ReLU, 0.7),
    "sigmoid, Xavier": (dl.nn.Sigmoid, np.sqrt(0.5)),
}
"""By name: the activation, and by what He's deviation is multiplied."""


def once(setup: Setup, depth: int, activation: Any, scale: float) -> tuple[np.ndarray, float]:
    """One forward and one backward pass: log10 of the mean |a| behind each layer, and of the length of the first dW."""
    init = dl.nn.init.normal(float(scale * np.sqrt(2 / WIDTH)))
    layers = [layer for _ in range(depth) for layer in (dl.nn.Dense(WIDTH, init=init), activation())]
    model = dl.nn.Sequential(*layers, dl.nn.Dense(10))
    model.build((WIDTH,), seed=setup.seed, dtype="float64", device=setup.device)
    rng = np.random.default_rng(setup.seed)
    a = dl.Tensor(rng.normal(size=(256, WIDTH))).to(setup.device)
    y = dl.Tensor(rng.integers(0, 10, 256)).to(setup.device)
    sizes = []
    for i in range(0, 2 * depth, 2):
        a = model[i + 1](model[i](a))
        sizes.append(np.log10(np.abs(a.numpy()).mean()))
    dl.losses.cross_entropy(model[2 * depth](a), y).backward()
    dw = dl.Tensor(model[0].w.grad).numpy()  # pyright: ignore[reportAttributeAccessIssue]
    return np.array(sizes), float(np.log10(np.linalg.norm(dw)))


@recipe("2.4", "In very deep networks, values slightly beyond 1 explode and values slightly below 1 vanish.")
def exploding_and_vanishing(setup: Setup) -> Result:
    depths = setup.pick((2, 5, 10, 20, 30, 50), (2, 10, 50))
    found = {n: [once(setup, depth, *how) for depth in depths] for n, how in NETWORKS.items()}
    first = {n: np.array([slope for _, slope in runs]) for n, runs in found.items()}
    change = {n: slopes[-1] - slopes[0] for n, slopes in first.items()}  # from the shallowest to the deepest network
    sizes = {n: runs[-1][0] for n, runs in found.items()}

    def draw(figure: Any) -> None:
        left, right = panels(figure, 2)
        lines(left, None, {n: 10.0**by_layer for n, by_layer in sizes.items()})
        label(left, f"Forward, {depths[-1]} layers", "layer", "mean |activation| behind it", log="y")
        lines(right, depths, {n: 10.0**slopes for n, slopes in first.items()}, marks=True, place="none")
        label(right, "Backward, first layer", "layers of the network", "length of dW", log="y")

    return Result(
        ("network", f"first dW, {depths[0]} layers", f"{depths[-1]} layers", "mean |activation|, last layer"),
        [(n, *(f"{10 ** first[n][i]:.1e}" for i in (0, -1)), f"{10 ** sizes[n][-1]:.1e}") for n in NETWORKS],
        [
            at_least("powers of ten by which dW grows with He × 1.3", change["ReLU, He × 1.3"], 3),
            at_most("the same with He × 0.7", change["ReLU, He × 0.7"], -4),
            at_most("the same with a sigmoid", change["sigmoid, Xavier"], -10),
            at_most("the same with He, up or down", abs(change["ReLU, He"]), 1.5),
            at_least(
                "powers of ten of the activations behind the last layer, He × 1.3", sizes["ReLU, He × 1.3"][-1], 3
            ),
            at_most(
                "powers of ten of the activations behind the last layer, He × 0.7", sizes["ReLU, He × 0.7"][-1], -4
            ),
        ],
        draw,
    )
