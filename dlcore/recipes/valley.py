"""A valley for the recipes on gradient descent: a quadratic cost in the plane, of which the best place is (0, 0)."""

from __future__ import annotations

from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Setup
from dlcore.recipes.picture import PALETTE, label, legend

__all__ = ["cost", "descend", "paths"]


def cost(path: np.ndarray, curvatures: tuple[float, float]) -> np.ndarray:
    """J = (a u² + b v²) / 2 at each place (u, v) of a path (steps, 2)."""
    return 0.5 * (np.asarray(curvatures) * np.asarray(path, dtype=float) ** 2).sum(axis=-1)


def descend(
    setup: Setup,
    opt: dl.optim.Optimizer,
    curvatures: tuple[float, float],
    steps: int,
    *,
    start: tuple[float, float] = (1.0, 1.5),
    schedule: dl.optim.Schedule | None = None,
    noise: float = 0.0,
) -> np.ndarray:
    """The path (steps + 1, 2) of an optimiser down J = (a u² + b v²) / 2, with a and b the ``curvatures``.

    noise : deviation of what is added to each gradient, as from a small batch

    J is the mean squared error of a linear model without bias on two examples, x = (√a, 0) and (0, √b), y = 0.
    """
    model = dl.nn.Dense(1, bias=False).build((2,), seed=setup.seed, device=setup.device)
    model.load_state_dict({"w": np.array(start, dtype=np.float32)[:, None]})
    x = dl.Tensor(np.diag(np.sqrt(curvatures)).astype(np.float32)).to(setup.device)
    y = dl.Tensor(np.zeros((2, 1), dtype=np.float32)).to(setup.device)
    rng, rate = np.random.default_rng(setup.seed), opt.lr
    opt.attach(model)
    path = [model.w.numpy().ravel().copy()]
    for step in range(1, steps + 1):
        if schedule is not None:
            opt.lr = schedule(rate, epoch=step - 1, step=step)
        loss = dl.losses.mse(model(x), y)
        if noise:
            push = rng.normal(0, noise, (2, 1)).astype(np.float32)
            loss = loss + (model.w * dl.Tensor(push).to(setup.device)).sum()
        loss.backward()
        opt.step()
        opt.zero_grad()
        path.append(model.w.numpy().ravel().copy())
    return np.array(path)


def paths(axes: Any, named: dict[str, np.ndarray], curvatures: tuple[float, float], title: str, limit: float) -> None:
    """Draw paths over the contours of the valley, the steep direction upwards."""
    v, u = np.meshgrid(np.linspace(-limit, limit, 121), np.linspace(-limit, limit, 121))
    height = cost(np.stack([u, v], axis=-1), curvatures)
    axes.contour(v, u, height, levels=height.max() * np.array([0.003, 0.02, 0.06, 0.15, 0.3, 0.55]), colors="#d5d9e0")
    for number, (name, path) in enumerate(named.items()):
        axes.plot(
            path[:, 1], path[:, 0], color=PALETTE[number], marker="osD^v"[number], markersize=3, linewidth=1.1,
            linestyle=("-", "--", "-.", ":")[number % 4], label=name,
        )  # fmt: skip
    axes.plot(0, 0, "+", color=PALETTE[5], markersize=10)
    axes.set_xlim(-limit, limit)
    axes.set_ylim(-limit, limit)
    label(axes, title, "flat direction", "steep direction")
    axes.grid(visible=False)
    legend(axes, "lower left")
