"""A model of SRAM macros for libraries that have none.

Not a macro of any process: energies, area and access time of IHP SG13G2's macros are fitted against depth and width
(`lmu_hw.cells.sram_fit`) and scaled to another library by ratios of its standard cells to IHP's:

- area by that of the smallest flip-flop;
- energy by ``C V**2``, C the input of the smallest two-input NAND gate;
- times by the delay of the smallest inverter that drives four of its kind;
- leakage is not scaled but set: a bit leaks as much as the library's smallest inverter. IHP's bits leak a fifth of
  that, so this errs on the high side.

The model is written as Liberty text, so that all that reads a real macro reads it too. Only clock edges cost internal
energy; address and data cost what their capacitances do. Setup time is a tenth of the access time, hold time zero.
"""

import functools
import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmu_hw.cells.liberty import read_liberty
from lmu_hw.cells.library import LibertyError, Library
from lmu_hw.cells.special import find_flip_flop, find_inverter, find_nand, mean_leakage
from lmu_hw.cells.sram import has_macros
from lmu_hw.files import cache_folder

__all__ = ["PREFIX", "Yardsticks", "add_sram_model", "features", "is_model", "model_liberty", "yardsticks"]

PREFIX = "SRAM_MODEL_"
"""Start of the names of the model's cells."""

DEPTHS = (64, 128, 256, 512, 1024, 2048, 4096)
WIDTHS = (8, 16, 32, 64)
"""Sizes on offer: within those that the model was fitted to."""

ROWS = 512
"""Most rows of an array; deeper memories put more columns on a sense amplifier, as IHP's do."""

LEAKAGE_PER_BIT = 1.0
"""In smallest inverters."""

SETUP = 0.1
"""Setup time as a part of the access time."""

FANOUT = 4


@dataclass(frozen=True)
class Yardsticks:
    """Figures of a process, measured on the standard cells of a library.

    Parameters
    ----------
    area : float
        Area of the smallest flip-flop, in square micrometre as the library counts it.
    capacitance : float
        Capacitance of an input of the smallest NAND gate, in farad.
    voltage : float
        Nominal, in volt.
    delay : float
        Delay in seconds of the smallest inverter when it drives four of its kind.
    leakage : float
        Leakage of the smallest inverter, in watt.
    """

    area: float
    capacitance: float
    voltage: float
    delay: float
    leakage: float


def yardsticks(library: Library) -> Yardsticks:
    """Measure a library.

    Parameters
    ----------
    library : Library
        Standard cells.

    Returns
    -------
    Yardsticks
        Figures of its smallest cells.

    Raises
    ------
    LibertyError
        If it has no flip-flop, NAND gate or inverter, or no delay of that.
    """
    nand, inverter = find_nand(library), find_inverter(library)
    first = nand.pins[nand.inputs[0]]
    pin = inverter.pins[inverter.inputs[0]]
    load = FANOUT * (pin.rise_capacitance + pin.fall_capacitance) / 2
    arc = next(iter(inverter.pins[inverter.outputs[0]].timing), None)
    if arc is None or (arc.delay_rise or arc.delay_fall) is None or (arc.slew_rise or arc.slew_fall) is None:
        raise LibertyError(f"the library {library.name} has no delay and transition time of inverter {inverter.name}")
    slew = delay = 0.0
    for _ in range(5):  # the edge at the input becomes that of a chain of equals
        delays = [float(table(slew, load)) for table in (arc.delay_rise, arc.delay_fall) if table is not None]
        slews = [float(table(slew, load)) for table in (arc.slew_rise, arc.slew_fall) if table is not None]
        delay, slew = sum(delays) / len(delays), sum(slews) / len(slews)
    return Yardsticks(
        area=find_flip_flop(library).cell.area,
        capacitance=(first.rise_capacitance + first.fall_capacitance) / 2,
        voltage=library.voltage,
        delay=delay,
        leakage=mean_leakage(inverter),
    )


