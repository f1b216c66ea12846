"""``dlcore gradcheck``: is a model's backward pass the derivative of its forward pass?"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from dlcore.cli.opened import first_batch, open_model
from dlcore.cli.options import DEBUG, TRUST
from dlcore.cli.texts import about_loss, table, unit
from dlcore.errors import ConfigError

__all__ = ["gradcheck"]


def gradcheck(
    model: Annotated[
        str, Parameter(help="a run's folder or name, cnn, mlp, gru, lstm, rnn, logistic, linear, or file.py:build")
    ],
    /,
    *,
    data: Annotated[str | None, Parameter(help="where the batch is from [default: as the run, or fashion-subset]")] = (
        None
    ),
    batch_size: Annotated[int, Parameter(help="examples in the batch")] = 4,
    tolerance: Annotated[float, Parameter(help="largest relative error that passes, of every parameter")] = 1e-6,
    seed: Annotated[int, Parameter(help="seed of the weights, where no run gives them, and of the directions")] = 0,
    runs: Annotated[str, Parameter(help="folder of all runs")] = "runs",
    trust: TRUST = False,
    debug: DEBUG = False,
) -> int:
    """Compare a model's gradient with two-sided differences of its loss, in float64, parameter by parameter.

    The run's penalty is part of the loss. Dropout is off, and batch norm uses its running statistics, as the check
    needs one and the same loss each time. The worst parameter comes first; the exit code is 1 where one is out of the
    tolerance. A run of your own model runs the copy of your file that it holds.
    """
    if batch_size < 1:
        raise ConfigError(f"--batch-size is {batch_size} but a whole number of at least 1 is expected")
    from dlcore.testing import gradient_check

    settings, built, splits = open_model("gradcheck", model, data, seed, runs)
    x, y, *rest = first_batch(splits, batch_size)
    loss, penalty = settings.objective(splits), settings.penalty.build(len(splits.train))
    lengths = rest[0] if rest else None
    found = gradient_check(built.eval(), x, y, loss, penalty, lengths=lengths, tolerance=tolerance, seed=seed)
    more = "" if penalty is None else f" with penalty {settings.penalty.penalty}, lam {settings.penalty.lam:g}"
    print(f"model: {model}, {built.count():,} parameters, checked in float64")
    print(f"data: {len(x):,} {unit(splits)} of {splits.name}; loss {about_loss(settings, splits)}{more}")
    passed = {path: error <= tolerance for path, error in found.errors.items()}
    rows = [[path, f"{error:.1e}", "ok" if passed[path] else "WRONG"] for path, error in found.errors.items()]
    print("\n".join(table([["parameter", "relative error", ""], *rows], left={0, 2})))
    if found and all(passed.values()):
        print(f"gradcheck: passed, relative error {found.relative_error:.1e}, tolerance {tolerance:g}")
        return 0
    print(f"gradcheck: failed, {found.worst} is off by {found.errors[found.worst]:.1e}, tolerance {tolerance:g}")
    return 1
