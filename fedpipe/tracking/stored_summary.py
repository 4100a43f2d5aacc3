"""The summary of a finished run as its MLflow run has it, for a run of another machine."""

from typing import TYPE_CHECKING, Any

from fedpipe.tracking.rounds import rounds_of
from fedpipe.tracking.store import Store, run_url
from fedpipe.tracking.tags import (
    BEST_ROUND,
    DVC_DATA_MD5,
    GIT_COMMIT,
    INCOMPLETE,
    LAST_ROUND,
    LAST_SHA256,
    PREFECT_FLOW_RUN_ID,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

_EVALUATED = ("test/", "validation/")


def stored_summary(store: Store, run: "Run") -> dict[str, Any]:
    """Return the keys of `fedpipe run --json` that the store has; `seconds`, `model_uri`,
    `warnings`, `privacy` and `registered` are not among them, and `run_dir` is None.

    Raises:
        TrackingError: the store does not answer.
    """
    tags = run.data.tags
    final = _figures(run, "final/")
    best = _figures(run, "best/")
    rounds = rounds_of(store, run)
    first = rounds[0] if rounds else {}
    return {
        "run_id": run.info.run_id,
        "flow_run_id": tags.get(PREFECT_FLOW_RUN_ID),
        "data_md5": tags.get(DVC_DATA_MD5),
        "git_commit": tags.get(GIT_COMMIT),
        "rounds": int(tags[LAST_ROUND]) if LAST_ROUND in tags else None,
        "best_round": int(tags[BEST_ROUND]) if best and BEST_ROUND in tags else None,
        "initial": {key: value for key, value in first.items() if key.startswith(_EVALUATED)},
        "final": final,
        "best": best or None,
        "weights_sha256": tags.get(LAST_SHA256),
        "url": run_url(store, run.info.experiment_id, run.info.run_id),
        "run_dir": None,
        "incomplete": dict.fromkeys(tags.get(INCOMPLETE, "").splitlines(), "see the run's tags"),
    }


def _figures(run: "Run", prefix: str) -> dict[str, float]:
    return {
        key.removeprefix(prefix): value
        for key, value in sorted(run.data.metrics.items())
        if key.startswith(prefix)
    }
