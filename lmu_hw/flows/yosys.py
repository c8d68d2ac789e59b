"""Yosys scripts."""

import os
from pathlib import Path

from lmu_hw.files import cache_folder
from lmu_hw.tools import ToolError, find_yosys, run_tool

__all__ = ["run_yosys", "scratch_folder"]


def scratch_folder() -> Path:
    """A folder that exists for Yosys too: YoWASP has a ``/tmp`` of its own.

    Raises
    ------
    ToolError
        If there is none.
    """
    for folder in (cache_folder() / "synth", Path("/var/tmp"), Path.cwd()):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if Path("/tmp") not in folder.resolve().parents and os.access(folder, os.W_OK):
            return folder
    raise ToolError("no writable folder outside /tmp was found for Yosys; set XDG_CACHE_HOME to one")


def run_yosys(script: str, directory: Path, timeout: float = 3600) -> str:
    """Run a script.

    Parameters
    ----------
    script : str
        Commands, one a line; files are named relative to the directory.
    directory : Path
        Working directory. It must not be under ``/tmp``, which YoWASP replaces with a folder of its own.
    timeout : float
        Seconds.

    Returns
    -------
    str
        Yosys's log.

    Raises
    ------
    ToolError
        If Yosys is missing, fails (with its last lines), or does not end in time.
    """
    (directory / "script.ys").write_text(script)
    printed = run_tool(find_yosys(), ["-q", "-l", "yosys.log", "-s", "script.ys"], directory, timeout)
    log = directory / "yosys.log"
    return log.read_text(errors="replace") if log.exists() else printed
