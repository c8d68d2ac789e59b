"""The cell libraries that commands take: of a process design kit, or files."""

import argparse
import math
import os
from pathlib import Path
from typing import Any

from lmu_hw.cells.liberty import Library, read_liberty
from lmu_hw.cells.pdk import PdkError, find_pdk
from lmu_hw.cells.sram_model import add_sram_model, is_model
from lmu_kit.cli.console import CommandError

__all__ = ["find_library", "library_arguments"]


def library_arguments(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options that name a library; the group they are in."""
    group = command.add_argument_group("technology")
    group.add_argument("--pdk", metavar="NAME", help="folder under PDK_ROOT: ihp-sg13g2, sky130A, nangate45, asap7")
    group.add_argument("--liberty", metavar="FILE", type=Path, nargs="+", help="Liberty files of one corner")
    group.add_argument("--corner", metavar="TEXT", help="part of the names of the PDK's Liberty files (voltage)")
    return group


def find_library(args: argparse.Namespace, *, sram_model: bool = True) -> tuple[Library, dict[str, Any]]:
    """The cell library that `library_arguments` name, and what a report says of it.

    A process without SRAM macros gets a model of some, unless `sram_model` is false.
    """
    if args.liberty is not None:
        if args.pdk is not None or args.corner is not None:
            raise CommandError("--liberty names the files itself: leave --pdk and --corner out")
        library, name, node, corner = read_liberty(args.liberty), args.liberty[0].name, None, ""
    else:
        try:
            pdk = find_pdk(args.pdk or "osu018", os.environ.get("PDK_ROOT"), args.corner)
        except PdkError as error:
            raise CommandError(str(error)) from None
        library, name, corner = read_liberty((*pdk.cells, *pdk.macros)), pdk.name, pdk.corner
        node = None if math.isnan(pdk.node) else pdk.node
    if sram_model:
        library = add_sram_model(library)
    files = {path.name: f"sha256:{key}" for path, key in zip(library.files, library.hashes, strict=True)}
    described = {
        "name": name,
        "node_nm": node,
        "corner": corner,
        "voltage_V": library.voltage,
        "temperature_C": library.temperature,
        "files": files,
        "macros_are_a_model": any(is_model(name) for name in library.cells),
    }
    return library, described


