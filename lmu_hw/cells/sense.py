"""Check that a library makes sense, and that its files belong together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmu_hw.cells.corners import parse_corner
from lmu_hw.cells.library import Cell, LibertyFileError
from lmu_hw.cells.special import is_inverter, mean_leakage

__all__ = ["check_leakage", "check_together", "find_main"]

LEAST_LEAKAGE, MOST_LEAKAGE = 1e-18, 1e-3
"""Leakage of an inverter in watt. One outside has another unit than the library says, or none."""

Description = Mapping[str, Any]


def check_leakage(path: Path, cells: Mapping[str, Cell]) -> None:
    """Refuse cells that leak what no cell leaks.

    Parameters
    ----------
    path : Path
        Their file.
    cells : mapping of str to Cell
        Cells by name.

    Raises
    ------
    LibertyFileError
        If a cell leaks less than nothing, or an inverter leaks less than 1 aW or more than 1 mW.
    """
    for cell in cells.values():
        watts = mean_leakage(cell)
        if watts < 0:
            raise LibertyFileError(path, None, f"cell {cell.name} leaks {watts:g} W; at least 0 was expected")
        if is_inverter(cell) and not LEAST_LEAKAGE <= watts <= MOST_LEAKAGE:
            raise LibertyFileError(
                path,
                None,
                f"the inverter {cell.name} leaks {watts:g} W; {LEAST_LEAKAGE:g} to {MOST_LEAKAGE:g} W was expected. "
                "Are the cells without leakage, or is leakage_power_unit wrong?",
            )


def find_main(descriptions: Sequence[Description]) -> int:
    """Index of the file that the library is named after: the first with cells that are no memory macros."""
    return next((index for index, entry in enumerate(descriptions) if _has_logic(entry)), 0)


def check_together(files: Sequence[Path], descriptions: Sequence[Description]) -> tuple[str, ...]:
    """Refuse files of two corners, and say what is unlike in files that may be used together.

    Parameters
    ----------
    files : sequence of Path
        Liberty files.
    descriptions : sequence of mapping
        What each holds, from `lmu_hw.cells.liberty_text.LibertyReader.read`.

    Returns
    -------
    tuple of str
        One sentence for each file of memory macros for another temperature or process factor than the cells, and for
        each file with cells that an earlier file has too.

    Raises
    ------
    LibertyFileError
        If two files are for different voltages, or two files of cells for different temperatures, process factors or,
        by their names, process corners.
    """
    main = find_main(descriptions)
    remarks = []
    known: dict[str, Path] = {}
    for path, entry in zip(files, descriptions, strict=True):
        remarks += _unlike(path, entry, files[main], descriptions[main])
        again = [cell["name"] for cell in entry["cells"] if cell["name"] in known]
        if again:
            remarks.append(
                f"{path}: {len(again)} of its cells are not used, such as {again[0]}, which {known[again[0]]} has too"
            )
        known |= {cell["name"]: path for cell in entry["cells"] if cell["name"] not in known}
    return tuple(remarks)


def _unlike(path: Path, entry: Description, main_path: Path, main: Description) -> list[str]:
    """What is unlike in a file and the main file, if it may be."""
    corners = [None if parsed is None else parsed[1].process for parsed in map(parse_corner, (path, main_path))]
    pairs = [("voltage", " V"), ("temperature", " °C"), ("process", " as process factor")]
    values = [(f"{entry[name]:g}{unit}", f"{main[name]:g}{unit}") for name, unit in pairs]
    differs = [abs(entry[name] - main[name]) > 1e-6 for name, _ in pairs]
    if None not in corners and corners[0] != corners[1]:
        values.append((f"the process corner {corners[0]}", f"the process corner {corners[1]}"))
        differs.append(True)
    texts = [
        f"is for {ours}, {main_path} for {theirs}"
        for (ours, theirs), other in zip(values, differs, strict=True)
        if other
    ]
    if texts and (differs[0] or _has_logic(entry)):
        raise LibertyFileError(path, None, f"{texts[0]}: give files of one corner")
    return [f"{path}: {text}; its macros are taken as they are" for text in texts]


def _has_logic(entry: Description) -> bool:
    return any(cell["memory"] is None for cell in entry["cells"])
