"""Builds and runs cocotb benches in Icarus Verilog or Verilator, with every way to fail made loud.

The runner of cocotb works in a child process here: a time limit then ends the simulator too, environment variables of
the caller cannot change what is run, and the verdict is read from the results file, whoever calls.
"""

import enum
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmu_hw.tools import ToolError, find_icarus, find_verilator

__all__ = ["WAVES", "Build", "Simulator", "SimulatorError", "build", "run"]


class Simulator(enum.Enum):
    """A Verilog simulator."""

    ICARUS = "icarus"
    """Icarus Verilog, interpreted: starts at once, four-valued."""
    VERILATOR = "verilator"
    """Verilator, compiled to C++: some seconds to build, then much faster; two-valued."""


class SimulatorError(RuntimeError):
    """A simulator failed to build or run, or ran other tests than it should."""


@dataclass(frozen=True)
class Build:
    """A compiled bench.

    Parameters
    ----------
    simulator : Simulator
        Which one.
    directory : Path
        Where it is.
    top : str
        Name of the bench module.
    waves : bool
        Whether runs write waveforms, to `WAVES`.
    """

    simulator: Simulator
    directory: Path
    top: str
    waves: bool


WAVES = "waves.vcd"
"""Waveforms, in the directory of a run."""

MAKE_VARIABLES = {
    "CXX": "g++",
    "LINK": "g++",
    "AR": "ar",
    "PYTHON3": sys.executable,
    "CFG_CXXFLAGS_PCH_I": "-include",
    "OPT_FAST": "-O1",
    "OPT_SLOW": "-O0",
    "OPT_GLOBAL": "-O0",
}
"""Make variables for Verilator: the tools of this machine, not of the one that the package was built on."""

