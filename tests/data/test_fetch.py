"""The download of the full Fashion-MNIST, from a server on this machine: whole files, or one line that says why not."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import re
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import dlcore.data
from dlcore.data import fetch, load, read_idx
from dlcore.data.builtin import registry
from dlcore.errors import DataError

module = sys.modules["dlcore.data.builtin.download"]

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes(), mtime=0)


# Noise, for it does not shrink: the largest file comes in several pieces.
NOISE = np.random.default_rng(0).integers(0, 256, (300, 28, 28))
FILES = {
    "train-images-idx3-ubyte.gz": idx(NOISE),
    "train-labels-idx1-ubyte.gz": idx(np.arange(300) % 10),
    "t10k-images-idx3-ubyte.gz": idx(NOISE[:20]),
    "t10k-labels-idx1-ubyte.gz": idx(np.arange(20) % 10),
}
LARGEST = "train-images-idx3-ubyte.gz"


class Server:
    """Serves ``files`` below /data/ and remembers what was asked for; ``how`` says what goes wrong."""

    def __init__(self) -> None:
        self.files = dict(FILES)
        self.asked: list[str] = []
        self.how = ""
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/data/"
        self.silence = threading.Event()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.removeprefix("/data/")
        self.asked.append(name)
        body = self.files.get(name)
        if self.how == "silent":
            self.silence.wait(5)
            return
        if body is None:
            handler.send_error(404)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if self.how == "closes" and name == LARGEST:
            handler.wfile.write(body[:100_000])
        elif self.how == "closes at once" and name == LARGEST:
            pass
        elif self.how == "stalls" and name == LARGEST:
            handler.wfile.write(body[:100_000])
            handler.wfile.flush()
            self.silence.wait(5)
        else:
            handler.wfile.write(body)


def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.silence.set()
    server.http.shutdown()
    server.http.server_close()
    thread.join()


server = pytest.fixture(serving)
second = pytest.fixture(serving)


@pytest.fixture(autouse=True)
def _only_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """Small files from the local server alone, into a cache of the test's own."""
    sums = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in FILES.items()}
    monkeypatch.setattr(module, "FILES", sums)
    monkeypatch.setattr(module, "_SERVERS", (server.url,))
    monkeypatch.setattr(module, "_TIMEOUT", (2.0, 0.3))
    monkeypatch.setattr(registry, "_DEBIAN", tmp_path / "no-such-package")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "dlcore" / "fashion-mnist"


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def refused(name: str = "fashion", to: Path | None = None) -> str:
    """The one line that a download which fails says."""
    with pytest.raises(DataError) as caught:
        fetch(name, to)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_files_come_whole_and_load_finds_them(tmp_path: Path) -> None:
    assert fetch("fashion") == cache(tmp_path)
    assert content(cache(tmp_path)) == FILES
    data = load("fashion")
    assert (len(data.train) + len(data.dev), len(data.test)) == (300, 20)
    assert str(cache(tmp_path)) in data.source


def test_another_folder_can_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fetch("fashion", "~/deep/er") == tmp_path / "deep" / "er"
    assert content(tmp_path / "deep" / "er") == FILES
    assert load("fashion", path=tmp_path / "deep" / "er").source.startswith("Fashion-MNIST, 300 training")
    assert not (tmp_path / "cache").exists()


def test_the_files_can_be_read_by_whom_the_mask_lets(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        fetch("fashion")
    finally:
        os.umask(mask)
    assert {stat.S_IMODE(file.stat().st_mode) for file in cache(tmp_path).iterdir()} == {0o640}


def test_progress_tells_of_every_file_and_of_completion_once(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    fetch("fashion", progress=lambda *call: calls.append(call))
    for name, body in FILES.items():
        done = [(done, size) for file, done, size in calls if file == name]
        assert done[-1] == (len(body), len(body))
        assert done == sorted(set(done))
    assert sum(file == LARGEST for file, _, _ in calls) > 2


def test_a_file_that_is_there_and_right_is_kept(tmp_path: Path, server: Server) -> None:
    fetch("fashion")
    before = {file.name: file.stat().st_mtime_ns for file in cache(tmp_path).iterdir()}
    (cache(tmp_path) / LARGEST).unlink()
    server.asked.clear()
    calls: list[str] = []
    fetch("fashion", progress=lambda file, done, size: calls.append(file) if done == size else None)
    assert server.asked == [LARGEST]
    assert calls == list(FILES)
    after = {file.name: file.stat().st_mtime_ns for file in cache(tmp_path).iterdir()}
    assert {name for name in after if after[name] != before[name]} == {LARGEST}


def test_a_damaged_file_in_the_cache_is_replaced_once_the_new_one_is_whole(tmp_path: Path, server: Server) -> None:
    fetch("fashion")
    (cache(tmp_path) / LARGEST).write_bytes(b"damaged")
    server.how = "closes"
    refused()
    assert content(cache(tmp_path)) == {**FILES, LARGEST: b"damaged"}
    server.how = ""
    fetch("fashion")
    assert content(cache(tmp_path)) == FILES


def test_a_file_of_another_data_set_in_ones_own_folder_is_never_replaced(tmp_path: Path, server: Server) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / LARGEST).write_bytes(b"MNIST, which has the same names")
    said = refused(to=tmp_path / "own")
    for part in (LARGEST, "another content", "move it away"):
        assert part in said
    assert content(tmp_path / "own") == {LARGEST: b"MNIST, which has the same names"}
    assert server.asked == []


def test_the_second_server_is_tried_where_the_first_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server, second: Server
) -> None:
    server.how = "closes"
    monkeypatch.setattr(module, "_SERVERS", (server.url, second.url))
    fetch("fashion")
    assert content(cache(tmp_path)) == FILES
    assert server.asked == [LARGEST]
    assert second.asked == list(FILES)


