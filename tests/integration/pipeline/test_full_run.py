"""The pipeline as a whole: what becomes of the MLflow run when a step after training fails."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fedpipe.config import Config
from fedpipe.pipeline.full_run import Steps, mark_finished, run_pipeline
from fedpipe.project.paths import Project
from fedpipe.runs.context import RunContext
from fedpipe.runs.state import begin, read_state
from fedpipe.runs.step_results import DataRef, EvalRef, PlanRef, RecordRef, TrainRef
from fedpipe.tracking.store import Store, open_store

DATA = DataRef("shards", "0" * 32, "made", 0.5)
EVALUATED = EvalRef("", "", "", "", "", "", "", {"test/loss": 2.0}, {"test/loss": 1.0}, None, 0.25)


def pipeline(run: RunContext, store: Store, **failing: BaseException) -> tuple[Steps, str]:
    """Return steps that note nothing but their arguments, and the id of the MLflow run."""
    run_id = store.client.create_run(store.experiment_id, run_name=run.name).info.run_id

    def result(step: str, value: Any) -> Any:
        if step in failing:
            raise failing[step]
        return value

    def train(given: RunContext, data: DataRef, plan: PlanRef, tags: Mapping[str, str]) -> TrainRef:
        assert (given, data, plan.path, tags) == (run, DATA, "plan", {"by": "test"})
        trained = TrainRef(run_id, str(run.folder), "i", "f", "t", "sha", 2.0, 0.1, 3, None, None)
        return result("train", trained)

    def record(
        given: RunContext, data: DataRef, trained: TrainRef, evaluated: EvalRef
    ) -> RecordRef:
        assert (given, data, trained.run_id, evaluated) == (run, DATA, run_id, EVALUATED)
        return result("record", RecordRef(run_id, "url", "", "models:/m-1", incomplete={"a": "b"}))

    steps = Steps(
        load_data=lambda _run: DATA,
        sample_clients=lambda _run, _data: PlanRef("plan", "sha"),
        train=train,
        evaluate=lambda _run, _data, _trained: result("evaluate", EVALUATED),
        record=record,
    )
    return steps, run_id


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunContext:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = Project(tmp_path)
    return RunContext.of_state(project, begin(project, "run", Config(), "run"))


@pytest.mark.parametrize("step", ["evaluate", "record"])
@pytest.mark.parametrize(
    ("error", "status"), [(OSError("disk"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_a_step_that_fails_after_training_marks_the_mlflow_run(
    run: RunContext, step: str, error: BaseException, status: str
) -> None:
    store = open_store(run.project.root, run.config.tracking.experiment)
    steps, run_id = pipeline(run, store, **{step: error})
    with pytest.raises(type(error)):
        run_pipeline(run, steps, {"by": "test"})
    assert store.client.get_run(run_id).info.status == status


def test_a_training_that_fails_is_left_to_the_step_itself(run: RunContext) -> None:
    store = open_store(run.project.root, run.config.tracking.experiment)
    steps, run_id = pipeline(run, store, train=OSError("disk"))
    with pytest.raises(OSError, match="disk"):
        run_pipeline(run, steps, {"by": "test"})
    assert store.client.get_run(run_id).info.status == "RUNNING"


def test_the_summary_is_of_all_steps_and_is_noted_in_the_state(run: RunContext) -> None:
    store = open_store(run.project.root, run.config.tracking.experiment)
    steps, run_id = pipeline(run, store)
    summary = run_pipeline(run, steps, {"by": "test"}, flow_run_id="flow-1")
    assert (summary["run_id"], summary["flow_run_id"]) == (run_id, "flow-1")
    assert (summary["initial"], summary["final"]) == (EVALUATED.initial, EVALUATED.final)
    assert (summary["seconds"]["prepare"], summary["seconds"]["evaluate"]) == (0.5, 0.25)
    mark_finished(run, summary, told=False)
    state = read_state(run.folder)
    assert state is not None
    assert state.finished
    assert state.untold
    assert state.incomplete == {"a": "b"}
    assert state.values["summary"] == summary
