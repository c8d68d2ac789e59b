"""Limits on what a model file may expand to, checked before it is unpacked."""

import math
import zipfile
from collections.abc import Iterable, Sequence

__all__ = ["MOST_NUMBERS", "check_archive", "check_numbers"]

MOST_NUMBERS = 1 << 25
"""Numbers in a model file, 33 million: more than a hundred times the largest network that ships."""

MOST_BYTES = 1 << 29
"""Bytes of a member of an archive, unpacked."""

MOST_EXPANSION, SMALL = 200, 1 << 24
"""A member of more than `SMALL` bytes may be so many times as large as its packed bytes."""


def check_archive(archive: zipfile.ZipFile, names: Iterable[str]) -> None:
    """Refuse members of a zip that expand without bound; the sizes are those of its directory.

    Raises
    ------
    ValueError
        If a member has too many bytes.
    """
    for name in names:
        member = archive.getinfo(name)
        size, packed = member.file_size, member.compress_size
        if size > MOST_BYTES or (size > SMALL and size > MOST_EXPANSION * packed):
            raise ValueError(
                f"{name} has {size} bytes in {packed} packed ones; at most {MOST_BYTES} bytes, and {MOST_EXPANSION} "
                "times the packed ones, are unpacked"
            )


def check_numbers(name: str, shape: Sequence[int]) -> None:
    """Refuse an array that is larger than the weights of any network.

    Raises
    ------
    ValueError
        If it has more than `MOST_NUMBERS` elements.
    """
    if math.prod(shape) > MOST_NUMBERS:
        raise ValueError(f"{name} has shape {tuple(shape)}; at most {MOST_NUMBERS} numbers are read")
