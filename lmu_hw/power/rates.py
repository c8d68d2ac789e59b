"""How often operands, weights, products and sums change, counted in the order in which the accelerator computes.

The golden model is bit-exact with the Verilog, and the plan has every cycle, so these are the changes that a simulation
of the Verilog has at those signals, at a fraction of its time.
"""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmu_hw.golden import Golden
from lmu_hw.plan import Plan
from lmu_hw.schedule import PlannedOperation

__all__ = ["Rates", "TypicalRates", "find_rates", "issues", "products_per_frame", "weight_toggles"]

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Rates:
    """Changed bits per frame.

    Parameters
    ----------
    operand : float
        Of the operand that all lanes share.
    product, total : float
        Of the products, and of the sums that are formed from them, of all lanes.
    """

    operand: float
    product: float
    total: float


@dataclass(frozen=True)
class TypicalRates:
    """Changes of a bit per product, for accelerators whose frames are not at hand.

    Parameters
    ----------
    operand, product, total : float
        As in `Rates`, per issued product of a lane and bit of the signal, 0 to 1.
    """

    operand: float
    product: float
    total: float

    @classmethod
    def of(cls, plan: Plan, rates: Rates) -> "TypicalRates":
        """Rates of an accelerator per product and bit."""
        issued = issues(plan)
        lanes = issued * plan.lanes
        return cls(
            operand=rates.operand / (issued * plan.activation_width),
            product=rates.product / (lanes * _product_width(plan)),
            total=rates.total / (lanes * plan.accumulator_width),
        )

    def rates(self, plan: Plan) -> Rates:
        """Rates of another accelerator."""
        issued = issues(plan)
        lanes = issued * plan.lanes
        return Rates(
            operand=self.operand * issued * plan.activation_width,
            product=self.product * lanes * _product_width(plan),
            total=self.total * lanes * plan.accumulator_width,
        )


def _product_width(plan: Plan) -> int:
    return plan.activation_width + max(plan.weight_widths)


def issues(plan: Plan) -> float:
    """Cycles with a product, per frame."""
    return sum(frame.issued for frame in plan.frames) / len(plan.frames)


def products_per_frame(plan: Plan) -> float:
    """Products of all lanes, idle ones too, per frame."""
    return issues(plan) * plan.lanes


def _order(planned: PlannedOperation) -> tuple[IntArray, IntArray]:
    """Row group, and column among those of all terms, of every product of a lane in a block, in order."""
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
    """Changed bits from each value of an axis 1 to the next."""
    mask = (1 << width) - 1
    return int(np.bitwise_count((values[:, 1:] ^ values[:, :-1]) & mask).sum())


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


def _streams(
    plan: Plan, planned: PlannedOperation, seen: dict[str, IntArray], previous: dict[str, IntArray]
) -> tuple[IntArray, IntArray, IntArray]:
    """Operands (batch, issues), products and sums (batch, issues, lanes) of an operation, in order."""
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

    return operands.reshape(len(operands), -1), in_order(products), in_order(totals)


def _frames(plan: Plan, frames: IntArray) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
    """Streams of every frame, with the values before it in front."""
    golden = Golden(plan.model)
    state = golden.initial_state(len(frames))
    last: tuple[IntArray, ...] | None = None
    for number in range(frames.shape[1]):
        previous = dict(state.values)
        seen = golden.step(frames[:, number], state) | {"x": frames[:, number]}
        parts = [_streams(plan, planned, seen, previous) for planned in plan.executed(number)]
        now = [np.concatenate(one, axis=1) for one in zip(*parts, strict=True)]
        if last is not None:
            now = [np.concatenate([one, two], axis=1) for one, two in zip(last, now, strict=True)]
        yield now[0], now[1], now[2]
        last = tuple(one[:, -1:] for one in now)


def find_rates(plan: Plan, frames: IntArray) -> Rates:
    """Count changes over clips.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    frames : ndarray of int64, shape (clips, T, inputs)
        In the model's input format; every clip starts from the zero state.

    Returns
    -------
    Rates
        Means per frame.
    """
    operand = product = total = 0
    for operands, products, totals in _frames(plan, frames):
        operand += _changes(operands, plan.activation_width)
        product += _changes(products, _product_width(plan))
        total += _changes(totals, plan.accumulator_width)
    count = frames.shape[0] * frames.shape[1]
    return Rates(operand / count, product / count, total / count)


@functools.lru_cache(maxsize=4)
def weight_toggles(plan: Plan) -> dict[str, float]:
    """Changed bits per frame of the words read from each weight memory: they are the same in every frame."""
    images = plan.images()
    found: dict[str, list[int]] = {memory.name: [] for memory in plan.weight_memories}
    for number in range(plan.period):
        for planned in plan.executed(number):
            name = plan.weight_memories[planned.weight_memory].name
            words = images[name][planned.weight_base : planned.weight_base + planned.words]
            found[name].extend(words * planned.operation.repeat)
    return {
        name: sum((one ^ two).bit_count() for one, two in itertools.pairwise([*words, *words[:1]])) / plan.period
        for name, words in found.items()
    }
