"""What each step of a run was made of and what it made, as hashes in one file."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lmu_hw.files import canonical_json, file_sha256, write_whole
from lmu_kit.models import read_object

__all__ = ["MANIFEST", "Manifest", "hash_of", "hash_recordings"]

MANIFEST = "manifest.json"
SCHEMA = "lmu-hw/run"
CONTENT = "the manifest of a run"


def hash_of(value: Any) -> str:
    """SHA-256 of a JSON value, or of a file given by its path."""
    if isinstance(value, Path):
        return file_sha256(value)
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def hash_recordings(folder: Path, cache: Path) -> str:
    """Hash of all recordings and lists in a folder.

    Files are read once: their hashes are kept, and hold as long as a file's size and time stay.

    Parameters
    ----------
    folder : Path
        The recordings.
    cache : Path
        JSON file of the hashes of single files.

    Returns
    -------
    str
        SHA-256 of all names and contents.
    """
    known = read_object(cache, "hashes of recordings") if cache.is_file() else {}
    files: dict[str, list[Any]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (".wav", ".txt") and path.is_file():
            name, state = path.relative_to(folder).as_posix(), path.stat()
            stamp = [state.st_size, state.st_mtime_ns]
            old = known.get(name)
            files[name] = old if old and old[:2] == stamp else [*stamp, hash_of(path)]
    if files != known:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_whole(cache, (json.dumps(files) + "\n").encode())
    return hash_of({name: entry[2] for name, entry in files.items()})


class Manifest:
    """The record of the steps in a folder.

    Parameters
    ----------
    folder : Path
        Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / MANIFEST
        content = read_object(self._path, CONTENT) if self._path.is_file() else {}
        self.steps: dict[str, dict[str, Any]] = content.get("steps", {})

    def begin(self, step: str, inputs: Mapping[str, str]) -> bool:
        """Note that a step starts.

        Returns
        -------
        bool
            Whether it was started before with the same inputs, and not finished.
        """
        before = self.steps.get(step, {})
        again = before.get("inputs") == dict(inputs) and not before.get("files")
        self.steps[step] = {"inputs": dict(inputs), "files": {}}
        self._write()
        return again

    def finish(self, step: str, files: Iterable[Path], seconds: float, tools: Mapping[str, str]) -> None:
        """Note what a step made, in how many seconds and with which tools."""
        hashes = {file.relative_to(self.folder).as_posix(): hash_of(file) for file in files}
        self.steps[step] |= {"files": hashes, "seconds": round(seconds, 3), "tools": dict(tools)}
        self._write()

    def changed(self, step: str, inputs: Mapping[str, str]) -> list[str]:
        """What differs from the last finished run of a step: names of inputs or files; empty if nothing does."""
        entry = self.steps.get(step, {})
        if not entry.get("files"):
            return ["not run yet"]
        old = entry["inputs"]
        differing = [name for name in {**old, **inputs} if old.get(name) != inputs.get(name)]
        for name, known in entry["files"].items():
            path = self.folder / name
            if not path.is_file() or hash_of(path) != known:
                differing.append(name)
        return differing

    def files(self, step: str) -> dict[str, str]:
        """Hashes of what a step made, by path in the folder."""
        return dict(self.steps.get(step, {}).get("files", {}))

    def _write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {"schema": SCHEMA, "steps": self.steps}
        write_whole(self._path, (json.dumps(content, indent=2) + "\n").encode())
