"""Modules: building, seeds and paths, trees of fields, state, errors."""

import numpy as np
import pytest
from samples import numbers

import dlcore as dl
from backends.runtime import copies
from backends.runtime.device import CPU
from dlcore import functional as F
from dlcore import nn
from dlcore.errors import CheckpointError, ConfigError, ShapeError
from dlcore.optim import L2, Adam, clip_by_norm


def mlp():
    return nn.Sequential(nn.Dense(3), nn.ReLU(), nn.Dense(2))


def cnn():
    features = (nn.Conv2D(4, 3, bias=False), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D(2))
    return nn.Sequential(*features, nn.Flatten(), nn.Dropout(0.5), nn.Dense(3))


def weights(model):
    return {path: value for path, value in model.state_dict().items() if path.endswith("w")}


@pytest.fixture(autouse=True)
def _seed_0(monkeypatch):
    monkeypatch.setattr("dlcore.nn.module._default_seed", 0)


# --- seeds and paths


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(arrays):
    first = mlp().build((4,), seed=7, device=arrays.device)
    again = mlp().build((4,), seed=7)  # on the host
    other = mlp().build((4,), seed=8, device=arrays.device)
    for path, w in weights(first).items():
        np.testing.assert_array_equal(w, weights(again)[path])
        assert (w != weights(other)[path]).all()


def test_weights_depend_on_their_path_and_not_on_the_other_layers():
    plain = mlp().build((4,), seed=1)
    shifted = nn.Sequential(nn.Dense(3), nn.ReLU(), nn.ReLU(), nn.Dense(2)).build((4,), seed=1)
    np.testing.assert_array_equal(weights(plain)["0.w"], weights(shifted)["0.w"])
    assert (weights(plain)["2.w"] != weights(shifted)["3.w"]).all()
    wider = nn.Sequential(nn.Dense(3), nn.Dense(5), nn.Dense(2)).build((4,), seed=1)
    np.testing.assert_array_equal(weights(plain)["0.w"], weights(wider)["0.w"])


def test_equal_layers_at_different_paths_draw_different_weights():
    model = nn.Sequential(nn.Dense(4), nn.Dense(4)).build((4,))
    assert (model[0].w.numpy() != model[1].w.numpy()).all()


def test_weights_in_float64_are_those_of_float32(arrays):
    single = mlp().build((4,), seed=2, device=arrays.device)
    double = mlp().build((4,), seed=2, dtype="float64", device=arrays.device)
    for path, value in double.state_dict().items():
        assert value.dtype == np.float64
        np.testing.assert_array_equal(value, single.state_dict()[path].astype(np.float64))


def test_the_first_data_decide_the_dtype(arrays):
    for dtype in ("float32", "float64"):
        model = mlp()
        y = model(arrays.place(numbers(2, 4, dtype=dtype)))
        assert y.numpy().dtype == dtype
        assert arrays.host(model.vector.theta).dtype == dtype


def test_dl_seed_sets_only_the_default_of_build():
    explicit = mlp().build((4,), seed=5)
    dl.seed(5)
    default, lazy = mlp().build((4,)), mlp()
    lazy(numbers(2, 4))
    for model in (default, lazy):
        np.testing.assert_array_equal(model[0].w.numpy(), explicit[0].w.numpy())
    other = mlp().build((4,), seed=6)
    assert (other[0].w.numpy() != explicit[0].w.numpy()).all()


def test_dtypes_other_than_float32_and_float64_are_refused():
    with pytest.raises(ConfigError, match=r"dtype is 'float16' but 'float32' or 'float64'"):
        mlp().build((4,), dtype="float16")


@pytest.mark.parametrize("shape", [4, "4", None])
def test_an_input_shape_must_be_a_tuple(shape):
    with pytest.raises(ConfigError, match=r"input_shape is .* a tuple without N"):
        mlp().build(shape)


def test_building_again_keeps_the_weights():
    model = mlp().build((4,), seed=1)
    before = model.state_dict()
    model.build((4,), seed=2)
    for path, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[path])


def test_a_build_that_failed_leaves_no_layer_half_built():
    model = nn.Sequential(nn.Dense(3), nn.Conv2D(2, 3))
    with pytest.raises(ShapeError):
        model.build((5,))  # the Dense has seen 5 features by now
    model = nn.Sequential(model[0], nn.Dense(2))
    assert model.build((4,))[0].w.shape == (4, 3)


def test_building_leaves_running_statistics_and_modes_alone():
    model = cnn().train()
    model[5].eval()
    model.build((8, 8, 1), seed=0)
    assert [m.training for m in model.layers] == [True] * 5 + [False, True]
    assert (model.state_dict()["1.running_mean"] == 0).all()
    assert (model.state_dict()["1.running_variance"] == 1).all()


