"""Find the highest clock of a mapped netlist: its longest path by the library's delays, before place and route.

Every net has one transition time, the longest, and every path is taken as one that can happen, as static timing
analysis does. Input ports change at the clock's edge, output ports are wanted at the next one. The clock reaches
flip-flops through the netlist's own clock gates; there is no clock tree. Setup times count; recovery times do not,
since resets are synchronous, nor do hold times, which do not limit the clock.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.conditions import Conditions
from lmu_hw.cells.library import Pin, Table, TimingArc
from lmu_hw.cells.netlist import Instance, Netlist
from lmu_hw.cells.transitions import (
    Loads,
    Stage,
    causing_edges,
    constant_nets,
    find_loads,
    find_stages,
    find_transitions,
)

__all__ = ["TOOL", "ArcDelays", "Path", "Step", "Timing", "find_delays", "find_timing"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

TOOL = "static timing by lmu_hw.cells.timing, before place and route, without wires unless a rule is given"
"""Description of the figures of this module, for reports."""


@dataclass(frozen=True, eq=False)
class ArcDelays:
    """Delays of one arc in all instances of a cell on one level.

    Parameters
    ----------
    instances : ndarray of int64, shape (n,)
        Indices of the instances.
    related, output : str
        Pins from and to.
    rise, fall : ndarray of float64, shape (n,)
        Delay to the output's rising and falling edge in seconds: the longest over the arcs between the two pins and the
        edges that can cause it; 0 where none can.
    """

    instances: IntArray
    related: str
    output: str
    rise: FloatArray
    fall: FloatArray


@dataclass(frozen=True)
class Step:
    """A point of a path.

    Parameters
    ----------
    name : str
        Name of the net, of the instance if the net has none, or of the port.
    cell : str
        Cell of the instance; empty for a port.
    pin : str
        Output pin, or input pin at the end of the path.
    rising : bool
        The edge.
    arrival : float
        Time in seconds after the clock's edge.
    """

    name: str
    cell: str
    pin: str
    rising: bool
    arrival: float


@dataclass(frozen=True)
class Path:
    """The path that limits the clock.

    Parameters
    ----------
    steps : tuple of Step
        Points from the clock or an input port to the end point.
    start, end : str
        Output of a flip-flop or macro, or port, that it starts at; what it ends at.
    setup : float
        Setup time of the end point in seconds; 0 for an output port.
    capture : float
        Arrival of the clock at the end point in seconds; 0 for an output port.
    """

    steps: tuple[Step, ...]
    start: str
    end: str
    setup: float
    capture: float

    @property
    def period(self) -> float:
        """Shortest clock period in seconds that the path allows."""
        return self.steps[-1].arrival + self.setup - self.capture

    @property
    def cells(self) -> int:
        """Number of cells on the path, including clock gates and the flip-flop at its start."""
        return sum(bool(step.cell) for step in self.steps[:-1])

    def describe(self) -> str:
        """One line for reports."""
        return f"{self.start} to {self.end}, {self.cells} cells, {self.period * 1e9:.3f} ns"


@dataclass(frozen=True)
class Timing:
    """Timing of a netlist.

    Parameters
    ----------
    path : Path or None
        The longest one; None if nothing depends on the clock.
    endpoints : int
        End points that were checked: inputs of flip-flops and macros with a setup time, and output ports.
    untimed : int
        End points that were not: those clocked by falling edges or by an inverted clock, or that no clocked signal
        reaches.
    """

    path: Path | None
    endpoints: int
    untimed: int

    @property
    def clock(self) -> float:
        """Highest clock frequency in hertz."""
        return 1 / self.path.period if self.path is not None and self.path.period > 0 else float("inf")


def _delay(table: Table | None, slew: FloatArray, load: FloatArray) -> FloatArray | None:
    return None if table is None else table(slew, load)


class _Arrivals:
    """Latest arrival of both edges at every net, and where it came from."""

    def __init__(self, netlist: Netlist, conditions: Conditions):
        self.netlist = netlist
        self.loads: Loads = find_loads(netlist, conditions.wires, upper=conditions.upper_capacitance)
        rise, fall = find_transitions(netlist, self.loads, conditions.input_slew)
        self.slews = {True: rise, False: fall}
        self.arrival = {edge: np.full(netlist.nets, -np.inf) for edge in (True, False)}
        self.driver = {edge: np.full(netlist.nets, -1) for edge in (True, False)}
        self.source = {edge: np.full(netlist.nets, -1) for edge in (True, False)}
        self.source_rises = {edge: np.zeros(netlist.nets, dtype=bool) for edge in (True, False)}
        self.constant = constant_nets(netlist)
        for name, nets in netlist.inputs.items():
            for rising in (True, False):
                if rising or name != conditions.clock:
                    self.arrival[rising][list(nets)] = 0.0
        for stage in find_stages(netlist):
            for pin, arc in stage.arcs():
                for rising in (True, False):
                    self._pass(stage, pin, arc, rising)

    def _pass(self, stage: Stage, pin: str, arc: TimingArc, rising: bool) -> None:
        """Let the edges of an arc's input arrive at its output."""
        table = arc.delay_rise if rising else arc.delay_fall
        source, out = stage.nets[arc.related], stage.nets[pin]
        load = (self.loads.rise if rising else self.loads.fall)[out]
        for edge in causing_edges(arc, rising=rising):
            delay = _delay(table, self.slews[edge][source], load)
            if delay is None:
                continue
            when = np.where(self.constant[source], -np.inf, self.arrival[edge][source] + delay)
            later = when > self.arrival[rising][out]
            nets = out[later]
            self.arrival[rising][nets] = when[later]
            self.driver[rising][nets] = stage.instances[later]
            self.source[rising][nets] = source[later]
            self.source_rises[rising][nets] = edge

    def path(self, end: "_End") -> Path:
        """The path to an end point."""
        net, rising = end.net, end.rising
        steps = [Step(end.name, end.cell, end.pin, rising, float(self.arrival[rising][net]))]
        start = ""
        while (index := int(self.driver[rising][net])) >= 0:
            instance = self.netlist.instances[index]
            pin = next(pin for pin in instance.cell.outputs if instance.nets[pin] == net)
            name = self.netlist.names.get(net, instance.name)
            if instance.cell.sequentials or instance.cell.memory is not None:
                start = start or name
            steps.append(Step(name, instance.cell.name, pin, rising, float(self.arrival[rising][net])))
            net, rising = int(self.source[rising][net]), bool(self.source_rises[rising][net])
        port = next(name for name, nets in self.netlist.inputs.items() if net in nets)
        steps.append(Step(port, "", "", rising, float(self.arrival[rising][net])))
        return Path(tuple(reversed(steps)), start or port, f"{end.name} {end.pin}".strip(), end.setup, end.capture)


