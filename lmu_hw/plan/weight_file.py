"""The weight image: a text file with the words for the load port, the shape that they fit, and a checksum.

The first line is JSON with sorted keys and no spaces. Its keys are ``schema``, ``version``, ``model`` (``name`` and
``sha256``), ``shape`` (64 hexadecimal digits, see `lmu_hw.plan.shape`), ``beats`` (32-bit pieces of a word), ``words``
(how many) and ``crc32``. Each further line is a word: memory, address and data in hexadecimal, by rising memory and
address. The checksum is the CRC-32 of zlib over the values that `Image.writes` gives to LOAD_MEMORY, LOAD_ADDRESS and
LOAD_DATA, each as four bytes, lowest first.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmu_hw.files import canonical_json, parse_json
from lmu_hw.model.program_file import digest
from lmu_hw.plan.load_port import load_beats, load_words
from lmu_hw.plan.plan import Plan
from lmu_hw.plan.shape import ShapeError, identification, shape, shape_digest

__all__ = ["SCHEMA", "VERSION", "Image", "WeightFileError", "make_image", "read_image"]

SCHEMA = "lmu-hw/weight-image"
VERSION = 1

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

    def text(self) -> str:
        """Text of the file."""
        header = {
            "schema": SCHEMA,
            "version": VERSION,
            "model": {"name": self.model, "sha256": self.model_sha256},
            "shape": self.shape,
            "beats": self.beats,
            "words": len(self.words),
            "crc32": f"{self.crc32:08x}",
        }
        lines = [f"{memory:x} {address:x} {data:x}" for memory, address, data in self.words]
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
        return _parse(Path(path).read_text(encoding="ascii"))
    except UnicodeDecodeError:
        raise WeightFileError(f"{path}: not a weight image") from None
    except WeightFileError as error:
        raise WeightFileError(f"{path}: {error}") from None


def _parse(text: str) -> Image:
    first, _, rest = text.partition("\n")
    try:
        header = parse_json(first)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        raise WeightFileError("not a weight image")
    if header.get("version") != VERSION:
        raise WeightFileError(f"version must be {VERSION}, not {header.get('version')!r}")
    if set(header) != KEYS:
        raise WeightFileError(f"its header must have the keys {', '.join(sorted(KEYS))}")
    lines = rest.splitlines()
    if header["words"] != len(lines):
        raise WeightFileError(f"it was cut short or altered: {header['words']} words expected, {len(lines)} found")
    for number, line in enumerate(lines, 2):
        if re.fullmatch(r"[0-9a-f]+ [0-9a-f]+ [0-9a-f]+", line) is None:
            raise WeightFileError(f"line {number} must be memory, address and data in hexadecimal, not {line!r}")
    words = tuple((int(a, 16), int(b, 16), int(c, 16)) for a, b, c in (line.split() for line in lines))
    try:
        image = Image(header["model"]["name"], header["model"]["sha256"], header["shape"], header["beats"], words)
        same = image.text() == text
    except (TypeError, KeyError, ValueError, OverflowError):
        same = False
    if not same:
        raise WeightFileError("it was altered: its checksum or its header does not match its words")
    return image
