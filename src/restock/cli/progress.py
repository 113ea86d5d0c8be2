"""How far a long command is: a bar where a person looks, plain lines where not.

Always on standard error, so that standard output stays what was asked for.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY = 10.0  # seconds between plain lines


class Steps(Protocol):
    """What a phase of the work reports to."""

    def done(self, steps: int = 1) -> None:
        """So many more steps are done."""

    def note(self, text: str) -> None:
        """What besides the count is worth showing now."""


@contextmanager
def phase(title: str, total: int) -> Iterator[Steps]:
    """Show one phase of `total` steps until it ends."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console, refresh_per_second=5) as progress:
            yield _Bar(progress, progress.add_task(title, total=total, note=""))
    else:
        lines = _Lines(title, total)
        yield lines
        lines.end()


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def done(self, steps: int = 1) -> None:
        self._progress.advance(self._task, steps)

    def note(self, text: str) -> None:
        self._progress.update(self._task, note=text)


class _Lines:
    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._total = total
        self._done = 0
        self._note = ""
        self._said_at = time.monotonic()

    def done(self, steps: int = 1) -> None:
        self._done += steps
        if time.monotonic() - self._said_at >= LINE_EVERY:
            self._say()

    def note(self, text: str) -> None:
        self._note = text

    def end(self) -> None:
        self._say()

    def _say(self) -> None:
        self._said_at = time.monotonic()
        more = f" ({self._note})" if self._note else ""
        click.echo(f"{self._title}: {self._done} of {self._total}{more}", err=True)
