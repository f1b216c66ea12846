"""The workloads in JAX: pure functions under ``jax.jit``, images (N, H, W, C); a step reuses its arguments' memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.peers.timing import Part
from benchmarks.peers.workloads import (
    AdamStep,
    BatchNorm,
    Block,
    Conv,
    CrossEntropy,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool,
    Product,
    Recurrent,
    ReLU,
    Residual,
    Training,
    Workload,
    labels,
    normal,
)

__all__ = ["VERSION", "applied", "parts_of", "threads"]

VERSION = jax.__version__

wait = jax.block_until_ready  # calls come back before the work is done


def applied(setting: str) -> nullcontext[None]:
    return nullcontext()


def threads() -> str:
    return "its own pool, a thread a core"


def parts_of(work: Workload, setting: str) -> dict[str, Part]:
    match work:
        case Block():
            return _block(work)
        case CrossEntropy():
            return {"loss and gradient": _cross_entropy(work)}
        case AdamStep():
            return {"step": _adam(work)}
        case Product(_, n):
            product = jax.jit(jnp.matmul)
            a, b = jnp.asarray(normal(n, n)), jnp.asarray(normal(n, n, seed=2))
            return {"product": Part(lambda _: wait(product(a, b)), check=lambda y: float(abs(y).mean()))}
        case Training():
            return {"step": _step(work)}
    raise NotImplementedError(f"{work.name} is not written in JAX")


# --- models: parameters and running statistics are lists with one entry a layer


def _start(layers: Sequence[Layer], shape: tuple[int, ...]) -> tuple[list[Any], list[Any], tuple[int, ...]]:
    """The parameters, the running statistics, and the shape of one example that leaves the layers."""
    parameters, statistics = [], []
    for layer in layers:
        p, s, shape = _start_layer(layer, shape)
        parameters.append(p)
        statistics.append(s)
    return parameters, statistics, shape


def _start_layer(layer: Layer, shape: tuple[int, ...]) -> tuple[Any, Any, tuple[int, ...]]:
    match layer:
        case Conv(filters, size, stride, bias):
            p = {"w": _weights(size, size, shape[2], filters)} | ({"b": jnp.zeros(filters)} if bias else {})
            return p, {}, (-(-shape[0] // stride), -(-shape[1] // stride), filters)
        case Dense(units):
            return {"w": _weights(shape[0], units), "b": jnp.zeros(units)}, {}, (units,)
        case BatchNorm():
            c = shape[-1]
            return {"gamma": jnp.ones(c), "beta": jnp.zeros(c)}, {"mean": jnp.zeros(c), "variance": jnp.ones(c)}, shape
        case ReLU():
            return {}, {}, shape
        case MaxPool(size):
            return {}, {}, (shape[0] // size, shape[1] // size, shape[2])
        case GlobalAvgPool():
            return {}, {}, shape[2:]
        case Flatten():
            return {}, {}, (shape[0] * shape[1] * shape[2],)
        case Recurrent(cell, hidden):
            width = {"rnn": 1, "lstm": 4, "gru": 3}[cell] * hidden
            p = {"u": _weights(shape[1], width), "w": _weights(hidden, width) / 4, "b": jnp.zeros(width)}
            return p | ({"bn": jnp.zeros(hidden)} if cell == "gru" else {}), {}, (hidden,)
        case Residual(inner, shortcut):
            a, b = _start(inner, shape), _start(shortcut, shape)
            return [a[0], b[0]], [a[1], b[1]], a[2]


def _weights(*shape: int) -> jax.Array:
    """Drawn as He et al. (2015) do: standard normal numbers times sqrt(2 / inputs)."""
    inputs = 1
    for n in shape[:-1]:
        inputs *= n
    return jnp.asarray(normal(*shape)) * (2 / inputs) ** 0.5


def _apply(layers: Sequence[Layer], parameters: list[Any], statistics: list[Any], x: Any) -> tuple[Any, list[Any]]:
    """The output, and the running statistics after it."""
    after = []
    for layer, p, s in zip(layers, parameters, statistics, strict=True):
        x, s = _apply_layer(layer, p, s, x)
        after.append(s)
    return x, after


def _apply_layer(layer: Layer, p: Any, s: Any, x: Any) -> tuple[Any, Any]:
    match layer:
        case Conv(_, size, stride, _):
            pad = (size - 1) // 2
            y = lax.conv_general_dilated(
                x, p["w"], (stride, stride), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            return y + p["b"] if "b" in p else y, s
        case Dense():
            return x @ p["w"] + p["b"], s
        case BatchNorm():
            return _batch_norm(p, s, x)
        case ReLU():
            return jax.nn.relu(x), s
        case MaxPool(size):
            window = (1, size, size, 1)
            return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID"), s
        case GlobalAvgPool():
            return x.mean(axis=(1, 2)), s
        case Flatten():
            return x.reshape(x.shape[0], -1), s
        case Recurrent(cell, hidden):
            return _last_state(cell, hidden, p, x), s
        case Residual(inner, shortcut):
            y, a = _apply(inner, p[0], s[0], x)
            x, b = _apply(shortcut, p[1], s[1], x)
            return x + y, [a, b]


def _last_state(cell: str, hidden: int, p: Any, x: Any) -> Any:
    """The state (N, hidden) after the last step of x (N, T, D); the products of all inputs at once."""
    inputs = jnp.swapaxes(x @ p["u"] + p["b"], 0, 1)  # (T, N, gates · hidden)

    def rnn(h: Any, a: Any) -> Any:
        return jnp.tanh(a + h @ p["w"]), None

    def lstm(state: Any, a: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(a + h @ p["w"], 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    def gru(h: Any, a: Any) -> Any:
        (ar, az, an), (hr, hz, hn) = (jnp.split(v, 3, axis=1) for v in (a, h @ p["w"]))
        r, z = jax.nn.sigmoid(ar + hr), jax.nn.sigmoid(az + hz)
        n = jnp.tanh(an + r * (hn + p["bn"]))
        return (1 - z) * n + z * h, None

    zeros = jnp.zeros((x.shape[0], hidden))
    if cell == "lstm":
        return lax.scan(lstm, (zeros, zeros), inputs)[0][0]
    return lax.scan({"rnn": rnn, "gru": gru}[cell], zeros, inputs)[0]


def _batch_norm(p: Any, s: Any, x: Any) -> tuple[Any, Any]:
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    y = p["gamma"] * (x - mean) * lax.rsqrt(variance + 1e-5) + p["beta"]
    running = {"mean": 0.9 * s["mean"] + 0.1 * mean, "variance": 0.9 * s["variance"] + 0.1 * variance}
    return y, jax.tree.map(lax.stop_gradient, running)


def _mean_cross_entropy(logits: Any, y: Any) -> Any:
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)
    return -picked.mean()


# --- Adam


def _adam_start(parameters: Any) -> tuple[Any, Any, Any]:
    """The average of the gradient and of its square, and the number of steps."""
    return jax.tree.map(jnp.zeros_like, parameters), jax.tree.map(jnp.zeros_like, parameters), jnp.zeros(())


def _adam_step(parameters: Any, gradient: Any, state: Any) -> tuple[Any, Any]:
    mean, square, t = state
    t = t + 1
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
    square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, square, gradient)
    a, b = 1 / (1 - 0.9**t), 1 / (1 - 0.999**t)
    moved = jax.tree.map(lambda p, m, s: p - 1e-3 * a * m / (jnp.sqrt(b * s) + 1e-8), parameters, mean, square)
    return moved, (mean, square, t)


def _step(work: Training) -> Part:
    parameters, statistics, _ = _start(work.layers, work.shape)
    x, y = jnp.asarray(normal(work.batch, *work.shape)), jnp.asarray(labels(work.batch, work.classes))

    def loss_of(parameters: Any, statistics: Any, x: Any, y: Any) -> tuple[Any, Any]:
        logits, statistics = _apply(work.layers, parameters, statistics, x)
        return _mean_cross_entropy(logits, y), statistics

    def step(parameters: Any, statistics: Any, state: Any, x: Any, y: Any) -> Any:
        (loss, statistics), gradient = jax.value_and_grad(loss_of, has_aux=True)(parameters, statistics, x, y)
        parameters, state = _adam_step(parameters, gradient, state)
        return parameters, statistics, state, loss

    return _repeated(jax.jit(step, donate_argnums=(0, 1, 2)), [parameters, statistics, _adam_start(parameters)], x, y)


def _repeated(step: Callable[..., Any], carried: list[Any], *data: Any) -> Part:
    """``step``, whose first results are the first arguments of the next call."""

    def run(_: Any) -> None:
        results = wait(step(*carried, *data))
        carried[:] = results[: len(carried)]

    return Part(run)


# --- parts


def _block(work: Block) -> dict[str, Part]:
    parameters, statistics, _ = _start(work.layers, work.shape)
    x = jnp.asarray(normal(work.batch, *work.shape))

    def block(parameters: Any, x: Any) -> Any:
        return _apply(work.layers, parameters, statistics, x)[0]

    def of_parameters(parameters: Any, x: Any) -> Any:
        return jax.vjp(lambda p: block(p, x), parameters)

    forward = jax.jit(block)
    # vjp gives the output and the backward pass, which holds what the forward pass saved.
    record = jax.jit((lambda p, x: jax.vjp(block, p, x)) if work.input_gradient else of_parameters)
    pull = jax.jit(lambda backward, dy: backward(dy))
    dy = jnp.asarray(normal(*forward(parameters, x).shape, seed=2))
    return {
        "forward": Part(lambda _: wait(forward(parameters, x))),
        "backward": Part(lambda backward: wait(pull(backward, dy)), prepare=lambda: wait(record(parameters, x))[1]),
    }


def _cross_entropy(work: CrossEntropy) -> Part:
    both = jax.jit(jax.value_and_grad(_mean_cross_entropy))
    logits, y = jnp.asarray(normal(work.rows, work.classes)), jnp.asarray(labels(work.rows, work.classes))
    return Part(lambda _: wait(both(logits, y)), check=lambda result: float(result[0]))


def _adam(work: AdamStep) -> Part:
    theta, gradient = jnp.asarray(normal(work.parameters)), jnp.asarray(normal(work.parameters, seed=2))
    step = jax.jit(lambda theta, state, gradient: _adam_step(theta, gradient, state), donate_argnums=(0, 1))
    return _repeated(step, [theta, _adam_start(theta)], gradient)
