"""Count how often operands, weights, products and sums change, in the order in which the accelerator computes.

The golden model is bit-exact with the Verilog, and the plan has every cycle, so these are the changes that a simulation
of the Verilog has at those signals, at a fraction of its time.
"""

import functools
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.golden import Golden
from lmu_hw.plan.plan import Plan
from lmu_hw.plan.schedule import PlannedOperation

__all__ = [
    "EVERY", "Nonzero", "Rates", "TypicalRates", "find_rates", "issues", "row_products", "skipped_elements",
    "term_products", "weight_toggles",
]  # fmt: skip

IntArray = NDArray[np.int64]

Nonzero = Mapping[str, float]
"""By name of a vector whose zeros are skipped, how many of its elements are not zero, on average."""

EVERY: Nonzero = MappingProxyType({})
"""Nothing is zero."""


@dataclass(frozen=True)
class Rates:
    """Changed bits per frame.

    Parameters
    ----------
    operand : float
        Changed bits of the operand that all lanes share.
    product, total : float
        Changed bits of the products and of their sums, of all lanes together.
    nonzero : mapping of str to float
        Elements that are not zero, of vectors whose zeros are skipped: means over the frames in which they are read.
    """

    operand: float
    product: float
    total: float
    nonzero: Nonzero = field(default_factory=dict)


@dataclass(frozen=True)
class TypicalRates:
    """Changes of a bit per product, for accelerators whose frames are not known.

    Parameters
    ----------
    operand : float
        Operand changes per issued product and bit of the signal, 0 to 1.
    product, total : float
        Changes per product of a row and bit of the signal, 0 to 1. Lanes without a row rest.
    nonzero : float
        Part of the elements of vectors whose zeros are skipped that is not zero, 0 to 1; 1 if none are skipped.
    """

    operand: float
    product: float
    total: float
    nonzero: float = 1.0

    @classmethod
    def of(cls, plan: Plan, rates: Rates) -> "TypicalRates":
        """Rates of an accelerator per product and bit."""
        issued, needed = issues(plan, rates.nonzero), row_products(plan, rates.nonzero)
        skipped = skipped_elements(plan)
        return cls(
            operand=rates.operand / (issued * plan.activation_width),
            product=rates.product / (needed * _product_width(plan)),
            total=rates.total / (needed * plan.accumulator_width),
            nonzero=sum(rates.nonzero.values()) / sum(skipped.values()) if skipped else 1.0,
        )

    def rates(self, plan: Plan) -> Rates:
        """Rates of another accelerator."""
        nonzero = {name: self.nonzero * size for name, size in skipped_elements(plan).items()}
        issued, needed = issues(plan, nonzero), row_products(plan, nonzero)
        return Rates(
            operand=self.operand * issued * plan.activation_width,
            product=self.product * needed * _product_width(plan),
            total=self.total * needed * plan.accumulator_width,
            nonzero=nonzero,
        )


def _product_width(plan: Plan) -> int:
    return plan.activation_width + max(plan.weight_widths)


def skipped_elements(plan: Plan) -> dict[str, int]:
    """Vectors whose zeros are skipped, and their elements."""
    pairs = (pair for planned in plan.operations for pair in zip(planned.operation.terms, planned.terms, strict=True))
    return {term.source: laid.length for term, laid in pairs if laid.skips}


def term_products(planned: PlannedOperation, group: int, nonzero: Nonzero) -> list[float]:
    """Products of each row of a group, by term: at least one if zeros are skipped."""
    pairs = zip(planned.operation.terms, planned.terms, strict=True)
    return [
        max(1.0, nonzero.get(term.source, laid.length)) if laid.skips else len(laid.columns[group])
        for term, laid in pairs
    ]


def issues(plan: Plan, nonzero: Nonzero = EVERY) -> float:
    """Count the cycles with a product, per frame."""
    executed = (planned for number in range(plan.rounds) for planned in plan.schedule.executed(number))
    return sum(
        planned.frames
        * planned.blocks
        * sum(sum(term_products(planned, group, nonzero)) for group in range(planned.groups))
        for planned in executed
    ) / (plan.rounds * plan.config.frames_per_fetch)


def row_products(plan: Plan, nonzero: Nonzero = EVERY) -> float:
    """Count the products of rows, per frame: those of `issues` times the lanes that have a row and read the element."""
    executed = (planned for number in range(plan.rounds) for planned in plan.schedule.executed(number))
    return sum(
        planned.frames
        * planned.operation.repeat
        * sum(
            term.row_products(group, planned.rows_in(group, plan.lanes), count)
            for group in range(planned.groups)
            for term, count in zip(planned.terms, term_products(planned, group, nonzero), strict=True)
        )
        for planned in executed
    ) / (plan.rounds * plan.config.frames_per_fetch)


def _order(planned: PlannedOperation) -> tuple[IntArray, IntArray]:
    """Row group and column, among those of all terms, of every product of a lane in a block, in order."""
    starts = np.cumsum([0, *(term.length for term in planned.terms)])
    groups, columns = [], []
    for group in range(planned.groups):
        for start, term in zip(starts, planned.terms, strict=False):
            columns.append(start + np.array(term.columns[group], np.int64))
            groups.append(np.full(len(columns[-1]), group))
    return np.concatenate(groups), np.concatenate(columns)


def _weights(planned: PlannedOperation, lanes: int) -> IntArray:
    """Weights of an operation in order, shape (products of a lane, lanes); zero for rows that are not there."""
    op = planned.operation
    columns = np.concatenate([term.weights for term in op.terms], axis=1)
    padded = np.zeros((planned.groups * lanes, columns.shape[1]), np.int64)
    padded[: op.rows] = columns
    group, column = _order(planned)
    return padded.reshape(planned.groups, lanes, -1)[group, :, column]


