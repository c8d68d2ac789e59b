"""What commands print with: one console, progress bars, tables, one-line errors."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

__all__ = ["CommandError", "console", "fail", "progress", "stage", "table"]

console = Console(highlight=False, soft_wrap=True)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)


class CommandError(RuntimeError):
    """A command cannot do what it was asked to; the message is for the user."""


def fail(message: str) -> int:
    """Print one error line; the exit status."""
    _errors.print(f"lmu-hw: error: {message}", style="red", markup=False)
    return 1


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show a bar (or a spinner without `total`) while something runs.

    Parameters
    ----------
    title : str
        What is done.
    total : int, optional
        Steps in all.

    Yields
    ------
    callable
        Takes the number of steps done so far.
    """
    columns = [SpinnerColumn(), TextColumn("{task.description}")]
    if total is not None:
        columns += [BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(
        *columns, TimeElapsedColumn(), console=_errors, transient=True, disable=not _errors.is_terminal
    ) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def stage(title: str) -> Iterator[None]:
    """Name a step, and print how long it took when it is done."""
    start = time.perf_counter()
    with progress(title):
        yield
    console.print(f"[green]done[/green]  {title} ({time.perf_counter() - start:.1f} s)")


def table(*columns: str, title: str | None = None) -> Table:
    """Make a table; the first column is text, the others numbers."""
    made = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index == 0 else "right")
    return made
