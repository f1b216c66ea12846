"""Each layer: shapes, parameters, settings, gradients."""

import re

import numpy as np
import pytest

from dlcore import functional as F
from dlcore import nn
from dlcore.errors import ConfigError, ShapeError
from dlcore.testing import gradient_check, gradient_check_function

# name: (layer, input shape, output shape, parameters)
LAYERS = {
    "Dense": (lambda: nn.Dense(5), (4,), (5,), {"w": (4, 5), "b": (5,)}),
    "Dense without bias": (lambda: nn.Dense(5, bias=False), (4,), (5,), {"w": (4, 5)}),
    "Dense on sequences": (lambda: nn.Dense(5), (3, 4), (3, 5), {"w": (4, 5), "b": (5,)}),
    "Conv2D": (lambda: nn.Conv2D(6, 3), (5, 7, 2), (3, 5, 6), {"w": (3, 3, 2, 6), "b": (6,)}),
    "Conv2D without bias": (lambda: nn.Conv2D(6, 3, bias=False), (5, 7, 2), (3, 5, 6), {"w": (3, 3, 2, 6)}),
    "Conv2D same": (lambda: nn.Conv2D(2, (3, 2), padding="same"), (5, 7, 1), (5, 7, 2), {"w": (3, 2, 1, 2), "b": (2,)}),
    "Conv2D strided": (lambda: nn.Conv2D(2, 3, stride=(2, 3)), (7, 9, 1), (3, 3, 2), {"w": (3, 3, 1, 2), "b": (2,)}),
    "Conv2D dilated": (lambda: nn.Conv2D(2, 2, dilation=(2, 1)), (5, 5, 1), (3, 4, 2), {"w": (2, 2, 1, 2), "b": (2,)}),
    "Conv2D padded": (
        lambda: nn.Conv2D(2, 3, padding=((1, 0), (2, 1))),
        (5, 5, 1),
        (4, 6, 2),
        {"w": (3, 3, 1, 2), "b": (2,)},
    ),
    "BatchNorm": (nn.BatchNorm, (3,), (3,), {"gamma": (3,), "beta": (3,)}),
    "BatchNorm on images": (nn.BatchNorm, (4, 4, 3), (4, 4, 3), {"gamma": (3,), "beta": (3,)}),
    "MaxPool2D": (nn.MaxPool2D, (5, 6, 2), (2, 3, 2), {}),
    "MaxPool2D strided": (lambda: nn.MaxPool2D(3, stride=1, padding="same"), (5, 6, 2), (5, 6, 2), {}),
    "AvgPool2D": (lambda: nn.AvgPool2D((1, 2)), (5, 6, 2), (5, 3, 2), {}),
    "AvgPool2D padded": (lambda: nn.AvgPool2D(2, 2, padding=((0, 1), (0, 0))), (5, 6, 2), (3, 3, 2), {}),
    "GlobalAvgPool2D": (nn.GlobalAvgPool2D, (5, 6, 2), (2,), {}),
    "Filter2D": (lambda: nn.Filter2D([[0, 1, 0], [1, -4, 1], [0, 1, 0]]), (5, 6, 2), (5, 6, 2), {}),
    "Filter2D in two passes": (
        lambda: nn.Filter2D([[1, 0, -1]] * 3, mode="valid", stride=(1, 2)),
        (5, 6, 2),
        (3, 2, 2),
        {},
    ),
    "Flatten": (nn.Flatten, (5, 6, 2), (60,), {}),
    "Flatten of numbers": (nn.Flatten, (), (1,), {}),
    "Dropout": (lambda: nn.Dropout(0.5).eval(), (4,), (4,), {}),
    "ReLU": (nn.ReLU, (4,), (4,), {}),
    "LeakyReLU": (lambda: nn.LeakyReLU(0.2), (4,), (4,), {}),
    "Sigmoid": (nn.Sigmoid, (4,), (4,), {}),
    "Tanh": (nn.Tanh, (4,), (4,), {}),
    "Softmax": (nn.Softmax, (3, 4), (3, 4), {}),
    "RNN": (lambda: nn.RNN(5), (3, 4), (5,), {"u": (4, 5), "w": (5, 5), "b": (5,)}),
    "LSTM": (
        lambda: nn.LSTM(2, return_sequences=True),
        (3, 4),
        (3, 2),
        {"u": (4, 8), "w": (2, 8), "b": (8,)},
    ),
    "GRU": (lambda: nn.GRU(2, reverse=True), (3, 4), (2,), {"u": (4, 6), "w": (2, 6), "b": (6,), "bn": (2,)}),
    "RNN of two layers": (
        lambda: nn.RNN(2, layers=2),
        (3, 4),
        (2,),
        {"u.0": (4, 2), "u.1": (2, 2), "w.0": (2, 2), "w.1": (2, 2), "b.0": (2,), "b.1": (2,)},
    ),
    "LSTM in both directions": (
        lambda: nn.LSTM(2, bidirectional=True),
        (3, 4),
        (4,),
        {
            "u.0": (4, 8),
            "u.0.reverse": (4, 8),
            "w.0": (2, 8),
            "w.0.reverse": (2, 8),
            "b.0": (8,),
            "b.0.reverse": (8,),
        },
    ),
    "Residual": (lambda: nn.Residual(nn.Dense(4)), (4,), (4,), {"inner.w": (4, 4), "inner.b": (4,)}),
    "Residual with a shortcut": (
        lambda: nn.Residual(nn.Dense(2), nn.Dense(2, bias=False)),
        (4,),
        (2,),
        {"inner.w": (4, 2), "inner.b": (2,), "shortcut.w": (4, 2)},
    ),
    "FromLast": (
        lambda: nn.FromLast(nn.RNN(3), (0, 2), (0.5, 2.0), (1,), carry=3.0, bound=1.5),
        (4, 3),
        (3,),
        {"inner.u": (3, 3), "inner.w": (3, 3), "inner.b": (3,)},
    ),
    "Sequential": (
        lambda: nn.Sequential(nn.Dense(3), nn.Tanh(), nn.Dense(2)),
        (4,),
        (2,),
        {"0.w": (4, 3), "0.b": (3,), "2.w": (3, 2), "2.b": (2,)},
    ),
}


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


