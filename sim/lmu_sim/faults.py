"""Mutation tests of the checker: co-simulation must notice each accelerator with a deliberate fault."""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmu_hw.export.emit import to_verilog
from lmu_hw.export.names import TOP
from lmu_hw.model.fixed import Overflow, Quantizer, Rounding
from lmu_hw.model.golden import Golden
from lmu_hw.model.program import QuantizedDense, QuantizedLMU, QuantizedModel
from lmu_hw.plan.config import AcceleratorConfig, StatePolicy
from lmu_hw.plan.plan import Plan, make_plan
from lmu_sim.cosim import CosimOptions, cosimulate_variant
from lmu_sim.result import CosimResult
from lmu_sim.runner import Simulator
from lmu_sim.stimulus import Frame, Marks, stimulus
from lmu_sim.testing.random_models import random_frames, random_model

__all__ = [
    "FAULTS",
    "Fault",
    "FaultTrial",
    "fault_plan",
    "fault_stimulus",
    "fault_table",
    "fault_verilog",
    "kill_rate",
    "try_fault",
]

SEED = 57

Change = Callable[[Plan, str], str]
"""From the plan and the Verilog of the sound accelerator to the Verilog of the faulty one."""


@dataclass(frozen=True)
class Fault:
    """A deliberate fault.

    Parameters
    ----------
    name : str
        Short name.
    level : {"verilog", "model"}
        Where the fault is: in the text of the Verilog, or in the quantized model that the Verilog is emitted from.
    description : str
        The fault, in one line.
    verilog : callable
        Takes the plan and the Verilog of the sound accelerator, returns the Verilog of the faulty one.
    equivalent : str
        Why no stimulus can distinguish the faulty accelerator from the sound one; empty if it must be noticed.
    """

    name: str
    level: str
    description: str
    verilog: Change
    equivalent: str = ""


@dataclass(frozen=True)
class FaultTrial:
    """The checker's verdict on a fault.

    Parameters
    ----------
    fault : Fault
        The fault that was tried.
    noticed : bool
        Whether the co-simulation failed.
    how : str
        The check that failed first.
    """

    fault: Fault
    noticed: bool
    how: str

    @property
    def right(self) -> bool:
        """Whether the fault was noticed, or is equivalent and was not."""
        return self.noticed != bool(self.fault.equivalent)


@functools.cache
def fault_plan() -> Plan:
    """Plan of the sound accelerator: all terms, a stride, ReLU, tanh, saturation, three lanes, and the pulse policy."""
    rng = np.random.default_rng(SEED)
    options: dict[str, Any] = {"rounding": Rounding.HALF_UP, "overflow": Overflow.SAT, "bias": True}
    below = random_model(
        rng, layers=("lmu",), inputs=4, units=5, memories=[(3, 6.0), (3, 6.0), (2, 5.0)], e_h=True, e_m=True, w_x=True,
        w_h=True, activation="relu", u_activation="linear", stride=2, unsigned=False, **options,
    )  # fmt: skip
    above = random_model(rng, layers=("dense",), inputs=5, units=4, activation="tanh", unsigned=False, **options)
    dense = above.layers[0]
    if not isinstance(dense, QuantizedDense):
        raise TypeError(f"the upper layer must be dense, not {dense!r}")
    model = QuantizedModel((*below.layers, dense), below.input, name="faults")
    return make_plan(model, AcceleratorConfig(lanes=3, state=StatePolicy.PULSE))


@functools.cache
def fault_verilog() -> str:
    """Verilog of the sound accelerator."""
    return to_verilog(fault_plan())


def fault_stimulus(plan: Plan) -> tuple[Frame, ...]:
    """Three utterances with clears, some frames of wrong length, and a reset in the middle of a frame."""
    rng = np.random.default_rng(SEED + 1)
    frames = random_frames(rng, plan.model, 3, 10)
    n = plan.model.inputs
    wrong = [rng.integers(plan.model.input.min, plan.model.input.max, size).tolist() for size in (n - 1, n + 1, 2 * n)]
    reset_after = plan.model.inputs + int(plan.cycles_per_frame)
    marks = Marks(malformed={5: wrong, 12: wrong}, reset_in_frame={22: reset_after})
    return stimulus(plan, frames, marks, seed=SEED)


def _text(change: Change) -> Change:
    """A fault in the text of the Verilog. Raises ValueError if the change leaves the text as it is."""

    def faulty_verilog(plan: Plan, sound: str) -> str:
        faulty = change(plan, sound)
        if faulty == sound:
            raise ValueError("the fault changes nothing in the Verilog")
        return faulty

    return faulty_verilog


