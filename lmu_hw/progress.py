"""How long work tells how far it is."""

from collections.abc import Callable

__all__ = ["Progress", "silent"]

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, the steps done in it, and the steps it has; 0 steps if their number is unknown."""


def silent(stage: str, done: int, total: int) -> None:
    """Take a progress report and say nothing: the default where nobody listens."""
