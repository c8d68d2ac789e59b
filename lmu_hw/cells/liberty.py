"""Read Liberty files.

The result is kept in the user's cache folder by the hash of the file, because text of 10 MB takes seconds to read.
"""

import contextlib
import hashlib
import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.expression import Expression
from lmu_hw.cells.liberty_groups import parse_groups
from lmu_hw.cells.liberty_text import LibertyReader
from lmu_hw.cells.library import (
    Cell,
    InternalPower,
    Leakage,
    LibertyError,
    LibertyFileError,
    Library,
    MacroMemory,
    Pin,
    Sequential,
    Setup,
    Table,
    TimingArc,
)
from lmu_hw.cells.sense import check_leakage, check_together, find_main
from lmu_hw.files import MOST_TEXT, FileTooLarge, cache_folder, read_unzipped

__all__ = ["read_liberty", "read_text"]

FloatArray = NDArray[np.float64]

SCHEMA = 7
"""Version of the cache files. Raise it when what is read, or how it is stored, changes."""


def read_text(path: str | Path) -> str:
    """Read a text file that may be compressed with gzip.

    Raises
    ------
    LibertyError
        If there is no such file, or it is not text.
    """
    path = Path(path)
    try:
        return read_unzipped(path, MOST_TEXT).decode("utf-8", errors="replace")
    except (OSError, EOFError, zlib.error, FileTooLarge) as error:
        raise LibertyFileError(path, None, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _expression(text: str) -> Expression | None:
    return Expression(text) if text.strip() else None


class _Builder:
    """Makes typed cells of the description that `LibertyReader.read` gives."""

    def __init__(self, numbers: FloatArray):
        self.numbers = numbers
        numbers.flags.writeable = False

    def slice(self, start: int, length: int) -> FloatArray:
        return self.numbers[start : start + length]

    def table(self, reference: list[Any] | None) -> Table | None:
        if reference is None:
            return None
        slews, loads, values = (self.slice(*span) for span in reference[:3])
        shape = max(slews.size, 1), max(loads.size, 1)
        return Table(slews, loads, values.reshape(shape[::-1]).T if reference[3] else values.reshape(shape))

    def pin(self, data: dict[str, Any]) -> Pin:
        rise, fall = (value or 0.0 for value in data["capacitance"])
        upper = (other if value is None else value for value, other in zip(data["upper"], (rise, fall), strict=True))
        upper_rise, upper_fall = upper
        return Pin(
            name=data["name"],
            direction=data["direction"],
            rise_capacitance=rise,
            fall_capacitance=fall,
            upper_rise_capacitance=upper_rise,
            upper_fall_capacitance=upper_fall,
            max_capacitance=data["max_capacitance"],
            max_transition=data["max_transition"],
            function=_expression(data["function"]),
            three_state=_expression(data["three_state"]),
            clock=data["clock"],
            role=data["role"],
            voltage=data["voltage"],
            power=tuple(
                InternalPower(related, _expression(when), self.table(rise), self.table(fall), supply)
                for related, when, rise, fall, supply in data["power"]
            ),
            timing=tuple(
                TimingArc(related, sense, kind, *map(self.table, tables))
                for related, sense, kind, *tables in data["timing"]
            ),
            setup=tuple(
                Setup(related, rising, *map(self.table, tables))
                for related, rising, *tables in data["setup"]
            ),
        )

    def cell(self, data: dict[str, Any]) -> Cell:
        return Cell(
            name=data["name"],
            area=data["area"],
            pins={pin["name"]: self.pin(pin) for pin in data["pins"]},
            leakage=data["leakage"],
            leakages=tuple(
                Leakage(state["power"], _expression(state["when"]), state["supply"]) for state in data["leakages"]
            ),
            sequentials=tuple(
                Sequential(
                    kind=sequential["kind"],
                    state=sequential["state"],
                    inverse=sequential["inverse"],
                    **{name: _expression(sequential[name]) for name in ("data", "clock", "clear", "preset")},
                )
                for sequential in data["sequentials"]
            ),
            clock_gating=data["clock_gating"],
            dont_use=data["dont_use"],
            memory=None if data["memory"] is None else MacroMemory(*data["memory"]),
            supplies=data["supplies"],
            has_state_table=data["has_state_table"],
        )


def _digest(header: bytes, numbers: FloatArray) -> bytes:
    return hashlib.sha256(header + numbers.tobytes()).digest()


def _described(text: str, where: str, key: str) -> tuple[dict[str, Any], FloatArray]:
    """Description and numbers of a file, from the cache; read and cached if they are not there."""
    cached = cache_folder() / "liberty" / f"{key}-{SCHEMA}.npz"
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        with np.load(io.BytesIO(cached.read_bytes()), allow_pickle=False) as stored:
            header, numbers = stored["header"].tobytes(), stored["numbers"]
            if stored["sha256"].tobytes() == _digest(header, numbers):
                return json.loads(header), numbers
    reader = LibertyReader(parse_groups(text, where))
    description = reader.read()
    numbers = reader.pool.array()
    header, buffer = json.dumps(description).encode(), io.BytesIO()
    parts = [np.frombuffer(part, np.uint8) for part in (header, _digest(header, numbers))]
    np.savez(buffer, numbers=numbers, header=parts[0], sha256=parts[1])
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cached.parent, delete=False) as file:
            file.write(buffer.getvalue())
        Path(file.name).replace(cached)
    except OSError:
        pass  # a read-only cache only costs time
    return description, numbers


def read_liberty(paths: str | Path | Iterable[str | Path]) -> Library:
    """Read Liberty files of one corner.

    Parameters
    ----------
    paths : path or iterable of paths
        Files, plain or compressed with gzip.

    Returns
    -------
    Library
        All cells. The first one counts if several files have a cell of the same name; `Library.remarks` says so. The
        conditions are those of the first file that has cells other than memory macros.

    Raises
    ------
    LibertyError
        If a file cannot be read or makes no sense, or the files are for different corners.
    """
    files = (Path(paths),) if isinstance(paths, str | Path) else tuple(Path(path) for path in paths)
    if not files:
        raise LibertyError("no Liberty file was given")
    cells: dict[str, Cell] = {}
    descriptions, hashes = [], []
    for path in files:
        text = read_text(path)
        hashes.append(hashlib.sha256(text.encode()).hexdigest())
        description, numbers = _described(text, str(path), hashes[-1])
        descriptions.append(description)
        builder = _Builder(numbers)
        own = {data["name"]: builder.cell(data) for data in description["cells"]}
        check_leakage(path, own)
        cells = own | cells
    remarks = check_together(files, descriptions)
    main = descriptions[find_main(descriptions)]
    names = {name: main[name] for name in ("name", "voltage", "temperature", "process", "corner")}
    unit = descriptions[0]["time_unit"]
    return Library(cells=cells, files=files, hashes=tuple(hashes), time_unit=unit, remarks=remarks, **names)
