"""A folder with which anybody can check a figure of tier gates in Debian's OpenSTA, with the PDK alone."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from lmu_hw.cells.corners import files_of
from lmu_hw.cells.liberty import read_text
from lmu_hw.cells.netlist import HIGH, LOW, Netlist
from lmu_hw.cells.sram_model import is_model
from lmu_hw.cells.transitions import find_loads
from lmu_hw.flows.folder import write_folder
from lmu_hw.power.activity import Activity, clock_nets
from lmu_hw.power.check_steps import CheckStep, find_evidence, find_steps, opensta_activity
from lmu_hw.power.evidence import Evidence
from lmu_hw.power.report import Report

__all__ = ["SCRIPT", "require_replaceable", "write_check"]

SCRIPT = "check.tcl"
"""The script that OpenSTA runs."""

SAIF_CYCLES = 1_000_000
"""Clock cycles that a SAIF file stands for: its counts are integers."""

IDEAL = """/* An ideal flip-flop, without power or capacitance, that stands for input ports and constants. */
library (lmu_hw_check) {
  delay_model : table_lookup; time_unit : "1ns"; voltage_unit : "1V"; current_unit : "1mA";
  pulling_resistance_unit : "1kohm"; capacitive_load_unit (1, ff); leakage_power_unit : "1nW";
  nom_process : 1; nom_voltage : @VOLTAGE@; nom_temperature : @TEMPERATURE@;
  input_threshold_pct_rise : 50; input_threshold_pct_fall : 50;
  output_threshold_pct_rise : 50; output_threshold_pct_fall : 50;
  slew_lower_threshold_pct_rise : 20; slew_lower_threshold_pct_fall : 20;
  slew_upper_threshold_pct_rise : 80; slew_upper_threshold_pct_fall : 80;
  cell (LMU_HW_IDEAL) { area : 0; cell_leakage_power : 0;
    ff (IQ, IQN) { next_state : "D"; clocked_on : "CLK"; }
    pin (CLK) { direction : input; clock : true; capacitance : 0; }
    pin (D) { direction : input; capacitance : 0; }
    pin (Q) { direction : output; function : "IQ";
      timing () { related_pin : "CLK"; timing_type : rising_edge;
        cell_rise (scalar) { values ("0"); } cell_fall (scalar) { values ("0"); }
        rise_transition (scalar) { values ("@SLEW@"); } fall_transition (scalar) { values ("@SLEW@"); }
      }
    }
  }
}
"""
"""OpenSTA 2.0.17 replaces activities behind ports and constants by its own estimate, but keeps those behind
flip-flops."""


def require_replaceable(folder: Path) -> None:
    """Refuse a folder that holds anything but an earlier check, before any work.

    Parameters
    ----------
    folder : Path
        It need not exist.

    Raises
    ------
    ValueError
        If it is a file, or a folder with other contents.
    """
    if folder.exists() and not (folder / SCRIPT).is_file() and (folder.is_file() or any(folder.iterdir())):
        raise ValueError(f"{folder}: holds other files than an earlier check; it would be replaced as a whole")


def write_check(report: Report, folder: Path) -> dict[str, tuple[CheckStep, ...]]:
    """Write netlist, constraints, wires, activities, macro models and a script that checks the report in OpenSTA.

    Parameters
    ----------
    report : Report
        Of tier gates, from `lmu_kit.estimate.estimate_power`.
    folder : Path
        Written whole or not at all; an earlier one is replaced. It holds no cells: the script reads the Liberty files
        by their paths.

    Returns
    -------
    dict of str to tuple of CheckStep
        By kind of sound: from what OpenSTA gives to the report's figure, rule by rule.

    Raises
    ------
    ValueError
        If the report is of another tier, or the folder holds other files.
    """
    evidence = find_evidence(report)
    require_replaceable(folder)
    steps = {kind: find_steps(report, kind) for kind in report.rows}
    netlist = evidence.netlist
    files = {
        "README.md": _readme(report, evidence, steps),
        SCRIPT: resources.files("lmu_hw.power").joinpath(SCRIPT).read_text(),
        "settings.tcl": _settings(report, evidence, steps),
        "netlist.v": netlist.to_verilog(),
        "netlist_opensta.v": _opensta_verilog(netlist, evidence.conditions.clock),
        "models.lib": _ideal_liberty(evidence),
        "constraints.sdc": _constraints(report, evidence),
        "wires.sdc": _wires(evidence),
    }
    if _uses_models(netlist):
        files["sram_models.lib"] = read_text(evidence.library.files[-1])
    for kind in report.rows:
        files[f"activity_{kind}.tcl"] = _pin_activities(evidence, kind)
        files[f"activity_{kind}.saif"] = _saif(netlist, evidence.activities[kind].bounded())
    write_folder(folder, {name: text.encode() for name, text in files.items()})
    return steps


def _macros(netlist: Netlist) -> list[str]:
    """Names of the memory macros, the SRAM models among them."""
    return sorted({instance.cell.name for instance in netlist.instances if instance.cell.memory is not None})


def _model_file(evidence: Evidence) -> Path | None:
    """File of the SRAM models, which `lmu_hw.cells.sram_model.add_sram_model` puts last."""
    has_model = any(is_model(name) for name in evidence.library.cells)
    return evidence.library.files[-1] if has_model else None


def _settings(report: Report, evidence: Evidence, steps: dict[str, tuple[CheckStep, ...]]) -> str:
    """The variables of the script."""
    hashes = dict(zip(evidence.library.files, evidence.library.hashes, strict=True))
    paths = [path for path in files_of(hashes, _macros(evidence.netlist)) if path != _model_file(evidence)]
    models = ["models.lib", *(["sram_models.lib"] if _uses_models(evidence.netlist) else [])]
    lines = [
        "# Liberty files: change the paths if yours are elsewhere. The hashes are SHA-256 of the uncompressed text.",
        *(f"# {path.name}: {hashes[path]}" for path in paths),
        "set liberty {",
        *(f"  {{{path.absolute()}}}" for path in paths),
        *(f"  {name}" for name in models),
        "}",
        f"set top {evidence.netlist.top}",
        f"set sounds {{{' '.join(report.rows)}}}",
        f"set frame_rate {report.point.frame_rate:.12g}",
        "# What lmu-hw computes by the rules of OpenSTA 2.0.17, in nJ per frame: internal, switching, leakage.",
    ]
    for kind, (first, *_) in steps.items():
        energies = " ".join(f"{joules * 1e9:.9g}" for joules in (first.internal, first.switching, first.leakage))
        lines.append(f"set expected({kind}) {{{energies}}}")
    return "\n".join([*lines, ""])


def _uses_models(netlist: Netlist) -> bool:
    return any(map(is_model, _macros(netlist)))


def _tied(netlist: Netlist) -> Iterator[tuple[int, str, int]]:
    """Instances without inputs, which drive constants, with each output pin and its net."""
    for index, instance in enumerate(netlist.instances):
        if not instance.cell.inputs:
            for pin, net in instance.nets.items():
                yield index, pin, net


def _opensta_verilog(netlist: Netlist, clock: str) -> str:
    """The netlist with an ideal flip-flop at every input port, constant and constant cell."""
    ports = [f"{name}_{bit}" for name, nets in netlist.outputs.items() for bit in range(len(nets))]
    clock_port = f"{clock}_0"
    lines = [
        "// The cells, nets and names of netlist.v. Ideal flip-flops stand for the input ports and the constants,",
        "// because OpenSTA 2.0.17 replaces the activities behind those by its own estimate. They take no power.",
        f"module {netlist.top} ({', '.join([clock_port, *ports])});",
        f"  input {clock_port};",
        *(f"  output {port};" for port in ports),
        *(f"  wire n{net};" for net in range(netlist.nets)),
        f"  assign n{netlist.inputs[clock][0]} = {clock_port};",
    ]
    lines += [
        f"  assign {name}_{bit} = n{net};" for name, nets in netlist.outputs.items() for bit, net in enumerate(nets)
    ]
    tied = {(index, pin) for index, pin, _ in _tied(netlist)}
    driven = {f"constant_{level}": net for level, net in (("low", LOW), ("high", HIGH))}
    driven |= {
        f"port_{name}_{bit}": net
        for name, nets in netlist.inputs.items()
        for bit, net in enumerate(nets)
        if name != clock
    }
    driven |= {f"tie_{index}_{number}": net for number, (index, _, net) in enumerate(_tied(netlist))}
    lines += [f"  LMU_HW_IDEAL {name} (.CLK({clock_port}), .Q(n{net}));" for name, net in driven.items()]
    for index, instance in enumerate(netlist.instances):
        pins = ", ".join(
            f".{pin}()" if (index, pin) in tied else f".{pin}(n{net})" for pin, net in instance.nets.items()
        )
        lines.append(f"  {instance.cell.name} i{index} ({pins});")
    return "\n".join([*lines, "endmodule", ""])


def _ideal_liberty(evidence: Evidence) -> str:
    """Liberty of the ideal flip-flop."""
    values = {
        "@VOLTAGE@": f"{evidence.library.voltage:g}",
        "@TEMPERATURE@": f"{evidence.library.temperature:g}",
        "@SLEW@": f"{evidence.conditions.input_slew * 1e9:.9g}",
    }
    text = IDEAL
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _constraints(report: Report, evidence: Evidence) -> str:
    period, clock = 1e9 / report.point.clock, evidence.conditions.clock
    return "\n".join(
        [
            "# Nanoseconds.",
            f"create_clock -name {clock} -period {period:.12g} [get_ports {clock}_0]",
            "set_propagated_clock [all_clocks]",
            f"# Inputs change within {evidence.conditions.input_slew * 1e9:g} ns: so do the outputs of the ideal",
            "# flip-flops in models.lib that stand for the input ports.",
            "",
        ]
    )


def _wires(evidence: Evidence) -> str:
    """Capacitance of the wire of every net. A load of 0 is written too: it keeps a library's own wire rule away."""
    netlist, conditions = evidence.netlist, evidence.conditions
    wires = find_loads(netlist, conditions.wires).rise - find_loads(netlist).rise
    connected = sorted({net for instance in netlist.instances for net in instance.nets.values()})
    lines = [f"# Femtofarads of wire, without the pins: {conditions.wires.describe()}."]
    lines += [f"set_load {max(0.0, wires[net]) * 1e15:.9g} [get_nets n{net}]" for net in connected]
    return "\n".join([*lines, ""])


