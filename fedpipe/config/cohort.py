"""The settings of cohorts: who is asked in a round, and who of them reports."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fedpipe.config.base import PositiveFloat, PositiveInt, Section


class CohortConfig(Section):
    """Which clients take part in a round."""

    size: PositiveInt = Field(
        10,
        description="Clients per round; with `poisson` their expected number, where all clients "
        "are available.",
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
        description="Minimum number of reports in a round, at most `cohort.size`. A client whose "
        "data cannot be read, or whose update is not finite, is named and left out; with fewer "
        "reports the run stops. A round whose plan (drop-outs, deadline, `poisson`) has fewer is "
        "skipped.",
    )
    separation_rounds: PositiveInt | None = Field(
        None,
        description="Minimum number of rounds from one round of a client to its next; `null`: the "
        "most that the population allows, population / size rounded down.",
    )
    over_selection_fraction: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0,
        description="Additional clients that are selected, as a fraction of `size`; the first "
        "`size` reports count (Bonawitz et al. 2019: 0.3). 0 selects `size`.",
    )
    dropout_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="Probability that a selected client drops out, independently per client and "
        "round.",
    )
    latency_median_seconds: PositiveFloat | None = Field(
        None,
        description="Median of the simulated, log-normal seconds from the selection of a client "
        "to its report; `null` simulates no time.",
    )
    latency_sigma: Annotated[float, Field(ge=0, le=5)] | None = Field(
        None,
        description="Standard deviation of the latency's logarithm; half of the variance belongs "
        "to the client, half to the round. `null` is 0.5. With `latency_median_seconds` only.",
    )
    round_deadline_seconds: PositiveFloat | None = Field(
        None,
        description="Deadline of a round in simulated seconds; later reports are left out. `null` "
        "waits for all. With `latency_median_seconds` only.",
    )
    day_rounds: PositiveInt | None = Field(
        None,
        description="Rounds of a simulated day; a client is available for `available_fraction` of "
        "it. The days of the clients begin within half a day of each other. `null`: all clients "
        "are always available.",
    )
    available_fraction: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        description="Fraction of the day in which a client is available; `null` is 0.5. With "
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
