"""Two versions of one accelerator in lockstep: the same random input, every output compared in every cycle.

Use it when a change of the gateware must change nothing. The input has stalls, frames of wrong length, cleared states,
loaded weights and resets in the middle of frames. Only outputs of the top module are compared. A difference inside
shows only if the input carries it to an output, so run several seeds.
"""

import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from lmu_hw.checks import require_int
from lmu_hw.export.ports import Port, ports
from lmu_hw.gateware.layouts import load_layout
from lmu_hw.plan.config import Interface, StatePolicy, WeightStore
from lmu_hw.plan.load_port import load_words
from lmu_hw.plan.plan import Plan
from lmu_hw.tools import Tool, find_icarus, run_tool
from lmu_sim.build_cache import BuildCache
from lmu_sim.runner import Simulator, build

__all__ = ["LockstepDifference", "LockstepError", "LockstepResult", "run_lockstep"]

LEAST_CYCLES = 20_000
PERIODS = 10
"""A run by default takes the cycles of so many stride periods, at least `LEAST_CYCLES`."""

TIMEOUT_S = 3600.0

COUNTS = ("i", "o_logits", "o_decision", "o_event", "i_load")
"""Streams in the order in which the bench reports their transfers."""

_MODULE = re.compile(r"^module +(\\\S+|\w+)", re.MULTILINE)
_NAME = re.compile(r"^(module +|  )(\\\S+|\w+)(?=[ (])", re.MULTILINE)
"""First name of a line: a module that is declared, or one that is instantiated."""
_PORT = re.compile(r"^  (input|output) (?:\[(\d+):0\] )?(\S+) ?;", re.MULTILINE)
_DIFFERENCE = re.compile(r"^difference (\S+) (\d+) (\S+) (\S+)$", re.MULTILINE)
_REPORT = re.compile(r"^counts ([\d ]+)$", re.MULTILINE)


@dataclass(frozen=True)
class LockstepDifference:
    """First output that differs.

    Parameters
    ----------
    output : str
        Port of the top module.
    cycle : int
        Clock cycle, from 0.
    old, new : str
        Values in hexadecimal. Equal values have unknown bits (``x``).
    """

    output: str
    cycle: int
    old: str
    new: str

    def __str__(self) -> str:
        unknown = " (unknown bits)" if self.old == self.new else ""
        return f"{self.output} in cycle {self.cycle}: old {self.old}, new {self.new}{unknown}"


@dataclass(frozen=True)
class LockstepResult:
    """What a run in lockstep did, and the first difference.

    Parameters
    ----------
    cycles : int
        Clock cycles that were compared.
    transfers : dict of str to int
        Accepted payloads by stream: ``i``, ``o_logits``, ``o_decision``, ``o_event``, ``i_load``. A stream that the
        accelerator does not have is left out.
    frame_errors : int
        Frames of wrong length that were dropped.
    clears : int
        Cycles with ``clear`` set.
    resets : int
        Resets after the first one.
    cut_frames : int
        Resets that came in the middle of an input frame.
    difference : LockstepDifference or None
        First difference; None if there is none.
    """

    cycles: int
    transfers: dict[str, int]
    frame_errors: int
    clears: int
    resets: int
    cut_frames: int
    difference: LockstepDifference | None

    def check(self) -> "LockstepResult":
        """Refuse a run with a difference, or one that computed nothing.

        Returns
        -------
        LockstepResult
            This result.

        Raises
        ------
        LockstepError
            With this result. The message names the output and the cycle.
        """
        if self.difference is not None:
            raise LockstepError(f"first difference: {self.difference}", self)
        if not self.transfers["o_decision"]:
            raise LockstepError(f"no decision came in {self.cycles} cycles, so little was compared", self)
        return self


class LockstepError(RuntimeError):
    """Two accelerators do not behave alike.

    Parameters
    ----------
    message : str
        One line: the first difference, or why nothing was compared.
    result : LockstepResult
        Of the run.
    """

    def __init__(self, message: str, result: LockstepResult):
        super().__init__(message)
        self.result = result


