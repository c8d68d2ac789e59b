"""Weight images: the network of an accelerator with its weights in RAM, changed without new Verilog."""

import os
from pathlib import Path
from typing import Any

from lmu_hw.export.written import MANIFEST_SCHEMA
from lmu_hw.files import is_sealed, write_whole
from lmu_hw.model.program import QuantizedModel
from lmu_hw.plan.config import AcceleratorConfig, WeightStore
from lmu_hw.plan.plan import make_plan
from lmu_hw.plan.shape import ShapeError, fitted, shape_digest
from lmu_hw.plan.weight_file import Image, make_image, read_image
from lmu_kit.errors import InputError
from lmu_kit.models import read_object

__all__ = ["check_weights", "write_weights"]


def write_weights(
    model: QuantizedModel, manifest: str | os.PathLike[str], path: str | os.PathLike[str]
) -> Image:
    """Write the weight image of a network for an accelerator that was generated for another network.

    Parameters
    ----------
    model : QuantizedModel
        The network.
    manifest : path-like
        ``NAME.json`` of the accelerator, as `write_verilog` wrote it.
    path : path-like
        The image; its folder is made if it does not exist.

    Returns
    -------
    Image
        The words for the load port, with the shape that they belong to and a checksum.

    Raises
    ------
    InputError
        If the file is no manifest, the accelerator has its weights as constants, or it cannot compute this network;
        the message names the differences.
    """
    config, shape = _accelerator(Path(manifest))
    try:
        image = make_image(fitted(make_plan(model, config), shape), shape)
    except ShapeError as error:
        raise InputError(f"{model.name}: {error}") from None
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, image.text().encode())
    return image


def check_weights(path: str | os.PathLike[str], manifest: str | os.PathLike[str]) -> Image:
    """Read a weight image, and check that it is complete and belongs to an accelerator.

    Parameters
    ----------
    path : path-like
        The image.
    manifest : path-like
        ``NAME.json`` of the accelerator.

    Returns
    -------
    Image
        What the file holds.

    Raises
    ------
    InputError
        If it belongs to accelerators of another shape, or the manifest cannot be used.
    WeightFileError
        If the image is damaged.
    """
    _, shape = _accelerator(Path(manifest))
    image = read_image(Path(path))
    try:
        image.check(shape)
    except ShapeError as error:
        raise InputError(f"{path}: {error}") from None
    return image


def _accelerator(path: Path) -> tuple[AcceleratorConfig, dict[str, Any]]:
    """Configuration and shape of an accelerator from its manifest."""
    content = read_object(path, "the manifest of an accelerator")
    if content.get("schema") != MANIFEST_SCHEMA:
        raise InputError(f"{path}: not the manifest of an accelerator")
    if content.get("version") != 1 and not is_sealed(content):
        raise InputError(f"{path}: its sha256 does not match, the manifest was altered; generate the accelerator again")
    try:
        config = AcceleratorConfig.from_dict(content.get("config"))
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
    if config.weights is not WeightStore.RAM:
        raise InputError(f"{path}: this accelerator has its weights as constants; generate it with weights ram")
    shape = content.get("shape")
    if not isinstance(shape, dict) or shape_digest(shape) != content.get("shape_sha256"):
        raise InputError(f"{path}: its shape is missing or was altered; generate the accelerator again")
    return config, shape
