"""The file of a sweep: one line for each finished point, so that an interrupted sweep resumes.

The first line describes the sweep, each further line is an outcome. A line is on the disk before the next point counts
as finished. If the process was killed in the middle of a line, that line is dropped when the file is opened again.
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
    """A file does not belong to this sweep, or is in use."""


class Store:
    """File with the outcomes of a sweep.

    Parameters
    ----------
    path : Path
        The file; created if it does not exist.
    identity : dict
        Everything that the outcomes depend on, as JSON values.

    Raises
    ------
    StoreError
        If the file holds another sweep, is damaged, or another process writes it.
    """

    def __init__(self, path: Path, identity: dict[str, Any]):
        self._path = path
        self._head: dict[str, Any] = {"schema": SCHEMA, "version": VERSION, "sweep": identity}
        self._outcomes: dict[tuple[str, str], Outcome | str] = {}
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
            outcome = entry["refused"] if "refused" in entry else Outcome(**entry["outcome"])
        except (ValueError, TypeError, KeyError):
            raise StoreError(f"{self._path}: line {number} is damaged") from None
        if (tier, key) in self._outcomes:
            raise StoreError(f"{self._path}: line {number} has a point a second time")
        self._outcomes[tier, key] = outcome

    @staticmethod
    def _line(entry: dict[str, Any]) -> bytes:
        return canonical_json(entry).encode() + b"\n"

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(self._line(entry))
        self._file.flush()
        os.fsync(self._file.fileno())

    def get(self, key: str, tier: str = "table") -> Outcome | str | None:
        """Outcome of a point, the reason why it is infeasible, or None if it is not finished."""
        return self._outcomes.get((tier, key))

    def add(self, key: str, outcome: Outcome | str, tier: str = "table") -> None:
        """Store the outcome of a point, or the reason why it is infeasible.

        Raises
        ------
        ValueError
            If the point is done already, or the tier is not one of ``table`` and ``gates``.
        """
        if tier not in TIERS:
            raise ValueError(f"tier must be one of {', '.join(TIERS)}, not {tier!r}")
        if (tier, key) in self._outcomes:
            raise ValueError(f"{key} is done already")
        result = {"refused": outcome} if isinstance(outcome, str) else {"outcome": outcome.to_dict()}
        self._write({"tier": tier, "point": key} | result)
        self._outcomes[tier, key] = outcome

    def __len__(self) -> int:
        return len(self._outcomes)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
