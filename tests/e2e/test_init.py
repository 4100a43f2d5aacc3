"""`fedpipe init`: the new project works at once, with every command of its README."""

import json
from typing import Any

import pytest
import yaml

from fedpipe.project.dvc import stage_is_current

IDENTITY = {
    f"GIT_{who}_{what}": "t@example.org"
    for who in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}

NOBODY = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "user.useConfigOnly",
    "GIT_CONFIG_VALUE_0": "true",
}
"""A git that has no name and does not guess one."""


@pytest.fixture(scope="module")
def person(make_user: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Someone who has made a project and stands in it."""
    user = make_user(git=False)
    user.project = tmp_path_factory.mktemp("work")
    made = json.loads(user.run("fedpipe", "init", "My sensors", "--json", **IDENTITY).stdout)
    user.project /= "My sensors"
    assert made["path"] == str(user.project)
    assert made["name"] == "my-sensors"
    assert made["notes"] == []
    assert made["commit"] == user.run("git", "rev-parse", "HEAD").stdout.strip()
    assert set(made["files"]) == set(user.run("git", "ls-files").stdout.split()) - {
        ".dvc/.gitignore"
    }
    assert user.git_status() == ""
    return user


def test_it_passes_its_own_tests(person: Any) -> None:
    assert "3 passed" in person.run("pytest", "-q", "-p", "no:cacheprovider", timeout=550).stdout
    assert person.git_status() == ""


def test_a_second_one_is_refused_and_without_a_name_nothing_is_committed(person: Any) -> None:
    refused = person.run("fedpipe", "init", ".", code=2).stderr
    assert refused.startswith(
        f"fedpipe: {person.project}: expected a folder that is empty or not there, found .dvc,"
    )
    assert refused.count("\n") == 1
    (person.project.parent / "empty").mkdir()
    said = person.run("fedpipe", "init", "../empty", **NOBODY).stdout
    assert "no commit yet" in said
    assert "git config --global user.email" in said  # git's own advice
    assert (person.project.parent / "empty" / "own" / "source.py").is_file()


@pytest.mark.slow
def test_every_command_of_its_readme(person: Any) -> None:
    run = person.train("-S", "client.learning_rate=0.05", "--name", "first")
    assert run["final"]["test/accuracy"] > run["initial"]["test/accuracy"]
    assert person.git_status() == "?? dvc.lock\n"  # as the README says, to be committed
    person.run("git", "add", "--all")
    person.run("git", "commit", "--quiet", "-m", "Data", **IDENTITY)
    assert (
        json.loads(person.run("fedpipe", "describe", "--json").stdout)["source"]
        == "own.source:readings"
    )
    assert "nothing to resume" in person.run("fedpipe", "resume").stdout
    stages = person.run("dvc", "repro").stdout
    assert "Stage 'prepare' didn't change" in stages
    assert "Running stage 'train'" in stages
    assert "Running stage" not in person.run("dvc", "repro").stdout
    assert stage_is_current(person.project, "prepare")  # fedpipe reads dvc.lock as DVC does
    own = json.loads(person.run("python", "-m", "own.flow").stdout.splitlines()[-1])
    assert own["data_md5"] == run["data_md5"]
    same = (
        person.run("fedpipe", "reproduce", "first").stdout
        + person.run("fedpipe", "lineage", "first").stdout
    )
    assert "identical" in same
    assert run["data_md5"][:12] in same


@pytest.mark.slow
def test_another_version_of_fedpipe_makes_the_stages_run_again(person: Any) -> None:
    person.run("dvc", "repro", "prepare")
    project = person.project / "pyproject.toml"
    project.write_text(
        project.read_text().replace('["fedpipe==0.1.0"]', '["fedpipe==0.1.0", "scipy"]')
    )
    assert "prepare" in json.loads(person.run("dvc", "status", "--json").stdout)
    person.run("git", "checkout", "pyproject.toml")


def test_the_flow_is_deployed_by_its_entrypoint(person: Any) -> None:
    file, _, function = yaml.safe_load((person.project / "prefect.yaml").read_text())[
        "deployments"
    ][0]["entrypoint"].partition(":")
    assert f"\ndef {function}(" in (person.project / file).read_text()
