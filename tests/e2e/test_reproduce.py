"""A run made again, in a clone that has its commit, the MLflow store and the DVC remote and nothing else."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient


@pytest.fixture(scope="module")
def origin(make_user: Any) -> tuple[Any, dict[str, Any]]:
    """Someone who trained and pushed the data, whose own copy of them is gone."""
    user = make_user()
    user.run("dvc", "remote", "add", "--default", "here", str(user.home / "remote"))
    commit(user)
    summary = user.train(
        "--name",
        "first",
        "-S",
        "rounds=4",
        "-S",
        "cohort.strategy=uniform",
        "-S",
        "tracking.save_every=2",
    )
    user.run("dvc", "push")
    shutil.rmtree(user.project / "data")
    shutil.rmtree(user.project / ".dvc" / "cache")
    return user, summary


@pytest.fixture(scope="module")
def other(origin: Any) -> Any:
    """The same person, in a clone elsewhere."""
    user, _ = origin
    clone = user.home / "elsewhere"
    user.run("git", "clone", "--quiet", str(user.project), str(clone))
    return type(user)(clone, user.home)


def commit(user: Any) -> None:
    user.run(
        "git",
        "-c",
        "user.name=T",
        "-c",
        "user.email=t@example.org",
        "commit",
        "--quiet",
        "--all",
        "-m",
        "Change",
    )


def reproduce(origin: Any, other: Any, run_id: str, code: int = 0) -> dict[str, Any]:
    uri = f"sqlite:///{origin[0].project}/mlflow.db"
    done = other.run("fedpipe", "reproduce", run_id, "--json", code=code, MLFLOW_TRACKING_URI=uri)
    said: dict[str, Any] = json.loads(done.stdout)
    assert len(other.run("git", "worktree", "list").stdout.splitlines()) == 1
    return said


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_is_reproduced_to_the_bit_from_remote_and_store(origin: Any, other: Any) -> None:
    summary = origin[1]
    said = reproduce(origin, other, summary["run_id"])
    assert (said["result"], said["rounds"], said["difference"]["round_num"]) == (
        "identical",
        5,
        None,
    )
    assert said["data"] == {
        "how": "pulled through DVC",
        "md5": summary["data_md5"],
        "md5_now": summary["data_md5"],
    }
    assert (said["environment"], said["notes"]) == ({}, [])
    assert not (other.project / "mlflow.db").exists()
    assert other.git_status() == ""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_dirty_run_with_data_of_its_own_is_reproduced(origin: Any, other: Any) -> None:
    user = origin[0]
    model = user.project / "fedpipe" / "models" / "softmax.py"
    before = model.read_text()
    assert "np.zeros" in before
    model.write_text(before.replace("np.zeros", "np.ones"))  # other weights to begin with
    (user.project / "notes.bin").write_bytes(bytes(range(256)))
    try:  # the changed code has to be the code that runs
        summary = user.train(
            "--name",
            "dirty",
            "-S",
            "rounds=2",
            "-S",
            "data.alpha=0.5",
            PYTHONPATH=str(user.project),
        )
    finally:
        model.write_text(before)
        (user.project / "notes.bin").unlink()
    said = reproduce(origin, other, summary["run_id"])
    assert (said["result"], said["data"]["how"]) == (
        "identical",
        "prepared again: dvc.lock does not name this version",
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_differs_is_named(origin: Any, other: Any, tmp_path: Path) -> None:
    user, summary = origin
    client = MlflowClient(tracking_uri=f"sqlite:///{user.project}/mlflow.db")
    path = tmp_path / "weights.jsonl"
    kept = Path(
        client.download_artifacts(summary["run_id"], "lineage/weights.jsonl", str(tmp_path))
    ).read_text()
    lines = [json.loads(line) for line in kept.splitlines()]
    for line in lines[3:]:  # as if the original had gone another way from round 3 on
        line["sha256"] = "0" * 64
        line["tensors"]["bias"] = "0" * 64
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    client.log_artifact(summary["run_id"], str(path), "lineage")
    client.set_tag(summary["run_id"], "version.numpy", "0.1")
    said = reproduce(origin, other, summary["run_id"], code=1)
    difference = said["difference"]
    assert (said["result"], difference["round_num"], difference["tensors"]) == (
        "differs",
        3,
        ["bias"],
    )
    assert (difference["at_round"], difference["max_abs"]) == (
        4,
        0.0,
    )  # the weights themselves are the same
    assert list(said["environment"]) == ["version.numpy"]
