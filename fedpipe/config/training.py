"""The settings of the rounds: the algorithm, what clients and server do, and how updates are
aggregated.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from fedpipe.config.algorithm_table import ALGORITHMS, ServerOptimizer
from fedpipe.config.augment import Augmentation
from fedpipe.config.base import (
    OWN_FUNCTION,
    Fraction,
    Momentum,
    Name,
    PositiveFloat,
    PositiveInt,
    Section,
    with_default,
)


class AlgorithmConfig(Section):
    """How clients' work becomes the next server state."""

    name: Name = Field(
        "fedavg",
        description="Algorithm; docs/algorithms.md has each with its paper. `fedavg`, `fedprox`, "
        "`fedsgd`, `fedavgm`, `fedadagrad`, `fedadam`, `fedyogi`, `mimelite`, `scaffold`, "
        "`fednova`; the baselines `centralized` and `local_only`; `fedavg_reference`: the "
        "tutorial's, in TFF's own primitives, to read and to compare with; or "
        "`mypackage.module:build`, one of your own.",
    )
    mu: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None,
        description="Strength of the term mu/2 |w - w_server|^2 in each client's loss, at least "
        "0; `null` is 0.01.",
    )
    options: dict[str, Any] = Field(
        {},
        description="Settings of your own for an algorithm of your own, by the names of its "
        "function's arguments.",
    )

    @field_validator("name")
    @classmethod
    def _known_algorithm(cls, name: str) -> str:
        if name not in ALGORITHMS and not OWN_FUNCTION.fullmatch(name):
            raise ValueError(
                f"algorithm.name: expected one of {', '.join(ALGORITHMS)}, or "
                f"mypackage.module:function, found {name!r}"
            )
        return name


class Scheduled(Section):
    """A learning rate by round: what client work and server have in common."""

    schedule: Literal["constant", "exponential", "cosine"] = Field(
        "constant",
        description="Learning rate by round, after the warm-up. `exponential`: times `decay_rate` "
        "every `decay_rounds` rounds; `cosine`: from `learning_rate` down to "
        "`final_fraction` of it, over the run's rounds.",
    )
    warmup_rounds: int = Field(
        0,
        ge=0,
        description="Rounds in which the learning rate rises in equal steps to its full value; 0 "
        "is none.",
    )
    decay_rate: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Factor above 0, to 1; `null` is 0.99."
    )
    decay_rounds: PositiveInt | None = Field(
        None,
        description="Rounds in which the rate falls by `decay_rate`; `null` is 1.",
    )
    final_fraction: Fraction | None = Field(
        None,
        description="Fraction of the learning rate that the cosine ends at; `null` is 0.",
    )


class ClientConfig(Scheduled):
    """Client work: what each client of a cohort does in a round."""

    batch_size: PositiveInt = Field(
        20, description="Examples per gradient step; the last batch of an epoch may be smaller."
    )
    epochs: PositiveInt = Field(
        1, description="Passes over the client's training examples per round."
    )
    max_steps: PositiveInt | None = Field(
        None,
        description="Limit of gradient steps per client and round; `null` is none. It may cut the "
        "last epoch short.",
    )
    shuffle: bool = Field(
        False,
        description="Draw the order of a client's examples anew each epoch, from `seed`, round "
        "and client id. Off, as in the tutorial: the order of the shards.",
    )
    augment: list[Augmentation] = Field(
        [],
        description="Changes that each client draws anew for each example it trains on, from "
        "`seed`, round and "
        "client id, such as `[{name: flip}]`; docs/preprocess.md lists them.",
    )
    optimizer: Literal["sgd", "momentum", "adam"] = Field(
        "sgd",
        description="Client optimizer; its state starts afresh each round. `adam` has 0.9, 0.999, "
        "1e-7.",
    )
    learning_rate: PositiveFloat = Field(
        0.01, description="Step size of the client optimizer, above 0."
    )
    momentum: Momentum | None = Field(
        None,
        description="Velocity kept from step to step, from 0 to below 1; `null` is 0.9.",
    )
    weighting: Literal["examples", "uniform"] = Field(
        "uniform",
        description="Weight of a client in the mean. `examples`: its number of training examples, "
        "as in McMahan et al. 2017; `uniform`: 1, as in the tutorial.",
    )


