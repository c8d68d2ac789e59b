"""Find the Liberty and LEF files of a process."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Pdk", "PdkError", "find_corners", "find_lef", "find_pdk"]

OSU = "osu018"

OSU_FILE = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")
"""Of Debian's package qflow-tech-osu018."""


class PdkError(ValueError):
    """A process design kit, or a part of it, was not found."""


@dataclass(frozen=True)
class Pdk:
    """Liberty files of a process at one corner.

    Parameters
    ----------
    name : str
        Name of the process and of its folder.
    node : float
        Nanometres, as the process is named.
    corner : str
        Part that the names of the files have in common; empty if there is only one corner.
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
    """Where a known process keeps its files in its folder."""

    node: float
    cells: str
    corner: str
    pattern: str = ""
    macros: str = ""
    models: str = ""
    lef: tuple[str, ...] = ("lef/*.tlef", "lef/*.lef")


SKY130 = r"(?:tt|ss|ff)_n?\d+C_\dv\d+"

SKY130_LEF = (
    "libs.ref/sky130_fd_sc_hd/techlef/sky130_fd_sc_hd__nom.tlef",
    "libs.ref/sky130_fd_sc_hd/lef/sky130_fd_sc_hd.lef",
)

LAYOUTS = {
    "ihp-sg13g2": _Layout(
        node=130,
        cells="libs.ref/sg13g2_stdcell/lib",
        corner="typ_1p20V_25C",
        pattern=r"(?:typ|slow|fast)_\d+p\d+V_m?\d+C",
        macros="libs.ref/sg13g2_sram/lib",
        models="libs.ref/sg13g2_stdcell/verilog/sg13g2_stdcell.v",
        lef=(
            "libs.ref/sg13g2_stdcell/lef/sg13g2_tech.lef",
            "libs.ref/sg13g2_stdcell/lef/sg13g2_stdcell.lef",
            "libs.ref/sg13g2_sram/lef/*.lef",
        ),
    ),
    "sky130A": _Layout(
        node=130, cells="libs.ref/sky130_fd_sc_hd/lib", corner="tt_025C_1v80", pattern=SKY130, lef=SKY130_LEF
    ),
    "sky130B": _Layout(
        node=130, cells="libs.ref/sky130_fd_sc_hd/lib", corner="tt_025C_1v80", pattern=SKY130, lef=SKY130_LEF
    ),
    "nangate45": _Layout(
        node=45, cells="lib", corner="NangateOpenCellLibrary_typical", pattern=r"NangateOpenCellLibrary_\w+"
    ),
    "asap7": _Layout(node=7, cells="lib", corner="RVT_TT", pattern=r"[A-Z]*VT_(?:TT|SS|FF)"),
}


def _liberty(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if re.search(r"\.lib(\.gz)?$", path.name))


def _stem(path: Path) -> str:
    return re.sub(r"\.lib(\.gz)?$", "", path.name)


def _in_corner(files: list[Path], corner: str) -> tuple[Path, ...]:
    """Files of a corner. A plain file is preferred to a compressed one of the same name."""
    by_name = {_stem(path): path for path in reversed(files) if corner in _stem(path)}
    return tuple(by_name[name] for name in sorted(by_name))


def _find_layout(name: str, root: str | Path | None) -> tuple[Path, _Layout]:
    """Folder of a process, and where its files are in it."""
    base = root if root is not None else os.environ.get("PDK_ROOT", "")
    if not str(base):
        raise PdkError(f"the environment's PDK_ROOT must name the folder that holds {name}; {OSU} needs none")
    folder = Path(base) / name
    if not folder.is_dir():
        here = ", ".join(sorted(path.name for path in Path(base).glob("*/"))) or "nothing"
        raise PdkError(f"the folder {folder} was expected, PDK_ROOT holds {here}")
    layout = LAYOUTS.get(name)
    if layout is None:
        liberty = folder / "lib" if _liberty(folder / "lib") else folder
        layout = _Layout(node=float("nan"), cells=str(liberty.relative_to(folder)), corner="")
    return folder, layout


def _corners(layout: _Layout, files: Iterable[Path]) -> tuple[str, ...]:
    """Corners in the names of files."""
    if not layout.pattern:
        return ()
    matches = (re.search(layout.pattern, _stem(path)) for path in files)
    return tuple(sorted({match[0] for match in matches if match is not None}))


def find_corners(name: str = OSU, root: str | Path | None = None) -> tuple[str, ...]:
    """List the corners of a process that have files, by names that `find_pdk` takes.

    Parameters
    ----------
    name, root : str, str or Path
        See `find_pdk`.

    Returns
    -------
    tuple of str
        Sorted; empty if there is one only, as in folders of an unknown layout.

    Raises
    ------
    PdkError
        If the folder is not there.
    """
    if name == OSU:
        return ()
    folder, layout = _find_layout(name, root)
    return _corners(layout, _liberty(folder / layout.cells))


def find_pdk(name: str = OSU, root: str | Path | None = None, corner: str | None = None) -> Pdk:
    """Find the Liberty files of a process.

    The known layouts are those of IHP SG13G2, SKY130 (``libs.ref/LIBRARY/lib``), Nangate 45 and ASAP7 (``lib``).
    Debian's cells for 0.18 µm need no root. Any other folder under the root may hold Liberty files in itself or in
    ``lib``.

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
    if name == OSU:
        if corner is not None:
            raise PdkError(f"{OSU} has one corner only, not {corner!r}")
        if not OSU_FILE.is_file():
            raise PdkError(f"the cells osu018 were expected at {OSU_FILE}: apt-get install qflow-tech-osu018")
        return Pdk(name, 180, "", (OSU_FILE,), (), None)
    folder, layout = _find_layout(name, root)
    files = _liberty(folder / layout.cells)
    if not files:
        raise PdkError(f"Liberty files (*.lib, *.lib.gz) were expected in {folder / layout.cells}")
    wanted = layout.corner if corner is None else corner
    cells = _in_corner(files, wanted)
    if not cells:
        known = ", ".join(_stem(path) for path in files)
        raise PdkError(f"no Liberty file in {folder / layout.cells} is for the corner {wanted!r}, there are {known}")
    corners = _corners(layout, cells)
    if len(corners) > 1:
        raise PdkError(f"{wanted!r} may be any of the corners {', '.join(corners)} of {name}: give one in full")
    all_macros = _liberty(folder / layout.macros) if layout.macros else []
    macros = _in_corner(all_macros, wanted)
    if all_macros and not macros:
        raise PdkError(f"no macro in {folder / layout.macros} is for the corner {wanted!r}, as the cells are")
    models = None
    if layout.models:
        models = next(
            (path for path in (folder / layout.models, folder / f"{layout.models}.gz") if path.is_file()), None
        )
    return Pdk(name, layout.node, wanted, cells, macros, models)


def find_lef(name: str, root: str | Path | None = None) -> tuple[Path, ...]:
    """Find the LEF files of a process: technology, cells, macros.

    Parameters
    ----------
    name, root : str, str or Path
        See `find_pdk`. Where the layout is not known, all files of the folder ``lef`` are taken.

    Returns
    -------
    tuple of Path
        Existing files, plain or compressed.

    Raises
    ------
    PdkError
        If a file is missing, naming what was expected.
    """
    if name == OSU:
        raise PdkError(f"no LEF files are known for {OSU}: give them by name")
    folder, layout = _find_layout(name, root)
    files: list[Path] = []
    for pattern in layout.lef:
        by_name = {path.name.removesuffix(".gz"): path for path in sorted(folder.glob(f"{pattern}.gz"))}
        by_name |= {path.name: path for path in sorted(folder.glob(pattern))}
        files += by_name.values()
        if not by_name and "*" not in pattern:
            raise PdkError(f"the LEF file {folder / pattern} was expected")
    if not files:
        raise PdkError(f"LEF files ({' or '.join(layout.lef)}) were expected in {folder}")
    return tuple(files)
