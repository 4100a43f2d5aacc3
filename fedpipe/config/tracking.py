"""The settings of tracking and of the model registry."""

import warnings
from typing import Annotated

from pydantic import Field, field_validator

from fedpipe.config.base import Name, PositiveFloat, PositiveInt, Section

with warnings.catch_warnings():
    # Abstract classes have a method of the class itself called `register`; a field of that name
    # does not get in its way.
    warnings.filterwarnings("ignore", message='Field name "register"', category=UserWarning)

    class TrackingConfig(Section):
        """What is recorded, and under which name."""

        experiment: Name = Field("fedpipe", description="MLflow experiment of the run.")
        wait_seconds: PositiveFloat = Field(
            60.0,
            description="Timeout in seconds without progress, at the end of a run, for a store "
            "that cannot be reached; after it the records stay in a journal for `fedpipe sync`.",
        )
        save_every: PositiveInt = Field(
            5,
            description="Rounds between saved server weights; those of round 0, of the best and "
            "of the last round are saved too.",
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
        min_improvement: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
            0.0,
            description="Minimum improvement of the validation score (`task.choose_by`) over the "
            "champion, in its units (of accuracy a fraction), for the alias `champion` to move to "
            "the new version; with 0 any improvement.",
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
