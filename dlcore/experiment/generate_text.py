"""Text from a model of characters: one is drawn after the other, and each goes in where the next is asked for."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

from backends import random
from backends.runtime import copies
from dlcore._core.validation import is_number, is_whole
from dlcore.data.text import Vocabulary
from dlcore.errors import ConfigError, DataError
from dlcore.nn.mode import evaluation
from dlcore.nn.module import Module
from dlcore.tensor import no_grad
from dlcore.train.engine.in_use import reading

__all__ = ["LONGEST", "LONGEST_PROMPT", "generate", "takes_state"]

LONGEST = 100_000
"""Characters of one call."""
LONGEST_PROMPT = 10_000


def generate(
    model: Module,
    vocabulary: Vocabulary,
    prompt: str = "",
    *,
    length: int = 300,
    temperature: float = 0.8,
    seed: int = 0,
) -> str:
    """``length`` characters that follow ``prompt``, without it.

    model : :class:`~dlcore.nn.CharacterModel`, or any that is called as ``model(x, state=None)``
    prompt : what the model reads first; without one it begins as after a line's end
    temperature : the logits are divided by it: below 1 the likely characters come more often still; 0 always takes the
        likeliest
    seed : of the draws, which are the same on every device; ``<unk>`` is never drawn

    Raises ConfigError for a number out of range and a prompt that is too long, DataError for a character that is not in
    the vocabulary and for which it has no ``<unk>``.

    >>> from dlcore import nn
    >>> model = nn.CharacterModel(2, hidden=4).build((8,), input_dtype="int64")
    >>> len(generate(model, Vocabulary.of("ab"), "ab", length=5))
    5
    """
    if not is_whole(length) or not 1 <= length <= LONGEST:
        raise ConfigError(f"length is {length!r} but a whole number from 1 to {LONGEST:,} is expected")
    if not is_number(temperature) or not 0 <= temperature < math.inf:
        raise ConfigError(f"temperature is {temperature!r} but a number of at least 0 is expected")
    if len(prompt) > LONGEST_PROMPT:
        raise ConfigError(f"prompt has {len(prompt):,} characters but at most {LONGEST_PROMPT:,} are read; shorten it")
    if not takes_state(model):
        raise ConfigError(
            f"generate: {type(model).__name__} takes no state, but a model is expected whose forward(x, state=None) "
            "gives outputs and state, such as nn.CharacterModel"
        )
    start = prompt or ("\n" if "\n" in vocabulary.symbols else vocabulary.symbols[-1])
    ids, state, drawn = vocabulary.encode(start, "prompt"), None, []
    with reading(model, "generate"), model.built().device.active(), evaluation(), no_grad():
        for step in range(length):
            outputs, state = model(copies.to_device(ids[None], model.built().device), state=state)
            logits = copies.to_host(outputs.data)[0, -1].astype(np.float64)
            ids = np.array([_draw(logits, vocabulary.unknown, temperature, seed, step)])
            drawn.append(int(ids[0]))
    return vocabulary.decode(drawn)


def takes_state(model: Module) -> bool:
    """Whether a model is called as ``model(x, state=None)``, so that it can go on character by character.

    >>> from dlcore import nn
    >>> takes_state(nn.CharacterModel(2, hidden=4)), takes_state(nn.Dense(2))
    (True, False)
    """
    return "state" in inspect.signature(model.forward).parameters


def _draw(logits: np.ndarray, unknown: int | None, temperature: Any, seed: int, step: int) -> int:
    """A label by the softmax of logits / temperature: the inverse of the distribution at a uniform number.

    A label of minus infinity is never drawn, and beside one of infinity nothing else is.
    """
    if unknown is not None and len(logits) > 1:
        logits[unknown] = -np.inf
    most = logits.max()
    if np.isnan(most) or most == -math.inf:
        raise DataError("generate: the model gives NaN, or minus infinity for every character; look at its weights")
    if temperature == 0:
        return int(np.argmax(logits))
    if most == math.inf:
        logits, most = np.where(logits == math.inf, 0.0, -math.inf), 0.0
    shares = np.cumsum(np.exp((logits - most) / temperature))
    word = random.uniform(random.derive(seed, "generate", "", step), (1,))[0]
    return min(int(np.searchsorted(shares, float(word) * shares[-1], side="right")), len(logits) - 1)
