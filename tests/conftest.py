"""What all tests share: in CI the recordings must be there, so that no test on real speech is skipped."""

import os
from pathlib import Path

import numpy as np
import pytest

from lmu_hw.model.fixed import Format, Quantizer
from lmu_hw.model.program import QuantizedDense, QuantizedLMU, QuantizedModel, Weights
from lmu_sim.random_models import legendre_memory

SPEECH = Path(os.environ.get("LMU_HW_SPEECH", Path(__file__).parents[2] / "shared" / "speech"))


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI") and not (SPEECH / "index.csv.gz").is_file():
        raise pytest.UsageError(f"the recordings must be in CI: {SPEECH} does not hold them (set LMU_HW_SPEECH)")


def make_spotter(units=112, memories=16, order=8, inputs=40, labels=10):
    """Keyword spotter of the size that is shipped: three LMU layers and a dense one, random 4-bit weights."""
    rng = np.random.default_rng(2024)
    state_format, output_format = Format(12, 10), Format(8, 7, signed=False)
    a, b = legendre_memory(order, 16.0)
    a_format, b_format = Format(10, 8), Format(8, 8)

    def weights(rows, columns, frac):
        return Weights(rng.integers(-7, 8, (rows, columns)), 4, np.full(rows, frac))

    layers = []
    source = inputs
    for _ in range(3):
        layers.append(
            QuantizedLMU(
                matrix=(0,) * memories,
                a=(a_format.quantize(a),),
                b=(b_format.quantize(b),),
                a_format=a_format,
                b_format=b_format,
                u=Quantizer(Format(8, 7)),
                m=Quantizer(state_format),
                h=Quantizer(output_format),
                e_x=weights(memories, source, 6),
                w_x=weights(units, source, 6),
                w_m=weights(units, memories * order, 6),
                b_h=rng.integers(-500, 500, units),
            )
        )
        source = units
    layers.append(QuantizedDense(weights(labels, units, 6), Quantizer(Format(12, 7))))
    return QuantizedModel(tuple(layers), Format(8, 4), tuple(f"label{i}" for i in range(labels)), name="spotter")


@pytest.fixture(scope="session")
def spotter():
    return make_spotter()


@pytest.fixture(scope="session")
def published_size_spotter():
    """As many weights as the published 361-kbit network has, and a few more."""
    return make_spotter(units=128)
