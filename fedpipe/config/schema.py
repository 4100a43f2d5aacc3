"""Every setting of a run, its unit, its range and its default.

`params.yaml` is parsed into these models; `docs/params.md` is generated from them. They are frozen and refuse unknown keys.
Knows nothing of files (that is `load.py`) and imports nothing heavy.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from fedpipe.config.algorithms import ALGORITHMS, ServerOptimizer
from fedpipe.config.base import OWN_FUNCTION, Fraction, Group, Momentum, Name, PositiveFloat, PositiveInt
from fedpipe.config.cohort import CohortConfig as CohortConfig
from fedpipe.config.evaluation import EvalConfig as EvalConfig
from fedpipe.config.model import ModelConfig as ModelConfig
from fedpipe.config.privacy import PrivacyConfig, problem_of
from fedpipe.config.remote import REMOTE_GROUPS, Address, problem_of_remote
from fedpipe.config.tracking import TrackingConfig as TrackingConfig

SOURCE_NAMES = (
    *("mnist5k", "synthetic", "emnist", "emnist62", "cifar100", "shakespeare"),  # what ships, and what TFF downloads
    *("parquet", "csv", "npz", "images", "sqlite", "leaf"),  # the user's own, read from data.path
)


class DataConfig(Group):
    """Where the examples come from and how they become clients."""

    source: Name = Field(
        "mnist5k",
        description="Source of the examples; `fedpipe sources` lists them with what each needs. Or `mypackage.module:function`, a "
        "source of your own (docs/sources.md).",
    )
    path: Name | None = Field(
        None, description="File or folder of the sources that read the user's own (`parquet`, `csv`, ...), relative to the project."
    )
    client_column: Name | None = Field(
        "client",
        description="Column (`parquet`, `csv`) or array (`npz`) that names each example's client; `null`: there are no clients, "
        "`partition` makes them.",
    )
    label_column: Name = Field("label", description="Column (`parquet`, `csv`) or array (`npz`) with each example's label.")
    feature_dtype: Literal["auto", "uint8", "int32", "float32"] = Field(
        "auto",
        description="What the features of your own files are. `uint8`: 0..255, divided by 255 before a model sees them; `int32`: "
        "tokens; `float32`: numbers as they are; `auto`: uint8 as uint8, whole numbers in lists and arrays as int32, else float32.",
    )
    partition: Literal["auto", "natural", "iid", "dirichlet", "pathological", "quantity"] = Field(
        "auto",
        description="How examples are given to clients. `natural`: the source's own clients; `iid`: at random, equal sizes; "
        "`dirichlet`: label skew; `pathological`: few labels a client; `quantity`: log-normal sizes; `auto`: natural where the source "
        "has clients, else dirichlet.",
    )
    clients: PositiveInt | None = Field(
        100,
        description="Number of clients. A partition makes as many; `natural` takes at most so many, the first in the order of "
        "their ids, or all with `null`.",
    )
    alpha: float = Field(
        1.0,
        ge=1e-4,
        le=1e9,
        description="Concentration of the Dirichlet over labels: small is skewed, large is even. `dirichlet` only.",
    )
    labels_per_client: PositiveInt = Field(2, description="Labels that each client has. `pathological` only.")
    sigma: float = Field(
        1.0, ge=0, le=5, description="Standard deviation of the logarithm of clients' sizes; 0 is equal sizes. `quantity` only."
    )
    seed: int = Field(1, ge=0, description="Seed of partition and splits. Another value makes other shards.")
    invert: bool = Field(
        False, description="Turn ink = 1.0 into background = 1.0, or the reverse. Off: each source keeps its own convention."
    )
    test_fraction: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Fraction of each client's examples that becomes its test split, rounded up. A source that brings its own "
        "test split (`emnist`) ignores it.",
    )
    validation_fraction: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Fraction of each client's training examples that becomes its validation split, rounded up; 0 makes none. "
        "Taken from the training split, whoever made that.",
    )
    held_out_fraction: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Fraction of the clients, rounded down, that never train: what a model is worth to clients it has not seen.",
    )
    central_test_examples: PositiveInt = Field(
        1000, description="Examples of the central test set, drawn from all clients' test splits pooled; all of them if fewer."
    )
    shard_rows: Annotated[int, Field(ge=100, le=10_000_000)] = Field(
        65_536, description="Examples per file of the shards, about; a file holds whole clients."
    )
    memory_limit_mb: Annotated[int, Field(ge=64)] = Field(
        1024, description="Memory that preparing the shards may add, in MB. A source that cannot keep within it is refused."
    )
    cache_dir: str | None = Field(
        None, description="Folder for downloaded sources (`emnist`), relative to the project; `null` is the user's cache."
    )

    @field_validator("source")
    @classmethod
    def _known_source(cls, source: str) -> str:
        if source not in SOURCE_NAMES and not OWN_FUNCTION.fullmatch(source):
            raise ValueError(f"data.source: expected one of {', '.join(SOURCE_NAMES)}, or mypackage.module:function, found {source!r}")
        return source


class AlgorithmConfig(Group):
    """How clients' work becomes the next server state."""

    name: Name = Field(
        "fedavg",
        description="Algorithm; docs/algorithms.md has each with its paper. `fedavg`, `fedprox`, `fedsgd`, `fedavgm`, `fedadagrad`, "
        "`fedadam`, `fedyogi`, `mimelite`, `scaffold`, `fednova`; the baselines `centralized` and `local_only`; "
        "`fedavg_reference`: the tutorial's, in TFF's own primitives, to read and to compare with; or "
        "`mypackage.module:build`, one of your own.",
    )
    mu: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None,
        description="Strength of the term mu/2 |w - w_server|^2 in each client's loss, at least 0; `null` is 0.01. `fedprox` only.",
    )

    @field_validator("name")
    @classmethod
    def _known_algorithm(cls, name: str) -> str:
        if name not in ALGORITHMS and not OWN_FUNCTION.fullmatch(name):
            raise ValueError(f"algorithm.name: expected one of {', '.join(ALGORITHMS)}, or mypackage.module:function, found {name!r}")
        return name


