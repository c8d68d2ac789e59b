"""Cell libraries: of a process design kit, or Liberty files."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.library import Library
from lmu_hw.cells.pdk import PdkError, find_pdk
from lmu_hw.cells.sram_model import add_sram_model, is_model
from lmu_kit.cli.console import CommandError

__all__ = ["find_library"]


def find_library(
    pdk: str | None, liberty: Sequence[Path] | None, corner: str | None, *, sram_model: bool = True
) -> tuple[Library, dict[str, Any]]:
    """Read a cell library: of a process design kit, or from Liberty files.

    A process without SRAM macros gets a model of some, unless `sram_model` is false.

    Returns
    -------
    library : Library
        The cells and macros.
    description : dict
        The library in a report.
    """
    if liberty is not None:
        if pdk is not None or corner is not None:
            raise CommandError("--liberty names the files itself: leave --pdk and --corner out")
        library, name, node, used_corner = read_liberty(tuple(liberty)), liberty[0].name, None, ""
    else:
        try:
            kit = find_pdk(pdk or "osu018", os.environ.get("PDK_ROOT"), corner)
        except PdkError as error:
            raise CommandError(str(error)) from None
        library, name, used_corner = read_liberty((*kit.cells, *kit.macros)), kit.name, kit.corner
        node = None if math.isnan(kit.node) else kit.node
    if sram_model:
        library = add_sram_model(library)
    files = {path.name: f"sha256:{key}" for path, key in zip(library.files, library.hashes, strict=True)}
    described = {
        "name": name,
        "node_nm": node,
        "corner": used_corner,
        "voltage_V": library.voltage,
        "temperature_C": library.temperature,
        "files": files,
        "macros_are_a_model": any(is_model(name) for name in library.cells),
    }
    return library, described


