"""The code that a run brings along: known where it was trained, refused once where it comes from somebody else."""

from __future__ import annotations

import json
import os
import py_compile
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import dlcore as dl
from dlcore import nn
from dlcore.errors import CheckpointError
from dlcore.train.checkpoint import trust, user_model
from dlcore.train.checkpoint.imports import imported, sources_of
from dlcore.train.checkpoint.model_json import rebuild, save_model
from dlcore.train.runs.load import load_model

OWN = "from dlcore import nn\nfrom pathlib import Path\n\ndef build(outputs):\n    return nn.Dense(outputs)\n"
RAN = "\nPath(r'{}').touch()\n"
LAYER = "from dlcore import nn\n\nclass Own(nn.Flatten):\n    pass\n"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of this test's own, as another user or machine would have."""
    monkeypatch.setenv("DLCORE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def run(tmp_path: Path, elsewhere: Path) -> Path:
    """A folder with a model of one's own, saved here."""
    (tmp_path / "own.py").write_text(OWN)
    reference = f"{tmp_path / 'own.py'}:build"
    model = user_model.from_file(reference, 3).build((2,))
    folder = tmp_path / "run"
    save_model(folder / "model.json", model, reference=reference, outputs=3)
    dl.save_weights(model, folder / "model.safetensors")
    return folder


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module with a layer that no process has imported yet."""
    name = f"own_layers_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(LAYER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def changed(run: Path, mark: Path) -> None:
    with open(run / "model.py", "a") as file:
        file.write(RAN.format(mark))


def naming(name: str) -> dict[str, Any]:
    return {"format": 1, "layer": f"{name}:Own", "arguments": {}}


def forget(state: Path) -> None:
    for file in (state / "trusted").iterdir():
        file.unlink()


def test_what_was_saved_here_is_loaded_without_a_question(run: Path) -> None:
    assert isinstance(load_model(run)[0], nn.Dense)


def test_another_user_is_asked_once(run: Path, elsewhere: Path, tmp_path: Path) -> None:
    forget(elsewhere)
    with pytest.raises(CheckpointError, match=r"model\.json: model\.py is code.*--trust, trust=True.*DLCORE_TRUST=1"):
        load_model(run)
    load_model(run, trust=True)
    load_model(run)


def test_changed_code_does_not_run_before_it_is_trusted(run: Path, tmp_path: Path) -> None:
    changed(run, tmp_path / "ran")
    with pytest.raises(CheckpointError, match="code"):
        load_model(run)
    assert not (tmp_path / "ran").exists()
    load_model(run, trust=True)
    assert (tmp_path / "ran").exists()


def test_the_environment_trusts_and_records(run: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(elsewhere)
    monkeypatch.setenv("DLCORE_TRUST", "0")
    with pytest.raises(CheckpointError, match="code"):
        load_model(run)
    monkeypatch.setenv("DLCORE_TRUST", "1")
    load_model(run)
    monkeypatch.delenv("DLCORE_TRUST")
    load_model(run)


@pytest.mark.parametrize(("key", "value"), [("function", "other"), ("folder", "/somewhere/else")])
def test_the_function_and_the_folder_of_its_imports_are_part_of_the_code(run: Path, key: str, value: str) -> None:
    content = json.loads((run / "model.json").read_text())
    content["model"][key] = value
    (run / "model.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="code"):
        load_model(run)


def test_a_compiled_file_beside_a_known_one_is_not_run(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(OWN + RAN.format(tmp_path / "ran"))
    (run / "__pycache__").mkdir()
    compiled = run / "__pycache__" / f"model.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(str(other), str(compiled), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    load_model(run)
    assert not (tmp_path / "ran").exists()


def test_a_linked_model_py_is_refused(run: Path, tmp_path: Path) -> None:
    (run / "model.py").rename(tmp_path / "elsewhere.py")
    (run / "model.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(CheckpointError, match="link"):
        load_model(run, trust=True)


# Modules -------------------------------------------------------------------------------------------------------------


def test_a_module_is_not_imported_before_it_is_trusted(elsewhere: Path, module: str) -> None:
    with pytest.raises(trust.UnknownCodeError, match=f"the module {module} is code"):
        rebuild(naming(module))
    assert module not in sys.modules
    with trust.trusting():
        assert type(rebuild(naming(module))).__name__ == "Own"
    del sys.modules[module]
    rebuild(naming(module))


@pytest.mark.parametrize("name", ["antigravity:Own", "runs.a.payload:Own", "lib2to3.tests.pytree_idempotency:Own"])
def test_no_module_is_imported_for_its_name_alone(
    name: str, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "payload.py").write_text(LAYER)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(CheckpointError, match=r"code|cannot be imported"):
        rebuild({"format": 1, "layer": name, "arguments": {}})
    assert not {"antigravity", "runs", "runs.a", "runs.a.payload", "lib2to3"} & set(sys.modules)


def test_the_packages_of_a_module_are_part_of_it(elsewhere: Path, tmp_path: Path, module: str) -> None:
    package = tmp_path / f"{module}_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "layers.py").write_text(LAYER)
    name = f"{package.name}.layers"
    code = trust.of_modules(name, sources_of(name))
    (package / "__init__.py").write_text("import antigravity\n")
    assert trust.of_modules(name, sources_of(name)) != code
    assert package.name not in sys.modules


def test_own_layers_that_were_saved_here_are_known_to_the_next_process(
    elsewhere: Path, tmp_path: Path, module: str
) -> None:
    layer = imported(module, sources_of(module)).Own
    save_model(tmp_path / "run" / "model.json", nn.Sequential(layer(), nn.Dense(2)).build((3,)))
    del sys.modules[module]
    load_model(tmp_path / "run")
    del sys.modules[module]
    with open(tmp_path / f"{module}.py", "a") as file:
        file.write("# changed\n")
    with pytest.raises(CheckpointError, match=f"the module {module}"):
        load_model(tmp_path / "run")


def test_what_the_program_has_imported_itself_is_not_asked_for(elsewhere: Path, module: str) -> None:
    __import__(module)
    assert type(rebuild(naming(module))).__name__ == "Own"


def test_a_module_is_run_from_the_bytes_that_were_checked(tmp_path: Path, module: str) -> None:
    sources = sources_of(module)
    (tmp_path / f"{module}.py").write_text("raise OSError('it was replaced meanwhile')\n")
    assert imported(module, sources).Own


@pytest.mark.parametrize("name", ["", "..os", "os.", "a b", "os.path.nothing", "json.nothing", "no_such_module"])
def test_what_is_no_module_is_an_import_error(name: str) -> None:
    with pytest.raises(ImportError):
        sources_of(name)


# What is kept --------------------------------------------------------------------------------------------------------


def code(n: int = 0) -> trust.Code:
    return trust.of_file("model.py", f"print({n})".encode(), "build", "/nowhere")


def test_several_processes_may_record_at_a_time(elsewhere: Path) -> None:
    def record(n: int) -> None:
        with trust.trusting():
            trust.require(code(n % 4))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record, range(64)))
    assert len(list((elsewhere / "trusted").iterdir())) == 4


@pytest.mark.skipif(os.name != "posix", reason="folders have such permissions on POSIX alone")
def test_a_state_folder_that_cannot_be_written_is_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DLCORE_STATE", str(tmp_path / "file" / "state"))
    monkeypatch.setattr(trust, "_unwritten", set())
    with trust.trusting(), pytest.warns(UserWarning, match="DLCORE_STATE"):
        trust.require(code())
    with trust.trusting():
        trust.require(code(1))  # a second warning would be an error
    trust.require(code())  # this process has not forgotten it


def test_a_user_without_a_home_trains_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "state_folder", lambda: None)
    monkeypatch.setattr(trust, "_unwritten", set())
    assert not trust.is_known(code())
    with trust.trusting(), pytest.warns(UserWarning, match="no home"):
        trust.require(code())
    assert trust.is_known(code())


def test_tests_do_not_write_where_the_user_does() -> None:
    from platformdirs import user_state_path

    assert trust.state_folder() != user_state_path("dlcore", appauthor=False)


def test_trust_ends_with_its_block(elsewhere: Path) -> None:
    with trust.trusting(), trust.trusting(False):
        assert trust.is_trusting()
    with pytest.raises(trust.UnknownCodeError):
        trust.require(code())


def test_the_records_are_small_files(elsewhere: Path) -> None:
    with trust.trusting():
        trust.require(code())
    (file,) = (elsewhere / "trusted").iterdir()
    assert stat.S_ISREG(file.stat().st_mode)
    assert file.stat().st_size < 100