class Scheduled(Group):
    """A learning rate by round: what client work and server have in common."""

    schedule: Literal["constant", "exponential", "cosine"] = Field(
        "constant",
        description="Learning rate by round, after the warm-up. `exponential`: times `decay_rate` every `decay_rounds` rounds; "
        "`cosine`: from `learning_rate` down to `final_fraction` of it, over the run's rounds.",
    )
    warmup_rounds: int = Field(0, ge=0, description="Rounds in which the learning rate rises in equal steps to its full value; 0 is none.")
    decay_rate: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Factor above 0, to 1; `null` is 0.99. `schedule: exponential` only."
    )
    decay_rounds: PositiveInt | None = Field(
        None, description="Rounds in which the rate falls by `decay_rate`; `null` is 1. `schedule: exponential` only."
    )
    final_fraction: Fraction | None = Field(
        None, description="Fraction of the learning rate that the cosine ends at; `null` is 0. `schedule: cosine` only."
    )


class ClientConfig(Scheduled):
    """Client work: what each client of a cohort does in a round."""

    batch_size: PositiveInt = Field(20, description="Examples per gradient step; the last batch of an epoch may be smaller.")
    epochs: PositiveInt = Field(1, description="Passes over the client's training examples per round.")
    max_steps: PositiveInt | None = Field(
        None, description="Limit of gradient steps per client and round; `null` is none. It may cut the last epoch short."
    )
    shuffle: bool = Field(
        False,
        description="Draw the order of a client's examples anew each epoch, from `seed`, round and client id. Off, as in the "
        "tutorial: the order of the shards.",
    )
    optimizer: Literal["sgd", "momentum", "adam"] = Field(
        "sgd", description="Client optimizer; its state starts afresh each round. `adam` has 0.9, 0.999, 1e-7."
    )
    learning_rate: PositiveFloat = Field(0.01, description="Step size of the client optimizer, above 0.")
    momentum: Momentum | None = Field(
        None, description="Velocity kept from step to step, from 0 to below 1; `null` is 0.9. `client.optimizer: momentum` only."
    )
    weighting: Literal["examples", "uniform"] = Field(
        "uniform",
        description="What a client counts in the mean. `examples`: its number of training examples, as in McMahan et al. 2017; "
        "`uniform`: 1, as in the tutorial.",
    )


