"""``dlcore generate``: text from a run that has learnt from text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dlcore.cli.flags import DEBUG, DEVICE, TRUST
from dlcore.errors import ConfigError

if TYPE_CHECKING:
    from dlcore.data import Vocabulary

__all__ = ["generate", "vocabulary_of"]


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
    from backends.device import resolve
    from dlcore.train import generation
    from dlcore.train.rebuild import load_about
    from dlcore.train.run import Run

    found = Run.find(run, runs)
    about, _ = load_about(found.folder)
    if about.get("task") != "text":
        raise ConfigError(
            f"{found.folder} has learnt from {about.get('data')}, which is no text; train a model of one by dlcore "
            "train --data hamlet"
        )
    place = resolve(device)
    vocabulary = vocabulary_of(about)
    model, _, _ = found.model(place)
    options = {"length": length, "temperature": temperature, "seed": seed or 0}
    print(prompt + generation.generate(model, vocabulary, prompt, **options))
    return 0


def vocabulary_of(about: dict[str, Any]) -> Vocabulary:
    """The vocabulary that a run was trained with."""
    from dlcore.data import Vocabulary

    return Vocabulary(tuple(about["classes"]))