@pytest.mark.parametrize("use", ["parameters", "freeze", "to", "output_shape", "device"])
def test_what_needs_a_built_model_says_so(use):
    model = mlp()
    with pytest.raises(ConfigError, match=r"Sequential is not built: call model.build\(input_shape\)"):
        {
            "parameters": lambda: Adam().attach(model),
            "freeze": lambda: model.freeze("0"),
            "to": lambda: model.to("cpu"),
            "output_shape": lambda: model.output_shape,
            "device": lambda: model.device,
        }[use]()


# --- trees of fields


class Branches(nn.Module):
    """Lists in dicts in fields, a Parameter by itself, one more in a list, and a plain value."""

    def __init__(self, width):
        self.width = width
        self.towers = {"left": [nn.Dense(width), nn.Tanh()], "right": (nn.Dense(width),)}
        self.scales = [nn.Parameter([2.0]), nn.Parameter([3.0], decay=False)]
        self.shift = nn.Parameter(np.zeros(width, np.float32))

    def forward(self, x):
        left = x
        for layer in self.towers["left"]:
            left = layer(left)
        right = self.towers["right"][0](x)
        return left * self.scales[0] + right * self.scales[1] + self.shift


def test_fields_may_nest_lists_and_dicts(arrays):
    model = Branches(3).build((2,), seed=0, dtype="float64", device=arrays.device)
    towers = ["towers.left.0.w", "towers.left.0.b", "towers.right.0.w", "towers.right.0.b"]
    paths = ["scales.0", "scales.1", "shift", *towers]  # a module's own parameters come before its modules'
    assert [path for path, _ in model.named_parameters()] == paths
    assert [p.path for p in model.parameters()] == paths
    assert [path for path, _ in model.named_modules()] == ["", "towers.left.0", "towers.left.1", "towers.right.0"]
    assert [s.path for s in model.vector.segments] == paths
    x = numbers(4, 2, dtype="float64")
    state = model.state_dict()
    expected = 2 * np.tanh(x @ state["towers.left.0.w"]) + 3 * (x @ state["towers.right.0.w"])
    y = model(arrays.place(x))
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-13, atol=1e-15)
    y.sum().backward()
    assert all(np.abs(arrays.host(p.grad)).min() > 0 for p in model.parameters())
    assert dl.testing.gradient_check(model, arrays.place(x), arrays.place(numbers(4, 3)), "mse")


class Shared(nn.Module):
    def __init__(self):
        self.dense = nn.Dense(3)
        self.again = self.dense

    def forward(self, x):
        return self.again(self.dense(x))


def test_a_shared_layer_is_one_layer(arrays):
    model = Shared().build((3,), seed=0, dtype="float64", device=arrays.device)
    assert [path for path, _ in model.named_parameters()] == ["dense.w", "dense.b"]
    assert model.count() == 12
    assert len(model.vector) == 64 + 64
    x = numbers(2, 3, dtype="float64")
    w = model.dense.w.numpy()
    np.testing.assert_allclose(model(arrays.place(x)).numpy(), x @ w @ w, rtol=1e-13, atol=1e-15)
    assert dl.testing.gradient_check(model, arrays.place(x), arrays.place(numbers(2, 3)), "mse")


def test_a_shared_layer_in_a_sequential_keeps_its_first_path():
    dense = nn.Dense(3)
    model = nn.Sequential(dense, nn.ReLU(), dense).build((3,))
    assert [path for path, _ in model.named_parameters()] == ["0.w", "0.b"]


def test_heads_give_a_dict_of_outputs(arrays):
    model = nn.Sequential(nn.Dense(4), nn.Heads({"species": nn.Dense(3), "sex": nn.Dense(1)}))
    model.build((2,), seed=0, dtype="float64", device=arrays.device)
    x = numbers(5, 2, dtype="float64")
    y = model(arrays.place(x))
    assert {name: output.shape for name, output in y.items()} == {"species": (5, 3), "sex": (5, 1)}
    assert [path for path, _ in model.named_parameters()] == [
        "0.w", "0.b", "1.species.w", "1.species.b", "1.sex.w", "1.sex.b",
    ]  # fmt: skip
    assert model.output_shape is None
    labels = np.array([0, 2, 1, 1, 0])

    def loss(outputs, targets):
        return F.cross_entropy(outputs["species"], targets["species"]) + F.mse(outputs["sex"], targets["sex"])

    targets = {"species": arrays.place(labels), "sex": arrays.place(numbers(5))}
    assert dl.testing.gradient_check(model, arrays.place(x), targets, loss)


