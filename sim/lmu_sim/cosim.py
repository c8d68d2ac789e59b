"""Co-simulation: an accelerator's Verilog against the golden model, every element of every vector in every frame."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.export.emit import to_verilog, weight_image
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import WeightStore
from lmu_hw.plan.plan import Plan
from lmu_hw.progress import Progress, silent
from lmu_sim.bench import BENCH, STALLS, bench_header, plusargs
from lmu_sim.compare import Comparison
from lmu_sim.cycles import measure_accesses, measure_asleep, measure_intervals, measure_latencies
from lmu_sim.result import CosimResult
from lmu_sim.runner import WAVES, Build, Simulator, build, run
from lmu_sim.stimulus import Frame, check, stimulus
from lmu_sim.trace import FrameCounter, Trace, read_trace

__all__ = ["CosimOptions", "cosimulate", "cosimulate_variant"]

TRACE, DEPOSITS, WEIGHTS = "trace.txt", "deposits.txt", "weights.txt"

LONG_RUN_CYCLES = 500_000
"""Clock cycles from which on Verilator's C++ is optimised: below, the compiler takes longer than it saves."""


@dataclass(frozen=True)
class CosimOptions:
    """How to run a co-simulation.

    Parameters
    ----------
    simulator : Simulator or str
        ``icarus`` or ``verilator``.
    stalls : {"none", "alternate", "random"}
        How the input and output streams are stalled: never; one cycle before each transfer; at random, mostly briefly.
    stall_percent : int
        Transfers that random stalls delay, 1 to 100 percent.
    seed : int
        Of everything random, 0 to 2**31 - 1.
    spaced : bool
        Send a frame only when the accelerator is at rest, as in real time; otherwise as soon as it takes one.
    folder : str or Path, optional
        Where the run writes its trace, log and waveforms, replacing those of an earlier run. By default a temporary
        folder, which is kept only if the simulator fails.
    waves : bool
        Whether to write waveforms of all signals (VCD); needs `folder`.
    replay : str
        Command line that repeats this run with waveforms, for the report of a mismatch.
    timeout_s : float
        Seconds that the compilation, and the run, may each take; more than 0.

    Raises
    ------
    ValueError
        If an option is out of its range.
    """

    simulator: Simulator | str = Simulator.ICARUS
    stalls: str = "none"
    stall_percent: int = 50
    seed: int = 1
    spaced: bool = False
    folder: str | Path | None = None
    waves: bool = False
    replay: str = ""
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        names = [simulator.value for simulator in Simulator]
        if not isinstance(self.simulator, Simulator) and self.simulator not in names:
            raise ValueError(f"simulator must be one of {', '.join(names)}, not {self.simulator!r}")
        object.__setattr__(self, "simulator", Simulator(self.simulator))
        if self.stalls not in STALLS:
            raise ValueError(f"stalls must be one of {', '.join(STALLS)}, not {self.stalls!r}")
        if not 1 <= self.stall_percent <= 100:
            raise ValueError(f"stall_percent must be in 1 to 100, not {self.stall_percent!r}")
        if not 0 <= self.seed < 1 << 31:
            raise ValueError(f"seed must be in 0 to 2**31 - 1, not {self.seed!r}")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be more than 0 seconds, not {self.timeout_s!r}")
        if self.waves and self.folder is None:
            raise ValueError("waves need a folder: a temporary one would be deleted with the waveforms")


Frames = Sequence[Frame] | Sequence[ArrayLike] | NDArray[np.integer]


def cosimulate(
    plan: Plan, frames: Frames, options: CosimOptions = CosimOptions(), *, progress: Progress = silent
) -> CosimResult:
    """Run an accelerator's Verilog, and compare everything that it computes with the golden model.

    Parameters
    ----------
    plan : Plan
        The accelerator.
    frames : sequence of array_like of int, each of shape (T, inputs), or sequence of Frame
        Clips in the model's input format, sent back to back with the clears or ends of the state policy; or frames
        with marks of their own, from `stimulus`.
    options : CosimOptions, optional
        Simulator, stalls, seed and more.
    progress : callable
        Called with ``build``, ``simulate`` (frames taken, frames sent) and ``compare``.

    Returns
    -------
    CosimResult
        Values compared, the first mismatch, measured and planned cycles, and the word decided in each clip. Its
        `check` raises `MismatchError` unless all is equal and as planned.

    Raises
    ------
    ToolError
        If the simulator is missing.
    SimulatorError
        If the simulator fails, or takes too long.
    ValueError
        If the frames do not fit the accelerator.
    """
    return cosimulate_variant(plan, frames, options, progress=progress)


