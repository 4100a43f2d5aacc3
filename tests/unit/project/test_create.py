"""A new project says what fedpipe's own files say, and is made whole or not at all."""

import importlib.metadata
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedpipe.config import load_config
from fedpipe.config.params_file import as_params
from fedpipe.errors import ConfigError, EnvironmentProblem
from fedpipe.project import create as new_project
from fedpipe.project.create import init_project, settings
from fedpipe.project.installed import Origin, origin_of

ROOT = Path(__file__).parents[3]
PLACES = [
    Origin("the package index", {}),
    Origin("/opt/fed pipe", {"path": "/opt/fed pipe", "editable": True}),
    Origin("there", {"git": "https://host/fedpipe.system.git", "rev": "1f0c"}, is_pinned=True),
]


def written(folder: Path, place: Origin) -> Any:
    new_project._write_files(folder, "sensors", place)
    return tomllib.loads((folder / "pyproject.toml").read_text()), yaml.safe_load(
        (folder / "dvc.yaml").read_text()
    )


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.words)
def test_packages_are_those_of_fedpipe(tmp_path: Path, place: Origin) -> None:
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, stages = written(tmp_path, place)
    for key in ("environments", "override-dependencies", "compile-bytecode"):
        assert project["tool"]["uv"][key] == ours["tool"]["uv"][key]
    names = {re.split("[=<>]", one)[0] for one in ours["project"]["dependencies"]}
    installed = {one: importlib.metadata.version(one) for one in names}
    assert sorted(project["tool"]["uv"]["constraint-dependencies"]) == sorted(
        f"{name}=={version}" for name, version in installed.items()
    )
    assert project["project"]["requires-python"] == ours["project"]["requires-python"]
    assert project["project"]["dependencies"] == [f"fedpipe=={ours['project']['version']}"]
    assert project["tool"]["uv"].get("sources", {}) == (
        {"fedpipe": place.source} if place.source else {}
    )
    # A git commit is code, so a stage depends on it; a folder's path is none.
    named = (
        ["project.dependencies", "tool.uv.sources.fedpipe"]
        if place.is_pinned
        else ["project.dependencies"]
    )
    assert all({"pyproject.toml": named} in stage["params"] for stage in stages["stages"].values())


def test_stages_are_those_of_fedpipe_with_own_code(tmp_path: Path) -> None:
    ours = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    stages = written(tmp_path, PLACES[0])[1]
    assert (stages["metrics"], stages["plots"]) == (ours["metrics"], ours["plots"])
    assert stages["stages"].keys() == ours["stages"].keys()
    for name, stage in stages["stages"].items():
        theirs = ours["stages"][name]
        assert {key: stage[key] for key in ("cmd", "desc", "outs")} == {
            key: theirs[key] for key in ("cmd", "desc", "outs")
        }
        assert [one for one in stage["params"] if isinstance(one, str)] == theirs["params"]
        made = [dep for dep in theirs["deps"] if not dep.startswith("fedpipe/")]
        assert [dep for dep in stage["deps"] if not dep.startswith("own/")] == made


def test_deployment_is_that_of_fedpipe_but_for_the_flow(tmp_path: Path) -> None:
    ours = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    written(tmp_path, PLACES[0])
    theirs = yaml.safe_load((tmp_path / "prefect.yaml").read_text())
    assert theirs["pull"] == ours["pull"]
    assert all(step in theirs["build"] for step in ours["build"])
    (ours_train,) = [one for one in ours["deployments"] if one["name"] == "train"]
    assert (
        theirs["deployments"][0]["work_pool"]["job_variables"]
        == ours_train["work_pool"]["job_variables"]
    )
    assert theirs["deployments"][0]["entrypoint"] == "own/flow.py:training"


def test_params_hold_every_setting(tmp_path: Path) -> None:
    written(tmp_path, PLACES[0])
    assert load_config(tmp_path / "params.yaml") == settings("sensors")
    assert yaml.safe_load((tmp_path / "params.yaml").read_text()) == settings("sensors").model_dump(
        mode="json"
    )


def test_params_text_explains_each_group() -> None:
    text = as_params(settings("sensors"), "One line.\nAnother.")
    assert text.startswith("# One line.\n# Another.\nseed: 1\n")
    assert "\n\n# Which clients take part in a round.\ncohort:\n  size: 5\n" in text


def test_passwords_stay_out() -> None:
    place = origin_of({"url": "https://ann:s3cret@host/fedpipe-0.1.0.whl", "archive_info": {}})
    assert (place.words, place.source) == (
        "https://host/fedpipe-0.1.0.whl",
        {"url": "https://host/fedpipe-0.1.0.whl"},
    )


@pytest.mark.parametrize("kind", ["files", "a file", "a dangling link"])
def test_what_is_there_stays(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "mine"
    if kind == "files":
        target.mkdir()
        (target / "thesis.tex").write_text("years of work")
    elif kind == "a file":
        target.write_text("years of work")
    else:
        target.symlink_to(tmp_path / "gone")
    with pytest.raises(
        ConfigError,
        match=r"mine: expected a folder that is empty or not there, found (thesis\.tex in it|something else)",
    ):
        init_project(target)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (
        kind == "a dangling link"
        or "years of work" in (target / "thesis.tex" if kind == "files" else target).read_text()
    )


@pytest.mark.parametrize("there", [True, False])
def test_nothing_half_written_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    target = tmp_path / "deep" / "mine"
    if there:
        target.mkdir(parents=True)
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\necho no room >&2\nexit 3\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match=r"`git init .*` failed with exit code 3: no room"):
        init_project(target)
    git.unlink()
    with pytest.raises(
        EnvironmentProblem, match=r"expected git on the PATH, found none\. Install it\."
    ):
        init_project(target)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == (
        ["deep", "deep/mine"] if there else []
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(
        EnvironmentProblem, match="expected to write a new project there, found Permission denied"
    ):
        init_project(tmp_path / "mine")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only git knows which files are ignored")
def test_templates_are_no_ignored_files() -> None:
    # The wheel has what git does not ignore.
    done = subprocess.run(
        ["git", "-C", str(ROOT), "status", "--porcelain", "--ignored", "fedpipe/templates"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "!!" not in done.stdout
