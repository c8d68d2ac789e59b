"""Settings of a project that belong to no other part: where the recordings are, and what each step does."""

from dataclasses import dataclass, field
from pathlib import Path

from lmu_hw.checks import require_choice, require_int, require_number
from lmu_hw.export.names import TOP, check_module_name
from lmu_kit.estimate import DEFAULT_TECHNOLOGY, MACROS, TIERS
from lmu_kit.evaluation import ENGINES, PROCESSES
from lmu_kit.quantizing import CALIBRATION_CLIPS
from lmu_quantize.dataset import SPLITS, SplitRule
from lmu_sim.cosim import CosimOptions

__all__ = [
    "CosimSettings",
    "DataSettings",
    "EvaluateSettings",
    "FlowSettings",
    "PowerSettings",
    "QuantizeSettings",
    "VerilogSettings",
]


@dataclass(frozen=True)
class DataSettings(SplitRule):
    """Where the recordings are, and how they are split.

    Parameters
    ----------
    folder : str
        Folder with a folder for each word, or with Speech Commands; relative to the project file.
    """

    folder: str = "recordings"

    @property
    def rule(self) -> SplitRule:
        """How recordings are split."""
        return SplitRule(self.speaker, self.validation_percent, self.test_percent)


@dataclass(frozen=True)
class QuantizeSettings:
    """The step ``quantize``.

    Parameters
    ----------
    clips : int
        Validation clips on which formats are chosen.
    """

    clips: int = CALIBRATION_CLIPS

    def __post_init__(self) -> None:
        require_int("clips", self.clips, 1)


@dataclass(frozen=True)
class EvaluateSettings:
    """The step ``evaluate``.

    Parameters
    ----------
    engines : tuple of {"float", "golden", "rtl"}
        What decides: the float model, the integers, the Verilog.
    split : {"train", "validation", "test"}
        Clips that are decided; co-simulation and power take theirs from them too.
    clips : int or None
        Most clips, spread evenly; all if left out.
    jobs : int
        Simulators at a time, for rtl.
    """

    engines: tuple[str, ...] = ("float", "golden")
    split: str = "test"
    clips: int | None = None
    jobs: int = PROCESSES

    def __post_init__(self) -> None:
        for engine in self.engines:
            require_choice("an engine in engines", engine, ENGINES)
        if not self.engines or len(set(self.engines)) < len(self.engines):
            raise ValueError(f"engines must be some of {', '.join(ENGINES)}, each once, not {list(self.engines)}")
        require_choice("split", self.split, SPLITS)
        if self.clips is not None:
            require_int("clips", self.clips, 1)
        require_int("jobs", self.jobs, 1)


@dataclass(frozen=True)
class VerilogSettings:
    """The step ``verilog``.

    Parameters
    ----------
    name : str
        Name of the top module and of the files.
    """

    name: str = TOP

    def __post_init__(self) -> None:
        check_module_name(self.name)


@dataclass(frozen=True)
class CosimSettings(CosimOptions):
    """The step ``cosim``.

    Parameters
    ----------
    clips : int
        Clips that are simulated, spread evenly.
    """

    folder: str | Path | None = field(default="cosim", init=False)
    replay: str = field(default="", init=False)
    clips: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        require_int("clips", self.clips, 1)


@dataclass(frozen=True)
class PowerSettings:
    """The step ``power``.

    Parameters
    ----------
    tier : {"table", "rtl", "gates"}
        How energy is estimated.
    technology : str
        A shipped table, or a table file relative to the project; for gates the folder of a PDK under ``PDK_ROOT``.
    liberty : tuple of str
        Liberty files of one corner, relative to the project, instead of a PDK; for gates.
    corner : str or None
        Part of the names of the PDK's Liberty files; for gates.
    macros : {"kit", "model"}
        SRAM macros: those of the kit only, or a model where it has none; for gates.
    clips : int or None
        Clips of each kind of sound, every frame; for rtl and gates. If left out, one for rtl, and for gates frames are
        drawn from 18.
    interval : float or None
        Frames are drawn until the 95 % interval of the mean is within so many percent; for gates. 2 if left out, all
        frames with `clips`.
    settled : bool
        Simulate without delays, faster but without glitches; for gates.
    clock : float or None
        In hertz; the slowest at which no frame waits if left out.
    frame_rate : float or None
        Frames per second; that of the front end if left out.
    """

    tier: str = "table"
    technology: str = DEFAULT_TECHNOLOGY
    liberty: tuple[str, ...] = ()
    corner: str | None = None
    macros: str = "kit"
    clips: int | None = None
    interval: float | None = None
    settled: bool = False
    clock: float | None = None
    frame_rate: float | None = None

    def __post_init__(self) -> None:
        require_choice("tier", self.tier, TIERS)
        require_choice("macros", self.macros, MACROS)
        if self.clips is not None:
            require_int("clips", self.clips, 1)
        if self.interval is not None:
            require_number("interval", self.interval, 0, 100, above=True, below=True)
        for name in ("clock", "frame_rate"):
            if getattr(self, name) is not None:
                require_number(name, getattr(self, name), 0, above=True)
        if self.tier == "table" and self.clips is not None:
            raise ValueError("clips belong to the tiers rtl and gates: tier table uses no frames")
        if self.tier != "gates":
            for name, value, rest in (
                ("liberty", self.liberty, ()), ("corner", self.corner, None), ("macros", self.macros, "kit"),
                ("interval", self.interval, None), ("settled", self.settled, False),
            ):  # fmt: skip
                if value != rest:
                    raise ValueError(f"{name} belongs to tier gates, not to {self.tier}")
        if self.liberty and self.corner is not None:
            raise ValueError("corner belongs to a PDK: Liberty files are of one corner")


@dataclass(frozen=True)
class FlowSettings:
    """What the steps do, and where they write.

    Parameters
    ----------
    out : str
        Folder of all results, relative to the project file; it has a folder for each step.
    quantize : QuantizeSettings
        Of the step of that name.
    evaluate : EvaluateSettings
        Of the step of that name.
    verilog : VerilogSettings
        Of the step of that name.
    cosim : CosimSettings
        Of the step of that name.
    power : PowerSettings
        Of the step of that name.
    """

    out: str = "build"
    quantize: QuantizeSettings = field(default_factory=QuantizeSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    verilog: VerilogSettings = field(default_factory=VerilogSettings)
    cosim: CosimSettings = field(default_factory=CosimSettings)
    power: PowerSettings = field(default_factory=PowerSettings)

    def __post_init__(self) -> None:
        if not self.out:
            raise ValueError("out must name a folder, not ''")
