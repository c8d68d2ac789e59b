"""The weight image: a text file with the words for the load port, the shape that they fit, and a checksum.

The first line is JSON with sorted keys and no spaces. Its keys are ``schema``, ``version``, ``model`` (``name`` and
``sha256``), ``shape`` (64 hexadecimal digits, see `lmu_hw.plan.shape`), ``beats`` (32-bit pieces of a word), ``words``
(how many), ``crc32`` and ``sha256``. Each further line is a word: memory, address and data in hexadecimal, by rising
memory and address. The checksum is the CRC-32 of zlib over the values that `Image.writes` gives to LOAD_MEMORY,
LOAD_ADDRESS and LOAD_DATA, each as four bytes, lowest first. ``sha256`` is that of the whole text without this key.
"""

import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmu_hw.files import FileTooLarge, canonical_json, parse_json, read_limited
from lmu_hw.model.program_file import digest
from lmu_hw.plan.load_port import load_beats, load_words
from lmu_hw.plan.plan import Plan
from lmu_hw.plan.shape import ShapeError, identification, shape, shape_digest

__all__ = ["SCHEMA", "VERSION", "Image", "WeightFileError", "make_image", "read_image"]

SCHEMA = "lmu-hw/weight-image"
VERSION = 2
"""Version 1, of lmu-hw 0.2 and earlier, has no ``sha256``; it is read too."""

MOST_BYTES = 1 << 26

KEYS = {"schema", "version", "model", "shape", "beats", "words", "crc32"}


class WeightFileError(ValueError):
    """A weight image was refused; the message is one line that names the file."""


@dataclass(frozen=True)
class Image:
    """Words of a network for accelerators of one shape.

    Parameters
    ----------
    model : str
        Name of the network.
    model_sha256 : str
        Its digest.
    shape : str
        Digest of the accelerator's shape.
    beats : int
        Writes to LOAD_DATA that make a word.
    words : tuple of (int, int, int)
        Memory, address, data.
    """

    model: str
    model_sha256: str
    shape: str
    beats: int
    words: tuple[tuple[int, int, int], ...]

    def writes(self) -> Iterator[tuple[str, int]]:
        """Register writes that load the image, as name and value, in order."""
        yield "LOAD_SHAPE", identification(self.shape)
        memory, address = -1, 0
        for word in self.words:
            if (memory, address) != word[:2]:
                memory, address = word[:2]
                yield "LOAD_MEMORY", memory
                yield "LOAD_ADDRESS", address
            for beat in range(self.beats):
                yield "LOAD_DATA", word[2] >> 32 * beat & 0xFFFF_FFFF
            address += 1

    @property
    def crc32(self) -> int:
        """Checksum of the writes: the value of LOAD_CRC after them."""
        values = (value for name, value in self.writes() if name != "LOAD_SHAPE")
        return zlib.crc32(b"".join(value.to_bytes(4, "little") for value in values))

    def text(self, version: int = VERSION) -> str:
        """Text of the file, also as version 1 has it."""
        header: dict[str, Any] = {
            "schema": SCHEMA,
            "version": version,
            "model": {"name": self.model, "sha256": self.model_sha256},
            "shape": self.shape,
            "beats": self.beats,
            "words": len(self.words),
            "crc32": f"{self.crc32:08x}",
        }
        lines = [f"{memory:x} {address:x} {data:x}" for memory, address, data in self.words]
        if version > 1:
            whole = "\n".join([canonical_json(header), *lines]) + "\n"
            header["sha256"] = hashlib.sha256(whole.encode()).hexdigest()
        return "\n".join([canonical_json(header), *lines]) + "\n"

    def check(self, accelerator: dict[str, Any]) -> None:
        """Refuse an accelerator of another shape.

        Parameters
        ----------
        accelerator : dict
            Its `lmu_hw.plan.shape.shape`.

        Raises
        ------
        ShapeError
            If the image was made for another shape.
        """
        theirs = shape_digest(accelerator)
        if theirs != self.shape:
            raise ShapeError(
                f"the image of {self.model} is for accelerators of shape {self.shape[:8]}, this one has {theirs[:8]}; "
                "write one for it with lmu-hw weights"
            )


def make_image(plan: Plan, accelerator: dict[str, Any] | None = None) -> Image:
    """Make the image of a network.

    Parameters
    ----------
    plan : Plan
        Of the network.
    accelerator : dict, optional
        Shape of the accelerator that the plan was fitted to (`lmu_hw.plan.shape.fitted`); the plan's own if not given.
    """
    described = shape(plan) if accelerator is None else accelerator
    return Image(
        model=plan.model.name,
        model_sha256=digest(plan.model),
        shape=shape_digest(described),
        beats=load_beats(plan),
        words=tuple(load_words(plan)),
    )


def read_image(path: str | Path) -> Image:
    """Read an image that `Image.text` wrote.

    Raises
    ------
    WeightFileError
        If the file is no weight image, or was cut short or altered.
    OSError
        If it cannot be read.
    """
    try:
        return _parse(read_limited(path, MOST_BYTES).decode("ascii"))
    except UnicodeDecodeError:
        raise WeightFileError(f"{path}: not a weight image") from None
    except (WeightFileError, FileTooLarge) as error:
        raise WeightFileError(f"{path}: {error}") from None


def _parse(text: str) -> Image:
    first, _, rest = text.partition("\n")
    try:
        header = parse_json(first)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        raise WeightFileError("not a weight image")
    version = header.get("version")
    if type(version) is not int or version not in (1, VERSION):
        raise WeightFileError(f"version must be {VERSION} (or 1), not {version!r}")
    keys = KEYS | {"sha256"} if version == VERSION else KEYS
    if set(header) != keys:
        raise WeightFileError(f"its header must have the keys {', '.join(sorted(keys))}")
    lines = rest.splitlines()
    if header["words"] != len(lines):
        raise WeightFileError(f"it was cut short or altered: {header['words']} words expected, {len(lines)} found")
    for number, line in enumerate(lines, 2):
        if re.fullmatch(r"[0-9a-f]+ [0-9a-f]+ [0-9a-f]+", line) is None:
            raise WeightFileError(f"line {number} must be memory, address and data in hexadecimal, not {line!r}")
    words = tuple((int(a, 16), int(b, 16), int(c, 16)) for a, b, c in (line.split() for line in lines))
    try:
        image = Image(header["model"]["name"], header["model"]["sha256"], header["shape"], header["beats"], words)
        same = image.text(version) == text
    except (TypeError, KeyError, ValueError, OverflowError):
        same = False
    if not same:
        raise WeightFileError("it was altered: its checksums or its header do not match its words")
    return image
