"""CSV files, written whole."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmu_hw.tensor_file import write_whole

__all__ = ["write_rows"]


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write a line for each row under the names of the columns.

    Parameters
    ----------
    rows : sequence of mapping
        One or more, with the same keys in the same order.
    path : Path
        The file.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())
