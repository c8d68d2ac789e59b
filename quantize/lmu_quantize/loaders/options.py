"""What a caller says about a model file that has no configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmu_quantize.loaders.errors import MissingHyperparameters

__all__ = ["LoadOptions"]


@dataclass(frozen=True)
class LoadOptions:
    """Hyperparameters of a file that holds only tensors.

    Each but `layers` is one value for all layers or a dict by layer name; None where it is not given.

    Parameters
    ----------
    order : int or dict, optional
        Order of the memories.
    theta : float or dict, optional
        Window in time steps; not needed where it was trained, or where the file holds A and B.
    discretizer : {"zoh", "euler"} or dict, optional
        Discretization of the memories.
    activation : {"linear", "relu", "tanh"} or dict, optional
        Activation of the hidden state. PyTorch files have a default: ``tanh`` for LMU, ``relu`` for LMUFFT.
    u_activation : {"linear", "relu"} or dict, optional
        Activation of u, in PyTorch files: ``linear`` for LMU, ``relu`` for LMUFFT by default.
    dense_activation : {"linear", "relu", "tanh"} or dict, optional
        Activation of dense layers; needed for all but the last, which is linear by default.
    inputs : int or dict, optional
        Elements of an input frame of an LMU; needed where the shapes are ambiguous.
    layers : sequence of str, optional
        Layer names in the order of the data; needed where the sizes are ambiguous.
    """

    order: Any = None
    theta: Any = None
    discretizer: Any = None
    activation: Any = None
    u_activation: Any = None
    dense_activation: Any = None
    inputs: Any = None
    layers: Sequence[str] | None = None

    def given(self) -> list[str]:
        """Names of the options that are given."""
        return [name for name, value in vars(self).items() if value is not None]

    def check_layers(self, layers: Sequence[str]) -> None:
        """Raise `ValueError` if a dict by layer name has a layer that is not one of `layers`."""
        for name, value in vars(self).items():
            unknown = sorted(set(value) - set(layers)) if isinstance(value, Mapping) else []
            if unknown:
                raise ValueError(f"{name} names layer {unknown[0]!r}, the file has {', '.join(layers)}")

    def get(self, option: str, layer: str) -> Any:
        """Value of an option for a layer, or None."""
        value = getattr(self, option)
        return value.get(layer) if isinstance(value, Mapping) else value

    def need(self, layer: str, *options: str) -> list[Any]:
        """Values of options for a layer; `MissingHyperparameters` names those that are not given."""
        values = [self.get(option, layer) for option in options]
        missing = [option for option, value in zip(options, values, strict=True) if value is None]
        if missing:
            raise MissingHyperparameters(layer, missing)
        return values
