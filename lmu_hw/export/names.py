"""Names of the modules that leave: which ones Verilog takes."""

import re

from lmu_hw.plan.config import Interface
from lmu_hw.plan.plan import Plan

__all__ = ["KEYWORDS", "TOP", "check_module_name", "wrapper_name"]

TOP = "lmu_accelerator"
"""Default name of the top module."""

KEYWORDS = frozenset(
    """
    always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos config deassign default defparam
    design disable edge else end endcase endconfig endfunction endgenerate endmodule endprimitive endspecify endtable
    endtask event for force forever fork function generate genvar highz0 highz1 if ifnone incdir include initial inout
    input instance integer join large liblist library localparam macromodule medium module nand negedge nmos nor
    noshowcancelled not notif0 notif1 or output parameter pmos posedge primitive pull0 pull1 pulldown pullup
    pulsestyle_ondetect pulsestyle_onevent rcmos real realtime reg release repeat rnmos rpmos rtran rtranif0 rtranif1
    scalared showcancelled signed small specify specparam strong0 strong1 supply0 supply1 table task time tran tranif0
    tranif1 tri tri0 tri1 triand trior trireg unsigned use uwire vectored wait wand weak0 weak1 while wire wor xnor xor
    accept_on alias always_comb always_ff always_latch assert assume before bind bins binsof bit break byte chandle
    checker class clocking const constraint context continue cover covergroup coverpoint cross dist do endchecker
    endclass endclocking endgroup endinterface endpackage endprogram endproperty endsequence enum eventually expect
    export extends extern final first_match foreach forkjoin global iff ignore_bins illegal_bins implements implies
    import inside int interconnect interface intersect join_any join_none let local logic longint matches modport
    nettype new nexttime null package packed priority program property protected pure rand randc randcase randsequence
    ref reject_on restrict return s_always s_eventually s_nexttime s_until s_until_with sequence shortint shortreal
    soft solve static string strong struct super sync_accept_on sync_reject_on tagged this throughout timeprecision
    timeunit type typedef union unique unique0 until until_with untyped var virtual void wait_order weak wildcard with
    within
    """.split()
)
"""Of Verilog (IEEE 1364-2005) and SystemVerilog (IEEE 1800-2017)."""


def check_module_name(name: str) -> str:
    """Check the name of a module.

    Parameters
    ----------
    name : str
        Letters, digits and underscores, not starting with a digit; no keyword of Verilog or SystemVerilog.

    Returns
    -------
    str
        The name.

    Raises
    ------
    ValueError
        If it is not such a name.
    """
    plain = isinstance(name, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)
    if not plain or name in KEYWORDS:
        raise ValueError(f"the name of a module must be a plain Verilog identifier and no keyword, not {name!r}")
    return name


def wrapper_name(plan: Plan, name: str = TOP) -> str:
    """Name of the outermost module: the wrapper's, or the core's where there is no wrapper."""
    check_module_name(name)
    interface = plan.config.interface
    return name if interface is Interface.STREAM else f"{name}_{interface.value}"
