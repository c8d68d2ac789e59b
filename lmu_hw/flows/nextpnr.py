"""Run nextpnr to place and route, and read its reports."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmu_hw.flows.devices import Device
from lmu_hw.tools import ToolError, find_flow_tool, run_tool

__all__ = ["Placement", "place_and_route", "read_timing", "read_utilisation"]

TIMEOUT = 3600

UNTIMED = "$PACKER_GND_NET"
"""Part of the name of the clock that nextpnr-ice40 gives a multiplier that uses none of its registers."""

MULTIPLIER_S = 20e-9
"""Delay of such a multiplier, at most: the iCE40 UltraPlus data sheet (FPGA-DS-02008) has 50 MHz for a multiplication
between registers."""

_USED = re.compile(r"^Info:\s+([A-Za-z]\w*):\s+(\d+)/\s*(\d+)\s+\d+%\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Placement:
    """Result of nextpnr.

    Parameters
    ----------
    used : dict of str to int
        Blocks by nextpnr's names.
    fmax_hz : float or None
        Clock that is reached; None if the design was packed only.
    problem : str
        Why it was not placed and routed; empty if it was.
    """

    used: dict[str, int]
    fmax_hz: float | None
    problem: str


def read_utilisation(log: str) -> dict[str, int]:
    """Blocks used, by nextpnr's names, from its log."""
    return {name: int(used) for name, used, _ in _USED.findall(log)}


def read_timing(report: dict[str, Any]) -> float:
    """Fastest clock in hertz, from nextpnr's report of one clock.

    nextpnr-ice40 takes a multiplier without registers for a register on a clock of its own, and reports the paths to it
    and from it apart; they are put together here, with `MULTIPLIER_S` between.

    Parameters
    ----------
    report : dict
        Contents of nextpnr's ``--report``.

    Raises
    ------
    ValueError
        If it has no clock.
    """
    if not report.get("fmax"):
        raise ValueError("nextpnr reported no clock")
    periods = [1e-6 / clock["achieved"] for name, clock in report["fmax"].items() if UNTIMED not in name]
    into, out_of = 0.0, 0.0
    for path in report.get("critical_paths", []):
        delay = 1e-9 * sum(step["delay"] for step in path["path"])
        if UNTIMED in path["to"]:
            into = max(into, delay)
        elif UNTIMED in path["from"]:
            out_of = max(out_of, delay)
    if into and out_of:
        periods.append(into + MULTIPLIER_S + out_of)
    return 1 / max(periods)


def place_and_route(
    device: Device, directory: Path, clock_hz: float, seed: int, *, pack_only: bool = False
) -> Placement:
    """Run nextpnr on ``netlist.json`` and ``constraints`` of a folder.

    Parameters
    ----------
    device : Device
        The FPGA.
    directory : Path
        Gets the routed design, ``timing.json`` and ``nextpnr.log``; not under ``/tmp``.
    clock_hz : float
        Clock to aim for, in hertz.
    seed : int
        Seed of the placer.
    pack_only : bool
        Count the blocks only.

    Returns
    -------
    Placement
        Also of a design that does not fit; one that misses its clock counts as routed.

    Raises
    ------
    ToolError
        If nextpnr is missing, or fails before it has counted the blocks.
    """
    log, timing = directory / "nextpnr.log", directory / "timing.json"
    for file in (log, timing):
        file.unlink(missing_ok=True)
    arguments = [*device.options, "--json", "netlist.json"]
    arguments += [argument.format("constraints") for argument in device.constraints]
    arguments += ["--seed", str(seed), "--freq", f"{clock_hz / 1e6:.9g}", "-q", "-l", log.name]
    if pack_only:
        arguments.append("--pack-only")
    else:
        arguments += [*device.routed, "--report", timing.name, "--timing-allow-fail"]
    problem = ""
    try:
        run_tool(find_flow_tool(device.tool), arguments, directory, TIMEOUT)
    except ToolError as error:
        problem = str(error).splitlines()[-1]
        if not log.is_file() or not read_utilisation(log.read_text(errors="replace")):
            raise
    used = read_utilisation(log.read_text(errors="replace"))
    if problem or pack_only:
        return Placement(used, None, problem)
    return Placement(used, read_timing(json.loads(timing.read_text())), "")
