"""Ripple the carries of sums through the full adders of a library.

Yosys builds carries as parallel prefix trees, which are fast, large, and glitch. A ripple of full adders is slower and
takes less area and energy. Sums of multipliers are included. Comparisons ripple too, but in gates: they need no sum.
"""

from lmu_hw.cells.library import Library, Pin
from lmu_hw.cells.special import FullAdder, find_full_adder

__all__ = ["ADDERS", "CARRIES", "adder_commands", "adder_files", "longest_ripple"]

CARRIES, ADDERS = "carries.v", "adders.v"
"""Names of the files that Yosys reads."""

CHAIN_SHARE = 0.75
"""Part of the target delay that a carry chain may take. The rest is for the logic before and after it."""

SLEW = 0.1e-9
"""Transition time in seconds at which carry delays are looked up."""

_CARRIES = """\
(* techmap_celltype = "$lcu" *)
module _80_ripple (P, G, CI, CO);
  parameter WIDTH = 2;
  (* force_downto *) input [WIDTH-1:0] P, G;
  input CI;
  (* force_downto *) output [WIDTH-1:0] CO;
  wire _TECHMAP_FAIL_ = WIDTH > {longest};
  wire [WIDTH:0] carries = {{CO, CI}};
  assign CO = G | P & carries[WIDTH-1:0];
endmodule
"""

_ADDERS = """\
(* techmap_celltype = "$fa" *)
module full_adder (A, B, C, X, Y);
  parameter WIDTH = 1;
  input A, B, C;
  output X, Y;
  {cell} _TECHMAP_REPLACE_ (.{a}(A), .{b}(B), .{c}(C), .{carry}(X), .{sum}(Y));
endmodule
"""


def _carry_delay(library: Library, adder: FullAdder) -> float:
    """Delay of a full adder to its carry in seconds: mean over inputs and edges, with the next adder as its load."""
    pins = library.cells[adder.cell].pins
    load = max(_load(pins[name]) for name in adder.inputs)
    delays = [
        float(table(SLEW, load))
        for arc in pins[adder.carry].timing
        if arc.related in adder.inputs
        for table in (arc.delay_rise, arc.delay_fall)
        if table is not None
    ]
    return sum(delays) / len(delays) if delays else 0.0


def _load(pin: Pin) -> float:
    return max(pin.rise_capacitance, pin.fall_capacitance)


def longest_ripple(library: Library, delay: float | None) -> int:
    """Find the most bits that carries ripple through.

    Parameters
    ----------
    library : Library
        Standard cells.
    delay : float or None
        Target delay between registers in seconds; None where only area counts.

    Returns
    -------
    int
        0 if the library has no full adder: sums stay with the carries that Yosys builds.
    """
    adder = find_full_adder(library)
    if adder is None:
        return 0
    step = _carry_delay(library, adder)
    return 1024 if delay is None or not step else min(1024, int(CHAIN_SHARE * delay / step))


def adder_files(library: Library, delay: float | None) -> dict[str, str]:
    """Write the files that `adder_commands` read.

    Parameters
    ----------
    library : Library
        Standard cells.
    delay : float or None
        Target delay between registers in seconds; None where only area counts.

    Returns
    -------
    dict of str to str
        Texts by file name; empty if no carry ripples.
    """
    adder, longest = find_full_adder(library), longest_ripple(library, delay)
    if adder is None or not longest:
        return {}
    a, b, c = adder.inputs
    cells = _ADDERS.format(cell=adder.cell, a=a, b=b, c=c, carry=adder.carry, sum=adder.sum)
    return {CARRIES: _CARRIES.format(longest=longest), ADDERS: cells}


def adder_commands(library: Library, delay: float | None) -> list[str]:
    """Write the Yosys commands that make gates of operators, with full adders where carries ripple.

    A full adder is taken wherever the gates hold the sum and the carry of the same three signals. Bits of which one
    output is not used, or one operand is constant, stay gates.

    Parameters
    ----------
    library : Library
        Standard cells.
    delay : float or None
        Target delay between registers in seconds; None where only area counts.
    """
    if not adder_files(library, delay):
        return ["synth -run fine:check -noabc"]
    return [
        "select -set sums t:$alu t:$macc* t:$mul %% %m",
        f"synth -run fine:check -noabc -extra-map {CARRIES}",
        "extract_fa -fa @sums",
        "opt_clean",
        f"techmap -map {ADDERS}",
        "opt_clean",
    ]
