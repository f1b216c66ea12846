"""``dlcore train``: train a model, compare it with a simpler one, and write what came out; or go on with a run."""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dlcore._core.escapes import escaped
from dlcore.cli import texts
from dlcore.cli.options import COMMAND, DEBUG, TRUST, settings_as_flags
from dlcore.errors import CheckpointError, ConfigError
from dlcore.train.config.config import Config, load

if TYPE_CHECKING:
    from rich.console import Console

    from backends.runtime.device import Device
    from dlcore._core.lock import Lock
    from dlcore.data import Splits
    from dlcore.train.engine.callback import Callback
    from dlcore.train.runs.run import Run

__all__ = ["train"]

MAY_CHANGE = (
    "epochs",
    "lr",
    "device",
    "threads",
    "memory_limit",
    "tf32",
    "baseline",
    "checkpoint_steps",
    "checkpoint_minutes",
)
"""Settings of a run that may be given anew when it goes on."""

SAMPLES = 2
"""Printed at the end of a run on text."""

HOW_IT_RUNS = (
    "device",
    "threads",
    "memory_limit",
    "baseline",
    "checkpoint_steps",
    "checkpoint_minutes",
    "runs",
    "name",
    "rules",
)
"""Settings that do not make a run another one."""


@settings_as_flags
def train(
    *,
    config: Annotated[
        Path | None,
        Parameter(
            group=COMMAND, help="TOML file of settings, such as a run's config.toml; flags take precedence over it"
        ),
    ] = None,
    resume: Annotated[
        str | None,
        Parameter(
            group=COMMAND,
            help="go on with an interrupted run: its name, its folder or one of its checkpoints; auto: the run of this "
            "name or of the same settings, or a new one where there is none",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        Parameter(group=COMMAND, negative=(), show_default=False, help="take the place of an earlier run of this name"),
    ] = False,
    trust: TRUST = False,
    debug: DEBUG = False,
    **given: Any,
) -> int:
    """Train a model: without any flag, a small CNN on the 5,000 images of Fashion-MNIST in the package.

    Prints the device, the data, the model, one line per epoch, and the test results beside those of a simpler model;
    for knn, its accuracy and its time per query beside a network's. The run's folder, runs/NAME, holds config.toml,
    metrics.jsonl, model.json, model.safetensors, checkpoints, curves.png and report.html. Ctrl-C and SIGTERM save the
    run; --resume goes on with it, to the same end. A run from somebody else may bring code along, its model.py or
    modules that its model.json names: --resume refuses it until you have read it and give --trust.
    """
    if resume is not None and overwrite:
        raise ConfigError("--resume and --overwrite came together; a run either goes on, or is replaced")
    if resume not in (None, "auto") and config is not None:
        raise ConfigError("--resume and --config came together; a run goes on with its own settings")
    settings = (Config() if config is None else load(config)).override(given)
    if config is not None and "model" not in given and (config.parent / "model.json").exists():
        from dlcore.train.checkpoint.user_model import check_known

        check_known(settings.model.model)
    if overwrite and settings.run.name is None:
        raise ConfigError("--overwrite needs the --name of the run whose place is taken")

    from backends.runtime.device import resolve
    from dlcore._core.lock import Lock
    from dlcore.train.config.unused import refuse_unused
    from dlcore.train.runs import creation
    from dlcore.train.runs import run as folders

    run, checkpoint = (None, None) if resume in (None, "auto") else _named(str(resume), settings)
    if run is not None:
        settings = _continued(run, given)
    log = Log()
    device = resolve(settings.train.device)
    log(texts.about_device(settings, device))
    data = settings.data.load()
    asked, settings = settings, settings.resolve(data)
    if run is None:
        refuse_unused(given, asked, [settings], data)
    settings = settings.anchored()
    if resume == "auto":
        run = _same(settings)
        if run is None:
            log("resume: no run of this name or these settings is there, a new one begins")
        else:
            settings = _continued(run, given)
    if run is not None and (why := _finished(run, settings)):
        log(f"{run.folder} is finished: {why}")
        return 0
    if run is not None and _begins(run, settings):
        log(f"resume: {run.folder} was ended before its first checkpoint, it begins anew")
    log(texts.about_data(data))
    kind = _Job if settings.model.model != "knn" else importlib.import_module("dlcore.cli.knn").Knn
    job = kind(settings, data, device, log, None if run is None else run.folder)

    if run is None:
        stem = f"{data.name}-{texts.model_name(settings)}"
        lock = creation.create(settings.run.runs, stem, settings.run.name, overwrite)
    else:
        lock = Lock(run.folder).acquire()
    try:
        if run is not None:
            folders.settle(lock.folder)
        job.train(folders.Run(lock.folder), lock, checkpoint)
    finally:
        lock.release()
    return 0


def _named(resume: str, settings: Config) -> tuple[Run, Path | None]:
    """The run to go on with, and the checkpoint where one was named."""
    from dlcore.train.runs.run import Run, recover

    path = Path(resume).expanduser()
    for folder in (path, Path(settings.run.runs).expanduser() / resume, path.parent.parent):
        if folder.is_dir():
            recover(folder)
    if not path.is_file():
        return Run.find(resume, settings.run.runs), None
    if path.suffix != ".safetensors":
        raise ConfigError(f"--resume: {path} is no checkpoint; give one from a run's checkpoints, or the run's folder")
    return Run.find(path.resolve().parent.parent), path


def _continued(run: Run, given: dict[str, Any]) -> Config:
    """The settings of a run, with those that were given anew."""
    before = run.settings
    given = {name: value for name, value in given.items() if name != "runs"}
    if given.get("name") == run.name:
        del given["name"]
    for name, value in given.items():
        if name not in MAY_CHANGE and before.flat()[name] != value and not _same_path(before.flat()[name], value):
            raise ConfigError(
                f"--resume: {name} is {before.flat()[name]} in {run.folder} but {value} was given; leave it out, or "
                "start a new run"
            )
    if (given.get("epochs") or math.inf) < len(run.records()):
        raise ConfigError(f"--resume: {run.folder} has done {len(run.records())} epochs; give as many, or more")
    return before.override({name: value for name, value in given.items() if name in MAY_CHANGE})


def _finished(run: Run, settings: Config) -> str:
    """Why there is nothing to go on with; empty where there is."""
    result, epochs = run.result, settings.train.epochs or 0
    if result is None or run.status == "running":
        return ""
    if settings.model.model == "knn":
        return "knn learns at once, there is nothing to go on with"
    if result.get("stopped_epoch") is not None:
        return f"it was stopped early, after {result['epochs']} epochs"
    return f"{result['epochs']} epochs; more --epochs would go on" if result["epochs"] >= epochs else ""


def _begins(run: Run, settings: Config) -> bool:
    """Whether a run that is to go on has nothing to go on from: it was ended before its first checkpoint.

    Raises CheckpointError where it had checkpoints: what it has learned is not trained over without being asked.
    """
    from dlcore.train.checkpoint import snapshot

    if settings.model.model == "knn" or snapshot.paths(run.folder):
        return False
    epochs = len(run.records())
    if run.result is None and epochs < 2 and not (epochs and (run.folder / "model.safetensors").exists()):
        return True
    raise CheckpointError(
        f"{run.folder}: its checkpoints are gone, there is nothing to go on from; begin another run with its weights "
        f"by --from {run.folder}, or train this one again by --config {run.folder / 'config.toml'}"
    )


def _same_path(before: Any, now: Any) -> bool:
    return isinstance(now, str) and isinstance(before, str) and str(Path(now).expanduser().absolute()) == before


def _same(settings: Config) -> Run | None:
    """The run of the name that is asked for; without one, the newest of the same settings, an unfinished one first."""
    from dlcore.train.runs.run import Run, recover

    if settings.run.name is not None:
        run = Run(Path(settings.run.runs).expanduser() / settings.run.name)
        recover(run.folder)
        return run if (run.folder / "config.toml").exists() else None
    asked = {name: value for name, value in settings.flat().items() if name not in HOW_IT_RUNS}
    found = []
    for run in Run.all(settings.run.runs):
        try:
            held = run.settings.flat()
        except ConfigError:  # a run of another version, or one whose file somebody has edited
            continue
        if run.status != "running" and asked == {name: held[name] for name in asked}:
            found.append(run)
    return max(found, key=lambda run: (run.status == "interrupted", found.index(run)), default=None)


class _Job:
    """What is to be trained: made, and so checked, before anything is written.

    folder : of the run that goes on, whose model is built again as it was; None for a new run
    """

    def __init__(self, settings: Config, data: Splits, device: Device, log: Log, folder: Path | None) -> None:
        from dlcore.train.checkpoint import model_json, snapshot
        from dlcore.train.checkpoint.user_model import check_known

        self.settings, self.data, self.log, self.is_new = settings, data, log, folder is None
        known = folder is not None and bool(snapshot.paths(folder))
        model = model_json.new_model(folder, device=device)[0] if folder is not None and known else None
        if folder is not None and model is None:
            check_known(settings.model.model)
        self.trainer = settings.trainer(data, device, model=model)
        self.rival = None if settings.run.baseline == "none" else settings.beside().trainer(data, device)
        log(texts.about_model(settings, self.trainer))
        if model is None and (words := texts.about_transfer(settings, self.trainer, data)):
            log(words)
        log(texts.about_training(settings, data))

    def train(self, run: Run, lock: Lock, checkpoint: Path | None) -> None:
        """Train in the folder of ``run``, from ``checkpoint``, or from the newest there where that is None."""
        from dlcore.train.checkpoint import snapshot
        from dlcore.train.runs import run as folders

        try:
            if not self.is_new and (run.folder / "result.json").exists():
                _keep(run.folder)
            self._train(run, lock, checkpoint)
        except KeyboardInterrupt as error:
            raise self._told(error, run) from None
        finally:
            if self.is_new and not snapshot.paths(run.folder) and not self.trainer.step:
                folders.empty(run.folder)  # nothing was trained
            _settle(run.folder)

    def _train(self, run: Run, lock: Lock, checkpoint: Path | None) -> None:
        from dlcore.train import Checkpoint, GradientHealth
        from dlcore.train.callbacks.progress_lines import ProgressLines
        from dlcore.train.runs.files import Begin, HealthFile, MetricsFile

        settings, data, trainer, log = self.settings, self.data, self.trainer, self.log
        saving = Checkpoint(
            run.folder,
            every_steps=settings.run.checkpoint_steps or None,
            every_minutes=settings.run.checkpoint_minutes or None,
        )
        saving.lock = lock
        health = GradientHealth(data.train)
        trainer.callbacks = [
            *log.bar(), ProgressLines(log, texts.unit(data)), Begin(run.folder, settings, data),
            MetricsFile(run.folder / "metrics.jsonl"), health, HealthFile(run.folder / "health.jsonl", health),
            *trainer.callbacks, saving,
        ]  # fmt: skip
        size = settings.train.batch_size or 1
        trainer.fit(
            data.train,
            data.dev,
            settings.train.epochs or 1,
            size,
            resume=checkpoint or "auto",
            train_dev=data.train_dev,
            verbose=False,
        )
        memory = trainer.memory.record()  # before that of the baseline is added
        if memory is not None:
            log(trainer.memory.report())
        if self.rival is not None:
            self.rival.callbacks = log.bar(f"{settings.run.baseline} baseline")
            self.rival.fit(data.train, epochs=len(trainer.history), batch_size=size, verbose=False)
        self._report(run, saving.path, memory)

    def _report(self, run: Run, weights: Path, memory: dict[str, int] | None) -> None:
        from dlcore import report
        from dlcore._core.plain import plain
        from dlcore.analysis.diagnosis import faults_of
        from dlcore.experiment.measure_splits import measure_parts
        from dlcore.train.checkpoint.arrays import write_atomically

        settings, data, trainer, log = self.settings, self.data, self.trainer, self.log
        results = texts.results(settings, data, trainer, self.rival)
        log(texts.about_test(trainer, results))
        log(f"checkpoint: {weights}")
        if data.task == "text":
            self._say_samples()
        timing = {
            name: math.fsum(record["seconds"] for record in one.history)
            for name, one in (("training", trainer), ("baseline", self.rival))
            if one is not None
        }
        parts = measure_parts(trainer, data)
        content = texts.report(run.name, log.lines, settings, trainer, data, results, timing, parts, run.health())
        page = report.write(run.folder, content)
        log(f"report: {page}")
        result = {
            "test": results,
            "epochs": len(trainer.history),
            "best_epoch": trainer.history.best_epoch,
            "stopped_epoch": trainer.history.stopped_epoch,
            "parameters": trainer.model.count(),
            "timing": timing,
            "parts": parts,
            **({} if memory is None else {"memory": memory}),
        }
        write_atomically(run.folder / "result.json", lambda: json.dumps(plain(result), indent=2) + "\n")
        for line in faults_of(parts):
            log(line)
        if words := texts.behind(settings, data, trainer, self.rival):
            log(words)

    def _say_samples(self) -> None:
        """A few lines of text from the model."""
        from dlcore.data import Vocabulary
        from dlcore.experiment.generate_text import generate, takes_state

        symbols = self.data.classes
        if not takes_state(self.trainer.model):
            self.log("no samples: the model takes no state, without which dlcore generate cannot write with it")
            return
        for seed in range(SAMPLES):
            text = generate(self.trainer.model, Vocabulary(tuple(symbols or ())), length=200, seed=seed)
            self.log("\n".join(f"sample {seed + 1}: | {line}".rstrip() for line in text.strip().splitlines()))

    def _told(self, error: KeyboardInterrupt, run: Run) -> KeyboardInterrupt:
        """The same interruption, with words on where it was and how to go on."""
        from dlcore.train import Interrupted

        trainer = self.trainer
        where = f"in epoch {trainer.epoch + 1}, after step {trainer.step:,}"
        if trainer.complete:
            where = "after the last epoch"
        go_on = f"go on by dlcore train --resume {run.folder}"
        saved = f"the run is saved, {go_on}" if trainer.saved else "nothing was saved yet"
        if isinstance(error, Interrupted):
            return Interrupted(error.cause, f"by {error.cause} {where}; {saved}")
        kept = f"{trainer.saved} is kept, {go_on}" if trainer.saved else "nothing was saved yet"
        return KeyboardInterrupt(f"{'at once ' * trainer.abandoned}{where}; {kept}")


def _keep(folder: Path) -> None:
    from dlcore.train.runs import run as folders

    try:
        folders.keep(folder)
    except OSError as error:
        raise CheckpointError(
            f"{error.filename or folder}: cannot be written ({error.strerror}); the finished run is left as it is"
        ) from None


def _settle(folder: Path) -> None:
    """The end of a command: what another run had left there comes back or goes, or it is said where it is."""
    from dlcore.train.runs import run as folders

    before = folder / folders.BEFORE
    try:
        folders.settle(folder)
    except OSError as error:
        warnings.warn(f"{folder}: cannot be written ({error.strerror}); the next command goes on here", stacklevel=2)
    if (before / "result.json").exists():
        warnings.warn(f"the finished run that was in {folder} is in {before} until this one is finished", stacklevel=2)


class Log:
    """Prints lines, and keeps them for the report."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.console = _terminal()

    def __call__(self, text: str) -> None:
        self.lines.append(text)
        try:
            if self.console is None:
                print(text, flush=True)
            else:
                self.console.print(escaped(text), markup=False, highlight=False, soft_wrap=True)
        except OSError:  # nobody listens any more, a closed pipe or terminal: that is no reason to stop training
            self.console = None
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  until the process ends

    def bar(self, label: str = "") -> list[Callback]:
        """A progress bar where somebody sees it."""
        from dlcore.cli.progress import ProgressBar

        return [] if self.console is None else [ProgressBar(self.console, label)]


def _terminal() -> Console | None:
    """A console on stdout, None where that is no terminal on which a bar can be drawn."""
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

    console = Console()
    return None if console.is_dumb_terminal else console