@dataclass(frozen=True)
class _End:
    """An end point's edge that may be the worst."""

    period: float
    net: int
    rising: bool
    setup: float
    capture: float
    name: str
    cell: str
    pin: str


def find_timing(netlist: Netlist, conditions: Conditions | None = None) -> Timing:
    """Find the longest path from the clock or an input port to a flip-flop, macro, clock gate or output port.

    Parameters
    ----------
    netlist : Netlist
        From `lmu_hw.cells.netlist.read_netlist`.
    conditions : Conditions, optional
        Wires, transition times at the inputs, clock; the defaults of `Conditions` if not given.

    Returns
    -------
    Timing
        The longest path, and the number of end points.
    """
    conditions = Conditions() if conditions is None else conditions
    arrivals = _Arrivals(netlist, conditions)
    worst: _End | None = None
    checked, untimed = 0, 0
    for end in _ends(netlist, arrivals):
        if end is None:
            untimed += 1
            continue
        checked += 1
        if worst is None or end.period > worst.period:
            worst = end
    return Timing(None if worst is None else arrivals.path(worst), checked, untimed)


def _ends(netlist: Netlist, arrivals: _Arrivals) -> list[_End | None]:
    """The worst edge of every end point; None for those that are not timed."""
    ends: list[_End | None] = []
    for instance in netlist.instances:
        for pin in instance.cell.pins.values():
            if pin.setup and not arrivals.constant[instance.nets[pin.name]]:
                edges = _edges(netlist, arrivals, instance, pin)
                ends.append(max(edges, key=lambda end: end.period) if edges else None)
    for name, nets in netlist.outputs.items():
        for net in nets:
            if arrivals.constant[net]:
                continue
            rising = bool(arrivals.arrival[True][net] >= arrivals.arrival[False][net])
            arrival = float(arrivals.arrival[rising][net])
            ends.append(_End(arrival, net, rising, 0.0, 0.0, name, "", "") if np.isfinite(arrival) else None)
    return ends


def _edges(netlist: Netlist, arrivals: _Arrivals, instance: Instance, pin: Pin) -> list[_End]:
    """Edges of a pin with a setup time that arrive."""
    net = instance.nets[pin.name]
    name = netlist.names.get(next((instance.nets[out] for out in instance.cell.outputs), -1), instance.name)
    edges = []
    for limit in pin.setup:
        clock = instance.nets.get(limit.related)
        capture = -np.inf if clock is None or not limit.rising else float(arrivals.arrival[True][clock])
        for rising, table in ((True, limit.rise), (False, limit.fall)):
            arrival = float(arrivals.arrival[rising][net])
            if table is None or clock is None or not np.isfinite(capture + arrival):
                continue
            setup = float(table(arrivals.slews[True][clock], arrivals.slews[rising][net]))
            period = arrival + setup - capture
            edges.append(_End(period, net, rising, setup, capture, name, instance.cell.name, pin.name))
    return edges


def find_delays(
    netlist: Netlist,
    conditions: Conditions | None = None,
    transitions: tuple[FloatArray, FloatArray] | None = None,
) -> list[ArcDelays]:
    """Find the delays of all arcs of all instances, for a simulation with delays.

    Parameters
    ----------
    netlist : Netlist
        Any.
    conditions : Conditions, optional
        See `find_timing`.
    transitions : tuple of ndarray of float64, each of shape (nets,), optional
        Rise and fall time of every net in seconds; as synthesis leaves them if not given.

    Returns
    -------
    list of ArcDelays
        One for each pair of pins; those of inputs come before those of what they drive.
    """
    conditions = Conditions() if conditions is None else conditions
    loads = find_loads(netlist, conditions.wires, upper=conditions.upper_capacitance)
    rise, fall = transitions or find_transitions(netlist, loads, conditions.input_slew)
    slews = {True: rise, False: fall}
    delays = []
    for stage in find_stages(netlist):
        pairs: dict[tuple[str, str], dict[bool, FloatArray]] = {}
        for pin, arc in stage.arcs():
            zeros = {edge: np.zeros(stage.instances.size) for edge in (True, False)}
            longest = pairs.setdefault((arc.related, pin), zeros)
            for rising, table in ((True, arc.delay_rise), (False, arc.delay_fall)):
                load = (loads.rise if rising else loads.fall)[stage.nets[pin]]
                for edge in causing_edges(arc, rising=rising):
                    delay = _delay(table, slews[edge][stage.nets[arc.related]], load)
                    if delay is not None:
                        longest[rising] = np.maximum(longest[rising], delay)
        delays += [
            ArcDelays(stage.instances, related, pin, longest[True], longest[False])
            for (related, pin), longest in pairs.items()
        ]
    return delays
