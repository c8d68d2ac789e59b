"""Cosimulation: an accelerator's Verilog against the golden model, every element of every vector in every frame."""

import hashlib
import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.export.emit import to_verilog, weight_image
from lmu_hw.export.names import TOP
from lmu_hw.gateware.layouts import decision_layout, event_layout, feature_layout, load_layout, logit_layout
from lmu_hw.model.fixed import Format
from lmu_hw.model.golden import Golden, decide
from lmu_hw.model.operations import output_name
from lmu_hw.model.program import QuantizedModel
from lmu_hw.model.smoothing import detect
from lmu_hw.plan.config import StatePolicy, WeightStore
from lmu_hw.plan.plan import Plan
from lmu_hw.plan.timing import FrameTiming, Nonzero, all_zero, frame_timing, latency, stream_starts
from lmu_sim.runner import WAVES, Simulator, build, run
from lmu_sim.stimulus import (
    Expected,
    Frame,
    check,
    elements,
    gives_logits,
    in_rounds,
    logit_frames,
    reference,
    slots,
    stimulus,
)

__all__ = ["STALLS", "CosimResult", "Mismatch", "cosim"]

IntArray = NDArray[np.int64]

STALLS = ("none", "alternate", "random")
"""How the bench stalls the input and both outputs."""

BENCH = "lmu_bench"
PERIOD_NS, FIRST_EDGE_NS = 10, 5


