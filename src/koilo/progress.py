"""Progress bars with an ETA, plain lines where there is no terminal, and logging."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger("koilo")

Advance = Callable[[float], None]

_LINE_EVERY_S = 30.0


class _Terminal(logging.Handler):
    """Writes to whatever ``sys.stderr`` is at that moment, which callers may redirect."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record as one line."""
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except OSError:  # a closed terminal is no reason to stop a night's run
            self.handleError(record)


def start_logging(*, level: int = logging.INFO) -> None:
    """Send koilo's messages to the terminal, one short line each; safe to call again."""
    if any(isinstance(handler, _Terminal) for handler in log.handlers):
        return
    handler = _Terminal()
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.setLevel(level)
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Append everything, tracebacks and debug lines too, to ``path`` while the block runs."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.setLevel(logging.DEBUG)
    log.addHandler(handler)
    previous = log.level
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(previous)
        handler.close()


@contextmanager
def progress(title: str, total: float | None, *, unit: str = "") -> Iterator[Advance]:
    """Show how far a task is and when it will end; yields ``advance(amount)``.

    On a terminal a bar; elsewhere a plain line now and then, so that a log stays readable.
    """
    if sys.stderr.isatty():
        with _bar(title, total, unit) as advance:
            yield advance
    else:
        with _lines(title, total, unit) as advance:
            yield advance


@contextmanager
def _bar(title: str, total: float | None, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda amount: bar.advance(task, amount)


@contextmanager
def _lines(title: str, total: float | None, unit: str) -> Iterator[Advance]:
    started = said = time.monotonic()
    done = 0.0

    def advance(amount: float) -> None:
        nonlocal done, said
        done += amount
        now = time.monotonic()
        if now - said < _LINE_EVERY_S:
            return
        said = now
        if total:
            eta_s = (now - started) / max(done, 1e-9) * max(total - done, 0.0)
            log.info("%s: %g of %g %s, ETA %s", title, done, total, unit, clock(eta_s))
        else:
            log.info("%s: %g %s", title, done, unit)

    yield advance


def clock(seconds: float) -> str:
    """A duration as ``1:02:03`` or ``2:03``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
