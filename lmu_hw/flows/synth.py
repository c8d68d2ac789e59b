"""Synthesis: Verilog mapped to a cell library by Yosys, memories to SRAM macros, results cached.

The design is read once, its modules are mapped side by side (`lmu_hw.flows.mapping`) and flattened at the end.
"""

import hashlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lmu_hw.cells.library import LibertyError, Library
from lmu_hw.cells.memory_cost import Cost, MemoryUsage
from lmu_hw.cells.special import find_clock_gate
from lmu_hw.cells.sram_model import is_model
from lmu_hw.files import cache_folder
from lmu_hw.flows.checksums import is_whole, seal
from lmu_hw.flows.clock_gates import with_clock_gates
from lmu_hw.flows.elaborate import Modules, elaborate
from lmu_hw.flows.mapping import Recipe, blackboxes, map_modules
from lmu_hw.flows.memories import Choice, choose_memories, replace_memories
from lmu_hw.flows.yosys import run_yosys, scratch_folder
from lmu_hw.progress import Progress, silent
from lmu_hw.tools import find_yosys

__all__ = ["RELAXED", "MappedMemory", "Synthesis", "SynthesisError", "synthesize"]

VERSION = 3
"""Raised whenever memories or clock gates are replaced, results put together or stored in another way."""

RELAXED = 20e-9
"""Target delay in seconds when speed does not matter."""

RESULTS = ("netlist.v", "memories.json", "netlist.json")
"""Files of a result in the cache."""

ASSEMBLE = """
read_json modules.json
hierarchy -check -top {top}
flatten
opt_clean -purge
check -mapped -assert
write_json netlist.json
write_verilog -noattr netlist.v
"""


class SynthesisError(RuntimeError):
    """A design cannot be mapped to a library."""


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
    built_of : {"flip-flops", "macros", "logic"}
        Kind of cells that it is made of. A memory without a write port becomes logic.
    chosen : bool
        Whether it became so because that costs least. Flip-flops for want of macros are not chosen.
    macros : dict of str to int
        Number of macros by cell.
    cost : Cost or None
        Energies, leakage and area: of macros after their Liberty, of chosen flip-flops an estimate.
    """

    name: str
    depth: int
    width: int
    writable: bool
    built_of: str
    chosen: bool = False
    macros: dict[str, int] = field(default_factory=dict)
    cost: Cost | None = None

    @property
    def bits(self) -> int:
        """Size in bits."""
        return self.depth * self.width

    def describe(self) -> str:
        """Cells that it is made of, in words."""
        if self.macros:
            listed = ", ".join(f"{count} x {name}" for name, count in self.macros.items())
            kind = "SRAM model, not macros of this process" if any(map(is_model, self.macros)) else "macros"
            return f"{kind}: {listed}"
        return f"{self.built_of} (less power than macros)" if self.chosen and self.writable else self.built_of


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
        Version line of Yosys.
    """

    top: str
    json: Path
    verilog: Path
    area: float
    cells: dict[str, int]
    memories: tuple[MappedMemory, ...]
    key: str
    tool: str


def _walk(modules: Modules, choices: Mapping[str, Choice], top: str) -> Iterator[MappedMemory]:
    """Memories of a design with the paths of their instances."""

    def walk(module: str, path: str) -> Iterator[MappedMemory]:
        for name, cell in modules[module]["cells"].items():
            choice = choices.get(f"{module}/{name}")
            if choice is not None:
                memory = choice.memory
                macros = {} if choice.tiling is None else choice.tiling.counts
                yield MappedMemory(
                    path or name, memory.depth, memory.width, memory.writable,
                    choice.built_of, choice.chosen, macros, choice.cost,
                )  # fmt: skip
            elif cell["type"] in modules:
                yield from walk(cell["type"], f"{path}.{name}" if path else name)

    yield from walk(top, "")


