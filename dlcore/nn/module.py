"""Modules: layers and models as trees of named fields, built once on their first data."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Self

import numpy as np

from backends import random
from backends.namespace import isdtype, namespace_of
from backends.random import Key
from backends.runtime import copies
from backends.runtime.device import CPU, Device, resolve
from dlcore._core.configurable import Recorded, did_you_mean
from dlcore._core.input_tree import leaves, mapped, several, signature_of
from dlcore._core.validation import whole
from dlcore.errors import CheckpointError, ConfigError, ShapeError
from dlcore.nn import _tree
from dlcore.nn import init as initializers
from dlcore.nn._build import building, in_progress, run_as
from dlcore.nn._inputs import ABSENT, arguments, as_dtypes, as_shapes, converted, inputs_of, keys_of, located
from dlcore.nn.mode import evaluating
from dlcore.nn.parameter import Buffer, Parameter, ParameterVector
from dlcore.tensor import Tensor

__all__ = ["Clock", "Module", "building", "default_seed", "matches", "seed"]

_default_seed = 0


def seed(value: int) -> None:
    """Set the seed that ``Trainer`` and ``Module.build`` use when they are given none; nothing else changes.

    value : whole number

    >>> import dlcore as dl
    >>> dl.seed(7)
    >>> a = dl.nn.Dense(2).build((3,)).w.numpy()
    >>> bool((a == dl.nn.Dense(2).build((3,), seed=7).w.numpy()).all())
    True
    >>> dl.seed(0)  # as it was
    """
    global _default_seed
    _default_seed = whole("seed", "value", value)


def matches(path: str, pattern: str) -> bool:
    """Whether a parameter's path is meant by ``pattern``: the path, that of a module above it, or with *, ? and [ ].

    >>> matches("0.w", "0"), matches("10.w", "0"), matches("10.w", "1*.w")
    (True, False, True)
    """
    return fnmatchcase(path, pattern) or path.startswith(f"{pattern}.")


def default_seed() -> int:
    """The seed used where none is given: 0, or what :func:`seed` set.

    >>> default_seed()
    0
    """
    return _default_seed


@dataclass
class Clock:
    """Where a model is in its run: with the layer's path, this names every random draw.

    seed : of the run
    step : optimiser steps done
    first_row : position of the batch's first row in the whole batch, where several processes share one
    """

    seed: int = 0
    step: int = 0
    first_row: int = 0


class Module(Recorded):
    """Base of layers and models: subclass it, put layers and Parameters in fields, and define ``forward``.

    Fields may be Modules, Parameters, Buffers, lists and dicts of them, nested as one likes, and plain values. Layers
    make their parameters in ``setup``, when they first see data. A model lays all its parameters out in one
    :class:`~dlcore.nn.parameter.ParameterVector` when it is built: by :meth:`build`, or at the first call.

    >>> from dlcore import nn
    >>> class Twice(nn.Module):
    ...     def __init__(self):
    ...         self.dense = nn.Dense(3)
    ...     def forward(self, x):
    ...         return self.dense(x) * 2
    >>> model = Twice().build((4,), seed=0)
    >>> [path for path, _ in model.named_parameters()]
    ['dense.w', 'dense.b']
    >>> len(model.parameters()), model.count(), model.output_shape, str(model.device)
    (2, 15, (3,), 'cpu')
    >>> model.eval().training, model.train().training, model.to("cpu") is model
    (False, True, True)
    """

    path: str = ""
    vector: ParameterVector | None = None  # of the outermost module, once it is built
    clock: Clock = Clock()
    input_shape: Any  # once it is built, and so is the dtype
    input_dtype: Any
    _ready: bool = False

    @property
    def training(self) -> bool:
        """Whether the layer computes in training mode: what :meth:`train` and :meth:`eval` have set, True at first; but
        False in a pass that evaluates, such as one of ``Trainer.predict``, in the thread that makes it."""
        return self.__dict__.get("training", True) and not evaluating()

    @training.setter
    def training(self, training: bool) -> None:
        self.__dict__["training"] = bool(training)

    # --- to be defined by subclasses

    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """What the module computes.

        x : Tensor; further arguments are those of the call

        See the class for an example. Raises NotImplementedError where a subclass defines none.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no forward(self, x)")

    def setup(self, x: Tensor) -> None:
        """Make the parameters for inputs like ``x``; called once, before the first ``forward``.

        >>> from dlcore import nn
        >>> class Scale(nn.Module):
        ...     def setup(self, x):
        ...         self.factor = self.parameter("factor", x.shape[1:], "zeros")
        ...     def forward(self, x):
        ...         return x * self.factor
        >>> Scale().build((3,)).factor.shape
        (3,)
        """

    def takes_over(self, following: Sequence[Module]) -> tuple[int, dict[str, Any]]:
        """How many of the layers that follow this one can compute in the same go, and with which arguments.

        following : the layers after this one, in their order

        A :class:`~dlcore.nn.Sequential` then calls this module with these arguments, and does not call those: the
        result is the same, and what would lie between is never stored.

        >>> from dlcore import nn
        >>> nn.Conv2D(4, 3).takes_over([nn.ReLU(), nn.Flatten()])[0]  # the ReLU
        1
        """
        return 0, {}

    @property
    def takes_lengths(self) -> bool:
        """Whether ``forward`` has an argument ``lengths``: :class:`~dlcore.nn.Sequential` passes them on to these.

        >>> from dlcore import nn
        >>> nn.GRU(4).takes_lengths, nn.Flatten().takes_lengths
        (True, False)
        """
        return _takes_lengths(type(self).forward)

    def parameter(self, name: str, shape: tuple[int, ...], init: Any, decay: bool = True) -> Parameter:
        """In ``setup``: a new parameter whose values depend on the seed and on its path alone.

        name : of the field that it is put into
        init : of ``dl.nn.init``, or its name
        decay : whether penalties and weight decay apply

        See :meth:`setup` for an example.
        """
        build = in_progress()
        key = random.derive(build.seed if build else _default_seed, "init", self._path_of(name))
        return Parameter(initializers.drawn(init, key, shape), decay=decay)

    # --- calling

    def __call__(self, x: Any = ABSENT, *args: Any, **kwargs: Any) -> Any:
        try:
            if not isinstance(x, Tensor):
                given, kwargs = arguments(self, x, args, kwargs)
                if not given:
                    return self._by_keyword(kwargs)
                x, *args = given  # type: ignore[assignment]
            if not self._ready:
                self._prepare((x, *args), kwargs)
            if self.vector is not None:  # the outermost module
                if (place := self.vector.device.elsewhere()) is not None:
                    with place:  # once, for all that a model computes
                        return self(x, *args, **kwargs)
                if self.input_dtype is None:  # which takes floats
                    if x.data.dtype is not self.vector.theta.dtype:
                        x = self._as_floats(x)
                elif type(self.input_dtype) is not str:
                    (x, *args), kwargs = converted(self, (x, *args), kwargs)  # type: ignore[assignment]
            y = self.forward(x, *args, **kwargs)
            build = in_progress()
            if build is not None and isinstance(y, Tensor):
                build.shapes[id(self)] = tuple(y.shape)
            return y
        except ShapeError as error:
            located(self, error)
            raise

    def _by_keyword(self, kwargs: dict[str, Any]) -> Any:
        """A call without a first argument: of a ``forward`` that takes ``**inputs``, or leaves its first one out."""
        if not self._ready:
            self._prepare((), kwargs)
        if self.vector is not None:
            if (place := self.vector.device.elsewhere()) is not None:
                with place:
                    return self._by_keyword(kwargs)
            kwargs = converted(self, (), kwargs)[1]
        y = self.forward(**kwargs)
        build = in_progress()
        if build is not None and isinstance(y, Tensor):
            build.shapes[id(self)] = tuple(y.shape)
        return y

    def _prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        build = in_progress()
        if build is None:
            x = inputs_of(self, args, kwargs)
            device = Device.of(leaves(x)[0].data)
            integer = mapped(lambda one: None if isdtype(device.xp, one.dtype, "real floating") else "int64", x)
            floats = [one for one, ids in zip(leaves(x), leaves(integer), strict=True) if ids is None]
            dtype = str(floats[0].dtype).split(".")[-1] if floats else "float32"
            self.build(mapped(lambda one: one.shape[1:], x), dtype=dtype, device=device, input_dtype=integer)
        else:
            several_taken = len(signature_of(type(self).setup).inputs) > 1
            first: Any = args[0] if args else kwargs
            self.setup(*args, **kwargs) if several_taken else self.setup(first)
            self._convert(build.dtype)
            self._name_fields(f"{self.path}." if self.path else "", set())  # what setup has made has its path now
            self._ready = True
            build.prepared.append(self)

    def _entry(self) -> Any:
        """The ``forward`` that the first argument of a call comes to."""
        return type(self).forward

    def _as_floats(self, x: Tensor) -> Tensor:
        """Integers and booleans as floats of the same values, in the model's dtype."""
        xp = namespace_of(x.data)
        if self.vector is None or isdtype(xp, x.data.dtype, "real floating") or in_progress() is not None:
            return x
        return Tensor(xp.astype(x.data, self.vector.dtype))

    # --- building

    def build(
        self,
        input_shape: Any,
        seed: int | None = None,
        *,
        dtype: str = "float32",
        device: Device | str = CPU,
        input_dtype: Any = None,
    ) -> Self:
        """Make all parameters for inputs of ``input_shape`` (without N) and lay them out in one vector on ``device``.

        input_shape : such as (784,), (28, 28, 1), or (None, 12) for sequences of 12 features with any number of steps;
            for several inputs a list of shapes, in the order of ``forward``'s arguments, or a dict of them by name
        seed : of the initial weights and of the dropout masks; :func:`dlcore.seed` sets the default
        dtype : "float32", or "float64" for checks
        input_dtype : of the inputs where it differs, such as "int64" before an Embedding. A model that takes floats as
            well is built for them: integers, such as the bytes of images, then become floats of the same values. Of
            several inputs, a list or dict of them, None for floats

        Returns the model. A model that is built already keeps its weights.

        >>> from dlcore import concat, nn
        >>> class Conditional(nn.Module):
        ...     def __init__(self):
        ...         self.embedding, self.dense = nn.Embedding(10, 4), nn.Dense(1)
        ...     def forward(self, z, label):
        ...         return self.dense(concat([z, self.embedding(label)], axis=-1))
        >>> Conditional().build([(8,), ()], input_dtype=[None, "int64"]).dense.w.shape
        (12, 1)
        """
        if dtype not in ("float32", "float64"):
            raise ConfigError(f"build: dtype is {dtype!r} but 'float32' or 'float64' is expected")
        input_shape = as_shapes(input_shape)
        device = resolve(device)
        seed = _default_seed if seed is None else whole("build", "seed", seed)
        self._name_fields("", set())
        self._to_host(dtype)
        shapes, input_dtype = run_as(self, seed, input_shape, as_dtypes(input_shape, input_dtype), dtype)
        self._name_fields("", set())
        self.input_shape = input_shape
        self.input_dtype = input_dtype
        self._input_keys = keys_of(self, input_dtype) if several(input_dtype) else {}
        self._shapes = {path: shapes.get(id(m)) for path, m in self.named_modules()}
        self.clock = Clock(seed)
        for _, module in self.named_modules():
            module.clock = self.clock
            module.vector = None  # what was built by itself before is now a part of this model
        self.vector = ParameterVector(self.parameters(), device, dtype)
        for _, buffer in self.named_buffers():
            buffer.data = copies.to_device(buffer.data.astype(dtype), device)
        return self

    def _to_host(self, dtype: str) -> None:
        """Parameters and buffers that exist already, in the model's dtype on the host: that is where a build begins."""
        for p in self.parameters():
            p.leave(copies.to_host(p.data).astype(dtype))
        for _, buffer in self.named_buffers():
            buffer.data = copies.to_host(buffer.data).astype(dtype)

    def _convert(self, dtype: str) -> None:
        """This layer's own parameters and buffers, which ``setup`` has made on the host, in the model's dtype."""
        for _, leaf in self._members():
            if isinstance(leaf, Parameter) and leaf.dtype != dtype:
                leaf.leave(leaf.data.astype(dtype))
            elif isinstance(leaf, Buffer) and leaf.data.dtype != dtype:
                leaf.data = leaf.data.astype(dtype)

    def _name_fields(self, prefix: str, seen: set[int]) -> None:
        self.path = prefix.removesuffix(".")
        seen.add(id(self))
        for name, value in self._members():
            if id(value) in seen:
                continue
            if isinstance(value, Module):
                value._name_fields(f"{prefix}{name}.", seen)
            else:
                seen.add(id(value))
                value.path = f"{prefix}{name}"

    def _path_of(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    # --- the tree

    def _members(self) -> Iterator[tuple[str, Any]]:
        """The Modules, Parameters and Buffers in the fields, in the order of their definition."""
        for name, value in vars(self).items():
            if name != "config":
                yield from _nested(name, value)

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, with their paths.

        >>> from dlcore import nn
        >>> [(path, type(m).__name__) for path, m in nn.Sequential(nn.Dense(2), nn.ReLU()).named_modules()]
        [('', 'Sequential'), ('0', 'Dense'), ('1', 'ReLU')]
        """
        yield from self._walk("", set())

    def _walk(self, prefix: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix.removesuffix("."), self
        for name, value in self._members():
            if isinstance(value, Module):
                yield from value._walk(f"{prefix}{name}.", seen)

    def _leaves(self, kind: type) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, value in module._members():
                if isinstance(value, kind) and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{prefix}.{name}" if prefix else name, value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, with its path, in the order of the flat vector."""
        return self._leaves(Parameter)

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Every buffer once, with its path.

        >>> from dlcore import nn
        >>> [path for path, _ in nn.Sequential(nn.Dense(2), nn.BatchNorm()).build((3,)).named_buffers()]
        ['1.running_mean', '1.running_variance']
        """
        return self._leaves(Buffer)

    def parameters(self) -> list[Parameter]:
        """Every parameter once."""
        return [p for _, p in self.named_parameters()]

    # --- state

    def built(self) -> ParameterVector:
        """The flat vector; an error that says what to do where the model is not built.

        >>> from dlcore import nn
        >>> len(nn.Dense(2).build((3,)).built())  # 6 weights and 2 biases, each from a multiple of 64 on
        128
        >>> nn.Dense(2).built()
        Traceback (most recent call last):
        dlcore.errors.ConfigError: Dense is not built: call model.build(input_shape) or pass it data first
        """
        if self.vector is None:
            raise ConfigError(
                f"{type(self).__name__} is not built: call model.build(input_shape) or pass it data first"
            )
        return self.vector

    def _check_ready(self) -> None:
        if not self._ready:
            self.built()  # says that it is not; a part of a built model is ready without a vector of its own

    def check_vector(self) -> None:
        """Raise a ConfigError where the model has parameters that its vector lacks: they would never be learnt.

        >>> from dlcore import nn
        >>> model = nn.Sequential(nn.Dense(2)).build((3,))
        >>> model.check_vector()
        """
        held = {id(p) for p in self.built().parameters}
        lost = [path for path, p in self.named_parameters() if id(p) not in held]
        lost += [path for path, module in self.named_modules() if not module._ready]
        if lost:
            raise ConfigError(
                f"{type(self).__name__}: {', '.join(lost)} came into the model after it was built; "
                "build the model again with model.build(input_shape)"
            )

    @property
    def output_shape(self) -> tuple[int | None, ...] | None:
        """The shape of the output without N, None in it for any size; None where the model gives several."""
        self.built()
        shape = self._shapes[""]
        return None if shape is None else shape[1:]

    @property
    def device(self) -> Device:
        """Where the parameters are."""
        return self.built().device

    def to(self, device: Device | str) -> Self:
        """Move parameters and buffers to ``device``, such as "cuda".

        Raises DeviceError where the device cannot be used. An optimiser's state is moved after it, by
        ``optimizer.to(model.device)``.
        """
        device = resolve(device)
        self.built().to(device)
        for _, buffer in self.named_buffers():
            buffer.data = copies.to_device(copies.to_host(buffer.data), device)
        return self

    def train(self, training: bool = True) -> Self:
        """Training mode: dropout drops, batch norm uses the batch.

        training : False for evaluation mode
        """
        for _, module in self.named_modules():
            module.training = training
        return self

    def eval(self) -> Self:
        """Evaluation mode: dropout passes all, batch norm uses its running statistics."""
        return self.train(False)

    def freeze(self, pattern: str) -> Self:
        """Stop learning the parameters whose path matches ``pattern``: a path, a module's path, or with * and ?.

        Of a part of a built model, such as ``model[0]``, paths begin at the part. Raises ConfigError where the pattern
        matches nothing.

        >>> from dlcore import nn
        >>> model = nn.Sequential(nn.Dense(4), nn.ReLU(), nn.Dense(2)).build((3,)).freeze("0")
        >>> [(s.path, s.active) for s in model.vector.segments]
        [('0.w', False), ('0.b', False), ('2.w', True), ('2.b', True)]

        Source: notes, 2.5 (transfer learning).
        """
        return self._set_active(pattern, False)

    def unfreeze(self, pattern: str) -> Self:
        """Undo :meth:`freeze`.

        pattern : as for :meth:`freeze`

        >>> from dlcore import nn
        >>> model = nn.Dense(2).build((3,)).freeze("*").unfreeze("w")
        >>> [(s.path, s.active) for s in model.vector.segments]
        [('w', True), ('b', False)]
        """
        return self._set_active(pattern, True)

    def scale_lr(self, pattern: str, factor: float) -> Self:
        """Give the parameters whose path matches ``pattern`` their own factor on the learning rate.

        pattern : as for :meth:`freeze`
        factor : at least 0; 1 is what every parameter starts with, and a second call takes the place of the first

        A trunk that was trained before is adapted in small steps while the new head learns in large ones:

        >>> from dlcore import nn
        >>> model = nn.Sequential(nn.Dense(4), nn.ReLU(), nn.Dense(2)).build((3,)).scale_lr("0", 0.1)
        >>> [(s.path, s.lr_scale) for s in model.vector.segments]
        [('0.w', 0.1), ('0.b', 0.1), ('2.w', 1.0), ('2.b', 1.0)]

        Source: notes, 2.5; discriminative learning rates are Howard and Ruder (2018).
        """
        for vector, path in self._matching("scale_lr", pattern):
            vector.scale_lr(path, factor)
        return self

    def _set_active(self, pattern: str, active: bool) -> Self:
        for vector, path in self._matching("freeze" if not active else "unfreeze", pattern):
            vector.set_active(path, active)
        return self

    def _matching(self, verb: str, pattern: str) -> list[tuple[ParameterVector, str]]:
        """The parameters that ``pattern`` means, each as the vector that holds it and its path there; a ConfigError
        where there are none. Of a part of a built model, the vector is the model's."""
        if not isinstance(pattern, str):
            raise ConfigError(f"{verb}: {pattern!r:.60} came but a pattern is expected, a text such as '0' or 'conv*'")
        self._check_ready()
        known = dict(self.named_parameters())
        paths = list(known)
        matching = [p for path, p in known.items() if matches(path, pattern)]
        if not matching:
            raise ConfigError(
                f"{verb}: {pattern!r} matches no parameter{did_you_mean(pattern, paths)}; there are {', '.join(paths)}"
            )
        return [(p.owner if isinstance(p.owner, ParameterVector) else self.built(), p.path) for p in matching]

    def state_dict(self) -> dict[str, np.ndarray]:
        """Every parameter and buffer of a built model by path, copied to the host.

        >>> from dlcore import nn
        >>> {path: array.shape for path, array in nn.Dense(2).build((3,)).state_dict().items()}
        {'w': (3, 2), 'b': (2,)}
        """
        self._check_ready()
        leaves = [*self.named_parameters(), *self.named_buffers()]
        return {path: np.array(copies.to_host(leaf.data)) for path, leaf in leaves}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set every parameter and buffer; checks all names and shapes before it writes any.

        state : arrays or Tensors by path, as :meth:`state_dict` gives them

        Raises CheckpointError.

        >>> from dlcore import nn
        >>> a, b = nn.Dense(2).build((3,), seed=0), nn.Dense(2).build((3,), seed=1)
        >>> b.load_state_dict(a.state_dict())
        >>> bool((a.w.numpy() == b.w.numpy()).all())
        True
        >>> nn.Dense(5).build((3,)).load_state_dict(a.state_dict())
        Traceback (most recent call last):
        dlcore.errors.CheckpointError: weights do not fit the model: w has shape (3, 2) but (3, 5) is expected; \
build the model that wrote them
        """
        self._check_ready()
        leaves = dict([*self.named_parameters(), *self.named_buffers()])
        missing, foreign = sorted(leaves.keys() - state.keys()), sorted(state.keys() - leaves.keys())
        if missing or foreign:
            raise CheckpointError(
                f"weights do not fit the model: missing {', '.join(missing) or 'none'}; "
                f"not in the model {', '.join(foreign) or 'none'}; build the model that wrote them"
            )
        host = {path: _on_host(value) for path, value in state.items()}
        for path, leaf in leaves.items():
            if host[path].shape != tuple(leaf.shape):
                raise CheckpointError(
                    f"weights do not fit the model: {path} has shape {host[path].shape} but {tuple(leaf.shape)} is "
                    "expected; build the model that wrote them"
                )
        for path, leaf in leaves.items():
            if isinstance(leaf, Buffer):
                xp = namespace_of(leaf.data)
                leaf.data = xp.asarray(host[path], dtype=leaf.data.dtype, device=leaf.data.device, copy=True)
            else:
                leaf.data = host[path]

    def summary(self) -> str:
        """A table of the layers: path, type, output shape, parameters; "?" for what only a built model knows.

        >>> from dlcore import nn
        >>> print(nn.Sequential(nn.Dense(4), nn.ReLU(), nn.Dense(2)).build((3,)).summary())
        layer  type   output  parameters
        0      Dense  (N, 4)          16
        1      ReLU   (N, 4)           0
        2      Dense  (N, 2)          10
        total: 26 parameters
        """
        return _tree.summary(self)

    def __repr__(self) -> str:
        return _tree.tree(self)

    def _repr_html_(self) -> str:
        """The layers as a table, for notebooks."""
        return _tree.html(self)

    def count(self) -> int:
        """How many numbers are learnt, frozen ones included."""
        return sum(p.size for p in self.parameters())

    # --- random draws and copies

    def draw(self, stream: str) -> Key:
        """A key for random numbers of this layer: ask for one in ``forward``, and again each time that it is called.

        stream : a name, such as "noise"; names are independent of each other, and so are the layers of a model

        In training the key is named by the seed, the layer's path, the stream, the optimiser's step and the call in
        this step. Nothing else counts, so the numbers are the same bits on every device and in a run that was resumed.

        In evaluation a layer decides by ``self.training`` whether it draws at all, as Dropout does. One that does gets
        keys that neither seed nor step name: ``Trainer.predict`` and ``evaluate`` begin anew, so that they give the
        same numbers each time and in another process, and leave those of training alone. After ``model.eval()`` each
        call of one's own gets another.

        A key becomes numbers by :func:`dlcore.functional.normal` or ``uniform``. Raises ConfigError where ``stream`` is
        no name.

        >>> from dlcore import functional as F, nn
        >>> class Noise(nn.Module):
        ...     def forward(self, x):
        ...         if not self.training:
        ...             return x
        ...         return x + 0.1 * F.normal(x, key=self.draw("noise"), first_row=self.clock.first_row)
        >>> layer = Noise().build((3,), seed=1)
        >>> layer(np.zeros((1, 3), np.float32)).numpy()
        array([[-0.12192667,  0.10800987, -0.16312116]], dtype=float32)
        >>> layer.draw("noise") != layer.draw("noise") != layer.draw("sign")
        True
        """
        if type(stream) is not str or not stream:
            raise ConfigError(f'draw: stream is {stream!r:.60} but a name is expected, such as "noise"')
        clock = self.clock
        if self.training:
            step, counts = self.__dict__.get("_calls", (-1, {}))
            if step != clock.step:
                counts: dict[str, int] = {}
                self.__dict__["_calls"] = (clock.step, counts)
            calls = counts.get(stream, 0)
            counts[stream] = calls + 1
            return random.own(clock.seed, stream, self.path, clock.step, calls)
        one = evaluating()
        counted: dict[Any, int] = self.__dict__.setdefault("_evaluated", {}) if one is None else one.draws
        name = (self.path, stream)
        calls = counted.get(name, 0)
        counted[name] = calls + 1
        return random.own(0, stream, self.path, 0, calls, 1)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.vector is not None:  # a model that was pickled: its buffers come as host arrays
            for _, buffer in self.named_buffers():
                buffer.data = copies.to_device(buffer.data, self.vector.device)


def _takes_lengths(forward: Any) -> bool:
    return "lengths" in inspect.signature(forward).parameters


def _nested(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The Modules, Parameters and Buffers in a field, found in lists and dicts too."""
    if isinstance(value, Module | Parameter | Buffer):
        yield name, value
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _nested(f"{name}.{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _nested(f"{name}.{key}", item)


def _on_host(value: Any) -> np.ndarray:
    """A value of a state dict, wherever it is."""
    if isinstance(value, Tensor):
        return value.numpy()
    if isinstance(value, np.ndarray) or not hasattr(value, "shape"):
        return np.asarray(value)
    return copies.to_host(value)
