"""Compiled simulators, kept by the hash of everything that goes into them and shared between processes."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lmu_hw.files import cache_folder

__all__ = ["BuildCache", "content_key"]

LIMIT_BYTES = 1 << 30
"""Size up to which entries are kept."""

IN_USE_S = 3600.0
"""An entry used less long ago than this is not evicted, so that no running process loses its simulator."""

STALE_S = 86400.0
"""Age at which the unfinished entry of a killed process is removed."""


def content_key(name: str, *parts: Any) -> str:
    """Name an entry by its content.

    Parameters
    ----------
    name : str
        What the key starts with.
    parts : JSON values
        Everything that decides what is built: sources, options, versions of tools.

    Returns
    -------
    str
        ``name-`` and 128 bits of SHA-256 as hexadecimal digits.
    """
    return f"{name}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"


class BuildCache:
    """A folder of entries, each a folder that is written once and never changed.

    Two processes that need the same entry build it once: the second waits. A process that dies while it builds leaves
    no entry. When entries take more than `limit` bytes, those not used for the longest time go.

    Parameters
    ----------
    folder : Path, optional
        Where entries are kept; ``simulators`` in the user's cache folder by default.
    limit : int
        Bytes.
    """

    def __init__(self, folder: str | Path | None = None, limit: int = LIMIT_BYTES):
        self.folder = Path(folder).resolve() if folder is not None else cache_folder() / "simulators"
        self.limit = limit

    def entry(self, key: str, build: Callable[[Path], None]) -> Path:
        """Find an entry, or build it.

        Parameters
        ----------
        key : str
            From `content_key`.
        build : callable
            Called with an empty folder, into which it writes the entry. It may raise: then there is no entry.

        Returns
        -------
        Path
            Folder of the entry.
        """
        path = self.folder / key
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked(key):
            if path.is_dir():
                os.utime(path)
                return path
            staging = Path(tempfile.mkdtemp(prefix=".building-", dir=self.folder))
            try:
                build(staging)
                staging.rename(path)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        self._evict()
        return path

    @contextlib.contextmanager
    def _locked(self, key: str, wait: bool = True) -> Iterator[None]:
        """Hold an entry's lock; BlockingIOError if another process holds it and `wait` is false."""
        with (self.folder / f"{key}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield

    def _evict(self) -> None:
        """Remove the entries that were not used for the longest time, until the rest is within the limit."""
        now = time.time()
        entries = []
        for path in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process evicts too
                used = path.stat().st_mtime
                if path.name.startswith(".building-"):
                    if now - used > STALE_S:
                        shutil.rmtree(path, ignore_errors=True)
                elif path.is_dir():
                    entries.append((used, _size(path), path))
        total = sum(size for _, size, _ in entries)
        for used, size, path in sorted(entries):
            if total <= self.limit or now - used <= IN_USE_S:
                return
            total -= size
            with contextlib.suppress(BlockingIOError), self._locked(path.name, wait=False):
                if path.is_dir() and path.stat().st_mtime == used:
                    shutil.rmtree(path)
                    (self.folder / f"{path.name}.lock").unlink()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
