"""Choose SRAM macros or flip-flops for a memory, by power.

A word that is wider than a macro is cut into slices side by side, a memory that is deeper into banks, of which an
access enables one; the others see the address move.
"""

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmu_hw.cells.library import Library
from lmu_hw.cells.memory_cost import Cost, MemoryUsage, flip_flop_cost, macro_cost, multiplexer_cost
from lmu_hw.cells.sram import Macro, find_macro

__all__ = ["Bank", "MacrosByDepth", "Tiling", "choose", "macros_by_depth", "tile", "tile_macros"]

MAX_BANKS = 8
"""Banks that a memory is cut into, unless the deepest macro needs more: their decoders and wires are not counted."""

NEAR = 1.1
"""The smallest of the tilings whose power is at most that many times the least is taken."""

MacrosByDepth = Mapping[int, Sequence[tuple[Macro, Cost]]]


@dataclass(frozen=True)
class Bank:
    """Words of a memory that share their macros.

    Parameters
    ----------
    start, words : int
        First word, a multiple of the macros' depth, and number of words.
    macros : tuple of Macro
        Side by side, lowest bits first; of the same depth.
    """

    start: int
    words: int
    macros: tuple[Macro, ...]


@dataclass(frozen=True)
class Tiling:
    """A memory made of macros.

    Parameters
    ----------
    depth, width : int
        Words, and bits of a word.
    banks : tuple of Bank
        Banks in the order of their words.
    cost : Cost
        Mean over all words; multiplexers between banks count, decoders do not.
    """

    depth: int
    width: int
    banks: tuple[Bank, ...]
    cost: Cost

    @property
    def counts(self) -> dict[str, int]:
        """Number of macros by cell."""
        counts: dict[str, int] = defaultdict(int)
        for bank in self.banks:
            for macro in bank.macros:
                counts[macro.cell] += 1
        return dict(sorted(counts.items()))


@functools.lru_cache(maxsize=4)
def macros_by_depth(library: Library) -> dict[int, tuple[tuple[Macro, Cost], ...]]:
    """Macros of a library with their costs, by depth."""
    by_depth: dict[int, list[tuple[Macro, Cost]]] = defaultdict(list)
    for cell in library.cells.values():
        macro = find_macro(cell)
        if macro is not None:
            by_depth[macro.depth].append((macro, macro_cost(cell, macro)))
    return {depth: tuple(kinds) for depth, kinds in by_depth.items()}


def _rows(width: int, kinds: Sequence[tuple[Macro, Cost]], usage: MemoryUsage) -> tuple[tuple[Macro, ...], Cost]:
    """Macros of one depth that hold a word of a width with the least power."""

    @functools.cache
    def best(bits: int, first: int) -> tuple[float, tuple[int, ...]]:
        if bits <= 0:
            return 0.0, ()
        options = []
        for index in range(first, len(kinds)):
            macro, cost = kinds[index]
            rest, chosen = best(bits - macro.width, index)
            options.append((cost.power(usage) + rest, (index, *chosen)))
        return min(options)

    chosen = best(width, 0)[1]
    return tuple(kinds[index][0] for index in chosen), functools.reduce(
        Cost.__add__, (kinds[index][1] for index in chosen)
    )


def tile(library: Library, depth: int, width: int, usage: MemoryUsage) -> Tiling | None:
    """Tile a memory with the macros of a library, by power, then by area.

    Parameters
    ----------
    library : Library
        Cells and macros.
    depth, width : int
        Words, and bits of a word, at least 1.
    usage : MemoryUsage
        How it will be used; all words alike.

    Returns
    -------
    Tiling or None
        The smallest of those whose mean power is at most 10 % above the least; None if the library has no macro of a
        known kind.
    """
    by_depth = macros_by_depth(library)
    return tile_macros(by_depth, multiplexer_cost(library, width), depth, width, usage) if by_depth else None


def tile_macros(by_depth: MacrosByDepth, extra: Cost, depth: int, width: int, usage: MemoryUsage) -> Tiling:
    """Find the best tiling of a memory with a set of macros.

    Parameters
    ----------
    by_depth : mapping of int to sequence of (Macro, Cost)
        Macros by their depth, at least one.
    extra : Cost
        Cost of one more bank at the read multiplexer.
    depth, width : int
        Words, and bits of a word, at least 1.
    usage : MemoryUsage
        How it will be used; all words alike.

    Returns
    -------
    Tiling
        The smallest of those whose mean power is at most 10 % above the least.
    """
    rows = {size: _rows(width, kinds, usage) for size, kinds in by_depth.items()}
    sizes = sorted(rows, reverse=True)

    def bank(words: int, size: int) -> Cost:
        cost = rows[size][1] if size >= depth else rows[size][1] + extra
        return cost.accessed(min(words, size) / depth)

    @functools.cache
    def best(words: int, first: int, banks: int) -> tuple[float, tuple[int, ...]]:
        """Power of the remaining words with banks no deeper than those before, and the depths of the banks."""
        if words <= 0:
            return 0.0, ()
        options = []
        for index in range(first, len(sizes)):
            size = sizes[index]
            if banks * size >= words:
                rest, chosen = best(words - size, index, banks - 1)
                options.append((bank(words, size).power(usage) + rest, (size, *chosen)))
        return min(options, default=(float("inf"), ()))

    def cut(banks: int) -> Tiling | None:
        """Best tiling with at most that many banks."""
        parts, start, cost = [], 0, Cost()
        for size in best(depth, 0, banks)[1]:
            parts.append(Bank(start, min(size, depth - start), rows[size][0]))
            cost += bank(depth - start, size)
            start += size
        return Tiling(depth, width, tuple(parts), cost) if parts else None

    most = max(MAX_BANKS, -(-depth // sizes[0]))
    tilings = [tiling for banks in range(1, most + 1) if (tiling := cut(banks)) is not None]
    least = min(tiling.cost.power(usage) for tiling in tilings)
    near = [tiling for tiling in tilings if tiling.cost.power(usage) <= NEAR * least]
    return min(near, key=lambda tiling: tiling.cost.area)


def choose(library: Library, depth: int, width: int, usage: MemoryUsage) -> tuple[Tiling | None, Cost]:
    """Choose macros or flip-flops for a memory.

    Parameters
    ----------
    library : Library
        Cells and macros.
    depth, width : int
        Words, and bits of a word.
    usage : MemoryUsage
        How it will be used.

    Returns
    -------
    tiling : Tiling or None
        None if flip-flops take less power, or the library has no macros.
    cost : Cost
        Cost of the choice.
    """
    flip_flops = flip_flop_cost(library, depth, width)
    tiling = tile(library, depth, width, usage)
    if tiling is None or flip_flops.power(usage) <= tiling.cost.power(usage):
        return None, flip_flops
    return tiling, tiling.cost
