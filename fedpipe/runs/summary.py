"""What a finished run says of itself, and what it is called."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from fedpipe.project.paths import Project
from fedpipe.runs.step_results import DataRef, EvalRef, RecordRef, TrainRef
from fedpipe.tracking.tags import GIT_COMMIT


def new_run_name() -> str:
    """Return a name such as `federated-20261122-214106-123456` (UTC, to the microsecond, so that
    two runs differ).
    """
    return f"federated-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"


def summarize(
    project: Project,
    data: DataRef,
    trained: TrainRef,
    evaluated: EvalRef,
    recorded: RecordRef,
    flow_run_id: str | None,
    total_seconds: float,
) -> dict[str, Any]:
    """Return the run's summary: ids, digests, figures before and after, wall seconds. JSON-able."""
    from fedpipe.tracking.environment import environment_tags

    return {
        "run_id": trained.run_id,
        "flow_run_id": flow_run_id,
        "data_md5": data.md5,
        "git_commit": environment_tags(project.root)[GIT_COMMIT],
        "rounds": trained.rounds,
        "best_round": trained.best_round,
        "initial": evaluated.initial,
        "final": evaluated.final,
        "best": evaluated.best,
        "weights_sha256": trained.weights_sha256,
        "seconds": {
            "prepare": data.seconds,
            "train": trained.seconds,
            "evaluate": evaluated.seconds,
            "total": total_seconds,
            "round_median": trained.round_median_seconds,
        },
        "url": recorded.url,
        "model_uri": recorded.model_uri,
        "run_dir": trained.run_dir,
        "incomplete": dict(recorded.incomplete),
        "warnings": [dict(warning) for warning in recorded.warnings],
        **({"privacy": trained.privacy} if trained.privacy else {}),
        **({"registered": asdict(recorded.registered)} if recorded.registered else {}),
    }
