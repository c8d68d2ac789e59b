"""Simulation of a mapped netlist: bit-exact outputs, and the exact activity of every net.

Cells behave as their Liberty functions say. Each set of functions is compiled once, into a small simulator that runs up
to 64 clips side by side. Without delays there are no glitches; with them, nets take the same values at every edge of
the clock, and glitches are counted beside the settled changes. All state starts at zero.
"""

import ctypes
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.netlist import Netlist
from lmu_hw.power.activity import Activity
from lmu_hw.power.change_energy import ChangeEnergies
from lmu_hw.tools import ToolError
from lmu_sim.build_cache import BuildCache, content_key
from lmu_sim.counts import AccessCounts, NetCounts
from lmu_sim.gate_delays import RESOLUTION, GateDelays
from lmu_sim.gate_nodes import CompiledNetlist, GateError, PlacedMacro

__all__ = ["Beat", "GateError", "GateSimulator"]

IntArray = NDArray[np.int64]

MAX_RUNS = 64
LIBRARY = "gates.so"
COMPILER_ARGUMENTS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-fvisibility=hidden")
RECORD = np.dtype([("cycle", np.int64), ("port", np.int32), ("run", np.int32), ("payload", np.uint64, 4)])


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


def _machine() -> str:
    """Text that is equal on processors that run each other's native code."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.platform()
    return "".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


def _library(functions: Mapping[str, int]) -> ctypes.CDLL:
    """The simulator for a set of functions, from the build cache or compiled now."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise ToolError("a C++ compiler was not found: apt install g++")
    source, header = (Path(__file__).with_name(name) for name in ("gates.cpp", "waveforms.hpp"))
    cases = "".join(f"case {number}: return {text};\n" for text, number in functions.items())

    def compile_into(entry: Path) -> None:
        (entry / "functions.inc").write_text(cases)
        command = [compiler, *COMPILER_ARGUMENTS, f"-I{entry}", str(source), "-o", str(entry / LIBRARY)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolError(f"the gate-level simulator does not compile:\n{done.stderr[-2000:]}")

    key = content_key("gates", cases, source.read_text(), header.read_text(), compiler, COMPILER_ARGUMENTS, _machine())
    library = ctypes.CDLL(str(BuildCache().entry(key, compile_into) / LIBRARY))
    library.gates_new.restype = ctypes.c_void_p
    library.gates_now.restype = ctypes.c_int64
    library.gates_stream.restype = ctypes.c_int64
    library.gates_state_size.restype = ctypes.c_int64
    return library


def _pointer(array: NDArray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class GateSimulator:
    """A netlist that runs.

    Inputs change just after the rising edge that starts a cycle, outputs are taken at its end. All state is zero at
    first, the words of memory macros too.

    Parameters
    ----------
    netlist : Netlist
        Of cells with functions and of memory macros with known pins; three-state outputs are refused.
    clock : str
        Name of the clock port.
    runs : int
        Independent runs side by side, 1 to 64.
    compiled : CompiledNetlist, optional
        Of the netlist, from the `compiled` of another simulator, to save the time.

    Raises
    ------
    GateError
        If the netlist cannot be simulated.
    ToolError
        If there is no C++ compiler.
    """

    def __init__(
        self, netlist: Netlist, clock: str = "clk", runs: int = 1, *, compiled: CompiledNetlist | None = None
    ):
        if not 1 <= runs <= MAX_RUNS:
            raise GateError(f"runs must be in 1 to {MAX_RUNS}, not {runs!r}")
        if len(netlist.inputs.get(clock, ())) != 1:
            raise GateError(f"the netlist {netlist.top} has no input port {clock!r} of one bit")
        self.netlist = netlist
        self.clock = clock
        self.runs = runs
        self.compiled = compiled = CompiledNetlist(netlist) if compiled is None else compiled
        self._c = _library(compiled.functions)
        self._counted_runs = runs
        self._half_cycles, self._since = 0, 0
        numbers = [number for macro in compiled.macros for number in macro.numbers(compiled.slots)]
        macros = np.array(numbers, dtype=np.int32)
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
                ctypes.c_int32(len(compiled.macros)),
                _pointer(macros),
                ctypes.c_int32(compiled.slots[netlist.inputs[clock][0]]),
                ctypes.c_uint64(_mask(range(runs))),
            )
        )
        for macro in compiled.macros:
            self._check_ties(macro)

    def use_delays(self, delays: GateDelays | None) -> None:
        """Simulate with delays from now on, or without; between cycles.

        Parameters
        ----------
        delays : GateDelays or None
            From `lmu_sim.gate_delays.find_gate_delays` for this netlist.
        """
        if delays is not None:
            self._c.gates_delays(
                self._handle, _pointer(delays.inputs), _pointer(delays.macros), _pointer(delays.transitions)
            )
        self._c.gates_timed(self._handle, ctypes.c_int32(delays is not None))

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self._c.gates_free(self._handle)

    def _check_ties(self, placed: PlacedMacro) -> None:
        for pin, level in placed.macro.ties.items():
            if (self.peek([placed.nets[pin]]) != level).any():
                name = self.netlist.instances[placed.instance].name
                raise GateError(f"the pin {pin} of {name} ({placed.macro.cell}) must be held at {level}")

    def weigh(self, energies: ChangeEnergies) -> None:
        """Add up the energies of the changes of each run from now on, for `energies`.

        Parameters
        ----------
        energies : ChangeEnergies
            Of this netlist, from `lmu_hw.power.engine.find_change_energies`.
        """
        nets = np.zeros(self.compiled.nets, dtype=np.float32)
        nets[self.compiled.slots[: self.netlist.nets]] = energies.nets
        macros = np.array([energies.macros[placed.instance] for placed in self.compiled.macros], dtype=np.float64)
        self._c.gates_weights(self._handle, _pointer(nets), _pointer(macros))

    def energies(self) -> NDArray[np.float64]:
        """Energy of each run since the last call or `weigh` in joule, of the runs that are counted; shape (runs,)."""
        energies = np.zeros(MAX_RUNS)
        self._c.gates_energies(self._handle, _pointer(energies))
        return energies[: self.runs]

    def run(self, inputs: Mapping[str, IntArray], cycles: int) -> dict[str, IntArray]:
        """Run clock cycles.

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
            numbers = np.asarray(values, dtype=np.int64)
            numbers = np.broadcast_to(numbers[:, None] if numbers.ndim == 1 else numbers, (cycles, self.runs))
            nets += port
            columns += [_words(numbers >> bit & 1) for bit in range(len(port))]
        words = np.ascontiguousarray(np.stack(columns, axis=1)) if columns else np.zeros((cycles, 0), dtype=np.uint64)
        outputs = [net for port in self.netlist.outputs.values() for net in port]
        received = np.zeros((cycles, len(outputs)), dtype=np.uint64)
        input_nets, output_nets = self._slots(nets), self._slots(outputs)
        self._c.gates_vectors(
            self._handle,
            ctypes.c_int64(cycles),
            ctypes.c_int32(input_nets.size),
            _pointer(input_nets),
            _pointer(words),
            ctypes.c_int32(output_nets.size),
            _pointer(output_nets),
            _pointer(received),
        )
        return self._numbers(received)

    def _numbers(self, words: NDArray[np.uint64]) -> dict[str, IntArray]:
        """Values of the output ports, shape (cycles, runs), from words of shape (cycles, output bits)."""
        result = {}
        column = 0
        for name, port in self.netlist.outputs.items():
            if len(port) > 63:
                raise GateError(f"output port {name} has {len(port)} bits, at most 63 are read as a number")
            bits = _bits(words[:, column : column + len(port)], self.runs)
            weights = np.int64(1) << np.arange(len(port), dtype=np.int64)
            result[name] = np.einsum("cbr,b->cr", bits, weights)
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
        cycles: int | None = None,
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
            Cycles after which the run is given up.
        cycles : int, optional
            Run exactly this many cycles, however many beats came, instead of until all beats came.

        Returns
        -------
        dict of str to list of list of Beat
            By stream and run.

        Raises
        ------
        GateError
            If not all beats came, or more than twice as many.
        """
        payloads = np.asarray(beats, dtype=np.int64)
        payloads = np.broadcast_to(payloads if payloads.ndim == 2 else payloads[None], (self.runs, payloads.shape[-1]))
        count = payloads.shape[1]
        data = np.zeros((MAX_RUNS, count), dtype=np.uint64)
        data[: self.runs] = payloads.astype(np.uint64)
        payload = self._slots(self._port("inputs", f"{name}__payload"))
        if payload.size > 63:
            raise GateError(f"the stream {name} has {payload.size} bits, at most 63 can be fed")
        times = np.zeros(count, dtype=np.int64) if earliest is None else np.asarray(earliest, dtype=np.int64)
        ports = self._output_ports(outputs)
        wanted = np.array(list(outputs.values()), dtype=np.int64)
        records = np.zeros(int(2 * wanted.sum() * self.runs + 1024), dtype=RECORD)
        number, accepted = np.zeros(1, dtype=np.int64), np.zeros(MAX_RUNS, dtype=np.int64)
        done = self._c.gates_stream(
            self._handle,
            ctypes.c_int64(limit if cycles is None else cycles),
            ctypes.c_int32(cycles is not None),
            ctypes.c_int32(self._slot("inputs", f"{name}__valid")),
            ctypes.c_int32(self._slot("outputs", f"{name}__ready")),
            ctypes.c_int32(payload.size),
            _pointer(payload),
            ctypes.c_int64(count),
            _pointer(data),
            _pointer(times),
            ctypes.c_int32(len(outputs)),
            _pointer(ports),
            _pointer(wanted),
            ctypes.c_int64(records.size),
            _pointer(records),
            _pointer(number),
            _pointer(accepted),
        )
        if done < 0:
            raise GateError(f"more than {records.size} beats came out, {int(wanted.sum()) * self.runs} were expected")
        received = self._beats(list(outputs), records[: int(number[0])])
        if cycles is None:
            taken = int(accepted[: self.runs].min())
            for port, runs in received.items():
                fewest = min(len(run) for run in runs)
                if fewest < outputs[port]:
                    raise GateError(
                        f"after {limit} cycles {port} gave {fewest} of {outputs[port]} beats, "
                        f"{taken} of {count} were accepted"
                    )
        return received

    def _output_ports(self, names: Iterable[str]) -> NDArray[np.int32]:
        """Output streams as the compiled simulator reads them: valid, ready, number of bits, bits."""
        ports: list[int] = []
        for name in names:
            bits = self._slots(self._port("outputs", f"{name}__payload"))
            ports += [self._slot("outputs", f"{name}__valid"), self._slot("inputs", f"{name}__ready")]
            ports += [bits.size, *bits.tolist()]
        return np.array(ports, dtype=np.int32)

    def _beats(self, names: Sequence[str], records: NDArray) -> dict[str, list[list[Beat]]]:
        """Beats by stream and run."""
        beats: dict[str, list[list[Beat]]] = {name: [[] for _ in range(self.runs)] for name in names}
        for record in records:
            value = sum(int(word) << (64 * index) for index, word in enumerate(record["payload"]))
            beats[names[record["port"]]][record["run"]].append(Beat(int(record["cycle"]), value))
        return beats

    def _slots(self, nets: Sequence[int]) -> NDArray[np.int32]:
        """Slots of nets in the simulator's array of values."""
        return self.compiled.slots[np.array(nets, dtype=np.int64)]

    def _slot(self, direction: str, name: str) -> int:
        return int(self._slots(self._port(direction, name))[0])

    def _port(self, direction: str, name: str) -> tuple[int, ...]:
        """Nets of a port among the netlist's ``inputs`` or ``outputs``."""
        ports: dict[str, tuple[int, ...]] = getattr(self.netlist, direction)
        if name not in ports:
            raise GateError(f"the netlist {self.netlist.top} has no {direction[:-1]} port {name!r}")
        return ports[name]

    def start_counting(self) -> None:
        """Forget all counts, after a reset say, and count all runs from now on."""
        self._c.gates_clear(self._handle, ctypes.c_uint64(_mask(range(self.runs))))
        self._counted_runs, self._half_cycles, self._since = self.runs, 0, self._now()

    def count_runs(self, runs: Iterable[int]) -> None:
        """Count some runs only from now on, added to what was counted before."""
        chosen = set(runs)
        self._half_cycles += self._counted_runs * (self._now() - self._since)
        self._counted_runs, self._since = len(chosen), self._now()
        self._c.gates_select(self._handle, ctypes.c_uint64(_mask(chosen)))

    def _now(self) -> int:
        return int(self._c.gates_now(self._handle))

    def counts(self) -> NetCounts:
        """Counts of all nets since they were started, over the runs that were counted."""
        nets = self.compiled.nets
        toggles, high = np.zeros(nets, dtype=np.int64), np.zeros(nets, dtype=np.int64)
        self._c.gates_counts(self._handle, _pointer(toggles), _pointer(high))
        glitches, lost = np.zeros(nets, dtype=np.int64), np.zeros(nets)
        self._c.gates_glitches(self._handle, _pointer(glitches), _pointer(lost))
        slots = self.compiled.slots[: self.netlist.nets]
        return NetCounts(
            half_cycles=self._half_cycles + self._counted_runs * (self._now() - self._since),
            toggles=toggles[slots],
            high=high[slots],
            accesses={
                macro.instance: self._accesses(index, macro) for index, macro in enumerate(self.compiled.macros)
            },
            counted=self.compiled.evaluated(self.netlist),
            runs=self.runs,
            glitches=glitches[slots],
            lost=lost[slots],
            settled_after=self._latest() * RESOLUTION,
        )

    def _latest(self) -> int:
        latest = int(self._c.gates_latest(self._handle))
        if latest < 0:
            raise GateError(
                f"the netlist {self.netlist.top} has a clock, reset or preset that comes out of logic with delays"
            )
        return latest

    def _accesses(self, index: int, placed: PlacedMacro) -> AccessCounts:
        edges = np.zeros((2, 2, 2), dtype=np.int64)
        pins = np.zeros((4, len(placed.watched)), dtype=np.int64)
        self._c.gates_accesses(self._handle, ctypes.c_int32(index), _pointer(edges), _pointer(pins))
        return AccessCounts(edges, *(dict(zip(placed.watched, row, strict=True)) for row in pins.tolist()))

    def activity(self, period: float) -> Activity:
        """Mean activity of all counted runs since the counts were started.

        Parameters
        ----------
        period : float
            Clock period in seconds that the run stands for.

        Returns
        -------
        Activity
            Exact counts of every net that the simulator evaluates; `cycles` is the mean over the runs.

        Raises
        ------
        GateError
            If no cycle was counted.
        """
        counts = self.counts()
        if not counts.half_cycles:
            raise GateError("no cycle was run since the counts were started")
        return counts.activity(self.netlist, period, counts.cycles / self.runs)

    def peek(self, nets: Sequence[int]) -> IntArray:
        """Present values of nets.

        Parameters
        ----------
        nets : sequence of int
            Of the netlist.

        Returns
        -------
        ndarray of int64, shape (nets, runs)
            0 or 1.
        """
        slots = self._slots(nets)
        words = np.zeros(slots.size, dtype=np.uint64)
        self._c.gates_peek(self._handle, ctypes.c_int32(slots.size), _pointer(slots), _pointer(words))
        return _bits(words, self.runs)

    def poke(self, nets: Sequence[int], values: IntArray, runs: Iterable[int] | None = None) -> None:
        """Change the state of flip-flops, between cycles; the changes are counted.

        Parameters
        ----------
        nets : sequence of int
            Nets of the netlist that flip-flops drive, themselves or through buffers and inverters.
        values : ndarray of int64, shape (nets, runs)
            New values of the nets, 0 or 1.
        runs : iterable of int, optional
            Runs to change; all if not given.

        Raises
        ------
        GateError
            If there is no flip-flop behind a net.
        """
        states, words = [], _words(np.asarray(values))
        for index, net in enumerate(nets):
            state, inverted = self.compiled.state_behind(net)
            states.append(int(self.compiled.slots[state]))
            words[index] ^= np.uint64(0xFFFFFFFFFFFFFFFF if inverted else 0)
        slots = np.array(states, dtype=np.int32)
        mask = ctypes.c_uint64(_mask(range(self.runs) if runs is None else runs))
        self._c.gates_poke(self._handle, ctypes.c_int32(slots.size), _pointer(slots), _pointer(words), mask)

    def peek_macro(self, instance: int, address: int, words: int) -> IntArray:
        """Words of a memory macro.

        Parameters
        ----------
        instance : int
            Index of the instance in the netlist.
        address, words : int
            First word, and how many.

        Returns
        -------
        ndarray of int64, shape (words, width, runs)
            Bits, lowest first.
        """
        index, width = self._macro(instance, address, words)
        content = np.zeros((words, width), dtype=np.uint64)
        self._c.gates_read_macro(
            self._handle, ctypes.c_int32(index), ctypes.c_int32(address), ctypes.c_int32(words), _pointer(content)
        )
        return _bits(content, self.runs)

    def poke_macro(self, instance: int, address: int, bits: IntArray, runs: Iterable[int] | None = None) -> None:
        """Change words of a memory macro, between cycles; nothing is counted.

        Parameters
        ----------
        instance : int
            Index of the instance in the netlist.
        address : int
            First word.
        bits : ndarray of int64, shape (words, width, runs)
            Lowest first.
        runs : iterable of int, optional
            Runs to change; all if not given.
        """
        words = np.ascontiguousarray(_words(np.asarray(bits)))
        index, _ = self._macro(instance, address, len(words))
        self._c.gates_write_macro(
            self._handle, ctypes.c_int32(index), ctypes.c_int32(address), ctypes.c_int32(len(words)),
            _pointer(words), ctypes.c_uint64(_mask(range(self.runs) if runs is None else runs)),
        )  # fmt: skip

    def _macro(self, instance: int, address: int, words: int) -> tuple[int, int]:
        """Number and width of a macro that holds these words."""
        for index, placed in enumerate(self.compiled.macros):
            if placed.instance == instance:
                macro = placed.macro
                if not 0 <= address <= address + words <= macro.depth:
                    raise GateError(
                        f"{macro.cell} has {macro.depth} words, not {words} from address {address} on"
                    )
                return index, macro.width
        raise GateError(f"instance {instance} is not a memory macro")

    def save(self, run: int = 0) -> NDArray[np.uint8]:
        """The whole state of a run, for `load`; between cycles."""
        state = np.zeros(self._c.gates_state_size(self._handle), dtype=np.uint8)
        self._c.gates_save(self._handle, ctypes.c_int32(run), _pointer(state))
        return state

    def load(self, state: NDArray[np.uint8], runs: Iterable[int]) -> None:
        """Put runs in a state saved from a simulator of the same netlist; nothing is counted."""
        self._c.gates_load(self._handle, _pointer(state), ctypes.c_uint64(_mask(runs)))


def _mask(runs: Iterable[int]) -> int:
    return sum(1 << run for run in runs)


def _bits(words: NDArray[np.uint64], runs: int) -> IntArray:
    """The bits of each run from words of 64."""
    return (words[..., None] >> np.arange(runs, dtype=np.uint64) & np.uint64(1)).astype(np.int64)


def _words(bits: IntArray) -> NDArray[np.uint64]:
    """One word of 64 runs from the bits of each."""
    runs = np.arange(bits.shape[-1], dtype=np.uint64)
    return (bits.astype(np.uint64) << runs).sum(axis=-1, dtype=np.uint64)
