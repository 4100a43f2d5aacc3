"""Reads the recorded metrics of a run's rounds."""

from typing import TYPE_CHECKING

from fedpipe.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run

_ONCE = ("final/", "best/", "sweep/")


def rounds_of(store: Store, run: "Run") -> list[dict[str, float]]:
    """Return one row per round: `round` and its metrics by key, such as `train/loss`; without the
    final metrics.

    Raises:
        TrackingError: the store does not answer.
    """
    rows: dict[int, dict[str, float]] = {}
    with store.guard(f"read the rounds of run {run.info.run_id}"):
        for key in sorted(run.data.metrics):
            if not key.startswith(_ONCE):
                for metric in store.client.get_metric_history(run.info.run_id, key):
                    rows.setdefault(int(metric.step), {"round": float(metric.step)})[key] = float(
                        metric.value
                    )
    return [rows[number] for number in sorted(rows)]
