"""Where the Liberty files of a process are."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Pdk", "PdkError", "find_pdk"]

OSU_FILE = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")
"""Of Debian's package qflow-tech-osu018."""


class PdkError(LookupError):
    """A process design kit, or a part of it, was not found."""


@dataclass(frozen=True)
class Pdk:
    """Liberty files of a process at one corner.

    Parameters
    ----------
    name : str
        Of the process, as its folder is called.
    node : float
        Nanometres, as the process is named.
    corner : str
        What the names of the files have in common, nothing if there is one corner only.
    cells : tuple of Path
        Liberty of the standard cells.
    macros : tuple of Path
        Liberty of the memory macros, one file a macro; empty if there are none.
    models : Path or None
        Verilog models of the standard cells.
    """

    name: str
    node: float
    corner: str
    cells: tuple[Path, ...]
    macros: tuple[Path, ...]
    models: Path | None


@dataclass(frozen=True)
class _Layout:
    """Where a known process keeps its files, under its folder."""

    node: float
    cells: str
    corner: str
    macros: str = ""
    models: str = ""


LAYOUTS = {
    "ihp-sg13g2": _Layout(
        node=130,
        cells="libs.ref/sg13g2_stdcell/lib",
        corner="typ_1p20V_25C",
        macros="libs.ref/sg13g2_sram/lib",
        models="libs.ref/sg13g2_stdcell/verilog/sg13g2_stdcell.v",
    ),
    "sky130A": _Layout(node=130, cells="libs.ref/sky130_fd_sc_hd/lib", corner="tt_025C_1v80"),
    "sky130B": _Layout(node=130, cells="libs.ref/sky130_fd_sc_hd/lib", corner="tt_025C_1v80"),
    "nangate45": _Layout(node=45, cells="lib", corner="NangateOpenCellLibrary_typical"),
    "asap7": _Layout(node=7, cells="lib", corner="RVT_TT"),
}


def _liberty(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if re.search(r"\.lib(\.gz)?$", path.name))


def _stem(path: Path) -> str:
    return re.sub(r"\.lib(\.gz)?$", "", path.name)


def _in_corner(files: list[Path], corner: str) -> tuple[Path, ...]:
    """Files of a corner; of a plain and a compressed one with the same name the plain one."""
    found = {_stem(path): path for path in reversed(files) if corner in _stem(path)}
    return tuple(found[name] for name in sorted(found))


def find_pdk(name: str = "osu018", root: str | Path | None = None, corner: str | None = None) -> Pdk:
    """Find the Liberty files of a process.

    Known layouts are those of IHP SG13G2, SKY130 (``libs.ref/LIBRARY/lib``), Nangate 45 and ASAP7 (``lib``), and
    Debian's cells for 0.18 µm, which need no root; any other folder under the root that holds Liberty files in
    itself or in ``lib`` is taken as it is.

    Parameters
    ----------
    name : str
        Folder under the root, or ``osu018``.
    root : str or Path, optional
        Folder of the process design kits; the environment's ``PDK_ROOT`` if not given.
    corner : str, optional
        Part of the names of the files to take, ``slow_1p08V_125C`` say; the typical corner if not given.

    Returns
    -------
    Pdk
        Existing files.

    Raises
    ------
    PdkError
        If there are none, naming what was expected.
    """
    if name == "osu018":
        if not OSU_FILE.is_file():
            raise PdkError(f"the cells osu018 were expected at {OSU_FILE}: apt-get install qflow-tech-osu018")
        return Pdk(name, 180, "", (OSU_FILE,), (), None)
    base = root if root is not None else os.environ.get("PDK_ROOT", "")
    if not str(base):
        raise PdkError(f"the environment's PDK_ROOT must name the folder that holds {name}; osu018 needs none")
    folder = Path(base) / name
    if not folder.is_dir():
        here = ", ".join(sorted(path.name for path in Path(base).glob("*/"))) or "nothing"
        raise PdkError(f"the folder {folder} was expected, PDK_ROOT holds {here}")
    layout = LAYOUTS.get(name)
    if layout is None:
        place = folder / "lib" if _liberty(folder / "lib") else folder
        layout = _Layout(node=float("nan"), cells=str(place.relative_to(folder)), corner="")
    files = _liberty(folder / layout.cells)
    if not files:
        raise PdkError(f"Liberty files (*.lib, *.lib.gz) were expected in {folder / layout.cells}")
    wanted = layout.corner if corner is None else corner
    cells = _in_corner(files, wanted)
    if not cells:
        known = ", ".join(_stem(path) for path in files)
        raise PdkError(f"no Liberty file in {folder / layout.cells} is for the corner {wanted!r}, there are {known}")
    macros = _in_corner(_liberty(folder / layout.macros), wanted) if layout.macros else ()
    models = None
    if layout.models:
        models = next(
            (path for path in (folder / layout.models, folder / f"{layout.models}.gz") if path.is_file()), None
        )
    return Pdk(name, layout.node, wanted, cells, macros, models)
