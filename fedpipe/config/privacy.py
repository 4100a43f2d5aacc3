"""The section `privacy`: client-level differential privacy, and the settings that it needs."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fedpipe.config.base import PositiveFloat, PositiveInt, Section, with_default
from fedpipe.config.data import DataConfig
from fedpipe.config.preprocess import problem_of_private

TREE_STRATEGIES = ("fixed", "shuffled", "min_separation")
"""Sampling strategies whose rounds of a client are known beforehand: what accounting without
sampling asks for.
"""
_SAMPLED = ("poisson", "uniform")
GAUSSIAN_STRATEGIES = (*_SAMPLED, *TREE_STRATEGIES)
_UNEVEN = ("over_selection_fraction", "latency_median_seconds", "day_rounds")
"""Settings of `cohort` that make some clients likelier than others to be in a round."""


_MECHANISM = (
    "`gaussian`: each client's update is clipped to `clip_norm`, Gaussian noise is added to the "
    "sum; `adaptive`: the same, with a clip that follows a quantile of the norms; `tree`: noise in "
    "a tree over the rounds (DP-FTRL)."
)


class NoPrivacy(Section):
    """No mechanism: the updates are used as they are."""

    mechanism: Literal["none"] = Field("none", description=_MECHANISM)
    on: ClassVar = False
    clip_norm: ClassVar = None
    noise_multiplier: ClassVar = None
    epsilon: ClassVar = None
    delta: ClassVar = None
    max_epsilon: ClassVar = None
    restart_rounds: ClassVar = None
    repeatable: ClassVar = False
    public_validation: ClassVar = False
    total_epsilon: ClassVar = None


class _Mechanism(Section):
    """Differential privacy of the server's weights, for each client as a whole."""

    on: ClassVar = True
    clip_norm: PositiveFloat | None = Field(
        None,
        description="L2 norm at which each client's update is clipped. `adaptive`: where the clip "
        "starts; `null` is 0.1 there.",
    )
    noise_multiplier: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None,
        description="Standard deviation of the noise on the sum of updates, over the clip. This "
        "or `epsilon`; 0 is no noise.",
    )
    epsilon: PositiveFloat | None = Field(
        None,
        description="Target: the noise is calibrated so that all rounds together have at most "
        "this epsilon. This or `noise_multiplier`.",
    )
    delta: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="The delta that epsilon is reported for, above 0 and below 1: below 1 / "
        "number of clients.",
    )
    max_epsilon: PositiveFloat | None = Field(
        None,
        description="Budget of the run: training stops before the round that would exceed this "
        "epsilon; `null` is none.",
    )
    repeatable: bool = Field(
        False,
        description="Draw the noise from `seed`, so that the run can be repeated to the bit: for "
        "studies of the method on public data. Such a run protects nobody and "
        "cannot be registered. `false`: from a secret key of the run.",
    )
    public_validation: bool = Field(
        False,
        description="Let validation examples of clients that train choose (best round, early "
        "stop, champion), although epsilon does not cover it: declares these examples public. "
        "`false`: clients that never train validate: those of `data.held_out_fraction`, else a "
        "fraction `data.validation_fraction` of the clients, drawn from `seed`.",
    )
    total_epsilon: PositiveFloat | None = Field(
        None,
        description="Budget of a population: a model is not registered, and not trained to be, if "
        "with it all registered versions and finished private runs of these clients "
        "together would have more than this epsilon, for `delta`. `null` is none.",
    )


class GaussianPrivacy(_Mechanism):
    """Gaussian noise on the sum of clipped updates."""

    mechanism: Literal["gaussian"] = Field("gaussian", description=_MECHANISM)


class AdaptivePrivacy(_Mechanism):
    """Gaussian noise, with a clip that follows a quantile of the norms."""

    mechanism: Literal["adaptive"] = Field("adaptive", description=_MECHANISM)
    target_quantile: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="Fraction of the updates that should be below the clip; `null` is 0.5.",
    )


class TreePrivacy(_Mechanism):
    """Noise in a tree over the rounds."""

    mechanism: Literal["tree"] = Field("tree", description=_MECHANISM)
    restart_rounds: PositiveInt | None = Field(
        None,
        description="Rounds after which the tree starts anew; no client may take part twice in "
        "between. `null`: one tree for all rounds.",
    )


