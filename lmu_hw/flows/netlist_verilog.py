"""Read a netlist of library cells from structural Verilog, such as place and route writes it."""

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lmu_hw.cells.layout_names import bit_names
from lmu_hw.cells.library import Library
from lmu_hw.cells.netlist import Instance, Netlist, NetlistError, read_netlist
from lmu_hw.cells.tokens import FileFormatError, read_plain_text
from lmu_hw.flows.mapping import blackboxes
from lmu_hw.flows.yosys import run_yosys, scratch_folder
from lmu_hw.tools import ToolError

__all__ = ["ADDED", "read_verilog_netlist", "with_original_names"]

ADDED = "layout"
"""Block of instances that are not in the netlist that was laid out, such as buffers."""

SCRIPT = """
read_json cells.json
read_verilog netlist.v
hierarchy -check -top {top}
flatten
write_json netlist.json
"""


def read_verilog_netlist(path: str | Path, library: Library, original: Netlist) -> Netlist:
    """Read the netlist of a design that was mapped before.

    Parameters
    ----------
    path : path
        Verilog file, plain or compressed with gzip: modules of cells of the library, without supply pins.
    library : Library
        The cells.
    original : Netlist
        The netlist that we mapped: its top and its ports are expected. A port may be a bus, or single bits ``p_0``,
        ``p_1``.

    Returns
    -------
    Netlist
        With the ports of `original`, and the names of the file.

    Raises
    ------
    FileFormatError
        If the file cannot be read, or is not a netlist of the design.
    ToolError
        If Yosys is missing.
    """
    text = read_plain_text(path)
    top = original.top
    if re.search(rf"^\s*module\s+\\?{re.escape(top)}\b", text, re.MULTILINE) is None:
        raise FileFormatError(path, None, f"has no module {top}")
    with tempfile.TemporaryDirectory(dir=scratch_folder(), prefix="run-") as name:
        folder = Path(name)
        (folder / "cells.json").write_text(json.dumps({"modules": blackboxes(library)}))
        (folder / "netlist.v").write_text(text)
        try:
            run_yosys(SCRIPT.format(top=top), folder)
        except ToolError as error:
            reason = str(error).splitlines()[-1].replace("netlist.v", Path(path).name)
            raise FileFormatError(path, None, f"is not a netlist of {library.name}: {reason}") from None
        try:
            netlist = read_netlist(folder / "netlist.json", top, library)
        except NetlistError as error:
            raise FileFormatError(path, None, str(error)) from None
    return replace(
        netlist,
        inputs=_join(path, netlist.inputs, original.inputs, "input"),
        outputs=_join(path, netlist.outputs, original.outputs, "output"),
    )


def _join(
    path: str | Path, ports: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]], kind: str
) -> dict[str, tuple[int, ...]]:
    """Ports as they are wanted: buses, also where the file has single bits."""
    bits = {name: nets[0] for name, nets in ports.items() if len(nets) == 1}
    joined = {}
    for name, nets in wanted.items():
        if len(ports.get(name, ())) == len(nets):
            joined[name] = ports[name]
            continue
        names = [
            next((text for text in bit_names(name, bit, len(nets)) if text in bits), "") for bit in range(len(nets))
        ]
        if not all(names):
            found = f"has {len(ports[name])}" if name in ports else "is missing"
            raise FileFormatError(path, None, f"{kind} {name} of {len(nets)} bits was expected, it {found}")
        joined[name] = tuple(bits[text] for text in names)
    return joined


def with_original_names(netlist: Netlist, original: Netlist) -> Netlist:
    """Give instances the names and blocks that they have in the netlist that was laid out.

    Parameters
    ----------
    netlist : Netlist
        From `read_verilog_netlist`.
    original : Netlist
        The netlist that we mapped.

    Returns
    -------
    Netlist
        Instances called ``i0``, ``i1`` ... as in `Netlist.to_verilog` have name and block of the instance with that
        number. Others keep their names; those outside any module are in the block `ADDED`.
    """
    return replace(netlist, instances=tuple(_renamed(instance, original) for instance in netlist.instances))


def _renamed(instance: Instance, original: Netlist) -> Instance:
    match = re.fullmatch(r"i(\d+)", instance.name)
    if match is not None and int(match[1]) < len(original.instances):
        source = original.instances[int(match[1])]
        return replace(instance, name=source.name, block=source.block)
    return instance if instance.block else replace(instance, block=ADDED)
