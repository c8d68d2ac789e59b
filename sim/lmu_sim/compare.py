"""Comparison of a trace with the golden model: every element, logit, decision, event and frame error."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lmu_hw.model.fixed import Format
from lmu_hw.model.golden import Golden, decide
from lmu_hw.model.operations import output_name
from lmu_hw.model.program import QuantizedModel
from lmu_hw.model.smoothing import detect
from lmu_hw.plan.parts import stored_order
from lmu_hw.plan.plan import Plan
from lmu_sim.result import ClipDecision, Mismatch
from lmu_sim.stimulus import Expected, Frame, elements, gives_logits, in_rounds, logit_frames, reference
from lmu_sim.trace import Segment, Trace, signed, time_ns

__all__ = ["Comparison"]

IntArray = NDArray[np.int64]

Received = tuple[int, int | None]
"""Cycle and value; the value is None if the simulator gave an unknown (x)."""

Order = tuple[int, int]
"""Index of a frame, and of an operation in it: mismatches are sorted by it."""


class Comparison:
    """A trace compared with the golden model, block by block.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    model : QuantizedModel
        The network that the golden model computes.
    sent : sequence of Frame
        Frames sent.
    trace : Trace
        What the bench saw.
    replay : str
        Command line that repeats the run with waveforms, for mismatches.

    Attributes
    ----------
    blocks : dict of str to list of two int
        For each block: values compared, and values that differ.
    saturated : dict of str to int
        For each vector, elements that the golden model saturated or wrapped.
    rounds : list of list of Expected
        Frames that the accelerator computes together, in order.
    asleep : frozenset of int
        Frames that the level gate drops.
    """

    def __init__(self, plan: Plan, model: QuantizedModel, sent: Sequence[Frame], trace: Trace, replay: str):
        self.plan, self.model, self.sent, self.trace, self.replay = plan, model, sent, trace, replay
        self.golden = Golden(model)
        computed = reference(model, sent)
        self.saturated, self.asleep = computed.saturated, computed.asleep
        self.rounds = in_rounds(plan, computed.expected)
        self.expected = [frame for frames in self.rounds for frame in frames]
        self._mismatches: list[tuple[Order, Mismatch]] = []
        self._decisions: dict[int, ClipDecision] = {}
        self._formats = self._block_formats()
        self.blocks: dict[str, list[int]] = {name: [0, 0] for name in self._formats if name != "x"}
        self._compare_all()

    def _block_formats(self) -> dict[str, Format]:
        """Format of every block: the vectors, then the streams."""
        formats = {name: vector.format for name, vector in self.golden.vectors.items()}
        logits = formats[output_name(self.model)]
        label = Format(max(1, (self.model.outputs - 1).bit_length()), 0, False)
        formats |= {"logits": logits, "decision.label": label, "decision.score": logits}
        formats["frame_error"] = Format(1, 0, False)
        if self.model.gate is not None:
            formats["asleep"] = Format(1, 0, False)
        if self.plan.config.smoothing is not None:
            formats |= {"event.label": label, "event.score": self.plan.config.smoothing.sum_format(logits)}
        return formats

    @property
    def mismatch(self) -> Mismatch | None:
        """The first mismatch: in the earliest frame, the earliest block of it."""
        return min(self._mismatches, key=lambda entry: entry[0])[1] if self._mismatches else None

    @property
    def decisions(self) -> tuple[ClipDecision, ...]:
        """The last decision of every clip that gave one."""
        return tuple(self._decisions[clip] for clip in sorted(self._decisions))

    def _compare_all(self) -> None:
        count = max(len(self.trace.segments), 1 + sum(frame.reset_after > 0 for frame in self.sent))
        for number in range(count):
            segment = self.trace.segments[number] if number < len(self.trace.segments) else Segment()
            frames = [frame for frame in self.expected if frame.segment == number]
            cut = number + 1 < count
            needed = self._completed(segment, frames) if cut else len(frames)
            self._compare_elements(segment, frames, needed)
            self._compare_outputs(segment, frames, needed, cut)
            self._compare_events(segment, frames, needed, cut)
            self._compare_pulses(segment, "frame_error", segment.errors, self._malformed())
            if self.model.gate is not None:
                self._compare_pulses(segment, "asleep", segment.asleep, self.asleep)

    def _completed(self, segment: Segment, frames: list[Expected]) -> int:
        """How many frames must be complete at the reset that ends a segment.

        When the first product of a frame, or round, is issued, all products of the one before it were; its last rows
        follow within a number of cycles.
        """
        size = self.plan.config.frames_per_fetch
        tail = size * self.plan.lanes + self.plan.schedule.write_latency + 2
        whole = sum(cycle <= segment.ended - tail for cycle in segment.started) - 1
        return min(max(whole, 0) * size, len(frames))

    def _note(
        self, block: str, order: Order, element: int, expected: int | None, received: Received | None
    ) -> None:
        """Record a mismatch."""
        self.blocks[block][1] += 1
        unknown = received is not None and received[1] is None
        got, time = (None, None) if received is None else (received[1], time_ns(received[0]))
        mismatch = Mismatch(
            block, order[0], element, expected, got, unknown, self._formats[block], time, self.replay
        )
        self._mismatches.append((order, mismatch))

    def _compare(
        self,
        block: str,
        order: Order,
        start: int,
        expected: IntArray,
        received: Sequence[Received],
        partial: bool = False,
    ) -> None:
        """Compare consecutive elements from `start` on; `partial` allows missing ones at the end."""
        values = expected.tolist()
        counts = self.blocks[block]
        counts[0] += min(len(values), len(received)) if partial else max(len(values), len(received))
        if values == [value for _, value in received]:
            return
        for index, (value, item) in enumerate(zip(values, received, strict=False)):
            if value != item[1]:
                self._note(block, order, start + index, value, item)
        for index in range(len(received), len(values)):
            if not partial:
                self._note(block, order, start + index, values[index], None)
        for index in range(len(values), len(received)):
            self._note(block, order, start + index, None, received[index])

    def _compare_elements(self, segment: Segment, frames: list[Expected], needed: int) -> None:
        """Elements that left the finish block: frame by frame, or round by round, operation by operation."""
        groups = self._split(segment)
        operations = self.golden.operations
        rounds = in_rounds(self.plan, frames)
        for turn in range(max(len(groups), len(rounds))):
            received = groups[turn] if turn < len(groups) else {}
            members = rounds[turn] if turn < len(rounds) else []
            seen = dict.fromkeys(received, 0)
            for number, frame in enumerate(members):
                partial = turn * len(members) + number >= needed
                for operation, target, start, values in elements(self.golden, frame):
                    rows = self._of_frame(
                        operation, received.get(operation, []), seen.get(operation, 0), values.size
                    )
                    seen[operation] = seen.get(operation, 0) + 1
                    planned = self.plan.operations[operation]
                    if planned.parts > 1:
                        values = values[stored_order(values.size, planned.operation.rows, planned.parts)]
                    self._compare(target, (frame.frame, operation), start, values, rows, partial)
            for operation, rows in received.items():
                known = 0 <= operation < len(operations)
                size = operations[operation].repeat * operations[operation].rows if known else 0
                target = operations[operation].target if size else output_name(self.model)
                order = (members[-1].frame if members else len(self.sent), operation)
                done = seen[operation] * size
                self._compare(target, order, done, np.array([], np.int64), rows[done:])

    def _of_frame(self, operation: int, rows: list[Received], number: int, size: int) -> list[Received]:
        """Elements of one frame of a round; frames computed together come row by row."""
        sums = self.plan.operations[operation].sums
        return rows[number : sums * size : sums] if sums > 1 else rows[number * size : (number + 1) * size]

    def _split(self, segment: Segment) -> list[dict[int, list[Received]]]:
        """Elements of each frame, or round, by operation: it ends where the operation's index falls, or all came."""
        width = self.plan.written_width
        sizes = [
            planned.operation.repeat * planned.operation.rows * planned.frames for planned in self.plan.operations
        ]
        groups: list[dict[int, list[Received]]] = []
        last = len(sizes)
        for cycle, operation, value in segment.elements:
            if operation < last or (operation == 0 and len(groups[-1][operation]) >= sizes[0]):
                groups.append({})
            last = operation
            received = groups[-1].setdefault(operation, [])
            parts = self.plan.operations[operation].parts if 0 <= operation < len(sizes) else 1
            for part in range(parts):
                bits = self.plan.state_width if parts > 1 else width
                received.append((cycle, signed(None if value is None else value >> part * bits, bits)))
        return groups

    def _compare_outputs(self, segment: Segment, frames: list[Expected], needed: int, cut: bool) -> None:
        """Logits and decisions of a segment; a reset that cuts it may lose those of the last complete frame."""
        name, outputs = output_name(self.model), self.model.outputs
        giving = [frame for frame in frames if name in frame.values]
        required = sum(name in frame.values for frame in frames[:needed]) - cut
        count = max(len(giving), -(-len(segment.logits) // outputs), len(segment.decisions))
        for index in range(count):
            frame = giving[index] if index < len(giving) else None
            order = (len(self.sent) if frame is None else frame.frame, len(self.golden.operations))
            values = np.array([], np.int64) if frame is None else frame.values[name]
            partial = index >= required and cut
            self._compare_logits(order, values, segment.logits[index * outputs : (index + 1) * outputs], partial)
            self._compare_decision(order, values, segment.decisions[index : index + 1], partial)

    def _compare_logits(
        self, order: Order, values: IntArray, transfers: Sequence[Received], partial: bool
    ) -> None:
        """Logits of one frame, and the mark on the last one."""
        fmt = self._formats["logits"]
        received = [(cycle, _logit(payload, fmt)) for cycle, payload in transfers]
        self._compare("logits", order, 0, values, received, partial)
        for index, ((_, payload), item) in enumerate(zip(transfers, received, strict=True)):
            if payload is not None and payload >> fmt.width != (index == self.model.outputs - 1):
                self._note("logits", order, index, int(values[index]) if values.size else None, item)

    def _compare_decision(
        self, order: Order, values: IntArray, transfers: Sequence[tuple[int, int, int | None]], partial: bool
    ) -> None:
        """The decision of one frame; the last one of each clip is kept."""
        fmt, width = self._formats["logits"], self._formats["decision.label"].width
        labels: list[Received] = []
        scores: list[Received] = []
        for cycle, _, payload in transfers:
            labels.append((cycle, None if payload is None else payload & ((1 << width) - 1)))
            scores.append((cycle, None if payload is None else _logit(payload >> width, fmt)))
        label, score = (decide(values[None]) if values.size else (values, values))
        self._compare("decision.label", order, 0, label, labels, partial)
        self._compare("decision.score", order, 0, score, scores, partial)
        if order[0] < len(self.sent) and labels and labels[0][1] is not None and scores[0][1] is not None:
            self._keep_decision(order[0], labels[0][1], scores[0][1])

    def _keep_decision(self, frame: int, label: int, score: int) -> None:
        names = self.model.labels
        word = names[label] if label < len(names) else str(label)
        clip = self.sent[frame].clip
        self._decisions[clip] = ClipDecision(clip, frame, label, word, score)

    def _compare_events(self, segment: Segment, frames: list[Expected], needed: int, cut: bool) -> None:
        """Events of a segment; a reset may lose those of the last two complete frames."""
        smoothing = self.plan.config.smoothing
        if smoothing is None:
            return
        giving, restarts = logit_frames(self.model, frames)
        logits = np.array([frame.values[output_name(self.model)] for frame in giving])
        events = detect(logits.reshape(-1, self.model.outputs), smoothing, restarts)
        due = sum(gives_logits(self.model, frame) for frame in frames[:needed]) - 2 * cut
        width = self._formats["event.label"].width
        for index in range(max(len(events.frames), len(segment.events))):
            known = index < len(events.frames)
            frame = giving[int(events.frames[index])].frame if known else len(self.sent)
            partial = known and cut and int(events.frames[index]) >= due
            order = (frame, len(self.golden.operations))
            labels: list[Received] = []
            scores: list[Received] = []
            for cycle, payload in segment.events[index : index + 1]:
                labels.append((cycle, None if payload is None else payload & ((1 << width) - 1)))
                scores.append((cycle, None if payload is None else payload >> width))
            self._compare("event.label", order, 0, events.labels[index : index + 1], labels, partial)
            self._compare("event.score", order, 0, events.scores[index : index + 1], scores, partial)

    def _malformed(self) -> frozenset[int]:
        """Frames of the wrong length."""
        inputs = self.model.inputs
        return frozenset(index for index, frame in enumerate(self.sent) if len(frame.values) != inputs)

    def _compare_pulses(
        self, segment: Segment, block: str, pulses: Sequence[int], due: frozenset[int]
    ) -> None:
        """A frame for which a pulse is due gives it in the cycle after its last element, and no other frame does."""
        cycles = {cycle + 1: index for cycle, index in segment.accepted if index in due}
        self.blocks[block][0] += len(segment.accepted)
        for cycle in pulses:
            if cycles.pop(cycle, None) is None:
                before = [index for accepted, index in segment.accepted if accepted < cycle]
                self._note(block, (before[-1] if before else 0, -1), 0, 0, (cycle, 1))
        for cycle, index in cycles.items():
            if not segment.ended or cycle < segment.ended:
                self._note(block, (index, -1), 0, 1, (cycle, 0))


def _logit(payload: int | None, fmt: Format) -> int | None:
    """Value of a logit or score from the low bits of a payload."""
    if payload is None:
        return None
    return signed(payload, fmt.width) if fmt.signed else payload & ((1 << fmt.width) - 1)