def run_lockstep(
    plan: Plan,
    old_verilog: str,
    new_verilog: str,
    *,
    cycles: int | None = None,
    seed: int = 1,
    cache: BuildCache | None = None,
) -> LockstepResult:
    """Drive two versions of an accelerator with the same random input, and compare all outputs in every cycle.

    The simulator is Icarus Verilog. The run ends at the first difference. The Verilog may have any module names.

    Parameters
    ----------
    plan : Plan
        What both versions were generated from. If it has a bus, its core is compared.
    old_verilog, new_verilog : str
        Text of each version, as `lmu_hw.export.emit.to_verilog` writes it.
    cycles : int, optional
        Clock cycles to run, at least 1. By default 20 000 or those of 10 stride periods, whichever is more, and
        those that loading the weights takes.
    seed : int
        Of all random choices, 0 to ``2**31 - 1``.
    cache : BuildCache, optional
        Where the compiled bench is kept; in the user's cache folder by default.

    Returns
    -------
    LockstepResult
        Call its `check` to raise on a difference.

    Raises
    ------
    ValueError
        If a version does not have exactly one top module with the plan's ports, or a number is out of range.
    TypeError
        If `cycles` or `seed` is no integer.
    ToolError
        If Icarus Verilog is missing or fails.
    SimulatorError
        If a version does not compile.
    """
    cycles = _default_cycles(plan) if cycles is None else require_int("cycles", cycles, 1, 2**31 - 1)
    seed = require_int("seed", seed, 0, 2**31 - 1)
    core = ports(replace(plan, config=replace(plan.config, interface=Interface.STREAM)))
    old_top, old_text = _renamed("old", old_verilog, core)
    new_top, new_text = _renamed("new", new_verilog, core)
    sources = {
        "lockstep_ports.vh": _header(plan, core, old_top, new_top),
        "lockstep.v": files("lmu_sim.testing").joinpath("lockstep.v").read_text(),
        "old.v": old_text,
        "new.v": new_text,
    }
    bench = build(Simulator.ICARUS, sources, "lockstep", cache=cache)
    icarus = find_icarus()
    vvp = Tool(["vvp", "-n", str(bench.folder / "sim.vvp")], icarus.env, icarus.version)
    with tempfile.TemporaryDirectory(prefix="lmu-lockstep-") as folder:
        if plan.config.weights is WeightStore.RAM:
            (Path(folder) / "image.txt").write_text(_image(plan))
        printed = run_tool(vvp, [f"+cycles={cycles}", f"+seed={seed}"], Path(folder), TIMEOUT_S)
    return _result(printed, {port.name.partition("__")[0] for port in core})


def _period_cycles(plan: Plan) -> int:
    """Least cycles from one decision to the next: those of all frames of a stride period."""
    return sum(frame.interval for frame in plan.frames)


def _words(plan: Plan) -> int:
    """Words of the weight image; 0 if the weights are constants."""
    if plan.config.weights is WeightStore.ROM:
        return 0
    return sum(memory.depth for memory in (*plan.weight_memories, plan.parameters))


def _image(plan: Plan) -> str:
    """Payloads of the load port that load the plan's weights, in hexadecimal, one line each."""
    layout = load_layout(plan)
    offsets = [layout[name].offset for name in ("memory", "address", "data")]
    payloads = (sum(part << low for part, low in zip(word, offsets, strict=True)) for word in load_words(plan))
    return "".join(f"{payload:x}\n" for payload in payloads)


def _default_cycles(plan: Plan) -> int:
    return max(LEAST_CYCLES, PERIODS * _period_cycles(plan)) + 2 * _words(plan)


def _renamed(version: str, verilog: str, expected: Iterable[Port]) -> tuple[str, str]:
    """Top module and text of a version whose module names all start with ``old_`` or ``new_``."""
    modules = set(_MODULE.findall(verilog))
    named = [name for _, name in _NAME.findall(verilog) if name in modules]
    tops = sorted(name for name in modules if named.count(name) == 1)
    if len(tops) != 1:
        raise ValueError(f"{version}_verilog must have one top module, not {len(tops)}: {', '.join(tops) or 'none'}")
    body = re.search(rf"^module +{re.escape(tops[0])}[ (].*?^endmodule", verilog, re.MULTILINE | re.DOTALL)
    found = {} if body is None else {name: (way, int(high or 0) + 1) for way, high, name in _PORT.findall(body[0])}
    wanted = {port.name: ("input" if port.is_input else "output", port.width) for port in expected}
    if wrong := sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)):
        name = wrong[0]
        texts = [f"{ends[name][1]}-bit {ends[name][0]}" if name in ends else "missing" for ends in (found, wanted)]
        raise ValueError(f"port {name} of {version}_verilog is {texts[0]}, but in the plan {texts[1]}")

    def rename(match: re.Match[str]) -> str:
        start, name = match.groups()
        if name not in modules:
            return match[0]
        return f"{start}\\{version}_{name[1:]}" if name.startswith("\\") else f"{start}{version}_{name}"

    return f"{version}_{tops[0]}", _NAME.sub(rename, verilog)


