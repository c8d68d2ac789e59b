"""A dense layer as Verilog by NNgen: ``python generate.py SPEC.json FOLDER``.

Runs where NNgen is installed (requirements.txt), and imports nothing of lmu-hw. The specification is JSON: ``weights``
(rows of integers), ``weight_width``, ``input_width``, ``sum_width`` and ``parallel`` (columns and rows of the weights
that are multiplied at a time). The folder gets ``nngen.v``, and ``map.json`` with the addresses of the memory outside
and the bytes of the weights as NNgen lays them out.
"""

import json
import sys
from pathlib import Path
from typing import Any

import nngen
import numpy as np

TOP = "nngen"
BUS = 32
"""Bits of the memory bus, NNgen's default."""


def generate(spec: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Verilog, and the memory map."""
    weights = np.array(spec["weights"])
    columns, rows = spec["parallel"]
    left = nngen.placeholder(nngen.dtype_int(spec["input_width"]), shape=(1, weights.shape[1]), name="frame")
    right = nngen.variable(nngen.dtype_int(spec["weight_width"]), shape=weights.shape, name="weights")
    right.set_value(weights)
    sums = nngen.matmul(
        left, right, transposed_b=True, dtype=nngen.dtype_int(32), sum_dtype=nngen.dtype_int(spec["sum_width"]),
        par_left_col=columns, par_out_col=rows, name="sums",
    )  # fmt: skip
    verilog = nngen.to_veriloggen([sums], TOP, silent=True, config={"maxi_datawidth": BUS}).to_verilog()
    stored = nngen.export_ndarray([sums], chunk_size=BUS // 8)
    return verilog, {
        "frame": left.addr,
        "weights": right.addr,
        "sums": sums.addr,
        "bytes": np.asarray(stored).view(np.uint8).tolist(),
    }


def main() -> None:
    """Write both."""
    spec, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    verilog, found = generate(spec)
    (folder / "nngen.v").write_text(verilog)
    (folder / "map.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
