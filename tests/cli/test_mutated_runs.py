"""Each value in each file of a run replaced by what does not belong there: done, or one line that names file and key.

The commands run in this process, on a small table with numbers, categories and missing cells, with one target and with
two heads.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlcore.cli import main
from dlcore.train.checkpoint.arrays import read_arrays, write_arrays

SEED = 4
WRONG: list[Any] = [math.nan, None, True, 3, -1, 0.5, 1e300, 10**30, "", "x", [], [1], {}, {"a": 1}]
COMMANDS = {
    "predict": ["predict", "a", "rows.csv", "--json"],
    "evaluate": ["evaluate", "a", "--json"],
    "list": ["runs", "list"],
    "diagnose": ["diagnose", "a"],
    "resume": ["train", "--resume", "a"],
}
KINDS = {"one target": ["--target", "kind"], "two heads": ["--heads", "kind", "size"]}

Place = tuple[str, int | None, tuple[Any, ...]]
"""A file, its line where it has one value a line, and the keys that lead to a value."""


@pytest.fixture(scope="module", params=KINDS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the run ``runs/a`` and the table ``rows.csv`` lie."""
    from dlcore import report

    place, rng = tmp_path_factory.mktemp("mutated"), random.Random(SEED)
    rows = ["width,shade,kind,size"]
    for i in range(60):
        width = "" if i == 7 else i * 0.5
        rows.append(f"{width},{rng.choice(('red', 'blue'))},{'yes' if i % 2 else 'no'},{i % 7 + 0.5}")
    (place / "t.csv").write_text("\n".join(rows) + "\n")
    (place / "rows.csv").write_text("\n".join([rows[0], *rows[20:23]]) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(report, "write", lambda folder, content: folder / "report.html")
        words = ["--missing", "mean", "--epochs", "2", "--baseline", "none", "--device", "cpu", "--name", "a"]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert main(["train", "--data", "t.csv", *KINDS[request.param], *words]) == 0
        shutil.copytree(place / "runs" / "a", place / "kept")
        yield place / "runs" / "a"


@pytest.fixture
def folder(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained.parents[1])
    return trained


def parsed(path: Path) -> list[Any]:
    """The values of a file: one, or one a line."""
    text = path.read_text()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return [tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)]


def places(folder: Path) -> list[Place]:
    """Every value that can be replaced; of a list the first item stands for all."""
    found: list[Place] = []

    def walk(file: str, line: int | None, value: Any, keys: tuple[Any, ...]) -> None:
        if keys:
            found.append((file, line, keys))
        inner = (
            value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else ()
        )
        for key, one in inner:
            walk(file, line, one, (*keys, key))

    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".jsonl", ".toml"):
            for number, value in list(enumerate(parsed(path)))[:2]:
                walk(str(path.relative_to(folder)), number if path.suffix == ".jsonl" else None, value, ())
    return found