def _in_module(verilog: str, module: str, pattern: str, replacement: str | Callable[[re.Match[str]], str]) -> str:
    """Replace every match in a module. Raises ValueError if nothing matches."""
    start = verilog.index(f"module \\{TOP}.{module} (" if module else f"module {TOP}(")
    end = verilog.index("endmodule", start)
    body, count = re.subn(pattern, replacement, verilog[start:end])
    if not count:
        raise ValueError(f"nothing in module {module or TOP} matches {pattern}")
    return verilog[:start] + body + verilog[end:]


def _replace(module: str, pattern: str, replacement: str) -> Change:
    return _text(lambda plan, verilog: _in_module(verilog, module, pattern, replacement))


def flip_bit(verilog: str, memory: str, address: int, bit: int) -> str:
    """Flip a bit in a memory of constants.

    Parameters
    ----------
    verilog : str
        Text from `lmu_hw.export.emit.to_verilog`.
    memory : str
        Name of the memory's module below the top.
    address, bit : int
        Word, and bit in the word.

    Returns
    -------
    str
        The changed text.
    """

    def flipped(match: re.Match[str]) -> str:
        base, digits = match[2], match[3]
        if base == "d":  # Yosys writes words of 32 bits in decimal
            return f"{match[1]}d{int(digits) ^ (1 << bit)};"
        return f"{match[1]}h{int(digits, 16) ^ (1 << bit):0{len(digits)}x};"

    return _in_module(verilog, memory, rf"(cells\[{address}\] = \d+')([hd])([0-9a-f]+);", flipped)


def _weight(plan: Plan, verilog: str) -> str:
    """Lowest bit of the weight of row 0, column 0 of the last operation."""
    planned = plan.operations[-1]
    memory = plan.weight_memories[planned.weight_memory]
    return flip_bit(verilog, f"memory_{memory.name}", planned.weight_base, 0)


def _absent_weight(plan: Plan, verilog: str) -> str:
    """A weight of a row that does not exist: the last lane of an operation's last, incomplete row group."""
    planned = next(entry for entry in plan.operations if entry.operation.rows % plan.lanes)
    memory = plan.weight_memories[planned.weight_memory]
    address = planned.weight_base + planned.groups * planned.operation.columns - 1
    return flip_bit(verilog, f"memory_{memory.name}", address, memory.width - 1)


def _bias(plan: Plan, verilog: str) -> str:
    """The bias of a row of u changes by one unit in the last place of the result."""
    planned = plan.operations[0]
    return flip_bit(verilog, "memory_parameters", planned.parameter_base, int(planned.operation.shifts[0]))


def _shift(plan: Plan, verilog: str) -> str:
    planned = plan.operations[0]
    return flip_bit(verilog, "memory_parameters", planned.parameter_base, plan.bias_width)


def _table(plan: Plan, verilog: str) -> str:
    """The entry of the tanh table that is read most often."""
    planned = plan.operations[-1]
    golden = Golden(plan.model)
    state = golden.initial_state()
    frames = [frame.values for frame in fault_stimulus(plan) if len(frame.values) == plan.model.inputs]
    values = [golden.step(np.array([frame]), state).get(planned.operation.target) for frame in frames]
    results = np.abs(np.concatenate([value.ravel() for value in values if value is not None]))
    common = int(np.bincount(results[results > 0]).argmax())
    table = plan.images()["tanh"]
    for address in (address for address, entry in enumerate(table) if entry == common):
        verilog = flip_bit(verilog, "finish.table", address, 0)
    return verilog


def _swapped_lanes(plan: Plan, verilog: str) -> str:
    first, second = (
        re.search(rf"assign product{lane}  ?= (magnitudes\[[\d:]+\])", verilog) for lane in (0, 1)
    )
    if first is None or second is None:
        raise ValueError("the Verilog has no products of lanes 0 and 1")
    marked = verilog.replace(first[0], first[0].replace(first[1], "\0"))
    return marked.replace(second[0], second[0].replace(second[1], first[1])).replace("\0", second[1])


def _dropped(plan: Plan, verilog: str) -> str:
    """The last element of the memory state is not written."""
    planned = [entry for entry in plan.operations if entry.operation.target == "layer0.m"][-1]
    if planned.target is None:
        raise ValueError("the memory state has no address")
    op = planned.operation
    address = planned.target.base + op.start + op.repeat * op.rows - 1
    number = plan.operations.index(planned)
    condition = f"(write__operation == {number} && write__address == {address})"
    return _in_module(verilog, "finish", r"assign write__valid = (.+?);", rf"assign write__valid = \1 && !{condition};")


