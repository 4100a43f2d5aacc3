"""The settings of evaluation: when, on how many clients, and what it decides."""

from pydantic import Field

from fedpipe.config.base import PositiveInt, Section


class EvalConfig(Section):
    """When and on what the server's weights are evaluated."""

    every: PositiveInt = Field(
        1,
        description="Rounds between evaluations on the central test set and the validation "
        "examples; round 0 and the last round are evaluated too.",
    )
    clients: PositiveInt = Field(
        1000,
        description="Maximum number of participating clients, and of held-out clients, for the "
        "evaluation per client at the end, drawn from `seed`; and of clients whose "
        "validation examples are pooled.",
    )
    patience: PositiveInt | None = Field(
        None,
        description="Rounds without a better validation score (`task.choose_by`) after which "
        "training stops; `null` trains all rounds. Needs `data.validation_fraction`.",
    )
    personalize_steps: int = Field(
        0,
        ge=0,
        description="Steps of training on a client's own examples, from the final weights, to "
        "measure what personalization gains; 0 is none.",
    )
