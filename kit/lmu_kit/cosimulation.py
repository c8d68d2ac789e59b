"""The Verilog in a simulator, every value compared with the golden model."""


from lmu_hw.plan.plan import Plan
from lmu_hw.progress import Progress, silent
from lmu_kit.frames import Clips, as_clips
from lmu_sim import cosim
from lmu_sim.cosim import CosimOptions
from lmu_sim.result import CosimResult

__all__ = ["cosimulate"]


def cosimulate(
    plan: Plan, frames: Clips, options: CosimOptions | None = None, *, progress: Progress = silent
) -> CosimResult:
    """Run the generated Verilog in Icarus or Verilator and compare every value with the golden model.

    Parameters
    ----------
    plan : Plan
        From `accelerator`.
    frames : FrameSet, ndarray of int, shape (clips, T, inputs), or sequence of ndarray, each of shape (T, inputs)
        From `open_frames` or `open_recordings`; each clip is an utterance.
    options : CosimOptions, optional
        Simulator, stalls, seed, folder, waveforms, time limit; Icarus without stalls if not given.
    progress : callable, optional
        Called with the stage, the steps done, and all steps.

    Returns
    -------
    CosimResult
        What was compared, block by block, and the word decided in each clip. `CosimResult.check` raises with the first
        mismatch.

    Raises
    ------
    InputError
        If there are no clips.
    ToolError
        If the simulator is missing, too old, or fails.
    """
    return cosim.cosimulate(plan, as_clips(frames), options or CosimOptions(), progress=progress)
