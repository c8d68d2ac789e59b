"""What commands print with: one console, progress bars, tables, one-line errors."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

__all__ = ["CommandError", "console", "fail", "print_saturated", "progress", "significant", "stage", "stages", "table"]

console = Console(highlight=False, soft_wrap=True)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)

POLL_S = 0.5
"""How often a stage looks what it is doing."""


def significant(value: float) -> str:
    """Text of a number to four significant digits, large ones without an exponent."""
    return f"{float(f'{value:.4g}'):.12g}"


class CommandError(RuntimeError):
    """A command cannot do what it was asked to, or a check failed.

    Parameters
    ----------
    message : str
        For the user, one line.
    result : dict, optional
        Of a check that failed: what ``--json`` writes all the same.
    """

    def __init__(self, message: str, result: dict[str, Any] | None = None):
        super().__init__(message)
        self.result = result


def fail(message: str) -> int:
    """Print one error line; the exit status."""
    _errors.print(f"lmu-hw: error: {message}", style="red", markup=False)
    return 1


def _bar(*columns: ProgressColumn) -> Progress:
    return Progress(
        SpinnerColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        *columns,
        console=_errors,
        transient=True,
        disable=not _errors.is_terminal,
    )


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
    columns = () if total is None else (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _bar(*columns) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar that changes its title, while several steps run one after the other.

    Yields
    ------
    callable
        Takes the name of a step, how much of it is done, and of how much.
    """
    with _bar(BarColumn(), MofNCompleteColumn()) as bar:
        task = bar.add_task("")
        yield lambda title, done, total: bar.update(task, description=title, completed=done, total=total)


@contextmanager
def stage(title: str, look: Callable[[], str] | None = None) -> Iterator[None]:
    """Name a step, and print how long it took when it is done.

    Parameters
    ----------
    title : str
        What is done.
    look : callable, optional
        Says what is being done right now; asked now and then, on a terminal only.
    """
    start = time.perf_counter()
    ended = threading.Event()
    with _bar() as bar:
        task = bar.add_task(title, total=None)

        def follow() -> None:
            while look is not None and not ended.wait(POLL_S):
                bar.update(task, description=f"{title}: {look()}")

        watcher = threading.Thread(target=follow, daemon=True)
        if look is not None and _errors.is_terminal:
            watcher.start()
        try:
            yield
        finally:
            ended.set()
            if watcher.ident is not None:
                watcher.join()
    console.print("[green]done[/green]  ", end="")
    console.print(f"{title} ({time.perf_counter() - start:.1f} s)", markup=False)


def table(*columns: str, title: str | None = None) -> Table:
    """Make a table; the first column is text, the others numbers."""
    made = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index == 0 else "right")
    return made


def print_saturated(counts: dict[str, int]) -> None:
    """Print how many elements of each vector were clipped or wrapped; only of vectors that have any."""
    shown = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    console.print(f"saturated elements: {shown or 'none'}", markup=False)
