"""``dlcore parity``: one training step on several devices, compared layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dlcore.cli.opened import first_batch, open_model
from dlcore.cli.options import DEBUG, TRUST
from dlcore.cli.texts import about_loss, unit
from dlcore.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dlcore.data import Splits
    from dlcore.tensor import Tensor
    from dlcore.train.config.config import Config

__all__ = ["parity"]


def parity(
    model: Annotated[
        str, Parameter(help="a run's folder or name, cnn, mlp, gru, lstm, rnn, logistic, linear, or file.py:build")
    ],
    /,
    *,
    devices: Annotated[
        tuple[str, ...],
        Parameter(
            consume_multiple=True,
            negative=(),
            show_default=False,
            help="two or more of cpu, cuda, cuda:N, auto, cpu-reference and cuda-reference; the first is the measure "
            "[default: cpu cuda]",
        ),
    ] = ("cpu", "cuda"),
    data: Annotated[str | None, Parameter(help="where the batch is from [default: as the run, or fashion-subset]")] = (
        None
    ),
    batch_size: Annotated[
        int, Parameter(help="examples in the batch; few, since among many one is always near a kink")
    ] = 8,
    dtype: Annotated[Literal["float32", "float64"], Parameter(help="precision of the step")] = "float32",
    tolerance: Annotated[
        float | None,
        Parameter(help="allowed difference, relative to the largest element [default: 1e-4, float64 1e-11]"),
    ] = None,
    seed: Annotated[int, Parameter(help="seed of the weights, where no run gives them")] = 0,
    runs: Annotated[str, Parameter(help="folder of all runs")] = "runs",
    trust: TRUST = False,
    debug: DEBUG = False,
) -> int:
    """Take one training step from equal weights on each device, and compare every layer, forward and backward.

    On cpu-reference every kernel runs its reference: cpu against it checks the compiled kernels of this machine.
    Layers that are computed in one go stand together, "1 + 2 + 3". The exit code is 0 within the tolerance, 1 where a
    layer is out of it; the last line names the first one. A run of your own model runs the copy of your file that it
    holds.
    """
    if batch_size < 1:
        raise ConfigError(f"--batch-size is {batch_size} but a whole number of at least 1 is expected")
    from dlcore.parity import parity as compare
    from dlcore.parity import place

    places = [place(name) for name in devices]
    settings, built, splits = open_model("parity", model, data, seed, runs)
    x, y, *_ = first_batch(splits, batch_size)
    loss = _loss(settings, splits)
    found = compare(built, x, devices, y=y, loss=loss, dtype=dtype, tolerance=tolerance)
    print(f"devices: {', '.join(map(str, places))}")
    print(f"model: {model}, {built.count():,} parameters, {dtype}")
    print(f"data: {len(x):,} {unit(splits)} of {splits.name}; loss {about_loss(settings, splits)}")
    print(found)
    return 0 if found else 1


def _loss(settings: Config, splits: Splits) -> str | Callable[[Any, Any], Tensor]:
    """The loss as a check takes it: of several heads their weighted sum, in which missing labels count nothing."""
    from dlcore.train.engine.objective import Objectives

    loss = settings.objective(splits)
    return loss if not isinstance(loss, dict) else Objectives(loss, None, settings.train.weights()).loss
