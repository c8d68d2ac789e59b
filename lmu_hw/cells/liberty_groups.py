"""Take the text of a Liberty file apart: groups, attributes, numbers, each with its line."""

import math
import re
from collections.abc import Iterator

from lmu_hw.cells.library import LibertyFileError

__all__ = ["LibertyGroup", "parse_groups"]

STATEMENT = re.compile(
    r"[\s;]*+(?:"
    r"(?P<end>\})"
    r"|(?P<name>[A-Za-z_]\w*+)\s*+(?:"
    r"\((?P<arguments>(?:[^()\"]++|\"[^\"]*+\")*+)\)\s*+(?P<open>\{)?"
    r"|:\s*+(?:\"(?P<quoted>[^\"]*+)\"|(?P<plain>[^;{}\n\"]*+))"
    r"))"
)

COMMENT = re.compile(r"(\"[^\"]*+\")|(/\*.*?\*/)|(/\*)|//[^\n]*+", re.DOTALL)

CONTINUATION = re.compile(r"\\[ \t]*\r?\n")

CONTINUED = "\v"
"""Stands for a line break that does not end a statement, so that lines can still be counted."""


class LibertyGroup:
    """A Liberty group: attributes by name (the last one counts), and inner groups in order.

    Parameters
    ----------
    kind : str
        Word in front of the parentheses, such as ``cell``.
    arguments : str
        Text in the parentheses.
    where : str
        Name of the file.
    line : int
        Line number from 1.
    """

    __slots__ = ("arguments", "attributes", "calls", "groups", "kind", "line", "where")

    def __init__(self, kind: str, arguments: str, where: str, line: int):
        self.kind = kind
        self.arguments = arguments
        self.where = where
        self.line = line
        self.attributes: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []
        self.groups: list[LibertyGroup] = []

    @property
    def names(self) -> list[str]:
        """Arguments of the group, without quotes."""
        return [part.strip().strip('"').strip() for part in self.arguments.split(",")]

    def error(self, problem: str) -> LibertyFileError:
        """An error at this group."""
        return LibertyFileError(self.where, self.line, f"{self.kind} ({self.arguments.strip()}): {problem}")

    def all(self, *kinds: str) -> "Iterator[LibertyGroup]":
        """Inner groups of some kinds."""
        return (group for group in self.groups if group.kind in kinds)

    def only(self, kind: str) -> "LibertyGroup | None":
        """The only inner group of a kind, None without it; `LibertyFileError` if there are more."""
        groups = list(self.all(kind))
        if len(groups) > 1:
            raise groups[1].error(f"is the second {kind} where one was expected")
        return groups[0] if groups else None

    def get(self, name: str) -> str:
        """Text of an attribute, empty without it."""
        return self.attributes.get(name, "")

    def number(self, name: str) -> float | None:
        """Finite number of an attribute, None without it."""
        text = self.attributes.get(name)
        return None if text is None or not text.strip() else self.parse_number(name, text)

    def parse_number(self, name: str, text: str) -> float:
        """Finite number that a text is; `name` is what messages call it."""
        try:
            value = float(text.strip().strip('"'))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(f"{name} must be a finite number, not {text.strip()!r}")
        return value

    def integer(self, name: str, low: int, high: int) -> int:
        """Integer of an attribute that must be there; `low` and `high` are the ends of what is allowed."""
        text = self.get(name).strip()
        if re.fullmatch(r"[0-9]{1,9}", text) is None or not low <= int(text) <= high:
            raise self.error(f"{name} must be an integer in {low} to {high}, not {text!r}")
        return int(text)

    def flag(self, name: str) -> bool:
        """Whether an attribute is true."""
        return self.get(name).strip().lower() == "true"


def parse_groups(text: str, where: str) -> LibertyGroup:
    """Read the text of a Liberty file into groups.

    Parameters
    ----------
    text : str
        The whole file.
    where : str
        Name of the file, for errors.

    Returns
    -------
    LibertyGroup
        The library group.

    Raises
    ------
    LibertyFileError
        If the text is not Liberty, or has no library group or more than one.
    """
    text = _without_comments(CONTINUATION.sub(CONTINUED, text.removeprefix("\ufeff")), where)
    root = LibertyGroup("", "", where, 1)
    stack = [root]
    position, line = 0, 1
    while match := STATEMENT.match(text, position):
        start, position = position, match.end()
        if match["end"]:
            stack.pop()
            if not stack:
                break
        elif match["open"]:
            line += _lines(text, start, match.start("name"))
            group = LibertyGroup(match["name"], _joined(match["arguments"]), where, line)
            line += _lines(text, match.start("name"), position)
            stack[-1].groups.append(group)
            stack.append(group)
            continue
        elif match["arguments"] is not None:
            arguments = _joined(match["arguments"])
            stack[-1].attributes[match["name"]] = arguments
            stack[-1].calls.append((match["name"], arguments))
        else:
            quoted = match["quoted"]
            stack[-1].attributes[match["name"]] = _joined(match["plain"] if quoted is None else quoted).strip()
        line += _lines(text, start, position)
    rest = text[position:].strip(" \t\r\n\v;")
    if rest or len(stack) != 1:
        line = 1 + _lines(text, 0, position)
        open_group = f" in {stack[-1].kind} ({stack[-1].arguments.strip()})" if len(stack) > 1 else ""
        found = repr(rest[:40]) if rest else "the end of the file"
        problem = f"is not a Liberty file that can be read: a statement{open_group} was expected, not {found}"
        raise LibertyFileError(where, line, problem)
    library = root.only("library")
    if library is None:
        raise LibertyFileError(where, None, "has no library group")
    return library


def _without_comments(text: str, where: str) -> str:
    """The text with a blank in the place of every comment, and as many lines; strings are left as they are."""
    if "/*" not in text and "//" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        if match[1] is not None:
            return match[1]
        if match[3] is not None:
            raise LibertyFileError(where, 1 + _lines(text, 0, match.start()), "a comment has no end")
        return " " + CONTINUED * _lines(text, match.start(), match.end())

    return COMMENT.sub(replace, text)


def _joined(text: str) -> str:
    return text.replace(CONTINUED, " ")


def _lines(text: str, start: int, end: int) -> int:
    return text.count("\n", start, end) + text.count(CONTINUED, start, end)
