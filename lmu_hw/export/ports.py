"""Ports of an accelerator with their meaning: for IP-XACT, and for the port reference in the documentation."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from amaranth.hdl import Shape
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from lmu_hw.gateware.accelerator import accelerator_ports
from lmu_hw.gateware.bus.axi import axi_ports
from lmu_hw.gateware.bus.spi import spi_ports
from lmu_hw.model.gate import Gate
from lmu_hw.model.smoothing import Smoothing
from lmu_hw.plan.config import Interface, StatePolicy, WeightStore
from lmu_hw.plan.plan import Plan

__all__ = ["Port", "markdown", "ports"]


@dataclass(frozen=True)
class Port:
    """One port of the outermost module.

    Parameters
    ----------
    name : str
        In the Verilog.
    is_input : bool
        Direction.
    width : int
        Bits.
    fields : tuple of (str, int, int)
        Name, lowest bit and width of its parts, if it has several.
    meaning : str
        Description in the documentation.
    """

    name: str
    is_input: bool
    width: int
    fields: tuple[tuple[str, int, int], ...]
    meaning: str


_VALID, _READY = "a payload is offered", "the offered payload is accepted"
_AXI = {"tvalid": _VALID, "tready": _READY}
_CLOCK, _RESET = "clock; all flip-flops use its rising edge", "synchronous reset, active high"
_IRQ = "high while a bit is set in both IRQ_STATUS and IRQ_ENABLE"

MEANINGS = {
    Interface.STREAM: {
        "clk": _CLOCK,
        "rst": _RESET,
        "i__payload": "element of an input frame; `last` ends the frame, `end` the utterance",
        "i__valid": _VALID,
        "i__ready": _READY,
        "o_logits__payload": "logit; `last` marks the last label",
        "o_logits__valid": _VALID,
        "o_logits__ready": _READY,
        "o_decision__payload": "index of the largest logit (the lowest index on a tie), and that logit",
        "o_decision__valid": _VALID,
        "o_decision__ready": _READY,
        "o_event__payload": "keyword that was heard, and its lead over the second label",
        "o_event__valid": _VALID,
        "o_event__ready": _READY,
        "frame_error": "high for one cycle for each frame dropped because its length was wrong",
        "asleep": "high for one cycle for each frame that is asleep, after its last element",
        "clear": "clears the state before the first frame whose first element is accepted in this cycle or later",
        "i_load__payload": "word of the weight image; accepted between frames",
        "i_load__valid": _VALID,
        "i_load__ready": _READY,
    },
    Interface.AXI: {
        "aclk": _CLOCK,
        "aresetn": "synchronous reset, active low",
        "irq": _IRQ,
        **{f"s_axis_{name}": meaning for name, meaning in _AXI.items()},
        "s_axis_tdata": "element of an input frame, right-aligned in whole bytes; higher bits are ignored",
        "s_axis_tlast": "ends the frame",
        "s_axis_tuser": "with `tlast`: ends the utterance",
        **{f"m_axis_logits_{name}": meaning for name, meaning in _AXI.items()},
        "m_axis_logits_tdata": "logit, sign-extended to whole bytes",
        "m_axis_logits_tlast": "marks the last label",
        **{f"m_axis_decision_{name}": meaning for name, meaning in _AXI.items()},
        "m_axis_decision_tdata": "label, zero-extended to whole bytes; above it the score, sign-extended like a logit",
        "m_axis_decision_tlast": "always high",
        "s_axil_awaddr": "byte address of a write; the two lowest bits are ignored",
        "s_axil_awprot": "ignored",
        "s_axil_wdata": "value to write",
        "s_axil_wstrb": "must be all ones",
        "s_axil_bresp": "OKAY or SLVERR",
        "s_axil_araddr": "byte address of a read; the two lowest bits are ignored",
        "s_axil_arprot": "ignored",
        "s_axil_rdata": "value read, 0 with SLVERR",
        "s_axil_rresp": "OKAY or SLVERR",
        **{
            f"s_axil_{channel}{name}": meaning
            for channel in ("aw", "w", "b", "ar", "r")
            for name, meaning in (("valid", _VALID), ("ready", _READY))
        },
    },
    Interface.SPI: {
        "clk": _CLOCK,
        "rst": _RESET,
        "sck": "SPI clock, mode 0",
        "cs_n": "low during a transfer",
        "mosi": "from the host",
        "miso": "to the host",
        "miso_enable": "high while the device drives `miso`",
        "irq": _IRQ,
    },
}
"""Meaning of each port, by interface and name."""


def _flat(signature: wiring.Signature, prefix: str = "") -> Iterator[tuple[str, wiring.Member]]:
    """Ports of a signature by their names in Verilog, as seen from outside."""
    for name, member in signature.members.items():
        if member.is_port:
            yield prefix + name, member
        else:
            yield from _flat(member.signature, f"{prefix}{name}__")


def ports(plan: Plan) -> tuple[Port, ...]:
    """Ports of the wrapper that the plan's interface asks for, or of the core.

    Parameters
    ----------
    plan : Plan
        The accelerator.

    Returns
    -------
    tuple of Port
        Clock and reset first.
    """
    interface = plan.config.interface
    signatures = {Interface.STREAM: accelerator_ports, Interface.AXI: axi_ports, Interface.SPI: spi_ports}
    members = dict(_flat(signatures[interface](plan)))
    if interface is Interface.STREAM:
        members = {"clk": In(1), "rst": In(1), **members}
    return tuple(
        Port(
            name=name,
            is_input=member.flow is In,
            width=Shape.cast(member.shape).width,
            fields=_fields(member.shape),
            meaning=MEANINGS[interface][name],
        )
        for name, member in members.items()
    )


def _fields(shape: object) -> tuple[tuple[str, int, int], ...]:
    if not isinstance(shape, data.StructLayout):
        return ()
    return tuple((name, field.offset, field.width) for name, field in shape)


TEXT = """\
# Port reference

