"""Map modules to the cells of a library, each on its own: in parallel on all processors, and kept in the cache.

Mapping each module on its own keeps every instance in the block that it came from, and a module that has not changed
is not mapped again. The price is optimisation across blocks, some per cent of area; the gain is energy by block.
"""

import fnmatch
import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmu_hw.cells.liberty import read_liberty, read_text
from lmu_hw.cells.library import Library
from lmu_hw.cells.special import find_clock_gate, find_constants, find_driver
from lmu_hw.files import cache_folder
from lmu_hw.flows.adders import adder_commands, adder_files
from lmu_hw.flows.checksums import is_whole, seal, unseal
from lmu_hw.flows.elaborate import Module, Modules, ports_only
from lmu_hw.flows.yosys import run_yosys, scratch_folder
from lmu_hw.progress import Progress
from lmu_hw.tools import find_yosys

__all__ = [
    "Recipe",
    "blackboxes",
    "logic_files",
    "map_modules",
    "mapping_commands",
    "mapping_files",
]

VERSION = 6
"""Raised whenever the script below changes, so that older results are not taken from the cache."""

AVOIDED = ("*lpflow*", "*probe*", "*dly*", "*DLY*", "*macro_sparecell*")
"""Cells that logic synthesis should not pick: level shifters, test structures, delay elements."""

MIN_GATED = 4
"""Flip-flops that share an enable before a clock gate is worth its own energy."""


@functools.lru_cache(maxsize=4)
def logic_files(library: Library) -> tuple[Path, ...]:
    """Files of a library that hold more than memory macros."""
    return tuple(
        path for path in library.files if any(cell.memory is None for cell in read_liberty(path).cells.values())
    )


@dataclass(frozen=True, eq=False)
class Recipe:
    """How modules are mapped.

    Parameters
    ----------
    library : Library
        The cells.
    clock_gating : bool
        Whether flip-flops with an enable share integrated clock gates.
    delay : float or None
        Target delay in seconds, None for the smallest area.
    """

    library: Library
    clock_gating: bool
    delay: float | None

    def text(self) -> str:
        """Everything but the module that the result depends on."""
        hashes = [self.library.hashes[self.library.files.index(path)] for path in logic_files(self.library)]
        return json.dumps([VERSION, find_yosys().version, hashes, self.clock_gating, self.delay, AVOIDED, MIN_GATED])


def blackboxes(library: Library) -> Modules:
    """Ports of all cells of a library, as black boxes."""
    boxes: Modules = {}
    for cell in library.cells.values():
        ports: dict[str, dict[str, Any]] = {}
        for number, pin in enumerate(cell.pins.values()):
            if pin.direction in ("input", "output", "inout"):
                name = pin.name.partition("[")[0]
                port = ports.setdefault(name, {"direction": pin.direction, "bits": []})
                port["bits"].append(number + 2)
        boxes[cell.name] = {"attributes": {"blackbox": f"{1:032b}"}, "ports": ports, "cells": {}, "netnames": {}}
    return boxes


def mapping_commands(recipe: Recipe, files: Sequence[str]) -> list[str]:
    """Yosys commands that map every module of a design on its own.

    Parameters
    ----------
    recipe : Recipe
        How.
    files : sequence of str
        The library's `logic_files`, uncompressed, as Yosys is to find them. The `mapping_files` stand beside them.
    """
    library = recipe.library
    avoided = sorted(name for name in library.cells if any(fnmatch.fnmatchcase(name, pattern) for pattern in AVOIDED))
    skipped = "".join(f" -dont_use {name}" for name in avoided) + "".join(f" -liberty {name}" for name in files)
    gate = find_clock_gate(library) if recipe.clock_gating else None
    lines = [
        *adder_commands(library, recipe.delay),
        "dfflegalize -cell $_DFF_P_ 01 -cell $_DFFE_PP_ 01 -cell $_DFF_N_ 01 -cell $_DFFE_NP_ 01",
        "opt -fast",
    ]
    if gate is not None:
        test = f"-tie_lo {gate.test} " if gate.test else ""
        pins = f"{gate.enable}:{gate.clock}:{gate.output}"
        lines.append(f"clockgate -pos {gate.cell} {pins} {test}-min_net_size {MIN_GATED}")
    lines += [f"dfflibmap{skipped}", "opt -fast"]
    if recipe.delay is None:
        lines.append(f"abc{skipped}")
    else:
        lines.append(f"abc -constr constraints -D {recipe.delay * 1e12:g}{skipped}")
    lines.append("opt_clean -purge")
    constants = find_constants(library)
    ties = [
        f"-{kind}cell {constants[value][0]} {constants[value][1]}"
        for kind, value in (("lo", 0), ("hi", 1))
        if value in constants
    ]
    if ties:
        lines.append(f"hilomap -singleton {' '.join(ties)}")
    return lines


def mapping_files(recipe: Recipe) -> dict[str, str]:
    """Write the files that `mapping_commands` read beside the Liberty files.

    Parameters
    ----------
    recipe : Recipe
        How.

    Returns
    -------
    dict of str to str
        Texts by file name: full adders, and, with a delay, drivers of inputs and loads of outputs for ABC.
    """
    files = adder_files(recipe.library, recipe.delay)
    if recipe.delay is not None:
        files["constraints"] = f"set_driving_cell {find_driver(recipe.library).name}\nset_load 1\n"
    return files


