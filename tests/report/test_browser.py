"""The page of a real run in a real browser: it shows, says nothing on the console, loads nothing, and fits a phone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import dlcore as dl
from dlcore.report import Report, examine, write

PHONE = 390  # CSS pixels
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--allow-file-access-from-files",  # so that the page around may look into its frames
    "--host-resolver-rules=MAP * ~NOTFOUND",  # the browser's own errands end here
    "--enable-logging=stderr",
    "--v=0",
)
LOOK = """
const seen = [...document.querySelectorAll("iframe")].map(frame => {
  const page = frame.contentDocument;
  return {
    width: page.documentElement.clientWidth,
    needed: page.documentElement.scrollWidth,
    headings: [...page.querySelectorAll("h1, h2")].map(heading => heading.innerText),
    pictures: [...page.images].map(picture => picture.naturalWidth),
    drawings: [...page.querySelectorAll("svg")].map(drawing => drawing.getBoundingClientRect().width),
    letters: [...page.querySelectorAll("svg text")].map(text => text.getBoundingClientRect().width),
    marked: getComputedStyle(page.querySelector(".marked th") ?? page.body).backgroundColor,
    loaded: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name),
  };
});
document.querySelector("pre").textContent = JSON.stringify(seen);
"""


@dataclass(frozen=True)
class Visit:
    """What a browser saw of some pages, what it wrote on the console, and what the pages asked the network for."""

    pages: list[dict[str, Any]]
    console: list[str]
    requests: list[str]


def browser() -> str:
    """The program's path. Without one the test is skipped, or fails where CI=true says that there must be one."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("CI=true, but there is no browser; install Debian's package chromium")
    if found is None:
        pytest.skip("install Debian's package chromium")
    return found


def visit(folder: Path, *pages: Path) -> Visit:
    """Open the pages in frames of a phone's width, in one start of the browser."""
    program = browser()
    frames = "".join(f'<iframe style="width:{PHONE}px; height:800px" src="{page.as_uri()}"></iframe>' for page in pages)
    around = folder / "around.html"
    around.write_text(
        '<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,"><style>iframe { border: 0 }</style>'
        f'{frames}<pre></pre><script>addEventListener("load", () => {{{LOOK}}})</script>'
    )
    flags = [*FLAGS, f"--user-data-dir={folder / 'profile'}"]
    log = folder / "net.json"
    words = [program, *flags, f"--log-net-log={log}", "--dump-dom", around.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    (seen,) = re.findall(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Visit(json.loads(unescape(seen)), console, requests_of(log))


def requests_of(log: Path) -> list[str]:
    """Addresses that a page asked for; the browser's own errands have no origin, and files are not requested."""
    text = json.loads(log.read_text())
    started = text["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    jobs = [event["params"] for event in text["events"] if event["type"] == started and "params" in event]
    return [job["url"] for job in jobs if job.get("initiator") != "not an origin" and "url" in job]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two epochs on the digits."""
    data = dl.data.load("digits", normalize=True)
    model = dl.nn.Sequential(dl.nn.Flatten(), dl.nn.Dense(32), dl.nn.ReLU(), dl.nn.Dense(10))
    health = dl.train.GradientHealth(data.train)
    trainer = dl.Trainer(model, metrics=["accuracy"], callbacks=[health], device="cpu", seed=0)
    trainer.fit(data.train, data.dev, epochs=2)
    assert isinstance(data.classes, tuple)
    return write(
        tmp_path_factory.mktemp("run"),
        Report(
            title="digits-mlp-001",
            lines=["device: cpu (asked for)", f"data: {data.source}"],
            settings='[data]\ndata = "digits"\n' + "# " + "a line that is much wider than a phone " * 5,
            environment={"python": "3"},
            summary=model.summary(),
            history=trainer.history,
            results={"mlp": trainer.evaluate(data.test)},
            examination=examine(trainer, data.dev, data.classes, normalizer=data.normalizer),
            classes=("<script>alert(1)</script>", *data.classes[1:]),
            timing={"training": 0.5},
            health=health.records,
        ),
    )


def test_the_page_shows_in_a_browser_and_loads_nothing(report: Path, tmp_path: Path) -> None:
    found = visit(tmp_path, report)
    assert found.console == []
    assert found.requests == []
    (page,) = found.pages
    assert page["loaded"] == []
    assert page["headings"] == [
        "digits-mlp-001", "Test", "Curves", "Gradient health", "Confusion matrix", "Worst mistakes", "What ran",
        "Epochs", "Time", "Layers", "Settings", "Environment",
    ]  # fmt: skip
    assert len(page["pictures"]) == 12
    assert all(width == 96 for width in page["pictures"])
    assert len(page["drawings"]) == 4
    assert all(width > 300 for width in page["drawings"])
    assert all(width > 0 for width in page["letters"])
    assert page["width"] == PHONE
    assert page["needed"] == PHONE  # nothing sticks out
    assert page["marked"].startswith("rgba(208, 112, 15")  # the style applies


def test_what_a_page_would_load_is_noticed_and_the_policy_forbids_it(report: Path, tmp_path: Path) -> None:
    text = report.read_text(encoding="utf-8")
    picture = '<img src="http://127.0.0.1:9/picture.png" alt=""><script>console.log("ran")</script><p>' + "wide" * 200
    forbidden, allowed = tmp_path / "forbidden.html", tmp_path / "allowed.html"
    forbidden.write_text(text.replace("</header>", f"{picture}</p></header>"), encoding="utf-8")
    allowed.write_text(
        re.sub(
            r"<meta http-equiv[^>]*>", "", forbidden.read_text(encoding="utf-8").replace("picture.png", "other.png")
        ),
        encoding="utf-8",
    )
    found = visit(tmp_path, forbidden, allowed)
    assert found.requests == ["http://127.0.0.1:9/other.png"]
    said = "\n".join(found.console)
    assert said.count("Content Security Policy") >= 2  # the picture and the script
    assert len(re.findall(r'"ran"', said)) == 1
    assert all(page["needed"] > PHONE for page in found.pages)


def test_a_missing_browser_fails_in_ci_and_is_skipped_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="package chromium"):
        browser()
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="install Debian's package chromium"):
        browser()
