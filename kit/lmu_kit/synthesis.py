"""From a plan to a bitstream of an FPGA board, or to a netlist of an ASIC process."""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmu_hw.boards.board import BOARDS
from lmu_hw.flows.asic import AsicBuild, build_asic
from lmu_hw.flows.devices import DEVICES, Device
from lmu_hw.flows.folder import MANIFEST, check_folder, write_folder
from lmu_hw.flows.fpga import FpgaBuild, FpgaError, board_design, build_fpga
from lmu_hw.flows.nearest import Nearest, find_nearest
from lmu_hw.flows.yosys import scratch_folder
from lmu_hw.model.program_file import digest
from lmu_hw.plan.plan import Plan
from lmu_hw.power.memory_use import usages
from lmu_hw.progress import Progress, silent
from lmu_kit.errors import InputError
from lmu_kit.estimate import CellLibrary, operating_point

__all__ = ["ASIC", "SCHEMA", "DoesNotFit", "SynthesisResult", "synthesize", "synthesize_asic"]

SCHEMA = "lmu-hw/synth"

ASIC = "asic"


@dataclass(frozen=True, eq=False)
class SynthesisResult:
    """What was built.

    Parameters
    ----------
    build : FpgaBuild or AsicBuild
        Utilisation, clock, files.
    manifest : dict
        JSON form: model, configuration, figures, hashes of the files.
    folder : Path or None
        Where the files are, if they were written.
    """

    build: FpgaBuild | AsicBuild
    manifest: dict[str, Any]
    folder: Path | None


class DoesNotFit(RuntimeError):
    """An accelerator does not fit its FPGA, or misses the clock of the board.

    Attributes
    ----------
    build : FpgaBuild
        What was reached.
    nearest : Nearest or None
        The nearest configuration that fits, if one was searched for and found.
    """

    def __init__(self, message: str, build: FpgaBuild, nearest: Nearest | None, *, searched: bool):
        super().__init__(message)
        self.build, self.nearest, self.searched = build, nearest, searched

    @property
    def result(self) -> dict[str, Any]:
        """JSON form."""
        report = self.build.report()
        if not self.searched:
            return report
        if self.nearest is None:
            return report | {"nearest": None}
        near = self.nearest
        text = {"config": near.config.to_dict(), "fmax_hz": near.fmax_hz, "text": str(near)}
        return report | {"nearest": text}


def synthesize(
    plan: Plan,
    target: str,
    folder: str | os.PathLike[str] | None = None,
    *,
    search_nearest: bool = True,
    progress: Progress = silent,
) -> SynthesisResult:
    """Build the top of an FPGA board: synthesis, placement, routing, bitstream.

    Parameters
    ----------
    plan : Plan
        From `accelerator`.
    target : str
        One of `lmu_hw.flows.devices.DEVICES`, such as ``"ice40-up5k"``.
    folder : path-like, optional
        Where the files go, whole or not at all; a result of an earlier run in it is replaced. Nothing is written
        without it.
    search_nearest : bool
        If the accelerator does not fit, search for the nearest configuration that does.
    progress : callable, optional
        Called with the stage, the steps done, and all steps.

    Returns
    -------
    SynthesisResult
        Utilisation and clock.

    Raises
    ------
    InputError
        If the target is unknown, or the board's clock is too slow for real time.
    DoesNotFit
        If it does not fit, or misses the board's clock.
    ToolError
        If a tool is missing, too old, or fails.
    """
    if target not in DEVICES:
        raise InputError(f"target must be one of {', '.join(DEVICES)}, not {target!r}")
    device, out = DEVICES[target], None if folder is None else Path(folder)
    if out is not None:
        check_folder(out, SCHEMA)
    clock = BOARDS[device.board].clock_hz
    needed = plan.report()["slowest_clock_hz_at_50_frames_per_s"]
    if needed > clock:
        raise InputError(
            f"too slow for real time: {needed / 1e6:.2f} MHz are needed with {plan.lanes} lanes; the board has "
            f"{clock / 1e6:g} MHz. More lanes need less"
        )
    design = board_design(plan, device)
    with tempfile.TemporaryDirectory(dir=scratch_folder(), prefix="fpga-") as scratch:
        build_folder = Path(scratch) / "build"
        build_folder.mkdir()
        progress(f"build for {device.title} on the board {device.board}", 0, 0)
        try:
            build = build_fpga(design, build_folder)
        except FpgaError as error:
            raise _does_not_fit(error, plan, device, Path(scratch), search_nearest, progress) from None
        report = {"target": device.name, **build.report(), "realtime_clock_hz": needed}
        manifest = _write(out, plan, report, {file: build_folder / file for file in build.files})
    return SynthesisResult(build, manifest, out)


