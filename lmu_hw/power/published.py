"""Published figures of keyword spotters, with what they cover, for comparison."""

import json
from dataclasses import dataclass
from importlib import resources

__all__ = ["Published", "published"]


@dataclass(frozen=True)
class Published:
    """A published figure. What a source does not say, or was not read, is None or "not known".

    Parameters
    ----------
    design : str
        Name, and where it was published.
    node_nm : float or None
        Process in nanometre.
    scope : str
        Parts that the power covers.
    method : str
        How it was obtained.
    task : str
        Task of the network.
    accuracy_percent : float or None
        On that task.
    power_uW : float or None
        Average power in microwatt.
    energy_nJ : float or None
        In nanojoule.
    per : str
        Unit of work that the energy is for.
    front_end : str
        Whether the power covers the features.
    source : str
        Source of the figures.
    """

    design: str
    node_nm: float | None
    scope: str
    method: str
    task: str
    accuracy_percent: float | None
    power_uW: float | None
    energy_nJ: float | None
    per: str
    front_end: str
    source: str


def published() -> tuple[Published, ...]:
    """All figures that ship with the product."""
    text = (resources.files("lmu_hw.power") / "published.json").read_text()
    return tuple(Published(**one) for one in json.loads(text))
