"""Words of a text file with their line numbers, for readers that name the line of what they refuse."""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from lmu_hw.files import FileTooLarge, read_unzipped

__all__ = ["FileFormatError", "Tokens", "read_plain_text"]

WORD = re.compile(r'"[^"]*"|;|[^\s;]+')

COMMENT = re.compile(r"(^|\s)#.*$")


class FileFormatError(ValueError):
    """A layout file (LEF, DEF, SPEF) cannot be read, or does not fit the netlist.

    Parameters
    ----------
    path : str or Path
        The file.
    line : int or None
        Line number from 1; None for the file as a whole.
    problem : str
        What is wrong.
    """

    def __init__(self, path: str | Path, line: int | None, problem: str):
        super().__init__(f"{path}: {problem}" if line is None else f"{path}:{line}: {problem}")
        self.path = Path(path)
        self.line = line
        self.problem = problem


def read_plain_text(path: str | Path) -> str:
    """Text of a file, plain or compressed with gzip.

    Raises
    ------
    FileFormatError
        If it cannot be opened, or is not text.
    """
    try:
        return read_unzipped(path).decode()
    except OSError as error:
        raise FileFormatError(path, None, f"cannot be read: {error.strerror or error}") from None
    except FileTooLarge as error:
        raise FileFormatError(path, None, str(error)) from None
    except (UnicodeDecodeError, EOFError, zlib.error):
        raise FileFormatError(path, None, "is not a text file") from None


class Tokens:
    """Words of a file in order. A semicolon is a word of its own; comments from ``#`` are left out.

    Parameters
    ----------
    path : str or Path
        The file, plain or compressed with gzip.
    comments : bool
        Whether ``#`` starts a comment.
    """

    def __init__(self, path: str | Path, *, comments: bool = True):
        self.path = Path(path)
        self._words: list[str] = []
        self._lines: list[int] = []
        for number, line in enumerate(read_plain_text(path).splitlines(), 1):
            words = WORD.findall(COMMENT.sub("", line) if comments else line)
            self._words += words
            self._lines += [number] * len(words)
        self._next = 0

    def __iter__(self) -> Iterator[str]:
        """Words from the present one on; those that a reader takes meanwhile are skipped."""
        while self._next < len(self._words):
            self._next += 1
            yield self._words[self._next - 1]

    @property
    def line(self) -> int | None:
        """Line of the word that was taken last."""
        return self._lines[min(max(self._next, 1), len(self._lines)) - 1] if self._lines else None

    def error(self, problem: str) -> FileFormatError:
        """An error at the word that was taken last."""
        return FileFormatError(self.path, self.line, problem)

    def peek(self) -> str:
        """Next word without taking it; empty at the end."""
        return self._words[self._next] if self._next < len(self._words) else ""

    def take(self, wanted: str = "") -> str:
        """Take the next word.

        Parameters
        ----------
        wanted : str
            The only word that is right here; any if empty.

        Raises
        ------
        FileFormatError
            If the file ends, or another word stands here.
        """
        if self._next >= len(self._words):
            raise self.error(f"the file ends where {wanted or 'more'} was expected")
        self._next += 1
        word = self._words[self._next - 1]
        if wanted and word != wanted:
            raise self.error(f"{wanted} was expected, not {word}")
        return word

    def number(self, what: str) -> float:
        """Take a number; `what` is its name in messages."""
        word = self.take()
        try:
            value = float(word)
        except ValueError:
            raise self.error(f"{what} must be a number, not {word}") from None
        if value != value or value in (float("inf"), float("-inf")):
            raise self.error(f"{what} must be finite, not {word}")
        return value

    def statement(self) -> list[str]:
        """Take the words up to the next semicolon, and the semicolon, which is left out."""
        words = []
        while (word := self.take()) != ";":
            words.append(word)
        return words

    def skip_to_end(self, name: str) -> None:
        """Take everything up to ``END name``; up to a bare ``END`` if the name is empty."""
        while True:
            if self.take() == "END" and (not name or self.peek() == name):
                if name:
                    self.take()
                return