@pytest.mark.parametrize("name", LAYERS)
def test_output_shape_parameters_and_paths(arrays, name):
    make, shape, output, parameters = LAYERS[name]
    layer = make().build(shape, seed=0, device=arrays.device)
    y = layer(arrays.place(numbers(3, *shape).astype(np.float32)))
    assert y.shape == (3, *output)
    assert y.numpy().dtype == np.float32
    assert layer.output_shape == output
    assert {path: p.shape for path, p in layer.named_parameters()} == parameters
    assert layer.count() == sum(int(np.prod(shape)) for shape in parameters.values())
    assert [p.path for p in layer.parameters()] == list(parameters)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_built_by_its_first_data_equals_one_built_by_shape(arrays, name):
    make, shape, _, _ = LAYERS[name]
    x = arrays.place(numbers(3, *shape).astype(np.float32))
    built, lazy = make().build(shape, device=arrays.device), make()
    np.testing.assert_array_equal(built(x).numpy(), lazy(x).numpy())
    assert lazy.input_shape == shape
    assert lazy.device.holds(x)
    for (path, a), (_, b) in zip(built.state_dict().items(), lazy.state_dict().items(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=path)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_passes_a_gradient_check_in_float64(arrays, name):
    make, shape, output, parameters = LAYERS[name]
    layer = make().eval().build(shape, seed=0, dtype="float64", device=arrays.device)
    x = numbers(3, *shape)  # no two equal: no kink of max pooling or relu within the step
    if parameters:
        assert gradient_check(layer, arrays.place(x), arrays.place(numbers(3, *output, seed=1)), "mse")
    assert gradient_check_function(layer, x, place=arrays.place)


def test_every_layer_of_the_package_is_in_the_table():
    made = {type(make()).__name__ for make, *_ in LAYERS.values()}
    no_layers = {"Module", "Parameter", "Buffer", "ParameterVector"}
    elsewhere = {
        "CharacterModel",
        "Embedding",
        "Heads",
    }  # below, in test_characters.py and test_module.py: their inputs or outputs are of another kind
    exported = {name for name in nn.__all__ if name[0].isupper()}
    assert made == exported - no_layers - elsewhere


def test_the_number_of_parameters_of_a_convolution_is_the_notes():
    f, c, k = 3, 2, 6
    assert nn.Conv2D(k, f).build((5, 7, c)).count() == f * f * c * k + k


# --- embedding


def test_embedding_gives_a_row_for_each_id(arrays):
    layer = nn.Embedding(10, 4).build((3,), seed=0, device=arrays.device, input_dtype="int64")
    ids = np.array([[1, 2, 9], [0, 2, 2]])
    y = layer(arrays.place(ids))
    assert y.shape == (2, 3, 4)
    np.testing.assert_array_equal(y.numpy(), layer.w.numpy()[ids])
    assert [path for path, _ in layer.named_parameters()] == ["w"]
    assert layer.count() == 40


def test_embedding_is_built_by_its_first_ids(arrays):
    layer = nn.Embedding(10, 4)
    ids = arrays.place(np.array([[1, 2, 9]]))
    built = nn.Embedding(10, 4).build((3,), device=arrays.device, input_dtype="int64")
    np.testing.assert_array_equal(layer(ids).numpy(), built(ids).numpy())


def test_embedding_passes_a_gradient_check(arrays):
    model = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Dense(2))
    model.build((4,), seed=0, dtype="float64", device=arrays.device, input_dtype="int64")
    ids = np.array([[1, 2, 1, 1], [0, 4, 2, 0]])
    assert gradient_check(model, arrays.place(ids), arrays.place(numbers(2, 2)), "mse")


