"""The settings of the model: its name, and what the models of sequences want to know."""

from typing import Any, Literal

from pydantic import Field, field_validator

from fedpipe.config.base import OWN_FUNCTION, Name, PositiveInt, Section

MODEL_NAMES = ("softmax", "mlp", "cnn", "cnn_dropout", "lstm", "resnet18_gn")


class ModelConfig(Section):
    """What is trained."""

    name: Name = Field(
        "softmax",
        description="Architecture; docs/models.md has each with its paper. `softmax`: multinomial "
        "logistic regression from zero; `mlp`: two hidden layers of 200; `cnn`: two 5x5 "
        "convolutions, dense 512; `cnn_dropout`: two 3x3 convolutions, dropout, dense 128; "
        "`lstm`: two layers of 256, for sequences of tokens; `resnet18_gn`: ResNet-18 with "
        "group normalization; or `mypackage.module:function`, one of your own.",
    )
    tokens: PositiveInt | None = Field(
        None,
        description="Number of different tokens, the padding 0 included; `null`: as many as "
        "labels, which are tokens then.",
    )
    positions: Literal["last", "all"] = Field(
        "last",
        description="What is predicted. `last`: the example's label, from the whole sequence; "
        "`all`: after each token the next one, the label after the last, as McMahan "
        "et al. 2017 have it; loss and accuracy are over the tokens, without padding.",
    )

    batch_norm: Literal["refused", "frozen"] = Field(
        "refused",
        description="What becomes of batch normalization in a Keras model. `refused`: an error "
        "that names "
        "group normalization; `frozen`: it keeps its first statistics, and its scale and offset "
        "are trained.",
    )
    initial: Name | None = Field(
        None,
        description="Weights that training starts from: the id or name of a run, `NAME@ALIAS` of a "
        "registered "
        "model, or a file `.safetensors`, `.keras` or a SavedModel. `null`: the model's own "
        "initial weights.",
    )
    trainable: list[Name] | None = Field(
        None,
        min_length=1,
        description="Names or patterns, such as `dense/*`, of the tensors that are trained, sent "
        "and aggregated; "
        "the others stay as they are. `null`: all.",
    )
    options: dict[str, Any] = Field(
        {},
        description="Settings of your own for a model of your own, by the names of its function's "
        "arguments.",
    )

    @field_validator("name")
    @classmethod
    def _known_model(cls, name: str) -> str:
        if name not in MODEL_NAMES and not OWN_FUNCTION.fullmatch(name):
            raise ValueError(
                f"model.name: expected one of {', '.join(MODEL_NAMES)}, or "
                f"mypackage.module:function, found {name!r}"
            )
        return name
