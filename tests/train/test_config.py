"""The settings of a run: one check for Python, TOML and flags, and defaults from one place."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cyclopts import CycloptsError
from hypothesis import given as for_all
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dlcore import data, optim
from dlcore.cli import app
from dlcore.data import Dataset, Splits
from dlcore.errors import ConfigError
from dlcore.nn import Dropout
from dlcore.train.callbacks.early_stopping import EarlyStopping
from dlcore.train.config import config as c
from dlcore.train.config.config import Config, ModelConfig, TrainConfig
from dlcore.train.config.defaults import CHOICES
from dlcore.train.config.schema import Setting


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def from_flags(*words: str) -> Config:
    """The settings of a command line, without running it."""
    _, bound, _ = app.parse_args(["train", *words], print_error=False, exit_on_error=False)
    return Config().override({name: value for name, value in bound.kwargs.items() if name in c.settings()})


def flags_of(config: Config) -> list[str]:
    words = []
    for name, value in config.flat().items():
        if c.settings()[name].hidden:
            continue
        flag = c.settings()[name].flag
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, tuple):
            words += [flag, *map(str, value)]
        elif value is not None:
            words.append(f"{flag}={value}")
    return words


def values(setting: Setting) -> st.SearchStrategy[Any]:
    """Values that the setting allows."""
    if setting.name == "memory_limit":
        return st.from_regex(r"[1-9][0-9]{0,3} ?[KMG]iB|0\.[1-9]", fullmatch=True)
    if setting.name == "name":
        return st.from_regex(r"\w[\w.+=-]*", fullmatch=True)
    if setting.choices:
        one: st.SearchStrategy[Any] = st.sampled_from(setting.choices)
    elif setting.kind is bool:
        one = st.booleans()
    elif setting.kind is str:
        one = st.text(st.characters(codec="utf-8"), min_size=1)
        if setting.name in ("lr_scale", "loss_weights", "class_weight"):
            one = one.map(lambda word: f"{word}=0.5")
        if setting.many:  # of several words on a command line, one with a dash in front is a flag
            one = one.filter(lambda word: not word.startswith("-"))
    else:
        low, high = (float(end) for end in setting.within[1:-1].split(","))
        if setting.kind is int:
            one = st.integers(int(low), None if math.isinf(high) else int(high))
        else:
            top = 1e300 if math.isinf(high) else high
            ends = {"exclude_min": setting.within[0] == "(", "exclude_max": setting.within[-1] == ")"}
            one = st.floats(low, top, **ends)
    return st.lists(one, min_size=1, max_size=3).map(tuple) if setting.many else one


@st.composite
def configurations(draw: Any) -> Config:
    """Any configuration whose settings go together."""
    known = c.settings()
    chosen = {owner: draw(st.sampled_from([*table])) for owner, table in CHOICES.items()}
    takes = {name for owner, choice in chosen.items() for name in CHOICES[owner][choice]}
    depends = {name for table in CHOICES.values() for choice in table.values() for name in choice}
    free = [name for name in known if name not in CHOICES and (name not in depends or name in takes)]
    free.remove(draw(st.sampled_from(["clip_norm", "clip_value"])))
    some = draw(st.lists(st.sampled_from(free), unique=True))
    given = {name: draw(values(known[name])) for name in some}
    transfer = () if chosen["model"] == "knn" else ("start_from", "freeze", "lr_scale")
    for name in {"start_from", "freeze", "lr_scale"} - set(transfer):
        given.pop(name, None)
    if chosen["model"] == "knn":
        given.pop("class_weight", None)
    if "start_from" not in given:
        given.pop("anew", None)
    for name in {"lr_scale", "loss_weights", "class_weight"} & set(given):
        given[name] = tuple(dict.fromkeys(given[name] or ())) or None  # a name twice is refused
    if given.get("loss_weights"):
        given["heads"] = tuple(word.rpartition("=")[0] for word in given["loss_weights"])
    return Config.of(**chosen, **given)


@hypothesis_settings(max_examples=60, deadline=None)
@for_all(configurations())
def test_python_toml_and_flags_give_the_same_settings(tmp_path_factory: pytest.TempPathFactory, config: Config) -> None:
    path = written(tmp_path_factory.mktemp("config"), c.dump(config))
    assert c.load(path) == config
    chosen = {name: value for name, value in config.flat().items() if not c.settings()[name].hidden}
    assert from_flags(*flags_of(Config.of(**chosen))) == Config.of(**chosen)


@pytest.mark.parametrize("text", ['a "quoted" word', "tab\tand\nnewline", "\x7f\x00\x1b", "C:\\runs", "日本語 🎉"])
def test_any_text_survives_a_file(tmp_path: Path, text: str) -> None:
    config = Config.of(runs=text)
    assert c.load(written(tmp_path, c.dump(config))) == config


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert c.load(written(tmp_path, "")) == Config()


def test_a_whole_number_is_a_number_in_every_source(tmp_path: Path) -> None:
    assert c.load(written(tmp_path, "[optimizer]\nlr = 1")).optimizer.lr == 1.0
    assert isinstance(Config.of(lr=1).optimizer.lr, float)
    assert isinstance(from_flags("--lr", "1").optimizer.lr, float)


# Wrong settings ------------------------------------------------------------------------------------------------------

WRONG = {
    "a number out of range": ("train", "batch_size", "0", ["0", "at least 1"]),
    "a negative number": ("train", "epochs", "-1", ["-1", "at least 1"]),
    "a share above one": ("model", "dropout", "1.5", ["1.5", "[0, 1)"]),
    "a word for a number": ("optimizer", "lr", '"fast"', ["fast", "a number"]),
    "a fraction for a whole number": ("train", "epochs", "1.5", ["1.5", "whole number"]),
    "nan": ("optimizer", "lr", "nan", ["nan", "a number"]),
    "infinity": ("penalty", "lam", "inf", ["inf", "a number"]),
    "a number too large for a float": ("optimizer", "lr", "1" + "0" * 400, ["a number"]),
    "a misspelt choice": ("optimizer", "optimizer", '"adm"', ["adm", "did you mean adam"]),
    "a misspelt model": ("model", "model", '"ccn"', ["ccn", "did you mean cnn", "file.py:build"]),
    "a misspelt metric": ("train", "metrics", '["acuracy"]', ["acuracy", "did you mean accuracy"]),
    "a misspelt augmentation": ("train", "augment", '["flpi"]', ["flpi", "did you mean flip"]),
    "a word among numbers": ("model", "hidden", '[64, "a"]', ["'a'", "whole numbers"]),
    "a name that is a path": ("run", "name", '"a/b"', ["a/b", "folder's name"]),
}
ONLY_IN_FILES = {
    "true for a number": ("train", "epochs", "true", ["True", "whole number"]),
    "a number for true": ("data", "normalize", "1", ["1", "true or false"]),
    "a number for text": ("data", "data", "3", ["3", "text"]),
    "one number for a list": ("model", "hidden", "64", ["64", "list of whole numbers"]),
    "an empty list": ("model", "hidden", "[]", ["[]", "list of whole numbers"]),
    "a date": ("train", "epochs", "2020-01-01", ["whole number"]),
    "a table": ("train", "epochs", "{ a = 1 }", ["whole number"]),
}


@pytest.mark.parametrize(("section", "key", "value", "words"), [*WRONG.values(), *ONLY_IN_FILES.values()])
def test_a_wrong_value_in_a_file_is_named_with_file_section_and_key(
    tmp_path: Path, section: str, key: str, value: str, words: list[str]
) -> None:
    path = written(tmp_path, f"[{section}]\n{key} = {value}\n")
    with pytest.raises(ConfigError) as caught:
        c.load(path)
    for word in [str(path), key, *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(("section", "key", "value", "words"), WRONG.values())
def test_a_wrong_value_of_a_flag_is_named_with_the_flag(section: str, key: str, value: str, words: list[str]) -> None:
    plain = re.sub(r'["\[\],]', " ", value).split()
    with pytest.raises((ConfigError, CycloptsError)) as caught:
        from_flags(c.settings()[key].flag, *plain)
    error = caught.value if isinstance(caught.value, ConfigError) else caught.value.__cause__
    assert isinstance(error, ConfigError)
    for word in [key.replace("_", "-"), *words]:
        assert word in str(error)


@pytest.mark.parametrize(
    "wrong", [{"epochs": "3"}, {"epochs": True}, {"epochs": 2.0}, {"lr": "fast"}, {"hidden": 64}, {"seed": None}]
)
def test_a_wrong_value_in_python_is_named(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"{name} is .* expected"):
        Config.of(**wrong)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[train]\nepoch = 3", ["[train]", "epoch", "did you mean epochs"]),
        ("[train]\nbatch-size = 3", ["batch-size", "did you mean batch_size"]),
        ("[model]\nepochs = 3", ["epochs belongs in [train]"]),
        ("[data]\nepoch = 3", ["epoch", "did you mean epochs"]),
        ("[trian]\nepochs = 3", ["[trian]", "did you mean train"]),
        ("epochs = 3", ["epochs", "belongs in [train]"]),
        ("epochz = 3", ["epochz", "did you mean epochs"]),
        ('model = "mlp"', ["model is 'mlp'", "write [model]"]),
        ("[train\nepochs = 3", ["TOML", "line 1"]),
        ("[train]\nepochs = 3\nepochs = 4\n", ["TOML", "line 3"]),
        ("[train]\nseed = 1" + "0" * 5000, ["TOML", "digits"]),
        ("[schedule]\nlr_decay = 0.1", ["lr_decay", "inverse_time", "cosine"]),
        ("[optimizer]\nclip_norm = 1\nclip_value = 1", ["clip_norm", "clip_value"]),
    ],
)
def test_a_faulty_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, words: list[str]) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        c.load(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in [str(path), *words]:
        assert word in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: no such file"):
        c.load(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        c.load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(ConfigError, match="UTF-8"):
        c.load(tmp_path / "latin.toml")


def test_an_unknown_setting_in_python_is_named() -> None:
    with pytest.raises(ConfigError, match=r"epoch is not a setting .did you mean epochs"):
        Config.of(epoch=3)


def test_a_setting_that_the_choice_does_not_take_is_refused() -> None:
    with pytest.raises(ConfigError, match="beta1 goes with the optimizer adam or adamw, but the optimizer is sgd"):
        Config.of(optimizer="sgd", beta1=0.5)
    with pytest.raises(ConfigError, match="channels"):
        Config.of(model="my.py:build", channels=(3,))


# Precedence ----------------------------------------------------------------------------------------------------------


def test_a_flag_goes_before_the_file_and_the_file_before_the_default(tmp_path: Path) -> None:
    file = c.load(written(tmp_path, "[train]\nepochs = 5\nseed = 7\n"))
    merged = file.override({"epochs": 3})
    assert (merged.train.epochs, merged.train.seed, merged.train.precision) == (3, 7, "float32")


def test_a_flag_that_equals_the_default_still_goes_before_the_file(tmp_path: Path) -> None:
    file = c.load(written(tmp_path, "[train]\nseed = 7\n"))
    assert file.override({"seed": 0}).train.seed == 0


def test_none_on_the_command_line_takes_a_number_of_the_file_away() -> None:
    merged = Config.of(clip_norm=1.0).override({"clip_norm": from_flags("--clip-norm", "none").optimizer.clip_norm})
    assert merged.optimizer.clip_norm is None


def test_another_choice_leaves_the_settings_of_the_former_behind() -> None:
    file = Config.of(model="cnn", channels=(8,), dropout=0.5, optimizer="momentum", beta=0.5, lr=0.3, epochs=2)
    assert file.override({"model": "mlp"}) == Config.of(model="mlp", optimizer="momentum", beta=0.5, lr=0.3, epochs=2)
    assert file.override({"optimizer": "adam"}).optimizer == Config.of(optimizer="adam").optimizer
    assert file.override({"model": "cnn"}) == file
    assert Config.of(dropout=0.5).override({"model": "mlp"}).model == ModelConfig(model="mlp", dropout=0.5)


def test_a_resolved_run_can_be_repeated_with_another_model(tmp_path: Path) -> None:
    digits = data.load("digits")
    first = Config.of(data="digits").resolve(digits)
    again = c.load(written(tmp_path, c.dump(first)))
    assert again == first == again.resolve(digits)
    other = again.override({"model": "mlp"}).resolve(digits)
    assert (other.model.hidden, other.model.channels, other.run.baseline) == ((128,), None, "logistic")


# Defaults that follow from the data ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "target", "model", "loss", "metric", "baseline"),
    [
        ("fashion-subset", None, "cnn", "cross_entropy", "accuracy", "mlp"),
        ("digits", None, "cnn", "cross_entropy", "accuracy", "mlp"),
        ("penguins", "sex", "mlp", "binary_cross_entropy", "accuracy", "logistic"),
        ("penguins", "species", "mlp", "cross_entropy", "accuracy", "logistic"),
        ("penguins", "body_mass", "mlp", "mse", "r2", "linear"),
        ("cars", None, "mlp", "mse", "r2", "linear"),
    ],
)
def test_what_is_left_open_follows_from_the_data(
    name: str, target: str | None, model: str, loss: str, metric: str, baseline: str
) -> None:
    config = Config.of(data=name, target=target)
    splits = config.data.load()
    resolved = config.resolve(splits)
    assert (resolved.model.model, resolved.loss(splits)) == (model, loss)
    assert (resolved.train.metrics, resolved.run.baseline) == ((metric,), baseline)
    large = name == "fashion-subset"
    assert (resolved.train.epochs, resolved.train.batch_size) == ((12, 32) if large else (40, 16))
    assert resolved.resolve(splits) == resolved
    left = {key for key, value in resolved.flat().items() if value is None}
    own = {"heads", "loss_weights", "class_weight", "positive", "start_from", "anew", "freeze", "lr_scale"}
    assert left - own <= {
        "missing",
        "missing_target",
        "unknown_level",
        "categorical",
        "ignore",
        "task",
        "image_size",
        "color",
        "corrupt",
        "window",
        "horizon",
        "time",
        "by",
        "calendar",
        "unknown",
        "test",
        "group",
        "split",
    } | {
        "target",
        "device",
        "name",
        "lam",
        "clip_norm",
        "clip_value",
        "augment",
        "memory_limit",
    } | {key for table in CHOICES.values() for takes in table.values() for key in takes}


@pytest.mark.parametrize(
    ("name", "target", "baseline", "expected"),
    [
        ("digits", None, None, "cnn"),
        ("penguins", "sex", None, "mlp"),
        ("digits", None, "logistic", "logistic"),
    ],
)
def test_beside_knn_stands_a_network_with_all_settings_of_training(
    name: str, target: str | None, baseline: str | None, expected: str
) -> None:
    given = {"data": name, "target": target, "lr": 0.5, "patience": 3, "penalty": "l1", "optimizer": "momentum"}
    splits = Config.of(**given).data.load()
    resolved = Config.of(model="knn", baseline=baseline, **given).resolve(splits)
    model = resolved.model
    assert (model.neighbors, model.distance, model.votes, resolved.run.baseline) == (5, "l2", "uniform", expected)
    alone = Config.of(model=expected, baseline="none", **given).resolve(splits)
    assert resolved.beside().resolve(splits) == alone
    del given["lr"], given["optimizer"]
    alone = Config.of(model=expected, baseline="none", **given).resolve(splits)
    assert Config.of(model="knn", baseline=baseline, **given).resolve(splits).beside().resolve(splits) == alone


def test_what_is_given_is_kept() -> None:
    config = Config.of(data="digits", model="mlp", hidden=(8,), lr=0.5, epochs=3, metrics=("f1",), baseline="none")
    resolved = config.resolve(data.load("digits"))
    for name in ("model", "hidden", "lr", "epochs", "metrics", "baseline"):
        assert resolved.flat()[name] == config.flat()[name]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"data": "cars", "model": "cnn"}, "images"),
        ({"data": "cars", "model": "logistic"}, "classes"),
        ({"data": "cars", "baseline": "logistic"}, "classes"),
        ({"data": "cars", "metrics": ("accuracy",)}, "does not suit"),
        ({"data": "cars", "augment": ("flip",)}, r"augment is for images \(H, W, C\), but cars has .*\(6,\); leave"),
        ({"data": "penguins"}, "target"),
        ({"data": "digits", "patience": 2, "monitor": "dev_acuracy"}, "did you mean dev_accuracy"),
    ],
)
def test_what_does_not_suit_the_data_is_refused(given: dict[str, Any], word: str) -> None:
    config = Config.of(**given)
    with pytest.raises(ConfigError, match=word):
        config.resolve(config.data.load())


def test_an_unknown_data_set_is_named_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"digitz.*did you mean digits"):
        Config.of(data="digitz").data.load()


def test_a_folder_is_searched_for_fashion_mnist(tmp_path: Path) -> None:
    (tmp_path / "train-labels-idx1-ubyte.gz").touch()
    with pytest.raises(
        data.dataset.DataError, match=r"no IDX file of the train images, such as train-images-idx3-ubyte\.gz"
    ):
        Config.of(data=str(tmp_path)).data.load()
    source = Path(data.__file__).parent / "files" / "fashion"
    assert len(Config.of(data=str(source)).data.load().test) == 1000


# Building ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHOICES["optimizer"])
def test_every_optimizer_is_built_with_its_settings(name: str) -> None:
    resolved = Config.of(data="cars", optimizer=name).resolve(data.load("cars"))
    rule = resolved.optimizer.build()
    assert type(rule).__name__.lower() == name
    assert rule.config["lr"] == resolved.optimizer.lr


def test_weight_decay_reaches_adamw() -> None:
    resolved = Config.of(data="cars", optimizer="adamw", weight_decay=0.3).resolve(data.load("cars"))
    assert resolved.optimizer.build().config["decay"] == 0.3


@pytest.mark.parametrize("name", CHOICES["schedule"])
def test_every_schedule_is_built_with_its_settings(name: str) -> None:
    schedule = Config.of(data="cars", schedule=name).resolve(data.load("cars")).schedule.build(epochs=40)
    assert type(schedule).__name__.lower() == name.replace("_", "")
    assert (schedule(0.1, epoch=30, step=900) < 0.1) == (name != "constant")


def test_warmup_goes_before_the_schedule() -> None:
    schedule = Config.of(schedule="exponential", lr_base=0.5, warmup=10).schedule.build(epochs=8)
    assert schedule(0.1, epoch=0, step=5) == pytest.approx(0.05)
    assert schedule(0.1, epoch=1, step=50) == pytest.approx(0.05)


def test_the_trainer_gets_everything() -> None:
    cars = data.load("cars", normalize=True)
    model = {"hidden": (8, 4), "dropout": 0.5}
    update = {"penalty": "l2", "lam": 0.3, "clip_value": 2.0}
    config = Config.of(data="cars", patience=2, precision="float64", seed=5, **model, **update)
    trainer = config.trainer(cars, "cpu")
    assert isinstance(trainer.penalty, optim.L2)
    assert trainer.penalty.lam == 0.3
    assert isinstance(trainer.clip, optim.clip_by_value)
    assert [type(callback) for callback in trainer.callbacks] == [EarlyStopping]
    assert trainer.seed == 5
    assert trainer.model.built().theta.dtype == "float64"
    assert [m.rate for _, m in trainer.model.named_modules() if isinstance(m, Dropout)] == [0.5, 0.5]


def test_every_augmentation_is_built_and_suits_the_smallest_images() -> None:
    words = c.settings()["augment"].choices
    digits = data.load("digits", normalize=True)
    trainer = Config.of(data="digits", augment=words, baseline="none").trainer(digits, "cpu")
    assert isinstance(trainer.augment, data.augment.Compose)
    assert [type(transform).__name__.lower() for transform in trainer.augment.transforms] == list(words)
    x = digits.train.x[:64]
    assert all((transform(x) != x).any() for transform in trainer.augment.transforms)
    assert Config.of(data="digits").trainer(digits, "cpu").augment is None


def test_the_seed_names_the_initial_weights() -> None:
    cars = data.load("cars")
    first, same, other = (Config.of(data="cars", seed=seed).trainer(cars, "cpu").model for seed in (1, 1, 2))
    assert (first.state_dict()["1.w"] == same.state_dict()["1.w"]).all()
    assert (first.state_dict()["1.w"] != other.state_dict()["1.w"]).any()


def test_the_default_cnn_is_small() -> None:
    """At most 20,000 numbers on 28 × 28 images."""
    config = Config()
    trainer = config.trainer(config.data.load(), "cpu")
    assert trainer.model.count() <= 20_000
    assert trainer.model.output_shape == (10,)


def _images(shape: tuple[int, ...], n: int = 6) -> Splits:
    part = Dataset(np.zeros((n, *shape), np.float32), np.arange(n) % 2)
    return Splits(train=part, dev=part, test=part, name="x", task="classification", classes=("a", "b"))


@pytest.mark.parametrize(
    ("shape", "large"), [((47, 90, 3), False), ((48, 48, 1), True), ((64, 85, 3), True), ((28, 28, 1), False)]
)
def test_large_images_have_a_cnn_with_global_pooling_and_logistic_regression_beside_it(
    shape: tuple[int, ...], large: bool
) -> None:
    data = _images(shape)
    chosen = Config().resolve(data)
    expected = ((16, 32, 64), True, "logistic") if large else ((16, 30), False, "mlp")
    assert (chosen.model.channels, chosen.model.global_pool, chosen.run.baseline) == expected
    kinds = [type(layer).__name__ for layer in chosen.model.build(2).layers]  # type: ignore[attr-defined]
    assert ("GlobalAvgPool2D" in kinds, "Flatten" in kinds) == (large, not large)
    asked = Config.of(channels=(4,), global_pool=not large).resolve(data)
    assert (asked.model.channels, asked.model.global_pool) == ((4,), not large)
    earlier = Config.of(rules=1).resolve(data)
    assert (earlier.model.channels, earlier.model.global_pool) == ((16, 30), False)


def test_a_single_layer_takes_smaller_steps_the_more_pixels_an_image_has() -> None:
    rates = [
        Config.of(model="logistic").resolve(_images(shape)).optimizer.lr
        for shape in ((28, 28, 1), (48, 48, 1), (48, 48, 3), (96, 96, 3))
    ]
    assert rates == pytest.approx([0.15, 25 / 2304, 25 / 6912, 25 / 27648])
    assert Config.of(model="logistic", rules=1).resolve(_images((96, 96, 3))).optimizer.lr == 0.15
    assert Config.of(model="cnn").resolve(_images((96, 96, 3))).optimizer.lr == 0.015


def test_the_sections_are_frozen_and_take_keywords_only() -> None:
    with pytest.raises(AttributeError):
        TrainConfig().epochs = 3  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError):
        TrainConfig(3)  # pyright: ignore[reportCallIssue]


def test_sequences_and_text_have_defaults_of_their_own() -> None:
    vowels, hamlet = (Config.of(data=name) for name in ("vowels", "hamlet"))
    chosen = vowels.resolve(vowels.data.load())
    assert (chosen.model.model, chosen.run.baseline, chosen.optimizer.clip_norm) == ("gru", "logistic", 5.0)
    assert (chosen.model.bidirectional, chosen.train.metrics) == (True, ("accuracy",))
    chosen = hamlet.resolve(hamlet.data.load())
    assert (chosen.model.model, chosen.run.baseline, chosen.optimizer.clip_norm) == ("lstm", "none", 5.0)
    assert (chosen.model.bidirectional, chosen.train.metrics) == (False, ("perplexity",))
    assert chosen.override({"clip_value": 1.0, "clip_norm": None}).optimizer.clip_norm is None


@pytest.mark.parametrize(
    ("name", "target", "model", "expected"),
    [
        ("cars", None, None, ("adamw", 1.0, 0.005)),  # a dense network on a table
        ("penguins", "sex", "mlp", ("adamw", 1.0, 0.005)),
        ("cars", None, "linear", ("adam", None, 0.15)),
        ("digits", None, "mlp", ("adam", None, 0.015)),  # the same network on pictures
        ("digits", None, None, ("adam", None, 0.015)),
    ],
)
def test_a_dense_network_on_a_table_decays_its_weights_by_default(
    name: str, target: str | None, model: str | None, expected: tuple[str, float | None, float]
) -> None:
    settings = Config.of(data=name, target=target, model=model)
    found = settings.resolve(settings.data.load()).optimizer
    assert (found.optimizer, found.weight_decay) == expected[:2]
    assert found.lr == pytest.approx(expected[2])


def test_what_is_given_goes_before_the_decay_of_tables() -> None:
    cars = data.load("cars")
    assert Config.of(data="cars", penalty="l2").resolve(cars).optimizer.optimizer == "adam"
    assert Config.of(data="cars", penalty="l2", weight_decay=0.1).resolve(cars).optimizer.optimizer == "adamw"
    assert Config.of(data="cars", optimizer="adam").resolve(cars).optimizer.weight_decay is None
    assert Config.of(data="cars", weight_decay=0.2).resolve(cars).optimizer.weight_decay == 0.2
    with pytest.raises(ConfigError, match="weight_decay goes with the optimizer adamw"):
        Config.of(data="digits", weight_decay=0.2).resolve(data.load("digits"))
