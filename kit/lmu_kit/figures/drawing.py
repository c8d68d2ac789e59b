"""What all pictures have in common, so that the same results give the same bytes with the same matplotlib."""

from contextlib import AbstractContextManager
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["open_frame", "save", "style"]


def style(size: float = 9) -> AbstractContextManager[None]:
    """Context in which a picture is made, with text of so many points."""
    return rc_context({"svg.hashsalt": "lmu-hw", "svg.fonttype": "path", "font.size": size})


def open_frame(axes: Axes) -> None:
    """Take away the lines above and on the right."""
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a picture, SVG or PNG by its suffix, without a date."""
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=dpi)
