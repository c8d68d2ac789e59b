"""Builds and runs cocotb benches in Icarus Verilog or Verilator; every failure is an error.

cocotb's runner works in a child process. So a time limit ends the simulator too, environment variables of the caller
cannot change the run, and the verdict always comes from the results file.
"""

import enum
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmu_hw.tools import Tool, ToolError, find_icarus, find_verilator
from lmu_sim.build_cache import BuildCache, content_key

__all__ = ["WAVES", "Build", "Simulator", "SimulatorError", "build", "run"]


class Simulator(enum.Enum):
    """A Verilog simulator."""

    ICARUS = "icarus"
    """Icarus Verilog, interpreted: starts at once, four-valued."""
    VERILATOR = "verilator"
    """Verilator, compiled to C++: some seconds to build, then much faster; two-valued."""


class SimulatorError(RuntimeError):
    """A simulator failed to build or run, or ran other tests than expected."""


@dataclass(frozen=True)
class Build:
    """A compiled bench.

    Parameters
    ----------
    simulator : Simulator
        Its simulator.
    folder : Path
        Entry of the build cache that holds it.
    top : str
        Name of the bench module.
    waves : bool
        Whether runs write waveforms, to `WAVES`.
    """

    simulator: Simulator
    folder: Path
    top: str
    waves: bool


WAVES = "waves.vcd"
"""Name of the waveform file, in the folder of a run."""

POLL_S = 0.2
"""Seconds between two progress reports of a run."""

MAKE_VARIABLES = {
    "CXX": "g++",
    "LINK": "g++",
    "AR": "ar",
    "PYTHON3": sys.executable,
    "CFG_CXXFLAGS_PCH_I": "-include",
    "OPT_SLOW": "-O0",
    "OPT_GLOBAL": "-O1",
}
"""Make variables for Verilator: the tools of this machine, not of the machine that built the package."""

LONG_RUN, SHORT_RUN = "-O1", "-O0"
"""How the C++ compiler optimises the design."""