class ServerConfig(Scheduled):
    """The server's update from the aggregated client work."""

    optimizer: ServerOptimizer = Field(
        "sgd",
        description="Server optimizer, applied to the mean of the clients' updates (Reddi et al. 2021). Its other constants are "
        "TFF's: adam 0.9, 0.999, 1e-7; adagrad 0.1, 1e-7; yogi 0.9, 0.999, 1e-3, 1e-6. `fedavgm`, `fedadagrad`, `fedadam` and `fedyogi` "
        "bring their own.",
    )
    learning_rate: PositiveFloat = Field(1.0, description="Step size of the server optimizer; SGD with 1 takes the clients' mean.")
    momentum: Momentum | None = Field(
        None, description="Velocity kept from round to round, from 0 to below 1; `null` is 0.9. `server.optimizer: momentum` only."
    )
    beta_1: Momentum | None = Field(
        None, description="Decay of the mean of gradients, from 0 to below 1; `null` is 0.9. `adam` and `yogi` only."
    )
    beta_2: Momentum | None = Field(
        None,
        description="Decay of the mean of squared gradients, from 0 to below 1; `null` is TFF's 0.999, in `fedadam` and `fedyogi` the "
        "paper's 0.99. `adam` and `yogi` only.",
    )
    epsilon: PositiveFloat | None = Field(
        None,
        description="Degree of adaptivity, added to the root of the mean square, above 0: the paper's tau. `null` is TFF's constant, "
        "in `fedadagrad`, `fedadam` and `fedyogi` 1e-3. `adam`, `adagrad` and `yogi` only.",
    )


class AggregatorConfig(Group):
    """How the clients' updates become one."""

    name: Literal["mean", "median", "trimmed_mean", "krum"] = Field(
        "mean",
        description="`mean`: by `client.weighting`; `median` and `trimmed_mean`: of each coordinate (Yin et al. 2018); `krum`: the one "
        "update nearest to the others (Blanchard et al. 2017). All but the first bear with wrong updates and count every client alike.",
    )
    trim_fraction: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.1,
        description="Fraction of the cohort that is left out at either end, in each coordinate, from 0 to below 0.5. `trimmed_mean` only.",
    )
    byzantine: int = Field(
        1, ge=0, description="Clients of a cohort that may be wrong; the cohort has to have more than 2 byzantine + 2. `krum` only."
    )
    clipping: bool = Field(
        False, description="Clip each update's norm at an adaptive bound near the usual (TFF's robust aggregator). `mean` only."
    )
    secure: bool = Field(
        False,
        description="Sum the updates by TFF's secure aggregation, as integers, simulated: no cryptography protects anyone. `mean` only.",
    )
    compression_bits: Annotated[int, Field(ge=1, le=16)] | None = Field(
        None, description="Bits of each coordinate that a client sends, of tensors above 1,000 coordinates; `null` is float32. `mean` only."
    )
    zeroing: bool = Field(
        False, description="Make an update zero that has a value far above the usual (TFF's robust aggregator). `mean` only."
    )


class RuntimeConfig(Group):
    """The TFF runtime: changes how fast and how safely a run goes."""

    isolation: Literal["auto", "required", "off"] = Field(
        "auto",
        description="Own network namespace for the TFF worker. `auto`: where the kernel allows, with a warning where not; "
        "`required`: an error where not.",
    )
    workers: PositiveInt = Field(1, description="Local TFF workers over which the clients of a round are spread.")
    groups: PositiveInt | None = Field(
        None,
        description="Groups in which a round's clients are computed where the aggregator allows it; `null` is one for each usable "
        "core, and at least one for each worker; with `remote` it is 12. Part of the result: another number gives other last bits.",
    )
    remote: list[Address] = Field(
        [],
        description="Machines that compute the clients' work, each `host:port` of a `fedpipe worker` (docs/remote.md); empty: this "
        "one. Results do not depend on which or how many.",
    )
    certs: Name = Field(
        "certs", description="Folder of the certificates for `remote`, relative to the project; `fedpipe worker certs` makes them."
    )
    examples: Literal["resident", "by_value"] = Field(
        "resident",
        description="How examples reach the worker. `resident`: it reads cached files itself; `by_value`: they are sent with each "
        "round, for workers that share no files with this process.",
    )
    cache_max_bytes: PositiveInt = Field(
        4 * 1024**3,
        description="Size of the cache of resident files, in bytes; the least recently used go first, but none that was used "
        "within the last hour.",
    )
    debug: bool = Field(
        False,
        description="Run clients one by one in this process, without a worker: breakpoints and prints in client work are reached, "
        "errors name round, client and step. Slow.",
    )
    start_timeout_seconds: PositiveFloat = Field(60.0, description="Seconds until a started TFF worker must answer.")
    round_timeout_seconds: PositiveFloat = Field(600.0, description="Seconds that one round may take before its worker is given up.")
    checkpoint_every: PositiveInt = Field(
        1, description="Rounds between checkpoints, from which an interrupted run goes on; round 0 and the last are saved too."
    )
    checkpoints_keep: PositiveInt = Field(3, description="How many of the last checkpoints to keep, besides the first and the best.")
    max_restarts: int = Field(2, ge=0, description="How often in a run a lost worker is replaced and its round repeated.")
    worker_memory_limit_mb: Annotated[int, Field(ge=64)] | None = Field(
        None,
        description="Resident memory of a TFF worker, in MB, above which it is replaced by a new one after the round; `null` is no "
        "limit. Results do not change.",
    )

    @property
    def set_groups(self) -> int | None:
        """Return the number of groups as the settings say it; None leaves it to the machine."""
        return self.groups or (REMOTE_GROUPS if self.remote else None)

    @field_validator("isolation", mode="before")
    @classmethod
    def _off_is_a_word(cls, isolation: object) -> object:
        return "off" if isolation is False else isolation  # YAML reads `off` as false