# --- layers compute what the functions compute


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (nn.ReLU(), F.relu),
        (nn.LeakyReLU(0.3), lambda x: F.leaky_relu(x, 0.3)),
        (nn.Sigmoid(), F.sigmoid),
        (nn.Tanh(), F.tanh),
        (nn.Softmax(), F.softmax),
        (nn.MaxPool2D(2, 1, "same"), lambda x: F.max_pool2d(x, 2, 1, "same")),
        (nn.AvgPool2D(2, 1, ((1, 0), (0, 0))), lambda x: F.avg_pool2d(x, 2, 1, ((1, 0), (0, 0)))),
        (nn.GlobalAvgPool2D(), lambda x: x.mean(axis=(1, 2))),
        (nn.Flatten(), lambda x: x.reshape(x.shape[0], -1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_layers_without_parameters_are_their_functions(layer, function):
    x = nn.Parameter(numbers(2, 4, 4, 3))  # a Tensor, for the methods
    np.testing.assert_array_equal(layer(x).numpy(), function(x).numpy())


def test_layers_with_parameters_are_their_functions(arrays):
    x = arrays.place(numbers(2, 5, 5, 3).astype(np.float32))
    settings = {"stride": 2, "padding": "same", "dilation": 2}
    conv = nn.Conv2D(4, 3, **settings).build((5, 5, 3), device=arrays.device)
    np.testing.assert_array_equal(conv(x).numpy(), F.conv2d(x, conv.w, conv.b, **settings).numpy())
    dense = nn.Dense(4).build((5, 5, 3), device=arrays.device)
    np.testing.assert_array_equal(dense(x).numpy(), F.linear(x, dense.w, dense.b).numpy())


def test_biases_and_norm_parameters_start_at_their_neutral_values_and_do_not_decay():
    model = nn.Sequential(nn.Conv2D(2, 3), nn.BatchNorm(), nn.Flatten(), nn.Dense(2)).build((4, 4, 1))
    state = model.state_dict()
    assert (state["0.b"] == 0).all()
    assert (state["1.gamma"] == 1).all()
    assert (state["1.beta"] == 0).all()
    assert (state["3.b"] == 0).all()
    assert {path: p.decay for path, p in model.named_parameters()} == {
        "0.w": True, "0.b": False, "1.gamma": False, "1.beta": False, "3.w": True, "3.b": False,
    }  # fmt: skip


# --- wrong arguments, wrong data

WRONG = [
    (lambda: nn.Dense(0), "Dense: units is 0 but a whole number >= 1 is expected"),
    (lambda: nn.Dense(2.5), "units is 2.5"),
    (lambda: nn.Dense(True), "units is True"),
    (lambda: nn.Dense("3"), "units is '3'"),
    (lambda: nn.Dense(3, init="he"), "init: 'he' is not known.*known are zeros"),
    (lambda: nn.Dense(3, init="he_norml"), r"did you mean he_normal\?"),
    (lambda: nn.Dense(), "units"),
    (lambda: nn.Conv2D(0, 3), "filters is 0"),
    (lambda: nn.Conv2D(4, 0), "Conv2D: kernel_size is"),
    (lambda: nn.Conv2D(4, (3, 3, 3)), "kernel_size is"),
    (lambda: nn.Conv2D(4, 3, stride=0), "stride is"),
    (lambda: nn.Conv2D(4, 3, dilation=(1, 0)), "dilation is"),
    (lambda: nn.Conv2D(4, 3, padding="smae"), "padding is 'smae' but 'valid', 'same'"),
    (lambda: nn.Conv2D(4, 3, padding=1), "padding is 1"),
    (lambda: nn.MaxPool2D(0), "MaxPool2D: kernel_size is"),
    (lambda: nn.AvgPool2D(2, stride=-1), "AvgPool2D: stride is -1|AvgPool2D: stride is"),
    (lambda: nn.MaxPool2D(2, padding="full"), "padding is 'full'"),
    (lambda: nn.Dropout(1.5), r"Dropout: rate is 1.5 but a number in \[0, 1\) is expected"),
    (lambda: nn.Dropout(1.0), "rate is 1.0"),
    (lambda: nn.Dropout(-0.1), "rate is -0.1"),
    (lambda: nn.Dropout("half"), "rate is 'half'"),
    (lambda: nn.BatchNorm(momentum=1.0), "BatchNorm: momentum is 1.0"),
    (lambda: nn.BatchNorm(eps=-1e-5), "eps is -1e-05"),
    (lambda: nn.LeakyReLU(1.0), "alpha is 1.0"),
    (lambda: nn.LeakyReLU(-0.01), "alpha is -0.01"),
    (lambda: nn.Embedding(0, 4), "size is 0"),
    (lambda: nn.Embedding(4, 0), "dim is 0"),
    (lambda: nn.Sequential(), "no layers"),
    (lambda: nn.Sequential(nn.Dense(2), F.relu), "layer 1 is a function"),
    (lambda: nn.Sequential(nn.Dense), "layer 0 is the class Dense but a Module"),
    (lambda: nn.Residual(F.relu), "Residual: inner is a function"),
    (lambda: nn.Residual(nn.ReLU(), 3), "shortcut is a int"),
    (lambda: nn.Heads({}), "Heads: .*dict of names and modules"),
    (lambda: nn.Heads([nn.Dense(1)]), "dict of names and modules"),
    (lambda: nn.Heads({"a": 3}), "'a' is a int"),
]


@pytest.mark.parametrize(("make", "words"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_setting_is_refused_when_the_layer_is_made(make, words):
    with pytest.raises(ConfigError, match=words) as info:
        make()
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: nn.Dense(3, biass=False), r"did you mean bias\?.*it takes units, bias, init"),
        (lambda: nn.Conv2D(3, 3, strides=2), r"did you mean stride\?"),
        (lambda: nn.Dropout(rat=0.5), r"did you mean rate\?"),
        (lambda: nn.BatchNorm(epsilon=1e-3), r"it takes momentum, eps"),
        (lambda: nn.LeakyReLU(slope=0.1), r"it takes alpha"),
        (lambda: nn.ReLU(inplace=True), r"ReLU: inplace came but it takes no arguments"),
        (lambda: nn.Flatten(1), r"Flatten: 1 came but it takes no arguments"),
        (lambda: nn.Dense(3, True, "zeros", 4), r"too many positional arguments"),
    ],
    ids=range(8),
)
def test_an_argument_that_a_layer_does_not_take_is_refused_with_what_it_takes(make, hint):
    with pytest.raises(ConfigError, match=hint):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (lambda: nn.Conv2D(3, 3), (4,), r"conv2d: x has shape \(2, 4\)"),
        (lambda: nn.Conv2D(3, 5), (4, 4, 1), r".*a kernel of \(5, 5\)"),
        (lambda: nn.MaxPool2D(), (4,), r"max_pool2d: x has shape"),
        (lambda: nn.GlobalAvgPool2D(), (4,), r"GlobalAvgPool2D: x has shape \(2, 4\)"),
        (lambda: nn.Residual(nn.Dense(3)), (4,), r"Residual: .*\(2, 4\) but the inner output \(2, 3\).*shortcut"),
        (lambda: nn.Dense(3), (), r"linear: x has shape \(2,\)"),
    ],
    ids=range(6),
)
def test_building_for_data_that_do_not_fit_names_the_shape_without_n(layer, shape, words):
    with pytest.raises(ShapeError, match=rf"build for inputs of shape {re.escape(str(shape))}: {words}"):
        layer().build(shape)


