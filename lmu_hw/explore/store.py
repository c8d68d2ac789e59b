"""The file of a sweep: one line for each point that is done, so that a sweep that was stopped goes on where it was.

The first line says which sweep it is, every further one is an outcome. A line is on the disk before the next point is
counted as done; a line that a kill cut off is dropped when the file is opened again.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from lmu_hw.explore.points import Outcome
from lmu_hw.files import canonical_json, parse_json

__all__ = ["Store", "StoreError"]

SCHEMA = "lmu-hw/sweep"
VERSION = 1

TIERS = ("table", "gates")


class StoreError(ValueError):
    """A file is not that of this sweep, or is in use; one line."""


class Store:
    """Outcomes of a sweep, in a file.

    Parameters
    ----------
    path : Path
        The file; made if it is not there.
    identity : dict
        JSON of what the outcomes depend on.

    Raises
    ------
    StoreError
        If the file holds another sweep, is damaged, or another process writes it.
    """

    def __init__(self, path: Path, identity: dict[str, Any]):
        self._path = path
        self._head: dict[str, Any] = {"schema": SCHEMA, "version": VERSION, "sweep": identity}
        self._found: dict[tuple[str, str], Outcome | str] = {}
        self._file: IO[bytes] = path.open("a+b")
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"{self._path}: another sweep is writing this file") from None
        self._file.seek(0)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.splitlines()
        if lines:
            self._check_head(lines[0])
        elif data and not self._line(self._head).startswith(data):
            raise StoreError(f"{self._path}: not the file of a sweep")
        for number, line in enumerate(lines[1:], start=2):
            self._read(number, line)
        if len(whole) != len(data):
            self._file.truncate(len(whole))
        if not lines:
            self._write(self._head)

    def _check_head(self, line: bytes) -> None:
        try:
            head = parse_json(line)
        except ValueError:
            head = None
        if not isinstance(head, dict) or head.get("schema") != SCHEMA:
            raise StoreError(f"{self._path}: not the file of a sweep")
        identity, written = self._head["sweep"], head.get("sweep")
        if isinstance(written, dict) and written.get("lmu-hw") != identity.get("lmu-hw"):
            raise StoreError(
                f"{self._path}: written by lmu-hw {written.get('lmu-hw')}, this is {identity.get('lmu-hw')}, which may "
                "predict other energies; run the sweep again in another folder"
            )
        if head != self._head:
            raise StoreError(
                f"{self._path}: holds another sweep, or its networks or tables have changed; give another folder, or "
                "remove the file"
            )

    def _read(self, number: int, line: bytes) -> None:
        try:
            entry = parse_json(line)
            tier, key = entry["tier"], entry["point"]
            found = entry["refused"] if "refused" in entry else Outcome(**entry["outcome"])
        except (ValueError, TypeError, KeyError):
            raise StoreError(f"{self._path}: line {number} is damaged") from None
        if (tier, key) in self._found:
            raise StoreError(f"{self._path}: line {number} has a point a second time")
        self._found[tier, key] = found

    @staticmethod
    def _line(entry: dict[str, Any]) -> bytes:
        return canonical_json(entry).encode() + b"\n"

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(self._line(entry))
        self._file.flush()
        os.fsync(self._file.fileno())

    def get(self, key: str, tier: str = "table") -> Outcome | str | None:
        """Outcome of a point, the reason why there is none, or None if it is not done."""
        return self._found.get((tier, key))

    def add(self, key: str, found: Outcome | str, tier: str = "table") -> None:
        """Keep the outcome of a point, or the reason why there is none.

        Raises
        ------
        ValueError
            If the point is done already, or the tier is not one of ``table`` and ``gates``.
        """
        if tier not in TIERS:
            raise ValueError(f"tier must be one of {', '.join(TIERS)}, not {tier!r}")
        if (tier, key) in self._found:
            raise ValueError(f"{key} is done already")
        result = {"refused": found} if isinstance(found, str) else {"outcome": found.to_dict()}
        self._write({"tier": tier, "point": key} | result)
        self._found[tier, key] = found

    def __len__(self) -> int:
        return len(self._found)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
