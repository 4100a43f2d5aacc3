"""The settings of cohorts: who is asked in a round, and who of them reports."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fedpipe.config.base import Group, PositiveFloat, PositiveInt


class CohortConfig(Group):
    """Which clients take part in a round."""

    size: PositiveInt = Field(
        10,
        description="Clients per round; with `poisson` their expected number, where all clients "
        "can be asked.",
    )
    strategy: Literal["fixed", "uniform", "poisson", "weighted", "shuffled", "min_separation"] = (
        Field(
            "fixed",
            description="`fixed`: the same clients each round; `uniform`: each round draws anew, "
            "without replacement; `poisson`: each client by itself with probability "
            "size / population, so that cohorts vary in size; `weighted`: in "
            "proportion to training examples, without replacement; `shuffled`: every "
            "client once per pass, at most `size` a round; `min_separation`: "
            "`uniform` among the clients whose last round is at least "
            "`separation_rounds` ago.",
        )
    )
    min_reports: PositiveInt = Field(
        1,
        description="Clients of a round that must report, at most `cohort.size`. One whose data "
        "cannot be read, or whose update is not finite, is named and left out; with "
        "fewer reports than this the run stops. A round whose plan (drop-outs, "
        "deadline, `poisson`) has fewer is skipped.",
    )
    separation_rounds: PositiveInt | None = Field(
        None,
        description="Rounds from one of a client's rounds to its next, at least; `null` is as "
        "many as the population allows, population / size rounded down.",
    )
    over_selection_fraction: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0,
        description="How many more than `size` clients are asked, as a fraction of it; the first "
        "`size` reports are taken (Bonawitz et al. 2019: 0.3). 0 asks `size`.",
    )
    dropout_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="Probability that a client that was asked does not report: its battery, its "
        "network. Each client, each round.",
    )
    latency_median_seconds: PositiveFloat | None = Field(
        None,
        description="Median of the simulated seconds from asking a client to its report, "
        "log-normal; `null` simulates no time.",
    )
    latency_sigma: Annotated[float, Field(ge=0, le=5)] | None = Field(
        None,
        description="Standard deviation of the latency's logarithm; half of the variance is the "
        "client's own, half the round's. `null` is 0.5. With `latency_median_seconds` "
        "only.",
    )
    round_deadline_seconds: PositiveFloat | None = Field(
        None,
        description="Simulated seconds after which a round takes no more reports: who is later is "
        "left out. `null` waits for all. With `latency_median_seconds` only.",
    )
    day_rounds: PositiveInt | None = Field(
        None,
        description="Rounds in a simulated day, in which each client can be asked for "
        "`available_fraction` only; the clients' days begin within half a day of each other. "
        "`null`: all can always be asked.",
    )
    available_fraction: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Part of the day in which a client can be asked; `null` is 0.5. With "
        "`day_rounds` only.",
    )

    @model_validator(mode="after")
    def _refuse_what_would_be_ignored(self) -> "CohortConfig":
        needs = (
            ("latency_sigma", "latency_median_seconds"),
            ("round_deadline_seconds", "latency_median_seconds"),
        )
        for key, needed in (*needs, ("available_fraction", "day_rounds")):
            if getattr(self, key) is not None and getattr(self, needed) is None:
                raise ValueError(
                    f"cohort.{key}={getattr(self, key)} is set but without cohort.{needed} it is "
                    "ignored. Set both or none."
                )
        if self.over_selection_fraction and self.strategy == "poisson":
            raise ValueError(
                f"cohort.over_selection_fraction={self.over_selection_fraction} does not go with "
                "cohort.strategy=poisson, whose size varies. Remove it or raise cohort.size."
            )
        if self.over_selection_fraction and not (
            self.dropout_fraction or self.latency_median_seconds
        ):
            raise ValueError(
                f"cohort.over_selection_fraction={self.over_selection_fraction} asks clients "
                "whose reports would all be thrown away. Remove it or set "
                "cohort.dropout_fraction or cohort.latency_median_seconds."
            )
        if self.day_rounds is not None and self.strategy in ("fixed", "shuffled"):
            raise ValueError(
                f"cohort.day_rounds={self.day_rounds} does not go with "
                f"cohort.strategy={self.strategy}, which asks clients at any time of their day. "
                "Remove it or choose uniform."
            )
        return self
