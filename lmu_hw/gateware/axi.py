"""The accelerator behind AXI4-Stream and AXI4-Lite: a wrapper around the unchanged core."""

from amaranth.hdl import Cat, ClockDomain, Instance, Module, Mux, Shape, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from lmu_hw.config import StatePolicy, WeightStore
from lmu_hw.gateware.axi_lite import AxiLite
from lmu_hw.gateware.layouts import decision_layout, feature_layout, load_layout, logit_layout
from lmu_hw.plan import Plan
from lmu_hw.registers import (
    ADDRESS_WIDTH,
    IDENTIFICATION,
    OFFSETS,
    VERSION,
    Access,
    load_beats,
    present,
)

__all__ = ["AxiAccelerator"]

REST = 16
"""Cycles beyond the longest computation of a frame after which the accelerator is at rest."""


def _whole_bytes(width: int) -> int:
    return 8 * -(-width // 8)


class AxiAccelerator(wiring.Component):
    """The accelerator with AXI4-Stream names and an AXI4-Lite register block.

    Parameters
    ----------
    plan : Plan
        The core's; one that `lmu_hw.registers.check` accepts.
    core : str
        Name of the core's Verilog module, from `lmu_hw.emit.to_verilog`.

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
        AXI4-Lite with 32 bits of data. The registers are in `lmu_hw.registers`; protection bits are ignored.
    irq : Out(1)
        High while a bit of IRQ_STATUS is set that IRQ_ENABLE has too.

    The streams are the core's, with no cycle between; a register access takes no cycle from them.
    """

    def __init__(self, plan: Plan, core: str):
        self.plan = plan
        self.core = core
        self._score = Shape.cast(decision_layout(plan)["score"].shape)
        label = _whole_bytes(decision_layout(plan)["label"].width)
        score = _whole_bytes(self._score.width)
        members = {"aclk": In(1), "aresetn": In(1), "irq": Out(1)}
        members |= self._stream("s_axis", _whole_bytes(plan.model.input.width), In, Out)
        if plan.config.state is StatePolicy.UTTERANCE:
            members["s_axis_tuser"] = In(1)
        members |= self._stream("m_axis_logits", score, Out, In)
        members |= self._stream("m_axis_decision", label + score, Out, In)
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
        super().__init__(members)

    @staticmethod
    def _stream(name: str, width: int, forward: type, backward: type) -> dict[str, wiring.Member]:
        return {
            f"{name}_tdata": forward(width),
            f"{name}_tvalid": forward(1),
            f"{name}_tlast": forward(1),
            f"{name}_tready": backward(1),
        }

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self.plan
        m.domains.sync = domain = ClockDomain("sync")
        m.submodules.bus = bus = AxiLite(ADDRESS_WIDTH)
        m.d.comb += [domain.clk.eq(self.aclk), domain.rst.eq(~self.aresetn)]
        for name in ("awaddr", "awvalid", "wdata", "wstrb", "wvalid", "bready", "araddr", "arvalid", "rready"):
            m.d.comb += getattr(bus, name).eq(getattr(self, f"s_axil_{name}"))
        for name in ("awready", "wready", "bresp", "bvalid", "arready", "rdata", "rresp", "rvalid"):
            m.d.comb += getattr(self, f"s_axil_{name}").eq(getattr(bus, name))

        features = Signal(feature_layout(plan))
        logit = Signal(logit_layout(plan))
        decision = Signal(decision_layout(plan))
        frame_error = Signal()
        clear = Signal()
        ports = {
            "i_clk": domain.clk,
            "i_rst": domain.rst,
            "i_i__payload": features,
            "i_i__valid": self.s_axis_tvalid,
            "o_i__ready": self.s_axis_tready,
            "o_o_logits__payload": logit,
            "o_o_logits__valid": self.m_axis_logits_tvalid,
            "i_o_logits__ready": self.m_axis_logits_tready,
            "o_o_decision__payload": decision,
            "o_o_decision__valid": self.m_axis_decision_tvalid,
            "i_o_decision__ready": self.m_axis_decision_tready,
            "o_frame_error": frame_error,
        }
        if plan.config.state is StatePolicy.PULSE:
            ports["i_clear"] = clear
        if plan.config.state is StatePolicy.UTTERANCE:
            m.d.comb += features.end.eq(self.s_axis_tuser)
        label = Signal(unsigned(_whole_bytes(decision.label.shape().width)))
        score = Signal(Shape(_whole_bytes(self._score.width), self._score.signed))
        m.d.comb += [
            features.data.eq(self.s_axis_tdata[: plan.model.input.width]),
            features.last.eq(self.s_axis_tlast),
            self.m_axis_logits_tdata.eq(logit.data),
            self.m_axis_logits_tlast.eq(logit.last),
            label.eq(decision.label),
            score.eq(decision.score),
            self.m_axis_decision_tdata.eq(Cat(label, score)),
            self.m_axis_decision_tlast.eq(1),
        ]
        values = {
            "ID": IDENTIFICATION,
            "VERSION": VERSION,
            "SHAPE": plan.model.inputs | plan.model.outputs << 16,
            "FEATURES": self._features(),
        }
        m.d.comb += clear.eq(self._writes(bus, "CONTROL") & bus.write_data[0])
        loading = Signal()
        if plan.config.weights is WeightStore.RAM:
            self._load(m, bus, values, loading, ports)
        self._count(m, values, frame_error, loading)
        self._hear(m, bus, values, label, score, frame_error)
        m.submodules.core = Instance(self.core, **ports)
        self._access(m, bus, values, loading)
        return m

    def _features(self) -> int:
        config = self.plan.config
        ram = config.weights is WeightStore.RAM
        flags = ram | (config.state is StatePolicy.PULSE) << 1 | (config.state is StatePolicy.UTTERANCE) << 2
        return flags | (load_beats(self.plan) << 8 if ram else 0)

    @staticmethod
    def _writes(bus: AxiLite, name: str) -> object:
        """Whether a register is written in this cycle."""
        return bus.write & ~bus.write_error & (bus.write_address == OFFSETS[name] >> 2)

    def _access(self, m: Module, bus: AxiLite, values: dict, loading: Signal) -> None:
        """Answers of the register bus: the value of every register, or an error where there is none."""
        m.d.comb += [bus.read_error.eq(1), bus.write_error.eq(1)]
        with m.Switch(bus.read_address):
            for register in present(self.plan):
                with m.Case(register.offset >> 2):
                    m.d.comb += [bus.read_error.eq(0), bus.read_data.eq(values.get(register.name, 0))]
        whole = bus.write_strobes.all()
        with m.Switch(bus.write_address):
            for register in present(self.plan):
                if register.access is not Access.READ:
                    with m.Case(register.offset >> 2):
                        m.d.comb += bus.write_error.eq(~whole | loading if register.loading else ~whole)

    def _load(self, m: Module, bus: AxiLite, values: dict, loading: Signal, ports: dict) -> None:
        """The window to the load port: some writes make a word, which waits until the core takes it."""
        beats = load_beats(self.plan)
        layout = load_layout(self.plan)
        word = Signal(layout)
        memory = Signal(layout["memory"].shape, name="load_memory")
        address = Signal(layout["address"].shape, name="load_address")
        pieces = Signal(32 * beats)
        beat = Signal(range(max(2, beats)))
        ready = Signal()
        ports |= {"i_i_load__payload": word, "i_i_load__valid": loading, "o_i_load__ready": ready}
        m.d.comb += [word.memory.eq(memory), word.address.eq(address), word.data.eq(pieces)]
        with m.If(loading & ready):
            m.d.sync += [loading.eq(0), address.eq(address + 1)]
        for name, field in (("LOAD_MEMORY", memory), ("LOAD_ADDRESS", address)):
            values[name] = field
            with m.If(self._writes(bus, name)):
                m.d.sync += [field.eq(bus.write_data), beat.eq(0)]
        with m.If(self._writes(bus, "LOAD_DATA")):
            m.d.sync += [pieces.word_select(beat, 32).eq(bus.write_data), beat.eq(beat + 1)]
            with m.If(beat == beats - 1):
                m.d.sync += [beat.eq(0), loading.eq(1)]

    def _count(self, m: Module, values: dict, frame_error: Signal, loading: Signal) -> None:
        """Counters of frames and decisions; whether anything is under way."""
        frames, errors, decisions = (Signal(32, name=name) for name in ("frames", "frame_errors", "decisions"))
        receiving = Signal()
        ended = Signal()
        busy = Signal()
        longest = max(max(frame.interval, frame.latency) for frame in self.plan.frames) + REST
        rest = Signal(bits_for(longest))
        accepted = self.s_axis_tvalid & self.s_axis_tready
        with m.If(accepted):
            m.d.sync += receiving.eq(~self.s_axis_tlast)
        m.d.sync += ended.eq(accepted & self.s_axis_tlast)
        with m.If(ended & ~frame_error):
            m.d.sync += frames.eq(frames + 1)
        with m.If(frame_error):
            m.d.sync += errors.eq(errors + 1)
        with m.If(self.m_axis_decision_tvalid & self.m_axis_decision_tready):
            m.d.sync += decisions.eq(decisions + 1)
        active = Signal()
        m.d.comb += [
            active.eq(
                receiving | ended | ~self.s_axis_tready | self.m_axis_logits_tvalid | self.m_axis_decision_tvalid
            ),
            busy.eq(active | (rest != 0)),
        ]
        with m.If(active):
            m.d.sync += rest.eq(longest)
        with m.Elif(rest != 0):
            m.d.sync += rest.eq(rest - 1)
        values |= {
            "STATUS": Cat(busy, loading),
            "FRAMES": frames,
            "FRAME_ERRORS": errors,
            "DECISIONS": decisions,
        }

    def _hear(
        self, m: Module, bus: AxiLite, values: dict, label: Signal, score: Signal, frame_error: Signal
    ) -> None:
        """The interrupt: decisions that count as heard, and dropped frames."""
        threshold = Signal(signed(32))
        enable = Signal(2)
        status = Signal(2)
        heard_label = Signal.like(label)
        heard_score = Signal.like(score)
        mask = Signal(self.plan.model.outputs)
        heard = Signal()
        m.d.comb += [
            heard.eq(
                self.m_axis_decision_tvalid
                & self.m_axis_decision_tready
                & mask.bit_select(label, 1)
                & (score >= threshold)
            ),
            self.irq.eq((enable & status).any()),
        ]
        cleared = Mux(self._writes(bus, "IRQ_STATUS"), bus.write_data[:2], 0)
        m.d.sync += status.eq((status & ~cleared) | Cat(heard, frame_error))
        with m.If(heard):
            m.d.sync += [heard_label.eq(label), heard_score.eq(score)]
        fields = {"THRESHOLD": threshold, "IRQ_ENABLE": enable}
        fields |= {f"LABEL_MASK{at // 32}": mask[at : at + 32] for at in range(0, len(mask), 32)}
        for name, field in fields.items():
            with m.If(self._writes(bus, name)):
                m.d.sync += field.eq(bus.write_data)
        extended = Signal(signed(32))
        m.d.comb += extended.eq(heard_score)
        values |= {**fields, "IRQ_STATUS": status, "HEARD_LABEL": heard_label, "HEARD_SCORE": extended}
