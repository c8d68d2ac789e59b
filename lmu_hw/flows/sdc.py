"""Timing constraints of any accelerator, for OpenSTA, OpenROAD and the vendors' tools."""

__all__ = ["sdc"]

MHZ_IN_NS = 1000.0
"""Default period: 1 MHz, in nanoseconds."""

_TEXT = """\
# Timing constraints of any accelerator of this project, for OpenSTA, OpenROAD and the vendors' tools.
# Made from lmu_hw/flows/sdc.py; never edited.
#
# Source it after reading the netlist. PERIOD (in the library's time unit) may be set before; the default is {remark}.
if {{![info exists PERIOD]}} {{ set PERIOD {period} }}

create_clock -name clk -period $PERIOD [get_ports clk]

# Everything else is synchronous to clk: a fifth of the period is left to the outside on either side.
set data_inputs {{}}
foreach port [all_inputs] {{
  if {{[get_property $port full_name] ne "clk"}} {{ lappend data_inputs $port }}
}}
set_input_delay [expr {{0.2 * $PERIOD}}] -clock clk $data_inputs
set_output_delay [expr {{0.2 * $PERIOD}}] -clock clk [all_outputs]
"""


def sdc(period: float = MHZ_IN_NS, remark: str = "1 MHz in ns") -> str:
    """Text of the constraints.

    Parameters
    ----------
    period : float
        Clock period in the time unit of the library.
    remark : str
        Meaning of the period, for readers of the file.

    Returns
    -------
    str
        A Tcl script.
    """
    return _TEXT.format(period=repr(float(period)), remark=remark)
