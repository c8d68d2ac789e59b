"""Read Liberty files.

The result is kept in the user's cache folder by the hash of the file, because text of 10 MB takes seconds to read.
"""

import hashlib
import io
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.cells.expression import Expression
from lmu_hw.cells.liberty_text import LibertyReader, parse_groups
from lmu_hw.cells.library import (
    Cell,
    InternalPower,
    Leakage,
    LibertyError,
    Library,
    MacroMemory,
    Pin,
    Sequential,
    Setup,
    Table,
    TimingArc,
)
from lmu_hw.files import cache_folder, read_unzipped

__all__ = ["read_liberty", "read_text"]

FloatArray = NDArray[np.float64]

SCHEMA = 6
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
        return read_unzipped(path).decode("utf-8", errors="replace")
    except (OSError, EOFError) as error:
        raise LibertyError(f"cannot read {path}: {error}") from None


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
        if values.size != shape[0] * shape[1]:
            raise LibertyError(f"a table has {values.size} values for {shape[0]} transition times and {shape[1]} loads")
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


def _described(text: str, where: str, key: str) -> tuple[dict[str, Any], FloatArray]:
    """Description and numbers of a file, from the cache; read and cached if they are not there."""
    cached = cache_folder() / "liberty" / f"{key}-{SCHEMA}.npz"
    try:
        with np.load(cached, allow_pickle=False) as stored:
            return json.loads(stored["header"].tobytes()), stored["numbers"]
    except (OSError, ValueError, KeyError):
        pass
    reader = LibertyReader(parse_groups(text, where), where)
    description = reader.read(text)
    numbers = reader.pool.array()
    buffer = io.BytesIO()
    np.savez(buffer, header=np.frombuffer(json.dumps(description).encode(), dtype=np.uint8), numbers=numbers)
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
        All cells. The first one counts if several files have a cell of the same name.

    Raises
    ------
    LibertyError
        If a file cannot be read, or the files are for different voltages.
    """
    files = (Path(paths),) if isinstance(paths, str | Path) else tuple(Path(path) for path in paths)
    if not files:
        raise LibertyError("no Liberty file was given")
    cells: dict[str, Cell] = {}
    hashes = []
    first: dict[str, Any] = {}
    for path in files:
        text = read_text(path)
        key = hashlib.sha256(text.encode()).hexdigest()
        description, numbers = _described(text, str(path), key)
        first = first or description
        if abs(description["voltage"] - first["voltage"]) > 1e-6:
            raise LibertyError(
                f"{path} is for {description['voltage']:g} V, {files[0]} for {first['voltage']:g} V: "
                "give files of one corner"
            )
        builder = _Builder(numbers)
        for data in description["cells"]:
            cells.setdefault(data["name"], builder.cell(data))
        hashes.append(key)
    names = {name: first[name] for name in ("name", "voltage", "temperature", "process", "corner")}
    return Library(cells=cells, files=files, hashes=tuple(hashes), **names)
