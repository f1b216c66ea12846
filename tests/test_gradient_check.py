"""gradient_check: right gradients of models pass on every library, wrong ones fail by name, nothing is touched."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from wrong_gradients import RIGHT, STRICT, plant, rng, scale

from backends.dispatch import reference_only
from backends.reference import conv, embedding, linear, loss, norm
from backends.runtime import copies
from backends.runtime.device import CPU
from dlcore import functional as F
from dlcore import nn, optim, testing
from dlcore.errors import ConfigError
from dlcore.tensor import Tensor
from dlcore.testing import GradientCheck, gradient_check

DEVICES = pytest.mark.parametrize("device", [CPU, STRICT], ids=str)


class Bag(nn.Module):
    """The mean of the rows of a table, then a dense layer."""

    def __init__(self):
        self.table = nn.Embedding(7, 4)
        self.out = nn.Dense(3)

    def forward(self, x):
        return self.out(self.table(x).mean(axis=1))


def dense(device=CPU, dtype="float32"):
    model = nn.Sequential(nn.Dense(8), nn.ReLU(), nn.Dense(3))
    return model.build((4,), seed=0, device=device, dtype=dtype)


def dense_batch(n=6):
    return rng().normal(size=(n, 4)).astype(np.float32), rng().integers(0, 3, n)


def conv_net(device=CPU):
    layers = [nn.Conv2D(3, 3, padding="same", bias=False), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D(2)]
    layers += [nn.Conv2D(4, 2, stride=2), nn.LeakyReLU(), nn.Flatten(), nn.Dense(5)]
    return nn.Sequential(*layers).build((8, 8, 2), seed=0, device=device)


def conv_batch():
    return rng().random((3, 8, 8, 2)).astype(np.float32), rng().integers(0, 5, 3)


def residual(device=CPU):
    inner = nn.Sequential(nn.Dense(4), nn.Tanh(), nn.Dense(4))
    widening = nn.Residual(nn.Dense(3), shortcut=nn.Dense(3, bias=False))
    return nn.Sequential(nn.Residual(inner), widening).build((4,), seed=0, device=device)


def bag(device=CPU):
    return Bag().build((5,), seed=0, input_dtype="int64", device=device)


def bag_batch():
    return rng().integers(0, 7, (6, 5)), rng().integers(0, 3, 6)


def large(device=CPU):
    layers = [nn.Conv2D(6, 3), nn.ReLU(), nn.Flatten(), nn.Dense(30), nn.ReLU(), nn.Dense(5)]
    return nn.Sequential(*layers).build((8, 8, 2), seed=0, device=device)


MODELS = {
    "dense": (dense, dense_batch),
    "conv, batch norm, pooling": (conv_net, conv_batch),
    "residual": (residual, dense_batch),
    "embedding": (bag, bag_batch),
    "large": (large, conv_batch),
}


# --- right gradients pass


@DEVICES
@pytest.mark.parametrize("name", MODELS)
def test_a_right_gradient_passes_on_every_library(name, device):
    build, batch = MODELS[name]
    check = gradient_check(build(device), *batch(), "cross_entropy")
    assert check
    assert check.ok is True
    assert 0 < check.relative_error < RIGHT


def test_the_models_are_checked_both_ways():
    assert conv_net().count() <= 2000 < large().count()


@pytest.mark.parametrize("name", ["mse", "binary_cross_entropy"])
def test_other_losses_pass(name):
    model = nn.Sequential(nn.Dense(5), nn.Tanh(), nn.Dense(1)).build((4,), seed=0)
    assert gradient_check(model, dense_batch()[0], rng().integers(0, 2, (6, 1)), name).relative_error < RIGHT


@pytest.mark.parametrize("penalty", [optim.L2(0.3), optim.L1(0.3)])
def test_penalties_pass(penalty):
    assert gradient_check(dense(), *dense_batch(), "cross_entropy", penalty).relative_error < RIGHT


def test_the_penalty_is_given_the_number_of_examples():
    seen = set()

    def penalty(model, examples):
        seen.add(examples)
        return optim.L2(0.3)(model, examples)

    assert gradient_check(dense(), *dense_batch(), "cross_entropy", penalty)
    assert seen == {6}


def test_an_own_loss_may_take_several_outputs():
    model = nn.Sequential(nn.Dense(5), nn.Tanh(), nn.Heads({"a": nn.Dense(3), "b": nn.Dense(1)})).build((4,), seed=0)
    y = {"a": rng().integers(0, 3, 6), "b": rng().normal(size=(6, 1)).astype(np.float32)}

    def both(outputs, y):
        return F.cross_entropy(outputs["a"], y["a"]) + F.mse(outputs["b"], y["b"])

    assert gradient_check(model, dense_batch()[0], y, both).relative_error < RIGHT


def test_what_stands_behind_the_end_of_a_sequence_changes_nothing():
    model = nn.Sequential(nn.GRU(3, bidirectional=True), nn.Dense(2)).build((5, 2), seed=0)
    x, other = rng().standard_normal((2, 2, 5, 2))
    lengths = np.array([2, 4])
    other = np.where(np.arange(5)[:, None] < lengths[:, None, None], x, other)
    found = [gradient_check(model, one, [0, 1], "cross_entropy", lengths=lengths) for one in (x, other)]
    assert found[0].relative_error == found[1].relative_error < RIGHT
    assert gradient_check(model, other, [0, 1], "cross_entropy").relative_error != found[0].relative_error


def test_a_loss_of_each_step_takes_lengths():
    model = nn.Sequential(nn.LSTM(3, return_sequences=True), nn.Dense(2)).build((4, 2), seed=0)
    x, y = rng().standard_normal((2, 4, 2)), np.array([[0, 1, 1, 7], [1, 0, 9, 9]])  # no labels behind the ends
    assert gradient_check(model, x, y, "cross_entropy", lengths=[3, 2]).relative_error < RIGHT


def test_a_model_that_carries_a_state_is_checked_from_zeros():
    model = nn.CharacterModel(4, hidden=3).build((5,), seed=0, input_dtype="int64")
    ids = rng().integers(0, 4, (2, 5))
    assert gradient_check(model, ids, ids, "cross_entropy").relative_error < RIGHT


def test_each_head_counts_and_labels_may_be_missing(monkeypatch):
    model = nn.Sequential(nn.Dense(4), nn.Tanh(), nn.Heads({"kind": nn.Dense(3), "mass": nn.Dense(1)}))
    model.build((2,), seed=0)
    x, y = rng().standard_normal((3, 2)), {"kind": np.array([0, -1, 2]), "mass": np.array([1.0, 2.0, np.nan])}
    losses = {"kind": "cross_entropy", "mass": "mse"}
    found = gradient_check(model, x, y, losses)
    assert found.relative_error < RIGHT
    assert {path.split(".")[1] for path in found.errors if path.startswith("2.")} == {"kind", "mass"}
    plant(monkeypatch, linear.linear, scale(1, 1.01, (4, 1)))  # the weights of the second head
    with reference_only():
        assert gradient_check(model, x, y, losses).worst == "2.mass.w"


@DEVICES
def test_data_may_be_lists_tensors_and_arrays_of_the_device(device):
    model, (x, y) = dense(device), dense_batch()
    expected = gradient_check(model, x, y, "cross_entropy")
    there = copies.to_device(x, device), copies.to_device(y, device)
    for data in [(x.tolist(), y.tolist()), (Tensor(there[0]), Tensor(there[1])), there]:
        assert gradient_check(model, *data, "cross_entropy") == expected


def test_a_float64_model_is_checked_as_it_is():
    assert gradient_check(dense(dtype="float64"), *dense_batch(), "cross_entropy").relative_error < RIGHT


def test_a_shared_layer_is_checked_once():
    shared = nn.Dense(4)
    model = nn.Sequential(shared, nn.Tanh(), shared).build((4,), seed=0)
    check = gradient_check(model, *dense_batch(), "cross_entropy")
    assert check.relative_error < RIGHT
    assert check.worst in ("0.w", "0.b")


def test_a_part_that_was_built_before_the_whole_passes():
    part = nn.Dense(4).build((4,), seed=0)
    model = nn.Sequential(part, nn.Tanh(), nn.Dense(3)).build((4,), seed=0)
    assert gradient_check(model, *dense_batch(), "cross_entropy").relative_error < RIGHT
    assert all(p.owner is model.vector for p in model.parameters())


# --- where the difference quotient is no derivative


def blank_batch():
    x, y = np.zeros((6, 8, 8, 2)), rng().integers(0, 5, 6)
    x[4:] = rng().random((2, 8, 8, 2))
    return x, y


@pytest.mark.parametrize("build", [conv_net, large])
def test_blank_images_with_zero_biases_pass_although_relu_is_at_its_kink(build):
    assert gradient_check(build(), *blank_batch(), "cross_entropy").relative_error < RIGHT


def test_a_quotient_across_a_kink_is_measured_again(monkeypatch):
    generator = np.random.default_rng(0)  # with this seed, a unit is within 1e-5 of relu's kink
    model = nn.Sequential(nn.Dense(12), nn.ReLU(), nn.Dense(3)).build((6,), seed=0)
    batch = generator.normal(size=(128, 6)), generator.integers(0, 3, 128)
    assert gradient_check(model, *batch, "cross_entropy").relative_error < RIGHT
    monkeypatch.setattr(testing, "_STEPS", (1.0,))
    assert not gradient_check(model, *batch, "cross_entropy")


def test_a_dead_unit_passes_and_is_not_the_worst():
    model = dense()
    model.layers[0].b.data = np.array([-100.0] * 7 + [0.0], dtype=np.float32)  # seven of eight units never fire
    assert gradient_check(model, *dense_batch(), "cross_entropy").relative_error < RIGHT


def test_a_gradient_of_zero_passes():
    model = dense()
    check = gradient_check(model, *dense_batch(), lambda prediction, y: (prediction * 0.0).sum() + 3.0)
    assert check == GradientCheck(True, 0.0, "0.w")


def test_a_network_that_is_sure_of_itself_passes(monkeypatch):
    x = rng().normal(size=(4, 4))
    model = dense(dtype="float64")
    model.layers[2].w.data = model.layers[2].w.data * 165  # logits of about 100: the loss is far below 1e-6
    y = np.argmax(model(x).numpy(), axis=1)
    assert 0 < F.cross_entropy(model(x), y).item() < 1e-6
    assert gradient_check(model, x, y, "cross_entropy").ok
    plant(monkeypatch, linear.linear, scale(1, -1.0))
    with reference_only():
        assert not gradient_check(model, x, y, "cross_entropy").ok


def test_a_perfect_fit_passes():
    model, (x, _) = dense(dtype="float64"), dense_batch()
    x = x.astype(np.float64)
    model.layers[0].b.data = rng().normal(size=8)  # no zeros, which the check would move
    model.layers[2].b.data = rng().normal(size=3)
    assert gradient_check(model, x, model(x).numpy(), "mse")


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_large_and_small_losses_pass(scale):
    model, (x, _) = dense(), dense_batch()
    assert gradient_check(model, x, scale * rng().normal(size=(6, 3)), lambda a, y: F.mse(a * scale, y))


def test_raw_pixels_pass_although_the_loss_bends_strongly():
    x, y = dense_batch()
    assert gradient_check(dense(), 255 * x, y, "cross_entropy").relative_error < RIGHT


# --- wrong gradients fail, by name


def checked(build, batch, *args, **options):
    with reference_only():  # the bugs are planted in the reference
        return gradient_check(build(), *batch(), "cross_entropy", *args, **options)


def test_the_relative_error_is_that_of_the_notes(monkeypatch):
    plant(monkeypatch, linear.linear, scale(1, 1.01))
    model = nn.Dense(3, bias=False).build((4,), seed=0)
    with reference_only():
        check = gradient_check(model, *dense_batch(), "cross_entropy")
    assert not check
    assert check.worst == "w"
    assert check.relative_error == pytest.approx(0.01 / 2.01, rel=1e-6)  # all of the gradient is 1 % too large


@pytest.mark.parametrize(
    ("kernel", "spoil", "build", "batch", "worst"),
    [
        (linear.linear, scale(1, 1.01, (4, 8)), dense, dense_batch, "0.w"),
        (linear.linear, scale(1, -1.0, (8, 3)), dense, dense_batch, "2.w"),
        (linear.linear, scale(2, 0.0, (3,)), dense, dense_batch, "2.b"),
        (linear.linear, scale(2, 0.0, (8,)), dense, dense_batch, "0.b"),
        (conv.conv2d, scale(1, 1.01, (3, 3, 2, 3)), conv_net, conv_batch, "0.w"),
        (conv.conv2d, scale(2, 1.01), conv_net, conv_batch, "4.b"),
        (norm.batch_norm_fixed, scale(1, 1.01), conv_net, conv_batch, "1.gamma"),
        (norm.batch_norm_fixed, scale(2, 1.01), conv_net, conv_batch, "1.beta"),
        (embedding.embedding, scale(0, 1.01), bag, bag_batch, "table.w"),
        (linear.linear, scale(1, 1.01, (4, 3)), residual, dense_batch, None),  # both w of the second block
        (linear.linear, scale(1, 1.01, (216, 30)), large, conv_batch, "3.w"),
        (linear.linear, scale(2, 0.0, (30,)), large, conv_batch, "3.b"),
        (conv.conv2d_relu, scale(1, 1.0001), large, conv_batch, "0.w"),
    ],
)
def test_a_wrong_gradient_is_found_and_named(monkeypatch, kernel, spoil, build, batch, worst):
    assert checked(build, batch)
    plant(monkeypatch, kernel, spoil)
    check = checked(build, batch)
    assert not check
    assert check.relative_error > 1e-6
    assert check.worst == worst or (worst is None and check.worst in ("1.inner.w", "1.shortcut.w"))


def test_a_gradient_with_two_elements_exchanged_is_found_by_projections(monkeypatch):
    def exchange(gradients):
        dw = gradients[1]
        if dw is not None and dw.shape == (216, 30):
            column = np.abs(dw).sum(axis=0).argmax()
            low, high = dw[:, column].argmin(), dw[:, column].argmax()
            dw[[low, high], column] = dw[[high, low], column]

    plant(monkeypatch, linear.linear, exchange)
    check = checked(large, conv_batch)
    assert not check
    assert check.worst == "3.w"


def test_a_few_probes_find_what_the_full_check_finds(monkeypatch):
    plant(monkeypatch, linear.linear, scale(1, 1.01, (4, 8)))
    for seed in range(5):
        check = checked(dense, dense_batch, probes=1, seed=seed)
        assert not check
        assert check.worst == "0.w"


def test_a_wrong_penalty_is_found_in_a_weight(monkeypatch):
    def halve(gradients):
        gradients[:] = [None if g is None else g * 0.5 for g in gradients]

    plant(monkeypatch, loss.sum_of_squares, halve)
    assert checked(dense, dense_batch)
    check = checked(dense, dense_batch, optim.L2(0.3))
    assert not check
    assert check.worst in ("0.w", "2.w")


def test_a_gradient_that_is_wrong_below_the_tolerance_passes(monkeypatch):
    plant(monkeypatch, linear.linear, scale(1, 1.001))
    assert not checked(dense, dense_batch)
    assert checked(dense, dense_batch, tolerance=1e-3)


def test_a_loss_that_is_not_a_number_fails():
    x, y = dense_batch()
    x[0, 0] = np.nan
    assert not gradient_check(dense(), x, y, "cross_entropy")


# --- what is left out


def test_frozen_parameters_are_left_out(monkeypatch):
    plant(monkeypatch, linear.linear, scale(1, 1.01, (4, 8)))
    model = dense()
    with reference_only():
        assert not gradient_check(model, *dense_batch(), "cross_entropy")
        assert gradient_check(model.freeze("0"), *dense_batch(), "cross_entropy").worst in ("2.w", "2.b")
        assert gradient_check(model, *dense_batch(), "cross_entropy", optim.L2(0.3))
        assert not gradient_check(model.unfreeze("0.w"), *dense_batch(), "cross_entropy")


def test_a_frozen_model_is_refused():
    with pytest.raises(ConfigError, match="every parameter is frozen; unfreeze"):
        gradient_check(dense().freeze("*"), *dense_batch(), "cross_entropy")


def test_batch_norm_uses_its_running_statistics_in_training_too():
    model = conv_net()
    model(conv_batch()[0] * 3 + 1)  # a step in training, which moves the statistics
    assert gradient_check(model.train(), *conv_batch(), "cross_entropy") == gradient_check(
        model.eval(), *conv_batch(), "cross_entropy"
    )


def with_dropout(rate=0.5):
    layers = [nn.Dense(8), nn.ReLU(), nn.Sequential(nn.Dropout(rate)), nn.Dense(3)]
    return nn.Sequential(*layers).build((4,), seed=0)


def test_active_dropout_is_refused_by_name():
    with pytest.raises(
        ConfigError, match=r"layer 2\.0 \(Dropout\) draws random numbers .* model\.eval\(\).* rate to 0"
    ):
        gradient_check(with_dropout(), *dense_batch(), "cross_entropy")


def test_dropout_that_is_off_passes():
    assert gradient_check(with_dropout().eval(), *dense_batch(), "cross_entropy")
    assert gradient_check(with_dropout(rate=0.0), *dense_batch(), "cross_entropy")


def test_any_other_layer_that_draws_is_refused():
    class Noise(nn.Module):
        def forward(self, x):
            return F.dropout(x, 0.1, key=self.draw("dropout"))

    model = nn.Sequential(nn.Dense(8), Noise(), nn.Dense(3)).build((4,), seed=0)
    with pytest.raises(ConfigError, match=r"layer 1 \(Noise\)"):
        gradient_check(model, *dense_batch(), "cross_entropy")


# --- the caller's model stays as it is


def state(model):
    vector = model.vector
    return (
        copies.to_host(vector.theta).tobytes(),
        copies.to_host(vector.grad).tobytes(),
        vector.version,
        replace(model.clock),
        [(path, module.training, copy.deepcopy(vars(module).get("_calls"))) for path, module in model.named_modules()],
        [(path, copies.to_host(buffer.data).tobytes()) for path, buffer in model.named_buffers()],
        [(s.path, s.active, s.lr_scale) for s in copy.copy(vector.segments)],
        [(p.requires_grad, p.owner is vector, str(p.dtype)) for p in model.parameters()],
    )


@DEVICES
def test_the_model_is_not_touched(device):
    model, (x, y) = conv_net(device), conv_batch()
    model.freeze("7.b")
    model.vector.scale_lr("0.w", 0.1)
    model.clock.step = 5
    model.layers[0].training = False
    F.cross_entropy(model(copies.to_device(x, device)), copies.to_device(y, device)).backward()
    before, data = state(model), (x.tobytes(), y.tobytes())
    assert np.frombuffer(before[1], np.float32).any()
    assert gradient_check(model, x, y, "cross_entropy", optim.L2(0.1))
    assert state(model) == before
    assert (x.tobytes(), y.tobytes()) == data


def test_a_model_that_is_refused_or_fails_is_not_touched_either():
    model = with_dropout()
    model(dense_batch()[0])  # one draw
    before = state(model)
    with pytest.raises(ConfigError):
        gradient_check(model, *dense_batch(), "cross_entropy")
    assert state(model) == before
    model.draw("dropout")  # not replaced in the original
    assert gradient_check(model.eval(), *dense_batch(), "cross_entropy")


def test_a_graph_of_the_model_can_still_go_backward_afterwards():
    model, (x, y) = dense(), dense_batch()
    pending = F.cross_entropy(model(x), y)
    gradient_check(model, x, y, "cross_entropy")
    pending.backward()
    assert model.vector.grad.any()


def test_each_evaluation_reads_one_number_from_the_device():
    model, (x, y) = nn.Dense(2, bias=False).build((2,), seed=0, device=STRICT), ([[1.0, 2.0]], [0])
    evaluations = 0

    def counting(prediction, y):
        nonlocal evaluations
        evaluations += 1
        return F.cross_entropy(prediction, y)

    before = copies.counts()
    assert gradient_check(model, x, y, counting)
    read = copies.counts().since(before)
    assert evaluations == 1 + 2 * 4  # one with backward, two for each weight
    assert read.downloads <= evaluations + 6  # and the parameters, once


# --- settings


def test_a_model_that_is_not_built_is_refused():
    with pytest.raises(ConfigError, match="not built"):
        gradient_check(nn.Dense(2), [[1.0]], [0], "cross_entropy")


@pytest.mark.parametrize("unknown", ["cross_entropi", 3, None])
def test_an_unknown_loss_is_refused(unknown):
    with pytest.raises(ConfigError, match=r"loss.* is not known.*cross_entropy"):
        gradient_check(dense(), *dense_batch(), unknown)


@pytest.mark.parametrize(
    "setting", [{"eps": 0.0}, {"tolerance": -1.0}, {"tolerance": np.nan}, {"probes": 0}, {"probes": 2.5}]
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ConfigError, match=f"{next(iter(setting))} is"):
        gradient_check(dense(), *dense_batch(), "cross_entropy", **setting)