def _pin_activities(evidence: Evidence, kind: str) -> str:
    """Activity of every pin that is no clock, net by net."""
    netlist = evidence.netlist
    clocks = clock_nets(netlist, evidence.conditions.clock)
    activity = opensta_activity(evidence, kind).bounded()
    pins: dict[int, list[str]] = {}
    tied = {(index, pin) for index, pin, _ in _tied(netlist)}
    for index, instance in enumerate(netlist.instances):
        for pin, net in instance.nets.items():
            if not clocks[net] and (index, pin) not in tied:
                pins.setdefault(net, []).append(f"i{index}/{pin}")
    lines = ["# a: changes per cycle, part of the time at 1, pins of the net."]
    for net, names in sorted(pins.items()):
        listed = " ".join(f"{{{name}}}" if "[" in name else name for name in names)
        lines.append(f"a {activity.toggles[net]:.9g} {activity.duty[net]:.9g} {listed}")
    return "\n".join([*lines, ""])


def _saif(netlist: Netlist, activity: Activity) -> str:
    """The same activity in SAIF, by the nets of netlist.v, for other tools."""
    picoseconds = round(activity.period * SAIF_CYCLES * 1e12)
    lines = [
        "(SAIFILE",
        '(SAIFVERSION "2.0")',
        '(DIRECTION "backward")',
        '(PROGRAM_NAME "lmu-hw")',
        "(DIVIDER / )",
        "(TIMESCALE 1 ps)",
        f"(DURATION {picoseconds})",
        f"(INSTANCE {netlist.top}",
        "(NET",
    ]
    for net in range(netlist.nets):
        high = round(picoseconds * float(activity.duty[net]))
        changes = round(SAIF_CYCLES * float(activity.toggles[net]))
        lines.append(f"(n{net} (T0 {picoseconds - high}) (T1 {high}) (TX 0) (TC {changes}) (IG 0))")
    return "\n".join([*lines, ")", ")", ")", ""])


