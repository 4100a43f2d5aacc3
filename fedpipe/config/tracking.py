"""The settings of tracking and of the model registry."""

import warnings
from typing import Annotated

from pydantic import Field, field_validator

from fedpipe.config.base import Group, Name, PositiveFloat, PositiveInt

with warnings.catch_warnings():
    # Abstract classes have a method of the class itself called `register`; a field of that name
    # does not get in its way.
    warnings.filterwarnings("ignore", message='Field name "register"', category=UserWarning)

    class TrackingConfig(Group):
        """What is recorded, and under which name."""

        experiment: Name = Field("fedpipe", description="MLflow experiment of the run.")
        wait_seconds: PositiveFloat = Field(
            60.0,
            description="Seconds without progress that the end of a run waits for a store that is "
            "away; then its records stay in a journal for `fedpipe sync`.",
        )
        save_every: PositiveInt = Field(
            5,
            description="Rounds between saved server weights; round 0, the best and the last are "
            "kept too.",
        )
        register: bool = Field(
            False,
            description="Register the run's model in MLflow's registry, as `champion` or "
            "`challenger` (docs/serve.md). Needs `data.validation_fraction`.",
        )
        model_name: Name = Field(
            "fedpipe",
            description="Registered model that `register` adds a version to; no `/`, `:` or `@`.",
        )
        min_improvement: Annotated[float, Field(ge=0, le=1)] = Field(
            0.0,
            description="By how much the `validation/accuracy` of a new version must be higher "
            "than the champion's, as a fraction, for the alias `champion` to move; "
            "with 0 by anything.",
        )

        @field_validator("model_name")
        @classmethod
        def _can_be_registered(cls, name: str) -> str:
            # MLflow allows no `/` and `:`, and `@` stands before an alias.
            if any(sign in name for sign in "/:@") or name != " ".join(name.split()):
                raise ValueError(
                    "tracking.model_name: expected a name without '/', ':', '@' and stray "
                    f"spaces, found {name!r}"
                )
            return name
