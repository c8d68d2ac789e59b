"""Checksums of cached results: an entry that was altered on disk is found, and made anew."""

from pathlib import Path

from lmu_hw.files import file_sha256, write_whole

__all__ = ["is_whole", "seal", "unseal"]

SUFFIX = ".sha256"


def seal(path: Path) -> None:
    """Write the SHA-256 of a file beside it, as ``NAME.sha256``."""
    write_whole(_checksum(path), f"{file_sha256(path)}\n".encode())


def unseal(path: Path) -> None:
    """Drop the checksum of a file that is about to change."""
    _checksum(path).unlink(missing_ok=True)


def is_whole(path: Path) -> bool:
    """Whether a file is there with the content that `seal` saw.

    An entry of an earlier version of this program has no checksum; it gets one when it is first read.
    """
    if not path.is_file():
        return False
    checksum = _checksum(path)
    try:
        if not checksum.is_file():
            seal(path)
        return checksum.read_text(encoding="ascii", errors="replace").strip() == file_sha256(path)
    except OSError:
        return False  # a cache that cannot be read only costs time


def _checksum(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)
