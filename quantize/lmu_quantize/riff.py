"""Check the chunks of a WAV file before a library reads it.

libsndfile takes what it finds: of a truncated file the samples that are left, of some streamed files none. Here the
chunks must fill the file as their headers say. The header of a streamed file gets the length that the file has.
"""

import struct

__all__ = ["RiffError", "readable_wav"]

STREAMED = 0x7FFF0000
"""Programs that write to a pipe put 0 or a length from here up into the header."""

BYTE_ORDER = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">"}

EXPECTED = "expected a WAV file"


class RiffError(ValueError):
    """Bytes are not a whole WAV file; the message says what is wrong at which byte."""


def readable_wav(content: bytes) -> bytes:
    """Check a WAV file, and complete the header of one that was streamed.

    Parameters
    ----------
    content : bytes
        The whole file.

    Returns
    -------
    bytes
        The same, with the length of its samples.

    Raises
    ------
    RiffError
        If it is no WAV file, or a chunk is longer than what is left of the file.
    """
    if len(content) < 12:
        state = "ends inside its header" if content else "is empty"
        raise RiffError(f"{EXPECTED}, this one {state}")
    order = BYTE_ORDER.get(content[:4])
    if order is None or content[8:12] != b"WAVE":
        raise RiffError(f"{EXPECTED} (RIFF and WAVE at its start), found {content[:4]!r} and {content[8:12]!r}")
    position, block, long_size = 12, 0, None
    while position + 8 <= len(content):
        name, size = struct.unpack_from(f"{order}4sL", content, position)
        start = position + 8
        if name == b"data":
            if long_size is not None and size == 0xFFFF_FFFF:
                size, order = long_size, ""
            return _with_length(content, position, size, max(block, 1), order)
        if start + size > len(content):
            raise RiffError(
                f"{EXPECTED}, its chunk {name!r} at byte {position} should have {size} bytes, {len(content) - start} "
                "are left"
            )
        if name == b"fmt " and size >= 16:
            (block,) = struct.unpack_from(f"{order}H", content, start + 12)
        if name == b"ds64" and size >= 24:
            (long_size,) = struct.unpack_from("<Q", content, start + 8)
        position = start + size + size % 2
    raise RiffError(f"{EXPECTED}, this one ends without samples (no whole chunk b'data')")


def _with_length(content: bytes, position: int, size: int, block: int, order: str) -> bytes:
    """The file with the true length of its samples; `order` is empty where the header does not hold it."""
    start = position + 8
    rest = len(content) - start
    if size <= rest and (size or _only_chunks(content, start, order)):
        return content
    if order and (size == 0 or size >= STREAMED):
        return content[: position + 4] + struct.pack(f"{order}L", rest - rest % block) + content[start:]
    raise RiffError(f"truncated: expected {size // block} samples, found {rest // block}")


def _only_chunks(content: bytes, position: int, order: str) -> bool:
    """Whether whole chunks, or none, fill the rest of a file."""
    while position + 8 <= len(content):
        (size,) = struct.unpack_from(f"{order or '<'}L", content, position + 4)
        position += 8 + size + size % 2
    return position == len(content)