def _header(plan: Plan, core: Iterable[Port], old_top: str, new_top: str) -> str:
    """Part of the bench that depends on the ports: constants, wires, both accelerators and the comparisons."""
    core = [port for port in core if port.name not in ("clk", "rst")]
    inputs = [port for port in core if port.is_input]
    outputs = [port for port in core if not port.is_input]
    lines = _constants(plan)
    lines += [f"reg [{port.width - 1}:0] {port.name} = 0;" for port in inputs]
    lines += [f"wire [{port.width - 1}:0] old_{port.name}, new_{port.name};" for port in outputs]
    for version, top in (("old", old_top), ("new", new_top)):
        ends = [f".{name}({name})" for name in ("clk", "rst", *(port.name for port in inputs))]
        ends += [f".{port.name}({version}_{port.name})" for port in outputs]
        lines.append(f"{top} {version}_dut ({', '.join(ends)});")
    lines.append("reg different = 0;")
    lines += [_comparison(port.name) for port in outputs]
    return "\n".join(lines) + "\n"


def _constants(plan: Plan) -> list[str]:
    """Numbers of the bench; a reset is so rare that several decisions come between two."""
    constants = {
        "INPUTS": plan.model.inputs,
        "DATA_WIDTH": plan.model.input.width,
        "PERIOD_CYCLES": _period_cycles(plan),
        "RATE_CYCLES": max(512, _period_cycles(plan)),
        "RESET_CYCLES": max(2000, 8 * _period_cycles(plan)),
    }
    lines = [f"localparam {name} = {value};" for name, value in constants.items()]
    if plan.config.state is StatePolicy.PULSE:
        lines.append("`define LOCKSTEP_CLEAR")
    if plan.config.smoothing is not None:
        lines.append("`define LOCKSTEP_EVENT")
    if plan.config.weights is WeightStore.RAM:
        layout = load_layout(plan)
        lines += ["`define LOCKSTEP_LOAD", f"localparam WORDS = {_words(plan)};"]
        lines += [f"localparam LOAD_WIDTH = {layout.size};", f"localparam LOAD_DATA = {layout['data'].offset};"]
    return lines


def _comparison(name: str) -> str:
    """Statement that reports an output that differs, or whose bits are unknown though they count."""
    stream, _, part = name.partition("__")
    counts = f"old_{stream}__valid" if part == "payload" else "1'b1"
    unknown = f"cycle > 8 && {counts} && ^old_{name} === 1'bx"
    return (
        f"always @(posedge clk) if (!different && cycle > 2 && (old_{name} !== new_{name} || ({unknown}))) begin\n"
        f"  different = 1;\n"
        f'  $display("difference {name} %0d %h %h", cycle, old_{name}, new_{name});\n'
        f"end"
    )


def _result(printed: str, streams: set[str]) -> LockstepResult:
    """Read what the bench wrote."""
    report = _REPORT.search(printed)
    if report is None:
        raise RuntimeError(f"the bench ended without its counts: {printed[-200:]}")
    counts = [int(count) for count in report[1].split()]
    first = _DIFFERENCE.search(printed)
    return LockstepResult(
        cycles=counts[0],
        transfers={name: count for name, count in zip(COUNTS, counts[1:6], strict=True) if name in streams},
        frame_errors=counts[6],
        clears=counts[7],
        resets=counts[8],
        cut_frames=counts[9],
        difference=None if first is None else LockstepDifference(first[1], int(first[2]), first[3], first[4]),
    )
