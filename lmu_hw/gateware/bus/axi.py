"""The accelerator behind AXI4-Stream and AXI4-Lite: a wrapper around the unchanged core."""

from amaranth.hdl import Cat, ClockDomain, Module, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.bus.axi_lite import AxiLite
from lmu_hw.gateware.bus.core_instance import core_instance
from lmu_hw.gateware.bus.register_block import RegisterBlock
from lmu_hw.gateware.bus.rest import Rest
from lmu_hw.gateware.layouts import decision_layout, whole_bytes
from lmu_hw.host.registers import ADDRESS_WIDTH
from lmu_hw.plan.config import StatePolicy, WeightStore
from lmu_hw.plan.plan import Plan

__all__ = ["AxiAccelerator", "axi_ports"]


def _stream(name: str, width: int, forward: type, backward: type) -> dict[str, wiring.Member]:
    return {
        f"{name}_tdata": forward(width),
        f"{name}_tvalid": forward(1),
        f"{name}_tlast": forward(1),
        f"{name}_tready": backward(1),
    }


def axi_ports(plan: Plan) -> wiring.Signature:
    """Ports of the wrapper, as `AxiAccelerator` describes them."""
    label, score = (whole_bytes(field.width) for _, field in decision_layout(plan))
    members = {"aclk": In(1), "aresetn": In(1), "irq": Out(1)}
    members |= _stream("s_axis", whole_bytes(plan.model.input.width), In, Out)
    if plan.config.state is StatePolicy.UTTERANCE:
        members["s_axis_tuser"] = In(1)
    members |= _stream("m_axis_logits", score, Out, In)
    members |= _stream("m_axis_decision", label + score, Out, In)
    for channel, signals in {
        "aw": {"addr": In(ADDRESS_WIDTH), "prot": In(3)},
        "w": {"data": In(32), "strb": In(4)},
        "b": {"resp": Out(2)},
        "ar": {"addr": In(ADDRESS_WIDTH), "prot": In(3)},
        "r": {"data": Out(32), "resp": Out(2)},
    }.items():
        outward, inward = (Out, In) if channel in "br" else (In, Out)
        members |= {f"s_axil_{channel}{name}": member for name, member in signals.items()}
        members |= {f"s_axil_{channel}valid": outward(1), f"s_axil_{channel}ready": inward(1)}
    return wiring.Signature(members)


class AxiAccelerator(wiring.Component):
    """The accelerator with AXI4-Stream names and an AXI4-Lite register block.

    Parameters
    ----------
    plan : Plan
        The core's; one that `lmu_hw.host.registers.check` accepts.
    core : str
        Name of the core's Verilog module, from `lmu_hw.export.emit.to_verilog`.

    Members
    -------
    aclk, aresetn : In(1)
        Clock, and synchronous reset, active low.
    s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast : In or Out
        Elements of the input frames in whole bytes, right-aligned; bits above an element are ignored.
    s_axis_tuser : In(1)
        Under the utterance policy only: with the last element, the utterance ends.
    m_axis_logits_tdata, m_axis_logits_tvalid, m_axis_logits_tready, m_axis_logits_tlast : Out or In
        Logits, extended by their sign to whole bytes.
    m_axis_decision_tdata, m_axis_decision_tvalid, m_axis_decision_tready, m_axis_decision_tlast : Out or In
        Label in whole bytes, extended by zeros, and above it the score in whole bytes, extended by its sign; every
        decision is a packet of its own.
    s_axil_awaddr, ..., s_axil_rready : In or Out
        AXI4-Lite with 32 bits of data. The registers are in `lmu_hw.host.registers`; protection bits are ignored.
    irq : Out(1)
        High while a bit of IRQ_STATUS is set that IRQ_ENABLE has too.

    The streams are the core's, with no cycle between; a register access takes no cycle from them.
    """

    def __init__(self, plan: Plan, core: str):
        self.plan = plan
        self.core = core
        super().__init__(axi_ports(plan))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self.plan
        m.domains.sync = domain = ClockDomain("sync")
        m.submodules.bus = bus = AxiLite()
        m.submodules.registers = registers = RegisterBlock(plan)
        m.submodules.rest = rest = Rest(plan)
        m.submodules.core, core = core_instance(plan, self.core, domain.clk, domain.rst)
        m.d.comb += [domain.clk.eq(self.aclk), domain.rst.eq(~self.aresetn), self.irq.eq(registers.irq)]
        for name in ("awaddr", "awvalid", "wdata", "wstrb", "wvalid", "bready", "araddr", "arvalid", "rready"):
            m.d.comb += getattr(bus, name).eq(getattr(self, f"s_axil_{name}"))
        for name in ("awready", "wready", "bresp", "bvalid", "arready", "rdata", "rresp", "rvalid"):
            m.d.comb += getattr(self, f"s_axil_{name}").eq(getattr(bus, name))
        wiring.connect(m, bus.bus, registers.bus)
        self._streams(m, core)
        m.d.comb += [
            rest.accepted.eq(self.s_axis_tvalid & self.s_axis_tready),
            rest.last.eq(self.s_axis_tlast),
            rest.full.eq(~self.s_axis_tready),
            rest.offering.eq(self.m_axis_logits_tvalid | self.m_axis_decision_tvalid),
            registers.busy.eq(rest.busy),
            registers.ended.eq(rest.ended),
            registers.frame_error.eq(core.frame_error),
            registers.decided.eq(self.m_axis_decision_tvalid & self.m_axis_decision_tready),
            registers.decision.eq(core.o_decision.payload),
        ]
        if plan.model.gate is not None:
            m.d.comb += [registers.slept.eq(core.asleep), rest.asleep.eq(core.asleep)]
        if plan.config.state is StatePolicy.PULSE:
            m.d.comb += core.clear.eq(registers.clear)
        if plan.config.weights is WeightStore.RAM:
            wiring.connect(m, registers.o_load, core.i_load)
        return m

    def _streams(self, m: Module, core: wiring.PureInterface) -> None:
        """The core's streams under the names of AXI4-Stream, in whole bytes."""
        decision = decision_layout(self.plan)
        label = Signal(whole_bytes(decision["label"].width))
        score = Signal(Shape(whole_bytes(decision["score"].width), Shape.cast(decision["score"].shape).signed))
        if self.plan.config.state is StatePolicy.UTTERANCE:
            m.d.comb += core.i.payload.end.eq(self.s_axis_tuser)
        m.d.comb += [
            core.i.payload.data.eq(self.s_axis_tdata[: self.plan.model.input.width]),
            core.i.payload.last.eq(self.s_axis_tlast),
            core.i.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(core.i.ready),
            self.m_axis_logits_tdata.eq(core.o_logits.payload.data),
            self.m_axis_logits_tlast.eq(core.o_logits.payload.last),
            self.m_axis_logits_tvalid.eq(core.o_logits.valid),
            core.o_logits.ready.eq(self.m_axis_logits_tready),
            label.eq(core.o_decision.payload.label),
            score.eq(core.o_decision.payload.score),
            self.m_axis_decision_tdata.eq(Cat(label, score)),
            self.m_axis_decision_tlast.eq(1),
            self.m_axis_decision_tvalid.eq(core.o_decision.valid),
            core.o_decision.ready.eq(self.m_axis_decision_tready),
        ]
