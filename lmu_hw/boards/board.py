"""What the boards are: device, clock, pins."""

from dataclasses import dataclass

from lmu_hw.gateware.serial.uart import SHORTEST_BIT

__all__ = ["BAUD", "BOARDS", "LARGEST_BAUD_ERROR", "Board", "Pin"]

BAUD = 115_200
"""Bits a second on the serial line, unless another rate is asked for."""

LARGEST_BAUD_ERROR = 0.02
"""A receiver looks at the stop bit 9.5 bits after the start of a byte: 2 % of error on either side move that by less
than half a bit."""


@dataclass(frozen=True)
class Pin:
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
    pins : tuple of Pin
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
    pins: tuple[Pin, ...]
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
        for what, names in (("port", ports), ("site", sites)):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"{self.name}: {what} {name} is given twice")

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


def _bits(port: str, sites: str, standard: str = "", pull: str = "") -> tuple[Pin, ...]:
    return tuple(Pin(f"{port}[{bit}]", site, standard, pull) for bit, site in enumerate(sites.split()))


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
    pins=(
        Pin("clk", "35"),
        Pin("button_n", "10", pull="up"),
        Pin("rx", "6", pull="up"),
        Pin("tx", "9"),
        *_bits("led", "26 27 25 23 21"),
        Pin("led_ready", "37"),
        Pin("led_trouble", "11"),
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
    pins=(
        Pin("clk", "G2", "LVCMOS33"),
        Pin("button", "R1", "LVCMOS33", "down"),
        Pin("rx", "M1", "LVCMOS33", "up"),
        Pin("tx", "L4", "LVCMOS33"),
        *_bits("led", "B2 C2 C1 D2 D1 E2", "LVCMOS33"),
        Pin("led_ready", "E1", "LVCMOS33"),
        Pin("led_trouble", "H3", "LVCMOS33"),
        Pin("wifi_gpio0", "L2", "LVCMOS33"),
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
        Pin("clk", "52", "LVCMOS33"),
        Pin("button_n", "4", "LVCMOS18", "up"),
        Pin("rx", "18", "LVCMOS33", "up"),
        Pin("tx", "17", "LVCMOS33"),
        *_bits("led", "10 11 13 14", "LVCMOS18"),
        Pin("led_ready", "15", "LVCMOS18"),
        Pin("led_trouble", "16", "LVCMOS18"),
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
    pins=(
        Pin("clk", "E3", "LVCMOS33"),
        Pin("button_n", "C2", "LVCMOS33"),
        Pin("rx", "A9", "LVCMOS33"),
        Pin("tx", "D10", "LVCMOS33"),
        *_bits("led", "H5 J5 T9 T10", "LVCMOS33"),
        Pin("led_ready", "F6", "LVCMOS33"),
        Pin("led_trouble", "G3", "LVCMOS33"),
    ),
    button="button_n",
    button_low=True,
    led_low=False,
    sign_low=False,
)

BOARDS = {board.name: board for board in (_ICEBREAKER, _ULX3S, _TANG_NANO_9K, _ARTY_A7)}
"""By name."""
