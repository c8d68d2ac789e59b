"""Process that runs Coloquinte: `python -m lmu_hw.flows.placer_worker PROBLEM SOLUTION`.

Coloquinte writes to the standard output, so it has a process of its own. A line comes out for each step that it takes.
The arrays are those of `lmu_hw.flows.placer`.
"""

import os
import sys

import coloquinte
import numpy as np


def main(problem_path: str, solution_path: str) -> None:
    """Place a problem and write the solution."""
    steps = os.fdopen(os.dup(1), "w", buffering=1)
    with open(os.devnull, "w") as nothing:  # noqa: PTH123 - a device, not a file
        os.dup2(nothing.fileno(), 1)

    def progress(step: coloquinte.PlacementStep) -> None:
        steps.write(f"{step.name}\n")

    with np.load(problem_path) as problem:
        circuit, widths = _circuit(problem), problem["width"].tolist()
        seed, effort = problem["options"].tolist()
        spread = float(problem["spread"])
    parameters = coloquinte.ColoquinteParameters(effort, seed)
    circuit.expand_cells_to_density(spread, 0.0)
    circuit.place_global(parameters, progress)
    circuit.cell_width = widths
    circuit.place_detailed(parameters, progress)
    with open(solution_path, "wb") as file:  # noqa: PTH123 - NumPy adds no suffix to a file that is open
        np.savez_compressed(
            file,
            x=np.array(circuit.cell_x),
            y=np.array(circuit.cell_y),
            orientations=np.array([orientation.name for orientation in circuit.cell_orientation]),
        )


def _circuit(problem: "np.lib.npyio.NpzFile") -> coloquinte.Circuit:
    """The circuit of a problem."""
    count = problem["width"].size
    circuit = coloquinte.Circuit(count)
    circuit.cell_width = problem["width"].tolist()
    circuit.cell_height = problem["height"].tolist()
    circuit.cell_is_fixed = problem["fixed"].tolist()
    circuit.cell_is_obstruction = problem["obstruction"].tolist()
    circuit.cell_row_polarity = [coloquinte.CellRowPolarity.SAME] * count
    circuit.cell_x, circuit.cell_y = problem["x"].tolist(), problem["y"].tolist()
    circuit.cell_orientation = [coloquinte.CellOrientation.N] * count
    cells, offsets = problem["net_cells"], problem["net_offsets"]
    for start, end in zip(problem["net_starts"][:-1].tolist(), problem["net_starts"][1:].tolist(), strict=True):
        circuit.add_net(cells[start:end].tolist(), offsets[start:end, 0].tolist(), offsets[start:end, 1].tolist())
    width, height = problem["row"].tolist()
    turned = coloquinte.CellOrientation.N, coloquinte.CellOrientation.FS
    circuit.rows = [
        coloquinte.Row(coloquinte.Rectangle(0, width, bottom, bottom + height), turned[index % 2])
        for index, bottom in enumerate(problem["rows"].tolist())
    ]
    circuit.check()
    return circuit


if __name__ == "__main__":
    main(*sys.argv[1:])
