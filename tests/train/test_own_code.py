"""A changed function of one's own is noticed where a run goes on; an equal one in another place or process is equal."""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlcore as dl
from dlcore.optim.penalties import Penalty
from dlcore.train.checkpoint import snapshot
from dlcore.train.checkpoint.own_code import digest

TESTS = Path(__file__).parents[1]


def compiled(text: str, name: str = "f", **space: Any) -> Any:
    """What a module of the user's defines."""
    space |= {"__name__": "own", "np": np, "dl": dl, "functools": functools}
    exec(compile(textwrap.dedent(text), "own.py", "exec"), space)
    return space[name]


EQUAL: dict[str, tuple[str, str]] = {
    "comments and blank lines": ("def f(x):\n    return x * 2", "def f(x):\n\n    # twice\n    return x * 2  # so"),
    "another line": ("f = lambda x: x + 1", "a = 1\nb = 2\n\nf = lambda x: x + 1"),
    "another docstring": ("def f(x):\n    'One.'\n    return x * 2", "def f(x):\n    'Two.'\n    return x * 2"),
    "a first docstring": ("def f(x):\n    return x * 2", "def f(x):\n    'One.'\n    return x * 2"),
    "another name of an argument": ("f = lambda x: x + 1", "f = lambda y: y + 1"),
    "what it does not use": ("A = 1\nf = lambda x: x + 1", "A = 2\nf = lambda x: x + 1"),
    "hints of types": ("def f(x):\n    return x", "def f(x: int) -> int:\n    return x"),
}
OTHER: dict[str, tuple[str, str]] = {
    "a constant in a lambda": ("f = lambda x: x + 1", "f = lambda x: x + 2"),
    "an operator": ("f = lambda x: x + 1", "f = lambda x: x * 1"),
    "a number of words": ("a = ['x, y']\nf = lambda x: x in a", "a = ['x', 'y']\nf = lambda x: x in a"),
    "a number's type": ("f = lambda x: x + 1", "f = lambda x: x + 1.0"),
    "a sign of zero": ("f = lambda x: x + 0.0", "f = lambda x: x + -0.0"),
    "a name": ("f = lambda x: x.sum()", "f = lambda x: x.mean()"),
    "a default": ("def f(x, y=1):\n    return x + y", "def f(x, y=2):\n    return x + y"),
    "a default by name": ("def f(x, *, y=1):\n    return x + y", "def f(x, *, y=2):\n    return x + y"),
    "a closure": ("def g(a):\n    return lambda x: x + a\nf = g(1)", "def g(a):\n    return lambda x: x + a\nf = g(2)"),
    "a closed-over array": (
        "def g(a):\n    return lambda x: x + a\nf = g(np.ones(3))",
        "def g(a):\n    return lambda x: x + a\nf = g(np.array([1, 1, 2.0]))",
    ),
    "a function inside": (
        "def f(x):\n    def g(y):\n        return y + 1\n    return g(x)",
        "def f(x):\n    def g(y):\n        return y + 2\n    return g(x)",
    ),
    "a function that it calls": (
        "def g(x):\n    return x + 1\ndef f(x):\n    return g(x)",
        "def g(x):\n    return x + 2\ndef f(x):\n    return g(x)",
    ),
    "a constant of its module": ("A = 0.1\nf = lambda x: x * A", "A = 0.2\nf = lambda x: x * A"),
    "a partial's argument": ("f = functools.partial(np.mean, axis=0)", "f = functools.partial(np.mean, axis=1)"),
    "a partial's positional argument": ("f = functools.partial(np.full, 3)", "f = functools.partial(np.full, 4)"),
    "a partial's function": ("f = functools.partial(np.mean, axis=0)", "f = functools.partial(np.sum, axis=0)"),
    "a partial of a partial": (
        "f = functools.partial(functools.partial(np.mean, axis=0), keepdims=True)",
        "f = functools.partial(functools.partial(np.mean, axis=1), keepdims=True)",
    ),
    "a partial of a lambda": (
        "f = functools.partial(lambda a, x: a * x, 2)", "f = functools.partial(lambda a, x: a + x, 2)",
    ),
    "an array that a partial binds": (
        "f = functools.partial(dl.losses.cross_entropy, class_weight=np.array([1.0, 2]))",
        "f = functools.partial(dl.losses.cross_entropy, class_weight=np.array([1.0, 3]))",
    ),
    "an object that can be called": (
        "class F:\n    def __call__(self, x):\n        return x + 1\nf = F()",
        "class F:\n    def __call__(self, x):\n        return x + 2\nf = F()",
    ),
    "what an object holds": ("class F:\n    pass\nf = F()\nf.a = 1", "class F:\n    pass\nf = F()\nf.a = 2"),
    "a bound method": (
        "class F:\n    def g(self, x):\n        return x + 1\nf = F().g",
        "class F:\n    def g(self, x):\n        return x + 2\nf = F().g",
    ),
    "a base of its class": (
        "class B:\n    def g(self, x):\n        return x + 1\nclass F(B):\n    pass\nf = F().g",
        "class B:\n    def g(self, x):\n        return x + 2\nclass F(B):\n    pass\nf = F().g",
    ),
    "what a metric computes": (
        "f = dl.metrics.Metric('m', lambda y, t: y)", "f = dl.metrics.Metric('m', lambda y, t: t)",
    ),
    "a cached function that it calls": (
        "@functools.cache\ndef g(x):\n    return x + 1\ndef f(x):\n    return g(x)",
        "@functools.cache\ndef g(x):\n    return x + 2\ndef f(x):\n    return g(x)",
    ),
    "an object of its module that it calls": (
        "class G:\n    def __call__(self, x):\n        return x + 1\ng = G()\ndef f(x):\n    return g(x)",
        "class G:\n    def __call__(self, x):\n        return x + 2\ng = G()\ndef f(x):\n    return g(x)",
    ),
    "a function in a table of its module": (
        "g = {'a': lambda x: x + 1}\ndef f(x):\n    return g['a'](x)",
        "g = {'a': lambda x: x + 2}\ndef f(x):\n    return g['a'](x)",
    ),
    "an array in a table of its module": (
        "g = {'a': np.arange(5000)}\ndef f(x):\n    return x + g['a']",
        "g = {'a': np.arange(5000) // 2500 * 2500 + np.arange(5000) % 2500 - (np.arange(5000) == 9)}\n"
        "def f(x):\n    return x + g['a']",
    ),
    "a branch of an exception": (
        "def f(x):\n    try:\n        return x()\n    except ValueError:\n        return 1",
        "def f(x):\n    try:\n        return x()\n    except TypeError:\n        return 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", EQUAL)
def test_what_makes_no_difference_makes_none(kind: str) -> None:
    before, now = EQUAL[kind]
    assert digest(compiled(before)) == digest(compiled(now)) != ""


@pytest.mark.parametrize("kind", OTHER)
def test_each_change_is_noticed(kind: str) -> None:
    before, now = OTHER[kind]
    assert digest(compiled(before)) == digest(compiled(before)) != ""
    assert digest(compiled(before)) != digest(compiled(now))


@pytest.mark.parametrize("value", [np.mean, dl.losses.mse, dl.optim.Adam(0.1), dl.nn.Dense(2), 3, "mse", None, [1, 2]])
def test_what_is_nobodys_own_has_no_digest(value: Any) -> None:
    assert digest(value) == ""


@pytest.mark.parametrize(
    "text",
    [
        "a = (i for i in range(3))",  # it has a name, but no module
        "import threading\na = threading.Lock()",
        "import itertools\na = itertools.count()",
        "import logging\na = logging.getLogger('own')",
        "a = np.random.default_rng(0)",
        "a = {1: dl.nn.Dense(2), 2: open}",
        "a = iter([])",
    ],
)
def test_what_a_function_keeps_may_be_anything(text: str) -> None:
    both = [compiled(f"{text}\ndef g(a):\n    return lambda x: (x, a)\nf = g(a)") for _ in range(2)]
    assert digest(both[0]) == digest(both[1]) != ""


def test_functions_that_call_one_another_come_to_an_end() -> None:
    assert digest(compiled("def f(x):\n    return g(x) if x else 0\ndef g(x):\n    return f(x - 1)"))
    assert digest(compiled("class F:\n    def __call__(self, x):\n        return self\nf = F()\nf.me = f"))


def test_a_digest_is_the_same_in_every_process(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "words = ['a', 'b']\n"
        "def loss(a, x, weight=None):\n    return x in {'b', 'a', 'c'} and words and a\n"
        "class Own:\n    kinds = ['x']\n    def __call__(self, x):\n        return super().__repr__()\n"
        "def make(a):\n    return lambda x: (x, a)\n"
        "made = make({'k': Own(), 'l': {'q', 'p'}})\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS.parent), str(TESTS)))}
    printed = {
        subprocess.run(
            [sys.executable, TESTS / "own_code_in_file.py", file],
            capture_output=True, text=True, check=True, env={**environment, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(printed) == 1
    assert "" not in eval(printed.pop())


# Where a run goes on -------------------------------------------------------------------------------------------------


def _mean(outputs: Any, y: Any, scale: float) -> Any:
    return (outputs.sum(axis=1) * scale).mean()


class Own(Penalty):
    def __init__(self, power: float) -> None:
        self.power = power

    def __call__(self, model: dl.nn.Module, examples: int | None = None) -> dl.Tensor:
        return (model.w**2).sum() * self.power


class Applied(dl.nn.Module):
    """A layer of a function."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


def _noise(scale: float) -> Callable[[Any], Any]:
    return lambda x: x * scale


def _metric(low: float) -> Callable[[Any, Any], float]:
    def share(y_true: Any, y_pred: Any) -> float:
        return float(np.mean(np.asarray(y_pred) > low))

    return share


DATA = dl.data.Dataset(np.eye(4, dtype=np.float32), np.arange(4) % 2)

CHANGES: dict[str, tuple[Callable[[], dict[str, Any]], Callable[[], dict[str, Any]], str]] = {
    "a lambda": (
        lambda: {"loss": lambda outputs, y: outputs.mean()},
        lambda: {"loss": lambda outputs, y: outputs.mean() * 2.0},
        "the loss computes something else",
    ),
    "a partial": (
        lambda: {"loss": functools.partial(_mean, scale=1.0)},
        lambda: {"loss": functools.partial(_mean, scale=2.0)},
        "the loss computes something else",
    ),
    "a partial of a loss of dlcore": (
        lambda: {"loss": functools.partial(dl.losses.cross_entropy, class_weight=np.array([1.0, 2.0], np.float32))},
        lambda: {"loss": functools.partial(dl.losses.cross_entropy, class_weight=np.array([1.0, 9.0], np.float32))},
        "the loss computes something else",
    ),
    "a closure in a metric": (
        lambda: {"metrics": [_metric(0.0)]}, lambda: {"metrics": [_metric(0.5)]}, "metric share computes something",
    ),
    "a penalty": (lambda: {"penalty": Own(0.1)}, lambda: {"penalty": Own(0.2)}, "penalty"),
    "a function of a layer": (
        lambda: {"model": dl.nn.Sequential(dl.nn.Dense(2), Applied(_noise(1.0)))},
        lambda: {"model": dl.nn.Sequential(dl.nn.Dense(2), Applied(_noise(2.0)))},
        "config of layer '1' computes something else",
    ),
}  # fmt: skip


def _fit(folder: Path, settings: dict[str, Any], epochs: int) -> dl.Trainer:
    usual = {"model": dl.nn.Dense(2), "optimizer": dl.optim.SGD(0.1), "device": "cpu", "seed": 1}
    trainer = dl.Trainer(**{**usual, **settings}, callbacks=[dl.train.Checkpoint(folder)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*cannot be rebuilt by evaluate and predict")
        trainer.fit(DATA, epochs=epochs, batch_size=2, resume="auto")
    return trainer


@pytest.mark.parametrize("kind", CHANGES)
def test_a_run_goes_on_with_the_same_function_and_not_with_another(kind: str, tmp_path: Path) -> None:
    before, now, words = CHANGES[kind]
    _fit(tmp_path, before(), 1)
    assert len(_fit(tmp_path, before(), 2).history) == 2
    with pytest.raises(dl.ConfigError, match=words) as caught:
        _fit(tmp_path, now(), 3)
    assert "\n" not in str(caught.value)
    assert "start a new run" in str(caught.value)


def test_a_checkpoint_of_version_0_1_or_of_another_python_goes_on_without_the_check(tmp_path: Path) -> None:
    before, now, _ = CHANGES["a lambda"]
    for name in ("old", "other"):
        _fit(tmp_path / name, before(), 1)
        (path,) = snapshot.paths(tmp_path / name).values()
        state = snapshot.read(path).plain
        if name == "old":
            del state["own_code"]
        else:
            state["own_code"]["python"] = "3.0"
        snapshot.write(path, state)
        assert len(_fit(tmp_path / name, now(), 2).history) == 2


def test_an_optimiser_of_ones_own_counts_by_its_code_and_its_settings_and_not_by_its_state(tmp_path: Path) -> None:
    def rule(factor: str, lr: float = 0.1) -> Any:
        text = f"class Own(dl.optim.Momentum):\n    def step(self):\n        super().step()\n        self.n = {factor}"
        return compiled(text, "Own")(lr)

    _fit(tmp_path, {"optimizer": rule("1")}, 2)
    trainer = _fit(tmp_path, {"optimizer": rule("1")}, 3)
    before = trainer.own_code
    assert before["same"]["optimizer"]
    trainer.callbacks = []
    trainer.fit(DATA, epochs=1, batch_size=2)
    assert trainer.own_code == before
    with pytest.raises(dl.ConfigError, match="the optimizer computes something else"):
        _fit(tmp_path, {"optimizer": rule("2")}, 4)


def _layer(text: str) -> Any:
    return compiled(f"class Own(dl.nn.Module):\n    def forward(self, x):\n        {text}", "Own")


def _schedule(text: str) -> Any:
    return compiled(
        f"class Down(dl.optim.Schedule):\n    def __call__(self, lr, epoch=0, step=1):\n        {text}", "Down"
    )


def test_other_code_of_a_layer_or_a_schedule_is_said_and_goes_on(tmp_path: Path) -> None:
    def settings(layer: str, schedule: str) -> dict[str, Any]:
        model = dl.nn.Sequential(dl.nn.Dense(2), _layer(layer)())
        return {"model": model, "schedule": _schedule(schedule)()}

    _fit(tmp_path, settings("return x", "return lr"), 1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        _fit(tmp_path, settings("return x * 1.0", "return lr"), 2)
        _fit(tmp_path, settings("return x * 1.0", "return lr * 1.0"), 3)
    texts = [str(warning.message) for warning in told]
    assert len(texts) == 2
    assert "code of the layer '1' has changed" in texts[0]
    assert "code of the schedule has changed" in texts[1]


def test_what_a_function_collects_while_it_trains_is_no_change(tmp_path: Path) -> None:
    def settings() -> dict[str, Any]:
        calls = itertools.count()
        seen: list[int] = []

        def loss(outputs: Any, y: Any) -> Any:
            seen.append(next(calls))
            return outputs.mean()

        return {"loss": loss}

    _fit(tmp_path, settings(), 2)
    assert len(_fit(tmp_path, settings(), 3).history) == 3