@dataclass(frozen=True)
class Mismatch:
    """The first place where the accelerator and the golden model differ.

    Parameters
    ----------
    block : str
        The vector, ``logits``, ``decision.label``, ``decision.score``, ``event.label``, ``event.score``, or
        ``frame_error``.
    frame : int
        Index among the frames sent.
    element : int
        Index in the vector.
    expected, got : int or None
        Integers; None for an element that should not be there, or that did not come.
    unknown : bool
        Whether the simulator gave an unknown value (x).
    format : Format
        Of the vector.
    time_ns : int or None
        When it left the block, in the waveform; None for an element that did not come.
    replay : str
        Command that repeats the run and writes waveforms, if one was given.
    """

    block: str
    frame: int
    element: int
    expected: int | None
    got: int | None
    unknown: bool
    format: Format
    time_ns: int | None
    replay: str = ""

    def _shown(self, value: int | None, unknown: bool = False) -> str:
        if value is None:
            return "unknown (x)" if unknown else "nothing"
        digits = -(-self.format.width // 4)
        pattern = value & ((1 << self.format.width) - 1)
        return f"0x{pattern:0{digits}x} ({self.format.real(value):g})"

    def __str__(self) -> str:
        expected, got = self._shown(self.expected), self._shown(self.got, self.unknown)
        where = f"{self.block}[{self.element}] of frame {self.frame}"
        when = "" if self.time_ns is None else f" at {self.time_ns} ns"
        replay = f"\nreplay with waveforms: {self.replay}" if self.replay else ""
        return f"{where}: expected {expected}, got {got}{when}{replay}"


@dataclass(frozen=True)
class CosimResult:
    """What a cosimulation found.

    Parameters
    ----------
    simulator, stalls, seed : Simulator, str, int
        How it was run.
    frames : int
        Frames sent.
    blocks : dict of str to (int, int)
        For each block: values compared, and values that differ, are missing or are too many.
    mismatch : Mismatch or None
        The first difference.
    violations : tuple of str
        Broken rules of the streams and memories, each with its time.
    intervals : tuple of (int, int)
        Cycles from frame to frame, measured and planned; only where nothing was stalled, spaced, dropped or reset.
    latencies : tuple of (int, int)
        Cycles from a frame's last element to its decision, measured and planned; only of spaced frames without stalls
        and resets.
    accesses : dict of str to (int, int)
        Reads of each memory, measured and planned; empty if the accelerator was reset.
    saturated : dict of str to int
        Per vector, how many elements the golden model clipped or wrapped.
    cycles : int
        Clock cycles simulated.
    hung : bool
        Whether the accelerator stopped taking frames, or did not come to rest.
    waves : Path or None
        The waveform file.
    seconds : dict of str to float
        Wall-clock time of ``build``, ``run`` and ``compare``.
    """

    simulator: Simulator
    stalls: str
    seed: int
    frames: int
    blocks: dict[str, tuple[int, int]]
    mismatch: Mismatch | None
    violations: tuple[str, ...]
    intervals: tuple[tuple[int, int], ...]
    latencies: tuple[tuple[int, int], ...]
    accesses: dict[str, tuple[int, int]]
    saturated: dict[str, int]
    cycles: int
    hung: bool
    waves: Path | None
    seconds: dict[str, float]

    @property
    def compared(self) -> int:
        """Values compared."""
        return sum(compared for compared, _ in self.blocks.values())

    @property
    def differing(self) -> int:
        """Values that differ, are missing or are too many."""
        return sum(differing for _, differing in self.blocks.values())

    @property
    def exact(self) -> bool:
        """Whether every value is equal, every rule was kept, and something was compared at all."""
        return self.compared > 0 and not self.differing and not self.violations and not self.hung

    @property
    def as_planned(self) -> bool:
        """Whether every measured interval, latency and access count is the planned one."""
        pairs = (*self.intervals, *self.latencies, *self.accesses.values())
        return all(measured == planned for measured, planned in pairs)

    @property
    def ok(self) -> bool:
        """Both."""
        return self.exact and self.as_planned

    def report(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "simulator": self.simulator.value,
            "stalls": self.stalls,
            "seed": self.seed,
            "frames": self.frames,
            "compared": self.compared,
            "differing": self.differing,
            "blocks": {name: list(counts) for name, counts in self.blocks.items()},
            "mismatch": None if self.mismatch is None else str(self.mismatch),
            "violations": list(self.violations),
            "hung": self.hung,
            "as_planned": self.as_planned,
            "intervals": [list(pair) for pair in self.intervals],
            "latencies": [list(pair) for pair in self.latencies],
            "accesses": {name: list(pair) for name, pair in self.accesses.items()},
            "saturated": self.saturated,
            "cycles": self.cycles,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }


def cosim(
    plan: Plan,
    frames: Sequence[Frame] | Sequence[ArrayLike] | NDArray[np.integer],
    *,
    simulator: Simulator | str = Simulator.ICARUS,
    stalls: str = "none",
    percent: int = 50,
    seed: int = 1,
    spaced: bool = False,
    clear_before: Iterable[int] | None = None,
    ends: Iterable[int] | None = None,
    reset_in_frame: Mapping[int, int] | None = None,
    malformed: Mapping[int, Sequence[Sequence[int]]] | None = None,
    directory: str | Path = "build/cosim",
    waves: bool = False,
    model: QuantizedModel | None = None,
    verilog: str | None = None,
    replay: str = "",
    timeout: float = 600.0,
) -> CosimResult:
    """Run an accelerator's Verilog and compare everything that it computes with the golden model.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    frames : sequence of Frame, or of array_like of int of shape (T, inputs)
        What to send: frames from `stimulus`, or the utterances that it takes (with the marks given here).
    simulator : Simulator or str
        ``icarus`` or ``verilator``.
    stalls : {"none", "alternate", "random"}
        How the input and both outputs are stalled: never; one cycle before each transfer; at random, seldom for long.
    percent : int
        How many transfers random stalls delay, 1 to 100.
    seed : int
        Of everything random, 0 to 2**31 - 1.
    spaced : bool
        Send a frame only when the accelerator is at rest, as in real time; otherwise as soon as it takes it.
    clear_before, ends, reset_in_frame, malformed
        As in `stimulus`.
    directory : str or Path
        Where builds are kept and runs write.
    waves : bool
        Write waveforms, of everything.
    model : QuantizedModel, optional
        The network to compare with, the plan's if not given.
    verilog : str, optional
        The Verilog to run instead of the plan's.
    replay : str
        Command that repeats this run with waveforms, for the report of a mismatch; ``{simulator}`` and ``{seed}`` in it
        are filled in.
    timeout : float
        Seconds that building, and running, may take.

    Returns
    -------
    CosimResult
        Counts, the first mismatch, timing.

    Raises
    ------
    ToolError
        If the simulator is missing.
    SimulatorError
        If it fails.
    ValueError
        If frames or options do not fit.
    """
    simulator = Simulator(simulator)
    if stalls not in STALLS:
        raise ValueError(f"stalls must be one of {', '.join(STALLS)}, not {stalls!r}")
    if not 1 <= percent <= 100:
        raise ValueError(f"percent must be in 1 to 100, not {percent!r}")
    if not 0 <= seed < 1 << 31:
        raise ValueError(f"seed must be in 0 to 2**31 - 1, not {seed!r}")
    sent = _frames(plan, frames, clear_before, ends, reset_in_frame, malformed, seed)
    watch = [time.perf_counter()]
    sources = {
        "lmu_bench_config.vh": bench_config(plan),
        "lmu_accelerator.v": to_verilog(plan) if verilog is None else verilog,
        "lmu_bench.v": files("lmu_sim").joinpath("bench.v").read_text(),
    }
    built = build(simulator, sources, BENCH, directory, waves=waves, timeout=timeout)
    watch.append(time.perf_counter())
    settings = _plusargs(plan, sent, stalls, percent, seed, spaced)
    deposits = "".join(f"{frame.deposit(plan.model.input.width):x}\n" for frame in sent)
    name = hashlib.sha256(repr((settings, deposits)).encode()).hexdigest()[:12]
    place = built.directory / f"run-{name}"
    texts = {"deposits.txt": deposits}
    if plan.config.weights is WeightStore.RAM:
        texts["weights.txt"] = weight_image(plan)
    run(
        built,
        "lmu_sim.cocotb_bench",
        1,
        place,
        files=texts,
        plusargs=settings,
        environment={"LMU_SIM_DEPOSITS": str(place / "deposits.txt")},
        timeout=timeout,
    )
    watch.append(time.perf_counter())
    trace = _Trace.read(plan, place / "trace.txt")
    command = replay.replace("{simulator}", simulator.value).replace("{seed}", str(seed))
    comparison = _Comparison(plan, plan.model if model is None else model, sent, trace, command)
    comparison.run()
    unstalled = stalls == "none" and not any(frame.reset_after for frame in sent)
    intervals, latencies = comparison.timing(spaced) if unstalled else ((), ())
    watch.append(time.perf_counter())
    return CosimResult(
        simulator=simulator,
        stalls=stalls,
        seed=seed,
        frames=len(sent),
        blocks={name: (counts[0], counts[1]) for name, counts in comparison.blocks.items()},
        mismatch=comparison.mismatch,
        violations=tuple(trace.violations),
        intervals=intervals,
        latencies=latencies,
        accesses=comparison.accesses(),
        saturated=comparison.saturated,
        cycles=trace.cycles,
        hung=trace.hung,
        waves=place / WAVES if waves else None,
        seconds=dict(zip(("build", "run", "compare"), np.diff(watch).tolist(), strict=True)),
    )


def _frames(
    plan: Plan,
    frames: Sequence[Frame] | Sequence[ArrayLike] | NDArray[np.integer],
    clear_before: Iterable[int] | None,
    ends: Iterable[int] | None,
    reset_in_frame: Mapping[int, int] | None,
    malformed: Mapping[int, Sequence[Sequence[int]]] | None,
    seed: int,
) -> tuple[Frame, ...]:
    ready = [frame for frame in frames if isinstance(frame, Frame)]
    if not ready:
        return stimulus(
            plan,
            frames,  # type: ignore[arg-type]
            clear_before=clear_before,
            ends=ends,
            reset_in_frame=reset_in_frame,
            malformed=malformed,
            seed=seed,
        )
    if len(ready) != len(frames) or any(mark is not None for mark in (clear_before, ends, reset_in_frame, malformed)):
        raise ValueError("frames must be all Frame, with their own marks, or utterances")
    check(plan, ready)
    return tuple(ready)


def bench_config(plan: Plan) -> str:
    """Verilog header for the bench: what it must know about one accelerator."""
    lines = {
        "TOP": TOP,
        "DATA_WIDTH": plan.model.input.width,
        "INPUT_WIDTH": feature_layout(plan).size,
        "LOGIT_WIDTH": logit_layout(plan).size,
        "DECISION_WIDTH": decision_layout(plan).size,
        "SLOTS": slots(plan),
    }
    if plan.config.state is StatePolicy.UTTERANCE:
        lines["END"] = 1
    if plan.config.state is StatePolicy.PULSE:
        lines["CLEAR"] = 1
    if plan.config.smoothing is not None:
        lines |= {"EVENT": 1, "EVENT_WIDTH": event_layout(plan).size}
    if plan.config.weights is WeightStore.RAM:
        layout = load_layout(plan)
        lines |= {f"LOAD_{name.upper()}": field.width for name, field in layout}
        lines["LOAD"] = 1
        lines["LOAD_WIDTH"] = layout.size
    fixed = plan.config.weights is WeightStore.ROM
    constant = {memory.name for memory in (*plan.weight_memories, plan.parameters) if fixed}
    reads, writes = [], []
    for memory in plan.memories:
        places = {"table": r"finish.\table ", "output": r"\output .logits", "sums": "smoother.sums"}
        kind = places.get(memory.kind, f"memory_{memory.name}")
        reads.append(f"dut.{kind}.read")
        writable = memory.kind != "table" and memory.name not in constant
        writes.append(f"dut.{kind}.write" if writable else "1'b0")
    lines["MEMORIES"] = len(reads)
    lines["READS"] = "{" + ", ".join(reversed(reads)) + "}"
    lines["WRITES"] = "{" + ", ".join(reversed(writes)) + "}"
    return "".join(f"`define LMU_{name} {value}\n" for name, value in lines.items())


def _plusargs(
    plan: Plan, sent: Sequence[Frame], stalls: str, percent: int, seed: int, spaced: bool
) -> list[str]:
    """Settings of the bench. The longest stall holds up two frames; the limit is far beyond any healthy run."""
    interval = max(frame.interval for frame in plan.frames)
    longest = min(2 * interval + 16, 65535)
    each = interval + (plan.model.inputs + plan.model.outputs + 2) * (1 + longest // 4)
    words = sum(memory.depth for memory in (*plan.weight_memories, plan.parameters)) * (1 + longest // 4)
    limit = 20000 + words + len(sent) * each + sum(frame.reset_after for frame in sent)
    values = {"stalls": STALLS.index(stalls), "percent": percent, "seed": seed, "long": longest, "spaced": 4 * spaced}
    return [*(f"+{name}={value}" for name, value in values.items()), f"+limit={min(limit, 2**31 - 1)}"]


@dataclass
class _Segment:
    """What happened between two resets: rows of integers, the cycle first."""

    accepted: list[tuple[int, int]] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    elements: list[tuple[int, int, int | None]] = field(default_factory=list)
    logits: list[tuple[int, int | None]] = field(default_factory=list)
    decisions: list[tuple[int, int, int | None]] = field(default_factory=list)
    events: list[tuple[int, int | None]] = field(default_factory=list)
    ended: int = 0


@dataclass
class _Trace:
    """What the bench wrote; an unknown value is None."""

    segments: list[_Segment]
    violations: list[str]
    reads: list[int]
    cycles: int = 0
    hung: bool = False

    @classmethod
    def read(cls, plan: Plan, path: Path) -> "_Trace":
        trace = cls([_Segment()], [], [0] * len(plan.memories))
        resetting = False
        for line in path.read_text().splitlines():
            kind, cycle, *rest = line.split()
            now, segment = int(cycle), trace.segments[-1]
            if kind == "r":
                if not resetting:
                    segment.ended = now
                    trace.segments.append(_Segment())
                resetting = True
                continue
            resetting = False
            if kind == "e":
                segment.elements.append((now, int(rest[0]) if rest[0].isdigit() else -1, _number(rest[1])))
            elif kind == "l":
                segment.logits.append((now, _number(rest[0])))
            elif kind == "s":
                segment.events.append((now, _number(rest[0])))
            elif kind == "d":
                segment.decisions.append((now, int(rest[0]), _number(rest[1])))
            elif kind == "a":
                segment.accepted.append((now, int(rest[0])))
            elif kind == "p":
                segment.started.append(now)
            elif kind == "x":
                segment.errors.append(now)
            elif kind == "v":
                trace.violations.append(f"{rest[0]} broke its stream contract at {_time(now)} ns")
            elif kind == "m":
                both = int(rest[0], 2) if set(rest[0]) <= {"0", "1"} else 0
                names = [memory.name for place, memory in enumerate(plan.memories) if both >> place & 1]
                trace.violations.append(f"memory {' '.join(names)} was read and written at {_time(now)} ns")
            elif kind == "n":
                trace.reads[now] = int(rest[0])
            elif kind == "z":
                trace.cycles, trace.hung = now, rest[0] != "0" or rest[1] != "0"
        if not trace.cycles:
            raise ValueError(f"the trace {path} is not complete")
        return trace


def _number(digits: str) -> int | None:
    try:
        return int(digits, 16)
    except ValueError:
        return None


def _time(cycle: int) -> int:
    """Time of the clock edge that ends a cycle, in nanoseconds."""
    return FIRST_EDGE_NS + PERIOD_NS * cycle


def _signed(value: int | None, width: int) -> int | None:
    if value is None:
        return None
    value &= (1 << width) - 1
    return value - (1 << width) if value >> (width - 1) else value


Got = tuple[int, int | None]
"""Cycle and value."""


class _Comparison:
    """Compares a trace with the golden model, block by block."""

    def __init__(self, plan: Plan, model: QuantizedModel, sent: Sequence[Frame], trace: _Trace, replay: str):
        self.plan, self.model, self.sent, self.trace, self.replay = plan, model, sent, trace, replay
        self.golden = Golden(model)
        computed, self.saturated = reference(model, sent)
        self.rounds = in_rounds(plan, computed)
        self.expected = [one for frames in self.rounds for one in frames]
        self.formats = {name: vector.format for name, vector in self.golden.vectors.items()}
        self.blocks: dict[str, list[int]] = {name: [0, 0] for name in self.formats if name != "x"}
        self.blocks |= {name: [0, 0] for name in ("logits", "decision.label", "decision.score", "frame_error")}
        logits = self.formats[output_name(model)]
        label = Format(max(1, (model.outputs - 1).bit_length()), 0, False)
        self.formats |= {"logits": logits, "decision.label": label, "decision.score": logits}
        self.formats["frame_error"] = Format(1, 0, False)
        if plan.config.smoothing is not None:
            self.blocks |= {"event.label": [0, 0], "event.score": [0, 0]}
            self.formats |= {"event.label": label, "event.score": plan.config.smoothing.sum_format(logits)}
        self.found: list[tuple[tuple[int, int], Mismatch]] = []

    @property
    def mismatch(self) -> Mismatch | None:
        """The first one: in the earliest frame, the earliest block of it."""
        return min(self.found, key=lambda one: one[0])[1] if self.found else None

    def run(self) -> None:
        """Compare all."""
        count = max(len(self.trace.segments), 1 + sum(frame.reset_after > 0 for frame in self.sent))
        for number in range(count):
            segment = self.trace.segments[number] if number < len(self.trace.segments) else _Segment()
            frames = [one for one in self.expected if one.segment == number]
            needed = len(frames)
            if number + 1 < count:
                needed = self._completed(segment, frames)
            self._elements(segment, frames, needed)
            self._outputs(segment, frames, needed, cut=number + 1 < count)
            self._events(segment, frames, needed, cut=number + 1 < count)
            self._errors(segment, number)

    def _completed(self, segment: _Segment, frames: list[Expected]) -> int:
        """How many frames must be complete at the reset that ends a segment.

        When the first product of a frame, or round, is issued, all products of the one before it were; its last rows
        follow within a number of cycles.
        """
        size = self.plan.config.frames_per_fetch
        tail = size * self.plan.lanes + self.plan.write_latency + 2
        whole = sum(cycle <= segment.ended - tail for cycle in segment.started) - 1
        return min(max(whole, 0) * size, len(frames))

    def _note(self, block: str, order: tuple[int, int], element: int, expected: int | None, got: Got | None) -> None:
        self.blocks[block][1] += 1
        unknown = got is not None and got[1] is None
        value, when = (None, None) if got is None else (got[1], _time(got[0]))
        mismatch = Mismatch(
            block, order[0], element, expected, value, unknown, self.formats[block], when, self.replay
        )
        self.found.append((order, mismatch))

    def _compare(
        self,
        block: str,
        order: tuple[int, int],
        first: int,
        expected: IntArray,
        got: Sequence[Got],
        partial: bool = False,
    ) -> None:
        """Compare a run of elements; `partial` allows missing ones at the end."""
        wanted = expected.tolist()
        counts = self.blocks[block]
        counts[0] += min(len(wanted), len(got)) if partial else max(len(wanted), len(got))
        if wanted == [value for _, value in got]:
            return
        for place, (one, other) in enumerate(zip(wanted, got, strict=False)):
            if one != other[1]:
                self._note(block, order, first + place, one, other)
        for place in range(len(got), len(wanted)):
            if not partial:
                self._note(block, order, first + place, wanted[place], None)
        for place in range(len(wanted), len(got)):
            self._note(block, order, first + place, None, got[place])

    def _elements(self, segment: _Segment, frames: list[Expected], needed: int) -> None:
        """Elements that left the finish block: frame by frame, or round by round, operation by operation."""
        groups = self._split(segment)
        operations = self.golden.operations
        rounds = in_rounds(self.plan, frames)
        for place in range(max(len(groups), len(rounds))):
            left = dict(groups[place]) if place < len(groups) else {}
            members = rounds[place] if place < len(rounds) else []
            seen = dict.fromkeys(left, 0)
            for number, one in enumerate(members):
                partial = place * len(members) + number >= needed
                for index, target, start, values in elements(self.golden, one):
                    rows = self._of_frame(index, left.get(index, []), seen.get(index, 0), values.size)
                    seen[index] = seen.get(index, 0) + 1
                    self._compare(target, (one.frame, index), start, values, rows, partial)
            for index, rows in left.items():
                size = operations[index].repeat * operations[index].rows if 0 <= index < len(operations) else 0
                target = operations[index].target if size else output_name(self.model)
                order = (members[-1].frame if members else len(self.sent), index)
                done = seen[index] * size
                self._compare(target, order, done, np.array([], np.int64), rows[done:])

    def _of_frame(self, index: int, rows: list[Got], number: int, size: int) -> list[Got]:
        """Elements of one frame of a round, those computed together coming row by row."""
        sums = self.plan.operations[index].sums
        return rows[number : sums * size : sums] if sums > 1 else rows[number * size : (number + 1) * size]

    def _split(self, segment: _Segment) -> list[dict[int, list[Got]]]:
        """Elements by frame, or round, and operation: it ends where the operation's index falls, or all are there."""
        widths = max(step.output.signed_width for step in self.plan.narrow_steps)
        sizes = [one.operation.repeat * one.operation.rows * one.frames for one in self.plan.operations]
        groups: list[dict[int, list[Got]]] = []
        last = len(sizes)
        for cycle, index, value in segment.elements:
            if index < last or (len(sizes) == 1 and len(groups[-1][index]) >= sizes[0]):
                groups.append({})
            last = index
            groups[-1].setdefault(index, []).append((cycle, _signed(value, widths)))
        return groups

    def _outputs(self, segment: _Segment, frames: list[Expected], needed: int, cut: bool) -> None:
        name, outputs = output_name(self.model), self.model.outputs
        giving = [place for place, one in enumerate(frames) if name in one.values]
        required = len([place for place in giving if place < needed]) - cut
        fmt = self.formats["logits"]
        logits = [(cycle, self._logit(value, fmt), value) for cycle, value in segment.logits]
        decisions = segment.decisions
        count = max(len(giving), -(-len(logits) // outputs), len(decisions))
        label_mask = (1 << self.formats["decision.label"].width) - 1
        for place in range(count):
            known = place < len(giving)
            frame = frames[giving[place]].frame if known else len(self.sent)
            values = frames[giving[place]].values[name] if known else np.array([], np.int64)
            partial = place >= required and cut
            order = (frame, len(self.golden.operations))
            mine = logits[place * outputs : (place + 1) * outputs]
            self._compare("logits", order, 0, values, [one[:2] for one in mine], partial)
            for index, (cycle, value, raw) in enumerate(mine):
                if raw is not None and raw >> fmt.width != (index == outputs - 1):
                    self._note("logits", order, index, values[index] if known else None, (cycle, value))
            decided = [np.array([one], np.int64) for one in decide(values)] if known else [values, values]
            one = decisions[place : place + 1]
            width = self.formats["decision.label"].width
            labels = [(cycle, None if raw is None else raw & label_mask) for cycle, _, raw in one]
            scores = [(cycle, None if raw is None else self._logit(raw >> width, fmt)) for cycle, _, raw in one]
            self._compare("decision.label", order, 0, decided[0], labels, partial)
            self._compare("decision.score", order, 0, decided[1], scores, partial)

    def _events(self, segment: _Segment, frames: list[Expected], needed: int, cut: bool) -> None:
        """Events of a segment; those of the last two complete frames may be lost in a reset."""
        smoothing = self.plan.config.smoothing
        if smoothing is None:
            return
        giving, restarts = logit_frames(self.model, frames)
        logits = np.array([one.values[output_name(self.model)] for one in giving]).reshape(-1, self.model.outputs)
        found = detect(logits, smoothing, restarts)
        due = sum(gives_logits(self.model, one) for one in frames[:needed]) - 2 * cut
        label = self.formats["event.label"]
        for place in range(max(len(found.frames), len(segment.events))):
            known = place < len(found.frames)
            frame = giving[int(found.frames[place])].frame if known else len(self.sent)
            partial = known and cut and int(found.frames[place]) >= due
            order = (frame, len(self.golden.operations))
            got = segment.events[place : place + 1]
            labels = [(cycle, None if raw is None else raw & ((1 << label.width) - 1)) for cycle, raw in got]
            scores = [(cycle, None if raw is None else raw >> label.width) for cycle, raw in got]
            self._compare("event.label", order, 0, found.labels[place : place + 1], labels, partial)
            self._compare("event.score", order, 0, found.scores[place : place + 1], scores, partial)

    @staticmethod
    def _logit(raw: int | None, fmt: Format) -> int | None:
        if raw is None:
            return None
        return _signed(raw, fmt.width) if fmt.signed else raw & ((1 << fmt.width) - 1)

    def _errors(self, segment: _Segment, number: int) -> None:
        """A malformed frame is reported in the cycle after its last element, and nothing else is."""
        wrong = {
            cycle + 1: index for cycle, index in segment.accepted if len(self.sent[index].values) != self.model.inputs
        }
        counts = self.blocks["frame_error"]
        counts[0] += len(segment.accepted)
        for cycle in segment.errors:
            if wrong.pop(cycle, None) is None:
                before = [index for accepted, index in segment.accepted if accepted < cycle]
                self._note("frame_error", (before[-1] if before else 0, -1), 0, 0, (cycle, 1))
        for cycle, index in wrong.items():
            if not segment.ended or cycle < segment.ended:
                self._note("frame_error", (index, -1), 0, 1, (cycle, 0))

    def timing(self, spaced: bool) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
        """Measured and planned intervals, or latencies if the frames were spaced.

        Intervals count where a whole stride period and the next frame came without a gap: no malformed frame, no clear
        that starts the strides anew. With `frames_per_fetch` they are those from round to round.
        """
        segment = self.trace.segments[-1]
        accepted = {index: cycle for cycle, index in segment.accepted}
        if spaced:
            planned = [pair for frames in self.rounds for pair in self._latencies(frames)]
            pairs = [
                (offered - accepted[last], cycles)
                for (last, cycles), (_, offered, _) in zip(planned, segment.decisions, strict=False)
                if last in accepted
            ]
            return (), tuple(pairs)
        pairs = []
        steady = 0
        intervals = self._intervals()
        for place, (one, after) in enumerate(itertools.pairwise(self.rounds)):
            steady += 1
            apart = len(one) + len(after) - 1
            if after[-1].frame != one[0].frame + apart or after[-1].phase != one[0].phase + apart:
                steady = 0
            elif steady > self.plan.rounds and place + 1 < len(segment.started):
                interval = segment.started[place + 1] - segment.started[place]
                pairs.append((interval, intervals[place]))
        return tuple(pairs), ()

    def _nonzero(self, one: Expected) -> Nonzero:
        """How many elements of the vectors of which zeros are skipped are not zero."""
        names = (name for name in all_zero(self.plan) if name in one.values)
        return {name: int(np.count_nonzero(one.values[name])) for name in names}

    def _timing(self, frames: Sequence[Expected]) -> FrameTiming:
        """Planned timing of a frame, or round."""
        return self.plan.frames[frames[0].phase // len(frames) % self.plan.rounds]

    def _latencies(self, frames: Sequence[Expected]) -> list[tuple[int, int]]:
        """For each output the frame that it waits for, and the planned latency, that of its data where it depends."""
        if self.plan.skipping_memories and self._timing(frames).output:
            return [(frames[-1].frame, latency(self.plan, frames[0].phase, self._nonzero(frames[0])))]
        return [(frames[-1].frame, cycles) for cycles in self._timing(frames).latencies]

    def _intervals(self) -> list[int]:
        """Planned cycles from each round to the next one, those of their data where they depend on them."""
        if self.plan.skipping_memories:
            starts = stream_starts(self.plan, ((one.phase, self._nonzero(one)) for one in self.expected))
            return [after - before for before, after in itertools.pairwise(starts)]
        return [self._timing(frames).interval for frames in self.rounds]

    def _accesses(self, frames: Sequence[Expected]) -> dict[str, int]:
        """Planned accesses of a round, those of its data where they depend on them."""
        if self.plan.skipping_memories:
            one = frames[0]
            return frame_timing(self.plan, self.plan.executed(one.phase), self._nonzero(one)).accesses
        return self._timing(frames).accesses

    def accesses(self) -> dict[str, tuple[int, int]]:
        """Reads of the weight memories, the parameters and all data memories together."""
        if any(frame.reset_after for frame in self.sent):
            return {}
        measured: dict[str, int] = {}
        for memory, count in zip(self.plan.memories, self.trace.reads, strict=True):
            name = "data" if memory.kind == "data" else memory.name
            if memory.kind in ("data", "weights", "parameters"):
                measured[name] = measured.get(name, 0) + count
        planned = dict.fromkeys(measured, 0)
        for frames in self.rounds:
            found = self._accesses(frames)
            for name in planned:
                planned[name] += found[name]
        return {name: (measured[name], planned[name]) for name in measured}
