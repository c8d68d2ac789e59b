"""What executes the packets of a host and replies to them."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lmu_hw.gateware.layouts import decision_layout, feature_layout, load_layout, logit_layout
from lmu_hw.gateware.serial.image_loader import ImageLoader
from lmu_hw.gateware.serial.packets import PacketReceiver, PacketTransmitter
from lmu_hw.gateware.serial.result_store import ResultStore
from lmu_hw.host.link import CHUNK, ERROR, REPLY, STATUS_BODY, VERSION, Kind, LinkLayout, Refusal
from lmu_hw.plan.config import WeightStore
from lmu_hw.plan.plan import Plan

__all__ = ["HostInterface"]


class HostInterface(wiring.Component):
    """Executes one packet after the other, each once, and replies to it (`lmu_hw.host.link`).

    A packet with the kind and the sequence number of the latest one executed is a repetition, because the reply was
    lost: the reply is sent again, and nothing is executed.

    Parameters
    ----------
    plan : Plan
        The accelerator's.
    design : int
        32 bits that tell this accelerator from others, for the reply to STATUS.

    Members
    -------
    data, valid, error : In
        Bytes from the line, as `PacketReceiver` takes them.
    o : Out(stream of 8 bits)
        Bytes for the line.
    o_features : Out(stream of feature_layout(plan))
        To the accelerator.
    logits, decision : In(streams of logit_layout(plan) and decision_layout(plan))
        From the accelerator.
    o_load : Out(stream of load_layout(plan))
        With weights in RAM: to the accelerator's load port.
    clear : Out(1)
        Return the state to zero, by a reset of the accelerator; one cycle.
    word : Out(range(labels + 1))
        One more than the label of the latest decision; 0 if there was none since the state was cleared.
    ready : Out(1)
        All weights are there.
    trouble : Out(1)
        The latest packet was refused.
    """

    def __init__(self, plan: Plan, design: int):
        self.plan = plan
        self.design = design
        self._ram = plan.config.weights is WeightStore.RAM
        members = {
            "data": In(8),
            "valid": In(1),
            "error": In(1),
            "o": Out(stream.Signature(8)),
            "o_features": Out(stream.Signature(feature_layout(plan))),
            "logits": In(stream.Signature(logit_layout(plan))),
            "decision": In(stream.Signature(decision_layout(plan))),
            "clear": Out(1),
            "word": Out(range(plan.model.outputs + 1)),
            "ready": Out(1),
            "trouble": Out(1),
        }
        if self._ram:
            members["o_load"] = Out(stream.Signature(load_layout(plan)))
        super().__init__(members)
        self._layout = LinkLayout.of(plan)
        self._receiver = PacketReceiver(self._layout.longest_body)
        self._transmitter = PacketTransmitter()
        self._results = ResultStore(plan)
        self._image = ImageLoader(plan) if self._ram else None
        self._index = Signal(range(max(self._layout.longest_body, sum(STATUS_BODY.values()))))
        self._expected = Signal(8)
        self._latest = Signal(8)
        self._has_result = Signal()
        self._greeted = Signal()
        self._refusal = Signal(8)
        self._phase = Signal(range(max(2, plan.period)))
        self._counts = {name: Signal(16, name=name) for name in ("damaged", "overflows", "refused")}
        self._untold = {Refusal.DAMAGED: Signal(name="damage_untold"), Refusal.OVERFLOW: Signal(name="overflow_untold")}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        receiver, results = self._receiver, self._results
        m.submodules.receiver = receiver
        m.submodules.transmitter = self._transmitter
        m.submodules.results = results
        wiring.connect(m, self._transmitter.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.logits), results.logits)
        wiring.connect(m, wiring.flipped(self.decision), results.decision)
        m.d.comb += [
            receiver.data.eq(self.data),
            receiver.valid.eq(self.valid),
            receiver.error.eq(self.error),
            receiver.address.eq(self._index),
        ]
        if self._image is None:
            m.d.comb += self.ready.eq(1)
        else:
            m.submodules.image = self._image
            wiring.connect(m, self._image.o_load, wiring.flipped(self.o_load))
            m.d.comb += [self.ready.eq(self._image.whole), self._image.i.payload.eq(receiver.body)]
        self._notice_losses(m)
        with m.FSM():
            self._choose(m)
            self._clear(m)
            self._frame(m)
            if self._image is not None:
                self._load(m, self._image)
            self._done(m)
            self._reply(m)
        return m

    def _notice_losses(self, m: Module) -> None:
        """Count packets that were lost on the line, and remember to tell of them."""
        for pulse, count, why in (
            (self._receiver.damaged, "damaged", Refusal.DAMAGED),
            (self._receiver.overflow, "overflows", Refusal.OVERFLOW),
        ):
            with m.If(pulse):
                m.d.sync += [self._counts[count].eq(self._counts[count] + 1), self._untold[why].eq(1)]

    def _choose(self, m: Module) -> None:
        """Between packets: tell of a loss, or look at the packet that is held."""
        receiver = self._receiver
        body = self._layout.frame_bytes
        known = [(Kind.CLEAR, 0, Const(1), "CLEAR"), (Kind.FRAME, body, self.ready, "FRAME")]
        if self._image is not None:
            known += [(Kind.BEGIN, 0, Const(1), "BEGIN"), (Kind.IMAGE, CHUNK, ~self.ready, "NEXT")]
        with m.State("CHOOSE"):
            m.d.sync += [self._index.eq(0), self._refusal.eq(0)]
            with m.If(self._untold[Refusal.DAMAGED] & ~receiver.damaged):
                self._tell(m, Refusal.DAMAGED)
            with m.Elif(self._untold[Refusal.OVERFLOW] & ~receiver.overflow):
                self._tell(m, Refusal.OVERFLOW)
            with m.Elif(receiver.held):
                with m.Switch(receiver.kind):
                    with m.Case(Kind.STATUS):
                        m.d.sync += self._greeted.eq(1)
                        m.next = "KIND"
                    for kind, length, allowed, state in known:
                        with m.Case(kind):
                            with m.If(~self._greeted):
                                self._refuse(m, Refusal.RESET)
                            with m.Elif(receiver.length != length):
                                self._refuse(m, Refusal.LENGTH)
                            with m.Elif((receiver.sequence == (self._expected - 1)[:8]) & (self._latest == kind)):
                                m.next = "KIND"
                            with m.Elif(receiver.sequence != self._expected):
                                self._refuse(m, Refusal.SEQUENCE)
                            with m.Elif(~allowed):
                                self._refuse(m, Refusal.WEIGHTS)
                            with m.Else():
                                m.next = state
                    with m.Default():
                        self._refuse(m, Refusal.KIND)

    def _tell(self, m: Module, why: Refusal) -> None:
        """Reply to a packet that was lost."""
        m.d.sync += [self._untold[why].eq(0), self._refusal.eq(why), self.trouble.eq(1)]
        m.next = "KIND"

    def _refuse(self, m: Module, why: Refusal) -> None:
        """Reply that the packet that is held has no effect."""
        count = self._counts["refused"]
        m.d.sync += [count.eq(count + 1), self._refusal.eq(why), self.trouble.eq(1)]
        m.next = "KIND"

    def _clear(self, m: Module) -> None:
        with m.State("CLEAR"):
            m.d.comb += self.clear.eq(1)
            m.d.sync += [self.word.eq(0), self._phase.eq(0)]
            m.next = "DONE"

    def _frame(self, m: Module) -> None:
        """Pass the elements of a frame on, and wait for its result if it has one."""
        size = self._layout.element_bytes
        earlier = Signal(8 * (size - 1))
        byte = Signal(range(max(2, size)))
        last = self._index == self._layout.frame_bytes - 1
        whole = byte == size - 1
        gives = self._phase == self.plan.period - 1
        features = self.o_features
        element = Cat(earlier, self._receiver.body)
        m.d.comb += [features.payload.data.eq(element), features.payload.last.eq(last)]
        with m.State("FRAME"):
            m.d.sync += byte.eq(0)
            m.d.comb += self._results.release.eq(1)
            m.next = "ELEMENT"
        with m.State("ELEMENT"):
            m.d.comb += features.valid.eq(whole)
            with m.If(~whole | features.ready):
                m.d.sync += [earlier.eq(element[8:]), byte.eq(Mux(whole, 0, byte + 1)), self._index.eq(self._index + 1)]
                m.next = "FETCH"
                with m.If(last):
                    m.d.sync += self._phase.eq(Mux(gives, 0, self._phase + 1))
                    m.next = "DONE"
                    with m.If(gives):
                        m.next = "RESULT"
        with m.State("FETCH"):
            m.next = "ELEMENT"
        with m.State("RESULT"):
            with m.If(self._results.whole):
                m.d.sync += self.word.eq(self._results.label + 1)
                m.next = "DONE"

    def _load(self, m: Module, image: ImageLoader) -> None:
        """Pass a chunk of the weight image on."""
        with m.State("BEGIN"):
            m.d.comb += image.begin.eq(1)
            m.next = "DONE"
        with m.State("IMAGE"):
            m.d.comb += image.i.valid.eq(1)
            with m.If(image.i.ready):
                m.d.sync += self._index.eq(self._index + 1)
                m.next = "NEXT"
                with m.If(self._index == CHUNK - 1):
                    m.next = "LOADED"
        with m.State("NEXT"):
            m.next = "IMAGE"
        with m.State("LOADED"):
            with m.If(~self.o_load.valid):
                m.next = "DONE"

    def _done(self, m: Module) -> None:
        """The packet was executed: from now on it is the latest one."""
        with m.State("DONE"):
            m.d.sync += [
                self._expected.eq(self._expected + 1),
                self._latest.eq(self._receiver.kind),
                self._has_result.eq((self._receiver.kind == Kind.FRAME) & (self._phase == 0)),
                self.trouble.eq(0),
            ]
            m.next = "KIND"

    def _reply(self, m: Module) -> None:
        """Kind, sequence number and body of the reply."""
        receiver, o = self._receiver, self._transmitter.i
        refused = self._refusal != 0
        lost = (self._refusal == Refusal.DAMAGED) | (self._refusal == Refusal.OVERFLOW)
        status = ~refused & (receiver.kind == Kind.STATUS)
        result = ~refused & (receiver.kind == Kind.FRAME) & self._has_result
        with m.State("KIND"):
            m.d.comb += [o.valid.eq(1), o.payload.data.eq(Mux(refused, ERROR, receiver.kind | REPLY))]
            m.d.sync += self._index.eq(0)
            with m.If(o.ready):
                m.next = "SEQUENCE"
        with m.State("SEQUENCE"):
            m.d.comb += [
                o.valid.eq(1),
                o.payload.data.eq(Mux(lost, 0, receiver.sequence)),
                o.payload.last.eq(~(refused | status | result)),
            ]
            with m.If(o.ready):
                m.next = "END"
                with m.If(refused):
                    m.next = "WHY"
                with m.Elif(status):
                    m.next = "STATUS"
                with m.Elif(result):
                    m.next = "LOGITS"
        self._list(m, "WHY", [self._refusal, self._expected])
        self._list(m, "STATUS", self._status())
        with m.State("LOGITS"):
            m.d.comb += [
                o.valid.eq(self._results.o.valid),
                o.payload.eq(self._results.o.payload),
                self._results.o.ready.eq(o.ready),
            ]
            with m.If(o.valid & o.ready & o.payload.last):
                m.next = "END"
        with m.State("END"):
            m.d.comb += receiver.release.eq(~lost)
            m.next = "CHOOSE"

    def _list(self, m: Module, state: str, content: list[Value]) -> None:
        """A state that sends the last bytes of a packet, one after the other."""
        o = self._transmitter.i
        with m.State(state):
            m.d.comb += [
                o.valid.eq(1),
                o.payload.data.eq(Array(content)[self._index]),
                o.payload.last.eq(self._index == len(content) - 1),
            ]
            with m.If(o.ready):
                m.d.sync += self._index.eq(self._index + 1)
                with m.If(o.payload.last):
                    m.next = "END"

    def _status(self) -> list[Value]:
        """Bytes of `STATUS_BODY`."""
        fields = {"version": Const(VERSION, 8), "flags": Cat(Const(self._ram, 1), self.ready, Const(0, 6))}
        fields |= {"expected": self._expected, "design": Const(self.design, 32), **self._counts}
        return [fields[name].word_select(byte, 8) for name, size in STATUS_BODY.items() for byte in range(size)]
