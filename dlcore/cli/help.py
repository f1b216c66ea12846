"""What ``--help`` says of a command beyond its line in the list: its whole docstring, and examples."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from cyclopts import App

__all__ = ["EXAMPLES", "tell_all"]

EXAMPLES: dict[str, tuple[str, ...]] = {
    "train": (
        "dlcore train",
        "dlcore train --data digits --model mlp --hidden 64 32 --patience 5",
        "dlcore train --data penguins --target sex --penalty l2 --lam 1",
        "dlcore train --resume digits-mlp-001",
    ),
    "evaluate": ("dlcore evaluate digits-mlp-001", "dlcore evaluate houses-mlp-001 --data new-houses.csv --json"),
    "predict": ("dlcore predict fashion-subset-cnn-001 shirt.png bag.jpg --top 3",),
    "generate": ("dlcore generate hamlet-lstm-001 --prompt Ham. --temperature 0.7 --length 500",),
    "filter": (
        "dlcore filter photo.jpg edges.png --kernel sobel",
        "dlcore filter photo.jpg smooth.png --kernel gaussian --sigma 2",
        "dlcore filter photo.jpg all.png --montage",
    ),
    "parity": ("dlcore parity cnn --devices cpu cuda", "dlcore parity digits-mlp-001 --devices cpu cpu-reference"),
    "tune": (
        "dlcore tune --data digits --model mlp --search lr=log:1e-4:1 hidden=32,64,64+32",
        "dlcore tune --data cars --search penalty=none,l2 hidden=32,64+64 --grid",
    ),
    "diagnose": ("dlcore diagnose digits-mlp-001 --bayes-error 0.01",),
    "gradcheck": ("dlcore gradcheck cnn", "dlcore gradcheck mlp --data digits"),
    "runs": ("dlcore runs list", "dlcore runs compare digits-mlp-001 digits-cnn-001"),
    "runs list": ("dlcore runs list", "dlcore runs list elsewhere --json"),
    "runs compare": (
        "dlcore runs compare digits-mlp-001 digits-cnn-001 --picture both.png",
        "dlcore runs compare digits-mlp-001 digits-cnn-001 --satisfice 'loss<=0.2'",
    ),
    "bench": (
        "dlcore bench --quick",
        "dlcore bench kernels --only conv2d --quick --json before.json",
        "dlcore bench --compare cpu cuda --picture speed.png",
    ),
    "bench compare": ("dlcore bench compare before.json after.json --fail-below 0.9",),
    "doctor": ("dlcore doctor", "dlcore doctor --self-test --device cpu"),
    "recipe": ("dlcore recipe list", "dlcore recipe run early-stopping"),
    "recipe list": ("dlcore recipe list",),
    "recipe run": ("dlcore recipe run early-stopping --quick",),
    "data": ("dlcore data list", "dlcore data fetch fashion"),
    "data list": ("dlcore data list",),
    "data fetch": ("dlcore data fetch fashion",),
}
"""By command."""


def tell_all(app: App, words: Sequence[str]) -> None:
    """Have the command that ``words`` ask about tell all that it has to say.

    Its line in the list, which is known before its module is imported, would stand in the place of its docstring.
    """
    names, commands, _ = app.parse_commands([word for word in words if not word.startswith("-")])
    examples = EXAMPLES.get(" ".join(names))
    if examples is None:
        return
    command = commands[-1].default_command
    if command is not None:
        paragraphs = (inspect.getdoc(command) or "").split("\n\n")
        commands[-1].help = "\n\n".join(" ".join(text.split()) for text in paragraphs)  # so that it fits any terminal
    commands[-1].help_epilogue = "\n".join(["Examples:", *(f"  {example}" for example in examples)])