class Config(Group):
    """All settings of one run."""

    seed: int = Field(1, ge=0, description="Seed of all draws of training (cohorts, shuffles, initial weights).")
    rounds: PositiveInt = Field(15, description="Rounds of training.")
    data: DataConfig = Field(default_factory=DataConfig, description=DataConfig.__doc__)
    cohort: CohortConfig = Field(default_factory=CohortConfig, description=CohortConfig.__doc__)
    model: ModelConfig = Field(default_factory=ModelConfig, description=ModelConfig.__doc__)
    algorithm: AlgorithmConfig = Field(default_factory=AlgorithmConfig, description=AlgorithmConfig.__doc__)
    client: ClientConfig = Field(default_factory=ClientConfig, description=ClientConfig.__doc__)
    server: ServerConfig = Field(default_factory=ServerConfig, description=ServerConfig.__doc__)
    aggregator: AggregatorConfig = Field(default_factory=AggregatorConfig, description=AggregatorConfig.__doc__)
    privacy: PrivacyConfig = Field(default_factory=PrivacyConfig, description=PrivacyConfig.__doc__)
    eval: EvalConfig = Field(default_factory=EvalConfig, description=EvalConfig.__doc__)
    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig, description=RuntimeConfig.__doc__)
    tracking: TrackingConfig = Field(default_factory=TrackingConfig, description=TrackingConfig.__doc__)

    @model_validator(mode="after")
    def _refuse_what_would_be_ignored(self) -> "Config":
        made = self.data.partition not in ("auto", "natural")
        if self.data.source == "mnist5k" and self.data.partition == "natural":
            raise ValueError("data.source=mnist5k has no clients of its own, found data.partition=natural. Set data.partition=dirichlet.")
        if (made or self.data.source == "mnist5k") and self.data.clients is None:
            raise ValueError(f"data.clients is null, but data.partition={self.data.partition} must know how many to make. Set a number.")
        if self.data.clients is not None and self.cohort.size > self.data.clients:
            raise ValueError(
                f"cohort.size={self.cohort.size} is larger than the population, data.clients={self.data.clients}. "
                "Lower cohort.size or raise data.clients."
            )
        if self.cohort.min_reports > self.cohort.size:
            raise ValueError(
                f"cohort.min_reports={self.cohort.min_reports} can never be reached with cohort.size={self.cohort.size}. "
                "Lower cohort.min_reports or raise cohort.size."
            )
        if self.eval.patience is not None and not self.data.validation_fraction:
            raise ValueError(
                f"eval.patience={self.eval.patience} needs validation examples, found data.validation_fraction=0: the test set must not "
                "choose. Set data.validation_fraction, 0.2 for example, or remove eval.patience."
            )
        if self.tracking.register and not self.data.validation_fraction:
            raise ValueError(
                "tracking.register=True needs validation examples, found data.validation_fraction=0: they choose the champion, the test "
                "set must not. Set data.validation_fraction, 0.2 for example, or remove tracking.register."
            )
        self._refuse_what_the_optimizers_ignore()
        self._refuse_what_the_schedules_ignore()
        self._refuse_what_the_aggregator_ignores()
        self._refuse_what_the_algorithm_ignores()
        plain, debug = self.aggregator == AggregatorConfig(), self.runtime.debug
        problem = problem_of(self.privacy, self.cohort, self.client.weighting, plain, debug) or problem_of_remote(self)
        if problem:
            raise ValueError(problem)
        return self

    def _refuse_what_the_schedules_ignore(self) -> None:
        readers = {"decay_rate": "exponential", "decay_rounds": "exponential", "final_fraction": "cosine"}
        for side, settings in (("client", self.client), ("server", self.server)):
            for key, reader in readers.items():
                value = getattr(settings, key)
                if value is not None and settings.schedule != reader:
                    raise ValueError(
                        f"{side}.{key}={value} is set but {side}.schedule={settings.schedule} ignores it. Remove it or choose {reader}."
                    )
            if settings.warmup_rounds >= self.rounds:
                raise ValueError(
                    f"{side}.warmup_rounds={settings.warmup_rounds} is not below rounds={self.rounds}: the full rate would not be "
                    "reached. Lower it or raise rounds."
                )

    def _refuse_what_the_optimizers_ignore(self) -> None:
        named = ALGORITHMS.get(self.algorithm.name)
        brought = named.server_optimizer if named else None
        for side, settings, optimizer in (("client", self.client, None), ("server", self.server, brought)):
            chosen = optimizer or settings.optimizer
            for key, readers in _READ_BY.items():
                value = getattr(settings, key, None)
                if value is not None and chosen not in readers:
                    said = f"algorithm.name={self.algorithm.name}" if optimizer else f"{side}.optimizer={chosen}"
                    raise ValueError(f"{side}.{key}={value} is set but {said} ignores it. Remove it or choose {' or '.join(readers)}.")

    def _refuse_what_the_aggregator_ignores(self) -> None:
        chosen, readers = self.aggregator, {"trim_fraction": "trimmed_mean", "byzantine": "krum"}
        readers |= dict.fromkeys(("clipping", "zeroing", "secure", "compression_bits"), "mean")
        for key, reader in readers.items():
            value = getattr(chosen, key)
            if chosen.name != reader and value != AggregatorConfig.model_fields[key].default:
                raise ValueError(
                    f"aggregator.{key}={value} is set but aggregator.name={chosen.name} ignores it. Remove it or choose {reader}."
                )
        if chosen.name != "mean" and self.client.weighting != "uniform":
            raise ValueError(
                f"client.weighting={self.client.weighting} is set but aggregator.name={chosen.name} counts every client alike. "
                "Remove it or choose mean."
            )
        if chosen.name == "krum" and min(self.cohort.size, self.cohort.min_reports) <= 2 * chosen.byzantine + 2:
            raise ValueError(
                f"aggregator.name=krum with byzantine={chosen.byzantine}: expected more than {2 * chosen.byzantine + 2} reports, "
                f"found cohort.min_reports={self.cohort.min_reports} of cohort.size={self.cohort.size}. Raise cohort.min_reports or lower "
                "byzantine."
            )
        if chosen.compression_bits is not None and (chosen.clipping or chosen.zeroing or chosen.secure):
            other = next(key for key in ("clipping", "zeroing", "secure") if getattr(chosen, key))
            raise ValueError(f"aggregator.compression_bits={chosen.compression_bits} does not go with {other}=True. Remove one of them.")
        if self.runtime.debug and chosen != AggregatorConfig():
            raise ValueError("runtime.debug=True takes the plain mean, found another. Remove the settings of aggregator, or runtime.debug.")

    def _refuse_what_the_algorithm_ignores(self) -> None:
        named = ALGORITHMS.get(self.algorithm.name)
        if named is None:
            return
        for group in ("cohort", "algorithm", "client", "server", "aggregator", "privacy", "runtime"):
            settings = getattr(self, group)
            for name, field in type(settings).model_fields.items():
                value = getattr(settings, name)
                if named.ignored(f"{group}.{name}") and value != field.default:
                    because = f": {named.because}" if named.because and group != "algorithm" else ""
                    others = [other for other, entry in ALGORITHMS.items() if not entry.ignored(f"{group}.{name}")]
                    raise ValueError(
                        f"{group}.{name}={value} is set but algorithm.name={self.algorithm.name} ignores it{because}. "
                        f"Remove it or choose algorithm.name={others[0]}."
                    )


_READ_BY = {
    "momentum": ("momentum",),
    "beta_1": ("adam", "yogi"),
    "beta_2": ("adam", "yogi"),
    "epsilon": ("adam", "adagrad", "yogi"),
}
"""The optimizers that read each constant."""
