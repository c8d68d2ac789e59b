"""Simulation of a mapped netlist: bit-exact outputs, and the exact activity of every net.

Cells behave as their Liberty functions say. They are compiled into a small simulator, once for a set of functions,
that runs up to 64 clips side by side; it has no delays, so there are no glitches, and it starts with all state at zero.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lmu_hw.flows.expression import Expression, Tree
from lmu_hw.flows.liberty import Cell, Sequential, cache_folder
from lmu_hw.power.activity import Activity
from lmu_hw.power.netlist import HIGH, LOW, Netlist
from lmu_hw.tools import ToolError

__all__ = ["Beat", "GateError", "GateSimulator"]

IntArray = NDArray[np.int64]

MAX_RUNS = 64
COMPILER_ARGUMENTS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-shared")
RECORD = np.dtype([("cycle", np.int64), ("port", np.int32), ("run", np.int32), ("payload", np.uint64, 4)])


class GateError(ValueError):
    """A netlist cannot be simulated."""


@dataclass(frozen=True)
class Beat:
    """A beat that a stream of the design offered.

    Parameters
    ----------
    cycle : int
        Clock cycle, counted from the start of the run.
    payload : int
        Its bits as an unsigned number.
    """

    cycle: int
    payload: int


def _c_text(tree: Tree, places: Mapping[str, int]) -> str:
    """C expression of a Boolean function; pin ``p`` is ``v[in[places[p]]].value``."""
    if tree[0] == "pin":
        return f"v[in[{places[str(tree[1])]}]].value"
    parts = [_c_text(part, places) for part in tree[1:]]
    match tree[0]:
        case "not":
            return f"~{parts[0]}"
        case "and":
            return f"({parts[0]} & {parts[1]})"
        case "or":
            return f"({parts[0]} | {parts[1]})"
        case "xor":
            return f"({parts[0]} ^ {parts[1]})"
        case "one":
            return "~Word(0)"
        case _:
            return "Word(0)"


@dataclass(frozen=True)
class _Node:
    """A function of pins and states that drives a pin or state."""

    function: Expression
    output: str


@dataclass(frozen=True)
class _Flop:
    """A flip-flop: names of pins or states, nothing for what it does not have."""

    clock: str
    data: str
    clear: str
    preset: str
    state: str


def _latch(one: Sequential, data: Expression, enable: Expression) -> Expression:
    """State of a latch as a function of pins and its own state."""
    text = f"(({enable.text})*({data.text}))+(!({enable.text})*{one.state})"
    if one.preset is not None:
        text = f"({one.preset.text})+({text})"
    if one.clear is not None:
        text = f"!({one.clear.text})*({text})"
    return Expression(text)


def _clock_gate(cell: Cell) -> list[_Node]:
    roles = {pin.role: pin.name for pin in cell.pins.values() if pin.role}
    clock, enable, test, out = (roles.get(role, "") for role in ("clock", "enable", "test", "out"))
    rest = [name for name in cell.inputs if name not in (clock, enable, test)]
    enable = enable or (rest[0] if len(rest) == 1 else "")
    out = out or (cell.outputs[0] if len(cell.outputs) == 1 else "")
    if not cell.clock_gating.startswith("latch_posedge") or not (clock and enable and out):
        raise GateError(f"the clock gate {cell.name} is of a kind that is not simulated: {cell.clock_gating!r}")
    late = cell.clock_gating.endswith("postcontrol")
    request = f"({enable}+{test})" if test and not late else enable
    passing = f"({clock}*(state+{test}))" if test and late else f"{clock}*state"
    return [_Node(Expression(f"(!{clock}*{request})+({clock}*state)"), "state"), _Node(Expression(passing), out)]


def _behaviour(cell: Cell) -> tuple[list[_Node], list[_Flop]]:
    """Nodes and flip-flops of a cell."""
    if cell.memory is not None:
        raise GateError(f"the memory macro {cell.name} is not simulated")
    if cell.clock_gating:
        return _clock_gate(cell), []
    nodes: list[_Node] = []
    flops: list[_Flop] = []
    for number, one in enumerate(cell.sequentials):
        if one.data is None or one.clock is None:
            raise GateError(f"the cell {cell.name} has a {one.kind} without data or clock")
        if one.kind == "latch":
            nodes.append(_Node(_latch(one, one.data, one.clock), one.state))
        else:
            names = {}
            for kind in ("clock", "data", "clear", "preset"):
                function = getattr(one, kind)
                names[kind] = "" if function is None else f"{kind}{number}"
                if function is not None:
                    nodes.append(_Node(function, names[kind]))
            flops.append(_Flop(**names, state=one.state))
        if one.inverse:
            nodes.append(_Node(Expression(f"!{one.state}"), one.inverse))
    for pin in cell.pins.values():
        if pin.direction == "input" or pin.direction == "internal":
            continue
        if pin.function is None or pin.three_state is not None:
            raise GateError(f"the output {pin.name} of the cell {cell.name} has no function that can be simulated")
        nodes.append(_Node(pin.function, pin.name))
    return nodes, flops


class _Compiled:
    """Nodes of a netlist in topological order, as numbers."""

    def __init__(self, netlist: Netlist):
        self.nets = netlist.nets
        self.functions: dict[str, int] = {}
        self.flops: list[int] = []
        function: list[int] = []
        inputs: list[list[int]] = []
        output: list[int] = []
        behaviours: dict[str, tuple[list[_Node], list[_Flop]]] = {}
        for instance in netlist.instances:
            cell = instance.cell
            if cell.name not in behaviours:
                behaviours[cell.name] = _behaviour(cell)
            nodes, flops = behaviours[cell.name]
            local = dict(instance.nets)
            for node in nodes:
                plain = node.function.tree
                if plain[0] == "pin" and node.output not in local:
                    local[node.output] = local[str(plain[1])] if str(plain[1]) in local else self.fresh()
                    continue
                for name in (*node.function.pins, node.output):
                    if name not in local:
                        local[name] = self.fresh()
                places = {name: index for index, name in enumerate(node.function.pins)}
                text = _c_text(node.function.tree, places)
                function.append(self.functions.setdefault(text, len(self.functions)))
                inputs.append([local[name] for name in node.function.pins])
                output.append(local[node.output])
            for flop in flops:
                if flop.state not in local:
                    local[flop.state] = self.fresh()
                self.flops += [local[name] if name else -1 for name in vars(flop).values()]
        # Nodes of a level that do the same stand together, and nets in the order of their nodes: both are quicker.
        level = self._levels(inputs, output)
        order = np.lexsort((function, level)).tolist()
        driven = [output[node] for node in order]
        rest = np.setdiff1d(np.arange(self.nets), driven)
        self.place = np.empty(self.nets, dtype=np.int32)
        self.place[np.concatenate([rest, driven]).astype(np.int64)] = np.arange(self.nets)
        self.function = np.array([function[node] for node in order], dtype=np.int32)
        self.output = self.place[driven]
        lengths = [len(inputs[node]) for node in order]
        self.first_input = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        self.inputs = self.place[np.array([net for node in order for net in inputs[node]] + [0])]
        self.flop_nets = np.array([self.place[net] if net >= 0 else -1 for net in self.flops], dtype=np.int32)

    def fresh(self) -> int:
        self.nets += 1
        return self.nets - 1

    @staticmethod
    def _levels(inputs: list[list[int]], output: list[int]) -> list[int]:
        driver = {net: node for node, net in enumerate(output)}
        readers: list[list[int]] = [[] for _ in output]
        waiting = [0] * len(output)
        for node, nets in enumerate(inputs):
            for source in {driver[net] for net in nets if net in driver} - {node}:
                readers[source].append(node)
                waiting[node] += 1
        level = [0] * len(output)
        ready = [node for node, count in enumerate(waiting) if not count]
        for node in ready:
            for reader in readers[node]:
                level[reader] = max(level[reader], level[node] + 1)
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready.append(reader)
        if len(ready) != len(output):
            raise GateError("the netlist has a combinational loop")
        return level


def _machine() -> str:
    """What distinguishes processors that run each other's native code from those that do not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.platform()
    return "".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


