"""Layers that take part from a later epoch on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dlcore._core.validation import whole
from dlcore.errors import ConfigError
from dlcore.nn.patterns import meant, patterns_of
from dlcore.train.engine.callback import Callback

if TYPE_CHECKING:
    from dlcore.train.engine.trainer import Trainer

__all__ = ["Unfreeze"]


class Unfreeze(Callback):
    """Gradual unfreezing: let more of a model learn from certain epochs on.

    patterns : by epoch, counted from 0, what to unfreeze before its first step: a pattern as for ``model.unfreeze``, or
        a list of them

    >>> Unfreeze({3: "conv2", 6: ["conv1", "embed*"]}).patterns[3]
    ['conv2']

    Source: Howard and Ruder (2018), Universal Language Model Fine-tuning.
    """

    def __init__(self, patterns: Mapping[int, str | Sequence[str]]) -> None:
        if not isinstance(patterns, Mapping) or not patterns:
            raise ConfigError(f"Unfreeze: {patterns!r:.60} came but a dict of epochs and patterns is expected")
        self.patterns = {
            whole("Unfreeze", "epoch", epoch, 0): patterns_of(given, "Unfreeze") for epoch, given in patterns.items()
        }

    def on_start(self, trainer: Trainer) -> None:
        paths = [path for path, _ in trainer.model.named_parameters()]
        for given in self.patterns.values():
            for pattern in given:
                meant(pattern, paths, "Unfreeze")

    def on_epoch_start(self, trainer: Trainer) -> None:
        for pattern in self.patterns.get(trainer.epoch, ()):
            trainer.model.unfreeze(pattern)
