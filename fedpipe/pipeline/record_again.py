"""Evaluates and records a run whose rounds are done once more: `fedpipe record`."""

from typing import Any

from fedpipe.errors import DataError
from fedpipe.project.paths import Project
from fedpipe.runs.context import RunContext
from fedpipe.runs.state import RunState


def record_again(project: Project, state: RunState) -> dict[str, Any]:
    """Evaluate and record a run whose rounds are done once more; return its summary, whose
    `incomplete` names what is still missing.

    What is recorded already is replaced by the same; the saved model and the registered version
    stay.

    Raises:
        DataError: the data are others than those of the run, or cannot be brought back.
        TrackingError: the store cannot be reached or written.
    """
    from fedpipe.pipeline.evaluate import evaluate
    from fedpipe.pipeline.load_data import load_data
    from fedpipe.pipeline.record import read_trained, record
    from fedpipe.runs.summary import summarize

    run = RunContext.of_state(project, state)
    with state.alive():
        data = load_data(run)
        if state.values.get("data_md5", data.md5) != data.md5:
            raise DataError(
                f"run {state.name}: expected the data that it was trained on, md5 "
                f"{state.values['data_md5']}, found {data.md5}. Bring these back (`dvc checkout`) "
                "first."
            )
        trained = read_trained(state.folder)
        evaluated = evaluate(run, data, trained)
        recorded = record(run, data, trained, evaluated)
        earlier = state.values.get("summary") or {}
        summary = summarize(
            project,
            data,
            trained,
            evaluated,
            recorded,
            state.values.get("flow_run_id"),
            trained.seconds,
        )
        summary |= {key: earlier[key] for key in ("git_commit", "seconds") if key in earlier}
        state.update(summary=summary, incomplete=summary["incomplete"])
    return summary
