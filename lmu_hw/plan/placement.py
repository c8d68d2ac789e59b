"""Which memory holds which vector, so that each memory needs only one port."""

from collections.abc import Mapping
from dataclasses import dataclass

from lmu_hw.model.operations import Vector
from lmu_hw.model.program import QuantizedLMU, QuantizedModel, QuantizedSeparable

__all__ = ["Location", "MemoryPlan", "place"]


@dataclass(frozen=True)
class MemoryPlan:
    """One physical memory with a single port: one read or one write in a cycle.

    Parameters
    ----------
    name : str
        Name in the Verilog.
    depth : int
        Words.
    width : int
        Bits of a word.
    signed : bool
        Whether a word is a signed integer (data memories only).
    kind : {"data", "weights", "parameters", "table", "output", "sums"}
        What it holds.
    index_bits : int
        Highest bits of a word, which say which weights the next word holds; 0 except in weight memories whose blocks
        are skipped.
    elements : int
        Elements of a word, element 0 in the low bits; above 1 only with `memories_at_once`.
    """

    name: str
    depth: int
    width: int
    signed: bool
    kind: str
    index_bits: int = 0
    elements: int = 1

    @property
    def bits(self) -> int:
        """Size in bits; a memory has at least two words."""
        return max(2, self.depth) * self.width

    @property
    def signed_width(self) -> int:
        """Bits of a signed number that holds every element."""
        return self.element_width if self.signed else self.element_width + 1

    @property
    def element_width(self) -> int:
        """Bits of an element."""
        return self.width // self.elements


@dataclass(frozen=True)
class Location:
    """Where a vector is stored.

    Parameters
    ----------
    memories : tuple of int
        Index of the data memory. A vector that is read while it is updated has two, which hold old and new in turn.
    base : int
        Address of the first element.
    frames : int
        Frames of a round that are kept (`lmu_hw.plan.rounds`). Of two memories, the first then holds frames with even
        numbers, the second the others.
    """

    memories: tuple[int, ...]
    base: int
    frames: int = 1

    @property
    def copies(self) -> int:
        """Words of each element in each memory: one for each frame that the memory holds, in order."""
        return max(1, self.frames // len(self.memories))


def place(
    model: QuantizedModel, known: dict[str, Vector], frames: Mapping[str, int], parts: int = 1
) -> tuple[tuple[MemoryPlan, ...], dict[str, Location]]:
    """Place every vector that is read, so that no memory is read and written in the same cycle.

    The memory states of all layers share two memories, old and new. Outputs of layers alternate between two memories. A
    hidden state that its own layer reads while computing the next one has two memories of its own. The inputs of the
    memories of all layers share one memory, and so do the outputs of the filters.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    known : dict of str to Vector
        Its vectors by name.
    frames : mapping of str to int
        Frames of each vector that are kept.
    parts : int
        Elements in a word of u and of the memory states.

    Returns
    -------
    memories : tuple of MemoryPlan
        The data memories.
    locations : dict of str to Location
        Of each vector that is read.
    """
    groups: dict[str, list[tuple[str, int]]] = {}
    sizes: dict[str, int] = {}
    pairs: dict[str, tuple[str, ...]] = {}
    bases: dict[str, int] = {}

    def put(name: str, into: tuple[str, ...], exclusive: bool) -> None:
        base = sizes.get(into[0], 0) if exclusive else 0
        pairs[name], bases[name] = into, base
        for memory in into:
            words = known[name].size * max(1, frames[name] // len(into))
            sizes[memory] = max(sizes.get(memory, 0), base + words)
            groups.setdefault(memory, []).append((name, base))

    put("x", ("x",), exclusive=False)
    kept = []
    for index, layer in enumerate(model.layers):
        name = f"layer{index}.h"
        if isinstance(layer, QuantizedLMU | QuantizedSeparable):
            if layer.u is not None:
                put(f"layer{index}.u", ("u",), exclusive=False)
            put(f"layer{index}.m", ("m0", "m1"), exclusive=True)
        if isinstance(layer, QuantizedSeparable):
            put(f"layer{index}.f", ("f",), exclusive=False)
        if isinstance(layer, QuantizedLMU):
            if layer.w_h is not None:
                put(name, (f"h{index}a", f"h{index}b"), exclusive=False)
                continue
            if layer.e_h is not None:
                kept.append((name, index))
                continue
        if index < len(model.layers) - 1:
            put(name, (f"h{index % 2}",), exclusive=False)
    for name, index in kept:
        put(name, (f"h{index % 2}",), exclusive=True)
    memories: list[MemoryPlan] = []
    order: dict[str, int] = {}
    for memory, contents in groups.items():
        formats = [known[name].format for name, _ in contents]
        signed = any(fmt.signed for fmt in formats)
        width = max(fmt.signed_width if signed else fmt.width for fmt in formats)
        order[memory] = len(memories)
        elements = parts if memory in ("u", "m0", "m1") else 1
        words = sizes[memory] // elements
        memories.append(MemoryPlan(memory, words, elements * width, signed, "data", elements=elements))
    locations = {
        name: Location(tuple(order[memory] for memory in into), bases[name], frames[name])
        for name, into in pairs.items()
    }
    return tuple(memories), locations
