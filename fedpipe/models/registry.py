"""The named models."""

from collections.abc import Callable

from fedpipe.config import Config
from fedpipe.models.cnn import cnn
from fedpipe.models.softmax import softmax
from fedpipe.models.spec import ModelSpec

MODELS: dict[str, Callable[[tuple[int, ...], int], ModelSpec]] = {"softmax": softmax, "cnn": cnn}


def build_model(config: Config, feature_shape: tuple[int, ...], num_classes: int) -> ModelSpec:
    """Return the model `config.model.name`, sized for the data's features and classes."""
    return MODELS[config.model.name](feature_shape, num_classes)