def cosimulate_variant(
    plan: Plan,
    frames: Frames,
    options: CosimOptions = CosimOptions(),
    *,
    verilog: str | None = None,
    model: QuantizedModel | None = None,
    progress: Progress = silent,
) -> CosimResult:
    """Co-simulate other Verilog than the plan's, or compare with another model: for fault injection.

    Parameters
    ----------
    plan, frames, options, progress
        As in `cosimulate`.
    verilog : str, optional
        Verilog to run, with the ports and memories of the plan's accelerator.
    model : QuantizedModel, optional
        Network to compare with.

    Returns
    -------
    CosimResult
        As of `cosimulate`.
    """
    sent = _frames_to_send(plan, frames, options.seed)
    watch = [time.perf_counter()]
    with _run_folder(options.folder) as folder:
        progress("build", 0, 0)
        built = _build(plan, sent, options, to_verilog(plan) if verilog is None else verilog)
        watch.append(time.perf_counter())
        trace = _simulate(plan, sent, options, built, folder, progress)
        watch.append(time.perf_counter())
    progress("compare", 0, 0)
    comparison = Comparison(plan, plan.model if model is None else model, sent, trace, options.replay)
    unstalled = options.stalls == "none" and not any(frame.reset_after for frame in sent)
    intervals = measure_intervals(plan, trace, comparison.rounds) if unstalled and not options.spaced else ()
    if unstalled and not options.spaced:
        intervals += measure_asleep(plan, trace, comparison.asleep)
    latencies = measure_latencies(plan, trace, comparison.rounds) if unstalled and options.spaced else ()
    accesses = measure_accesses(plan, trace, comparison.rounds, sent)
    watch.append(time.perf_counter())
    return CosimResult(
        simulator=built.simulator,
        stalls=options.stalls,
        seed=options.seed,
        frames=len(sent),
        blocks={name: (compared, differing) for name, (compared, differing) in comparison.blocks.items()},
        mismatch=comparison.mismatch,
        violations=tuple(trace.violations),
        intervals=intervals,
        latencies=latencies,
        accesses=accesses,
        saturated=comparison.saturated,
        decisions=comparison.decisions,
        cycles=trace.cycles,
        hung=trace.hung,
        waves=folder / WAVES if options.waves else None,
        seconds=dict(zip(("build", "simulate", "compare"), np.diff(watch).tolist(), strict=True)),
    )


def _frames_to_send(plan: Plan, frames: Frames, seed: int) -> tuple[Frame, ...]:
    """Frames with their marks, checked."""
    marked = [frame for frame in frames if isinstance(frame, Frame)]
    if not marked:
        return stimulus(plan, frames, seed=seed)  # type: ignore[arg-type]
    if len(marked) != len(frames):
        raise ValueError("frames must be all Frame, or all clips of shape (T, inputs)")
    check(plan, marked)
    return tuple(marked)


@contextlib.contextmanager
def _run_folder(folder: str | Path | None) -> Iterator[Path]:
    """The folder of a run. A temporary one stays after an error, for the simulator's log."""
    if folder is None:
        path = Path(tempfile.mkdtemp(prefix="lmu-cosim-"))
        try:
            yield path
        except KeyboardInterrupt:
            shutil.rmtree(path)
            raise
        shutil.rmtree(path)
    else:
        path = Path(folder).resolve()
        path.mkdir(parents=True, exist_ok=True)
        for name in (TRACE, WAVES):
            (path / name).unlink(missing_ok=True)
        yield path


def _build(plan: Plan, sent: Sequence[Frame], options: CosimOptions, verilog: str) -> Build:
    sources = {
        "lmu_bench_config.vh": bench_header(plan),
        "lmu_accelerator.v": verilog,
        "lmu_bench.v": files("lmu_sim").joinpath("bench.v").read_text(),
    }
    long_run = len(sent) * plan.cycles_per_frame >= LONG_RUN_CYCLES
    simulator = Simulator(options.simulator)
    return build(simulator, sources, BENCH, waves=options.waves, long_run=long_run, timeout=options.timeout_s)


def _simulate(
    plan: Plan, sent: Sequence[Frame], options: CosimOptions, built: Build, folder: Path, progress: Progress
) -> Trace:
    """Send the frames, and read what the bench saw."""
    deposits = "".join(f"{frame.deposit(plan.model.input.width):x}\n" for frame in sent)
    (folder / DEPOSITS).write_text(deposits)
    if plan.config.weights is WeightStore.RAM:
        (folder / WEIGHTS).write_text(weight_image(plan))
    counter = FrameCounter(folder / TRACE)
    progress("simulate", 0, len(sent))
    run(
        built,
        "lmu_sim.cocotb_bench",
        1,
        folder,
        plusargs=plusargs(plan, sent, options.stalls, options.stall_percent, options.seed, options.spaced),
        environment={"LMU_SIM_DEPOSITS": str(folder / DEPOSITS)},
        timeout=options.timeout_s,
        watch=lambda: progress("simulate", min(counter.count(), len(sent)), len(sent)),
    )
    return read_trace(plan, folder / TRACE)
