"""The configuration of a training run, and the recipes that are shipped."""

import dataclasses
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lmu_hw.checks import from_json, require_choice, require_int, require_number, require_type
from lmu_hw.files import parse_json
from lmu_hw.model.memory_layer import check_strides
from lmu_quantize.dataset import KEYWORD_LABELS, SplitRule
from lmu_quantize.features import FrontEnd
from lmu_quantize.shipped import RECIPES, read_given
from lmu_quantize.train.augment import AugmentConfig
from lmu_quantize.train.devices import DEVICES
from lmu_quantize.train.frame_augment import FrameAugmentConfig
from lmu_quantize.train.network import LayerShape, LayerSpec
from lmu_quantize.train.peers import PeerSpec
from lmu_quantize.train.pruning import PruningConfig
from lmu_quantize.train.quantizers import QuantizationScheme
from lmu_quantize.train.separable import DenseSpec, SeparableSpec
from lmu_quantize.train.teacher import TeacherConfig

__all__ = ["RECIPES", "TrainConfig", "TrainingPhase"]

PRECISIONS = ("float32", "bfloat16")
REGULARISATION = ("activity_density", "weight_density")


class TrainingPhase(NamedTuple):
    """One part of training.

    Attributes
    ----------
    name : {"float", "rounded", "quantized"}
        Floats, fake quantization, or fine-tuning.
    first, epochs : int
        Number of its first epoch, and how many it has.
    rate : float
        Peak of the learning rate.
    """

    name: str
    first: int
    epochs: int
    rate: float


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training run depends on.

    Parameters
    ----------
    data : str
        Folder of Speech Commands, as `SpeechCommands` takes it. Recipes leave it empty.
    out : str
        Folder of the results, the checkpoint and the frames. Recipes leave it empty.
    split : SplitRule
        How recordings are split that no list names.
    name : str
        Name of the model.
    labels : tuple of str
        Labels in output order.
    front_end : dict
        Parameters of `FrontEnd`, without normalisation.
    layers : tuple of LayerSpec, SeparableSpec or DenseSpec
        Layers; a dense layer of logits follows. In JSON the key ``type`` says which: ``lmu`` (if there is none),
        ``separable`` or ``dense``.
    network : PeerSpec, optional
        A network of another kind for comparison, in the place of `layers`; it is not exact and has no warm start.
    init : str
        Name of a shipped model whose float parent gives the first weights; its layers must have the same shapes. Random
        weights if empty.
    batch_norm : bool
        Batch normalisation in float training; folded into the weights before fine-tuning.
    dropout : float
        Fraction of hidden elements dropped in float training, 0 to below 1.
    augment : AugmentConfig
        Ranges of the augmentation of recordings, and the masks.
    frame_augment : FrameAugmentConfig, optional
        Ranges of the augmentation of frames, drawn anew in every epoch.
    copies : int
        Augmented copies of each clip.
    limit : int or None
        Most clips of one label in each split; None takes all.
    unknown_ratio, silence_ratio, splice_ratio, reversal_ratio : float
        Clips of ``unknown`` (recorded), of silence, of spliced and of reversed words in an epoch, as multiples of the
        mean number of clips of a keyword.
    unknown_rarity : float
        How far an epoch prefers clips of ``unknown`` words that have few: 0 draws all clips equally, 1 all words.
    unknown_repeats : int
        Most times that an epoch draws a recorded clip of ``unknown``.
    held_out_words : tuple of str
        Words of ``unknown`` of which no clip is in training, so that validation asks for words never heard; their
        training clips are in validation too.
    loss_frames : int
        Last frames over which the loss is averaged; of a network with strides the outputs in them, at least one.
    lead_frames : int
        Frames of other clips before each clip of training, so that the state is not zero where the clip starts, as in a
        stream; 0 for none. A multiple of `period`.
    label_smoothing : float
        0 to below 1.
    balanced : bool
        Train logits for labels that are equally frequent, whatever their frequency in an epoch. The loss adds the
        logarithm of that frequency to the logits (Menon et al. 2021, "Long-tail learning via logit adjustment"). At the
        end the logit of ``unknown`` is shifted for the best validation in which all unknown words count the same.
    word_weight : float
        Weight of a second loss, of telling all words apart that the clips say; its output layer is dropped in the end.
    teacher : TeacherConfig, optional
        A trained network whose outputs are learnt too.
    activity_density, weight_density : float
        Weights of two losses, `lmu_quantize.train.regularisation.density` of the hidden states and of the weight
        matrices, each the mean over layers: what is zero costs no multiplication.
    pruning : PruningConfig, optional
        Blocks of weights that go to zero in float training and stay zero.
    batch : int
        Clips in a batch.
    epochs, rounded_epochs, quantized_epochs : int
        Epochs of float training, of training with fake quantization before the exact one, and of fine-tuning.
    learning_rate, rounded_learning_rate, quantized_learning_rate : float
        Peaks of the three; each falls to 0 along a cosine.
    warmup : float
        Part of the steps of each over which the learning rate rises, 0 to below 1.
    weight_decay : float
        Of AdamW, on weight matrices only.
    average : float
        Decay of the mean of weights over steps that is validated and kept in the place of the last weights, 0 (no mean)
        to below 1.
    precision : {"float32", "bfloat16"}
        Of the matrix products before fine-tuning, and of a teacher. Weights, sums and all of fine-tuning are float32.
    scheme : QuantizationScheme
        Bits in fine-tuning.
    seed : int
        Seed of all choices.
    frames_seed : int or None
        Seed of the stored frames, where runs of several seeds share them; None takes `seed`.
    threads : int
        Threads of PyTorch.
    device : {"auto", "cpu", "cuda"}
        Where networks are trained; ``auto`` is a GPU if PyTorch sees one.
    """

    data: str = ""
    out: str = ""
    split: SplitRule = field(default_factory=SplitRule)
    name: str = "kws"
    labels: tuple[str, ...] = KEYWORD_LABELS
    front_end: dict[str, Any] = field(default_factory=lambda: {"kind": "log-mel", "n_mels": 40})
    layers: tuple[LayerShape, ...] = (LayerSpec(),)
    network: PeerSpec | None = None
    init: str = ""
    batch_norm: bool = True
    dropout: float = 0.1
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    frame_augment: FrameAugmentConfig | None = None
    copies: int = 8
    limit: int | None = None
    unknown_ratio: float = 3.0
    silence_ratio: float = 1.0
    splice_ratio: float = 0.0
    reversal_ratio: float = 0.0
    unknown_rarity: float = 0.5
    unknown_repeats: int = 1
    held_out_words: tuple[str, ...] = ()
    loss_frames: int = 4
    lead_frames: int = 0
    label_smoothing: float = 0.05
    balanced: bool = False
    word_weight: float = 0.0
    teacher: TeacherConfig | None = None
    activity_density: float = 0.0
    weight_density: float = 0.0
    pruning: PruningConfig | None = None
    batch: int = 128
    epochs: int = 60
    rounded_epochs: int = 0
    quantized_epochs: int = 20
    learning_rate: float = 4e-3
    rounded_learning_rate: float = 1e-3
    quantized_learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    average: float = 0.0
    precision: str = "float32"
    scheme: QuantizationScheme = field(default_factory=QuantizationScheme)
    seed: int = 0
    frames_seed: int | None = None
    threads: int = 2
    device: str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "held_out_words", tuple(self.held_out_words))
        trained = [word for word in self.held_out_words if word in self.labels]
        if trained:
            raise ValueError(f"held_out_words must be no labels, found {', '.join(trained)}")
        if not self.layers or not all(isinstance(layer, LayerShape) for layer in self.layers):
            raise ValueError(f"layers must be one or more layer shapes, not {self.layers!r}")
        for name, low in (
            ("copies", 1), ("unknown_repeats", 1), ("loss_frames", 1), ("batch", 2), ("epochs", 1),
            ("rounded_epochs", 0), ("quantized_epochs", 0), ("seed", 0), ("threads", 1), ("limit", 1),
            ("lead_frames", 0), ("frames_seed", 0),
        ):  # fmt: skip
            if name not in ("limit", "frames_seed") or getattr(self, name) is not None:
                require_int(name, getattr(self, name), low)
        for name in ("dropout", "label_smoothing", "warmup", "average"):
            require_number(name, getattr(self, name), 0, 1, below=True)
        for name in (
            "unknown_ratio", "silence_ratio", "splice_ratio", "reversal_ratio", "weight_decay", "word_weight",
            *REGULARISATION,
        ):  # fmt: skip
            require_number(name, getattr(self, name), 0)
        require_number("unknown_rarity", self.unknown_rarity, 0, 1)
        for name in ("learning_rate", "rounded_learning_rate", "quantized_learning_rate"):
            require_number(name, getattr(self, name), 0, above=True)
        require_choice("device", self.device, DEVICES)
        require_choice("precision", self.precision, PRECISIONS)
        require_type("balanced", self.balanced, bool)
        if self.pruning is not None and self.pruning.last_epoch >= self.epochs:
            raise ValueError(
                f"pruning last_epoch must be below the {self.epochs} float epochs, not {self.pruning.last_epoch!r}"
            )
        check_strides(layer.stride for layer in self.layers)
        if self.lead_frames % self.period:
            raise ValueError(f"lead_frames must be a multiple of {self.period}, not {self.lead_frames!r}")
        if self.network is not None and (self.scheme.exact or self.init or self.pruning or self.period > 1):
            raise ValueError(f"a {self.network.kind} network has no exact scheme, init, pruning or strides of layers")
        if self.rounded_epochs and not (self.scheme.exact and self.quantized_epochs):
            raise ValueError("rounded_epochs need exact fine-tuning after them: an exact scheme and quantized_epochs")
        FrontEnd.from_dict(self.front_end)

    def phase(self, epoch: int) -> TrainingPhase:
        """Part of training to which an epoch belongs."""
        rounded = self.epochs + self.rounded_epochs
        if epoch < self.epochs:
            return TrainingPhase("float", 0, self.epochs, self.learning_rate)
        if epoch < rounded:
            return TrainingPhase("rounded", self.epochs, self.rounded_epochs, self.rounded_learning_rate)
        return TrainingPhase("quantized", rounded, self.quantized_epochs, self.quantized_learning_rate)

    @property
    def all_epochs(self) -> int:
        """Epochs of all phases."""
        return self.epochs + self.rounded_epochs + self.quantized_epochs

    @property
    def period(self) -> int:
        """Input frames for one output: the strides multiplied."""
        return math.prod(layer.stride for layer in self.layers)

    @property
    def loss_outputs(self) -> int:
        """Last outputs over which the loss is averaged."""
        return max(1, self.loss_frames // self.period)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """JSON text, the same for equal configurations."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def identity(self) -> str:
        """JSON text without the folders and the device, which may differ when a run is resumed."""
        return dataclasses.replace(self, data="", out="", device="auto").to_json()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Build a configuration from `to_dict`; absent keys take the defaults.

        Raises
        ------
        TypeError, ValueError
            If a key is unknown or a value is refused.
        """
        parts = {name: functools.partial(from_json, kind, name) for name, kind in _PARTS.items()}
        return from_json(cls, "the training configuration", values, layers=_layer_specs, **parts)

    @classmethod
    def from_json(cls, text: str) -> "TrainConfig":
        """Build a configuration from JSON text.

        Raises
        ------
        TypeError, ValueError
            If the text is not a JSON object, a key is unknown, or a value is refused.
        """
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_recipe(cls, recipe: str | Path, data: str | Path, out: str | Path) -> "TrainConfig":
        """Read a recipe and say where the data is and where results go.

        Parameters
        ----------
        recipe : str or Path
            A file, or the name of a shipped recipe with or without ``.json``.
        data, out : str or Path
            As in the class.

        Raises
        ------
        FileNotFoundError
            There is no such recipe.
        ValueError
            The file is no recipe; the message names it.
        """
        try:
            read = cls.from_dict(parse_json(read_given(recipe, RECIPES, "recipe").removeprefix("\ufeff")))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{recipe}: not a recipe: {error}") from None
        return dataclasses.replace(read, data=str(data), out=str(out))


_PARTS: dict[str, type[Any]] = {
    "split": SplitRule,
    "network": PeerSpec,
    "augment": AugmentConfig,
    "frame_augment": FrameAugmentConfig,
    "teacher": TeacherConfig,
    "pruning": PruningConfig,
    "scheme": QuantizationScheme,
}
"""Keys that hold a configuration of their own."""


_LAYERS: dict[str, type[Any]] = {"lmu": LayerSpec, "separable": SeparableSpec, "dense": DenseSpec}
"""Shapes of layers by their type."""


def _layer_specs(layers: Any) -> tuple[LayerShape, ...]:
    if not isinstance(layers, list | tuple):
        raise TypeError(f"layers must be a list of objects, not {layers!r}")
    return tuple(_layer_spec(f"layers[{index}]", layer) for index, layer in enumerate(layers))


def _layer_spec(name: str, layer: Any) -> LayerShape:
    kind = layer.get("type", "lmu") if isinstance(layer, Mapping) else "lmu"
    require_choice(f"{name} type", kind, tuple(_LAYERS))
    if kind == "lmu" and isinstance(layer, Mapping):
        layer = {key: value for key, value in layer.items() if key != "type"}
    shape: LayerShape = from_json(_LAYERS[kind], name, layer)
    return shape