def test_residual_adds_its_input_or_its_shortcut(arrays):
    x = numbers(2, 3, dtype="float64")
    for shortcut in (None, nn.Dense(3, bias=False)):
        model = nn.Residual(nn.Dense(3), shortcut).build((3,), dtype="float64", device=arrays.device)
        base = x if shortcut is None else x @ model.shortcut.w.numpy()
        expected = base + x @ model.inner.w.numpy()
        np.testing.assert_allclose(model(arrays.place(x)).numpy(), expected, rtol=1e-13, atol=1e-15)


def test_a_module_may_be_called_with_further_arguments():
    class Gated(nn.Module):
        def __init__(self):
            self.dense = nn.Dense(2)

        def forward(self, x, gate=1.0, *, shift=0.0):
            return self.dense(x) * gate + shift

    model = Gated().build((3,))
    x = numbers(2, 3)
    np.testing.assert_allclose(
        model(x, 2.0, shift=1.0).numpy(), 2 * model(x).numpy() + 1, rtol=1e-6
    )  # one rounding more


def test_a_sequential_has_a_length_and_items():
    model = mlp()
    assert len(model) == 3
    assert isinstance(model[1], nn.ReLU)


class Unused(nn.Module):
    def __init__(self):
        self.used, self.unused = nn.Dense(2), nn.Dense(3)

    def forward(self, x):
        return self.used(x)


def test_a_layer_that_forward_never_calls_is_named():
    with pytest.raises(ConfigError, match=r"forward never called unused; call every layer"):
        Unused().build((2,))


def test_a_layer_that_is_in_no_field_is_named_for_it_would_not_be_trained():
    class Hidden(nn.Module):
        def __init__(self):
            self.seen = nn.Dense(2)
            self.layers = {frozenset([0]): None}
            self.get = lambda hidden=nn.Dense(3): hidden  # noqa: B008  out of sight on purpose

        def forward(self, x):
            return self.get()(self.seen(x))

    with pytest.raises(ConfigError, match=r"Dense\(units=3\).*never be trained.*in no field"):
        Hidden().build((2,))


def test_a_module_without_forward_says_so():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty defines no forward"):
        Empty()(np.ones((1, 2), np.float32))


def test_a_trained_trunk_in_a_new_model_keeps_its_weights_and_belongs_to_it():
    trunk = nn.Sequential(nn.Dense(3), nn.ReLU()).build((4,), seed=3)
    before = trunk.state_dict()
    model = nn.Sequential(trunk, nn.Dense(2)).build((4,), seed=4)
    for path, value in before.items():
        np.testing.assert_array_equal(value, model.state_dict()[f"0.{path}"])
    assert trunk.vector is None  # its parameters are the model's now; its own vector would be stale
    trunk.freeze("0")  # paths begin at the part
    assert [(s.path, s.active) for s in model.built().segments][0::2] == [("0.0.w", False), ("1.w", True)]
    optimizer = Adam(0.1).attach(model)
    F.mse(model(numbers(5, 4)), numbers(5, 2)).backward()
    optimizer.step()
    for path, value in before.items():
        np.testing.assert_array_equal(value, trunk.state_dict()[path])


def test_an_optimiser_of_a_model_that_was_built_again_refuses_to_step():
    model = mlp().build((4,))
    optimizer = Adam().attach(model)
    model.build((4,))
    with pytest.raises(ConfigError, match=r"built again.*attach"):
        optimizer.step()
    with pytest.raises(ConfigError, match=r"built again.*attach"):
        optimizer.zero_grad()
    optimizer.attach(model).step()


# --- modes and devices


def test_train_and_eval_reach_every_module():
    model = nn.Sequential(nn.Residual(nn.Sequential(nn.Dropout())), nn.Heads({"a": nn.BatchNorm()}))
    assert all(m.training for _, m in model.named_modules())
    assert model.eval() is model
    assert not any(m.training for _, m in model.named_modules())
    assert model.train() is model
    assert all(m.training for _, m in model.named_modules())


def test_to_moves_parameters_and_buffers_and_keeps_their_values(arrays):
    model = cnn().build((8, 8, 1), seed=0)
    model(numbers(4, 8, 8, 1))  # running statistics that are not their initial ones
    state, x = model.state_dict(), numbers(4, 8, 8, 1, seed=1)
    expected = model.eval()(x).numpy()
    assert model.to(arrays.device) is model
    assert model.device == arrays.device
    for leaf in [*model.parameters(), *(buffer for _, buffer in model.named_buffers())]:
        assert arrays.device.holds(leaf.data)
    for path, value in model.state_dict().items():
        np.testing.assert_array_equal(value, state[path])
    y = model(arrays.place(x))
    # The same float32 sums, in an order that a library may choose.
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-4, atol=1e-6)
    F.mse(y, arrays.place(np.zeros((4, 3), np.float32))).backward()
    assert np.abs(arrays.host(model[-1].w.grad)).max() > 0
    model.to(CPU)
    for path, value in model.state_dict().items():
        np.testing.assert_array_equal(value, state[path])