README = """# Check of an energy figure

Network and technology: @SUBJECT@. Run this in the folder:

    sta -no_splash -exit check.tcl

It needs OpenSTA 2.0.17 (Debian 12: `apt-get install opensta`) and the Liberty files that `settings.tcl` names by path.
`SOUND=noise sta -no_splash -exit check.tcl` checks another kind of sound: @SOUNDS@. The script prints what OpenSTA
computes, what lmu-hw computes by the rules of that version, and the difference. Its last line says whether they agree
within 0.2 %.

| file | content |
|---|---|
| `netlist.v` | the mapped cells; nets `n2`, `n3`, ..., instances `i0`, `i1`, ..., ports bit by bit |
| `netlist_opensta.v` | the same, with ideal flip-flops for input ports and constants |
| `constraints.sdc`, `wires.sdc` | the clock; the capacitance of the wire of every net |
| `activity_SOUND.tcl` | changes per cycle and part of the time at 1 of every pin |
| `activity_SOUND.saif` | the same by net of `netlist.v`, clocks as counted; not tested with another tool |
| `models.lib` | the ideal flip-flop |
@MODELS@| `settings.tcl`, `check.tcl` | paths of the cells and expected sums; the script |

@MACROS@

## From OpenSTA's sum to the reported figure

OpenSTA 2.0.17 is of 2019 and weighs transitions by rules that later versions dropped. Each line changes one rule; the
last line is the reported figure, which leaves out: @MISSING@. All in nJ per frame.
"""


def _readme(report: Report, evidence: Evidence, steps: dict[str, tuple[CheckStep, ...]]) -> str:
    """What the folder holds, how to run it, and the table of differences."""
    models = _uses_models(evidence.netlist)
    values = {
        "@SUBJECT@": f"{evidence.netlist.top}, {report.technology['name']}, {report.point.clock / 1000:.6g} kHz, "
        f"{report.point.frame_rate:g} frames per second",
        "@SOUNDS@": ", ".join(report.rows),
        "@MODELS@": "| `sram_models.lib` | the SRAM model, which no foundry confirms |\n" if models else "",
        "@MACROS@": "The memory macros are a model that no foundry confirms. What they take rests on it."
        if models
        else "All cells, memory macros too, are those of the Liberty files.",
        "@MISSING@": ", ".join(report.missing) or "nothing",
    }
    text = README
    for name, value in values.items():
        text = text.replace(name, value)
    for kind, of_kind in steps.items():
        text += f"\n### {kind}\n\n| rule | dynamic | leakage | all | change |\n|---|---|---|---|---|\n"
        before = of_kind[0].frame
        for step in of_kind:
            numbers = (step.dynamic, step.leakage, step.frame, step.frame - before)
            before = step.frame
            text += f"| {step.rule} | {' | '.join(f'{value * 1e9:.4f}' for value in numbers)} |\n"
    return text
