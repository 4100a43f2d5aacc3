"""A sweep in a real store: its parent run once, its trials by number, what each is."""

import pytest

from fedpipe.errors import TrackingError
from fedpipe.tracking.run import TrackedRun
from fedpipe.tracking.sweeps import note_trial, read_sweep, reopen_sweep, start_parent, trial_tags
from fedpipe.tracking.tags import SWEEP_SPACE

PARAMS = {"sweep.metric": "validation/loss", "sweep.direction": "minimize"}
TAGS = {SWEEP_SPACE: '["client.learning_rate", "client.momentum", "model.name"]'}


def begun(store, key):
    return start_parent(store, f"sweep {key}", PARAMS, TAGS, key)


def test_a_sweep_that_died_before_it_knew_its_run_finds_it_again(store):
    run_id = begun(store, "aa")
    assert begun(store, "aa") == run_id
    assert begun(store, "bb") != run_id
    TrackedRun.attach(store, run_id).fail("KeyboardInterrupt: ", killed=True)
    reopen_sweep(store, run_id)
    assert store.client.get_run(run_id).info.status == "RUNNING"


def test_children_by_number_with_state_value_and_params(store, start):
    parent = begun(store, "cc")
    values = [
        ("finished", 0.5),
        ("finished", 0.25),
        ("pruned", None),
        ("running", None),
        ("interrupted", None),
        ("finished", 0.25),
    ]
    ids = []
    for number, (state, value) in enumerate(values):
        params = {
            "client.learning_rate": 10.0**-number,
            "client.momentum": None,
            "model.name": "cnn",
        }
        run = start(params=params, tags=trial_tags(parent, "sweep cc", number), name=f"c-{number}")
        ids.append(run.run_id)
        if state == "interrupted":
            run.fail("SystemExit: 143", killed=True)
        elif state != "running":
            for _ in range(2):  # the sweep died after it, and does it again
                note_trial(
                    store, run.run_id, state, value, "round 3: too bad" if state == "pruned" else ""
                )
    for wanted in (parent, "sweep cc"):
        view = read_sweep(store, wanted)
        assert (view.name, view.run_id, view.metric, view.direction) == (
            "sweep cc",
            parent,
            "validation/loss",
            "minimize",
        )
        assert [
            (trial.number, trial.run_id, trial.state, trial.value) for trial in view.trials
        ] == [
            (number, run_id, *value)
            for number, (run_id, value) in enumerate(zip(ids, values, strict=True))
        ]
    assert view.trials[2].params == {
        "client.learning_rate": 0.01,
        "client.momentum": None,
        "model.name": "cnn",
    }
    assert view.trials[2].reason == "round 3: too bad"
    assert view.best == view.trials[1]  # the first of equals
    assert len(store.client.get_metric_history(ids[0], "sweep/value")) == 1


def test_a_run_that_is_no_sweep_is_refused(start, store):
    with pytest.raises(TrackingError, match="expected the parent run of a sweep"):
        read_sweep(store, start(name="plain").run_id)
