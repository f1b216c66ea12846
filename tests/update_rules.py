"""Each update kernel's calls and formulas, once: the table behind the tests of all that implement them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from case import Tolerance

__all__ = ["RULES", "STEPS", "TOLERANCE", "Numbers", "Rule", "gradients", "start"]

STEPS = 3
TOLERANCE = Tolerance(32, "three steps of ten rounded operations an element")

Numbers = list[float]


@dataclass(frozen=True)
class Rule:
    """An update kernel's call: the arrays it writes into, its parameters, and its formula for one element.

    formula : (*written, gradient, t, **params) -> the new values of the written ones; t counts from 1
    """

    kernel: str
    written: tuple[str, ...]
    formula: Callable[..., tuple[float, ...]]
    params: dict[str, Any]
    counts_steps: bool = False

    def __str__(self) -> str:
        return "-".join([self.kernel, *(f"{name}={value}" for name, value in self.params.items())])

    def at(self, t: int) -> dict[str, Any]:
        """The parameters of step t."""
        return {**self.params, "step": t} if self.counts_steps else self.params


def sgd(theta, grad, t, lr):
    return (theta - lr * grad,)


def momentum(theta, v, grad, t, lr, beta, bias_correction, nesterov):
    v = beta * v + (1 - beta) * grad
    ahead = beta * v + (1 - beta) * grad if nesterov else v
    weights = sum((1 - beta) * beta**i for i in range(t + nesterov))  # what the average's weights add up to
    return theta - lr * (ahead / weights if bias_correction else ahead), v


def rmsprop(theta, s, grad, t, lr, beta, eps):
    s = beta * s + (1 - beta) * grad**2
    return theta - lr * grad / (math.sqrt(s) + eps), s


def adam(theta, m, s, grad, t, lr, beta1, beta2, eps, decay):
    m, s = beta1 * m + (1 - beta1) * grad, beta2 * s + (1 - beta2) * grad**2
    m_corrected, s_corrected = m / (1 - beta1**t), s / (1 - beta2**t)
    return theta * (1 - lr * decay) - lr * m_corrected / (math.sqrt(s_corrected) + eps), m, s


def adagrad(theta, s, grad, t, lr, eps):
    s = s + grad**2
    return theta - lr * grad / (math.sqrt(s) + eps), s


def running_average(average, value, t, momentum):
    return (momentum * average + (1 - momentum) * value,)


def momentum_rule(bias_correction: bool, nesterov: bool) -> Rule:
    params = {"lr": 0.1, "beta": 0.9, "bias_correction": bias_correction, "nesterov": nesterov}
    return Rule("momentum_", ("theta", "velocity"), momentum, params, counts_steps=True)


def adam_rule(**changed: float) -> Rule:
    params = {"lr": 0.05, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.0, **changed}
    return Rule("adam_", ("theta", "mean", "square"), adam, params, counts_steps=True)


RULES = [
    Rule("sgd_", ("theta",), sgd, {"lr": 0.1}),
    *(momentum_rule(bias_correction, nesterov) for bias_correction in (False, True) for nesterov in (False, True)),
    Rule("rmsprop_", ("theta", "square"), rmsprop, {"lr": 0.1, "beta": 0.9, "eps": 1e-8}),
    Rule("rmsprop_", ("theta", "square"), rmsprop, {"lr": 0.1, "beta": 0.5, "eps": 0.25}),
    adam_rule(),
    adam_rule(decay=0.1),
    adam_rule(beta1=0.5, beta2=0.75, eps=0.25),  # an eps that shows whether it is corrected as well
    Rule("adagrad_", ("theta", "total"), adagrad, {"lr": 0.1, "eps": 1e-8}),
    Rule("adagrad_", ("theta", "total"), adagrad, {"lr": 0.1, "eps": 0.25}),
    Rule("running_average_", ("average",), running_average, {"momentum": 0.9}),
    Rule("running_average_", ("average",), running_average, {"momentum": 0.0}),
]


def start(rule: Rule, n: int, dtype: str) -> list[np.ndarray]:
    """theta, or whatever comes first, random; the state zero, as at the start of a training run."""
    first = np.random.default_rng(1).standard_normal(n).astype(dtype)
    return [first, *(np.zeros(n, dtype) for _ in rule.written[1:])]


def gradients(n: int, dtype: str) -> list[np.ndarray]:
    return [np.random.default_rng((2, t)).standard_normal(n).astype(dtype) for t in range(STEPS)]
