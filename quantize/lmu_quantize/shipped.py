"""Texts that are given as a file or as the name of one that is shipped."""

from pathlib import Path

__all__ = ["RECIPES", "read_given"]

RECIPES = Path(__file__).parent / "train" / "recipes"
"""Folder of the recipes that are shipped."""


def read_given(given: str | Path, folder: Path, what: str) -> str:
    """Read a JSON file, or the one of that name in a folder of shipped ones.

    Parameters
    ----------
    given : str or Path
        A file, or a shipped name with or without ``.json``.
    folder : Path
        Holds the shipped ones.
    what : str
        What they are, for messages.

    Raises
    ------
    FileNotFoundError
        There is neither; the message lists the shipped names.
    """
    path = Path(given)
    if not path.is_file():
        path = folder / f"{path.name.removesuffix('.json')}.json"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in folder.glob("*.json")))
        raise FileNotFoundError(f"{given}: no such file, and no shipped {what} of that name (there are: {known})")
    return path.read_text()
