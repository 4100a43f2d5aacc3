"""The fields of a training's form in Prefect: common settings by type and range; all others are
overrides, KEY=VALUE.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.config.data import SOURCE_NAMES
from fedpipe.config.model import MODEL_NAMES
from fedpipe.errors import ConfigError

Overrides = Annotated[
    list[str] | None,
    Field(examples=[["client.batch_size=20", "eval.patience=5", "tracking.register=true"]]),
]
Rounds = Annotated[int, Field(ge=1)] | None
CohortSize = Annotated[int, Field(ge=1)] | None
LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False)] | None
Epochs = Annotated[int, Field(ge=1)] | None
BatchSize = Annotated[int, Field(ge=1)] | None
Seed = Annotated[int, Field(ge=0)] | None


def _choice(names: Iterable[str]) -> Any:
    """Return a text whose field is a list of choices; a function of the user's own is set by an
    override.
    """
    return Field(json_schema_extra={"enum": list(names)})


AlgorithmName = Annotated[str, _choice(ALGORITHMS)] | None
ModelName = Annotated[str, _choice(MODEL_NAMES)] | None
SourceName = Annotated[str, _choice(SOURCE_NAMES)] | None

KEYS = {
    "rounds": "rounds",
    "cohort_size": "cohort.size",
    "learning_rate": "client.learning_rate",
    "epochs": "client.epochs",
    "batch_size": "client.batch_size",
    "algorithm": "algorithm.name",
    "model": "model.name",
    "source": "data.source",
    "data_path": "data.path",
    "seed": "seed",
}
"""The setting of each field, by the field's name."""


def form_overrides(fields: Mapping[str, Any], overrides: Sequence[str] | None) -> list[str]:
    """Return overrides with those of the fields that are set in front.

    Args:
        fields: value by the name of the field, None where it is empty.
        overrides: KEY=VALUE, of the same form.

    Raises:
        ConfigError: a field and an override set the same key.

    >>> form_overrides({"rounds": 5, "algorithm": None}, ["client.epochs=2"])
    ['rounds=5', 'client.epochs=2']
    """
    given = list(overrides or ())
    keys = {override.partition("=")[0].strip() for override in given}
    made = []
    for field, value in fields.items():
        if value is None:
            continue
        key = KEYS[field]
        if key in keys:
            raise ConfigError(
                f"parameters: the field '{field}' and one of the overrides both set {key}. Leave "
                "one of them empty."
            )
        made.append(f"{key}={json.dumps(value)}")
    return made + given
