"""Write folders of results whole or not at all."""

import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

__all__ = ["check_folder", "write_folder"]

MANIFEST = "synth.json"
"""File that marks a folder as a result that may be replaced."""


def check_folder(folder: Path, schema: str) -> None:
    """Refuse a folder that holds anything but an earlier result.

    Parameters
    ----------
    folder : Path
        Folder for the result.
    schema : str
        Schema of the manifest of such results.

    Raises
    ------
    ValueError
        If it is a file, or a folder with other contents.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder}: is a file, a folder is needed")
    if not any(folder.iterdir()):
        return
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        manifest = None
    if not isinstance(manifest, dict) or manifest.get("schema") != schema:
        raise ValueError(f"{folder}: holds other files than a result of this command; it would be replaced as a whole")


def write_folder(folder: Path, contents: Mapping[str, bytes | Path]) -> None:
    """Write a folder under another name, then rename it; an earlier result is replaced.

    Parameters
    ----------
    folder : Path
        The folder, accepted by `check_folder`.
    contents : mapping of str to bytes or Path
        Each file's content, or a file to copy, by name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(4)
    partial = folder.with_name(f".{folder.name}.{token}.partial")
    earlier = folder.with_name(f".{folder.name}.{token}.earlier")
    try:
        partial.mkdir()
        for name, content in contents.items():
            target = partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)
        if folder.exists():
            folder.rename(earlier)
        try:
            partial.rename(folder)
        except OSError:
            if earlier.exists():
                earlier.rename(folder)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(earlier, ignore_errors=True)
