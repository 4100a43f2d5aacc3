"""The settings of evaluation: when, on how many clients, and what it decides."""

from pydantic import Field

from fedpipe.config.base import Group, PositiveInt


class EvalConfig(Group):
    """When and on what the server's weights are evaluated."""

    every: PositiveInt = Field(
        1,
        description="Rounds between evaluations on the central test set and the validation "
        "examples; round 0 and the last have one too.",
    )
    clients: PositiveInt = Field(
        1000,
        description="Clients whose test examples are read, at most, to evaluate the weights for "
        "each client at the end: so many that take part and so many held-out ones, "
        "drawn from `seed`; and whose validation examples are pooled.",
    )
    patience: PositiveInt | None = Field(
        None,
        description="Rounds without a higher `validation/accuracy` after which training stops; "
        "`null` trains all rounds. Needs `data.validation_fraction`.",
    )
    personalize_steps: int = Field(
        0,
        ge=0,
        description="Steps that each evaluated client trains the final weights on its own "
        "examples, to see what it gains; 0 is none.",
    )
