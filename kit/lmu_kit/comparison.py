"""Our energy beside published figures, and at other process nodes."""

import json
from dataclasses import dataclass
from typing import Any

from lmu_hw.power.published import Published, published
from lmu_hw.power.report import Report, Sums
from lmu_hw.power.scaling import RULE, Scaling, Target, parse_target, scale_energy
from lmu_kit.errors import InputError
from lmu_quantize import zoo

__all__ = ["PublishedComparison", "compare_with_published", "scale_report", "scaling_to_dict"]

SOUND = "speech"


@dataclass(frozen=True)
class PublishedComparison:
    """Our figure and those of others.

    Parameters
    ----------
    ours : Published
        In the form of the others.
    others : tuple of Published
        From the literature.
    """

    ours: Published
    others: tuple[Published, ...]

    def remarks(self) -> list[str]:
        """What the comparison shows against us, in sentences."""
        ours, others = self.ours, self.others
        power = [
            other.design for other in others if other.power_uW is not None and other.power_uW < (ours.power_uW or 0)
        ]
        sentences = [f"Less power than ours, as published: {'; '.join(power) or 'none'}."]
        if ours.accuracy_percent is not None:
            better = [other.design for other in others if (other.accuracy_percent or 0) > ours.accuracy_percent]
            sentences.append(f"More accurate on its task: {'; '.join(better) or 'none'}.")
        silicon = sum(other.method.startswith("measured") for other in others)
        included = sum(other.front_end.startswith("yes") for other in others)
        return [
            *sentences,
            f"Measured on silicon, which ours is not: {silicon} of {len(others)}.",
            f"Including the front end, which ours does not: {included} of {len(others)}.",
        ]


def compare_with_published(name: str, report: Report) -> PublishedComparison:
    """Put the energy of an accelerator beside published keyword spotters.

    Parameters
    ----------
    name : str
        Of the network; the accuracy of a shipped one is known.
    report : Report
        From `estimate_power`.

    Returns
    -------
    PublishedComparison
        Our figure for speech, and the published ones with what each covers.
    """
    sums = _speech(report)
    task, accuracy = _accuracy(name)
    ours = Published(
        design=f"this accelerator, {name}",
        node_nm=report.technology["node_nm"],
        scope="accelerator",
        method=", ".join(filter(None, (f"estimated, tier {report.tier}", report.caveat))),
        task=task,
        accuracy_percent=accuracy,
        power_uW=sums.power * 1e6,
        energy_nJ=sums.frame * 1e9,
        per="frame",
        front_end="no",
        source="",
    )
    return PublishedComparison(ours, published())


def scale_report(report: Report, target: str) -> Scaling:
    """Factor of the dynamic energy of a report at another process node.

    Parameters
    ----------
    report : Report
        From `estimate_power`.
    target : str
        A node such as ``"22nm"``, or with a supply, ``"22nm@0.6V"``.

    Returns
    -------
    Scaling
        The factor and its band; leakage does not scale by a rule.

    Raises
    ------
    InputError
        If the report's node is not known.
    ScalingError
        If the rule does not reach the node or the supply.
    """
    scaled = parse_target(target)
    node = report.technology["node_nm"]
    if node is None:
        raise InputError("the node of this technology is not known: its energy cannot be scaled")
    return scale_energy(Target(node, report.technology["voltage_V"]), scaled)


def scaling_to_dict(report: Report, scaling: Scaling) -> dict[str, Any]:
    """JSON form of the dynamic power of a report at another process node.

    Parameters
    ----------
    report : Report
        From `estimate_power`.
    scaling : Scaling
        From `scale_report`.

    Returns
    -------
    dict
        The rule, its factor and band, and ``dynamic_uW``: microwatts by kind of sound.
    """
    sums = {sound: report.sums(sound) for sound in report.rows}
    dynamic = {sound: energy.dynamic * energy.frame_rate * 1e6 for sound, energy in sums.items()}
    return {
        "rule": RULE,
        "to": str(scaling.target),
        "factor": scaling.factor,
        "least": scaling.least,
        "most": scaling.most,
        "dynamic_uW": {sound: power * scaling.factor for sound, power in dynamic.items()},
    }


def _speech(report: Report) -> Sums:
    return report.sums(SOUND if SOUND in report.rows else next(iter(report.rows)))


def _accuracy(name: str) -> tuple[str, float | None]:
    """Task of a shipped network, and its accuracy in percent on the official test clips."""
    path = zoo.path(name, "golden.json")
    if name not in zoo.names() or not path.is_file():
        return "not known", None
    measured = json.loads(path.read_text())
    return f"Speech Commands, {len(measured['labels'])} labels", round(100 * measured["accuracy"], 2)