def _stride_phase(plan: Plan, verilog: str) -> str:
    """The first constant of the next phase is the wrap around; those after it belong to a clear and to a reset."""
    name = _find(verilog, r"phase0 <= (\S+) ;")
    head, *rest = re.split(rf"({re.escape(name)}  ?= )1'h0;", verilog)
    pairs = list(zip(rest[::2], rest[1::2], strict=True))
    return head + "".join(f"{left}1'h{int(index > 0)};{right}" for index, (left, right) in enumerate(pairs))


def _long_frame(plan: Plan, verilog: str) -> str:
    """The mark of a frame that is too long, which keeps its elements from being written, is never set."""
    start = verilog.index(f"module \\{TOP}.input (")
    inverted = _find(verilog[start:], r"assign write__valid = \S+ +& (\S+) ")
    mark = _find(verilog[start:], rf"assign {re.escape(inverted)} +=  ?~ (\S+) ?;")
    return _in_module(verilog, "input", rf"({re.escape(mark)} +)<= .+;", r"\1<= 1'h0;")


def _find(text: str, pattern: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"nothing matches {pattern}")
    return match[1]


def _model(change: Callable[[QuantizedModel], QuantizedModel]) -> Change:
    return lambda plan, _: to_verilog(make_plan(change(plan.model), plan.config))


def _lmu(change: Callable[[QuantizedLMU], QuantizedLMU]) -> Change:
    """A change of the first layer."""

    def changed(model: QuantizedModel) -> QuantizedModel:
        layer = model.layers[0]
        if not isinstance(layer, QuantizedLMU):
            raise TypeError(f"the first layer must be an LMU, not {layer!r}")
        return dataclasses.replace(model, layers=(change(layer), *model.layers[1:]))

    return _model(changed)


def _with(layer: QuantizedLMU, name: str, value: Any) -> QuantizedLMU:
    return dataclasses.replace(layer, **{name: value})


def _narrowed(name: str, **change: Any) -> Change:
    def changed(layer: QuantizedLMU) -> QuantizedLMU:
        quantizer: Quantizer = getattr(layer, name)
        return _with(layer, name, dataclasses.replace(quantizer, **change))

    return _lmu(changed)


def _matrix(name: str) -> Change:
    """One element of a memory's matrix is one unit off."""

    def changed(layer: QuantizedLMU) -> QuantizedLMU:
        matrices = [matrix.copy() for matrix in getattr(layer, name)]
        matrices[0].flat[0] += 1 if matrices[0].flat[0] <= 0 else -1
        return _with(layer, name, tuple(matrices))

    return _lmu(changed)


