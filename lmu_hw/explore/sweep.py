"""The points of a sweep: networks times configurations times technologies times clocks."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from lmu_hw.files import canonical_json
from lmu_hw.plan.config import FRUGAL, AcceleratorConfig

__all__ = ["AUTO", "LEVERS", "Point", "Sweep"]

AUTO = "auto"
"""The slowest clock at which no frame waits."""

KEYS = ("models", "config", "technologies", "clocks")

LEVERS = "levers"
"""Key of a configuration in a sweep that stands for several keys."""


@dataclass(frozen=True)
class Point:
    """One accelerator at one clock.

    Parameters
    ----------
    model : str
        Name of the network in the sweep.
    config : AcceleratorConfig
        The configuration.
    technology : str
        Name or file of a table.
    clock : float or "auto"
        In hertz.
    """

    model: str
    config: AcceleratorConfig
    technology: str
    clock: float | str

    @property
    def key(self) -> str:
        """Text that identifies the point."""
        return canonical_json([self.model, self.config.to_dict(), self.technology, self.clock])


@dataclass(frozen=True)
class Sweep:
    """Lists of choices. A sweep has every combination of them.

    Parameters
    ----------
    models : tuple of str
        Files of quantized networks, or names of shipped ones.
    config : dict of str to list
        Choices for keys of `AcceleratorConfig`; the others keep their defaults. The key ``levers`` takes names of
        `lmu_hw.plan.config.LEVER_SETS`; the default is ``frugal``.
    technologies : tuple of str
        Tables of energies: shipped ones by name, or files of ``lmu-hw characterise``.
    clocks : tuple of float or "auto"
        In hertz; ``auto`` is the slowest at which no frame waits.

    Raises
    ------
    ValueError
        If a list is empty or has an element twice, or an element is refused.
    """

    models: tuple[str, ...]
    config: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: {"lanes": (4, 8, 16, 32)})
    technologies: tuple[str, ...] = ("ihp-sg13g2",)
    clocks: tuple[float | str, ...] = (AUTO,)

    def __post_init__(self) -> None:
        for name in ("models", "technologies"):
            _check_names(name, getattr(self, name))
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "clocks", _checked_clocks(self.clocks))
        if not isinstance(self.config, Mapping):
            raise ValueError(f"config must be an object of lists, not {self.config!r}")
        known = [*(option.name for option in fields(AcceleratorConfig)), LEVERS]
        for key, choices in self.config.items():
            if key not in known:
                raise ValueError(f"unknown key {key!r} in config, expected {', '.join(known)}")
            _check_list(f"config {key}", choices)
        object.__setattr__(self, "config", {key: tuple(choices) for key, choices in self.config.items()})
        self.configs()

    def configs(self) -> tuple[AcceleratorConfig, ...]:
        """Every combination of the choices of `config`."""
        configs = []
        for values in itertools.product(*self.config.values()):
            choices = dict(zip(self.config, values, strict=True))
            try:
                configs.append(_config(choices))
                if configs[-1] in configs[:-1]:
                    raise ValueError("the same as another one")
            except (TypeError, ValueError) as error:
                raise ValueError(f"config {canonical_json(choices)}: {error}") from None
        return tuple(configs)

    def points(self) -> Iterator[Point]:
        """Every point, those of one network and configuration together."""
        for model, config in itertools.product(self.models, self.configs()):
            for technology, clock in itertools.product(self.technologies, self.clocks):
                yield Point(model, config, technology, clock)

    def __len__(self) -> int:
        accelerators = len(self.models) * math.prod(map(len, self.config.values()))
        return accelerators * len(self.technologies) * len(self.clocks)

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the inverse of `from_dict`."""
        return {
            "models": list(self.models),
            "config": {key: list(choices) for key, choices in self.config.items()},
            "technologies": list(self.technologies),
            "clocks": list(self.clocks),
        }

    @classmethod
    def from_dict(cls, data: Any) -> "Sweep":
        """Sweep from its JSON form.

        Raises
        ------
        ValueError
            If a key is unknown or ``models`` is missing, or a value is refused.
        """
        if not isinstance(data, dict):
            raise ValueError(f"a sweep must be an object, not {data!r}")
        for key in data:
            if key not in KEYS:
                raise ValueError(f"unknown key {key!r} in the sweep, expected {', '.join(KEYS)}")
        if "models" not in data:
            raise ValueError("models is missing: name one network or more")
        return cls(**data)


def _config(choices: Mapping[str, Any]) -> AcceleratorConfig:
    """Configuration with one choice for each key."""
    return AcceleratorConfig.from_dict({LEVERS: FRUGAL} | dict(choices))


def _check_list(name: str, values: Any) -> None:
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(f"{name} must be a list of one or more, not {values!r}")
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"{name} has {value!r} twice")


def _check_names(name: str, values: Any) -> None:
    _check_list(name, values)
    for value in values:
        if not isinstance(value, str) or not value:
            raise ValueError(f"{name} must be names or files, not {value!r}")


def _checked_clocks(values: Any) -> tuple[float | str, ...]:
    """Clocks with numbers as floats, so that equal sweeps are written alike."""
    _check_list("clocks", values)
    clocks: list[float | str] = []
    for value in values:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value != AUTO and not (number and 0 < value < math.inf):
            raise ValueError(f"a clock must be {AUTO!r} or a number of hertz above 0, not {value!r}")
        clocks.append(value if value == AUTO else float(value))
    return tuple(clocks)
