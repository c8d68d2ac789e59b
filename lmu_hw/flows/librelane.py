"""Configuration of LibreLane for an accelerator, checked against LibreLane's own variables but not run to layout."""

import json
from collections.abc import Mapping
from typing import Any

from lmu_hw.cells.sram import Macro

__all__ = ["PDKS", "librelane_config"]

PDKS = ("ihp-sg13g2", "sky130A", "sky130B")
"""Processes that both LibreLane and this project know."""

MACRO_VIEWS = {
    "gds": "pdk_dir::libs.ref/sg13g2_sram/gds/{}.gds",
    "lef": "pdk_dir::libs.ref/sg13g2_sram/lef/{}.lef",
    "lib": "pdk_dir::libs.ref/sg13g2_sram/lib/{}_typ_1p20V_25C.lib",
}
"""Where the IHP-Open-PDK keeps the views of its memories."""

UTILISATION = 45
"""Part of the core that cells take, in per cent: a start with room for the clock tree."""


def librelane_config(top: str, verilog: str, sdc: str, clock_hz: float, macros: Mapping[str, Macro]) -> str:
    """Text of ``config.json`` for ``librelane --pdk PDK config.json``.

    Parameters
    ----------
    top : str
        Name of the top module.
    verilog, sdc : str
        Names of the files beside it.
    clock_hz : float
        The constraint.
    macros : mapping of str to Macro
        Those in the Verilog, by cell.
    """
    config: dict[str, Any] = {
        "meta": {"version": 2, "flow": "Classic"},
        "DESIGN_NAME": top,
        "VERILOG_FILES": [f"dir::{verilog}"],
        "CLOCK_PORT": "clk",
        "CLOCK_PERIOD": round(1e9 / clock_hz, 3),
        "PNR_SDC_FILE": f"dir::{sdc}",
        "SIGNOFF_SDC_FILE": f"dir::{sdc}",
        "FP_CORE_UTIL": UTILISATION,
    }
    if macros:
        config["MACROS"] = {
            cell: {
                "gds": [MACRO_VIEWS["gds"].format(cell)],
                "lef": [MACRO_VIEWS["lef"].format(cell)],
                "lib": {"*": [MACRO_VIEWS["lib"].format(cell)]},
            }
            for cell in macros
        }
    return json.dumps(config, indent=2) + "\n"
