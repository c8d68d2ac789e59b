"""The top of a board: clock, reset, serial line and LEDs around an accelerator."""

import hashlib

from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from lmu_hw.boards.board import BAUD, BOARDS, Board
from lmu_hw.export.emit import convert, to_verilog
from lmu_hw.export.names import TOP, check_module_name
from lmu_hw.gateware.serial.host_interface import HostInterface
from lmu_hw.gateware.serial.uart import SHORTEST_BIT, UartReceiver, UartTransmitter
from lmu_hw.plan.config import StatePolicy, WeightStore
from lmu_hw.plan.plan import Plan

__all__ = ["BoardTop", "board_verilog", "design_number"]

RESET_S = 20e-6
"""Length of the reset after power-on; the block RAM of an iCE40 is not ready at once (Amaranth's iCE40 platform waits
15 microseconds)."""


class BoardTop(wiring.Component):
    """What is flashed.

    Parameters
    ----------
    plan : Plan
        The accelerator's.
    board : Board
        Clock, pins.
    core : str
        Name of the accelerator's Verilog module.
    design : int
        32 bits that tell this accelerator from others.
    divisor : int
        Clock cycles of a bit on the serial line.

    Members
    -------
    clk : In(1)
        From the oscillator.
    button_n or button : In(1)
        Resets all while pressed; asynchronous.
    rx, tx : In(1), Out(1)
        Serial line from and to the host.
    led : Out(word_leds)
        One more than the label of the word heard, in binary; 0 while none was heard since the state was cleared.
    led_ready : Out(1)
        Lit when frames are taken: all weights are there.
    led_trouble : Out(1)
        Lit from a refused packet to the next one that is executed.

    The state is cleared by a reset of the accelerator, whatever its own state policy is.
    """

    def __init__(self, plan: Plan, board: Board, core: str, design: int, divisor: int):
        self.plan = plan
        self.board = board
        self.core = check_module_name(core)
        self.design = design
        self.divisor = divisor
        members = {"clk": In(1), board.button: In(1), "rx": In(1), "tx": Out(1)}
        members |= {"led": Out(board.word_leds), "led_ready": Out(1), "led_trouble": Out(1)}
        members |= {port: Out(1) for port in board.tied_high}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        board = self.board
        self._clock(m)
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        m.submodules.host = host = HostInterface(self.plan, self.design)
        wiring.connect(m, host.o, transmitter.i)
        led = Signal(board.word_leds)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            host.data.eq(receiver.data),
            host.valid.eq(receiver.valid),
            host.error.eq(receiver.error),
            led.eq(host.word),
            self.led.eq(~led if board.led_low else led),
            self.led_ready.eq(~host.ready if board.sign_low else host.ready),
            self.led_trouble.eq(~host.trouble if board.sign_low else host.trouble),
        ]
        m.d.comb += [getattr(self, port).eq(1) for port in board.tied_high]
        self._accelerator(m, host)
        return m

    def _clock(self, m: Module) -> None:
        """The clock, divided if need be, and the reset: some cycles from power-on, and while the button is pressed."""
        board = self.board
        m.domains.sync = sync = ClockDomain("sync")
        m.domains.start = start = ClockDomain("start", reset_less=True)
        if board.divider == 1:
            m.d.comb += sync.clk.eq(self.clk)
        else:
            m.domains.oscillator = oscillator = ClockDomain("oscillator", reset_less=True)
            divided = Signal(range(board.divider))
            m.d.comb += [oscillator.clk.eq(self.clk), sync.clk.eq(divided[-1])]
            m.d.oscillator += divided.eq(divided + 1)
        pressed = Signal()
        button = getattr(self, board.button)
        m.submodules.button = FFSynchronizer(~button if board.button_low else button, pressed, o_domain="start")
        cycles = int(RESET_S * board.clock_hz)
        waited = Signal(range(cycles + 1))
        m.d.comb += [start.clk.eq(sync.clk), sync.rst.eq(waited != cycles)]
        with m.If(pressed):
            m.d.start += waited.eq(0)
        with m.Elif(waited != cycles):
            m.d.start += waited.eq(waited + 1)

    def _accelerator(self, m: Module, host: HostInterface) -> None:
        reset = Signal()
        m.d.comb += reset.eq(ResetSignal("sync") | host.clear)
        ports = {
            "i_clk": ClockSignal("sync"),
            "i_rst": reset,
            "i_i__payload": host.o_features.payload,
            "i_i__valid": host.o_features.valid,
            "o_i__ready": host.o_features.ready,
            "o_o_logits__payload": host.logits.payload,
            "o_o_logits__valid": host.logits.valid,
            "i_o_logits__ready": host.logits.ready,
            "o_o_decision__payload": host.decision.payload,
            "o_o_decision__valid": host.decision.valid,
            "i_o_decision__ready": host.decision.ready,
            "o_frame_error": Signal(name="frame_error"),
        }
        if self.plan.config.state is StatePolicy.PULSE:
            ports["i_clear"] = Const(0, 1)
        if self.plan.config.weights is WeightStore.RAM:
            ports["i_i_load__payload"] = host.o_load.payload
            ports["i_i_load__valid"] = host.o_load.valid
            ports["o_i_load__ready"] = host.o_load.ready
        m.submodules.core = Instance(self.core, **ports)


def design_number(core: str) -> int:
    """32 bits that tell an accelerator from others: the first of the SHA-256 of its Verilog.

    Networks that run on the same hardware with weights in RAM have the same number.
    """
    return int.from_bytes(hashlib.sha256(core.encode()).digest()[:4], "little")


def board_verilog(plan: Plan, board: str, baud: int = BAUD, divisor: int | None = None) -> tuple[str, str]:
    """Verilog of a board's top with the accelerator in it.

    Parameters
    ----------
    plan : Plan
        What to build.
    board : str
        Name of a board.
    baud : int
        Bits a second on the serial line.
    divisor : int, optional
        Clock cycles of a bit, for simulations; from the clock and `baud` if not given.

    Returns
    -------
    verilog : str
        One file with all modules.
    top : str
        Name of the top module.

    Raises
    ------
    ValueError
        If there is no such board, the rate cannot be made, the model does not fit the link, or the accelerator gates
        its clock, which FPGAs do by enables.
    """
    if plan.config.gates_clock:
        raise ValueError("stop_clock and gate_blocks are for chips, not for boards: an FPGA has few clocks")
    if board not in BOARDS:
        raise ValueError(f"board must be one of {', '.join(BOARDS)}, not {board!r}")
    definition = BOARDS[board]
    divisor = definition.uart_divisor(baud) if divisor is None else divisor
    if divisor < SHORTEST_BIT:
        raise ValueError(f"divisor must be at least {SHORTEST_BIT}, not {divisor!r}")
    core = to_verilog(plan, TOP)
    name = f"lmu_{board}"
    return core + convert(BoardTop(plan, definition, TOP, design_number(core), divisor), name), name
