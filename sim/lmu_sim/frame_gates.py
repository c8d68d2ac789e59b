"""A netlist of an accelerator that takes frames; the state of the network between frames can be set."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.conditions import Conditions
from lmu_hw.cells.netlist import Netlist
from lmu_hw.model.gate import MAX_HOLD
from lmu_hw.model.golden import decide
from lmu_hw.model.operations import output_name, vectors
from lmu_hw.plan.config import Interface, WeightStore
from lmu_hw.plan.parts import stored_order
from lmu_hw.plan.placement import Location
from lmu_hw.plan.plan import Plan
from lmu_sim.gate_delays import find_gate_delays
from lmu_sim.gate_memory import StoredMemory
from lmu_sim.gate_nodes import GateError
from lmu_sim.gates import Beat, GateSimulator

__all__ = ["FrameGates"]

IntArray = NDArray[np.int64]


class FrameGates:
    """The netlist of an accelerator with the core's own streams.

    A frame gets a window of `window` clock cycles, enough for the accelerator to come to rest. `warm_up` frames after
    the state of the network was set, every register holds the same value as after a longer run. That takes one stride
    period, or two where the copies of a hidden state take turns from period to period. With `frames_per_fetch`, a
    frame here is a round of that many.

    With a level gate, the control depends on the sounds. Clips then run whole, from reset, with no warm-up; or the gate
    is held open, and the control is that of a network without one.

    Parameters
    ----------
    netlist : Netlist
        Netlist of the Verilog from `lmu_hw.export.emit`.
    plan : Plan
        The accelerator.
    conditions : Conditions, optional
        Wires, transition times and clock that `delays` are found with; none if not given.
    held_open : bool
        Whether the level gate is held open: before each frame, its counter of frames that stay awake is set.

    Raises
    ------
    GateError
        If the accelerator has another interface, the netlist lacks a memory, or the library a delay.
    """

    def __init__(
        self, netlist: Netlist, plan: Plan, conditions: Conditions | None = None, *, held_open: bool = False
    ):
        if plan.config.interface is not Interface.STREAM:
            raise GateError(f"only the core is simulated, not its {plan.config.interface.value} wrapper")
        self.netlist, self.plan = netlist, plan
        self.output = vectors(plan.model)[output_name(plan.model)].format
        slowest = max(max(frame.latency, frame.interval) for frame in plan.frames)
        self.frames = plan.config.frames_per_fetch
        self.window = self.frames * (plan.model.inputs + plan.lanes) + slowest + 2 * plan.model.outputs + 8
        self.states = {
            (term.layer, term.state): term.location
            for planned in plan.operations
            for term in planned.terms
            if term.state
        }
        twice = any(kind == "h" and len(location.memories) > 1 for (_, kind), location in self.states.items())
        self.sleeps = plan.model.gate is not None and not held_open
        self.warm_up = 0 if self.sleeps else plan.rounds * (2 if twice else 1)
        self._counter = _counter_of_gate(netlist) if plan.model.gate is not None and held_open else []
        used = {index for location in self.states.values() for index in location.memories}
        self._memories = {index: self._stored(plan.data_memories[index].name) for index in sorted(used)}
        self._simulator = GateSimulator(netlist)
        self.delays = None
        if conditions is not None:
            self.delays = find_gate_delays(netlist, self._simulator.compiled, conditions)
        self._saved: dict[int, NDArray[np.uint8]] = {}

    def _stored(self, name: str) -> StoredMemory:
        spec = next(spec for spec in self.plan.memories if spec.name == name)
        return StoredMemory(self.netlist, f"memory_{name}", spec.depth, spec.width, self.plan.register_bank(spec))

    def reset(self) -> None:
        """Fill the weights, where they are in RAM, and reset the control."""
        if self.plan.config.weights is WeightStore.RAM:
            images = self.plan.images()
            for spec in (*self.plan.weight_memories, self.plan.parameters):
                words = [[word >> bit & 1 for bit in range(spec.width)] for word in images[spec.name]]
                self._stored(spec.name).poke_bits(self._simulator, 0, np.array(words)[:, :, None])
        self._simulator.run({"rst": np.ones(2, dtype=np.int64)}, 2)
        self._simulator.run({"rst": np.zeros(1, dtype=np.int64)}, 1)
        self._saved[0] = self._simulator.save()

    def control_frames(self, frame: int) -> int:
        """Frames after reset that leave the control as it is before `frame` of a clip, with every state written.

        Valid flags are set after one stride period. Which copy of a state is the old one repeats after two. A clip
        that sleeps starts after the reset itself.
        """
        if self.sleeps:
            return 0
        period = self.plan.rounds
        return period + (frame - period) % (2 * period)

    def advance(self, done: int) -> None:
        """Compute the `done`-th frame after reset, of zeros, and save the state after it."""
        self.compute(self._simulator, np.zeros((1, self.frames, self.plan.model.inputs), dtype=np.int64))
        self._saved[done] = self._simulator.save()

    def simulator(self, starts: Sequence[int]) -> GateSimulator:
        """A simulator with a run for each start, its control as before that frame of a clip.

        Parameters
        ----------
        starts : sequence of int
            Frames of a clip, counted from 0; `advance` must have reached `control_frames` of each.
        """
        simulator = GateSimulator(self.netlist, runs=len(starts), compiled=self._simulator.compiled)
        after = [self.control_frames(start) for start in starts]
        for done in sorted(set(after)):
            simulator.load(self._saved[done], [run for run, other in enumerate(after) if other == done])
        return simulator

    def put_state(
        self, simulator: GateSimulator, starts: Sequence[int], layer: int, kind: str, values: IntArray
    ) -> None:
        """Write a state of the network where the next frame reads it.

        Parameters
        ----------
        simulator : GateSimulator
            From `simulator`.
        starts : sequence of int
            The starts it was made for.
        layer : int
            Layer of the state.
        kind : {"m", "h"}
            Memory state or hidden state.
        values : ndarray of int64, shape (runs, size)
            The state of each run.
        """
        location = self.states[layer, kind]
        old = [self._old(location, layer, kind, self.control_frames(start)) for start in starts]
        for index in sorted(set(old)):
            runs = [run for run, other in enumerate(old) if other == index]
            # Where the states of several frames are kept, the last one is read; the others are written first.
            words = self._words(index, layer, kind, values).repeat(location.copies, axis=0)
            base = location.base // self.plan.data_memories[index].elements
            self._memories[index].poke_bits(simulator, base, words, runs)

    def _words(self, memory: int, layer: int, kind: str, values: IntArray) -> IntArray:
        """Bits of the words that hold a state of each run, shape (words, bits, runs)."""
        spec, elements = self.plan.data_memories[memory], values.T
        if spec.elements > 1:
            updates = [entry.operation for entry in self.plan.operations if entry.operation.target == f"layer{layer}.m"]
            orders = [op.start + stored_order(op.repeat * op.rows, op.rows, self.plan.parts) for op in updates]
            elements = elements[np.concatenate(orders)]
        bits = elements[:, None, :] >> np.arange(spec.element_width)[:, None] & 1
        return bits.reshape(-1, spec.width, len(values))

    def _old(self, location: Location, layer: int, kind: str, frames: int) -> int:
        """Memory that holds the old copy of a state some frames after reset."""
        if location.frames > 1:
            return location.memories[-1]
        every = int(np.prod(self.plan.schedule.round_strides[: layer + (kind == "h")], dtype=np.int64))
        return location.memories[frames // every % len(location.memories)]

    def compute(self, simulator: GateSimulator, frames: IntArray) -> dict[str, list[list[Beat]]]:
        """Run one window.

        Parameters
        ----------
        simulator : GateSimulator
            Any of this netlist.
        frames : ndarray of int64, shape (runs, frames, inputs)
            A round for each run.

        Returns
        -------
        dict of str to list of list of Beat
            Beats of ``o_logits`` and ``o_decision``, by run.
        """
        width = self.plan.model.input.width
        if self._counter and self.plan.model.gate is not None:
            bits = self.plan.model.gate.hold >> np.arange(len(self._counter)) & 1
            simulator.poke(self._counter, np.repeat(bits[:, None], simulator.runs, axis=1))
        beats = frames & ((1 << width) - 1)
        beats[:, :, -1] |= 1 << width
        expected = {"o_logits": self.frames * self.plan.model.outputs, "o_decision": self.frames}
        return simulator.stream("i", beats.reshape(len(beats), -1), expected, cycles=self.window)

    def difference(self, logits: list[Beat], decisions: list[Beat], expected: IntArray) -> str:
        """Compare the outputs of a run with the golden model.

        Parameters
        ----------
        logits, decisions : list of Beat
            Beats of the run.
        expected : ndarray of int64, shape (outputs due, labels)
            Golden logits.

        Returns
        -------
        str
            The first difference; empty if all is equal.
        """
        due, labels = expected.shape
        if len(logits) != due * labels or len(decisions) != due:
            return (
                f"{len(logits)} logits and {len(decisions)} decisions came out, {due * labels} and {due} were expected"
            )
        mask = (1 << self.output.width) - 1
        for index, (beat, value) in enumerate(zip(logits, expected.ravel().tolist(), strict=True)):
            if beat.payload & mask != value & mask:
                return f"logit {index % labels} is {beat.payload & mask:#x}, not {value & mask:#x}"
        bits = max(1, (labels - 1).bit_length())
        for beat, label, score in zip(decisions, *(values.tolist() for values in decide(expected)), strict=True):
            if beat.payload != label | (score & mask) << bits:
                return f"the decision is {beat.payload:#x}, not label {label} with score {score}"
        return ""


def _counter_of_gate(netlist: Netlist) -> list[int]:
    """Nets of the level gate's counter of frames that stay awake, lowest bit first."""
    nets = {name: net for net, name in netlist.names.items()}
    path = "level_gate.left"
    counter = [nets[f"{path}[{bit}]"] for bit in range(MAX_HOLD.bit_length()) if f"{path}[{bit}]" in nets]
    if path in nets:
        counter = [nets[path]]
    if not counter:
        raise GateError(f"the netlist {netlist.top} has no flip-flops of {path}")
    return counter