def _changes(values: IntArray, width: int) -> int:
    """Changed bits between neighbours along axis 0."""
    mask = (1 << width) - 1
    return int(np.bitwise_count((values[1:] ^ values[:-1]) & mask).sum())


def _operands(planned: PlannedOperation, seen: dict[str, IntArray], previous: dict[str, IntArray]) -> IntArray:
    """Elements that an operation reads, shape (batch, repeat, columns)."""
    op = planned.operation
    parts = []
    for term in op.terms:
        source = (previous if term.previous else seen)[term.source]
        length = term.weights.shape[1]
        starts = term.offset + term.step * np.arange(op.repeat)
        parts.append(source[:, starts[:, None] + np.arange(length)])
    return np.concatenate(parts, axis=2)


def _issued(planned: PlannedOperation, operands: IntArray) -> NDArray[np.bool_]:
    """Which products are issued, shape as `operands` (batch, repeat, products): all but those of zeros skipped."""
    group, column = _order(planned)
    term = np.repeat(np.arange(len(planned.terms)), [laid.length for laid in planned.terms])[column]
    skips = np.array([laid.skips for laid in planned.terms])[term]
    issued = ~skips | (operands != 0)
    passes = group * len(planned.terms) + term
    first = np.flatnonzero(np.diff(passes, prepend=-1))
    passed = np.logical_or.reduceat(issued, first, axis=2)
    issued[:, :, first] |= ~passed  # a pass over nothing but zeros takes one product
    return issued


def _streams(
    plan: Plan, planned: PlannedOperation, seen: dict[str, IntArray], previous: dict[str, IntArray]
) -> tuple[NDArray[np.bool_], tuple[IntArray, ...]]:
    """Streams of an operation, in order: whether each product is issued; operands, products and sums of lanes."""
    group, column = _order(planned)
    operands = _operands(planned, seen, previous)[:, :, column]
    products = operands[..., None] * _weights(planned, plan.lanes)
    shifts = np.repeat([term.shift for term in planned.terms], [term.length for term in planned.terms])
    aligned = products << shifts[column, None]
    opens = np.searchsorted(group, np.arange(planned.groups))
    totals = np.cumsum(aligned, axis=2)
    totals -= (totals - aligned)[:, :, opens[group]]

    def in_order(values: IntArray) -> IntArray:
        return values.reshape(len(values), -1, plan.lanes)

    issued = _issued(planned, operands).reshape(len(operands), -1)
    return issued, (operands.reshape(len(operands), -1), in_order(products), in_order(totals))


def _frames(plan: Plan, frames: IntArray) -> Iterator[tuple[list[tuple[IntArray, ...]], dict[str, float]]]:
    """Streams of each clip, and nonzero elements of all clips for vectors whose zeros are skipped, frame by frame."""
    golden = Golden(plan.model)
    state = golden.initial_state(len(frames))
    skipped = skipped_elements(plan)
    for number in range(frames.shape[1]):
        previous = dict(state.values)
        seen = golden.step(frames[:, number], state) | {"x": frames[:, number]}
        executed = plan.schedule.executed(number)
        parts = [_streams(plan, planned, seen, previous) for planned in executed]
        issued = np.concatenate([values for values, _ in parts], axis=1)
        now = [np.concatenate(values, axis=1) for values in zip(*(streams for _, streams in parts), strict=True)]
        read = {term.source for planned in executed for term in planned.operation.terms} & skipped.keys()
        counts = {name: float(np.count_nonzero(seen[name])) for name in read}
        yield [tuple(values[clip][issued[clip]] for values in now) for clip in range(len(frames))], counts


def find_rates(plan: Plan, frames: IntArray) -> Rates:
    """Count changes over clips.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    frames : ndarray of int64, shape (clips, T, inputs)
        Frames in the model's input format. Every clip starts from the zero state. Several clips need a network without
        a level gate.

    Returns
    -------
    Rates
        Means per frame.
    """
    widths = plan.activation_width, _product_width(plan), plan.accumulator_width
    changed = np.zeros(3, np.int64)
    nonzero: dict[str, list[float]] = defaultdict(list)
    last: list[tuple[IntArray, ...]] = [()] * len(frames)
    for streams, counts in _frames(plan, frames):
        for clip, values_now in enumerate(streams):
            joined = list(values_now)
            if last[clip]:
                joined = [np.concatenate(pair) for pair in zip(last[clip], values_now, strict=True)]
            changed += [_changes(values, width) for values, width in zip(joined, widths, strict=True)]
            last[clip] = tuple(values[-1:] for values in values_now)
        for name, count in counts.items():
            nonzero[name].append(count / len(frames))
    operand, product, total = (changed / (frames.shape[0] * frames.shape[1])).tolist()
    return Rates(operand, product, total, {name: sum(counts) / len(counts) for name, counts in nonzero.items()})


@functools.lru_cache(maxsize=4)
def weight_toggles(plan: Plan) -> dict[str, float]:
    """Changed bits per frame of the words read from each weight memory: they are the same in every frame."""
    images = plan.images()
    reads: dict[str, list[int]] = {memory.name: [] for memory in plan.weight_memories}
    for number in range(plan.period):
        for planned in plan.schedule.executed(number):
            name = plan.weight_memories[planned.weight_memory].name
            words = images[name][planned.weight_base : planned.weight_base + planned.words]
            reads[name].extend(words * planned.blocks)
    return {
        name: sum((one ^ other).bit_count() for one, other in itertools.pairwise([*words, *words[:1]])) / plan.period
        for name, words in reads.items()
    }
