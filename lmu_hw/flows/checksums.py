"""Checksums of cached results: an entry that was altered on disk is found, and made anew."""

import hashlib
from pathlib import Path

from lmu_hw.files import write_whole

__all__ = ["is_whole", "seal"]

SUFFIX = ".sha256"


def seal(path: Path) -> None:
    """Write the SHA-256 of a file beside it, as ``NAME.sha256``."""
    write_whole(path.with_name(path.name + SUFFIX), f"{_digest(path)}\n".encode())


def is_whole(path: Path) -> bool:
    """Whether a file is there with the content that `seal` saw.

    An entry of an earlier version of this program has no checksum; it gets one when it is first read.
    """
    if not path.is_file():
        return False
    checksum = path.with_name(path.name + SUFFIX)
    try:
        if not checksum.is_file():
            seal(path)
        return checksum.read_text(encoding="ascii", errors="replace").strip() == _digest(path)
    except OSError:
        return False  # a cache that cannot be read only costs time


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
