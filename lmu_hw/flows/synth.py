"""Synthesis: Verilog mapped to a cell library by Yosys, memories accounted for, results cached.

Modules are mapped one by one and flattened at the end, so that every instance keeps the name of the block that it
came from. The price is optimisation across blocks, some per cent of area; the gain is energy by block.
"""

import fnmatch
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmu_hw.flows.liberty import Cell, LibertyError, Library, cache_folder, read_text
from lmu_hw.flows.yosys import run_yosys
from lmu_hw.tools import find_yosys

__all__ = [
    "ClockGate",
    "MappedMemory",
    "Synthesis",
    "SynthesisError",
    "find_clock_gate",
    "find_constants",
    "synthesize",
]

RECIPE = 3
"""Raised whenever the scripts below change, so that older results are not taken from the cache."""

AVOIDED = ("*lpflow*", "*probe*", "*dly*", "*DLY*", "*macro_sparecell*")
"""Cells that logic synthesis should not pick: level shifters, test structures, delay elements."""

RELAXED = 20e-9
"""Target delay in seconds when speed does not matter."""

MIN_GATED = 4
"""Flip-flops that share an enable before a clock gate is worth its own energy."""


class SynthesisError(RuntimeError):
    """A design cannot be mapped to a library."""


@dataclass(frozen=True)
class ClockGate:
    """An integrated clock gate that passes the clock while its enable, taken while the clock is low, is high.

    Parameters
    ----------
    cell : str
        Name.
    enable, clock, output : str
        Pins.
    test : str
        Scan enable, tied low; nothing if there is none.
    """

    cell: str
    enable: str
    clock: str
    output: str
    test: str


@dataclass(frozen=True)
class MappedMemory:
    """A memory of the design.

    Parameters
    ----------
    name : str
        Path of the instance that holds it.
    depth, width : int
        Words, and bits of a word.
    writable : bool
        Whether it has a write port.
    built_of : {"flip-flops", "logic"}
        What it became. A memory without write port becomes logic.
    """

    name: str
    depth: int
    width: int
    writable: bool
    built_of: str

    @property
    def bits(self) -> int:
        """Size in bits."""
        return self.depth * self.width


@dataclass(frozen=True, eq=False)
class Synthesis:
    """A mapped design.

    Parameters
    ----------
    top : str
        Name of the module.
    json : Path
        Flat netlist as Yosys' JSON.
    verilog : Path
        The same as Verilog.
    area : float
        Sum of the cells' areas, in square micrometre where the library counts so.
    cells : dict of str to int
        Instances by cell.
    memories : tuple of MappedMemory
        All memories of the design.
    key : str
        Hash of the design, the libraries, the options and the tool's version.
    tool : str
        What Yosys says about itself.
    """

    top: str
    json: Path
    verilog: Path
    area: float
    cells: dict[str, int]
    memories: tuple[MappedMemory, ...]
    key: str
    tool: str


def find_clock_gate(library: Library) -> ClockGate | None:
    """Smallest integrated clock gate of a library for rising edges, also if the library marks it ``dont_use``.

    Libraries mark clock gates so to keep logic mapping from instantiating them; that is not how they are used here.

    Parameters
    ----------
    library : Library
        Any.

    Returns
    -------
    ClockGate or None
        None if there is none.
    """
    found: list[tuple[bool, float, ClockGate]] = []
    for cell in library.cells.values():
        if not re.fullmatch(r"latch_posedge(_precontrol|_postcontrol)?", cell.clock_gating):
            continue
        roles = {pin.role: pin.name for pin in cell.pins.values() if pin.role}
        if not roles.keys() >= {"enable", "clock", "out"}:
            roles = _guessed_roles(cell)
        if roles.keys() >= {"enable", "clock", "out"}:
            gate = ClockGate(cell.name, roles["enable"], roles["clock"], roles["out"], roles.get("test", ""))
            found.append((bool(gate.test), cell.area, gate))
    return min(found, key=lambda entry: (entry[0], entry[1], entry[2].cell))[2] if found else None


def _guessed_roles(cell: Cell) -> dict[str, str]:
    """Roles of a clock gate whose pins the library does not mark completely."""
    roles = {pin.role: pin.name for pin in cell.pins.values() if pin.role}
    inputs = [name for name in cell.inputs if name not in roles.values()]
    if "enable" not in roles and len(inputs) == 1:
        roles["enable"] = inputs[0]
    if "out" not in roles and len(cell.outputs) == 1:
        roles["out"] = cell.outputs[0]
    return roles


