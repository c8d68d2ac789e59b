"""Errors for model files that need options from the caller, with attributes that a caller can act on."""

from collections.abc import Mapping, Sequence

from lmu_quantize.float_file import ModelFileError

__all__ = ["LayerOrderError", "MissingHyperparameters"]


class MissingHyperparameters(ModelFileError):
    """A model file without a configuration needs hyperparameters from the caller.

    Parameters
    ----------
    layer : str
        Name of the layer.
    names : sequence of str
        Hyperparameters that are missing, such as ``("order", "theta")``: keyword arguments of `load_model`.
    path : str, optional
        The file, if known.

    Attributes
    ----------
    layer, names
        As above; `names` is a tuple.
    problem : str
        The message without the advice to pass keyword arguments.
    """

    def __init__(self, layer: str, names: Sequence[str], path: str | None = None) -> None:
        self.layer, self.names = layer, tuple(names)
        self.problem = _named(path, f"layer {layer!r}: the file does not hold {', '.join(names)}")
        super().__init__(f"{self.problem}; pass {_each(names)} to load_model as keyword arguments")

    def named(self, path: str) -> "MissingHyperparameters":
        """Return the same error with the name of the file."""
        return MissingHyperparameters(self.layer, self.names, path)


class LayerOrderError(ModelFileError):
    """The order of the layers can't be told from their sizes.

    Parameters
    ----------
    sizes : mapping of str to (int, int)
        Inputs and outputs of each layer, by its name.
    ambiguous : bool
        Whether more than one order fits; otherwise none does.
    path : str, optional
        The file, if known.

    Attributes
    ----------
    sizes, ambiguous
        As above.
    problem : str
        The message without the advice to pass the order.
    """

    def __init__(self, sizes: Mapping[str, tuple[int, int]], ambiguous: bool, path: str | None = None) -> None:
        self.sizes, self.ambiguous = dict(sizes), ambiguous
        listed = ", ".join(f"{name} ({inputs} to {units})" for name, (inputs, units) in sizes.items())
        count = "more than one" if ambiguous else "no"
        self.problem = _named(path, f"{count} order of the layers fits their sizes: {listed}")
        super().__init__(f"{self.problem}; pass layers=(...) to load_model, with the names in order")

    def named(self, path: str) -> "LayerOrderError":
        """Return the same error with the name of the file."""
        return LayerOrderError(self.sizes, self.ambiguous, path)


def _named(path: str | None, text: str) -> str:
    return text if path is None else f"{path}: {text}"


def _each(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
