"""Take your own Keras LMU to Verilog, a bit-exact verdict and joules.

    python examples/own_keras_model.py model.keras yes,no,up,down mfcc recordings/ build/own

The arguments are a model file (.keras, .h5), its labels in order, and the front end that it was trained with (mfcc,
log-mel or a JSON file). Then come a Speech Commands folder or a frames file, and the folder to write to.
"""

import sys
from pathlib import Path

import lmu_hw as lh


def main(model_file: str, labels: str, front_end: str, clips: str, folder: str) -> None:
    """Load, quantize, write, check, estimate."""
    floats = lh.open_float(model_file, labels=labels.split(","), front_end=front_end)
    result = lh.quantize(floats, lh.open_frames(floats, clips, split="validation", clips=100))
    model = result.model
    print(f"float and integers decide alike in {100 * result.report.agreement:.2f} % of the frames")

    frames = lh.open_frames(model, clips, clips=100)
    print(f"accuracy of the integers: {lh.evaluate(model, frames).score}")

    plan = lh.accelerator(model, lh.AcceleratorConfig.frugal(lanes=4))
    for file in lh.write_verilog(plan, Path(folder) / "rtl", name="keywords"):
        print(f"wrote {file}")

    verdict = lh.cosimulate(plan, lh.spread_evenly(frames, 2)).check()
    print(f"Verilog against golden model: {verdict.compared} values compared, {verdict.differing} differ")

    report = lh.estimate_power(plan, "ihp-sg13g2")
    print(f"{report.sums('speech').frame * 1e9:.3f} nJ per frame on IHP SG13G2, by table (± {100 * report.band:.0f} %)")


if __name__ == "__main__":
    main(*sys.argv[1:])