VERILATOR_ARGUMENTS = ("--no-timing", "--no-public-flat-rw", "-Wno-fatal", "-Wno-lint", "-O3", "--x-assign", "unique")
NOT_INHERITED = ("COCOTB_", "GPI_", "PYTEST_CURRENT_TEST", "WAVES", "GUI", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")


def _environment(simulator: Simulator) -> dict[str, str]:
    """Environment in which cocotb finds the simulator, without the caller's variables that would change a run."""
    tool = find_icarus() if simulator is Simulator.ICARUS else find_verilator()
    environment = {name: value for name, value in tool.env.items() if not name.startswith(NOT_INHERITED)}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    if simulator is Simulator.VERILATOR:
        environment["MAKEFLAGS"] = " ".join(f"{name}={value}" for name, value in MAKE_VARIABLES.items())
    return environment


def _child(job: dict[str, Any], simulator: Simulator, timeout: float, directory: Path) -> None:
    """Run a job of cocotb's runner in a process of its own, ended with all that it started after `timeout` seconds."""
    log = directory / f"{job['action']}.log"
    command = [sys.executable, "-m", "lmu_sim.runner", json.dumps(job)]
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            env=_environment(simulator),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            late = f"{simulator.value} took more than {timeout:g} s to {job['action']}, see {log}"
            raise SimulatorError(late) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise SimulatorError(f"{simulator.value} failed to {job['action']} (exit code {code}), see {log}:\n{tail}")


def build(
    simulator: Simulator,
    sources: Mapping[str, str],
    top: str,
    directory: str | Path,
    *,
    waves: bool = False,
    timeout: float = 600.0,
) -> Build:
    """Compile a bench, or find it compiled from the same sources before.

    Parameters
    ----------
    simulator : Simulator
        Which one.
    sources : mapping of str to str
        Text of each file by name; names that end in ``.vh`` are for inclusion only.
    top : str
        Name of the bench module.
    directory : str or Path
        Where builds are kept, each in a folder named by its hash.
    waves : bool
        Whether runs write waveforms. With Icarus Verilog the bench must do that, if ``LMU_WAVES`` is defined.
    timeout : float
        Seconds.

    Returns
    -------
    Build
        For `run`.

    Raises
    ------
    ToolError
        If a tool is missing.
    SimulatorError
        If the sources do not compile.
    """
    tool = find_icarus() if simulator is Simulator.ICARUS else find_verilator()
    arguments = _build_arguments(simulator, waves)
    digest = _hash([tool.version, tool.command, top, waves, arguments, MAKE_VARIABLES, dict(sources)])
    parent = Path(directory).resolve()
    place = parent / f"{simulator.value}-{digest}"
    if (place / "built").is_file():
        return Build(simulator, place, top, waves)
    if simulator is Simulator.VERILATOR and any(letter.isspace() for letter in str(place)):
        raise ToolError(f"Verilator cannot build in a folder with a space in its name, choose another than '{parent}'")
    parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name, text in sources.items():
        (place / name).write_text(text)
    job = {
        "action": "build",
        "simulator": simulator.value,
        "arguments": {
            "sources": [str(place / name) for name in sources if not name.endswith(".vh")],
            "includes": [str(place)],
            "defines": {"LMU_WAVES": 1} if waves and simulator is Simulator.ICARUS else {},
            "waves": waves and simulator is Simulator.VERILATOR,
            "hdl_toplevel": top,
            "build_dir": str(place),
            "timescale": ["1ns", "1ns"],
            "build_args": arguments,
            "always": True,
        },
    }
    # What Verilator compiles equally for every design takes half of the time of a build.
    runtime = parent / f"runtime-{_hash([tool.version, waves, VERILATOR_ARGUMENTS, MAKE_VARIABLES])}"
    for compiled in runtime.glob("*.o"):
        shutil.copy2(compiled, place)
    _child(job, simulator, timeout, place)
    if simulator is Simulator.VERILATOR and not runtime.exists():
        _keep(sorted(place.glob("verilated*.o")), runtime)
    (place / "built").touch()
    return Build(simulator, place, top, waves)


def _keep(compiled: Sequence[Path], runtime: Path) -> None:
    """Keep compiled files for other builds."""
    folder = Path(tempfile.mkdtemp(dir=runtime.parent))
    for path in compiled:
        shutil.copy2(path, folder)
    try:
        folder.rename(runtime)
    except OSError:  # another process was first
        shutil.rmtree(folder)


def _hash(described: Any) -> str:
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def _build_arguments(simulator: Simulator, waves: bool) -> list[str]:
    if simulator is Simulator.ICARUS:
        return []
    return [*VERILATOR_ARGUMENTS, *(("--trace-underscore",) if waves else ())]


def run(
    built: Build,
    module: str,
    expected: int,
    directory: str | Path,
    *,
    files: Mapping[str, str] | None = None,
    plusargs: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    timeout: float = 600.0,
) -> None:
    """Run the cocotb tests of a module, and insist that all of them ran and passed.

    Parameters
    ----------
    built : Build
        From `build`.
    module : str
        Dotted name of the Python module with the tests.
    expected : int
        How many tests there are, at least 1.
    directory : str or Path
        Working directory of the simulator.
    files : mapping of str to str, optional
        Files to write there first.
    plusargs : sequence of str
        For the simulator, each with its plus sign.
    environment : mapping of str to str, optional
        More environment variables.
    timeout : float
        Seconds.

    Raises
    ------
    SimulatorError
        If the simulator failed, took too long, a test failed, or another number of tests ran.
    """
    if expected < 1:
        raise ValueError(f"expected must be at least 1, not {expected!r}")
    place = Path(directory).resolve()
    place.mkdir(parents=True, exist_ok=True)
    for name, text in (files or {}).items():
        (place / name).write_text(text)
    icarus = built.simulator is Simulator.ICARUS
    results = place / "results.xml"
    results.unlink(missing_ok=True)
    job = {
        "action": "run",
        "simulator": built.simulator.value,
        "vcd": built.waves and icarus,
        "arguments": {
            "test_module": module,
            "hdl_toplevel": built.top,
            "hdl_toplevel_lang": "verilog",
            "build_dir": str(built.directory),
            "test_dir": str(place),
            "results_xml": str(results),
            "plusargs": list(plusargs),
            "test_args": ["--trace", "--trace-file", WAVES] if built.waves and not icarus else [],
            "extra_env": dict(environment or {}),
            "seed": 1,
        },
    }
    _child(job, built.simulator, timeout, place)
    if not results.is_file():
        raise SimulatorError(f"{built.simulator.value} wrote no results, see {place / 'run.log'}")
    from cocotb_tools.check_results import get_results

    ran, failed = get_results(results)
    if ran != expected or failed:
        raise SimulatorError(
            f"{built.simulator.value} ran {ran} tests of {module}, {failed} failed, {expected} expected to pass, "
            f"see {place / 'run.log'}"
        )


def _work(job: dict[str, Any]) -> None:
    """In the child: call cocotb's runner."""
    from cocotb_tools.runner import Icarus, get_runner

    class IcarusWithWaves(Icarus):
        """Lets the bench write VCD; cocotb knows FST and nothing."""

        def _test_command(self) -> list[list[str]]:
            return [["-vcd" if word == "-none" else word for word in words] for words in super()._test_command()]

    runner = IcarusWithWaves() if job.get("vcd") else get_runner(job["simulator"])
    arguments = dict(job["arguments"])
    if job["action"] == "build":
        arguments["timescale"] = tuple(arguments["timescale"])
        runner.build(**arguments)
    else:
        runner.test(**arguments)


if __name__ == "__main__":
    _work(json.loads(sys.argv[1]))
