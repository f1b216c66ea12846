"""``dlcore generate``: text from a run that has learnt from text."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from dlcore.cli.options import DEBUG, DEVICE, TRUST
from dlcore.errors import ConfigError

__all__ = ["generate"]


def generate(
    run: Annotated[str, Parameter(help="a run's folder, or its name among --runs")],
    /,
    *,
    prompt: Annotated[str, Parameter(help="what the text begins with", allow_leading_hyphen=True)] = "",
    length: Annotated[int, Parameter(help="characters that follow the prompt")] = 300,
    temperature: Annotated[float, Parameter(help="below 1 likely characters come more often; 0: the likeliest")] = 0.8,
    seed: Annotated[int | None, Parameter(help="seed of the draws [default: 0]")] = None,
    device: DEVICE = None,
    runs: Annotated[str, Parameter(help="folder of all runs")] = "runs",
    trust: TRUST = False,
    debug: DEBUG = False,
) -> int:
    """Write text with the model of a run of dlcore train --data hamlet, or of a text of your own.

    A character that was not in the training text is an error, or stands for <unk> where the run was trained with
    --unknown replace, which is the default. The same seed gives the same text. A run from somebody else may bring code
    along, its model.py or modules that its model.json names: it is refused until you have read it and give --trust.
    """
    if seed is not None and temperature == 0:
        raise ConfigError("--seed has no effect with --temperature 0, which draws nothing; leave one of them out")
    from backends.runtime.device import resolve
    from dlcore.experiment.trained import TrainedRun
    from dlcore.train.runs.run import Run

    opened = TrainedRun(Run.find(run, runs), resolve(device))
    print(prompt + opened.generate(prompt, length=length, temperature=temperature, seed=seed or 0))
    return 0