def as_toml(value: Any) -> str:
    """A value of TOML, which has no null."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return '""' if value is None else json.dumps(value).replace("NaN", "nan")


def mutated(folder: Path, place: Place, wrong: Any, gone: bool) -> str:
    """The text of a file with another value at a place, or with none."""
    file, line, keys = place
    values = parsed(folder / file)
    outer = values[line or 0]
    for key in keys[:-1]:
        outer = outer[key]
    if gone:
        del outer[keys[-1]]
    else:
        outer[keys[-1]] = wrong
    if file.endswith(".toml"):
        return "".join(f"{json.dumps(key)} = {as_toml(one)}\n" for key, one in values[0].items())
    return "\n".join(map(json.dumps, values)) + "\n"


def run(words: list[str]) -> tuple[int, list[str]]:
    """The exit code, and the lines on stderr."""
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        code = main(words)
    return code, err.getvalue().splitlines()


def fault(folder: Path, place: Place, wrong: Any, gone: bool, command: str) -> str:
    """What is wrong with how a command ends; empty where nothing is."""
    path = folder / place[0]
    text = path.read_text()
    path.write_text(mutated(folder, place, wrong, gone))
    try:
        code, lines = run(COMMANDS[command])
    except BaseException as error:
        return f"{type(error).__name__} came out: {error}"
    finally:
        path.write_text(text)
        if command == "resume":  # which may have gone on
            shutil.rmtree(folder)
            shutil.copytree("kept", folder)
    return wrong_end(code, lines) or unnamed("".join(lines), place) * (code != 0)


def wrong_end(code: int, lines: list[str]) -> str:
    errors = [line for line in lines if line.startswith("dlcore: error: ")]
    if any("unexpected " in line or "Traceback" in line for line in lines):
        return lines[-1]
    if code not in (0, 1, 2) or len(errors) != (code != 0):
        return f"exit code {code} with {len(errors)} lines of error: {lines}"
    return ""


def unnamed(error: str, place: Place) -> str:
    """What of a file and its key a line does not name.

    A setting, a normaliser's number or a column may be right by itself and wrong for the data, which the line names; an
    empty "about" is that of a bare model. The layers of a model are named by their classes.
    """
    file, _, keys = place
    by_itself = file == "config.toml" or keys == ("about",) or keys[:2] == ("about", "normalizer")
    if not by_itself and not any(name in error for name in (file, "runs/a", "rows.csv", "t.csv")):
        return f"{file} is not named: {error}"
    names = [key for key in keys if isinstance(key, str)][-2:]
    if keys[0] in ("model", "input_shape"):
        names += ["Sequential", "inputs of shape"]
    if keys == ("parts",):
        names += ["measured on a development set"]  # of which there may be none
    if not by_itself and not any(name in error or name.replace("_", "-") in error for name in names):
        return f"{' or '.join(names)} is not named: {error}"
    return ""


def check(folder: Path, drawn: list[tuple[Place, Any, bool, str]]) -> int:
    found = []
    for place, wrong, gone, command in drawn:
        why = fault(folder, place, wrong, gone, command)
        if why:
            what = "is missing" if gone else f"is {wrong!r}"
            found.append(f"{command}: {place[0]} {'.'.join(map(str, place[2]))} {what}: {why}")
    assert not found, f"{len(found)} of {len(drawn)}\n" + "\n".join(found)
    return len(drawn)


READERS = {"model.json": ["predict", "evaluate"], "config.toml": ["evaluate", "list", "resume"]}
"""By file, the commands that look into it; of other files the last four."""


def everything(folder: Path) -> list[tuple[Place, Any, bool, str]]:
    changes = [(wrong, False) for wrong in WRONG] + [(None, True)]
    return [
        (place, wrong, gone, command)
        for place in places(folder)
        for wrong, gone in changes
        for command in READERS.get(place[0], [*COMMANDS][1:])
        if not (command == "resume" and place[2][-1] == "epochs")  # of which any number may be meant
    ]


def test_a_few_wrong_values_are_done_or_named_in_one_line(folder: Path) -> None:
    check(folder, random.Random(SEED).sample(everything(folder), 40))


@pytest.mark.full
def test_every_wrong_value_is_done_or_named_in_one_line(folder: Path) -> None:
    check(folder, everything(folder))


# In a checkpoint's JSON -----------------------------------------------------------------------------------------------


def state_of(folder: Path) -> tuple[Path, dict[str, Any], dict[str, str]]:
    """The newest checkpoint of a run: its file, its arrays, its words."""
    path = max(folder.glob("checkpoints/step-*.safetensors"))
    return path, *read_arrays(path)


def state_places(folder: Path) -> list[Place]:
    tree = json.loads(state_of(folder)[2]["state"])
    found: list[Place] = []

    def walk(value: Any, keys: tuple[Any, ...]) -> None:
        if keys:
            found.append(("safetensors", None, keys))
        inner = (
            value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else ()
        )
        for key, one in inner:
            walk(one, (*keys, key))

    walk(tree, ())
    return found


def state_fault(folder: Path, place: Place, wrong: Any, gone: bool) -> str:
    """What is wrong with how a run goes on from a checkpoint whose checksum is right and whose content is not."""
    copy = folder.with_name("b")
    shutil.copytree("kept", copy)
    try:
        path, arrays, words = state_of(copy)
        for older in set(copy.glob("checkpoints/step-*.safetensors")) - {path}:
            older.unlink()
        tree = json.loads(words["state"])
        outer = tree
        for key in place[2][:-1]:
            outer = outer[key]
        if gone:
            del outer[place[2][-1]]
        else:
            outer[place[2][-1]] = wrong
        write_arrays(path, arrays, {**words, "state": json.dumps(tree)})
        code, lines = run(["train", "--resume", "b", "--epochs", "3"])
    except BaseException as error:
        return f"{type(error).__name__} came out: {error}"
    finally:
        shutil.rmtree(copy)
    names = [key.strip("\0") for key in place[2] if isinstance(key, str)]
    names += ["optimizer was"] * (names == ["settings"]) + ["the loss is nan"] * (names == ["lr"])
    error = "".join(lines)
    if not (why := wrong_end(code, lines)) and code and not ("step-" in error or "runs/b" in error):
        why = f"the checkpoint is not named: {error}"
    if (
        not why
        and code
        and not any(name in error or name in error.replace("-", "_") for name in (names[0], *names[-2:]))
    ):
        why = f"{' or '.join(names)} is not named: {error}"
    return why


def check_states(folder: Path, drawn: list[tuple[Place, Any, bool]]) -> None:
    found = []
    for place, wrong, gone in drawn:
        if why := state_fault(folder, place, wrong, gone):
            found.append(f"{'.'.join(map(str, place[2]))} {'is missing' if gone else f'is {wrong!r}'}: {why}")
    assert not found, f"{len(found)} of {len(drawn)}\n" + "\n".join(found)


def every_state(folder: Path) -> list[tuple[Place, Any, bool]]:
    changes = [(wrong, False) for wrong in WRONG] + [(None, True)]
    return [(place, wrong, gone) for place in state_places(folder) for wrong, gone in changes]


def test_a_few_wrong_values_of_a_checkpoint_are_done_or_named_in_one_line(folder: Path) -> None:
    check_states(folder, random.Random(SEED).sample(every_state(folder), 20))


@pytest.mark.full
def test_every_wrong_value_of_a_checkpoint_is_done_or_named_in_one_line(folder: Path) -> None:
    check_states(folder, every_state(folder))
