"""``python -m benchmarks.peers``: measure dlcore beside its peers, and print the ratios.

Exit codes: 0 done, 1 where dlcore failed or results differ, 2 wrong usage; what a peer fails at is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks import forget_settings_from_outside

forget_settings_from_outside()

from rich.console import Console  # noqa: E402

from benchmarks.peers import gpu, report, starting  # noqa: E402
from benchmarks.peers.frameworks import FRAMEWORKS, OURS  # noqa: E402
from benchmarks.peers.rounds import Measured, find, measure  # noqa: E402
from benchmarks.peers.workloads import SUITES, Training, Workload  # noqa: E402

__all__ = ["main"]

NAMES = (*SUITES, "compile")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see python -m benchmarks.peers --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"{', '.join(NAMES)}; all of them by default")
    parser.add_argument("--rounds", type=_positive, default=5, help="processes for each figure (default 5)")
    parser.add_argument("--only", metavar="NAME", help="the workloads whose name contains this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures there")
    parser.add_argument("--compile", action="store_true", help="with torch.compile too; a minute and more for a model")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: steps of training, by PyTorch")
    parser.add_argument("--dry", action="store_true", help="with --device cuda: everything once, tiny, on the CPU")
    parser.add_argument("--list", action="store_true", help="list suites and workloads, and measure nothing")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _chosen(parser: argparse.ArgumentParser, suites: Sequence[str], only: str | None) -> dict[str, list[Workload]]:
    """The workloads to run, by suite; the suite ``compile`` has none."""
    for name in suites:
        if name not in NAMES:
            parser.error(f"there is no suite {name!r}, choose from {', '.join(NAMES)}")
    chosen = {name: list(SUITES.get(name, ())) for name in dict.fromkeys(suites or NAMES)}
    if only is None:
        return chosen
    found = {name: [w for w in works if only.lower() in w.name.lower()] for name, works in chosen.items()}
    found = {name: works for name, works in found.items() if works}
    if not found:
        parser.error(f"--only {only!r}: no workload of {', '.join(chosen)} has this in its name, --list shows them")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    asked = parser.parse_args(arguments)
    chosen = _chosen(parser, asked.suites, asked.only)
    if asked.list:
        for suite, works in chosen.items():
            print(suite)
            for work in works:
                print(f"  {work.name}")
        return 0
    if asked.json is not None and not asked.json.resolve().parent.is_dir():
        parser.error(f"--json {asked.json}: there is no folder {asked.json.resolve().parent}")
    if asked.device == "cuda":
        return _on_gpu(parser, chosen, asked)
    if asked.dry:
        parser.error("--dry goes with --device cuda")
    return _run(chosen, asked.rounds, asked.compile, asked.json)


def _on_gpu(parser: argparse.ArgumentParser, chosen: dict[str, list[Workload]], asked: argparse.Namespace) -> int:
    works = [work for suite in chosen.values() for work in suite if isinstance(work, Training)]
    if not works:
        parser.error("--device cuda measures steps of training; give the suite training")
    if not asked.dry and (why := gpu.why_not()) is not None:
        parser.error(f"--device cuda: {why}")
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    return gpu.run(works, asked.rounds, dry=asked.dry, file=asked.json, console=console, say=_progress())


def _run(chosen: dict[str, list[Workload]], rounds: int, compiled: bool, file: Path | None) -> int:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=160)
    works = [work for suite in chosen.values() for work in suite]
    versions, missing = find([OURS, *(name for name in FRAMEWORKS if name != OURS and _takes_part(name, works))])
    about = report.head(versions, missing, rounds)
    report.print_head(console, about)
    if OURS in missing:
        return 1
    measured, seconds, say = Measured(), {}, _progress()
    for suite, of_suite in chosen.items():
        if suite == "compile":
            seconds = starting.measure(rounds, say)
            report.print_starting(console, seconds)
            continue
        measure(suite, of_suite, list(versions), rounds, compiled=compiled, into=measured, say=say)
        report.print_suite(console, suite, measured)
    report.print_tail(console, measured.threads)
    differing = measured.disagreements()
    for line in differing:
        console.print(f"results differ: {line}")
    if file is not None:
        text = json.dumps(report.as_json(about, measured, seconds), indent=2, ensure_ascii=False)
        file.write_text(f"{text}\n", encoding="utf-8")
        console.print(f"figures: {file}")
    return 1 if differing or any(failure.framework == OURS for failure in measured.failures) else 0


def _takes_part(framework: str, works: Sequence[Workload]) -> bool:
    return any(FRAMEWORKS[framework].settings(work) for work in works)


def _progress() -> Callable[[str], None]:
    """Says on stderr what runs, and since when."""
    start = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - start:5.0f} s] {text}", file=sys.stderr, flush=True)

    return say


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