FAULTS = (
    Fault("weight bit", "verilog", "one bit of one weight is flipped", _text(_weight)),
    Fault("bias", "verilog", "one bias is one unit off", _text(_bias)),
    Fault("narrowing shift", "verilog", "one row is shifted by one bit too many or too few", _text(_shift)),
    Fault("tanh entry", "verilog", "the entries of the tanh table for one value are one unit off", _text(_table)),
    Fault("swapped lanes", "verilog", "lanes 0 and 1 have each other's magnitudes", _text(_swapped_lanes)),
    Fault(
        "product shift",
        "verilog",
        "the products of lane 0 are shifted by one bit too many",
        _replace("lanes.multiply", r"(assign product0 +=) (.+);", r"\1 (\2) <<< 1;"),
    ),
    Fault("dropped element", "verilog", "the last element of the memory state is not written", _text(_dropped)),
    Fault(
        "stale memory",
        "verilog",
        "a clear does not reach the memory state",
        _replace("sequencer.state", r"valid0m <= (.+);", r"valid0m <= valid0m | \1;"),
    ),
    Fault(
        "stale hidden state",
        "verilog",
        "a clear does not reach the hidden state",
        _replace("sequencer.state", r"valid0h <= (.+);", r"valid0h <= valid0h | \1;"),
    ),
    Fault(
        "always cleared",
        "verilog",
        "the memory state is read as zero in every frame",
        _replace("sequencer.state", r"valid0m <= (.+);", r"valid0m <= 1'h0;"),
    ),
    Fault(
        "old is new",
        "verilog",
        "the two copies of the memory state are not exchanged",
        _replace("sequencer.state", r"turn0m <= (.+);", r"turn0m <= 1'h0;"),
    ),
    Fault("stride phase", "verilog", "after a clear or a reset, the stride is one frame early", _text(_stride_phase)),
    Fault(
        "no reset",
        "verilog",
        "a reset does not reach the state of the layers",
        _replace("sequencer.state", r"if \(rst\)", "if (1'h0)"),
    ),
    Fault(
        "lost clear",
        "verilog",
        "a pulse on clear is ignored",
        _replace("", r"\.clear\(clear\)", ".clear(1'h0)"),
    ),
    Fault(
        "ties",
        "verilog",
        "the highest label wins a tie",
        _replace("output", r"(assign .+ \$signed\(w_data\)) > ", r"\1 >= "),
    ),
    Fault(
        "no back pressure",
        "verilog",
        "logits are computed while the last ones are still waiting",
        _replace("", r"( sequencer \([^;]*?\.claim__ready)\(.+?\)", r"\1(1'h1)"),
    ),
    Fault(
        "impatient logits",
        "verilog",
        "a logit does not wait until it is taken",
        _replace("", r"\.o_logits__ready\(o_logits__ready\)", ".o_logits__ready(1'h1)"),
    ),
    Fault(
        "impatient decision",
        "verilog",
        "the decision does not wait until it is taken",
        _replace("", r"\.o_decision__ready\(o_decision__ready\)", ".o_decision__ready(1'h1)"),
    ),
    Fault("long frame", "verilog", "a frame that is too long is used", _text(_long_frame)),
    Fault(
        "silent error",
        "verilog",
        "a dropped frame is not reported",
        _replace("input", r"frame_error <= .+;", "frame_error <= 1'h0;"),
    ),
    Fault(
        "absent row",
        "verilog",
        "one weight of a row that does not exist is not zero",
        _text(_absent_weight),
        "a lane without a row is never selected by the finish block",
    ),
    Fault("rounding", "model", "the memory state is rounded down", _narrowed("m", rounding=Rounding.FLOOR)),
    Fault("tie rule", "model", "ties of the memory state go to even", _narrowed("m", rounding=Rounding.ROUND)),
    Fault("wrapping", "model", "u wraps instead of saturating", _narrowed("u", overflow=Overflow.WRAP)),
    Fault(
        "symmetric",
        "model",
        "u never takes its most negative value",
        _narrowed("u", overflow=Overflow.SAT_SYM),
    ),
    Fault(
        "no ReLU",
        "model",
        "the hidden state keeps negative values",
        _lmu(lambda layer: dataclasses.replace(layer, activation="linear")),
    ),
    Fault("state matrix", "model", "one element of the state matrix is one unit off", _matrix("a")),
    Fault("input matrix", "model", "one element of the input matrix is one unit off", _matrix("b")),
)
"""All faults."""


def try_fault(fault: Fault, simulator: Simulator | str = Simulator.ICARUS) -> FaultTrial:
    """Simulate a faulty accelerator against the sound model.

    Parameters
    ----------
    fault : Fault
        One of `FAULTS`.
    simulator : Simulator or str
        ``icarus`` or ``verilator``.

    Returns
    -------
    FaultTrial
        Whether it was noticed.
    """
    plan = fault_plan()
    options = CosimOptions(simulator=simulator, stalls="random", stall_percent=80, seed=SEED)
    faulty = fault.verilog(plan, fault_verilog())
    result = cosimulate_variant(plan, fault_stimulus(plan), options, verilog=faulty)
    return FaultTrial(fault, not result.ok, _evidence(result))


def _evidence(result: CosimResult) -> str:
    """What failed first."""
    if result.mismatch is not None:
        mismatch = result.mismatch
        return f"{mismatch.block}[{mismatch.element}] of frame {mismatch.frame}"
    if result.violations:
        return result.violations[0]
    return "did not come to rest" if result.hung else "nothing differs" if result.ok else "not as planned"


def kill_rate(trials: Iterable[FaultTrial]) -> tuple[int, int]:
    """Faults that were noticed, and faults that can be: all but the equivalent ones."""
    real = [trial for trial in trials if not trial.fault.equivalent]
    return sum(trial.noticed for trial in real), len(real)


def fault_table(trials: Sequence[FaultTrial]) -> str:
    """Trials as a Markdown table, with the kill rate below."""
    lines = ["| fault | changed in | what is wrong | noticed by |", "|---|---|---|---|"]
    for trial in trials:
        fault = trial.fault
        missed = f"equivalent: {fault.equivalent}" if fault.equivalent else "**missed**"
        noticed = trial.how if trial.noticed else missed
        lines.append(f"| {fault.name} | {fault.level} | {fault.description} | {noticed} |")
    killed, real = kill_rate(trials)
    return "\n".join([*lines, "", f"{killed} of {real} faults noticed."])
