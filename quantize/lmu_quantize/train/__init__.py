"""Training of LMU keyword spotters with PyTorch, the only place where it is imported."""

from lmu_quantize.train.config import RECIPES, TrainConfig
from lmu_quantize.train.loop import TrainResult, evaluate, train

__all__ = ["RECIPES", "TrainConfig", "TrainResult", "evaluate", "train"]