def synthesize(
    verilog: str,
    top: str,
    library: Library,
    *,
    clock_gating: bool = True,
    delay: float | None = RELAXED,
    usage: MemoryUsage | Mapping[str, MemoryUsage] | None = None,
    progress: Progress = silent,
) -> Synthesis:
    """Map a design to a cell library.

    Parameters
    ----------
    verilog : str
        Text of all modules.
    top : str
        Name of the top module.
    library : Library
        From `lmu_hw.cells.liberty.read_liberty`; its files are read again by Yosys. With memory macros in it, writable
        memories become macros where these take less power than flip-flops.
    clock_gating : bool
        Whether flip-flops with an enable share integrated clock gates, and these take the place of the design's own,
        where the library has them.
    delay : float or None
        Target delay between registers in seconds, for which buffers are inserted and cells sized; the default asks for
        no speed, only for edges that are not too slow. None gives the smallest area, with edges that may be far slower
        than the library's limits, and the energy that they cost.
    usage : MemoryUsage or mapping of str to MemoryUsage, optional
        How the memories will be used, all alike or by name of the instance, which decides what they become; the
        defaults of `MemoryUsage` for those that are not named.
    progress : callable
        Called with (stage, done, total).

    Returns
    -------
    Synthesis
        From the cache, if the same was done before with the same version of Yosys; else modules that have not changed
        are. An entry that was altered on disk is made anew.

    Raises
    ------
    SynthesisError
        If the design needs cells that the library does not have, or its files are gone.
    ToolError
        If Yosys is missing or fails.
    """
    recipe = Recipe(library, clock_gating, delay)
    used = MemoryUsage() if usage is None else usage
    if isinstance(used, MemoryUsage):
        asked = asdict(used)
    else:
        asked = {name: asdict(memory_usage) for name, memory_usage in sorted(used.items())}
    try:
        options = json.dumps([VERSION, recipe.text(), library.hashes, top, asked])
        key = hashlib.sha256((options + verilog).encode()).hexdigest()[:32]
        result = cache_folder() / "synth" / key
        if not all(is_whole(result / name) for name in RESULTS):
            shutil.rmtree(result, ignore_errors=True)
            _run(verilog, top, recipe, used, progress, result)
    except LibertyError as error:
        raise SynthesisError(f"the library {library.name} cannot be used: {error}") from None
    return _result(result, top, library, key)


def _run(
    verilog: str,
    top: str,
    recipe: Recipe,
    usage: MemoryUsage | Mapping[str, MemoryUsage],
    progress: Progress,
    result: Path,
) -> None:
    library = recipe.library
    progress("elaboration", 0, 1)
    known = blackboxes(library)
    gate = find_clock_gate(library) if recipe.clock_gating else None
    modules = elaborate(with_clock_gates(verilog, gate), top, {} if gate is None else {gate.cell: known[gate.cell]})
    choices = choose_memories(modules, library, usage)
    design = replace_memories(modules, choices, known)
    progress("elaboration", 1, 1)
    mapped = map_modules(design, recipe, progress)
    progress("assembly", 0, 1)
    with tempfile.TemporaryDirectory(dir=scratch_folder(), prefix="run-") as name:
        folder = Path(name)
        (folder / "modules.json").write_text(json.dumps({"modules": {**known, **mapped}}))
        run_yosys(ASSEMBLE.format(top=top), folder)
        netlist = json.loads((folder / "netlist.json").read_text())["modules"][top]
        unknown = {cell["type"] for cell in netlist["cells"].values()} - library.cells.keys()
        if unknown:
            raise SynthesisError(f"the library {library.name} has no cells for {', '.join(sorted(unknown))}")
        memories = [asdict(memory) for memory in _walk(modules, choices, top)]
        (folder / "memories.json").write_text(json.dumps(memories))
        (folder / "netlist.json").write_text(json.dumps({"modules": {top: netlist}}))
        _keep(folder, result)
    progress("assembly", 1, 1)


def _keep(folder: Path, result: Path) -> None:
    """Move a result into the cache as a whole."""
    result.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=result.parent, prefix="part-"))
    for file in RESULTS:
        shutil.copyfile(folder / file, part / file)
        seal(part / file)
    try:
        part.rename(result)
    except OSError:
        shutil.rmtree(part)  # another process was faster


def _memory(data: dict[str, Any]) -> MappedMemory:
    return MappedMemory(**{**data, "cost": None if data["cost"] is None else Cost(**data["cost"])})


def _result(folder: Path, top: str, library: Library, key: str) -> Synthesis:
    cells = json.loads((folder / "netlist.json").read_text())["modules"][top]["cells"]
    counts = Counter(cell["type"] for cell in cells.values())
    return Synthesis(
        top=top,
        json=folder / "netlist.json",
        verilog=folder / "netlist.v",
        area=sum(library.cells[name].area * count for name, count in counts.items()),
        cells=dict(sorted(counts.items())),
        memories=tuple(_memory(data) for data in json.loads((folder / "memories.json").read_text())),
        key=key,
        tool=find_yosys().version,
    )