Privacy = Annotated[
    NoPrivacy | GaussianPrivacy | AdaptivePrivacy | TreePrivacy,
    Field(discriminator="mechanism"),
    with_default("mechanism", "none"),
]
"""Differential privacy of the server's weights, for each client as a whole."""


def problem_of(
    privacy: Privacy, cohort: Section, weighting: str, plain_mean: bool, debug: bool
) -> str | None:
    """Return what is wrong with the settings of privacy beside the others, `None` if nothing.

    Args:
        privacy: the section.
        cohort: the section `cohort`.
        weighting: `client.weighting`.
        plain_mean: whether the settings of `aggregator` are those of the plain mean.
        debug: `runtime.debug`.
    """
    if not privacy.on:
        return None
    name = f"privacy.mechanism={privacy.mechanism}"
    if privacy.clip_norm is None and privacy.mechanism != "adaptive":
        return (
            f"{name}: expected privacy.clip_norm, found null. Set the norm at which a client's "
            "update is clipped."
        )
    if (privacy.noise_multiplier is None) == (privacy.epsilon is None):
        number = "neither" if privacy.epsilon is None else "both"
        return (
            f"{name}: expected one of privacy.noise_multiplier and privacy.epsilon, found "
            f"{number}. Set one."
        )
    if privacy.delta is None:
        return (
            f"{name}: expected privacy.delta, found null. Set one well below 1 / number of "
            "clients, such as 1e-5."
        )
    if privacy.max_epsilon is not None and privacy.noise_multiplier in (None, 0.0):
        because = (
            "privacy.epsilon is the budget"
            if privacy.noise_multiplier is None
            else "without noise there is no privacy to budget"
        )
        return f"privacy.max_epsilon={privacy.max_epsilon} is set but {because}. Remove it."
    strategy = getattr(cohort, "strategy", "")
    least = getattr(cohort, "min_reports", 1)
    fitting = TREE_STRATEGIES if privacy.mechanism == "tree" else GAUSSIAN_STRATEGIES
    if strategy not in fitting:
        return (
            f"{name}: expected cohort.strategy to be one that its accountant covers "
            f"({', '.join(fitting)}), found {strategy}. Choose one."
        )
    uneven = next((key for key in _UNEVEN if getattr(cohort, key, None)), None)
    if uneven is not None and strategy in _SAMPLED:
        return (
            f"{name} with cohort.strategy={strategy}: expected clients that are all as likely to "
            f"report, but cohort.{uneven} makes some likelier, which the accountant does not "
            "cover. Remove it or choose cohort.strategy=shuffled."
        )
    if strategy == "poisson" and least > 1:
        return (
            f"cohort.min_reports={least} is set but {name} with cohort.strategy=poisson takes "
            "every round, however many report: to skip one would tell how many were sampled. "
            "Remove it."
        )
    if weighting != "uniform":
        return (
            f"client.weighting={weighting} is set but {name} counts every client alike. Remove it "
            "or choose privacy.mechanism=none."
        )
    if not plain_mean:
        return (
            f"{name} clips and joins updates itself, found other settings of aggregator. Remove "
            "them or choose privacy.mechanism=none."
        )
    if debug:
        return f"runtime.debug=True takes the plain mean, found {name}. Remove one of them."
    return None


def problem_of_release(privacy: Privacy, data: DataConfig, register: bool) -> str | None:
    """Return what epsilon would not cover of what a private run releases, `None` if nothing.

    Args:
        privacy: the section.
        data: the section `data`.
        register: `tracking.register`.
    """
    if not privacy.on:
        return None
    if privacy.repeatable and register:
        return (
            "privacy.repeatable=True draws the noise from seed, so the model protects nobody and "
            "cannot be registered. Remove privacy.repeatable or tracking.register."
        )
    if privacy.total_epsilon is not None and not register:
        return (
            f"privacy.total_epsilon={privacy.total_epsilon} is set but without tracking.register "
            "nothing is registered. Remove it or set tracking.register=true."
        )
    if privacy.public_validation and (data.held_out_fraction or not data.validation_fraction):
        reason = (
            "data.held_out_fraction has clients that never train validate"
            if data.held_out_fraction
            else "nothing is validated"
        )
        return f"privacy.public_validation=True is set but {reason}. Remove it."
    return problem_of_private(data.preprocess)