def _library(functions: Mapping[str, int]) -> ctypes.CDLL:
    """The simulator for a set of functions, compiled now or before."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise ToolError("a C++ compiler was not found: apt install g++")
    source = Path(__file__).with_name("gates.cpp")
    cases = "".join(f"case {number}: return {text};\n" for text, number in functions.items())
    key = hashlib.sha256(
        "".join([cases, source.read_text(), compiler, *COMPILER_ARGUMENTS, _machine()]).encode()
    ).hexdigest()[:32]
    folder = cache_folder() / "gates"
    place = folder / f"{key}.so"
    if not place.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as name:
            work = Path(name)
            (work / "functions.inc").write_text(cases)
            arguments = [compiler, *COMPILER_ARGUMENTS, f"-I{work}", str(source), "-o", str(work / "gates.so")]
            done = subprocess.run(arguments, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ToolError(f"the gate-level simulator does not compile:\n{done.stderr[-2000:]}")
            (work / "gates.so").replace(place)
    library = ctypes.CDLL(str(place))
    library.gates_new.restype = ctypes.c_void_p
    library.gates_counts.restype = ctypes.c_int64
    library.gates_stream.restype = ctypes.c_int64
    return library


def _pointer(array: NDArray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class GateSimulator:
    """A netlist that runs.

    Inputs change just after the rising edge that starts a cycle, outputs are taken at its end. All state is zero at
    first.

    Parameters
    ----------
    netlist : Netlist
        Of cells with functions; memory macros and three-state outputs are refused.
    clock : str
        Name of the clock port.
    runs : int
        Independent runs side by side, 1 to 64.

    Raises
    ------
    GateError
        If the netlist cannot be simulated.
    ToolError
        If there is no C++ compiler.
    """

    def __init__(self, netlist: Netlist, clock: str = "clk", runs: int = 1):
        if not 1 <= runs <= MAX_RUNS:
            raise GateError(f"runs must be in 1 to {MAX_RUNS}, not {runs!r}")
        if len(netlist.inputs.get(clock, ())) != 1:
            raise GateError(f"the netlist {netlist.top} has no input port {clock!r} of one bit")
        self.netlist = netlist
        self.clock = clock
        self.runs = runs
        self._compiled = compiled = _Compiled(netlist)
        self._c = _library(compiled.functions)
        self._start = 0
        self._handle = ctypes.c_void_p(
            self._c.gates_new(
                ctypes.c_int32(compiled.nets),
                ctypes.c_int32(compiled.function.size),
                _pointer(compiled.function),
                _pointer(compiled.first_input),
                _pointer(compiled.inputs),
                _pointer(compiled.output),
                ctypes.c_int32(compiled.flop_nets.size // 5),
                _pointer(compiled.flop_nets),
                ctypes.c_int32(compiled.place[netlist.inputs[clock][0]]),
                ctypes.c_uint64((1 << runs) - 1),
            )
        )

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self._c.gates_free(self._handle)

    def run(self, inputs: Mapping[str, IntArray], cycles: int) -> dict[str, IntArray]:
        """Run cycles with given inputs.

        Parameters
        ----------
        inputs : mapping of str to ndarray of int64, shape (cycles,) or (cycles, runs)
            Values of input ports, as unsigned or two's complement numbers; ports that are not named keep their values.
        cycles : int
            How many.

        Returns
        -------
        dict of str to ndarray of int64, shape (cycles, runs)
            Every output port as an unsigned number, at the end of each cycle.

        Raises
        ------
        GateError
            If there is no such input port, or a port has more than 63 bits.
        """
        nets: list[int] = []
        columns = []
        for name, values in inputs.items():
            port = self.netlist.inputs.get(name)
            if port is None or name == self.clock:
                raise GateError(f"the netlist {self.netlist.top} has no data input {name!r}")
            given = np.asarray(values, dtype=np.int64)
            given = np.broadcast_to(given[:, None] if given.ndim == 1 else given, (cycles, self.runs))
            nets += port
            columns += [_words(given >> bit & 1) for bit in range(len(port))]
        words = np.ascontiguousarray(np.stack(columns, axis=1)) if columns else np.zeros((cycles, 0), dtype=np.uint64)
        outputs = [net for port in self.netlist.outputs.values() for net in port]
        found = np.zeros((cycles, len(outputs)), dtype=np.uint64)
        input_nets, output_nets = self._places(nets), self._places(outputs)
        self._c.gates_vectors(
            self._handle,
            ctypes.c_int64(cycles),
            ctypes.c_int32(input_nets.size),
            _pointer(input_nets),
            _pointer(words),
            ctypes.c_int32(output_nets.size),
            _pointer(output_nets),
            _pointer(found),
        )
        result = {}
        column = 0
        for name, port in self.netlist.outputs.items():
            if len(port) > 63:
                raise GateError(f"output port {name} has {len(port)} bits, at most 63 are read as a number")
            bits = (found[:, column : column + len(port), None] >> np.arange(self.runs, dtype=np.uint64)) & np.uint64(1)
            weights = np.int64(1) << np.arange(len(port), dtype=np.int64)
            result[name] = np.einsum("cbr,b->cr", bits.astype(np.int64), weights)
            column += len(port)
        return result

    def stream(
        self,
        name: str,
        beats: IntArray,
        outputs: Mapping[str, int],
        *,
        earliest: IntArray | None = None,
        limit: int = 10_000_000,
    ) -> dict[str, list[list[Beat]]]:
        """Feed a stream and collect others; consumers are always ready.

        Parameters
        ----------
        name : str
            Of the input stream, with ports ``NAME__valid``, ``NAME__ready`` and ``NAME__payload``.
        beats : ndarray of int64, shape (beats,) or (runs, beats)
            Payloads, up to 63 bits.
        outputs : mapping of str to int
            Beats expected of every output stream; the run ends when all have come.
        earliest : ndarray of int64, shape (beats,), optional
            First cycle in which each beat may be offered; as soon as possible if not given.
        limit : int
            Cycles after which it gives up.

        Returns
        -------
        dict of str to list of list of Beat
            By stream and run.

        Raises
        ------
        GateError
            If not all beats came.
        """
        given = np.asarray(beats, dtype=np.int64)
        given = np.broadcast_to(given if given.ndim == 2 else given[None], (self.runs, given.shape[-1]))
        count = given.shape[1]
        data = np.zeros((MAX_RUNS, count), dtype=np.uint64)
        data[: self.runs] = given.astype(np.uint64)
        payload = self._places(self._port("inputs", f"{name}__payload"))
        if payload.size > 63:
            raise GateError(f"the stream {name} has {payload.size} bits, at most 63 can be fed")
        times = np.zeros(count, dtype=np.int64) if earliest is None else np.asarray(earliest, dtype=np.int64)
        ports: list[int] = []
        for port in outputs:
            bits = self._places(self._port("outputs", f"{port}__payload"))
            ports += [self._place("outputs", f"{port}__valid"), self._place("inputs", f"{port}__ready")]
            ports += [bits.size, *bits.tolist()]
        port_nets = np.array(ports, dtype=np.int32)
        wanted = np.array(list(outputs.values()), dtype=np.int64)
        room = int(2 * wanted.sum() * self.runs + 1024)
        records = np.zeros(room, dtype=RECORD)
        number, accepted = np.zeros(1, dtype=np.int64), np.zeros(MAX_RUNS, dtype=np.int64)
        cycles = self._c.gates_stream(
            self._handle,
            ctypes.c_int64(limit),
            ctypes.c_int32(self._place("inputs", f"{name}__valid")),
            ctypes.c_int32(self._place("outputs", f"{name}__ready")),
            ctypes.c_int32(payload.size),
            _pointer(payload),
            ctypes.c_int64(count),
            _pointer(data),
            _pointer(times),
            ctypes.c_int32(len(outputs)),
            _pointer(port_nets),
            _pointer(wanted),
            ctypes.c_int64(room),
            _pointer(records),
            _pointer(number),
            _pointer(accepted),
        )
        if cycles < 0:
            raise GateError(f"more than {room} beats came out, {int(wanted.sum()) * self.runs} were expected")
        found: dict[str, list[list[Beat]]] = {port: [[] for _ in range(self.runs)] for port in outputs}
        names = list(outputs)
        for record in records[: int(number[0])]:
            value = sum(int(word) << (64 * index) for index, word in enumerate(record["payload"]))
            found[names[record["port"]]][record["run"]].append(Beat(int(record["cycle"]), value))
        for port, runs in found.items():
            fewest = min(len(one) for one in runs)
            if fewest < outputs[port]:
                taken = int(accepted[: self.runs].min())
                raise GateError(
                    f"after {limit} cycles {port} gave {fewest} of {outputs[port]} beats, "
                    f"{taken} of {count} were accepted"
                )
        return found

    def _places(self, nets: Sequence[int]) -> NDArray[np.int32]:
        """Where nets of the netlist are in the simulator."""
        return self._compiled.place[np.array(nets, dtype=np.int64)]

    def _place(self, kind: str, name: str) -> int:
        return int(self._places(self._port(kind, name))[0])

    def _port(self, kind: str, name: str) -> tuple[int, ...]:
        group: dict[str, tuple[int, ...]] = getattr(self.netlist, kind)
        if name not in group:
            raise GateError(f"the netlist {self.netlist.top} has no {kind[:-1]} port {name!r}")
        return group[name]

    def start_counting(self) -> None:
        """Forget all counts, after a reset say."""
        self._c.gates_clear(self._handle)
        self._start = self._time()[0]

    def _time(self) -> tuple[int, IntArray, IntArray]:
        toggles, high = np.zeros(self._compiled.nets, dtype=np.int64), np.zeros(self._compiled.nets, dtype=np.int64)
        now = self._c.gates_counts(self._handle, _pointer(toggles), _pointer(high))
        return int(now), toggles[self._compiled.place], high[self._compiled.place]

    def activity(self, period: float) -> Activity:
        """Mean activity of all runs since the counts were started.

        Parameters
        ----------
        period : float
            Clock period in seconds that the run stands for.

        Returns
        -------
        Activity
            Exact counts of every net that has a driver or is an input.

        Raises
        ------
        GateError
            If no cycle was counted.
        """
        now, toggles, high = self._time()
        half_cycles = now - self._start
        if half_cycles <= 0:
            raise GateError("no cycle was run since the counts were started")
        nets = self.netlist.nets
        known = np.zeros(nets, dtype=bool)
        known[[LOW, HIGH]] = True
        known[list(self.netlist.drivers())] = True
        for port in self.netlist.inputs.values():
            known[list(port)] = True
        return Activity(
            period=period,
            cycles=half_cycles / 2,
            toggles=toggles[:nets] / (half_cycles / 2 * self.runs),
            duty=high[:nets] / (half_cycles * self.runs),
            known=known,
            source="zero-delay simulation of the netlist",
        )


def _words(bits: IntArray) -> NDArray[np.uint64]:
    """One word of 64 runs from the bits of each."""
    places = np.arange(bits.shape[-1], dtype=np.uint64)
    return (bits.astype(np.uint64) << places).sum(axis=-1, dtype=np.uint64)
