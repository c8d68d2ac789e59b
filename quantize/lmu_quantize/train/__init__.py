"""Training of LMU keyword spotters with PyTorch, the only place where it is imported."""

from lmu_quantize.train.loop import RECIPES, TrainConfig, TrainResult, evaluate, train

__all__ = ["RECIPES", "TrainConfig", "TrainResult", "evaluate", "train"]
