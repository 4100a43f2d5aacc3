"""Settings of where and how a run computes: workers, machines, time limits, checkpoints."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from fedpipe.config.base import Name, PositiveFloat, PositiveInt, Section
from fedpipe.config.remote import REMOTE_GROUPS, Address


class RuntimeConfig(Section):
    """The TFF runtime: changes how fast and how safely a run goes."""

    isolation: Literal["auto", "required", "off"] = Field(
        "auto",
        description="Own network namespace for the TFF worker. `auto`: where the kernel allows, "
        "with a warning where not; `required`: an error where not.",
    )
    workers: PositiveInt = Field(
        1, description="Local TFF workers over which the clients of a round are spread."
    )
    groups: PositiveInt | None = Field(
        None,
        description="Groups in which a round's clients are computed where the aggregator allows "
        "it; `null` is one for each usable core, and at least one for each worker; "
        "with `remote` it is 12. Part of the result: another number gives other last "
        "bits.",
    )
    remote: list[Address] = Field(
        [],
        description="Machines that compute the clients' work, each `host:port` of a `fedpipe "
        "worker` (docs/remote.md); empty: this one. Results do not depend on which or "
        "how many.",
    )
    certs: Name = Field(
        "certs",
        description="Folder of the certificates for `remote`, relative to the project; `fedpipe "
        "worker certs` makes them.",
    )
    data: Literal["resident", "by_value"] = Field(
        "resident",
        description="How examples reach the worker. `resident`: it reads cached files itself; "
        "`by_value`: they are sent with each round, for workers that share no files "
        "with this process.",
    )
    cache_max_bytes: PositiveInt = Field(
        4 * 1024**3,
        description="Size of the cache of resident files, in bytes; the least recently used go "
        "first, but none that was used within the last hour.",
    )
    debug: bool = Field(
        False,
        description="Run clients one by one in this process, without a worker: breakpoints and "
        "prints in client work are reached, errors name round, client and step. Slow.",
    )
    start_timeout_seconds: PositiveFloat = Field(
        60.0, description="Timeout in seconds for the start of a TFF worker."
    )
    round_timeout_seconds: PositiveFloat = Field(
        600.0, description="Timeout of a round in seconds; after it the worker is replaced."
    )
    checkpoint_every: PositiveInt = Field(
        1,
        description="Rounds between checkpoints, from which an interrupted run resumes; round 0 "
        "and the last round are saved too.",
    )
    checkpoints_keep: PositiveInt = Field(
        3, description="Number of last checkpoints to keep, besides the first and the best."
    )
    max_restarts: int = Field(
        2,
        ge=0,
        description="Maximum number of times that a run replaces a lost worker and repeats its "
        "round.",
    )
    worker_memory_limit_mb: Annotated[int, Field(ge=64)] | None = Field(
        None,
        description="Resident memory of a TFF worker, in MB, above which it is replaced by a new "
        "one after the round; `null` is no limit. Results do not change.",
    )

    @property
    def set_groups(self) -> int | None:
        """Return the number of groups as the settings say it; None leaves it to the machine."""
        return self.groups or (REMOTE_GROUPS if self.remote else None)

    @field_validator("isolation", mode="before")
    @classmethod
    def _off_is_a_word(cls, isolation: object) -> object:
        # YAML reads `off` as false
        if isolation is False:
            return "off"
        return isolation