class ServerConfig(Scheduled):
    """The server's update from the aggregated client work."""

    optimizer: ServerOptimizer = Field(
        "sgd",
        description="Server optimizer, applied to the mean of the clients' updates (Reddi et al. "
        "2021). Its other constants are TFF's: adam 0.9, 0.999, 1e-7; adagrad 0.1, "
        "1e-7; yogi 0.9, 0.999, 1e-3, 1e-6. `fedavgm`, `fedadagrad`, `fedadam` and "
        "`fedyogi` bring their own.",
    )
    learning_rate: PositiveFloat = Field(
        1.0, description="Step size of the server optimizer; SGD with 1 takes the clients' mean."
    )
    momentum: Momentum | None = Field(
        None,
        description="Velocity kept from round to round, from 0 to below 1; `null` is 0.9.",
    )
    beta_1: Momentum | None = Field(
        None,
        description="Decay of the mean of gradients, from 0 to below 1; `null` is 0.9.",
    )
    beta_2: Momentum | None = Field(
        None,
        description="Decay of the mean of squared gradients, from 0 to below 1; `null` is TFF's "
        "0.999, in `fedadam` and `fedyogi` the paper's 0.99.",
    )
    epsilon: PositiveFloat | None = Field(
        None,
        description="Degree of adaptivity, above 0, in units of the root of the mean square v: "
        "the paper's tau. `adam`, `yogi`: sqrt(v) + epsilon, after the bias of the means is "
        "corrected (the eps-hat of Kingma and Ba 2015, end of section 2); `adagrad`: sqrt(v + "
        "epsilon^2). `null` is TFF's constant, in `fedadagrad`, `fedadam` and `fedyogi` 1e-3.",
    )


_AGGREGATOR = (
    "`mean`: by `client.weighting`; `median` and `trimmed_mean`: of each coordinate (Yin et al. "
    "2018); `krum`: the one update nearest to the others (Blanchard et al. 2017). All but `mean` "
    "tolerate wrong updates and count every client alike."
)


class MeanAggregator(Section):
    """The mean of the updates, weighted by `client.weighting`."""

    name: Literal["mean"] = Field("mean", description=_AGGREGATOR)
    clipping: bool = Field(
        False,
        description="Clip each update's norm at an adaptive bound (TFF's robust aggregator).",
    )
    secure: bool = Field(
        False,
        description="Sum the updates by TFF's secure aggregation, as integers, simulated: no "
        "cryptography protects anyone.",
    )
    compression_bits: Annotated[int, Field(ge=1, le=16)] | None = Field(
        None,
        description="Bits of each coordinate that a client sends, of tensors above 1,000 "
        "coordinates; `null` is float32.",
    )
    zeroing: bool = Field(
        False,
        description="Set an update to zero if one of its values is far above the usual (TFF's "
        "robust aggregator).",
    )

    @model_validator(mode="after")
    def _compress_alone(self) -> "MeanAggregator":
        for key in ("clipping", "zeroing", "secure"):
            if self.compression_bits is not None and getattr(self, key):
                raise ValueError(
                    f"aggregator.compression_bits={self.compression_bits} does not go with "
                    f"{key}=True. Remove one of them."
                )
        return self


class MedianAggregator(Section):
    """The median of each coordinate."""

    name: Literal["median"] = Field("median", description=_AGGREGATOR)


class TrimmedMeanAggregator(Section):
    """The mean of each coordinate without its extremes."""

    name: Literal["trimmed_mean"] = Field("trimmed_mean", description=_AGGREGATOR)
    trim_fraction: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.1,
        description="Fraction of the cohort that is left out at either end of each coordinate, "
        "from 0 to below 0.5.",
    )


class KrumAggregator(Section):
    """The one update nearest to the others."""

    name: Literal["krum"] = Field("krum", description=_AGGREGATOR)
    byzantine: int = Field(
        1,
        ge=0,
        description="Maximum number of faulty clients in a cohort, which must have more than 2 "
        "byzantine + 2 clients.",
    )


Aggregator = Annotated[
    MeanAggregator | MedianAggregator | TrimmedMeanAggregator | KrumAggregator,
    Field(discriminator="name"),
    with_default("name", "mean"),
]
"""How the clients' updates become one."""
