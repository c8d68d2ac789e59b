"""Liberty files of the same cells at other corners, found by the names of the files."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Corner", "files_at", "files_of", "parse_corner", "sibling_corners"]

PROCESS = r"(?:^|_)(typ|slow|fast|tt|ss|ff|sf|fs)(?=_|$)"
VOLTAGE = r"(?:^|_)(\d+)[pv](\d+)V?(?=_|$)"
TEMPERATURE = r"(?:^|_)([mn]?)(\d+)C(?=_|$)"

MACRO = r"_\d+x\d+(?=_|\.|$)"
"""Size in words and bits, in the name of a file that holds a single memory macro."""

LIBERTY = r"\.lib(\.gz)?$"


@dataclass(frozen=True)
class Corner:
    """Corner that the name of a Liberty file gives.

    Parameters
    ----------
    process : str
        Such as ``tt`` or ``slow``.
    voltage : float
        In volt.
    celsius : float
        In degrees Celsius.
    """

    process: str
    voltage: float
    celsius: float

    def __str__(self) -> str:
        return f"{self.process}, {self.voltage:g} V, {self.celsius:g} °C"


def parse_corner(path: Path) -> tuple[str, Corner] | None:
    """Take the corner out of the name of a Liberty file.

    Parameters
    ----------
    path : Path
        Such as ``sky130_fd_sc_hd__tt_025C_1v80.lib`` or ``sg13g2_stdcell_typ_1p20V_25C.lib.gz``.

    Returns
    -------
    (str, Corner) or None
        The rest of the name, which files of the same cells share, and the corner. None if the name does not give
        process, voltage and temperature.
    """
    stem = re.sub(LIBERTY, "", path.name)
    process, voltage, heat = (re.search(pattern, stem) for pattern in (PROCESS, VOLTAGE, TEMPERATURE))
    if process is None or voltage is None or heat is None:
        return None
    base = stem
    for pattern in (PROCESS, VOLTAGE, TEMPERATURE):
        base = re.sub(pattern, "", base, count=1)
    sign = -1 if heat[1] else 1
    return base, Corner(process[1], float(f"{voltage[1]}.{voltage[2]}"), float(sign * int(heat[2])))


def _siblings(path: Path) -> dict[Corner, Path]:
    """Files of the same cells in the folder of a file, by corner; a plain file before a compressed one."""
    own = parse_corner(path)
    if own is None or not path.parent.is_dir():
        return {}
    siblings: dict[Corner, Path] = {}
    for other in sorted(path.parent.iterdir(), reverse=True):
        parsed = parse_corner(other) if re.search(LIBERTY, other.name) else None
        if parsed is not None and parsed[0] == own[0]:
            siblings[parsed[1]] = other
    return siblings


def sibling_corners(path: Path) -> tuple[Corner, ...]:
    """Other corners of the cells of a Liberty file, in the same folder, the coldest first."""
    own = parse_corner(path)
    corners = [corner for corner in _siblings(path) if own is not None and corner != own[1]]
    return tuple(sorted(corners, key=lambda corner: (corner.celsius, corner.process, corner.voltage)))


def files_at(files: Iterable[Path], corner: Corner, cells: Sequence[str]) -> tuple[Path, ...]:
    """Liberty files of the same cells at another corner.

    Parameters
    ----------
    files : iterable of Path
        Files of one corner.
    corner : Corner
        The other corner, from `sibling_corners` of one of the files.
    cells : sequence of str
        Memory macros that are needed. A file that is named after another macro is left out.

    Returns
    -------
    tuple of Path
        In the order of `files`; those that have no file at that corner are missing.
    """
    siblings = (_siblings(path).get(corner) for path in files_of(files, cells))
    return tuple(path for path in siblings if path is not None)


def files_of(files: Iterable[Path], macros: Sequence[str]) -> tuple[Path, ...]:
    """Files without those of single memory macros that are not needed.

    Parameters
    ----------
    files : iterable of Path
        Liberty files.
    macros : sequence of str
        Memory macros that are needed. A file that is named after the size of another one is left out.
    """
    return tuple(
        path for path in files if not re.search(MACRO, path.name) or any(name in path.name for name in macros)
    )
