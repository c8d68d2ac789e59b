"""Results of networks of other kinds, and of ours trained just like them, that the zoo is compared with."""

import json
from dataclasses import dataclass
from typing import Any

from lmu_quantize import zoo

__all__ = ["PUBLISHED", "Peer", "peers", "read_peer"]

PUBLISHED = ((1683, 0.969), (361, 0.959), (105, 0.950), (49, 0.927))
"""Kilobits and accuracy of the LMUs of Blouw et al. 2021 (arXiv:2009.04465): 12 labels, the whole dataset."""


@dataclass(frozen=True)
class Peer:
    """A network to compare with, and its accuracy.

    Parameters
    ----------
    name : str
        Of its recipe.
    kind : str
        As in `lmu_quantize.train.peers.PeerSpec`; ``lmu`` for one of ours.
    kbits : float
        Thousands of bits of trained weights, biases not counted.
    float_accuracy, quantized_accuracy : float
        On the official test clips, 0 to 1, before and after training with quantization.
    float_interval, quantized_interval : tuple of float
        Their 95 % Wilson intervals.
    clips : int
        Test clips.
    multiplications, weight_bits : float
        Per frame of 20 ms.
    equivalent_products : float
        The products as so many of 4 x 7 bits: each counts bits of weight times bits of operand, over 28.
    """

    name: str
    kind: str
    kbits: float
    float_accuracy: float
    quantized_accuracy: float
    float_interval: tuple[float, float]
    quantized_interval: tuple[float, float]
    clips: int
    multiplications: float
    weight_bits: float
    equivalent_products: float


def read_peer(result: dict[str, Any]) -> Peer:
    """Read what training wrote as ``result.json``, of one of ours with its size and cost added.

    Raises
    ------
    ValueError
        Something is missing.
    """
    try:
        recipe = result["recipe"]
        floats, quantized = (result["scores"][f"{phase}.test"] for phase in ("float", "quantized"))
        return Peer(
            name=recipe["name"],
            kind="lmu" if recipe["network"] is None else recipe["network"]["kind"],
            kbits=result["weight_bits"] / 1000,
            float_accuracy=floats["accuracy"],
            quantized_accuracy=quantized["accuracy"],
            float_interval=tuple(floats["interval"]),
            quantized_interval=tuple(quantized["interval"]),
            clips=quantized["clips"],
            multiplications=result["multiplications"],
            weight_bits=result["fetched_bits"],
            equivalent_products=result["equivalent_products"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not the result of a network to compare with, with its test clips ({error})") from None


def peers() -> list[Peer]:
    """Read the results that are shipped, by name; none where there is no folder."""
    return [read_peer(json.loads(path.read_text())) for path in sorted((zoo.ROOT / "peers").glob("*.json"))]
