"""Estimate the energy of an inference in your own cell library.

    python examples/custom_library.py kws49 shipped my_cells.lib [my_macros.lib ...]

The arguments: a shipped network or a quantized model file; a frames file, or "shipped" for the frames that ship with
the network; and Liberty files of one corner. The accelerator is synthesised to these cells and simulated gate by gate
on real frames, which takes minutes. Without a Liberty file the cells are those that Debian ships (OSU 0.18 µm, package
qflow-tech-osu018).
"""

import sys

import lmu_hw as lh
from lmu_hw.cells.sram import has_macros


def main(network: str, frames: str, *liberty: str) -> None:
    """Map, simulate, weigh."""
    model = lh.open_model(network)
    library = lh.open_library(liberty=liberty) if liberty else lh.open_library()
    banks = 0 if has_macros(library[0]) else 16  # without SRAM macros, states are registers
    plan = lh.accelerator(model, lh.AcceleratorConfig.frugal(lanes=4, state_bank_words=banks))
    sounds = lh.find_sounds(model, None if frames == "shipped" else frames)
    report = lh.estimate_power(plan, library, tier="gates", sounds=sounds)
    total = report.sums("speech")
    print(f"{report.technology['name']}, {report.technology['voltage_V']:g} V: {total.frame * 1e9:.3f} nJ per frame")
    print(f"of it leakage {total.leakage * 1e9:.3f} nJ, glitches {(total.glitches or 0) * 1e9:.3f} nJ")
    for name in report.names:
        print(f"  {name:<16} {report.sums('speech', name).frame * 1e9:9.3f} nJ")


if __name__ == "__main__":
    main(*sys.argv[1:])