VERILATOR_ARGUMENTS = ("--no-timing", "--no-public-flat-rw", "-Wno-fatal", "-Wno-lint", "-O3", "--x-assign", "unique")
NOT_INHERITED = ("COCOTB_", "GPI_", "PYTEST_CURRENT_TEST", "WAVES", "GUI", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")


def _tool(simulator: Simulator) -> Tool:
    return find_icarus() if simulator is Simulator.ICARUS else find_verilator()


def _environment(simulator: Simulator, optimization: str) -> dict[str, str]:
    """Environment in which cocotb finds the simulator, without the caller's variables that would change a run."""
    tool = _tool(simulator)
    environment = {name: value for name, value in tool.env.items() if not name.startswith(NOT_INHERITED)}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    if simulator is Simulator.VERILATOR:
        variables = MAKE_VARIABLES | {"OPT_FAST": optimization}
        environment["MAKEFLAGS"] = " ".join(f"{name}={value}" for name, value in variables.items())
    return environment


def _start(
    job: dict[str, Any],
    log: Path,
    timeout: float,
    *,
    optimization: str = LONG_RUN,
    watch: Callable[[], None] | None = None,
) -> None:
    """Run a job of cocotb's runner in a process of its own.

    The process and all that it started end after `timeout` seconds, or when this function is left in any other way.
    """
    simulator = Simulator(job["simulator"])
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lmu_sim.runner", json.dumps(job)],
            env=_environment(simulator, optimization),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = _wait(process, timeout, watch)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    action, where = job["action"], f", see {log}" if job["action"] == "run" else ""
    if code is None:
        raise SimulatorError(f"{simulator.value} took more than {timeout:g} s to {action}{where}")
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise SimulatorError(f"{simulator.value} failed to {action} (exit code {code}){where}:\n{tail}")


def _wait(process: subprocess.Popen[bytes], timeout: float, watch: Callable[[], None] | None) -> int | None:
    """Exit code of a process, None after `timeout` seconds; `watch` is called now and then."""
    end = time.monotonic() + timeout
    while (left := end - time.monotonic()) > 0:
        try:
            return process.wait(left if watch is None else min(left, POLL_S))
        except subprocess.TimeoutExpired:
            if watch is not None:
                watch()
    return None


def build(
    simulator: Simulator,
    sources: Mapping[str, str],
    top: str,
    *,
    waves: bool = False,
    long_run: bool = True,
    cache: BuildCache | None = None,
    timeout: float = 600.0,
) -> Build:
    """Compile a bench, or find it compiled from the same sources before.

    Parameters
    ----------
    simulator : Simulator
        What to compile for.
    sources : mapping of str to str
        Text of each file by name; names that end in ``.vh`` are for inclusion only.
    top : str
        Name of the bench module.
    waves : bool
        Whether runs write waveforms. With Icarus Verilog the bench must do that, if ``LMU_WAVES`` is defined.
    long_run : bool
        Whether Verilator's C++ is optimised, which pays in runs of many cycles only. Icarus Verilog ignores it.
    cache : BuildCache, optional
        Where builds are kept; in the user's cache folder by default.
    timeout : float
        Seconds that the compilation may take.

    Returns
    -------
    Build
        For `run`.

    Raises
    ------
    ToolError
        If a tool is missing.
    SimulatorError
        If the sources do not compile, or not in time.
    """
    cache = BuildCache() if cache is None else cache
    tool = _tool(simulator)
    arguments = _build_arguments(simulator, waves)
    optimization = LONG_RUN if long_run else SHORT_RUN
    described: list[Any] = [tool.version, tool.command, top, waves, arguments, dict(sources)]
    if simulator is Simulator.VERILATOR:
        described += [MAKE_VARIABLES, optimization]

    def compile_into(entry: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="lmu-build-") as folder:
            if any(letter.isspace() for letter in folder):
                raise ToolError(
                    f"Verilator cannot build in a folder with a space in its name: set TMPDIR to another than "
                    f"'{Path(folder).parent}'"
                )
            job = _build_job(simulator, sources, top, Path(folder), waves)
            _compile(job, Path(folder), cache, timeout, optimization)
            shutil.copy2(Path(folder) / ("sim.vvp" if simulator is Simulator.ICARUS else top), entry)

    return Build(simulator, cache.entry(content_key(simulator.value, *described), compile_into), top, waves)


def _build_job(
    simulator: Simulator, sources: Mapping[str, str], top: str, folder: Path, waves: bool
) -> dict[str, Any]:
    """Write the sources, and describe the build to the child process."""
    for name, text in sources.items():
        (folder / name).write_text(text)
    return {
        "action": "build",
        "simulator": simulator.value,
        "arguments": {
            "sources": [str(folder / name) for name in sources if not name.endswith(".vh")],
            "includes": [str(folder)],
            "defines": {"LMU_WAVES": 1} if waves and simulator is Simulator.ICARUS else {},
            "waves": waves and simulator is Simulator.VERILATOR,
            "hdl_toplevel": top,
            "build_dir": str(folder),
            "timescale": ["1ns", "1ns"],
            "build_args": _build_arguments(simulator, waves),
            "always": True,
        },
    }


def _compile(
    job: dict[str, Any], folder: Path, cache: BuildCache, timeout: float, optimization: str
) -> None:
    """Compile in a folder. Verilator's own C++, equal for every design, takes half of the time: it is kept apart."""
    simulator = Simulator(job["simulator"])
    log = folder / "build.log"
    if simulator is Simulator.ICARUS:
        _start(job, log, timeout)
        return
    described = [_tool(simulator).version, job["arguments"]["waves"], VERILATOR_ARGUMENTS, MAKE_VARIABLES]

    def keep_runtime(entry: Path) -> None:
        _start(job, log, timeout, optimization=optimization)
        for compiled in folder.glob("verilated*.o"):
            shutil.copy2(compiled, entry)

    runtime = cache.entry(content_key("verilator-runtime", *described), keep_runtime)
    if log.is_file():  # this process compiled the runtime, and the design with it
        return
    later = time.time() + timeout  # make compiles them again unless they are newer than the makefile to come
    for compiled in runtime.glob("*.o"):
        os.utime(shutil.copy2(compiled, folder), (later, later))
    _start(job, log, timeout, optimization=optimization)


def _build_arguments(simulator: Simulator, waves: bool) -> list[str]:
    if simulator is Simulator.ICARUS:
        return []
    return [*VERILATOR_ARGUMENTS, *(("--trace-underscore",) if waves else ())]


def run(
    built: Build,
    module: str,
    expected: int,
    folder: str | Path,
    *,
    plusargs: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    timeout: float = 600.0,
    watch: Callable[[], None] | None = None,
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
    folder : str or Path
        Working directory of the simulator; made if it does not exist.
    plusargs : sequence of str
        For the simulator, each with its plus sign.
    environment : mapping of str to str, optional
        More environment variables.
    timeout : float
        Seconds.
    watch : callable, optional
        Called every `POLL_S` seconds while the simulator runs.

    Raises
    ------
    ValueError
        If `expected` is less than 1.
    SimulatorError
        If the simulator failed, took too long, a test failed, or another number of tests ran.
    """
    if expected < 1:
        raise ValueError(f"expected must be at least 1, not {expected!r}")
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    results, log = folder / "results.xml", folder / "run.log"
    results.unlink(missing_ok=True)
    icarus = built.simulator is Simulator.ICARUS
    job = {
        "action": "run",
        "simulator": built.simulator.value,
        "vcd": built.waves and icarus,
        "arguments": {
            "test_module": module,
            "hdl_toplevel": built.top,
            "hdl_toplevel_lang": "verilog",
            "build_dir": str(built.folder),
            "test_dir": str(folder),
            "results_xml": str(results),
            "plusargs": list(plusargs),
            "test_args": ["--trace", "--trace-file", WAVES] if built.waves and not icarus else [],
            "extra_env": dict(environment or {}),
            "seed": 1,
        },
    }
    _start(job, log, timeout, watch=watch)
    if not results.is_file():
        raise SimulatorError(f"{built.simulator.value} wrote no results, see {log}")
    from cocotb_tools.check_results import get_results

    ran, failed = get_results(results)
    if ran != expected or failed:
        raise SimulatorError(
            f"{built.simulator.value} ran {ran} tests of {module}, {failed} failed, {expected} expected to pass, "
            f"see {log}"
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
