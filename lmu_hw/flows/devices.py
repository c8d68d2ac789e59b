"""FPGAs that the open flow builds for: their resources, and the arguments of the tools."""

import math
from dataclasses import dataclass, field

__all__ = ["DEVICES", "BlockRam", "Device", "Resource"]


@dataclass(frozen=True)
class Resource:
    """A kind of block of a device.

    Parameters
    ----------
    name : str
        LUT, FF, BRAM, SPRAM, DSP; LC (a LUT with a flip-flop) where those are placed together.
    available : int
        How many the device has.
    cells : dict of str to int
        Cells of Yosys' netlist, as shell patterns, and how many of the blocks each takes.
    bels : tuple of str
        nextpnr's names for the block; empty if nextpnr does not count it by itself.
    """

    name: str
    available: int
    cells: dict[str, int] = field(default_factory=dict)
    bels: tuple[str, ...] = ()


@dataclass(frozen=True)
class BlockRam:
    """Shapes of a memory block.

    Parameters
    ----------
    shapes : tuple of (int, int)
        Words, and bits of a word.
    """

    shapes: tuple[tuple[int, int], ...]

    def blocks(self, depth: int, width: int) -> int:
        """Fewest blocks of one shape that hold `depth` words of `width` bits."""
        return min(math.ceil(depth / words) * math.ceil(width / bits) for words, bits in self.shapes)


@dataclass(frozen=True)
class Device:
    """An FPGA on a board.

    Parameters
    ----------
    name : str
        Name in commands.
    title : str
        For people.
    board : str
        The board of `lmu_hw.boards` whose top is built.
    resources : tuple of Resource
        Resources of the device.
    block_ram : BlockRam
        Shape of its BRAM.
    large_ram : BlockRam or None
        Shape of its SPRAM, which has no initial contents.
    synthesis : str
        Yosys' command, with its options.
    with_dsp, without_dsp : str
        More options, to build multipliers of DSP blocks, or not to.
    last_step : str
        The last label of that command to run; empty for all.
    tool : str
        nextpnr's program, by its name in `lmu_hw.tools.REQUIREMENTS`.
    options : tuple of str
        nextpnr's options for the part.
    constraints : tuple of str
        nextpnr's option for the constraints file, ``{}`` where its name goes.
    routed : (str, str)
        nextpnr's option for the routed design, and the name of that file.
    pack : tuple of str
        Program that makes the bitstream, without ``yowasp-``, and its arguments.
    bitstream : str
        Name of its result.
    untimed : str
        Paths that the clock reported by nextpnr does not cover.
    """

    name: str
    title: str
    board: str
    resources: tuple[Resource, ...]
    block_ram: BlockRam
    large_ram: BlockRam | None
    synthesis: str
    with_dsp: str
    without_dsp: str
    last_step: str
    tool: str
    options: tuple[str, ...]
    constraints: tuple[str, ...]
    routed: tuple[str, str]
    pack: tuple[str, ...]
    bitstream: str
    untimed: str = ""

    def available(self, name: str) -> int:
        """Number of blocks of a kind; 0 if the device has none."""
        return next((resource.available for resource in self.resources if resource.name == name), 0)


_18_KBIT = BlockRam(((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)))

_ICE40_UP5K = Device(
    name="ice40-up5k",
    title="iCE40 UP5K",
    board="icebreaker",
    # Lattice, iCE40 UltraPlus Family Data Sheet, FPGA-DS-02008, table 1.1.
    resources=(
        Resource("LC", 5280, {"SB_LUT4": 1}, ("ICESTORM_LC",)),
        Resource("LUT", 5280, {"SB_LUT4": 1}),
        Resource("FF", 5280, {"SB_DFF*": 1}),
        Resource("BRAM", 30, {"SB_RAM40_4K*": 1}, ("ICESTORM_RAM",)),
        Resource("SPRAM", 4, {"SB_SPRAM256KA": 1}, ("ICESTORM_SPRAM",)),
        Resource("DSP", 8, {"SB_MAC16": 1}, ("ICESTORM_DSP",)),
    ),
    block_ram=BlockRam(((256, 16), (512, 8), (1024, 4), (2048, 2))),
    large_ram=BlockRam(((16384, 16),)),
    synthesis="synth_ice40 -device u",
    with_dsp=" -dsp",
    without_dsp="",
    last_step="",
    tool="nextpnr-ice40",
    options=("--up5k", "--package", "sg48"),
    constraints=("--pcf", "{}"),
    routed=("--asc", "routed.asc"),
    pack=("icepack", "routed.asc", "design.bin"),
    bitstream="design.bin",
)

_ECP5_25K = Device(
    name="ecp5-25k",
    title="ECP5 LFE5U-25F",
    board="ulx3s",
    # Lattice, ECP5 and ECP5-5G Family Data Sheet, FPGA-DS-02012, table 1.1.
    resources=(
        Resource("LUT", 24288, {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4}, ("TRELLIS_COMB",)),
        Resource("FF", 24288, {"TRELLIS_FF": 1}, ("TRELLIS_FF",)),
        Resource("BRAM", 56, {"DP16KD": 1}, ("DP16KD",)),
        Resource("SPRAM", 0),
        Resource("DSP", 28, {"MULT18X18D": 1}, ("MULT18X18D",)),
    ),
    block_ram=_18_KBIT,
    large_ram=None,
    synthesis="synth_ecp5",
    with_dsp="",
    without_dsp=" -nodsp",
    last_step="",
    tool="nextpnr-ecp5",
    options=("--25k", "--package", "CABGA381", "--speed", "6"),
    constraints=("--lpf", "{}"),
    routed=("--textcfg", "routed.config"),
    pack=("ecppack", "--compress", "routed.config", "design.bit"),
    bitstream="design.bit",
)

_GW1NR_9 = Device(
    name="gw1nr-9",
    title="Gowin GW1NR-9",
    board="tangnano9k",
    # Gowin, GW1NR series of FPGA Products Data Sheet, DS117, table 1-1: 10 DSP blocks of two 18 x 18 multipliers.
    resources=(
        Resource("LUT", 8640, {"LUT[1-4]": 1, "ALU": 1, "RAM16SDP4": 4}, ("LUT4", "ALU")),
        Resource("FF", 6480, {"DFF*": 1}, ("DFF",)),
        Resource("BRAM", 26, {"SP": 1, "SPX9": 1, "SDP*": 1, "DPB": 1, "DPX9B": 1, "pROM*": 1}, ("BSRAM",)),
        Resource("SPRAM", 0),
        Resource("DSP", 20, {"MULT18X18": 1}, ("MULT18X18",)),
    ),
    block_ram=_18_KBIT,
    large_ram=None,
    synthesis="synth_gowin -family gw1n -setundef",
    with_dsp="",
    without_dsp=" -nodsp",
    last_step="vout",
    tool="nextpnr-himbaechel-gowin",
    options=("--device", "GW1NR-LV9QN88PC6/I5", "--vopt", "family=GW1N-9C"),
    constraints=("--vopt", "cst={}"),
    routed=("--write", "routed.json"),
    pack=("gowin_pack", "-d", "GW1N-9C", "-o", "design.fs", "routed.json"),
    bitstream="design.fs",
    untimed="paths through multipliers: nextpnr has no delays of Gowin's",
)

DEVICES = {device.name: device for device in (_ICE40_UP5K, _ECP5_25K, _GW1NR_9)}
"""By name."""
