"""Accuracy on labelled clips, by the float model, the golden model, or the Verilog."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmu_hw.model.golden import Golden, decide
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import AcceleratorConfig
from lmu_hw.progress import Progress, silent
from lmu_kit.accelerators import accelerator
from lmu_kit.errors import InputError
from lmu_kit.frames import RealFrames, check_length
from lmu_kit.models import silence_label
from lmu_quantize.frames_file import FrameSet
from lmu_quantize.model import FloatModel
from lmu_quantize.score import Score, score_decisions
from lmu_sim.batch import BatchReport, BatchSimulator, compare_batch

__all__ = ["ENGINES", "Evaluation", "MismatchInEvaluation", "decide_float", "decide_golden", "evaluate"]

IntArray = NDArray[np.int64]

ENGINES = ("float", "golden", "rtl")

CHUNK = 256
"""Clips that the float and golden engines run at once."""

PROCESSES = 2


class MismatchInEvaluation(AssertionError):
    """The Verilog and the golden model differ.

    Attributes
    ----------
    evaluation : Evaluation
        All the same, with the first difference in ``comparison``.
    """

    def __init__(self, evaluation: "Evaluation"):
        self.evaluation = evaluation
        first = evaluation.comparison.first if evaluation.comparison is not None else None
        super().__init__(f"the Verilog and the golden model differ: {first}")

    @property
    def result(self) -> dict[str, Any]:
        """JSON form of the evaluation."""
        return self.evaluation.to_dict()


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Decisions at the end of every clip, against the truth.

    Parameters
    ----------
    engine : {"float", "golden", "rtl"}
        What decided.
    score : Score
        Accuracy, its interval, recall by label, confusion matrix.
    saturated : dict of str to int
        Elements of each vector that were clipped or wrapped, engine golden only.
    comparison : BatchReport or None
        Every logit of the Verilog against the golden model, engine rtl only.
    """

    engine: str
    score: Score
    saturated: dict[str, int] = field(default_factory=dict)
    comparison: BatchReport | None = None

    @property
    def accuracy(self) -> float:
        """Part of the clips that were decided right, 0 to 1."""
        return self.score.accuracy

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the figure useless: every clip has the same decision, or chance would decide as well."""
        truth, decided = (self.score.confusion.sum(axis=axis) for axis in (1, 0))
        lines = []
        if np.count_nonzero(truth) > 1 and np.count_nonzero(decided) == 1:
            lines.append(f"every clip is decided as {self.score.labels[int(decided.argmax())]!r}")
        if truth.sum() >= 10 * len(truth) and self.accuracy <= 1 / len(truth):
            lines.append(f"accuracy {self.accuracy:.3f}; decisions by chance among {len(truth)} labels are as good")
        return tuple(lines)

    def check(self) -> "Evaluation":
        """Return itself, or raise `MismatchInEvaluation` if the Verilog and the golden model differ."""
        if self.comparison is not None and not self.comparison.passed:
            raise MismatchInEvaluation(self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        content: dict[str, Any] = {"engine": self.engine, **self.score.to_dict()}
        if self.engine == "golden":
            content["saturated"] = self.saturated
        if self.comparison is not None:
            first = self.comparison.first
            content |= {
                "compared": self.comparison.compared,
                "differing": self.comparison.differing,
                "first": None if first is None else str(first),
            }
        return content


def evaluate(
    model: FloatModel | QuantizedModel,
    frames: FrameSet | RealFrames | ArrayLike,
    truth: ArrayLike | None = None,
    *,
    engine: str | None = None,
    config: AcceleratorConfig | None = None,
    jobs: int = PROCESSES,
    progress: Progress = silent,
) -> Evaluation:
    """Measure the accuracy of a model; a clip's decision is that of its last frame.

    Parameters
    ----------
    model : FloatModel or QuantizedModel
        With labels.
    frames : FrameSet, RealFrames or array_like, shape (clips, T, inputs)
        From `open_frames`; or an array, integers for a quantized model and reals for a float model.
    truth : array_like of int, shape (clips,), optional
        Indices into the model's labels; those of `frames` if not given.
    engine : {"float", "golden", "rtl"}, optional
        A float model has engine float only. For a quantized model, golden (the default) or rtl: the Verilog in a
        compiled simulator, every logit of every frame compared with the golden model.
    config : AcceleratorConfig, optional
        Of the accelerator, engine rtl only.
    jobs : int
        Simulators that run at a time, engine rtl only.
    progress : callable, optional
        Called with the stage, the clips done, and all clips.

    Returns
    -------
    Evaluation
        `Evaluation.check` raises if the Verilog differs.

    Raises
    ------
    InputError
        If the model has no labels, the truth is missing, or the engine does not run this kind of model.
    ToolError
        If a simulator is missing, engine rtl only.
    """
    if not model.labels:
        raise InputError(f"model {model.name!r} has no labels: give its {model.outputs} labels in order")
    engine = _engine(model, engine)
    clips, known = _clips(frames)
    check_length(model, clips.shape[1], "frames")
    truth = known if truth is None else truth
    if truth is None:
        raise InputError("truth is missing: give the index of the right label of every clip")
    if isinstance(model, FloatModel):
        return Evaluation(engine, score_decisions(decide_float(model, clips, progress), truth, model.labels))
    if engine == "rtl" and model.gate is not None:
        raise InputError("engine rtl takes a network without a gate: cosim compares one with a gate, frame by frame")
    if engine == "golden":
        decisions, saturated = decide_golden(model, clips, progress)
        return Evaluation(engine, score_decisions(decisions, truth, model.labels), saturated)
    return _evaluate_rtl(model, clips, np.asarray(truth), config, jobs, progress)


def decide_golden(
    model: QuantizedModel, frames: IntArray, progress: Progress = silent
) -> tuple[IntArray, dict[str, int]]:
    """Decisions of the golden model at the end of each clip, and its saturation counts.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    frames : ndarray of int64, shape (clips, T, inputs)
        Integers of the model's input format.
    progress : callable, optional
        Called with the stage, the clips done, and all clips.

    Returns
    -------
    decisions : ndarray of int64, shape (clips,)
        Indices of labels.
    saturated : dict of str to int
        Clipped or wrapped elements by vector.
    """
    if model.gate is not None:
        return _decide_gated(model, frames, progress)
    golden, parts = Golden(model), []
    counts: dict[str, int] = {}
    for start in range(0, len(frames), CHUNK):
        progress("golden model", start, len(frames))
        chunk = frames[start : start + CHUNK]
        state = golden.initial_state(len(chunk))
        parts.append(decide(golden.run(chunk, state)["logits"][:, -1])[0])
        counts = {name: counts.get(name, 0) + count for name, count in state.saturated.items()}
    return np.concatenate(parts), counts


def _decide_gated(
    model: QuantizedModel, frames: IntArray, progress: Progress
) -> tuple[IntArray, dict[str, int]]:
    """Decisions that stand at the end of each clip; one clip at a time, since each sleeps when it likes."""
    golden, silence = Golden(model), silence_label(model)
    counts = dict.fromkeys(golden.initial_state().saturated, 0)
    decisions = np.full(len(frames), silence, np.int64)
    for number, clip in enumerate(frames):
        if number % CHUNK == 0:
            progress("golden model", number, len(frames))
        state = golden.initial_state()
        logits = golden.run(clip[np.newaxis], state)["logits"][0]
        if len(logits):
            decisions[number] = decide(logits[-1])[0]
        counts = {name: count + state.saturated[name] for name, count in counts.items()}
    return decisions, counts


def decide_float(model: FloatModel, frames: NDArray[np.float64], progress: Progress = silent) -> IntArray:
    """Decisions of the float model at the end of each clip, shape (clips,)."""
    parts = []
    for start in range(0, len(frames), CHUNK):
        progress("float model", start, len(frames))
        parts.append(model.run(frames[start : start + CHUNK])["logits"][:, -1].argmax(axis=1))
    return np.concatenate(parts)


def _engine(model: FloatModel | QuantizedModel, engine: str | None) -> str:
    allowed = ("float",) if isinstance(model, FloatModel) else ("golden", "rtl")
    if engine is None:
        return allowed[0]
    if engine not in allowed:
        kind = "float" if isinstance(model, FloatModel) else "quantized"
        raise InputError(f"engine must be {' or '.join(allowed)} for a {kind} model, not {engine!r}")
    return engine


def _clips(frames: FrameSet | RealFrames | ArrayLike) -> tuple[NDArray[Any], IntArray | None]:
    if isinstance(frames, (FrameSet, RealFrames)):
        return frames.frames, frames.truth
    array = np.asarray(frames)
    if array.ndim != 3 or not array.size:
        raise InputError(f"frames must have shape (clips, T, inputs) with at least 1 of each, not {array.shape}")
    return array, None


def _evaluate_rtl(
    model: QuantizedModel,
    frames: IntArray,
    truth: IntArray,
    config: AcceleratorConfig | None,
    jobs: int,
    progress: Progress,
) -> Evaluation:
    plan = accelerator(model, config)
    progress("build the simulator", 0, 0)
    simulator = BatchSimulator(plan)
    result = simulator.run(frames, jobs, progress)
    progress("compare with the golden model", 0, 0)
    report = compare_batch(plan, frames, result)
    score = score_decisions(decide(result.logits[:, -1])[0], truth, model.labels)
    return Evaluation("rtl", score, comparison=report)
