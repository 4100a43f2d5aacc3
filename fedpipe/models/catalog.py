"""The named models, what features each takes, and a user's own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fedpipe.config import Config
from fedpipe.config.model import MODEL_NAMES
from fedpipe.data.manifest import Manifest
from fedpipe.errors import ModelError
from fedpipe.models.cnn import cnn
from fedpipe.models.cnn_dropout import cnn_dropout
from fedpipe.models.lstm import following_tokens, lstm
from fedpipe.models.mlp import mlp
from fedpipe.models.resnet import resnet18_gn
from fedpipe.models.softmax import softmax
from fedpipe.models.spec import ModelSpec
from fedpipe.models.trainable import restrict

MODELS: dict[str, Callable[[tuple[int, ...], int], ModelSpec]] = {
    "softmax": softmax,
    "mlp": mlp,
    "cnn": cnn,
    "cnn_dropout": cnn_dropout,
    "resnet18_gn": resnet18_gn,
}
"""By name; `lstm` has settings of its own."""


def build_model(
    config: Config,
    feature_shape: tuple[int, ...],
    num_classes: int,
    project: Path | None = None,
    tokens: int | None = None,
) -> ModelSpec:
    """Return the model `config.model.name`, sized for the data's features and outputs.

    A model of `task.kind=tokens` that says nothing of targets predicts the token after each.

    Args:
        config: the settings under `model` are read.
        feature_shape: of one example.
        num_classes: size of the last axis of the outputs: classes, tokens, labels or targets; 1 of
            binary.
        project: folder in which a model of the user's own is looked for.
        tokens: number of different tokens that a step of preprocessing makes; `model.tokens` where
            that is not set.

    Raises:
        ModelError: the model does not take such features; or the user's own cannot be imported,
            raises, or is not what it should be.
    """
    model = _whole_model(config, feature_shape, num_classes, project, tokens)
    if config.model.trainable is None:
        return model
    return restrict(model, config.model.trainable)


def _whole_model(
    config: Config,
    feature_shape: tuple[int, ...],
    num_classes: int,
    project: Path | None,
    tokens: int | None,
) -> ModelSpec:
    chosen = config.model
    if config.task.kind == "tokens":
        return _of_tokens(config, feature_shape, num_classes, project)
    if chosen.name == "lstm":
        return lstm(feature_shape, num_classes, chosen.tokens or tokens, chosen.positions)
    if chosen.name in MODELS:
        return MODELS[chosen.name](feature_shape, num_classes)
    from fedpipe.models.user_model import build_own

    return build_own(chosen, feature_shape, num_classes, project, config.task.kind)


def _of_tokens(
    config: Config, feature_shape: tuple[int, ...], tokens: int, project: Path | None
) -> ModelSpec:
    """Return a model that predicts the token after each token."""
    chosen = config.model
    if chosen.name == "lstm":
        if chosen.tokens not in (None, tokens):
            raise ModelError(
                f"model.tokens={chosen.tokens}: expected the number of tokens of the data, padding "
                f"included, which is {tokens}. Remove it."
            )
        return replace(lstm(feature_shape, tokens, tokens, "all"), targets=following_tokens)
    if chosen.name in MODELS:
        raise ModelError(
            f"model.name={chosen.name}: expected a model of tokens for task.kind=tokens. Choose "
            "lstm or one of your own."
        )
    from fedpipe.models.user_model import build_own

    model = build_own(chosen, feature_shape, tokens, project, "tokens")
    if model.targets is None:
        return replace(model, targets=following_tokens)
    return model


def check_input(
    config: Config,
    manifest: Manifest,
    project: Path | None = None,
    highest_token: Callable[[], int] | None = None,
) -> None:
    """Return if the model can take the features that the shards hold; nothing is trained for that.

    `highest_token`: gives the highest token of the examples; asked only where the model takes
        tokens, as it reads all of them.

    Raises:
        ModelError: it cannot; both sides are named.
    """
    name = config.model.name
    shape = tuple(manifest.feature_shape)
    takes: tuple[str, ...] = ("int32",) if name == "lstm" else ("uint8", "float32")
    if name not in MODEL_NAMES:
        takes = build_model(config, shape, manifest.outputs, project, manifest.tokens).takes
    tokens = "int32" in takes
    if manifest.feature_dtype not in takes or (manifest.variable_length and not tokens):
        expected = f"{' or '.join(takes)} features of one shape"
        advice = "set data.feature_dtype if these are no tokens"
        if tokens:
            expected = "int32 tokens"
            advice = "set data.feature_dtype=int32 if these are tokens"
        kind = "sequences of up to" if manifest.variable_length else "features of shape"
        raise ModelError(
            f"model.name={name}: expected {expected}, data.source={manifest.source} has "
            f"{manifest.feature_dtype} {kind} {list(shape)}. Choose a model that takes them, or "
            f"{advice}."
        )
    model = build_model(config, shape, manifest.outputs, project, manifest.tokens)
    if (
        model.tokens is not None
        and highest_token is not None
        and (highest := highest_token()) >= model.tokens
    ):
        advice = "Give the model more tokens."
        if name == "lstm":
            advice = f"Set model.tokens to {highest + 1} or more."
        raise ModelError(
            f"model.name={name}: expected tokens from 0 to {model.tokens - 1}, "
            f"data.source={manifest.source} has {highest}. {advice}"
        )
