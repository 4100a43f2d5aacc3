"""The settings that shards are made by: the group `data` and the kind of the labels."""

from dataclasses import dataclass
from typing import Self

from fedpipe.config.schema import Config, DataConfig
from fedpipe.config.task import TaskKind


@dataclass(frozen=True)
class ShardSettings:
    """What the shards follow from; equal settings make equal shards of the same files.

    Attributes:
        data: the group `data`.
        kind: `task.kind`.
    """

    data: DataConfig
    kind: TaskKind = "classification"

    @classmethod
    def of(cls, config: Config) -> Self:
        """Return those of a run's settings."""
        return cls(config.data, config.task.kind)
