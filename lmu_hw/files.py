"""Files of one piece: written whole or not at all; JSON that leaves nothing to choose; CSV."""

import contextlib
import csv
import gzip
import hashlib
import io
import json
import os
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "FileTooLarge", "cache_folder", "canonical_json", "check_writable", "file_sha256", "is_sealed", "parse_json",
    "read_limited", "read_unzipped", "sealed", "write_rows", "write_whole",
]  # fmt: skip

MOST_TEXT = 1 << 28
"""Most bytes of a text file of a process design kit; SKY130's longest has 16 MB."""


def cache_folder() -> Path:
    """Folder for results that can be computed again: ``$XDG_CACHE_HOME/lmu-hw``, by default ``~/.cache/lmu-hw``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lmu-hw"


def canonical_json(value: Any) -> str:
    """JSON text with sorted keys and nothing to choose, ASCII only.

    Raises
    ------
    ValueError
        If the value is not JSON; NaN and infinities are not.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with the SHA-256 of all its other keys under ``sha256``."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return {**rest, "sha256": hashlib.sha256(canonical_json(rest).encode()).hexdigest()}


def is_sealed(content: Mapping[str, Any]) -> bool:
    """Whether the ``sha256`` of a JSON object is that of its other keys."""
    return "sha256" in content and sealed(content)["sha256"] == content["sha256"]


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError(f"a key is given twice among {sorted(values)}")
    return values


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def parse_json(text: str | bytes) -> Any:
    """Value of a JSON text; a repeated key, NaN and infinities are refused with `ValueError`."""
    try:
        return json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


class FileTooLarge(ValueError):
    """A file has more bytes than its reader takes, as it is or unpacked.

    Parameters
    ----------
    most : int
        Bytes that are taken.
    unpacked : bool
        Whether the bytes after unpacking are too many.
    """

    def __init__(self, most: int, unpacked: bool = False):
        super().__init__(f"has over {most >> 20} MiB{' when unpacked' if unpacked else ''}, which is not read")
        self.most = most
        self.unpacked = unpacked


def read_limited(path: str | os.PathLike[str], most: int) -> bytes:
    """Bytes of a file or pipe, of which not more than `most` are read.

    Raises
    ------
    FileTooLarge
        If it has more bytes.
    OSError
        If it cannot be read.
    """
    with Path(path).open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise FileTooLarge(most)
    return data


def read_unzipped(path: str | os.PathLike[str], most: int = MOST_TEXT) -> bytes:
    """Bytes of a file, unpacked if it is compressed with gzip.

    Parameters
    ----------
    path : path-like
        The file.
    most : int
        Bytes that it may have, as it is and unpacked.

    Raises
    ------
    FileTooLarge
        If it has more bytes.
    OSError, EOFError, zlib.error
        If it cannot be read, or is damaged.
    """
    data = read_limited(path, most)
    if data[:2] != b"\x1f\x8b":
        return data
    with gzip.open(io.BytesIO(data)) as file:
        unpacked = file.read(most + 1)
    if len(unpacked) > most:
        raise FileTooLarge(most, unpacked=True)
    return unpacked


def check_writable(path: Path) -> None:
    """Refuse a file that cannot be written, before the work is done; nothing is left behind.

    Parameters
    ----------
    path : Path
        The file; its folder need not exist yet.

    Raises
    ------
    OSError
        If it is a folder, or the folder takes no files.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; a file name is needed")
    folder = path.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({folder}: {error.strerror})") from None


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all: beside the target first, then renamed over it.

    Parameters
    ----------
    path : path-like
        The file; one that exists is replaced.
    data : bytes
        Its content.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
        raise


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a line for each row under the names of the columns.

    Parameters
    ----------
    rows : sequence of mapping
        One or more, with the same keys in the same order.
    path : Path
        The file.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())