def test_without_a_network_it_says_where_else_the_files_may_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/"  # nobody listens there
        monkeypatch.setattr(module, "_SERVERS", (closed, closed))
        said = refused()
    for part in ("no server can be reached", str(cache(tmp_path)), "dataset-fashion-mnist", "$DLCORE_DATA"):
        assert part in said
    assert content(cache(tmp_path)) == {}


@pytest.mark.parametrize("how", ["closes", "closes at once", "stalls"])
def test_a_download_that_breaks_off_leaves_nothing(tmp_path: Path, server: Server, how: str) -> None:
    server.how = how
    said = refused()
    assert f"the download of {LARGEST} broke off" in said
    assert "try again" in said
    assert content(cache(tmp_path)) == {}


def test_a_server_that_never_answers_does_not_hold_us_up(tmp_path: Path, server: Server) -> None:
    server.how = "silent"
    assert "no server can be reached (ReadTimeout from" in refused()
    assert content(cache(tmp_path)) == {}


def test_another_content_is_named_and_removed(tmp_path: Path, server: Server) -> None:
    name = "t10k-labels-idx1-ubyte.gz"
    server.files[name] = idx(np.arange(20) % 9)
    said = refused()
    came, expected = (hashlib.sha256(body).hexdigest()[:8] for body in (server.files[name], FILES[name]))
    assert f"{name} from {server.url} has the SHA-256 {came}... but {expected}... is expected; it was removed" in said
    assert content(cache(tmp_path)) == {file: body for file, body in FILES.items() if file != name}


def test_a_body_without_an_end_is_cut_off(tmp_path: Path, server: Server) -> None:
    server.files["train-labels-idx1-ubyte.gz"] = bytes(2**20)
    size = len(FILES["train-labels-idx1-ubyte.gz"])
    assert f"has more than the {size:,} bytes" in refused()
    assert content(cache(tmp_path)).keys() == {LARGEST}


def test_a_file_that_a_server_lacks_is_named(tmp_path: Path, server: Server) -> None:
    del server.files["t10k-images-idx3-ubyte.gz"]
    assert "answers 404 for t10k-images-idx3-ubyte.gz" in refused()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    said = refused(to=tmp_path / "file" / "below")
    assert str(tmp_path / "file") in said
    assert "give another folder" in said

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pooch.HTTPDownloader.__call__", full)
    assert "No space left on device; make room" in refused()
    assert content(cache(tmp_path)) == {}


@pytest.mark.parametrize(
    ("name", "part"),
    [("digits", "'digits' is in the package"), ("fasion", "did you mean fashion?"), ("", "fashion can be fetched")],
)
def test_only_fashion_is_fetched(name: str, part: str, server: Server) -> None:
    assert part in refused(name)
    assert server.asked == []


def test_nothing_is_printed_and_the_log_is_as_before(capfd: pytest.CaptureFixture[str]) -> None:
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    fetch("fashion")
    assert capfd.readouterr() == ("", "")
    assert pooch.get_logger().level == logging.WARNING


def test_the_official_files_have_the_names_that_load_looks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert tuple(module.FILES) == registry._FASHION_FILES
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for _, sha256 in module.FILES.values())
    assert all(server.endswith("/") for server in module._SERVERS)


@pytest.mark.skipif(not (DEBIAN / LARGEST).is_file(), reason="needs the Debian package dataset-fashion-mnist")
@pytest.mark.parametrize("name", FILES)
def test_the_sums_are_those_of_the_published_files(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian took name and time out of the gzip headers; put back, they give the published file to the byte."""
    monkeypatch.undo()
    body = (DEBIAN / name).read_bytes()
    assert body[3] == 0  # no name in the header
    packed = 1504176606 if name.startswith("train") else 1504176627  # seconds since 1970: 31 August 2017
    original = body[:3] + b"\x08" + packed.to_bytes(4, "little") + body[8:10]
    original += name.removesuffix(".gz").encode() + b"\0" + body[10:]
    assert (len(original), hashlib.sha256(original).hexdigest()) == module.FILES[name]
    md5 = {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }  # as Zalando's README gives them
    assert hashlib.md5(original, usedforsecurity=False).hexdigest() == md5[name]
    assert read_idx(DEBIAN / name).dtype == np.uint8


def test_it_is_part_of_the_public_api() -> None:
    assert dlcore.data.fetch is fetch