def test_a_whole_training_step_waits_for_no_device(arrays):
    model = cnn().build((8, 8, 1), seed=0, device=arrays.device)
    optimizer, penalty, clip = Adam(1e-2).attach(model), L2(1e-3), clip_by_norm(1.0)
    x, y = arrays.place(numbers(4, 8, 8, 1)), arrays.place(np.array([0, 1, 2, 1]))

    before = arrays.host(model.vector.theta).copy()
    with copies.guard("forbid"):
        loss = F.cross_entropy(model(x), y, label_smoothing=0.1) + penalty(model, 4)
        loss.backward()
        clip(model)
        optimizer.step()
        optimizer.zero_grad()
    after = arrays.host(model.vector.theta)
    assert np.isfinite(after).all()
    assert (before != after).any()


# --- state


def test_state_round_trips_between_devices(arrays):
    source = cnn().build((8, 8, 1), seed=1, device=arrays.device)
    source(arrays.place(numbers(4, 8, 8, 1)))
    state = source.state_dict()
    assert list(state) == ["0.w", "1.gamma", "1.beta", "6.w", "6.b", "1.running_mean", "1.running_variance"]
    assert all(type(value) is np.ndarray for value in state.values())
    target = cnn().build((8, 8, 1), seed=2)
    target.load_state_dict(state)
    for path, value in target.state_dict().items():
        np.testing.assert_array_equal(value, state[path])
    source.load_state_dict(cnn().build((8, 8, 1), seed=2).state_dict())
    assert arrays.device.holds(source[1].running_mean.data)
    assert (source.state_dict()["1.running_mean"] == 0).all()


def test_a_state_is_a_copy():
    model = cnn().build((8, 8, 1))
    state = model.state_dict()
    for value in state.values():
        value[...] = 9.0
    assert not any((value == 9).any() for value in model.state_dict().values())
    model.load_state_dict(state)
    state["1.running_mean"][...] = 0.0
    assert (model.state_dict()["1.running_mean"] == 9).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("2.b"), r"missing 2\.b; not in the model none"),
        (lambda s: s.update(head=np.ones(1)), r"missing none; not in the model head"),
        (lambda s: s.update({"2.w": s["2.w"].T}), r"2\.w has shape \(2, 3\) but \(3, 2\) is expected"),
        (lambda s: s.update({"2.b": np.ones((2, 1))}), r"2\.b has shape \(2, 1\)"),
    ],
    ids=["missing", "foreign", "transposed", "another axis"],
)
def test_a_state_that_does_not_fit_is_refused_before_anything_is_written(arrays, change, words):
    model = mlp().build((4,), seed=1, device=arrays.device)
    before, version = arrays.host(model.vector.theta).copy(), model.vector.version
    state = {path: value + 1 for path, value in model.state_dict().items()}
    change(state)
    with pytest.raises(CheckpointError, match=words):
        model.load_state_dict(state)
    np.testing.assert_array_equal(arrays.host(model.vector.theta), before)
    assert model.vector.version == version


def test_a_float64_model_loads_a_float32_state_and_the_other_way_round():
    single, double = mlp().build((4,), seed=1), mlp().build((4,), seed=2, dtype="float64")
    double.load_state_dict(single.state_dict())
    assert double[0].w.numpy().dtype == np.float64
    np.testing.assert_array_equal(double[0].w.numpy(), single[0].w.numpy())
    single.load_state_dict(double.state_dict())
    assert single[0].w.numpy().dtype == np.float32


def test_summary_lists_the_layers_with_shapes_and_counts():
    assert cnn().build((8, 8, 1)).summary().splitlines() == [
        "layer  type       output        parameters",
        "0      Conv2D     (N, 6, 6, 4)          36",
        "1      BatchNorm  (N, 6, 6, 4)           8",
        "2      ReLU       (N, 6, 6, 4)           0",
        "3      MaxPool2D  (N, 3, 3, 4)           0",
        "4      Flatten    (N, 36)                0",
        "5      Dropout    (N, 36)                0",
        "6      Dense      (N, 3)               111",
        "total: 155 parameters",
    ]


def test_summary_of_nested_models_shows_their_layers_and_thousands():
    model = nn.Sequential(nn.Residual(nn.Sequential(nn.Dense(100))), nn.Heads({"a": nn.Dense(3)})).build((100,))
    assert model.summary().splitlines() == [
        "layer      type   output    parameters",
        "0.inner.0  Dense  (N, 100)      10,100",
        "1.a        Dense  (N, 3)           303",
        "total: 10,403 parameters",
    ]


def test_summary_before_the_build_shows_what_is_known():
    assert "?" in mlp().summary()
    assert "not built" in mlp().summary().splitlines()[-1]
