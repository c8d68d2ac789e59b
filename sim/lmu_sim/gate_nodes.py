"""A netlist as arrays of numbers for the compiled simulator."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.expression import Expression, Tree
from lmu_hw.cells.library import Cell, Sequential
from lmu_hw.cells.netlist import HIGH, LOW, Instance, Netlist
from lmu_hw.cells.sram import Macro, find_macro

__all__ = ["CompiledNetlist", "GateError", "NodePins", "PlacedMacro"]

Int32Array = NDArray[np.int32]
BoolArray = NDArray[np.bool_]


class GateError(ValueError):
    """A netlist cannot be simulated."""


def _c_text(tree: Tree, places: Mapping[str, int]) -> str:
    """C expression of a Boolean function; pin ``p`` is ``v[in[places[p]]]``."""
    if tree[0] == "pin":
        return f"v[in[{places[str(tree[1])]}]]"
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
    """A flip-flop: names of its pins or states; empty for a pin that it lacks."""

    clock: str
    data: str
    clear: str
    preset: str
    state: str


def _latch(latch: Sequential, data: Expression, enable: Expression) -> Expression:
    """State of a latch as a function of pins and its own state."""
    text = f"(({enable.text})*({data.text}))+(!({enable.text})*{latch.state})"
    if latch.preset is not None:
        text = f"({latch.preset.text})+({text})"
    if latch.clear is not None:
        text = f"!({latch.clear.text})*({text})"
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
    if cell.clock_gating:
        return _clock_gate(cell), []
    nodes: list[_Node] = []
    flops: list[_Flop] = []
    for number, element in enumerate(cell.sequentials):
        if element.data is None or element.clock is None:
            raise GateError(f"the cell {cell.name} has a {element.kind} without data or clock")
        if element.kind == "latch":
            nodes.append(_Node(_latch(element, element.data, element.clock), element.state))
        else:
            names = {}
            for control in ("clock", "data", "clear", "preset"):
                function = getattr(element, control)
                names[control] = "" if function is None else f"{control}{number}"
                if function is not None:
                    nodes.append(_Node(function, names[control]))
            flops.append(_Flop(**names, state=element.state))
        if element.inverse:
            nodes.append(_Node(Expression(f"!{element.state}"), element.inverse))
    for pin in cell.pins.values():
        if pin.direction == "input" or pin.direction == "internal":
            continue
        if pin.function is None or pin.three_state is not None:
            raise GateError(f"the output {pin.name} of the cell {cell.name} has no function that can be simulated")
        nodes.append(_Node(pin.function, pin.name))
    return nodes, flops


@dataclass(frozen=True, eq=False)
class PlacedMacro:
    """A memory macro of a netlist.

    Parameters
    ----------
    instance : int
        Its index in the netlist.
    macro : Macro
        Roles of its pins.
    nets : dict of str to int
        Net of each pin.
    watched : tuple of str
        Inputs whose changes are counted together with the enable: all but the clock and those at constants.
    """

    instance: int
    macro: Macro
    nets: dict[str, int]
    watched: tuple[str, ...]

    def numbers(self, slots: Int32Array) -> list[int]:
        """Numbers and slots of its pins, as the simulator reads them."""
        macro = self.macro
        single = (macro.clock, macro.enable, macro.write, macro.read)
        counts = [len(macro.address), macro.width, len(macro.mask), len(self.watched)]
        buses = (*macro.address, *macro.data_in, *macro.mask, *macro.data_out, *self.watched)
        return [*self._slots(single, slots), *counts, *self._slots(buses, slots)]

    def _slots(self, pins: tuple[str, ...], slots: Int32Array) -> list[int]:
        return [int(slots[self.nets[pin]]) for pin in pins]


@dataclass(frozen=True)
class NodePins:
    """Pins that a node stands between.

    Parameters
    ----------
    instance : int
        Index of its instance in the netlist.
    inputs : tuple of str
        Pins or states that it reads.
    output : str
        Pin or state that it drives.
    """

    instance: int
    inputs: tuple[str, ...]
    output: str


class CompiledNetlist:
    """Nodes of a netlist in topological order.

    Parameters
    ----------
    netlist : Netlist
        Of cells with functions, and memory macros with known pins.

    Attributes
    ----------
    nets : int
        Nets of the netlist, and those within cells.
    functions : dict of str to int
        C text of each function, and its number.
    slots : ndarray of int32, shape (nets,)
        Slot of each net in the simulator's array of values.
    function, output : ndarray of int32, shape (nodes,)
        For each node, the number of its function and the slot of the net that it drives.
    first_input, inputs : ndarray of int32
        Slots of the nets that each node reads, node after node; and where each node's start.
    pins : tuple of NodePins, length nodes
        Pins of each node, in the order of its inputs.
    flop_nets : ndarray of int32, shape (5 * flops,)
        Slots of clock, data, clear, preset and state; -1 for a pin that a flip-flop lacks.
    macros : tuple of PlacedMacro
        Memory macros.
    """

    def __init__(self, netlist: Netlist):
        self.nets = netlist.nets
        self.functions: dict[str, int] = {}
        self._flops: list[int] = []
        self._function: list[int] = []
        self._inputs: list[list[int]] = []
        self._output: list[int] = []
        self._pins: list[NodePins] = []
        macros: list[PlacedMacro] = []
        behaviours: dict[str, tuple[list[_Node], list[_Flop]]] = {}
        for index, instance in enumerate(netlist.instances):
            cell = instance.cell
            if cell.memory is not None:
                macros.append(_placed(index, instance))
                continue
            if cell.name not in behaviours:
                behaviours[cell.name] = _behaviour(cell)
            self._add(index, instance, *behaviours[cell.name])
        self.macros = tuple(macros)
        self._states = frozenset(self._flops[4::5])
        inverts = {self.functions.get("v[in[0]]"): False, self.functions.get("~v[in[0]]"): True}
        self._follows = {
            output: (inputs[0], inverts[function])
            for function, inputs, output in zip(self._function, self._inputs, self._output, strict=True)
            if function in inverts
        }
        self._order()

    def _add(self, index: int, instance: Instance, nodes: list[_Node], flops: list[_Flop]) -> None:
        """Add the nodes and flip-flops of an instance; signals inside its cell get new nets."""
        local = dict(instance.nets)
        for node in nodes:
            plain = node.function.tree
            if plain[0] == "pin" and node.output not in local:
                local[node.output] = local[str(plain[1])] if str(plain[1]) in local else self._fresh()
                continue
            for name in (*node.function.pins, node.output):
                if name not in local:
                    local[name] = self._fresh()
            places = {name: place for place, name in enumerate(node.function.pins)}
            text = _c_text(node.function.tree, places)
            self._function.append(self.functions.setdefault(text, len(self.functions)))
            self._inputs.append([local[name] for name in node.function.pins])
            self._output.append(local[node.output])
            self._pins.append(NodePins(index, tuple(node.function.pins), node.output))
        for flop in flops:
            if flop.state not in local:
                local[flop.state] = self._fresh()
            self._flops += [local[name] if name else -1 for name in vars(flop).values()]

    def _order(self) -> None:
        """Sort nodes by level and function, and nets by their nodes: the simulator runs faster."""
        level = self._levels()
        order = np.lexsort((self._function, level)).tolist()
        driven = [self._output[node] for node in order]
        rest = np.setdiff1d(np.arange(self.nets), driven)
        self.slots = np.empty(self.nets, dtype=np.int32)
        self.slots[np.concatenate([rest, driven]).astype(np.int64)] = np.arange(self.nets)
        self.function = np.array([self._function[node] for node in order], dtype=np.int32)
        self.output = self.slots[driven]
        self.pins = tuple(self._pins[node] for node in order)
        lengths = [len(self._inputs[node]) for node in order]
        self.first_input = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        self.inputs = self.slots[np.array([net for node in order for net in self._inputs[node]] + [0])]
        self.flop_nets = np.array([self.slots[net] if net >= 0 else -1 for net in self._flops], dtype=np.int32)

    def evaluated(self, netlist: Netlist) -> BoolArray:
        """Nets of the netlist that have a value in the simulator: constants, inputs, nets driven by a node or state.

        Returns
        -------
        ndarray of bool, shape (nets,)
            Whether each net has a value.
        """
        driven = np.zeros(self.nets, dtype=bool)
        driven[[LOW, HIGH]] = True
        driven[[net for port in netlist.inputs.values() for net in port]] = True
        driven[self._output] = True
        driven[self._flops[4::5]] = True
        for placed in self.macros:
            driven[[placed.nets[pin] for pin in placed.macro.data_out]] = True
        return driven[: netlist.nets]

    def state_behind(self, net: int) -> tuple[int, bool]:
        """The net that holds the state of the flip-flop before buffers and inverters, and whether it is inverted.

        Raises
        ------
        GateError
            If there is none.
        """
        state, inverted = net, False
        while state not in self._states:
            if state not in self._follows:
                raise GateError(f"no flip-flop drives net {net}")
            state, inverts = self._follows[state]
            inverted ^= inverts
        return state, inverted

    def _fresh(self) -> int:
        self.nets += 1
        return self.nets - 1

    def _levels(self) -> list[int]:
        driver = {net: node for node, net in enumerate(self._output)}
        readers: list[list[int]] = [[] for _ in self._output]
        waiting = [0] * len(self._output)
        for node, nets in enumerate(self._inputs):
            for source in {driver[net] for net in nets if net in driver} - {node}:
                readers[source].append(node)
                waiting[node] += 1
        level = [0] * len(self._output)
        ready = [node for node, count in enumerate(waiting) if not count]
        for node in ready:
            for reader in readers[node]:
                level[reader] = max(level[reader], level[node] + 1)
                waiting[reader] -= 1
                if not waiting[reader]:
                    ready.append(reader)
        if len(ready) != len(self._output):
            raise GateError("the netlist has a combinational loop")
        return level


def _placed(index: int, instance: Instance) -> PlacedMacro:
    macro = find_macro(instance.cell)
    if macro is None:
        raise GateError(f"the memory macro {instance.cell.name} is not simulated: its pins are not known")
    inputs = (macro.enable, macro.write, macro.read, *macro.address, *macro.data_in, *macro.mask, *macro.ties)
    watched = tuple(pin for pin in inputs if instance.nets[pin] > HIGH)
    return PlacedMacro(index, macro, instance.nets, watched)
