"""Replace the clock gates of a design by cells of a library."""

import re

from lmu_hw.cells.special import ClockGateCell

__all__ = ["with_clock_gates"]

_PARTS = re.compile(
    r"  reg passes = 1'h1;\n  assign gated = clk & passes;\n  always @\(negedge \w+\)\n    passes <= enable;\n"
)
"""In a module of `lmu_hw.gateware.clock_gate.ClockGate`: all but its ports."""


def with_clock_gates(verilog: str, gate: ClockGateCell | None) -> str:
    """Replace a design's own clock gate by that of a library.

    Parameters
    ----------
    verilog : str
        From `lmu_hw.export.emit.to_verilog`.
    gate : ClockGateCell or None
        The cell; None leaves the flip-flops and AND gates that they are written as.

    Returns
    -------
    str
        The same modules and ports; the cell is not in it.
    """
    if gate is None:
        return verilog
    pins = {gate.clock: "clk", gate.enable: "enable", gate.output: "gated"} | ({gate.test: "1'b0"} if gate.test else {})
    connections = ", ".join(f".{pin}({signal})" for pin, signal in pins.items())
    return _PARTS.sub(f"  {gate.cell} cell (\n    {connections}\n  );\n", verilog)
