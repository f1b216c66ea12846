"""Optimisers: update rules on the flat parameter vector (notes 1.4 and 3.4 to 3.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from backends.reference import optim as update
from backends.runtime import copies
from backends.runtime.device import Device
from dlcore._core.configurable import Recorded
from dlcore._core.validation import flag, number
from dlcore.errors import CheckpointError, ConfigError, DeviceError
from dlcore.nn.module import Module
from dlcore.nn.parameter import ParameterVector, Run

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Momentum", "Optimizer", "RMSprop"]


class Optimizer(Recorded):
    """Base of the rules: ``attach`` to a model, then ``step`` after each backward pass.

    lr : the learning rate alpha, per step; ``opt.lr`` may be changed between steps

    >>> from dlcore import functional as F, nn
    >>> model = nn.Dense(1)
    >>> model.build((2,))
    Dense(units=1)
    >>> opt = SGD(0.1).attach(model)
    >>> loss = F.mse(model([[1.0, 2.0]]), [[0.0]])
    >>> loss.backward(); opt.step(); opt.zero_grad()
    >>> opt.steps
    1
    """

    slots: tuple[str, ...] = ()
    """Names of the state: one array like theta each, all zero at the start."""

    def __init__(self, lr: float) -> None:
        self.lr = number(type(self).__name__, "lr", lr, 0.0, float("inf"))
        self.steps = 0
        self.state: dict[str, Any] = {}
        self.counts: Any = None
        """On the device, in mixed precision: whether the next step is taken, and how many were; see
        :mod:`backends.reference.mixed`."""
        self.vector: ParameterVector | None = None
        self.model: Module | None = None

    def attach(self, model: Module) -> Self:
        """Optimise the parameters of a built model; the rule's state starts at zero."""
        self.model = model
        self.vector = vector = model.built()
        model.check_vector()
        with vector.device.active():
            self.state = {name: vector.xp.zeros_like(vector.theta) for name in self.slots}
        self.steps = 0
        return self

    def to(self, device: Device) -> None:
        """Move the rule's state to ``device``, after the model.

        >>> from dlcore import nn
        >>> model = nn.Dense(1).build((2,))
        >>> opt = Adam().attach(model)
        >>> opt.to(model.to("cpu").device)
        """
        self.state = {
            name: array if device.holds(array) else copies.to_device(copies.to_host(array), device)
            for name, array in self.state.items()
        }

    def step(self) -> None:
        """Update every active parameter from its gradient, in place; where ``counts`` say so, leave all as it is."""
        vector = self._attached()
        if (place := vector.device.elsewhere()) is not None:
            with place:
                self.step()
            return
        self._check_place(vector)
        self.steps += 1
        for run in self.runs(vector):
            self.update(vector, run, self.lr * run.lr_scale)
        vector.version += 1
        if self.model is not None:
            self.model.clock.step += 1

    def zero_grad(self) -> None:
        """Set all gradients to zero; ``backward`` adds to them."""
        self._attached().zero_grad()

    def runs(self, vector: ParameterVector) -> list[Run]:
        """The stretches to update: one for a plain model.

        vector : of the model

        >>> from dlcore import nn
        >>> model = nn.Dense(1).build((2,))
        >>> len(SGD(0.1).runs(model.vector)), len(SGD(0.1).runs(model.freeze("w").vector))
        (1, 1)
        """
        return vector.runs()

    def update(self, vector: ParameterVector, run: Run, lr: float) -> None:
        """One update kernel on one stretch.

        vector : of the model
        run : the stretch
        lr : learning rate of this step on this stretch

        A rule of one's own defines it, with what it remembers in ``slots``:

        >>> from dlcore import nn
        >>> class SignSGD(Optimizer):
        ...     def update(self, vector, run, lr):
        ...         theta, grad = self.arrays(vector, run)
        ...         theta -= lr * vector.xp.sign(grad)
        >>> model = nn.Dense(1, bias=False).build((1,)); model.w.data = [[1.0]]; model.w.grad = [[-7.0]]
        >>> SignSGD(0.1).attach(model).step()
        >>> float(round(model.w.numpy().item(), 4))
        1.1
        """
        raise NotImplementedError(f"{type(self).__name__} defines no update")

    def arrays(self, vector: ParameterVector, run: Run) -> list[Any]:
        """theta, the state, and the gradient on one stretch, and the counts: what an update kernel takes.

        vector, run : as for :meth:`update`

        See :meth:`update` for an example.
        """
        whole = [vector.theta, *self.state.values(), vector.grad]
        if run.place.start or run.place.stop != len(vector):
            whole = [array[run.place] for array in whole]
        return whole if self.counts is None else [*whole, self.counts]

    def state_dict(self) -> dict[str, Any]:
        """The rule's state, copied to the host: ``steps``, and each slot's part by ``slot/path of the parameter``.

        >>> from dlcore import nn
        >>> model = nn.Dense(1, bias=False).build((1,)); model.w.grad = [[2.0]]
        >>> opt = Momentum(0.1).attach(model)
        >>> opt.step()
        >>> opt.state_dict()
        {'steps': 1, 'velocity/w': array([[0.2]], dtype=float32)}
        """
        segments = self._attached().segments
        taken = self.steps if self.counts is None else int(copies.to_host(self.counts)[1])
        state: dict[str, Any] = {"steps": taken}
        for slot, array in self.state.items():
            host = copies.to_host(array)
            for s in segments:
                state[f"{slot}/{s.path}"] = np.array(host[s.start : s.start + s.size]).reshape(s.shape)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave. Raises CheckpointError where it is another rule's or model's.

        state : of the same rule on a model with the same parameters

        >>> from dlcore import nn
        >>> model = nn.Dense(1, bias=False).build((1,))
        >>> opt = Momentum(0.1).attach(model)
        >>> opt.load_state_dict({"steps": 5, "velocity/w": [[0.2]]})
        >>> opt.steps
        5
        """
        vector = self._attached()
        expected = {f"{slot}/{s.path}": s.shape for slot in self.slots for s in vector.segments}
        found = {name: np.shape(value) for name, value in state.items() if name != "steps"}
        if found != expected:
            wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
            raise CheckpointError(
                f"the optimizer's state does not fit {type(self).__name__} of this model: {', '.join(wrong[:3])}; "
                "give the rule and the model that it was saved with"
            )
        for slot in self.slots:
            host = np.zeros(len(vector), dtype=copies.to_host(vector.theta).dtype)
            for s in vector.segments:
                host[s.start : s.start + s.size] = np.ravel(state[f"{slot}/{s.path}"])
            self.state[slot] = copies.to_device(host, vector.device)
        self.steps = int(state["steps"])

    def _check_place(self, vector: ParameterVector) -> None:
        """The state must be where the parameters are; all of it moves at once, so the first array tells."""
        for array in self.state.values():
            if not vector.device.holds(array):
                name, here = type(self).__name__, vector.device
                raise DeviceError(
                    f"{name}: its state is on {Device.of(array)} but the parameters are on {here}",
                    fix="move the rule after the model, by optimizer.to(model.device)",
                )
            return

    def _attached(self) -> ParameterVector:
        if self.vector is None:
            raise ConfigError(f"{type(self).__name__}: attach(model) must come before step and zero_grad")
        if self.model is not None and self.model.vector is not self.vector:
            raise ConfigError(
                f"{type(self).__name__}: the model has been built again, with a new vector of parameters; "
                "attach the optimiser to the model that is trained now"
            )
        return self.vector


class SGD(Optimizer):
    """Gradient descent: theta = theta - alpha dtheta.

    lr : learning rate alpha, per step

    >>> from dlcore import nn
    >>> model = nn.Dense(1, bias=False).build((1,)); model.w.data = [[1.0]]; model.w.grad = [[2.0]]
    >>> SGD(0.1).attach(model).step()
    >>> float(round(model.w.numpy().item(), 4))
    0.8

    Source: notes, 1.4 and 3.3.
    """

    def __init__(self, lr: float) -> None:
        super().__init__(lr)

    def update(self, vector: ParameterVector, run: Run, lr: float) -> None:
        update.sgd_(*self.arrays(vector, run), lr=lr)


class Momentum(Optimizer):
    """Gradient descent along an exponentially weighted average of the gradients.

    v = beta v + (1 - beta) dtheta;  theta = theta - alpha v

    lr : learning rate alpha, per step
    beta : weight of the past, in [0, 1)
    bias_correction : divide v by 1 - beta**t, so that the first averages are not too small (Nesterov's by
        1 - beta**(t + 1), for it looks one gradient ahead)
    nesterov : step along beta v + (1 - beta) dtheta

    The other convention, v = beta v + dtheta, takes the same steps with the learning rate alpha (1 - beta): its rate
    0.01 at beta 0.9 is 0.1 here.

    >>> from dlcore import nn
    >>> model = nn.Dense(1, bias=False).build((1,)); model.w.data = [[1.0]]; model.w.grad = [[2.0]]
    >>> Momentum(0.1, beta=0.9).attach(model).step()
    >>> float(round(model.w.numpy().item(), 4))
    0.98

    Source: notes, 3.4 (which average theta by a slip: it is dtheta that is averaged).
    """

    slots = ("velocity",)

    def __init__(self, lr: float, beta: float = 0.9, bias_correction: bool = False, nesterov: bool = False) -> None:
        super().__init__(lr)
        self.beta = number("Momentum", "beta", beta, 0.0, 1.0)
        self.bias_correction = flag("Momentum", "bias_correction", bias_correction)
        self.nesterov = flag("Momentum", "nesterov", nesterov)

    def update(self, vector: ParameterVector, run: Run, lr: float) -> None:
        update.momentum_(
            *self.arrays(vector, run),
            lr=lr,
            beta=self.beta,
            bias_correction=self.bias_correction,
            nesterov=self.nesterov,
            step=self.steps,
        )


class RMSprop(Optimizer):
    """Each step is divided by the root of the gradient's average square.

    s = beta s + (1 - beta) dtheta²;  theta = theta - alpha dtheta / (sqrt(s) + eps)

    lr : learning rate alpha, per step
    beta : weight of the past, in [0, 1)
    eps : added outside the root

    >>> from dlcore import nn
    >>> model = nn.Dense(1, bias=False).build((1,)); model.w.data = [[1.0]]; model.w.grad = [[2.0]]
    >>> RMSprop(0.1, beta=0.9).attach(model).step()
    >>> float(round(model.w.numpy().item(), 4))
    0.6838

    Source: notes, 3.5; Hinton (2012).
    """

    slots = ("square",)

    def __init__(self, lr: float, beta: float = 0.9, eps: float = 1e-8) -> None:
        super().__init__(lr)
        self.beta = number("RMSprop", "beta", beta, 0.0, 1.0)
        self.eps = _above_0(self, "eps", eps)

    def update(self, vector: ParameterVector, run: Run, lr: float) -> None:
        update.rmsprop_(*self.arrays(vector, run), lr=lr, beta=self.beta, eps=self.eps)


class Adam(Optimizer):
    """Adaptive moment estimation: momentum over RMSprop, both corrected for their start at zero.

    v = beta1 v + (1 - beta1) dtheta;  s = beta2 s + (1 - beta2) dtheta²
    theta = theta - alpha (v / (1 - beta1**t)) / (sqrt(s / (1 - beta2**t)) + eps)

    lr : learning rate alpha, per step
    beta1, beta2 : weights of the past, in [0, 1)
    eps : added outside the root

    >>> from dlcore import nn
    >>> model = nn.Dense(1, bias=False).build((1,)); model.w.data = [[1.0]]; model.w.grad = [[2.0]]
    >>> Adam(0.1).attach(model).step()
    >>> float(round(model.w.numpy().item(), 4))
    0.9

    Source: notes, 3.6 (which average W and b by a slip); Kingma and Ba (2015).
    """

    slots = ("mean", "square")
    decay = 0.0

    def __init__(self, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8) -> None:
        super().__init__(lr)
        self.beta1 = number(type(self).__name__, "beta1", beta1, 0.0, 1.0)
        self.beta2 = number(type(self).__name__, "beta2", beta2, 0.0, 1.0)
        self.eps = _above_0(self, "eps", eps)

    def update(self, vector: ParameterVector, run: Run, lr: float) -> None:
        update.adam_(
            *self.arrays(vector, run),
            lr=lr,
            beta1=self.beta1,
            beta2=self.beta2,
            eps=self.eps,
            decay=self.decay if run.decay else 0.0,
            step=self.steps,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay: theta is first shrunk by alpha · decay · theta; weights only.

    lr, beta1, beta2, eps : as for :class:`Adam`
    decay : per unit of learning rate; biases and norm parameters are not decayed

    >>> from dlcore import nn
    >>> model = nn.Dense(1, bias=False).build((1,)); model.w.data = [[1.0]]; model.w.grad = [[2.0]]
    >>> AdamW(0.1, decay=0.5).attach(model).step()
    >>> float(round(model.w.numpy().item(), 4))
    0.85

    Source: Loshchilov and Hutter (2019).
    """

    def __init__(
        self, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, decay: float = 0.01
    ) -> None:
        super().__init__(lr, beta1, beta2, eps)
        self.decay = number("AdamW", "decay", decay, 0.0, float("inf"))

    def runs(self, vector: ParameterVector) -> list[Run]:
        return vector.decay_runs()


