"""Random models: the same seed gives the same model, and wrong shapes are refused."""

import numpy as np
import pytest

from lmu_hw.model import program_file
from lmu_hw.model.program import QuantizedDense, QuantizedLMU
from lmu_sim.testing.random_models import RandomShape, random_model


def test_the_same_seed_gives_the_same_model():
    models = [random_model(np.random.default_rng(3), layers=("lmu", "lmu")) for _ in range(2)]
    assert program_file.digest(models[0]) == program_file.digest(models[1])
    other = random_model(np.random.default_rng(4), layers=("lmu", "lmu"))
    assert program_file.digest(other) != program_file.digest(models[0])


def test_what_is_given_is_not_drawn():
    shape = {"inputs": 4, "units": 3, "memories": [(2, 5.0), (3, 7.0)], "stride": 2, "e_h": True, "w_x": False}
    for seed in range(8):
        model = random_model(np.random.default_rng(seed), layers=("lmu", "dense"), activation="tanh", **shape)
        memory, dense = model.layers
        assert isinstance(memory, QuantizedLMU)
        assert isinstance(dense, QuantizedDense)
        assert (model.inputs, memory.units, dense.units, memory.stride) == (4, 3, 3, 2)
        assert [len(memory.a[index]) for index in memory.matrix] == [2, 3]
        assert (memory.e_h is None, memory.w_x is None, memory.activation) == (False, True, "tanh")


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="a layer must be lmu, separable or dense, not 'conv'"):
        RandomShape(layers=("lmu", "conv"))
    with pytest.raises(TypeError, match="unexpected keyword argument 'neurons'"):
        random_model(np.random.default_rng(1), neurons=3)
