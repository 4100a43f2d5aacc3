"""Sends what is left in the journals of runs that have ended: `fedpipe sync`."""

from fedpipe.project.paths import Project
from fedpipe.runs.state import all_states


def send_journals(project: Project) -> dict[str, int]:
    """Send what is left in the journals of runs that have ended; return the records by run.

    Raises:
        TrackingError: the store is still away, or does not take a record.
    """
    from fedpipe.tracking.journal import send_journal, unsent
    from fedpipe.tracking.store import open_store

    sent = {}
    for state in reversed(all_states(project)):
        left = 0 if state.is_alive() else unsent(state.folder)
        if left and "mlflow_run_id" in state.values:
            with state.alive():
                tracking = state.config.tracking
                store = open_store(project.root, tracking.experiment)
                send_journal(
                    store, state.values["mlflow_run_id"], state.folder, tracking.wait_seconds
                )
            sent[state.name] = left
    return sent