def find_constants(library: Library) -> dict[int, tuple[str, str]]:
    """Smallest cells that drive a constant.

    Parameters
    ----------
    library : Library
        Any.

    Returns
    -------
    dict of int to (str, str)
        Cell and pin for 0 and 1, as far as the library has them.
    """
    found: dict[int, tuple[float, str, str]] = {}
    for cell in library.cells.values():
        if cell.inputs or cell.sequentials:
            continue
        for pin in cell.pins.values():
            text = pin.function.text.strip() if pin.function is not None else ""
            if pin.direction == "output" and text in ("0", "1"):
                entry = (cell.area, cell.name, pin.name)
                found[int(text)] = min(found.get(int(text), entry), entry)
    return {value: (name, pin) for value, (_, name, pin) in found.items()}


def _scratch() -> Path:
    """A folder that exists for Yosys too: YoWASP has a ``/tmp`` of its own."""
    for folder in (cache_folder() / "synth", Path("/var/tmp"), Path.cwd()):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if Path("/tmp") not in folder.resolve().parents and os.access(folder, os.W_OK):
            return folder
    raise SynthesisError("no writable folder outside /tmp was found for Yosys; set XDG_CACHE_HOME to one")


def _script(top: str, libraries: list[str], library: Library, gate: ClockGate | None, delay: float | None) -> str:
    """Yosys commands."""
    avoided = sorted(name for name in library.cells if any(fnmatch.fnmatchcase(name, one) for one in AVOIDED))
    files = " ".join(f"-liberty {name}" for name in libraries)
    skipped = " ".join(f"-dont_use {name}" for name in avoided)
    constants = find_constants(library)
    lines = [f"read_liberty -lib -overwrite -ignore_miss_func {name}" for name in libraries]
    lines += [
        "read_verilog design.v",
        f"hierarchy -check -top {top}",
        f"synth -top {top} -run begin:fine",
        "setattr -unset init w:*",
        "write_json memories.json",
        "synth -run fine:check -noabc",
        "dfflegalize -cell $_DFF_P_ 01 -cell $_DFFE_PP_ 01 -cell $_DFF_N_ 01 -cell $_DFFE_NP_ 01",
        "opt -fast",
    ]
    if gate is not None:
        test = f"-tie_lo {gate.test} " if gate.test else ""
        pins = f"{gate.enable}:{gate.clock}:{gate.output}"
        lines.append(f"clockgate -pos {gate.cell} {pins} {test}-min_net_size {MIN_GATED}")
    lines += [f"dfflibmap {skipped} {files}", "opt -fast"]
    if delay is None:
        lines.append(f"abc {skipped} {files}")
    else:
        lines.append(f"abc -constr constraints -D {delay:g} {skipped} {files}")
    lines.append("opt_clean -purge")
    ties = [
        f"-{kind}cell {constants[value][0]} {constants[value][1]}"
        for kind, value in (("lo", 0), ("hi", 1))
        if value in constants
    ]
    if ties:
        lines.append(f"hilomap -singleton {' '.join(ties)}")
    lines += [
        "flatten",
        "opt_clean -purge",
        "check -mapped -assert",
        "write_json netlist.json",
        "write_verilog -noattr netlist.v",
    ]
    return "\n".join(lines) + "\n"


def _drive(library: Library) -> str:
    """A cell for ABC to drive the inputs with: the smallest buffer, else inverter."""
    found = []
    for cell in library.cells.values():
        if len(cell.inputs) == 1 and len(cell.outputs) == 1 and not cell.sequentials and not cell.dont_use:
            function = cell.pins[cell.outputs[0]].function
            if function is not None and function.pins == cell.inputs:
                found.append((function.truth != 0b10, cell.area, cell.name))
    if not found:
        raise SynthesisError(f"the library {library.name} has neither a buffer nor an inverter")
    return min(found)[2]