def test_data_of_another_size_or_dtype_than_the_layer_was_built_for_are_refused():
    layer = nn.Dense(3).build((4,))
    with pytest.raises(ShapeError, match=r"x has shape \(2, 5\)"):
        layer(np.ones((2, 5), np.float32))
    with pytest.raises(ShapeError, match=r"float64.*float32"):
        layer(np.ones((2, 4)))


# --- what a layer remembers


def test_config_holds_every_constructor_argument_by_name():
    assert nn.Conv2D(8, 3, padding="same").config == {
        "filters": 8, "kernel_size": 3, "stride": 1, "padding": "same", "dilation": 1, "bias": True,
        "init": "he_normal",
    }  # fmt: skip
    assert nn.ReLU().config == {}
    inner = nn.Dense(2)
    assert nn.Sequential(inner).config == {"layers": (inner,)}
    assert nn.Residual(inner).config == {"inner": inner, "shortcut": None}


def test_config_rebuilds_an_equal_layer():
    layer = nn.Conv2D(2, 3, stride=(1, 2), padding=((1, 1), (0, 0)), bias=False)
    again = nn.Conv2D(**layer.config)
    np.testing.assert_array_equal(layer.build((5, 5, 1)).w.numpy(), again.build((5, 5, 1)).w.numpy())
    assert again.padding == layer.padding
    assert again.config == layer.config


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(nn.Dense(3)) == "Dense(units=3)"
    assert repr(nn.Conv2D(8, 3, bias=False)) == "Conv2D(filters=8, kernel_size=3, bias=False)"
    assert repr(nn.Dropout(0.5)) == "Dropout()"
    assert repr(nn.Dense(3, init=nn.init.normal(0.1))).startswith("Dense(units=3, init=Initializer(name='normal'")
    assert "Dense(units=3)" in repr(nn.Sequential(nn.Dense(3), nn.ReLU()))
