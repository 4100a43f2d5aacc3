"""The named models, and what features each takes."""

from collections.abc import Callable

from fedpipe.config import Config
from fedpipe.data.manifest import Manifest
from fedpipe.errors import ModelError
from fedpipe.models.cnn import cnn
from fedpipe.models.softmax import softmax
from fedpipe.models.spec import ModelSpec

_NUMBERS = ("uint8", "float32")
TAKES: dict[str, tuple[str, ...]] = {"softmax": _NUMBERS, "cnn": _NUMBERS}
"""dtypes of the features that each model takes; its builder refuses shapes that it cannot take."""

MODELS: dict[str, Callable[[tuple[int, ...], int], ModelSpec]] = {"softmax": softmax, "cnn": cnn}


def build_model(config: Config, feature_shape: tuple[int, ...], num_classes: int) -> ModelSpec:
    """Return the model `config.model.name`, sized for the data's features and classes."""
    return MODELS[config.model.name](feature_shape, num_classes)


def check_input(config: Config, manifest: Manifest) -> None:
    """Return if the model can take the features that the shards hold; nothing is built or trained for that.

    Raises:
        ModelError: it cannot; both sides are named.
    """
    name, shape = config.model.name, list(manifest.feature_shape)
    if manifest.feature_dtype not in TAKES[name] or manifest.variable_length:
        kind = "sequences of up to" if manifest.variable_length else "features of shape"
        raise ModelError(
            f"model.name={name}: expected {' or '.join(TAKES[name])} features of one shape, data.source={manifest.source} has "
            f"{manifest.feature_dtype} {kind} {shape}. Choose a model that takes them, or set data.feature_dtype if these are no tokens."
        )
    build_model(config, tuple(manifest.feature_shape), manifest.num_classes)
