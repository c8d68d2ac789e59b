"""What the Verilog bench (`bench.v`) must know about an accelerator and a run."""

from collections.abc import Sequence

from lmu_hw.export.names import TOP
from lmu_hw.gateware.layouts import decision_layout, event_layout, feature_layout, load_layout, logit_layout
from lmu_hw.plan.config import StatePolicy, WeightStore
from lmu_hw.plan.plan import Plan
from lmu_sim.stimulus import Frame, slots

__all__ = ["BENCH", "STALLS", "bench_header", "plusargs"]

BENCH = "lmu_bench"
"""Name of the bench module."""

STALLS = ("none", "alternate", "random")
"""How the bench stalls the input and the output streams."""


def bench_header(plan: Plan) -> str:
    """Verilog header with the widths, optional ports and memories of an accelerator.

    Parameters
    ----------
    plan : Plan
        The accelerator.

    Returns
    -------
    str
        Text of ``lmu_bench_config.vh``.
    """
    macros: dict[str, object] = {
        "TOP": TOP,
        "DATA_WIDTH": plan.model.input.width,
        "INPUT_WIDTH": feature_layout(plan).size,
        "LOGIT_WIDTH": logit_layout(plan).size,
        "DECISION_WIDTH": decision_layout(plan).size,
        "SLOTS": slots(plan),
    }
    if plan.config.state is StatePolicy.UTTERANCE:
        macros["END"] = 1
    if plan.config.state is StatePolicy.PULSE:
        macros["CLEAR"] = 1
    if plan.config.smoothing is not None:
        macros |= {"EVENT": 1, "EVENT_WIDTH": event_layout(plan).size}
    if plan.model.gate is not None:
        macros["GATE"] = 1
    if plan.config.weights is WeightStore.RAM:
        layout = load_layout(plan)
        macros |= {f"LOAD_{name.upper()}": field.width for name, field in layout}
        macros |= {"LOAD": 1, "LOAD_WIDTH": layout.size}
    if plan.parts > 1:
        macros["STATES"] = 1
    macros |= _memory_macros(plan)
    return "".join(f"`define LMU_{name} {value}\n" for name, value in macros.items())


def _memory_macros(plan: Plan) -> dict[str, object]:
    """Number of memories, and their read and write enables as concatenations, the first memory in bit 0."""
    fixed = plan.config.weights is WeightStore.ROM
    constant = {memory.name for memory in (*plan.weight_memories, plan.parameters) if fixed}
    paths = {"table": r"finish.\table ", "output": r"\output .logits", "sums": "smoother.sums"}
    reads, writes = [], []
    for memory in plan.memories:
        path = paths.get(memory.kind, f"memory_{memory.name}")
        reads.append(f"dut.{path}.read")
        writable = memory.kind != "table" and memory.name not in constant
        writes.append(f"dut.{path}.write" if writable else "1'b0")
    return {
        "MEMORIES": len(reads),
        "READS": "{" + ", ".join(reversed(reads)) + "}",
        "WRITES": "{" + ", ".join(reversed(writes)) + "}",
    }


def plusargs(
    plan: Plan, sent: Sequence[Frame], stalls: str, stall_percent: int, seed: int, spaced: bool
) -> list[str]:
    """Settings of a run, for the simulator's command line.

    The longest stall lasts two frames. The limit of cycles is far beyond any healthy run.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    sent : sequence of Frame
        Frames to send.
    stalls : str
        One of `STALLS`.
    stall_percent : int
        Transfers that random stalls delay, in percent.
    seed : int
        Of random stalls.
    spaced : bool
        Whether a frame is sent only when the accelerator is at rest.

    Returns
    -------
    list of str
        Each as ``+name=value``.
    """
    interval = max(frame.interval for frame in plan.frames)
    longest = min(2 * interval + 16, 65535)
    per_frame = interval + (plan.model.inputs + plan.model.outputs + 2) * (1 + longest // 4)
    words = sum(memory.depth for memory in (*plan.weight_memories, plan.parameters)) * (1 + longest // 4)
    limit = 20000 + words + len(sent) * per_frame + sum(frame.reset_after for frame in sent)
    settings = {
        "stalls": STALLS.index(stalls),
        "percent": stall_percent,
        "seed": seed,
        "long": longest,
        "spaced": (plan.schedule.write_latency + 2) * spaced,  # longer than a pause while elements are finished
        "limit": min(limit, 2**31 - 1),
    }
    return [f"+{name}={value}" for name, value in settings.items()]
