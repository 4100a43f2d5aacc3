"""The DAG of files as a DVC user drives it: what reruns when what changes, what compares, what a remote restores."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from fedpipe.data.digest import dvc_md5


@pytest.fixture(scope="module")
def person(make_user: Any) -> Any:
    """Someone who ran the whole pipeline once, with few rounds, and committed it."""
    user = make_user()
    set_param(user, "rounds: 15", "rounds: 3")
    user.run("dvc", "repro")
    commit(user)
    return user


def set_param(user: Any, old: str, new: str) -> None:
    params = user.project / "params.yaml"
    text = params.read_text()
    assert text.count(old) == 1
    params.write_text(text.replace(old, new))


def commit(user: Any) -> None:
    user.run("git", "add", "--all")
    user.run(
        "git",
        "-c",
        "user.name=T",
        "-c",
        "user.email=t@example.org",
        "commit",
        "--quiet",
        "-m",
        "Run",
    )


def stages_run(user: Any) -> list[str]:
    text = user.run("dvc", "repro").stdout
    return [line.split("'")[1] for line in text.splitlines() if line.startswith("Running stage")]


def test_second_repro_runs_nothing(person: Any) -> None:
    assert stages_run(person) == []
    assert person.git_status() == ""


def test_what_reruns_and_what_compares(person: Any) -> None:
    set_param(person, "learning_rate: 0.01", "learning_rate: 0.05")
    assert stages_run(person) == ["train", "evaluate"]
    assert "client.learning_rate" in person.run("dvc", "params", "diff").stdout
    compared = json.loads(person.run("dvc", "metrics", "diff", "--json").stdout)[
        "outputs/evaluate/summary.json"
    ]
    assert set(compared) == {"test/accuracy", "test/loss"}
    assert all(figures["old"] != figures["new"] for figures in compared.values())
    person.run("dvc", "plots", "diff", "HEAD", "--out", str(person.home / "plots"))
    page = (person.home / "plots" / "index.html").read_text()
    assert "Loss by round" in page
    assert "Confusion on the central test set" in page
    assert '"rev": "workspace"' in page
    assert '"rev": "HEAD"' in page
    # Nothing is loaded from elsewhere: the drawing library is in the page.
    assert (
        re.findall(r"""<(?:script|link|img)[^>]*(?:src|href)=["']?(?:https?:)?//[^>]*""", page)
        == []
    )
    assert "vegaEmbed(" in page
    commit(person)


@pytest.mark.slow
def test_other_data_rerun_all(person: Any) -> None:
    set_param(person, "  seed: 1", "  seed: 2")
    assert stages_run(person) == ["prepare", "train", "evaluate"]
    commit(person)


def test_experiment(person: Any) -> None:
    person.run("dvc", "exp", "run", "--name", "faster", "-S", "client.learning_rate=0.1")
    changed = [
        line
        for line in person.run("git", "diff", "-U0", "params.yaml").stdout.splitlines()
        if line.startswith("+ ")
    ]
    assert [line.split() for line in changed] == [["+", "learning_rate:", "0.1"]]
    table = person.run("dvc", "exp", "show", "--csv", "--no-pager").stdout
    assert "faster" in table
    chain = json.loads((person.project / "outputs" / "train" / "lineage.json").read_text())
    assert chain["dvc"]["experiment"] == "faster"
    run = MlflowClient(tracking_uri=f"sqlite:///{person.project}/mlflow.db").get_run(
        chain["mlflow"]["run_id"]
    )
    assert (run.data.tags["dvc.experiment"], run.data.params["client.learning_rate"]) == (
        "faster",
        "0.1",
    )
    person.run("git", "checkout", "--quiet", ".")
    person.run("dvc", "checkout", "--quiet")


def test_remote_restores_the_same_md5(person: Any) -> None:
    shards = person.project / "data" / "shards"
    before = dvc_md5(shards)
    remote = person.home / "remote"
    person.run("dvc", "remote", "add", "--local", "--default", "here", str(remote))
    person.run("dvc", "push")
    shutil.rmtree(shards)
    shutil.rmtree(person.project / ".dvc" / "cache")
    person.run("dvc", "pull")
    assert dvc_md5(shards) == before
    locked = yaml.safe_load((person.project / "dvc.lock").read_text())["stages"]["prepare"]["outs"][
        0
    ]["md5"]
    assert before == locked


@pytest.mark.slow
def test_damaged_shards_are_made_again(person: Any) -> None:
    shards = Path(person.project / "data" / "shards")
    before = dvc_md5(shards)
    (shards / "manifest.json").unlink()
    person.train("-S", "rounds=1")
    assert dvc_md5(shards) == before
