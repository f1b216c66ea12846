"""``dlcore train``: train a model, compare it with a simpler one, and write what came out."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dlcore.cli import summary
from dlcore.cli.flags import COMMAND, DEBUG, settings_as_flags
from dlcore.errors import ConfigError
from dlcore.train.config import Config, ModelConfig, RunConfig, dump, load

if TYPE_CHECKING:
    from rich.console import Console

    from dlcore.data import Splits
    from dlcore.train import Trainer
    from dlcore.train.callbacks import Callback

__all__ = ["train"]


@settings_as_flags
def train(
    *,
    config: Annotated[
        Path | None,
        Parameter(group=COMMAND, help="TOML file of settings, such as a run's config.toml; flags go before it"),
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
    The run's folder, runs/NAME, holds config.toml, metrics.jsonl, model.safetensors and report.txt.
    """
    settings = (Config() if config is None else load(config)).override(given)
    if overwrite and settings.run.name is None:
        raise ConfigError("--overwrite needs the --name of the run whose place is taken")

    from backends.device import describe, resolve
    from dlcore.cli.progress import PlainLines
    from dlcore.train import Checkpoint, run
    from dlcore.train.checkpoint import write_atomically

    log = _Log()
    device = resolve(settings.train.device)
    log(describe(device))
    data = settings.data.load()
    settings = settings.resolve(data)
    log(summary.about_data(data))

    trainer = settings.trainer(data, device)
    rival = None if settings.run.baseline == "none" else _baseline(settings).trainer(data, device)
    log(summary.about_model(settings, trainer))
    log(summary.about_training(settings, data))

    stem = f"{data.name}-{summary.model_name(settings)}"
    folder = run.create(settings.run.runs, stem, settings.run.name, overwrite)
    write_atomically(folder / "config.toml", lambda: dump(settings))
    checkpoint = Checkpoint(folder)
    lines = PlainLines(log, summary.unit(data))
    trainer.callbacks = [
        *log.bar(), lines, run.MetricsFile(folder / "metrics.jsonl"), *trainer.callbacks, checkpoint,
    ]  # fmt: skip
    _fit(trainer, data, settings, checkpoint)
    if rival is not None:
        rival.callbacks = log.bar(f"{settings.run.baseline} baseline")
        rival.fit(data.train, epochs=len(trainer.history), batch_size=settings.train.batch_size or 1)

    log(summary.about_test(settings, data, trainer, rival))
    log(f"checkpoint: {checkpoint.path}")
    report = folder / "report.txt"
    write_atomically(report, lambda: summary.report(log.lines, settings, trainer))
    log(f"report: {report}")
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
        train=replace(settings.train, patience=0),
        run=RunConfig(baseline="none"),
    )


def _fit(trainer: Trainer, data: Splits, settings: Config, checkpoint: Any) -> None:
    try:
        trainer.fit(data.train, data.dev, epochs=settings.train.epochs or 1, batch_size=settings.train.batch_size or 1)
    except KeyboardInterrupt:
        kept = f"the weights so far are in {checkpoint.path}" if checkpoint.path.exists() else "no weights were kept"
        raise KeyboardInterrupt(f"in epoch {trainer.epoch + 1}; {kept}") from None
