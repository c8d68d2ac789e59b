"""Find the configuration with the least power for a network, within a limit of latency.

    python examples/sweep.py kws49 build/sweep

The arguments: a shipped network or a quantized model file, and the folder that keeps the points. A sweep that is
stopped resumes from there.
"""

import sys

import lmu_hw as lh


def main(network: str, folder: str) -> None:
    """Sweep, print the Pareto front, choose."""
    lists = lh.Sweep(
        models=(network,),
        config={"lanes": (2, 4, 8, 16), "skip_zero_elements": (False, True)},
        technologies=("ihp-sg13g2", "sky130A"),
        clocks=("auto",),
    )
    result = lh.sweep(lists, folder, jobs=1)
    for point in result.front:
        outcome = point.outcome
        print(
            f"{point.point.technology}: {point.point.config.to_dict()}: {outcome.power * 1e6:.2f} µW, "
            f"{outcome.area / 1e6:.3f} mm², {outcome.latency * 1e3:.1f} ms"
        )
    best = result.best(lh.Limits(latency=0.05))
    if best is None:
        print("no point decides within 50 ms")
    else:
        print(f"least power within 50 ms: {best.point.config.to_dict()} on {best.point.technology}")


if __name__ == "__main__":
    main(*sys.argv[1:])
