"""Count what the energy, leakage and area of each row of an accelerator grow with, from its plan.

Each function gives counts by row and feature. A table of a technology holds the joule, watt or square micrometre of
each.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lmu_hw.flows.rows import LEAST_BITS, ROW_WORDS
from lmu_hw.plan.placement import MemoryPlan
from lmu_hw.plan.plan import Plan
from lmu_hw.plan.schedule import PlannedTerm
from lmu_hw.power.feature_names import Feature, FeatureCounts
from lmu_hw.power.memory_use import FrameAccesses, accesses, is_constant, row_of_memory
from lmu_hw.power.rates import Nonzero, Rates, issues, term_products, weight_toggles
from lmu_hw.power.report import CLOCK_TREE

__all__ = [
    "MEMORY_ROWS",
    "cycle_counts",
    "frame_counts",
    "running_cycles",
    "size_counts",
]

MAP_WORD = 16
"""Bits that share a clock gate, of those that tell which elements are zero."""

MEMORY_ROWS = ("weight memory", "state memory", "interface", "finish")
"""Rows with memories that may be made of flip-flops."""

SHARING = 0.75
"""Area of a constant memory grows with this power of the number of rare bits of a column, as minterms are shared."""


def _rare_bits(words: list[int], width: int, power: float) -> float:
    """Sum over the columns of the words: the number of ones or zeros, whichever is rarer, to a power."""
    if not words:
        return 0.0
    size = -(-width // 8)
    octets = np.frombuffer(b"".join(word.to_bytes(size, "little") for word in words), dtype=np.uint8)
    ones = np.unpackbits(octets.reshape(-1, size), axis=1, bitorder="little")[:, :width].sum(axis=0, dtype=np.int64)
    return float((np.minimum(ones, len(words) - ones).astype(np.float64) ** power).sum())


@dataclass(frozen=True)
class _Constant:
    """A constant memory as logic.

    ``switched`` and ``placed`` say how much logic there is, for energy and for size. ``step`` is the number of words
    after which it moves, because a large memory is cut into the words of a row (`lmu_hw.flows.rows`). Of ``banks`` with
    ``words`` words each one moves, and ``switched`` is the mean of theirs. ``held`` bits are in registers.
    """

    switched: float
    placed: float
    step: int
    words: int
    banks: int
    held: int


@functools.lru_cache(maxsize=4)
def _constants(plan: Plan) -> dict[str, _Constant]:
    """Every constant memory by its name."""
    images, constants = plan.images(), {}
    for memory in plan.memories:
        if is_constant(plan, memory):
            size = plan.config.bank_words if memory.kind == "weights" else 0
            step = ROW_WORDS if not size and memory.bits >= LEAST_BITS else 1
            words = images[memory.name]
            banks = [words[first : first + size] for first in range(0, len(words), size)] if size else [words]
            parts = [bank[first::step] for bank in banks for first in range(step)]
            switched, placed = (
                sum(_rare_bits(part, memory.width, power) for part in parts) for power in (1.0, SHARING)
            )
            depth = min(size, memory.depth) if size else memory.depth
            held = len(banks) * (depth - 1).bit_length() if size else memory.width
            constants[memory.name] = _Constant(switched / len(banks), placed, step, depth, len(banks), held)
    return constants


def _flip_flops(plan: Plan, built_of: Mapping[str, str], row: str) -> list[MemoryPlan]:
    """Memories of a row that are made of flip-flops."""
    return [
        memory
        for memory in plan.memories
        if built_of[memory.name] == "flip-flops" and row_of_memory(memory) == row
    ]


def _summed(plan: Plan, nonzero: Nonzero) -> Iterator[tuple[str, PlannedTerm, int, int, float]]:
    """Every term of every row group that is summed in a stride period.

    Weight memory, term, how often it runs in a frame, words that it has, and how many of them are read.
    """
    for frame in range(plan.rounds):
        for planned in plan.schedule.executed(frame):
            name, repeat = plan.weight_memories[planned.weight_memory].name, planned.operation.repeat
            for group in range(planned.groups):
                counts = term_products(planned, group, nonzero)
                for term, count in zip(planned.terms, counts, strict=True):
                    yield name, term, repeat, len(term.columns[group]), count


def _row_moves(plan: Plan, nonzero: Nonzero) -> dict[str, float]:
    """How often the logic of each constant weight memory moves in a frame: once for each row of words that is read.

    Words that are left out are taken to be spread evenly, so that a row of ``s`` words of which a part ``p`` is read
    moves with the probability ``1 - (1 - p) ** s``.
    """
    logic = _constants(plan)
    moves = dict.fromkeys((memory.name for memory in plan.weight_memories), 0.0)
    for name, _, repeat, words, count in _summed(plan, nonzero):
        step = logic[name].step if name in logic else 1
        moves[name] += repeat * (words / step * (1 - (1 - count / words) ** step))
    return {name: moved / plan.rounds for name, moved in moves.items()}


def _searched(plan: Plan, nonzero: Nonzero) -> dict[str, float]:
    """Reads of each weight memory per frame whose element was searched for, so that words are left out."""
    reads = dict.fromkeys((memory.name for memory in plan.weight_memories), 0.0)
    for name, term, repeat, _, count in _summed(plan, nonzero):
        if term.skips:
            reads[name] += repeat * count
    return {name: count / plan.rounds for name, count in reads.items()}


def _multiplied(plan: Plan) -> tuple[float, float]:
    """Bits of weights that take part in a product, of all lanes: in the mean of the products of a frame, and at most.

    Upper parts of multipliers that are cut in two rest while weights are narrow.
    """
    lanes = plan.lane_plan
    narrow, upper = plan.lanes * (lanes.narrow + 1), lanes.wide_lanes * (lanes.wide - lanes.narrow)
    executed = [planned for frame in range(plan.period) for planned in plan.schedule.executed(frame)]
    words = [planned.operation.repeat * planned.words for planned in executed]
    wide = sum(count for count, planned in zip(words, executed, strict=True) if lanes.is_wide[planned.weight_memory])
    return narrow + wide / sum(words) * upper, narrow + upper


def _map_depth(plan: Plan) -> int:
    """Bits that one search goes over."""
    return max((plan.data_memories[index].depth for index in plan.skipping_memories), default=0)


def _bank(plan: Plan, memory: MemoryPlan) -> int:
    """Words of which an access moves one, of a memory of flip-flops."""
    return min(plan.register_bank(memory) or memory.depth, memory.depth)


def _register_banks(plan: Plan) -> dict[str, int]:
    """Banks of each memory that is cut into banks of registers."""
    sizes = {memory.name: plan.register_bank(memory) for memory in plan.data_memories}
    return {memory.name: -(-memory.depth // sizes[memory.name]) for memory in plan.data_memories if sizes[memory.name]}


def _state_banked(plan: Plan, uses: Mapping[str, float]) -> dict[Feature, float]:
    """Bits that are selected from banks of registers, of memories that are used so often; nothing without them."""
    banks = _register_banks(plan)
    widths = {memory.name: memory.width for memory in plan.data_memories}
    bits = sum(uses[name] * widths[name] * (count - 1) for name, count in banks.items())
    return {Feature.REGISTER_BANK_BITS: bits} if banks else {}


def _gated_words(plan: Plan, built_of: Mapping[str, str]) -> dict[str, int]:
    """Words with a clock gate of their own, by memory: of flip-flops, of bits that tell which are zero, and banks."""
    words = {memory.name: memory.depth for memory in plan.memories if built_of[memory.name] == "flip-flops"}
    if plan.config.gate_blocks:
        words |= {name: words[name] + count for name, count in _register_banks(plan).items()}
    if plan.config.bank_words:
        logic = _constants(plan)
        words |= {memory.name: logic[memory.name].banks for memory in plan.weight_memories}
    return words


def _map_words(plan: Plan) -> dict[str, int]:
    """Words of the bits that tell which elements are zero, by memory."""
    return {plan.data_memories[index].name: -(-plan.data_memories[index].depth // MAP_WORD)
            for index in plan.skipping_memories}  # fmt: skip


def running_cycles(plan: Plan, nonzero: Nonzero) -> float:
    """Cycles of a frame in which the clock runs: all of them, or with `stop_clock` those in which there is work."""
    if not plan.config.stop_clock:
        return plan.cycles_per_frame
    return plan.cycles_per_frame - issues(plan) + issues(plan, nonzero)


def _clocked_words(plan: Plan, built_of: Mapping[str, str], used: Mapping[str, FrameAccesses], cycles: float) -> float:
    """Cycles of a frame times the gated words that get a clock: with `gate_blocks` only those of a memory in use."""
    if not plan.config.gate_blocks:
        return cycles * (sum(_gated_words(plan, built_of).values()) + sum(_map_words(plan).values()))
    banked = _register_banks(plan)
    words = sum(
        (used[name].reads + used[name].writes) * size
        for name, size in _gated_words(plan, built_of).items()
        if name not in banked
    )
    bank = {memory.name: _bank(plan, memory) for memory in plan.data_memories}
    for name, count in banked.items():  # a write opens the gate before the banks, and that of one of them
        words += used[name].writes * (count + bank[name])
    return words + sum(used[name].writes for name in _map_words(plan)) * sum(_map_words(plan).values())


def _banked(plan: Plan, uses: Mapping[str, float]) -> dict[Feature, float]:
    """Bits that are selected from banks, of memories that are used so often; nothing without banks."""
    if not plan.config.bank_words:
        return {}
    logic = _constants(plan)
    widths = {memory.name: memory.width for memory in plan.weight_memories}
    return {Feature.BANK_BITS: sum(count * widths[name] * (logic[name].banks - 1) for name, count in uses.items())}


def _clocked_bits(plan: Plan, memory: MemoryPlan) -> float:
    """Registers that a read of a memory clocks: of the word, or of an address within a bank and that of the bank."""
    if plan.register_bank(memory):
        return (memory.depth - 1).bit_length()
    if not plan.config.bank_words or memory.kind != "weights":
        return memory.width
    return (memory.depth - 1).bit_length()


@dataclass(frozen=True, eq=False)
class _FrameUse:
    """How a frame uses the parts of an accelerator.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    rates : Rates
        Changes of operands, products and sums.
    built_of : mapping of str to str
        Kind of cells that each memory is made of.
    accessed : dict of str to FrameAccesses
        Accesses of every memory.
    logic : dict of str to _Constant
        Constant memories.
    cycles, issued : float
        Cycles in which the clock runs, and those in which products are issued.
    searched : dict of str to float
        Reads of each weight memory whose element was searched for.
    """

    plan: Plan
    rates: Rates
    built_of: Mapping[str, str]
    accessed: dict[str, FrameAccesses]
    logic: dict[str, _Constant]
    cycles: float
    issued: float
    searched: dict[str, float]

    @property
    def sum_bits(self) -> float:
        """Products times the bits of the sums that they are added to."""
        return self.issued * self.plan.lanes * self.plan.accumulator_width

    def weight_memory(self) -> dict[Feature, float]:
        """Counts of the row ``weight memory``, without flip-flops."""
        plan, accessed, logic = self.plan, self.accessed, self.logic
        every = accesses(plan) if plan.skipping_memories else accessed
        toggles, moves = weight_toggles(plan), _row_moves(plan, self.rates.nonzero)
        constant = [memory for memory in plan.weight_memories if is_constant(plan, memory)]
        return {
            Feature.CHANGED_WORD_BITS: sum(
                toggles[memory.name] * accessed[memory.name].reads / every[memory.name].reads for memory in constant
            ),
            Feature.MOVES_BY_LOGIC: sum(moves[memory.name] * logic[memory.name].switched for memory in constant),
            Feature.MOVES_BY_WORDS: sum(moves[memory.name] * logic[memory.name].words for memory in constant),
            Feature.SEARCHED_BITS: sum(self.searched[memory.name] * memory.width for memory in constant),
            Feature.ROW_BITS: sum(
                accessed[memory.name].reads * memory.width for memory in constant if logic[memory.name].step > 1
            ),
            **_banked(plan, {memory.name: accessed[memory.name].reads for memory in constant}),
        }

    def multipliers(self) -> dict[Feature, float]:
        """Counts of the row ``multipliers``."""
        return {
            Feature.CHANGED_PRODUCT_BITS: self.rates.product,
            Feature.CHANGED_SUM_BITS: self.rates.total,
            Feature.CHANGED_OPERAND_BITS_BY_WEIGHT_BITS: self.rates.operand * _multiplied(self.plan)[0],
        }

    def accumulators(self) -> dict[Feature, float]:
        """Counts of the row ``accumulators``."""
        return {
            Feature.CHANGED_SUM_BITS: self.rates.total,
            Feature.CHANGED_PRODUCT_BITS: self.rates.product,
            Feature.PRODUCTS_BY_SUM_BITS: self.sum_bits,
        }

    def finish(self) -> dict[Feature, float]:
        """Counts of the row ``finish``, without flip-flops."""
        parameters = self.plan.parameters.name
        rows = self.accessed[parameters].reads
        logic = self.logic[parameters].switched if parameters in self.logic else 0.0
        return {
            Feature.CYCLES: self.cycles,
            Feature.ELEMENTS: rows,
            Feature.ELEMENTS_BY_PARAMETER_LOGIC: rows * logic,
        }

    def control(self) -> dict[Feature, float]:
        """Counts of the row ``control``."""
        return {
            Feature.CYCLES: self.cycles,
            Feature.PRODUCTS_BY_WEIGHT_BITS: self.issued * (self.plan.lanes * max(self.plan.weight_widths)),
            Feature.SEARCHES_BY_MAP_BITS: sum(self.searched.values()) * _map_depth(self.plan),
        }

    def clock(self) -> dict[Feature, float]:
        """Counts of the row ``clock``."""
        held = [memory for memory in self.plan.memories if self.built_of[memory.name] != "macros"]
        return {
            Feature.CYCLES: self.cycles,
            Feature.CYCLES_BY_GATED_WORDS: _clocked_words(self.plan, self.built_of, self.accessed, self.cycles),
            Feature.PRODUCTS_BY_SUM_BITS: self.sum_bits,
            Feature.READ_BITS: sum(
                self.accessed[memory.name].reads * _clocked_bits(self.plan, memory) for memory in held
            ),
        }

    def flip_flops(self, row: str) -> dict[Feature, float]:
        """Counts of the memories of a row that are made of flip-flops."""
        memories = _flip_flops(self.plan, self.built_of, row)
        moved = [memory for memory in memories if not self.plan.register_bank(memory)]
        bits = {memory.name: memory.width * _bank(self.plan, memory) for memory in memories}
        return {
            Feature.PRODUCTS_BY_FLIP_FLOP_WORDS: self.issued
            * sum(memory.width * memory.depth**SHARING for memory in moved),
            Feature.FLIP_FLOP_READS: sum(self.accessed[name].reads * size for name, size in bits.items()),
            Feature.FLIP_FLOP_WRITES: sum(self.accessed[name].writes * size for name, size in bits.items()),
        }


def frame_counts(plan: Plan, rates: Rates, built_of: Mapping[str, str]) -> FeatureCounts:
    """Count what the dynamic energy of a frame grows with, from its first cycle to its last.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    rates : Rates
        Changes of operands, products and sums.
    built_of : mapping of str to {"logic", "flip-flops", "macros"}
        Kind of cells that each memory is made of. The energy of macros is not included.

    Returns
    -------
    dict of str to dict of Feature to float
        Counts per frame, by row.
    """
    use = _FrameUse(
        plan=plan,
        rates=rates,
        built_of=built_of,
        accessed=accesses(plan, rates.nonzero),
        logic=_constants(plan),
        cycles=running_cycles(plan, rates.nonzero),
        issued=issues(plan, rates.nonzero),
        searched=_searched(plan, rates.nonzero),
    )
    counts: FeatureCounts = {
        "weight memory": use.weight_memory(),
        "state memory": {},
        "multipliers": use.multipliers(),
        "accumulators": use.accumulators(),
        "finish": use.finish(),
        "control": use.control(),
        "interface": {Feature.CYCLES: use.cycles, Feature.INPUTS: float(plan.model.inputs)},
        "clock": use.clock(),
    }
    for row in MEMORY_ROWS:
        counts[row] |= use.flip_flops(row)
    reads = {memory.name: use.accessed[memory.name].reads for memory in plan.data_memories}
    counts["state memory"] |= _state_banked(plan, reads)
    counts[CLOCK_TREE] = dict(counts["clock"])
    return counts


def cycle_counts(plan: Plan, built_of: Mapping[str, str]) -> FeatureCounts:
    """Count what the dynamic energy of a cycle between frames grows with: the clock keeps running, gated or not."""
    words = sum(_gated_words(plan, built_of).values()) + sum(_map_words(plan).values())
    named = {Feature.CYCLES: 1.0, Feature.GATED_WORDS: 0.0 if plan.config.stop_clock else float(words)}
    return {"clock": named, CLOCK_TREE: dict(named)}


def size_counts(plan: Plan, built_of: Mapping[str, str]) -> FeatureCounts:
    """Count what leakage and area grow with."""
    logic = _constants(plan)
    constant = [memory for memory in plan.weight_memories if is_constant(plan, memory)]
    weights, sums = plan.lanes * max(plan.weight_widths), float(plan.lanes * plan.accumulator_width)
    loose = sum(_gated_words(plan, built_of).values()) + sum(_map_words(plan).values())
    map_bits = sum(plan.data_memories[index].depth for index in plan.skipping_memories)
    parameters = logic[plan.parameters.name].placed if plan.parameters.name in logic else 0.0
    terms = sum(len(planned.terms) for planned in plan.operations)
    counts: FeatureCounts = {
        "weight memory": {
            Feature.LOGIC: sum(logic[memory.name].placed for memory in constant),
            Feature.WORD_BITS: float(sum(logic[memory.name].held for memory in constant)),
            Feature.ROW_BITS: float(
                sum(memory.width for memory in constant if logic[memory.name].step > 1)
            ),
            **_banked(plan, dict.fromkeys((memory.name for memory in constant), 1.0)),
        },
        "state memory": {},
        "multipliers": {
            Feature.WEIGHT_BY_OPERAND_BITS: float(_multiplied(plan)[1] * (plan.lane_plan.operand + 1)),
            Feature.SUM_BITS: sums,
        },
        "accumulators": {Feature.SUM_BITS: sums},
        "finish": {Feature.CONSTANT: 1.0, Feature.SUM_BITS: sums, Feature.PARAMETER_LOGIC: parameters},
        "control": {
            Feature.CONSTANT: 1.0,
            Feature.WEIGHT_BITS: float(weights),
            Feature.TERMS: float(terms),
            Feature.MAP_BITS: float(map_bits),
        },
        "interface": {Feature.CONSTANT: 1.0},
        "clock": {Feature.CONSTANT: 1.0, Feature.GATED_WORDS: float(loose)},
    }
    for row in MEMORY_ROWS:
        bits = sum(memory.bits for memory in _flip_flops(plan, built_of, row))
        counts[row] |= {Feature.FLIP_FLOP_BITS: float(bits)}
    counts["state memory"] |= _state_banked(plan, dict.fromkeys((memory.name for memory in plan.data_memories), 1.0))
    counts[CLOCK_TREE] = {Feature.CONSTANT: 1.0, Feature.GATED_WORDS: float(loose), Feature.SUM_BITS: sums}
    return counts
