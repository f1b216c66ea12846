"""``dlcore train``: train a model, compare it with a simpler one, and write what came out; or go on with a run."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dlcore.cli import summary
from dlcore.cli.flags import COMMAND, DEBUG, settings_as_flags
from dlcore.errors import ConfigError
from dlcore.train.config import Config, ModelConfig, RunConfig, dump, load, outputs_of

if TYPE_CHECKING:
    from rich.console import Console

    from backends.device import Device
    from dlcore.data import Splits
    from dlcore.train import Trainer
    from dlcore.train.callbacks import Callback
    from dlcore.train.run import Run

__all__ = ["train"]

MAY_CHANGE = ("epochs", "lr", "device", "threads", "baseline", "checkpoint_steps", "checkpoint_minutes", "runs", "name")
"""Settings of a run that may be given anew when it goes on."""

HOW_IT_RUNS = ("device", "threads", "baseline", "checkpoint_steps", "checkpoint_minutes", "runs", "name")
"""Settings that do not make a run another one."""


@settings_as_flags
def train(
    *,
    config: Annotated[
        Path | None,
        Parameter(group=COMMAND, help="TOML file of settings, such as a run's config.toml; flags go before it"),
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
    debug: DEBUG = False,
    **given: Any,
) -> int:
    """Train a model: without any flag, a small CNN on the 5,000 images of Fashion-MNIST in the package.

    Prints the device, the data, the model, one line per epoch, and the test results beside those of a simpler model.
    The run's folder, runs/NAME, holds config.toml, metrics.jsonl, model.json, model.safetensors, checkpoints,
    curves.png and report.html. Ctrl-C and SIGTERM save the run; --resume goes on with it, to the same end.
    """
    settings = (Config() if config is None else load(config)).override(given)
    if overwrite and settings.run.name is None:
        raise ConfigError("--overwrite needs the --name of the run whose place is taken")
    if resume is not None and overwrite:
        raise ConfigError("--resume and --overwrite came together; a run either goes on, or is replaced")

    from backends.device import describe, resolve
    from dlcore.train import run as folders

    run, start = None, None
    if resume not in (None, "auto"):
        if config is not None:
            raise ConfigError("--resume and --config came together; a run goes on with its own settings")
        run, start = _named(str(resume), settings)
        settings = _continued(run, given)
    log = _Log()
    device = resolve(settings.train.device)
    log(describe(device))
    data = settings.data.load()
    settings = settings.resolve(data).anchored()
    if resume == "auto":
        run = _unfinished(settings)
        settings = settings if run is None else _continued(run, given)
    if run is not None and (why := _finished(run, settings)):
        log(f"{run.folder} is finished: {why}")
        return 0
    log(summary.about_data(data))

    stem = f"{data.name}-{summary.model_name(settings)}"
    if run is None:
        lock = folders.create(settings.run.runs, stem, settings.run.name, overwrite)
        run = folders.Run(lock.folder)
    else:
        lock = folders.Lock(run.folder).acquire()
    try:
        return _train(settings, data, device, run, start or run.folder, log)
    finally:
        lock.release()


def _named(resume: str, settings: Config) -> tuple[Run, Path | None]:
    """The run to go on with, and the checkpoint where one was named."""
    from dlcore.train.run import Run

    path = Path(resume).expanduser()
    if path.is_file():
        return Run.find(path.parent.parent), path
    return Run.find(resume, settings.run.runs), None


def _continued(run: Run, given: dict[str, Any]) -> Config:
    """The settings of a run, with those that were given anew."""
    before = run.settings
    for name, value in given.items():
        if name not in MAY_CHANGE and before.flat()[name] != value and not _same_path(before.flat()[name], value):
            raise ConfigError(
                f"--resume: {name} is {before.flat()[name]} in {run.folder} but {value} was given; leave it out, or "
                "start a new run"
            )
    return before.override({name: value for name, value in given.items() if name in MAY_CHANGE})


def _finished(run: Run, settings: Config) -> str:
    """Why there is nothing to go on with; empty where there is."""
    result, epochs = run.result, settings.train.epochs or 0
    if result is None or run.status == "running":
        return ""
    if result.get("stopped_epoch") is not None:
        return f"it was stopped early, after {result['epochs']} epochs"
    return f"{result['epochs']} epochs; more --epochs would go on" if result["epochs"] >= epochs else ""


def _same_path(before: Any, now: Any) -> bool:
    return isinstance(now, str) and isinstance(before, str) and str(Path(now).expanduser().absolute()) == before


def _unfinished(settings: Config) -> Run | None:
    """The run of the name that is asked for; without one, the newest interrupted run of the same settings."""
    from dlcore.train.run import Run

    if settings.run.name is not None:
        run = Run(Path(settings.run.runs).expanduser() / settings.run.name)
        return run if (run.folder / "config.toml").exists() else None
    asked = {name: value for name, value in settings.flat().items() if name not in HOW_IT_RUNS}
    for run in reversed(Run.all(settings.run.runs)):
        try:
            held = run.settings.flat()
        except ConfigError:  # a run of another version, or one whose file somebody has edited
            continue
        if run.status == "interrupted" and asked == {name: held[name] for name in asked}:
            return run
    return None


def _train(settings: Config, data: Splits, device: Device, run: Run, start: Path, log: _Log) -> int:
    """Train in the folder of ``run``, whose lock is held, from ``start`` on where there is a checkpoint."""
    from dlcore import report
    from dlcore.cli.progress import PlainLines
    from dlcore.train import Checkpoint, rebuild, snapshot
    from dlcore.train import run as folders
    from dlcore.train.checkpoint import write_atomically

    folder, began = run.folder, time.perf_counter()
    (folder / "result.json").unlink(missing_ok=True)
    goes_on = start.is_file() or bool(snapshot.paths(folder))
    model = rebuild.load_model(folder, device=device)[0] if goes_on else None
    trainer = settings.trainer(data, device, model=model)
    rival = None if settings.run.baseline == "none" else _baseline(settings).trainer(data, device)
    log(summary.about_model(settings, trainer))
    log(summary.about_training(settings, data))
    write_atomically(folder / "config.toml", lambda: dump(settings))
    if model is None:
        own = settings.model.model if ".py:" in (settings.model.model or "") else None
        known = folders.about(settings, data)
        rebuild.save_model(folder / "model.json", trainer.model, reference=own, outputs=outputs_of(data), about=known)
    checkpoint = Checkpoint(
        folder, every_steps=settings.run.checkpoint_steps or None, every_minutes=settings.run.checkpoint_minutes or None
    )
    lines = PlainLines(log, summary.unit(data))
    trainer.callbacks = [
        *log.bar(), lines, folders.MetricsFile(folder / "metrics.jsonl"), *trainer.callbacks, checkpoint,
    ]  # fmt: skip
    _fit(trainer, data, settings, start if start.is_file() else "auto", run)
    timing = {"training": math.fsum(record["seconds"] for record in trainer.history)}
    if rival is not None:
        rival.callbacks = log.bar(f"{settings.run.baseline} baseline")
        rival.fit(data.train, epochs=len(trainer.history), batch_size=settings.train.batch_size or 1)
        timing["baseline"] = math.fsum(record["seconds"] for record in rival.history)

    results = summary.results(settings, data, trainer, rival)
    log(summary.about_test(trainer, results))
    log(f"checkpoint: {checkpoint.path}")
    timing["this command"] = time.perf_counter() - began
    page = report.write(folder, summary.report(run.name, log.lines, settings, trainer, data, results, timing))
    log(f"report: {page}")
    result = {
        "test": results,
        "epochs": len(trainer.history),
        "best_epoch": trainer.history.best_epoch,
        "stopped_epoch": trainer.history.stopped_epoch,
        "parameters": trainer.model.count(),
        "timing": timing,
    }
    write_atomically(folder / "result.json", lambda: json.dumps(result, indent=2) + "\n")
    return 0


class _Log:
    """Prints lines, and keeps them for the report."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.console = _terminal()

    def __call__(self, text: str) -> None:
        self.lines.append(text)
        if self.console is None:
            print(text, flush=True)
        else:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

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


def _baseline(settings: Config) -> Config:
    """The settings of the model to compare with: its own defaults, on the same data, as long and from the same seed."""
    return Config(
        data=settings.data,
        model=ModelConfig(model=settings.run.baseline),
        train=replace(settings.train, patience=0, augment=None),
        run=RunConfig(baseline="none"),
    )


def _fit(trainer: Trainer, data: Splits, settings: Config, start: str | Path, run: Run) -> None:
    from dlcore.train import Interrupted

    try:
        trainer.fit(
            data.train,
            data.dev,
            epochs=settings.train.epochs or 1,
            batch_size=settings.train.batch_size or 1,
            resume=start,
        )
    except KeyboardInterrupt as error:
        where = f"in epoch {trainer.epoch + 1}, after step {trainer.step:,}"
        go_on = f"dlcore train --resume {run.folder}"
        if isinstance(error, Interrupted):
            raise Interrupted(error.cause, f"by {error.cause} {where}; the run is saved, go on by {go_on}") from None
        kept = f"{trainer.saved} is kept, go on by {go_on}" if trainer.saved else "nothing was saved yet"
        raise KeyboardInterrupt(f"{'at once ' * trainer.abandoned}{where}; {kept}") from None
