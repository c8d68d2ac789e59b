"""Training of LMU keyword spotters with PyTorch, which is imported in this package only (and to read its files)."""

from lmu_quantize.train.config import RECIPES, TrainConfig
from lmu_quantize.train.loop import train
from lmu_quantize.train.results import TrainResult
from lmu_quantize.train.run import EpochResult
from lmu_quantize.train.scoring import evaluate

__all__ = ["RECIPES", "EpochResult", "TrainConfig", "TrainResult", "evaluate", "train"]
