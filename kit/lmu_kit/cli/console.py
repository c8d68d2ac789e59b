"""What commands print: text, tables, progress bars, one-line errors."""

import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lmu_hw.progress import Progress, silent

__all__ = ["Console", "console", "percent", "significant"]

GAP = "  "
"""Between the columns of a table."""


def significant(value: float) -> str:
    """Text of a number to four significant digits, large ones without an exponent."""
    return f"{float(f'{value:.4g}'):.12g}"


def percent(value: float | None, digits: int = 2) -> str:
    """Text of a share, 0 to 1, in percent; a dash if it is unknown."""
    return "-" if value is None else f"{100 * value:.{digits}f}"


class Console:
    """Prints to the standard output, or to the standard error where ``--json -`` takes the standard output.

    Attributes
    ----------
    quiet : bool
        Print errors only.
    to_stderr : bool
        Leave the standard output alone.
    """

    def __init__(self) -> None:
        self.quiet = False
        self.to_stderr = False

    @property
    def width(self) -> int:
        """Columns of the terminal; 80 if there is none."""
        return shutil.get_terminal_size((80, 24)).columns

    def print(self, text: str = "") -> None:
        """Print text; lines that are too long are broken between words, and keep their indentation."""
        for line in text.split("\n"):
            indent = line[: len(line) - len(line.lstrip())]
            broken = textwrap.wrap(
                line, self.width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
            )
            self._write("\n".join(broken))

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str] | None], title: str | None = None
    ) -> None:
        """Print a table, or a list of its rows where the table would be wider than the terminal.

        Parameters
        ----------
        columns : sequence of str
            Titles. The first column is text, the others are numbers.
        rows : sequence of (sequence of str or None)
            Cells; None draws a line.
        title : str, optional
            Above the table.
        """
        if title is not None:
            self.print(title)
        lines = [columns, *(row for row in rows if row is not None)]
        widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
        total = sum(widths) + len(GAP) * (len(widths) - 1)
        if total > self.width:
            self._list(columns, rows)
            return
        rule = "-" * total
        self._write(self._row(columns, widths))
        self._write(rule)
        for row in rows:
            self._write(rule if row is None else self._row(row, widths))

    def written(self, *paths: Path) -> None:
        """Say which files or folders were written, one on a line."""
        for path in paths:
            self._write(f"written: {path}{'/' if path.is_dir() else ''}")

    def error(self, message: str) -> None:
        """Print one error line."""
        print(f"lmu-hw: error: {message}", file=sys.stderr, flush=True)

    def warning(self, message: str) -> None:
        """Print one warning line."""
        print(f"lmu-hw: warning: {message}", file=sys.stderr, flush=True)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Show a bar on the standard error while work is done, if that is a terminal.

        Yields
        ------
        callable
            Called with the stage, the steps done, and all steps (0 if unknown).
        """
        if self.quiet or not sys.stderr.isatty():
            yield silent
            return
        from rich import progress as bars  # slow to import
        from rich.console import Console as Terminal

        elements = (
            bars.SpinnerColumn(), bars.TimeElapsedColumn(), bars.TextColumn("{task.description}", markup=False),
            bars.BarColumn(), bars.TextColumn("{task.fields[count]}"),
        )  # fmt: skip
        with bars.Progress(*elements, console=Terminal(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=None, count="")
            stage = ""

            def show(name: str, done: int, total: int) -> None:
                nonlocal stage
                if name != stage:
                    stage = name
                    bar.reset(task, description=name)
                count = f"{done} of {total}" if total else ""
                bar.update(task, completed=done, total=total or None, count=count)

            yield show

    @contextmanager
    def stage(self, title: str) -> Iterator[Progress]:
        """Show a bar while a step runs, and print how long it took when it is done."""
        start = time.perf_counter()
        with self.progress() as show:
            show(title, 0, 0)
            yield lambda name, done, total: show(f"{title}: {name}", done, total)
        self.print(f"done: {title} ({time.perf_counter() - start:.1f} s)")

    def _row(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        padded = [
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return GAP.join(padded).rstrip()

    def _list(self, columns: Sequence[str], rows: Sequence[Sequence[str] | None]) -> None:
        for row in rows:
            if row is None:
                continue
            self.print(row[0])
            pairs = [f"{name} {cell}".strip() for name, cell in zip(columns[1:], row[1:], strict=True) if cell]
            self.print("    " + "; ".join(pairs))

    def _write(self, line: str) -> None:
        if not self.quiet:
            print(line, file=sys.stderr if self.to_stderr else sys.stdout)


console = Console()
"""Of the running command."""
