"""Conversions of tensors."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["float64"]


def float64(values: Tensor) -> NDArray[np.float64]:
    """Copy a tensor to a float64 array."""
    array: NDArray[np.float64] = values.detach().double().cpu().numpy()
    return array
