"""What NNgen's design costs in a cell library, for the same frames: cells by their gates, RAMs by their accesses."""

import itertools
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench import CLOCK, TOP, Trace, part_names
from lmu_hw.cells.conditions import Conditions
from lmu_hw.cells.library import Library
from lmu_hw.cells.memory_cost import MemoryUsage
from lmu_hw.cells.netlist import Netlist, read_netlist
from lmu_hw.flows.synth import synthesize
from lmu_hw.flows.tiling import choose
from lmu_hw.power.clock_tree import find_clock_tree
from lmu_hw.power.engine import find_power
from lmu_hw.progress import Progress
from lmu_kit.power import conditions_of
from lmu_sim.counts import NetCounts
from lmu_sim.gate_delays import find_gate_delays
from lmu_sim.gates import GateSimulator
from rams import Ram, cut_rams

__all__ = ["Costs", "cells_cost", "outside_cost", "rams_cost", "replay"]

CHUNK = 1000
"""Cycles that are simulated at a time."""


@dataclass(frozen=True)
class Costs:
    """Of a frame.

    Parameters
    ----------
    dynamic, leakage : float
        In joule.
    area : float
        In square micrometre.
    """

    dynamic: float = 0.0
    leakage: float = 0.0
    area: float = 0.0

    def __add__(self, other: "Costs") -> "Costs":
        return Costs(self.dynamic + other.dynamic, self.leakage + other.leakage, self.area + other.area)

    @property
    def energy(self) -> float:
        """Joule per frame."""
        return self.dynamic + self.leakage


def replay(netlist: Netlist, trace: Trace, counted: NDArray[np.bool_], conditions: Conditions) -> NetCounts:
    """Run the netlist with the inputs of the trace and with delays, and compare what comes out.

    Parameters
    ----------
    netlist : Netlist
        Of the design without RAMs.
    trace : Trace
        From the simulation of the Verilog.
    counted : ndarray of bool, shape (cycles,)
        Cycles whose activity counts; they follow each other.
    conditions : Conditions
        Wires, transition times and clock that delays are found with.

    Returns
    -------
    NetCounts
        Of these cycles.

    Raises
    ------
    ValueError
        If an output differs from a defined one of the Verilog.
    """
    parts = _in_parts(netlist)
    simulator = GateSimulator(parts, CLOCK)
    first, last = np.flatnonzero(counted)[[0, -1]]
    edges = sorted({0, first, last + 1, *range(0, last + 1, CHUNK)})
    for start, stop in itertools.pairwise(edges):
        if start == first:
            simulator.use_delays(find_gate_delays(parts, simulator.compiled, conditions))
            simulator.start_counting()
        given = {name: np.maximum(values[start:stop], 0) for name, values in trace.inputs.items()}
        found = simulator.run(given, int(stop - start))
        for name, values in found.items():
            wanted = trace.outputs[name][start:stop]
            if ((values[:, 0] != wanted) & (wanted >= 0)).any():
                raise ValueError(f"the netlist's output {name} differs from the Verilog's in cycles {start} to {stop}")
    return simulator.counts()


def _in_parts(netlist: Netlist) -> Netlist:
    """The netlist with its ports in the parts that the trace has."""
    sides = [
        {
            name: nets[first : first + bits]
            for port, nets in side.items()
            for name, first, bits in part_names(port, len(nets))
        }
        for side in (netlist.inputs, netlist.outputs)
    ]
    return replace(netlist, inputs=sides[0], outputs=sides[1])


def cells_cost(
    verilog: str, rams: list[Ram], trace: Trace, library: Library, frame_rate: float, progress: Progress
) -> tuple[Costs, Costs]:
    """Of the cells, and of the estimated clock tree, at the slowest clock that keeps real time.

    Parameters
    ----------
    verilog : str
        As NNgen writes it.
    rams : list of Ram
        Of it.
    trace : Trace
        Of some frames, the first of which is not counted.
    library : Library
        Of the cells.
    frame_rate : float
        Frames per second.
    progress : callable
        Called with (stage, done, total).
    """
    mapped = synthesize(cut_rams(verilog, TOP, rams), TOP, library, progress=progress)
    netlist = read_netlist(mapped.json, TOP, library)
    counted = counted_cycles(trace)
    cycles = cycles_per_frame(trace)
    period = 1 / (frame_rate * cycles)
    conditions = conditions_of(netlist, CLOCK)
    activity = replay(netlist, trace, counted, conditions).activity(netlist, period)
    queues = [memory.name for memory in mapped.memories]  # of requests; with two ports, they are flip-flops
    power = find_power(netlist, activity, conditions, period=period, memories=mapped.memories, accepted=queues).total()
    tree = find_clock_tree(netlist, library, activity, CLOCK)
    return (
        Costs(power.dynamic * cycles, power.leakage / frame_rate, power.area),
        Costs(tree.energy * cycles, tree.leakage / frame_rate, tree.area),
    )


def counted_cycles(trace: Trace) -> NDArray[np.bool_]:
    """Cycles of all frames but the first."""
    return (trace.frame > 0) & (trace.frame < len(trace.sums))


def cycles_per_frame(trace: Trace) -> float:
    """Clock cycles from the start of a frame to the start of the next one."""
    return float(counted_cycles(trace).sum() / (len(trace.sums) - 1))


def rams_cost(rams: list[Ram], trace: Trace, library: Library, frame_rate: float) -> Costs:
    """Of the RAMs, each as the single-port macros or flip-flops that cost least at its accesses: less than it would be.

    Parameters
    ----------
    rams : list of Ram
        Of the design.
    trace : Trace
        With their accesses.
    library : Library
        With macros.
    frame_rate : float
        Frames per second.
    """
    counted, total = counted_cycles(trace), Costs()
    for ram in rams:
        reads = writes = 0.0
        for port in ram.ports:
            enabled = trace.outputs[f"cut_{port}_enable"][counted] == 1
            writing = trace.outputs[f"cut_{port}_wenable"][counted] == 1
            reads += float((enabled & ~writing).sum())
            writes += float((enabled & writing).sum())
        frames = len(trace.sums) - 1
        total += _memory(library, ram.depth, ram.width, reads / frames, writes / frames, trace, frame_rate)
    return total


def outside_cost(words: int, trace: Trace, library: Library, frame_rate: float) -> Costs:
    """Of the memory outside, if it were on the chip and as small as what it holds: words of 32 bits."""
    frames = len(trace.sums)
    return _memory(library, words, 32, trace.words_read / frames, trace.words_written / frames, trace, frame_rate)


def _memory(
    library: Library, depth: int, width: int, reads: float, writes: float, trace: Trace, frame_rate: float
) -> Costs:
    cycles, accesses = cycles_per_frame(trace), reads + writes
    usage = MemoryUsage(frame_rate * cycles, min(1.0, accesses / cycles), writes / accesses if accesses else 0.0)
    cost = choose(library, depth, width, usage)[1]
    dynamic = reads * cost.read + writes * cost.write + max(0.0, cycles - accesses) * cost.idle
    return Costs(dynamic, cost.leakage / frame_rate, cost.area)