This page is generated from the signatures of the gateware by `lmu_hw.export.ports.markdown`; a test keeps it current.
It shows the widths of the shipped network {model} with {lanes} lanes, and of smoothing with 10-bit scores over 16
frames. Widths of data, scores, labels and words depend on the network. The IP-XACT file of an accelerator
(`NAME.xml`, IEEE 1685-2014) lists its ports with its own widths.

Streams follow the rules of Amaranth and AXI4-Stream. A payload moves in each cycle in which valid and ready are high.
A valid payload does not change until it moves.

"""

SMOOTHING = Smoothing(background=(0,), score_bits=10, shift=4, threshold=1, refractory=1)
"""Smoothing of the widths in the reference."""

GATE = Gate(margin=0, hold=1, rise=0, fall=0, floor=0)
"""Gate of the ports in the reference."""

Choice = tuple[WeightStore, StatePolicy, Smoothing | None, Gate | None]
"""What decides which ports an accelerator has."""

OPTIONS = (
    *((0, store, f"`--weights {store.value}`") for store in WeightStore),
    *((1, policy, f"`--state {policy.value}`") for policy in StatePolicy),
    (2, SMOOTHING, "`--smoothing`"),
    (3, GATE, "a network with a level gate"),
)
"""Index in a `Choice`, its value, and the option that selects it."""

TITLES = {
    Interface.STREAM: "The core: module `NAME` in `NAME.v`",
    Interface.AXI: "AXI: module `NAME_axi` in `NAME_axi.v`",
    Interface.SPI: "SPI: module `NAME_spi` in `NAME_spi.v`",
}


def markdown(plan: Plan) -> str:
    """Page of the documentation.

    Parameters
    ----------
    plan : Plan
        Accelerator of the widths; its interface, weights and state policy do not matter.
    """
    sections = [TEXT.format(model=plan.model.name, lanes=plan.lanes)]
    for interface, title in TITLES.items():
        lines = [f"## {title}", "", "| port | direction | bits | present | meaning |", "|---|---|---|---|---|"]
        lines += _rows(plan, interface)
        sections.append("\n".join(lines) + "\n")
    return sections[0] + "\n".join(sections[1:])


def _rows(plan: Plan, interface: Interface) -> list[str]:
    """One row for each port that some configuration has."""
    variants_by_name: dict[str, dict[Choice, Port]] = {}
    core = interface is Interface.STREAM
    smoothings, gates = ((None, SMOOTHING), (None, GATE)) if core else ((None,), (None,))
    choices = tuple(itertools.product(WeightStore, StatePolicy, smoothings, gates))
    for weights, state, smoothing, gate in choices:
        config = replace(plan.config, interface=interface, weights=weights, state=state, smoothing=smoothing)
        for port in ports(replace(plan, config=config, model=replace(plan.model, gate=gate))):
            variants_by_name.setdefault(port.name, {})[weights, state, smoothing, gate] = port
    rows = []
    for name, variants in variants_by_name.items():
        widest = max(variants.values(), key=lambda port: port.width)
        narrowest = min(port.width for port in variants.values())
        bits = str(widest.width) if narrowest == widest.width else f"{narrowest} or {widest.width}"
        fields = "; ".join(
            f"`{field}` {low}" if width == 1 else f"`{field}` {low + width - 1}:{low}"
            for field, low, width in widest.fields
        )
        meaning = widest.meaning + (f" ({fields})" if fields else "")
        direction = "in" if widest.is_input else "out"
        rows.append(f"| `{name}` | {direction} | {bits} | {_condition(set(variants), choices)} | {meaning} |")
    return rows


def _condition(having: set[Choice], choices: tuple[Choice, ...]) -> str:
    """Option with which a port is present."""
    if len(having) == len(choices):
        return "always"
    for index, value, option in OPTIONS:
        if having == {choice for choice in choices if choice[index] == value}:
            return option
    raise ValueError(f"a port is present with more than one option: {having}")
