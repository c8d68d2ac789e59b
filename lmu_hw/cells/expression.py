"""Boolean expressions of Liberty files."""

import functools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Expression", "Tree"]

FloatArray = NDArray[np.float64]

Tree = tuple[Any, ...]
"""``("and" | "or" | "xor", left, right)``, ``("not", operand)``, ``("pin", name)``, ``("one",)`` or ``("zero",)``."""

TOKEN = re.compile(r"\s*([A-Za-z_][\w.]*(?:\[\d+\])?|[01]|[!'*&+|^()])")


MOST_PINS = 16
"""Pins of an expression. Its truth table doubles with each."""


class _Parser:
    """Recursive descent: or, and (also by juxtaposition), xor, not, weakest first."""

    def __init__(self, text: str):
        self.text = text
        self.tokens: list[str] = []
        position = 0
        stripped = text.rstrip()
        while position < len(stripped):
            match = TOKEN.match(stripped, position)
            if match is None:
                raise ValueError(f"cannot read the Liberty expression {text!r}")
            self.tokens.append(match[1])
            position = match.end()
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def either(self) -> Tree:
        tree = self.both()
        while self.peek() and self.peek() in "+|":
            self.take()
            tree = ("or", tree, self.both())
        return tree

    def both(self) -> Tree:
        tree = self.exclusive()
        while self.peek() and (self.peek() in "*&!(01" or self.peek()[0].isalpha() or self.peek()[0] == "_"):
            if self.peek() in "*&":
                self.take()
            tree = ("and", tree, self.exclusive())
        return tree

    def exclusive(self) -> Tree:
        tree = self.operand()
        while self.peek() == "^":
            self.take()
            tree = ("xor", tree, self.operand())
        return tree

    def operand(self) -> Tree:
        token = self.take()
        tree: Tree
        if token == "!":
            return ("not", self.operand())
        if token == "(":
            tree = self.either()
            if self.take() != ")":
                raise ValueError(f"a parenthesis is missing in the Liberty expression {self.text!r}")
        elif token in ("0", "1"):
            tree = ("one",) if token == "1" else ("zero",)
        elif token and (token[0].isalpha() or token[0] == "_"):
            tree = ("pin", token)
        else:
            raise ValueError(f"cannot read the Liberty expression {self.text!r}")
        while self.peek() == "'":
            self.take()
            tree = ("not", tree)
        return tree


@functools.cache
def _parse(text: str) -> Tree:
    parser = _Parser(text)
    tree = parser.either()
    if parser.peek():
        raise ValueError(f"cannot read the Liberty expression {text!r}")
    if len(_names(tree)) > MOST_PINS:
        raise ValueError(f"a Liberty expression has {len(_names(tree))} pins; at most {MOST_PINS} are read")
    return tree


def _names(tree: Tree) -> tuple[str, ...]:
    if tree[0] == "pin":
        return (str(tree[1]),)
    names: dict[str, None] = {}
    for part in tree[1:]:
        names.update(dict.fromkeys(_names(part)))
    return tuple(names)


def _evaluate(tree: Tree, values: Mapping[str, int], ones: int) -> int:
    """Value of a tree on bit masks: bit ``k`` of each mask belongs to case ``k``."""
    kind = tree[0]
    if kind == "pin":
        return values[str(tree[1])]
    parts = [_evaluate(part, values, ones) for part in tree[1:]]
    match kind:
        case "not":
            return parts[0] ^ ones
        case "and":
            return parts[0] & parts[1]
        case "or":
            return parts[0] | parts[1]
        case "xor":
            return parts[0] ^ parts[1]
        case "one":
            return ones
        case _:
            return 0


@functools.cache
def _truth(text: str) -> tuple[tuple[str, ...], int]:
    """Pins of an expression, and its truth table: bit ``k`` is its value where pin ``i`` has bit ``i`` of ``k``."""
    tree = _parse(text)
    names = _names(tree)
    rows = 1 << len(names)
    ones = (1 << rows) - 1
    columns = {}
    for index, name in enumerate(names):
        block = ((1 << (1 << index)) - 1) << (1 << index)
        columns[name] = sum(block << start for start in range(0, rows, 2 << index))
    return names, _evaluate(tree, columns, ones)


def _probability(truth: int, duties: list[FloatArray]) -> FloatArray:
    """Probability of a truth table's ones, pins independent: Shannon's expansion on the last pin."""
    rows = 1 << len(duties)
    if truth == 0:
        return np.zeros(())
    if truth == (1 << rows) - 1:
        return np.ones(())
    half = rows // 2
    low, high = truth & ((1 << half) - 1), truth >> half
    duty = duties[-1]
    if low == high:
        return _probability(low, duties[:-1])
    return (1 - duty) * _probability(low, duties[:-1]) + duty * _probability(high, duties[:-1])


class Expression:
    """A Boolean function of pins, as Liberty writes it.

    Parameters
    ----------
    text : str
        Operators ``! ' * & + | ^``, juxtaposition for "and", parentheses, ``0`` and ``1``.

    Raises
    ------
    ValueError
        On the first use, if the text is not such an expression.
    """

    __slots__ = ("text",)

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    @property
    def tree(self) -> Tree:
        """Operators and pins as nested tuples."""
        return _parse(self.text)

    @property
    def pins(self) -> tuple[str, ...]:
        """Names of the pins, in order of appearance."""
        return _truth(self.text)[0]

    @property
    def truth(self) -> int:
        """Truth table: bit ``k`` is the value where pin ``i`` of `pins` has bit ``i`` of ``k``."""
        return _truth(self.text)[1]

    def probability(self, duty: Mapping[str, FloatArray]) -> FloatArray:
        """Probability of being true, pins taken as independent of each other.

        Parameters
        ----------
        duty : mapping of str to ndarray of float64
            Probability of a one, by pin.

        Returns
        -------
        ndarray of float64
            In the shape of the duties (or a scalar array, for a constant).
        """
        names, truth = _truth(self.text)
        return _probability(truth, [duty[name] for name in names])

    def sensitivity(self, pin: str, duty: Mapping[str, FloatArray]) -> FloatArray:
        """Probability that a change of one pin changes the value (the Boolean difference), pins independent.

        Parameters
        ----------
        pin : str
            One of `pins`.
        duty : mapping of str to ndarray of float64
            Probability of a one, by pin.

        Returns
        -------
        ndarray of float64
            As of `probability`.
        """
        names, truth = _truth(self.text)
        index = names.index(pin)
        low = high = 0
        for row in range(1 << (len(names) - 1)):
            below = row & ((1 << index) - 1)
            full = ((row >> index) << (index + 1)) | below
            low |= (truth >> full & 1) << row
            high |= (truth >> (full | 1 << index) & 1) << row
        return _probability(low ^ high, [duty[name] for name in names if name != pin])