def _memories(data: dict[str, Any], top: str) -> Iterator[MappedMemory]:
    """Memories of a design before they are mapped, with the paths of their instances."""
    modules = data["modules"]

    def walk(module: str, path: str) -> Iterator[MappedMemory]:
        for name, cell in modules[module]["cells"].items():
            inner = f"{path}.{name}" if path else name
            if cell["type"] in ("$mem", "$mem_v2"):
                values = {key: int(cell["parameters"][key], 2) for key in ("SIZE", "WIDTH", "WR_PORTS")}
                writable = values["WR_PORTS"] > 0
                built_of = "flip-flops" if writable else "logic"
                yield MappedMemory(path or name, values["SIZE"], values["WIDTH"], writable, built_of)
            elif cell["type"] in modules and "blackbox" not in modules[cell["type"]].get("attributes", {}):
                yield from walk(cell["type"], inner)

    yield from walk(top, "")


def synthesize(
    verilog: str,
    top: str,
    library: Library,
    *,
    clock_gating: bool = True,
    delay: float | None = RELAXED,
) -> Synthesis:
    """Map a design to a cell library.

    Parameters
    ----------
    verilog : str
        Text of all modules.
    top : str
        Name of the top module.
    library : Library
        From `lmu_hw.flows.liberty.read_liberty`; its files are read again by Yosys.
    clock_gating : bool
        Whether flip-flops with an enable share integrated clock gates, where the library has them.
    delay : float or None
        Target delay between registers in seconds, for which buffers are inserted and cells sized; the default asks for
        no speed, only for edges that are not too slow. None gives the smallest area, with edges that may be far slower
        than the library's limits, and the energy that they cost.

    Returns
    -------
    Synthesis
        From the cache, if the same was done before with the same version of Yosys.

    Raises
    ------
    SynthesisError
        If the design needs cells that the library does not have.
    ToolError
        If Yosys is missing or fails.
    """
    tool = find_yosys().version
    options = json.dumps([RECIPE, tool, top, library.hashes, clock_gating, delay, AVOIDED, MIN_GATED])
    key = hashlib.sha256((options + verilog).encode()).hexdigest()[:32]
    place = cache_folder() / "synth" / key
    if not (place / "netlist.json").is_file():
        _run(verilog, top, library, clock_gating, delay, place)
    return _result(place, top, library, key, tool)


def _run(verilog: str, top: str, library: Library, clock_gating: bool, delay: float | None, place: Path) -> None:
    gate = find_clock_gate(library) if clock_gating else None
    with tempfile.TemporaryDirectory(dir=_scratch(), prefix="run-") as name:
        folder = Path(name)
        (folder / "design.v").write_text(verilog)
        libraries = []
        for index, path in enumerate(library.files):
            libraries.append(f"cells{index}.lib")
            try:
                (folder / libraries[-1]).write_text(read_text(path))
            except LibertyError as error:
                raise SynthesisError(f"the library is needed again for synthesis: {error}") from None
        if delay is not None:
            (folder / "constraints").write_text(f"set_driving_cell {_drive(library)}\nset_load 1\n")
        picoseconds = None if delay is None else delay * 1e12
        run_yosys(_script(top, libraries, library, gate, picoseconds), folder)
        netlist = json.loads((folder / "netlist.json").read_text())
        unknown = {cell["type"] for cell in netlist["modules"][top]["cells"].values()} - library.cells.keys()
        if unknown:
            raise SynthesisError(f"the library {library.name} has no cells for {', '.join(sorted(unknown))}")
        memories = [vars(memory) for memory in _memories(json.loads((folder / "memories.json").read_text()), top)]
        (folder / "memories.json").write_text(json.dumps(memories))
        flat = {"modules": {top: netlist["modules"][top]}}
        (folder / "netlist.json").write_text(json.dumps(flat))
        part = Path(tempfile.mkdtemp(dir=_made(place.parent), prefix="part-"))
        for file in ("netlist.v", "memories.json", "netlist.json"):
            shutil.copyfile(folder / file, part / file)
        try:
            part.rename(place)
        except OSError:
            shutil.rmtree(part)  # another process was faster


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _result(place: Path, top: str, library: Library, key: str, tool: str) -> Synthesis:
    cells = json.loads((place / "netlist.json").read_text())["modules"][top]["cells"]
    counts = Counter(cell["type"] for cell in cells.values())
    return Synthesis(
        top=top,
        json=place / "netlist.json",
        verilog=place / "netlist.v",
        area=sum(library.cells[name].area * count for name, count in counts.items()),
        cells=dict(sorted(counts.items())),
        memories=tuple(MappedMemory(**data) for data in json.loads((place / "memories.json").read_text())),
        key=key,
        tool=tool,
    )
