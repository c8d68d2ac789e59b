"""What the boards are: device, clock, pins."""

from dataclasses import dataclass

from lmu_hw.gateware.serial.uart import SHORTEST_BIT

__all__ = ["BAUD", "BOARDS", "LARGEST_BAUD_ERROR", "Board", "BoardPin"]

BAUD = 115_200
"""Bits a second on the serial line, unless another rate is asked for."""

LARGEST_BAUD_ERROR = 0.02
"""A receiver looks at the stop bit 9.5 bits after the start of a byte: 2 % of error on either side move that by less
than half a bit."""


@dataclass(frozen=True)
class BoardPin:
    """Where a port of the top goes.

    Parameters
    ----------
    port : str
        Name, with the index of a bit in brackets.
    site : str
        Name of the pin in the device's own terms.
    standard : str
        I/O standard; empty if the tools of the device take none.
    pull : {"", "up", "down"}
        Resistor in the device.
    """

    port: str
    site: str
    standard: str = ""
    pull: str = ""


@dataclass(frozen=True)
class Board:
    """A board.

    Parameters
    ----------
    name : str
        As commands take it, and of its constraints file.
    title : str
        For people.
    device : str
        The FPGA.
    sources : tuple of str
        Where the pins are documented.
    oscillator_hz : int
        Clock on the port ``clk``.
    divider : int
        A power of two: the accelerator's clock is so many times slower than the oscillator.
    pins : tuple of BoardPin
        One for each bit of each port.
    button : str
        Port of the reset button.
    button_low : bool
        Whether it is 0 while pressed.
    led_low : bool
        Whether a 0 lights the LEDs for the word.
    sign_low : bool
        Whether a 0 lights the LEDs ``led_ready`` and ``led_trouble``.
    tied_high : tuple of str
        Ports that must be 1 always.
    """

    name: str
    title: str
    device: str
    sources: tuple[str, ...]
    oscillator_hz: int
    divider: int
    pins: tuple[BoardPin, ...]
    button: str
    button_low: bool
    led_low: bool
    sign_low: bool
    tied_high: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.divider < 1 or self.divider & (self.divider - 1):
            raise ValueError(f"divider must be a power of two, not {self.divider!r}")
        ports = [pin.port for pin in self.pins]
        sites = [pin.site for pin in self.pins]
        for role, names in (("port", ports), ("site", sites)):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"{self.name}: {role} {name} is given twice")

    @property
    def clock_hz(self) -> float:
        """Clock of the accelerator and of all else behind the divider."""
        return self.oscillator_hz / self.divider

    @property
    def word_leds(self) -> int:
        """How many LEDs there are for the word heard."""
        return sum(pin.port.startswith("led[") for pin in self.pins)

    def uart_divisor(self, baud: int = BAUD) -> int:
        """Clock cycles of a bit.

        Raises
        ------
        ValueError
            If the clock cannot make this rate to `LARGEST_BAUD_ERROR`.
        """
        divisor = max(SHORTEST_BIT, round(self.clock_hz / baud)) if baud > 0 else SHORTEST_BIT
        if baud <= 0 or abs(self.clock_hz / divisor / baud - 1) > LARGEST_BAUD_ERROR:
            raise ValueError(
                f"baud must be a rate that {self.clock_hz / 1e6:g} MHz makes to {100 * LARGEST_BAUD_ERROR:g} % with "
                f"{SHORTEST_BIT} cycles or more, not {baud!r}"
            )
        return divisor

    def baud_error(self, baud: int = BAUD) -> float:
        """Relative error of the rate that the divisor makes."""
        return self.clock_hz / self.uart_divisor(baud) / baud - 1


def _pins(standard: str = "", /, **sites: str) -> tuple[BoardPin, ...]:
    """Pins of one I/O standard by port: ``"SITE"``, ``"SITE up"`` with a pull, or the sites of a vector from bit 0."""
    pins = []
    for port, text in sites.items():
        words = text.split()
        pull = words.pop() if words[-1] in ("up", "down") else ""
        names = [port] if len(words) == 1 else [f"{port}[{bit}]" for bit in range(len(words))]
        pins += [BoardPin(name, site, standard, pull) for name, site in zip(names, words, strict=True)]
    return tuple(pins)


_ICEBREAKER = Board(
    name="icebreaker",
    title="iCEBreaker 1.0",
    device="iCE40UP5K-SG48",
    sources=(
        "https://github.com/icebreaker-fpga/icebreaker-verilog-examples/blob/main/icebreaker/icebreaker.pcf",
        "https://github.com/amaranth-lang/amaranth-boards/blob/main/amaranth_boards/icebreaker.py",
    ),
    oscillator_hz=12_000_000,
    divider=1,
    pins=_pins(
        clk="35", button_n="10 up", rx="6 up", tx="9", led="26 27 25 23 21", led_ready="37", led_trouble="11"
    ),
    button="button_n",
    button_low=True,
    led_low=False,
    sign_low=True,
)

_ULX3S = Board(
    name="ulx3s",
    title="ULX3S 3.0 with LFE5U-25F",
    device="LFE5U-25F-6BG381C",
    sources=(
        "https://github.com/emard/ulx3s/blob/master/doc/constraints/ulx3s_v20.lpf",
        "https://github.com/amaranth-lang/amaranth-boards/blob/main/amaranth_boards/ulx3s.py",
    ),
    oscillator_hz=25_000_000,
    divider=1,
    pins=_pins(
        "LVCMOS33", clk="G2", button="R1 down", rx="M1 up", tx="L4", led="B2 C2 C1 D2 D1 E2",
        led_ready="E1", led_trouble="H3", wifi_gpio0="L2"
    ),
    button="button",
    button_low=False,
    led_low=False,
    sign_low=False,
    tied_high=("wifi_gpio0",),
)

_TANG_NANO_9K = Board(
    name="tangnano9k",
    title="Sipeed Tang Nano 9K",
    device="GW1NR-LV9QN88PC6/I5",
    sources=(
        "https://wiki.sipeed.com/hardware/en/tang/Tang-Nano-9K/Nano-9K.html",
        "https://github.com/YosysHQ/apicula/blob/master/examples/himbaechel/tangnano9k.cst",
        "https://github.com/amaranth-lang/amaranth-boards/blob/main/amaranth_boards/tang_nano_9k.py",
    ),
    oscillator_hz=27_000_000,
    divider=1,
    pins=(
        *_pins("LVCMOS33", clk="52"),
        *_pins("LVCMOS18", button_n="4 up"),
        *_pins("LVCMOS33", rx="18 up", tx="17"),
        *_pins("LVCMOS18", led="10 11 13 14", led_ready="15", led_trouble="16"),
    ),
    button="button_n",
    button_low=True,
    led_low=True,
    sign_low=True,
)

_ARTY_A7 = Board(
    name="artya7",
    title="Digilent Arty A7-35T",
    device="xc7a35ticsg324-1L",
    sources=(
        "https://github.com/Digilent/digilent-xdc/blob/master/Arty-A7-35-Master.xdc",
        "https://github.com/amaranth-lang/amaranth-boards/blob/main/amaranth_boards/arty_a7.py",
    ),
    oscillator_hz=100_000_000,
    divider=8,
    pins=_pins(
        "LVCMOS33", clk="E3", button_n="C2", rx="A9", tx="D10", led="H5 J5 T9 T10", led_ready="F6", led_trouble="G3"
    ),
    button="button_n",
    button_low=True,
    led_low=False,
    sign_low=False,
)

BOARDS = {board.name: board for board in (_ICEBREAKER, _ULX3S, _TANG_NANO_9K, _ARTY_A7)}
"""By name."""