def synthesize_asic(
    plan: Plan,
    library: CellLibrary,
    folder: str | os.PathLike[str] | None = None,
    *,
    clock: float | None = None,
    progress: Progress = silent,
) -> SynthesisResult:
    """Map the accelerator to the cells of a process, with SRAM macros where it has them.

    Parameters
    ----------
    plan : Plan
        From `accelerator`.
    library : tuple of Library and dict
        From `open_library`. Macros of the SRAM model can be mapped, not built.
    folder : path-like, optional
        For the netlist, constraints, a Yosys script, a LibreLane configuration and models of the macros, whole or not
        at all. Nothing is written without it.
    clock : float, optional
        Constraint in hertz; the slowest at which no frame waits if not given.
    progress : callable, optional
        Called with the stage, the steps done, and all steps.

    Returns
    -------
    SynthesisResult
        Cells, area, clock before wires. At the same clock, tier gates of `estimate_power` weighs the same netlist.

    Raises
    ------
    InputError
        If the clock is too slow for real time.
    AsicError
        If the clock is not reached; it has the build.
    ToolError
        If a tool is missing, too old, or fails.
    """
    out = None if folder is None else Path(folder)
    if out is not None:
        check_folder(out, SCHEMA)
    needed = plan.report()["slowest_clock_hz_at_50_frames_per_s"]
    if clock is not None and clock < needed:
        raise InputError(f"clock must be {needed} Hz or more for real time with {plan.lanes} lanes, not {clock:g}")
    point = operating_point(plan, clock=clock)
    cells, described = library
    start = time.perf_counter()
    progress(f"map to {described['name']}", 0, 0)
    build = build_asic(plan, cells, point.clock, usages(plan, point), described["name"], progress)
    report = {"target": ASIC, "library": described, **build.report(), "realtime_clock_hz": needed}
    report["seconds"] = {"synthesis": time.perf_counter() - start}
    files: dict[str, bytes | Path] = {name: text.encode() for name, text in build.files.items()}
    manifest = _write(out, plan, report, {**files, "netlist.v": build.synthesis.verilog})
    return SynthesisResult(build, manifest, out)


def _does_not_fit(
    error: FpgaError, plan: Plan, device: Device, scratch: Path, search: bool, progress: Progress
) -> DoesNotFit:
    if not search:
        return DoesNotFit(str(error), error.build, None, searched=False)
    progress("search for the nearest configuration that fits", 0, 0)
    nearest = find_nearest(plan, device, scratch, timing=error.build.fmax_hz is not None)
    outcome = "none of the nearest configurations fits either" if nearest is None else f"nearest that fits: {nearest}"
    return DoesNotFit(f"{error}; {outcome}", error.build, nearest, searched=True)


def _write(
    out: Path | None, plan: Plan, report: dict[str, Any], contents: Mapping[str, bytes | Path]
) -> dict[str, Any]:
    """Write the files with their manifest, if they are wanted; the manifest."""
    hashes = {
        name: hashlib.sha256(content.read_bytes() if isinstance(content, Path) else content).hexdigest()
        for name, content in sorted(contents.items())
    }
    manifest = {
        "schema": SCHEMA,
        "version": 1,
        "model": {"name": plan.model.name, "sha256": digest(plan.model), "labels": list(plan.model.labels)},
        "config": plan.config.to_dict(),
        "plan": plan.report(),
        **report,
        "files": hashes,
    }
    if out is not None:
        write_folder(out, {**contents, MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode()})
    return manifest
