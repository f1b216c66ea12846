"""What people have on their disks and should not: each ends in one line that names it, and nothing is half-written."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dlcore as dl
from dlcore.cli import main
from dlcore.train.checkpoint import arrays, snapshot

ROOT = Path(__file__).resolve().parents[2]
FASHION = ROOT / "dlcore" / "data" / "files" / "fashion"


def fault(capsys: pytest.CaptureFixture[str], *words: str, code: int = 1) -> str:
    """The one line on stderr of a command that fails before it has written anything of a run."""
    assert main(words) == code
    (line,) = capsys.readouterr().err.splitlines()
    return line


# Fashion-MNIST's IDX files -------------------------------------------------------------------------------------------

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


def _idx(file: str, change: Callable[[bytes], bytes]) -> None:
    """The real files in a folder, with the content of one changed."""
    shutil.copytree(FASHION, "fashion")
    Path("fashion", file).write_bytes(change(Path("fashion", file).read_bytes()))


def _inside(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda packed: gzip.compress(change(gzip.decompress(packed)), 1)


IDX: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "truncated": (IMAGES, lambda b: b[: len(b) // 2], "the gzip file is damaged or cut short"),
    "corrupt": (IMAGES, lambda b: b[:5000] + bytes(100) + b[5100:], "the gzip file is damaged or cut short"),
    "wrong magic": (IMAGES, _inside(lambda b: b"\x00\x00\x07" + b[3:]), "not an IDX file"),
    "wrong count": (LABELS, _inside(lambda b: b[:4] + (6000).to_bytes(4, "big") + b[8:]), "is cut short"),
    "labels out of range": (LABELS, _inside(lambda b: b[:-1] + b"\x0b"), "10 classes have the labels 0 to 9"),
    "labels of other images": (LABELS, _inside(lambda b: b[:4] + (4000).to_bytes(4, "big") + b[8:4008]), "(4000,)"),
    "empty": (LABELS, lambda b: b"", "starts with nothing"),
}


@pytest.mark.parametrize("kind", IDX)
def test_a_faulty_idx_file_is_named(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    file, change, words = IDX[kind]
    _idx(file, change)
    line = fault(capsys, "train", "--data", "./fashion")
    assert words in line
    assert "fashion" in line
    assert not Path("runs").exists()


# Tables, archives and pictures ---------------------------------------------------------------------------------------

HEADER, ROW = "age,colour,price", "31,red,2.5"
TABLES: dict[str, tuple[bytes, str]] = {
    "ragged": (f"{HEADER}\n{ROW}\n1,2\n".encode(), "line 3"),
    "text in numbers": (f"{HEADER}\n{ROW * 1}\n".encode() + f"{ROW}\n".encode() * 20 + b"x,red,1\n", "line 23"),
    "missing cell": (f"{HEADER}\n{ROW}\n,red,1\n{ROW}\n".encode(), "line 3"),
    "duplicate header": (f"age,age,price\n{ROW}\n".encode(), "age"),
    "wrong encoding": (f"{HEADER}\n31,röt,1\n".encode("latin-1"), "UTF-8"),
    "no rows": (f"{HEADER}\n".encode(), "no row"),
    "empty": (b"", "empty"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_faulty_table_is_named_with_the_place(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    content, words = TABLES[kind]
    Path("table.csv").write_bytes(content)
    line = fault(capsys, "train", "--data", "table.csv")
    assert "table.csv" in line
    assert words in line
    assert not Path("runs").exists()


def test_an_unknown_target_is_named_with_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    Path("table.csv").write_text(f"{HEADER}\n" + f"{ROW}\n" * 9)
    line = fault(capsys, "train", "--data", "table.csv", "--target", "prise")
    assert "table.csv" in line
    assert "did you mean price?" in line


def test_an_archive_with_objects_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("objects.npz", x=np.array([{"a": 1}] * 9, dtype=object), y=np.arange(9))
    line = fault(capsys, "train", "--data", "objects.npz")
    assert "objects.npz: x holds Python objects" in line


def _pictures(n: int = 6) -> Path:
    rng = np.random.default_rng(0)
    for name in ("left", "right"):
        Path("pictures", name).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(rng.integers(0, 256, (12, 12), dtype=np.uint8)).save(f"pictures/{name}/{i}.png")
    return Path("pictures/left/3.png")


def test_a_truncated_picture_stops_the_run_or_is_skipped_as_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    picture = _pictures()
    picture.write_bytes(picture.read_bytes()[:-40])
    words = ("train", "--data", "pictures", "--model", "mlp", "--epochs", "1", "--baseline", "none")
    assert str(picture) in fault(capsys, *words)
    assert main([*words, "--corrupt", "skip"]) == 0
    captured = capsys.readouterr()
    assert str(picture) in captured.err
    assert "11 images" in captured.out


def test_pictures_of_another_size_and_mode_are_brought_to_that_of_most(capsys: pytest.CaptureFixture[str]) -> None:
    _pictures()
    Image.new("RGBA", (30, 20), (200, 10, 10, 128)).save("pictures/left/wide.png")
    Image.new("I;16", (12, 24), 40_000).save("pictures/right/deep.png")
    Image.new("L", (10_000, 10_000), 99).save("pictures/right/huge.png")  # 100 megapixels
    words = ("train", "--data", "pictures", "--model", "mlp", "--epochs", "1", "--baseline", "none", "--name", "a")
    assert main(words) == 0
    assert "15 images, 12 × 12, in colour" in capsys.readouterr().out
    assert main(["predict", "a", "pictures/left/wide.png", "pictures/right/huge.png"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


# The run's own files -------------------------------------------------------------------------------------------------

JOB = ("train", "--data", "cars", "--device", "cpu", "--baseline", "none", "--epochs", "2", "--name", "a")


def _newest() -> Path:
    return list(snapshot.paths(Path("runs/a")).values())[-1]


def _rewrite(**metadata: str) -> None:
    found, held = arrays.read_arrays(_newest())
    arrays.write_arrays(_newest(), found, {**held, **metadata})


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(JOB) == 0
    Path("runs/a/result.json").unlink()
    capsys.readouterr()
    damaged = _newest()
    damaged.write_bytes(damaged.read_bytes()[:-7])
    assert main(["train", "--resume", "a"]) == 0
    captured = capsys.readouterr()
    fallen, aside = captured.err.splitlines()
    assert str(damaged) in fallen
    assert "falling back to the checkpoint before" in fallen
    assert "is put aside as step-00000030.aside" in aside
    assert "with 1 of 2 epochs done" in captured.out


@pytest.mark.parametrize(
    ("metadata", "words"), [({"version": "9"}, "format 9"), ({"format": "x"}, "no checkpoint of a run")]
)
def test_a_later_or_foreign_checkpoint_is_named(
    metadata: dict[str, str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(JOB) == 0
    Path("runs/a/result.json").unlink()
    capsys.readouterr()
    _rewrite(**metadata)
    line = fault(capsys, "train", "--resume", str(_newest()))
    assert str(_newest()) in line
    assert words in line


def _sound(folder: Path) -> bool:
    """Whether every file that is there is whole."""
    for file in folder.rglob("*"):
        if file.suffix == ".safetensors":
            arrays.read_arrays(file)
        elif file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix == ".jsonl":
            list(map(json.loads, file.read_text().splitlines()))
        elif file.suffix == ".toml":
            tomllib.loads(file.read_text())
        elif file.suffix == ".png":
            Image.open(file).load()
        elif file.is_file() and file.name != ".lock":
            assert file.read_text().endswith("</html>\n"), file
    return not list(folder.rglob(".*.tmp"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert main([*JOB, "--runs", str(folder)]) == 0
    return folder / "a"


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files is a POSIX matter")
@pytest.mark.parametrize("size", [100, 700, 2500, 12_000, 30_000, 50_000])
def test_a_full_disk_is_one_line_whatever_is_being_written(size: int, whole: Path) -> None:
    import resource

    shutil.copytree(whole, "runs/a")
    before = {path: path.read_bytes() for path in Path("runs/a").rglob("*") if path.is_file()}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "dlcore", *JOB[:-1], "b", "--checkpoint-steps", "10"],
        capture_output=True, text=True, env=environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )  # fmt: skip
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert "runs/b/" in line
    assert "cannot be written (File too large)" in line
    assert _sound(Path("runs/b"))
    assert {path: path.read_bytes() for path in before} == before
    assert main([*JOB[:-1], "b", "--resume", "auto"]) == 0  # once there is room again
    assert Path("runs/b/metrics.jsonl").read_bytes() == Path("runs/a/metrics.jsonl").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of folders are a POSIX matter")
def test_a_read_only_folder_is_one_line() -> None:
    Path("locked").mkdir(mode=0o500)
    words = [sys.executable, "-m", "dlcore", *JOB, "--runs", "locked"]
    if os.getuid() == 0:  # the superuser may write anywhere, unless that right is given up
        words = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override", *words]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    (line,) = done.stderr.splitlines()
    assert (done.returncode, "locked" in line, "Permission denied" in line) == (1, True, True)
    assert not list(Path("locked").iterdir())


def test_a_run_of_ones_own_script_is_predicted_and_says_what_it_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    data = dl.data.load("cars", normalize=True)
    trainer = dl.Trainer(dl.nn.Dense(1), loss="mse", device="cpu", callbacks=[dl.train.Checkpoint("mine")])
    trainer.fit(data.train, epochs=1)
    np.savez("x.npz", x=data.test.x)
    assert main(["predict", "mine", "--npz", "x.npz", "--json"]) == 0
    outputs = [json.loads(line)["outputs"] for line in capsys.readouterr().out.splitlines()]
    assert np.array_equal(np.array(outputs, np.float32), trainer.predict(data.test.x))
    assert "mine/config.toml: no such file" in fault(capsys, "evaluate", "mine", code=2)
    assert "mine: its model.json has no inputs, which say how" in fault(capsys, "predict", "mine", "x.csv")
