"""Status words of runs and trials, here and in MLflow."""

from enum import StrEnum


class RunStatus(StrEnum):
    """Status of a run or trial on this machine."""

    STARTED = "started"
    STARTING = "starting"
    """Its MLflow run is being created."""
    TRAINING = "training"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """It did not end, and no process holds it; it can be resumed."""
    FINISHED = "finished"
    PRUNED = "pruned"
    FAILED = "failed"
    DELETED = "deleted"


ENDED = frozenset((RunStatus.FINISHED, RunStatus.PRUNED, RunStatus.FAILED))
"""Statuses of runs that are never resumed."""


class MlflowStatus(StrEnum):
    """Status of a run in the MLflow store."""

    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"
