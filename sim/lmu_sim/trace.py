"""The trace that the bench writes: records by cycle, cut at every reset."""

from dataclasses import dataclass, field
from pathlib import Path

from lmu_hw.plan.plan import Plan

__all__ = ["FrameCounter", "Segment", "Trace", "read_trace", "signed", "time_ns"]

PERIOD_NS, FIRST_EDGE_NS = 10, 5


@dataclass
class Segment:
    """What happened between two resets. Every record starts with its clock cycle; an unknown value (x) is None.

    Parameters
    ----------
    accepted : list of (int, int)
        Frames whose last element was accepted: cycle, index among the frames sent.
    errors : list of int
        Cycles with ``frame_error``.
    asleep : list of int
        Cycles with ``asleep``.
    started : list of int
        Cycles in which the first product of a frame, or round, was issued.
    elements : list of (int, int, int or None)
        Elements that left the finish block: cycle, index of the operation (-1 if unknown), raw value. A row of several
        memories that are updated at once is one value.
    logits : list of (int, int or None)
        Transfers on ``o_logits``: cycle, payload.
    decisions : list of (int, int, int or None)
        Transfers on ``o_decision``: cycle, cycle in which it was first offered, payload.
    events : list of (int, int or None)
        Transfers on ``o_event``: cycle, payload.
    ended : int
        Cycle of the reset that ends the segment; 0 for the last one.
    """

    accepted: list[tuple[int, int]] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    asleep: list[int] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    elements: list[tuple[int, int, int | None]] = field(default_factory=list)
    logits: list[tuple[int, int | None]] = field(default_factory=list)
    decisions: list[tuple[int, int, int | None]] = field(default_factory=list)
    events: list[tuple[int, int | None]] = field(default_factory=list)
    ended: int = 0


@dataclass
class Trace:
    """What the bench saw in a run.

    Parameters
    ----------
    segments : list of Segment
        One more than there were resets.
    violations : list of str
        Broken rules of the streams and memories, each with its time.
    reads : list of int
        Reads of each of the plan's memories.
    cycles : int
        Clock cycles simulated.
    hung : bool
        Whether the accelerator stopped taking frames, or did not come to rest.
    """

    segments: list[Segment]
    violations: list[str]
    reads: list[int]
    cycles: int = 0
    hung: bool = False


def read_trace(plan: Plan, path: Path) -> Trace:
    """Read a trace file.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    path : Path
        The file that the bench wrote.

    Returns
    -------
    Trace
        Its records.

    Raises
    ------
    ValueError
        If the file has no end record: the simulation was cut short.
    """
    trace = Trace([Segment()], [], [0] * len(plan.memories))
    resetting = False
    for line in path.read_text().splitlines():
        record, cycle, *fields = line.split()
        if record == "r":
            if not resetting:
                trace.segments[-1].ended = int(cycle)
                trace.segments.append(Segment())
            resetting = True
            continue
        resetting = False
        if record in _IN_SEGMENT:
            _add_to_segment(trace.segments[-1], record, int(cycle), fields)
        else:
            _add_to_trace(trace, plan, record, int(cycle), fields)
    if not trace.cycles:
        raise ValueError(f"the trace {path} has no end record: the simulation was cut short")
    return trace


_IN_SEGMENT = "elsdapxq"


def _add_to_segment(segment: Segment, record: str, cycle: int, fields: list[str]) -> None:
    match record:
        case "e":
            segment.elements.append((cycle, int(fields[0]) if fields[0].isdigit() else -1, _hexadecimal(fields[1])))
        case "l":
            segment.logits.append((cycle, _hexadecimal(fields[0])))
        case "s":
            segment.events.append((cycle, _hexadecimal(fields[0])))
        case "d":
            segment.decisions.append((cycle, int(fields[0]), _hexadecimal(fields[1])))
        case "a":
            segment.accepted.append((cycle, int(fields[0])))
        case "p":
            segment.started.append(cycle)
        case "x":
            segment.errors.append(cycle)
        case "q":
            segment.asleep.append(cycle)


def _add_to_trace(trace: Trace, plan: Plan, record: str, number: int, fields: list[str]) -> None:
    """Add a record of the whole run; `number` is a cycle, or the index of a memory in an access count."""
    match record:
        case "v":
            trace.violations.append(f"{fields[0]} broke its stream contract at {time_ns(number)} ns")
        case "m":
            both = int(fields[0], 2) if set(fields[0]) <= {"0", "1"} else 0
            names = [memory.name for index, memory in enumerate(plan.memories) if both >> index & 1]
            trace.violations.append(f"memory {' '.join(names)} was read and written at {time_ns(number)} ns")
        case "n":
            trace.reads[number] = int(fields[0])
        case "z":
            trace.cycles, trace.hung = number, fields[0] != "0" or fields[1] != "0"


class FrameCounter:
    """Counts the frames taken so far, in a trace that is still being written.

    Parameters
    ----------
    path : Path
        The trace file; it need not exist yet.
    """

    def __init__(self, path: Path):
        self._path = path
        self._offset = self._frames = 0

    def count(self) -> int:
        """Frames whose last element was accepted. The simulator buffers its writes, so the count lags."""
        try:
            with self._path.open("rb") as trace:
                trace.seek(self._offset)
                written = trace.read()
        except FileNotFoundError:
            return 0
        lines = written[: written.rfind(b"\n") + 1]
        self._offset += len(lines)
        self._frames += sum(line.startswith(b"a ") for line in lines.splitlines())
        return self._frames


def time_ns(cycle: int) -> int:
    """Time of the clock edge that ends a cycle, in nanoseconds."""
    return FIRST_EDGE_NS + PERIOD_NS * cycle


def signed(value: int | None, width: int) -> int | None:
    """Read the low `width` bits as two's complement; None stays None."""
    if value is None:
        return None
    value &= (1 << width) - 1
    return value - (1 << width) if value >> (width - 1) else value


def _hexadecimal(digits: str) -> int | None:
    """A number; None if a digit is unknown (x or z)."""
    try:
        return int(digits, 16)
    except ValueError:
        return None