def features(depth: int, width: int, columns: int) -> tuple[float, ...]:
    """Features that the fitted figures are linear in: a constant, rows, width, cells on a row, and bits."""
    return 1.0, depth / columns, float(width), float(width * columns), float(width * depth)


@functools.cache
def _coefficients() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "sram_model.json").read_text())


@dataclass(frozen=True)
class _Scaled:
    """The model for one library: factors on the fitted figures, and its own capacitances and leakage."""

    area: float
    energy: float
    time: float
    here: Yardsticks

    def figure(self, name: str, depth: int, width: int) -> float:
        """A fitted figure of a size, scaled: joule, square micrometre or seconds."""
        columns = max(4, depth // ROWS)
        terms = zip(_coefficients()["coefficients"][name], features(depth, width, columns), strict=True)
        factor = {"read": self.energy, "write": self.energy, "area": self.area, "delay": self.time}[name]
        return factor * sum(coefficient * term for coefficient, term in terms)


def _scaled(library: Library) -> _Scaled:
    here, there = yardsticks(library), Yardsticks(**_coefficients()["yardsticks"])
    energy = here.capacitance * here.voltage**2 / (there.capacitance * there.voltage**2)
    return _Scaled(here.area / there.area, energy, here.delay / there.delay, here)


HEAD = """/* {name}: an SRAM model, not a macro of any process; see lmu_hw/cells/sram_model.py.
   Fitted to: {source} */
library ({name}) {{
  delay_model : table_lookup;
  time_unit : "1ns"; voltage_unit : "1V"; current_unit : "1uA"; leakage_power_unit : "1nW";
  pulling_resistance_unit : "1kohm"; capacitive_load_unit (1, ff);
  nom_process : 1; nom_voltage : {voltage:g}; nom_temperature : {temperature:g};
  operating_conditions (stated) {{ process : 1; voltage : {voltage:g}; temperature : {temperature:g}; }}
  default_operating_conditions : stated;
  slew_lower_threshold_pct_rise : 30; slew_upper_threshold_pct_rise : 70;
  slew_lower_threshold_pct_fall : 30; slew_upper_threshold_pct_fall : 70;
  input_threshold_pct_rise : 50; input_threshold_pct_fall : 50;
  output_threshold_pct_rise : 50; output_threshold_pct_fall : 50;
  lu_table_template (by_load) {{ variable_1 : total_output_net_capacitance; index_1 ("0, {load:.6g}"); }}
"""

BUS_TYPE = """  type ({name}) {{ base_type : array; data_type : bit;
    bit_width : {width}; bit_from : {last}; bit_to : 0; downto : true; }}
"""

CELL = """  cell ({name}) {{
    area : {area:.6g}; cell_leakage_power : {leakage:.6g};
    memory () {{ type : ram; address_width : {address_width}; word_width : {width}; }}
    pin (A_CLK) {{ direction : input; clock : true; capacitance : {clock:.6g};
      internal_power () {{ when : "A_MEN & !A_WEN & A_REN";
        rise_power (scalar) {{ values ("{read:.6g}"); }} fall_power (scalar) {{ values ("0"); }} }}
      internal_power () {{ when : "A_MEN & A_WEN";
        rise_power (scalar) {{ values ("{write:.6g}"); }} fall_power (scalar) {{ values ("0"); }} }}
    }}
{inputs}    bus (A_DOUT) {{ bus_type : word_{width}; direction : output; max_capacitance : {load:.6g};
      timing () {{ related_pin : "A_CLK"; timing_type : rising_edge; timing_sense : non_unate;
        cell_rise (by_load) {{ values ("{delay}"); }} cell_fall (by_load) {{ values ("{delay}"); }}
        rise_transition (by_load) {{ values ("{slew}"); }} fall_transition (by_load) {{ values ("{slew}"); }}
      }}
    }}
  }}
"""

INPUT = """    {kind} ({name}) {{ {bus}direction : input; capacitance : {capacitance:.6g};
      timing () {{ related_pin : "A_CLK"; timing_type : setup_rising;
        rise_constraint (scalar) {{ values ("{setup:.6g}"); }} fall_constraint (scalar) {{ values ("{setup:.6g}"); }} }}
      timing () {{ related_pin : "A_CLK"; timing_type : hold_rising;
        rise_constraint (scalar) {{ values ("0"); }} fall_constraint (scalar) {{ values ("0"); }} }}
    }}
"""


def _cell(scaled: _Scaled, depth: int, width: int) -> str:
    """Liberty of one size, in nanoseconds, femtofarads, femtojoules and nanowatts."""
    model = _coefficients()
    nand, output = scaled.here.capacitance * 1e15, model["output"]
    pins: Mapping[str, float] = model["pin_capacitance_in_nand_inputs"]
    load = output["most_load_in_nand_inputs"] * nand
    there = model["yardsticks"]["capacitance"]
    per_load = scaled.time * there / scaled.here.capacitance * 1e9 * 1e-15 * load
    access = scaled.figure("delay", depth, width) * 1e9
    edge = output["transition"] * scaled.time * 1e9
    address_width = (depth - 1).bit_length()
    inputs = [("pin", name, "", "control") for name in ("A_MEN", "A_REN", "A_WEN")]
    inputs += [
        ("bus", "A_ADDR", f"bus_type : address_{address_width}; ", "address"),
        ("bus", "A_DIN", f"bus_type : word_{width}; ", "data"),
    ]
    return CELL.format(
        name=f"{PREFIX}{depth}x{width}",
        area=scaled.figure("area", depth, width),
        leakage=LEAKAGE_PER_BIT * depth * width * scaled.here.leakage * 1e9,
        address_width=address_width,
        width=width,
        clock=pins["clock"] * nand,
        read=scaled.figure("read", depth, width) * 1e15,
        write=scaled.figure("write", depth, width) * 1e15,
        load=load,
        delay=f"{access:.6g}, {access + output['delay_per_farad'] * per_load:.6g}",
        slew=f"{edge:.6g}, {edge + output['transition_per_farad'] * per_load:.6g}",
        inputs="".join(
            INPUT.format(kind=kind, name=name, bus=bus, capacitance=pins[role] * nand, setup=SETUP * access)
            for kind, name, bus, role in inputs
        ),
    )


def model_liberty(library: Library) -> str:
    """Liberty text of SRAM models for a library, at its voltage and temperature.

    Parameters
    ----------
    library : Library
        Standard cells.

    Returns
    -------
    str
        A library of 28 cells, 64 to 4096 words of 8 to 64 bits, with the pins of IHP's macros.

    Raises
    ------
    LibertyError
        If the library lacks the cells to scale by.
    """
    scaled = _scaled(library)
    model = _coefficients()
    load = model["output"]["most_load_in_nand_inputs"] * scaled.here.capacitance * 1e15
    name = f"sram_model_for_{library.name}"
    parts = [
        HEAD.format(
            name=name, source=model["source"], voltage=library.voltage, temperature=library.temperature, load=load
        )
    ]
    buses = {f"word_{width}": width for width in WIDTHS}
    buses |= {f"address_{width}": width for width in ((depth - 1).bit_length() for depth in DEPTHS)}
    parts += [BUS_TYPE.format(name=name, width=width, last=width - 1) for name, width in buses.items()]
    parts += [_cell(scaled, depth, width) for depth in DEPTHS for width in WIDTHS]
    return "".join(parts) + "}\n"


def is_model(cell: str) -> bool:
    """Whether a cell of that name is a model, not a macro."""
    return cell.startswith(PREFIX)


def add_sram_model(library: Library) -> Library:
    """A library with SRAM models, if it has no memory macros of its own.

    Parameters
    ----------
    library : Library
        From `lmu_hw.cells.liberty.read_liberty`.

    Returns
    -------
    Library
        The same if it has macros, else one with the model's file, which is in the user's cache folder, beside its own.

    Raises
    ------
    LibertyError
        If the library lacks the cells to scale by.
    """
    if has_macros(library):
        return library
    text = model_liberty(library)
    path = cache_folder() / "sram-model" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.lib"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)
    return read_liberty([*library.files, path])