class Adagrad(Optimizer):
    """Each step is divided by the root of the sum of all squared gradients so far.

    s = s + dtheta²;  theta = theta - alpha dtheta / (sqrt(s) + eps)

    lr : learning rate alpha, per step
    eps : added outside the root

    >>> from dlcore import nn
    >>> model = nn.Dense(1, bias=False).build((1,)); model.w.data = [[1.0]]; model.w.grad = [[2.0]]
    >>> Adagrad(0.1).attach(model).step()
    >>> float(round(model.w.numpy().item(), 4))
    0.9

    Source: Duchi, Hazan and Singer (2011).
    """

    slots = ("total",)

    def __init__(self, lr: float, eps: float = 1e-8) -> None:
        super().__init__(lr)
        self.eps = _above_0(self, "eps", eps)

    def update(self, vector: ParameterVector, run: Run, lr: float) -> None:
        update.adagrad_(*self.arrays(vector, run), lr=lr, eps=self.eps)


def _above_0(rule: Optimizer, name: str, value: float) -> float:
    owner = type(rule).__name__
    if not number(owner, name, value, 0.0, float("inf")):
        raise ConfigError(f"{owner}: {name} is 0 but a number above 0 is expected; where a gradient is 0, 0 / 0 is NaN")
    return float(value)