def _key(module: Module, modules: Mapping[str, Module], recipe: str) -> str:
    """Hash of a module, of the ports of those that it uses, and of the recipe."""
    used = sorted({cell["type"] for cell in module["cells"].values()} & modules.keys())
    places = {name: f"used:{index}" for index, name in enumerate(used)}
    cells = {name: {**cell, "type": places.get(cell["type"], cell["type"])} for name, cell in module["cells"].items()}
    text = json.dumps([recipe, {**module, "cells": cells}, [modules[name]["ports"] for name in used]])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _size(module: Module) -> int:
    """Rough measure of the work to map a module."""
    total = len(module["cells"])
    for cell in module["cells"].values():
        values = cell["parameters"]
        if cell["type"] == "$mem_v2":
            total += int(values["SIZE"], 2) * int(values["WIDTH"], 2)
        elif cell["type"] == "$mul":
            total += int(values["A_WIDTH"], 2) * int(values["B_WIDTH"], 2)
    return total


def _batches(names: Iterable[str], modules: Mapping[str, Module], count: int) -> list[list[str]]:
    """Modules in at most `count` batches of about the same work, the largest first."""
    batches: list[list[str]] = [[] for _ in range(count)]
    loads = [0] * count
    for name in sorted(names, key=lambda name: (-_size(modules[name]), name)):
        lightest = loads.index(min(loads))
        batches[lightest].append(name)
        loads[lightest] += _size(modules[name])
    return [batch for batch in batches if batch]


def _map_batch(batch: list[str], modules: Mapping[str, Module], recipe: Recipe) -> Modules:
    """Map some modules in one run of Yosys."""
    library = recipe.library
    used = {cell["type"] for name in batch for cell in modules[name]["cells"].values()}
    design = {
        **blackboxes(library),
        **{name: ports_only(module) for name, module in modules.items() if name in used},
        **{name: modules[name] for name in batch},
    }
    with tempfile.TemporaryDirectory(dir=scratch_folder(), prefix="run-") as name:
        folder = Path(name)
        (folder / "modules.json").write_text(json.dumps({"modules": design}))
        files = []
        for index, path in enumerate(logic_files(library)):
            files.append(f"cells{index}.lib")
            (folder / files[-1]).write_text(read_text(path))
        for file, text in mapping_files(recipe).items():
            (folder / file).write_text(text)
        commands = ["read_json modules.json", *mapping_commands(recipe, files), "write_json mapped.json"]
        run_yosys("\n".join(commands) + "\n", folder)
        mapped = json.loads((folder / "mapped.json").read_text())["modules"]
    return {name: mapped[name] for name in batch}


def _stored(path: Path, module: Module, modules: Mapping[str, Module]) -> Module | None:
    """A mapped module from the cache, with the names that the modules it uses have now."""
    if not is_whole(path):
        return None
    text = path.read_text()
    used = sorted({cell["type"] for cell in module["cells"].values()} & modules.keys())
    mapped: Module = json.loads(text)
    for cell in mapped["cells"].values():
        if cell["type"].startswith("used:"):
            cell["type"] = used[int(cell["type"].removeprefix("used:"))]
    return mapped


def _store(path: Path, mapped: Module, module: Module, modules: Mapping[str, Module]) -> None:
    used = sorted({cell["type"] for cell in module["cells"].values()} & modules.keys())
    places = {name: f"used:{index}" for index, name in enumerate(used)}
    cells = {
        name: {**cell, "type": places.get(cell["type"], cell["type"])} for name, cell in mapped["cells"].items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(json.dumps({**mapped, "cells": cells}))
    unseal(path)
    Path(file.name).replace(path)
    seal(path)


def map_modules(modules: Mapping[str, Module], recipe: Recipe, progress: Progress) -> Modules:
    """Map modules to a library.

    Parameters
    ----------
    modules : mapping of str to Module
        All modules that use each other, from `lmu_hw.flows.elaborate.elaborate`.
    recipe : Recipe
        How.
    progress : callable
        Called with (stage, done, total), in modules.

    Returns
    -------
    dict of str to Module
        Mapped modules by the same names.

    Raises
    ------
    ToolError
        If Yosys is missing or fails.
    """
    text = recipe.text()
    folder = cache_folder() / "synth" / "modules"
    places = {name: folder / f"{_key(module, modules, text)}.json" for name, module in modules.items()}
    done: Modules = {}
    for name, module in modules.items():
        mapped = _stored(places[name], module, modules)
        if mapped is not None:
            done[name] = mapped
    progress("mapping", len(done), len(modules))
    processors = len(os.sched_getaffinity(0))
    batches = _batches(modules.keys() - done.keys(), modules, processors)
    with ThreadPoolExecutor(processors) as pool:
        for task in as_completed([pool.submit(_map_batch, batch, modules, recipe) for batch in batches]):
            for name, mapped in task.result().items():
                _store(places[name], mapped, modules[name], modules)
                done[name] = mapped
            progress("mapping", len(done), len(modules))
    return {name: done[name] for name in modules}  # they end in any order
