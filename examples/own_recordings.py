"""Hear your own recordings as the hardware hears them.

    python examples/own_recordings.py kws361 yes.wav up.wav

The arguments: a shipped network or a quantized model file, and WAV files of any rate. The script prints what the
integers decide over time, then runs the same frames through the Verilog and says which word it decided.
"""

import sys

import lmu_hw as lh


def main(network: str, *recordings: str) -> None:
    """Listen, then co-simulate."""
    model = lh.open_model(network)
    for recording in recordings:
        heard = lh.listen(model, recording, resample=True)
        for label, time in dict(zip(heard.labels, heard.times, strict=True)).items():
            print(f"{recording}: {label!r} led last at {time:.2f} s")

    plan = lh.accelerator(model)
    result = lh.cosimulate(plan, lh.open_recordings(model, recordings, resample=True)).check()
    for recording, decision in zip(recordings, result.decisions, strict=True):
        print(f"{recording}: the Verilog decides {decision.word!r}")
    print(f"{result.compared} values compared with the golden model, {result.differing} differ")


if __name__ == "__main__":
    main(*sys.argv[1:])
