"""A safetensors file of integer tensors, always the same bytes for the same content.

The layout is the public one of safetensors: the length of the header (64 bits, little endian), the header (JSON, padded
with spaces to 8 bytes), the tensors. Here the widest tensors come first, then by name, so that all are aligned; header
keys are sorted. Reading accepts any order, but no gap, no overlap, and no byte too few or too many.
"""

import hashlib
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmu_hw.files import canonical_json, parse_json

__all__ = [
    "AnyIntArray",
    "TensorFileError",
    "content_digest",
    "dtype_name",
    "pack",
    "smallest",
    "stored_bytes",
    "unpack",
]

DTYPES: dict[str, np.dtype[Any]] = {f"I{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)}

FIXED = 8
"""Bytes of the length in front of the header; the header is padded to a multiple of them."""

AnyIntArray = NDArray[np.signedinteger[Any]]


class TensorFileError(ValueError):
    """Bytes are not a safetensors file of integer tensors."""


def smallest(array: NDArray[np.int64]) -> AnyIntArray:
    """Give an array in the smallest of the file's integer types that holds all its elements."""
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    for dtype in DTYPES.values():
        limits = np.iinfo(dtype)
        if limits.min <= low and high <= limits.max:
            break
    return np.ascontiguousarray(array, dtype=dtype)


def dtype_name(array: AnyIntArray) -> str:
    """Name of an array's type as the file has it."""
    return f"I{8 * array.dtype.itemsize}"


def stored_bytes(array: AnyIntArray) -> bytes:
    """Bytes of an array as the file has them."""
    return array.astype(DTYPES[dtype_name(array)]).tobytes()


def content_digest(tensors: Mapping[str, AnyIntArray], metadata: Mapping[str, str]) -> str:
    """SHA-256 over all that a file holds, as 64 hexadecimal digits.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        Arrays of the file.
    metadata : mapping of str to str
        Texts of its header; ``sha256`` is left out.
    """
    texts = {name: text for name, text in metadata.items() if name != "sha256"}
    digest = hashlib.sha256(canonical_json(texts).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(canonical_json([name, dtype_name(array), list(array.shape)]).encode())
        digest.update(stored_bytes(array))
    return digest.hexdigest()


def pack(tensors: dict[str, AnyIntArray], metadata: dict[str, str]) -> bytes:
    """Make the bytes of a file.

    Parameters
    ----------
    tensors : dict of str to ndarray
        Arrays of 8, 16, 32 or 64-bit signed integers.
    metadata : dict of str to str
        Texts for the header.

    Returns
    -------
    bytes
        The file.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    chunks, position = [], 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name)):
        array = tensors[name]
        raw = stored_bytes(array)
        end = position + len(raw)
        header[name] = {"dtype": dtype_name(array), "shape": list(array.shape), "data_offsets": [position, end]}
        chunks.append(raw)
        position = end
    head = canonical_json(header).encode("ascii")
    head += b" " * (-len(head) % FIXED)
    return b"".join((struct.pack("<Q", len(head)), head, *chunks))


def unpack(data: bytes) -> tuple[dict[str, AnyIntArray], dict[str, str]]:
    """Tensors and metadata of a file.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    tensors : dict of str to ndarray
        Read-only arrays of signed integers.
    metadata : dict of str to str
        Texts of the header, empty if it has none.

    Raises
    ------
    TensorFileError
        If the bytes are not a whole safetensors file of signed integer tensors.
    """
    header, start = _header(data)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise TensorFileError("header: __metadata__ must map names to texts")
    spans = []
    for name, entry in header.items():
        _check_entry(name, entry)
        spans.append((*entry["data_offsets"], name))
    position = 0
    for begin, end, name in sorted(spans):
        if begin != position:
            raise TensorFileError(f"tensor {name!r}: must begin at byte {position} of the data, not {begin}")
        position = end
    if len(data) - start != position:
        problem = "truncated" if len(data) - start < position else "too long"
        raise TensorFileError(f"{problem}: {position} bytes of tensors are announced, {len(data) - start} found")
    tensors = {}
    for begin, end, name in spans:
        flat = np.frombuffer(data[start + begin : start + end], DTYPES[header[name]["dtype"]])
        tensors[name] = flat.reshape(header[name]["shape"])
    return tensors, metadata


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """Give the parsed header and where the tensors start."""
    if len(data) < FIXED:
        raise TensorFileError(f"not a safetensors file, or truncated: only {len(data)} bytes")
    (length,) = struct.unpack_from("<Q", data)
    if length > len(data) - FIXED:
        raise TensorFileError(
            f"not a safetensors file, or truncated: a header of {length} bytes is announced, {len(data) - FIXED} found"
        )
    try:
        header = parse_json(data[FIXED : FIXED + length].decode("utf-8"))
    except ValueError as error:
        raise TensorFileError(f"not a safetensors file: its header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise TensorFileError("not a safetensors file: its header is not a JSON object")
    return header, FIXED + length


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 1 << 62 for number in value)


def _check_entry(name: str, entry: Any) -> None:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise TensorFileError(f"tensor {name!r}: must have exactly dtype, shape and data_offsets")
    if entry["dtype"] not in tuple(DTYPES):
        raise TensorFileError(f"tensor {name!r}: dtype must be one of {', '.join(DTYPES)}, not {entry['dtype']!r}")
    if not _naturals(entry["shape"]) or not _naturals(entry["data_offsets"]) or len(entry["data_offsets"]) != 2:
        raise TensorFileError(f"tensor {name!r}: shape and data_offsets must be lists of integers from 0 up")
    begin, end = entry["data_offsets"]
    size = math.prod(entry["shape"]) * DTYPES[entry["dtype"]].itemsize
    if end - begin != size:
        raise TensorFileError(f"tensor {name!r}: must take {size} bytes, not {end - begin}")
