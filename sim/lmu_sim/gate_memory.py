"""Words of a memory in a netlist, where it became flip-flops or macros."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.netlist import Netlist
from lmu_hw.cells.sram import find_macro
from lmu_sim.gate_nodes import GateError
from lmu_sim.gates import GateSimulator

__all__ = ["StoredMemory"]

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class _Part:
    """A macro that holds some words and bits of a memory: ``words`` from ``start``, bits from ``bit``."""

    instance: int
    start: int
    words: int
    bit: int
    width: int


class StoredMemory:
    """A writable memory of the design.

    Synthesis names the flip-flop of each bit ``PATH.cells[word][bit]``, or ``PATH.banks.bank0.cells[word][bit]`` with
    the word in its bank. A macro is found by the path of its instance, whose name ends with the numbers of its bank
    and of its slice in the bank.

    Parameters
    ----------
    netlist : Netlist
        The design.
    path : str
        Path of the instance that holds the memory.
    depth, width : int
        Words, and bits of a word.
    bank_words : int
        Words of a bank where the design cuts the memory into banks; 0 where it does not.

    Raises
    ------
    GateError
        If there is no such memory in the netlist.
    """

    def __init__(self, netlist: Netlist, path: str, depth: int, width: int, bank_words: int = 0):
        self.path, self.depth, self.width = path, depth, width
        self._parts = _parts(netlist, path)
        self._flops = {} if self._parts else _flops(netlist, path, depth, width, bank_words)
        if not self._parts and not self._flops:
            raise GateError(f"the netlist {netlist.top} has neither flip-flops nor macros of the memory {path}")

    def poke(
        self, simulator: GateSimulator, address: int, values: IntArray, runs: Iterable[int] | None = None
    ) -> None:
        """Change words, between cycles.

        Parameters
        ----------
        simulator : GateSimulator
            Of the netlist.
        address : int
            First word.
        values : ndarray of int64, shape (words,) or (words, runs)
            Unsigned or two's complement.
        runs : iterable of int, optional
            Runs to change; all if not given.

        Raises
        ------
        GateError
            If the memory has no such words.
        """
        words = np.asarray(values, dtype=np.int64)
        words = np.broadcast_to(words[:, None] if words.ndim == 1 else words, (len(words), simulator.runs))
        self.poke_bits(simulator, address, words[:, None, :] >> np.arange(self.width)[:, None] & 1, runs)

    def poke_bits(
        self, simulator: GateSimulator, address: int, bits: IntArray, runs: Iterable[int] | None = None
    ) -> None:
        """Change words of any width; `bits` has shape (words, width, runs), lowest bit first."""
        words = len(bits)
        if not 0 <= address <= address + words <= self.depth:
            raise GateError(f"{self.path} has {self.depth} words, not {words} from address {address} on")
        for part in self._parts:
            first, end = max(address, part.start), min(address + words, part.start + part.words)
            if first >= end:
                continue
            chosen = bits[first - address : end - address, part.bit : part.bit + part.width]
            padding = ((0, 0), (0, part.width - chosen.shape[1]), (0, 0))
            simulator.poke_macro(part.instance, first - part.start, np.pad(chosen, padding), runs)
        known = [(word, bit) for word in range(words) for bit in range(self.width)]
        known = [(word, bit) for word, bit in known if (address + word, bit) in self._flops]
        if known:
            nets = [self._flops[address + word, bit] for word, bit in known]
            simulator.poke(nets, np.array([bits[word, bit] for word, bit in known]), runs)

    def peek(self, simulator: GateSimulator, address: int, words: int) -> IntArray:
        """Read words, between cycles.

        Parameters
        ----------
        simulator : GateSimulator
            Of the netlist.
        address, words : int
            First word, and how many.

        Returns
        -------
        ndarray of int64, shape (words, runs)
            Unsigned; bits that synthesis removed are 0.
        """
        bits = np.zeros((words, self.width, simulator.runs), dtype=np.int64)
        for part in self._parts:
            first, end = max(address, part.start), min(address + words, part.start + part.words)
            if first < end:
                content = simulator.peek_macro(part.instance, first - part.start, end - first)
                used = min(part.width, self.width - part.bit)
                bits[first - address : end - address, part.bit : part.bit + used] = content[:, :used]
        positions = [(word, bit) for word, bit in self._flops if address <= word < address + words]
        if positions:
            values = simulator.peek([self._flops[position] for position in positions])
            for (word, bit), value in zip(positions, values, strict=True):
                bits[word - address, bit] = value
        return np.einsum("wbr,b->wr", bits, np.int64(1) << np.arange(self.width, dtype=np.int64))


def _flops(netlist: Netlist, path: str, depth: int, width: int, bank_words: int) -> dict[tuple[int, int], int]:
    """Net of each word and bit."""
    nets = {name: net for net, name in netlist.names.items() if name.startswith(f"{path}.")}
    flops = {}
    for word in range(max(2, depth)):
        for bit in range(width):
            cells = f"banks.bank{word // bank_words}.cells[{word % bank_words}]" if bank_words else f"cells[{word}]"
            name = f"{path}.{cells}" + (f"[{bit}]" if width > 1 else "")
            if name in nets:
                flops[word, bit] = nets[name]
    return flops


def _parts(netlist: Netlist, path: str) -> list[_Part]:
    """Macros of a memory, by bank and slice."""
    banks: dict[int, dict[int, tuple[int, int, int]]] = {}
    for index, instance in enumerate(netlist.instances):
        macro = None if instance.cell.memory is None else find_macro(instance.cell)
        if macro is None or not (instance.block == path or instance.block.startswith(f"{path}.")):
            continue
        numbers = re.findall(r"\d+", instance.name.rpartition(".")[2])
        if len(numbers) < 2:
            raise GateError(f"the name of the macro {instance.name} does not tell bank and slice")
        banks.setdefault(int(numbers[-2]), {})[int(numbers[-1])] = (index, macro.depth, macro.width)
    parts, start = [], 0
    for _, bank in sorted(banks.items()):
        bit, depth = 0, 0
        for _, (index, depth, width) in sorted(bank.items()):
            parts.append(_Part(index, start, depth, bit, width))
            bit += width
        start += depth
    return parts
