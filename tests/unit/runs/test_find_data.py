"""Which data a command is about, where a run's shards are elsewhere than in data/shards."""

import json
import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.cli.data import describe
from fedpipe.config import load_config
from fedpipe.config.shard_settings import ShardSettings
from fedpipe.data.digest import dvc_md5
from fedpipe.data.manifest import read_manifest
from fedpipe.data.population import Population
from fedpipe.errors import DataError
from fedpipe.lineage.forget import forget
from fedpipe.project.paths import Project
from fedpipe.runs.find_data import data_of, find_run_shards, how_to_make
from fedpipe.runs.shards import current_shards, prepare, shards_folder
from fedpipe.runs.state import RunState, begin


def write_data(folder: Path, name: str, clients: list[str], width: int = 2) -> None:
    count = 10 * len(clients)
    x = np.arange(count * width, dtype=np.float32).reshape(count, width)
    np.savez(folder / name, x=x, label=np.arange(count) % 2, client=np.repeat(clients, 10))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose params.yaml names main.npz, and whose data/shards hold it; two more files lie beside."""
    write_data(tmp_path, "main.npz", ["m1", "m2", "m3"])
    write_data(tmp_path, "other.npz", ["o1", "o2", "o3", "o4"])
    write_data(tmp_path, "wide.npz", ["w1", "w2", "w3"], width=5)
    (tmp_path / "params.yaml").write_text(
        "data: {source: npz, path: main.npz, clients: null}\ncohort: {size: 1}\n"
    )
    (tmp_path / "forgotten.json").write_text("[]\n")
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path)
    prepare(ShardSettings.of(load_config(project.params)), project.shards, project)
    os.utime(project.shards / "manifest.json", (1_000_000_000, 1_000_000_000))
    return project


def run_on(project: Project, name: str, path: str, **values: Any) -> tuple[RunState, Path]:
    """Make what a run with overridden data leaves before its first round."""
    config = load_config(project.params, [f"data.path={path}"])
    project.private.mkdir(exist_ok=True)
    folder = current_shards(ShardSettings.of(config), project)
    state = begin(project, name, config, "run")
    state.update(
        data_md5=dvc_md5(folder), data_path=str(folder), mlflow_run_id=f"{name}-id", **values
    )
    return state, folder


def described(capsys: pytest.CaptureFixture[str], run: str | None = None) -> dict[str, Any]:
    describe(run, as_json=True)
    return dict(json.loads(capsys.readouterr().out))


def test_describe_shows_the_newest_runs_data(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert described(capsys)["client_ids"] == ["m1", "m2", "m3"]
    run_on(project, "first", "other.npz")
    run_on(project, "second", "wide.npz")
    newest = described(capsys)
    assert (newest["client_ids"], newest["data_of"]) == (
        ["w1", "w2", "w3"],
        "run second (npz wide.npz)",
    )
    assert newest["path"].startswith(".fedpipe/shards/")
    for name in ("first", "first-id"):
        assert described(capsys, name)["client_ids"] == ["o1", "o2", "o3", "o4"]
    describe()
    assert capsys.readouterr().out.startswith(
        "data of run second (npz wide.npz), in .fedpipe/shards/"
    )


def test_data_prepared_after_the_newest_run_are_shown(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run_on(project, "first", "other.npz", begun=1_000.0)
    assert described(capsys)["data_of"] == "data/shards"
    assert described(capsys, "first")["client_ids"] == ["o1", "o2", "o3", "o4"]


def test_a_run_on_data_shards_is_found_there(project: Project) -> None:
    config = load_config(project.params)
    state = begin(project, "plain", config, "run")
    state.update(data_md5=dvc_md5(project.shards), begun=1_000.0)
    data = data_of(project)
    assert data.title == "run plain (npz main.npz)"
    assert find_run_shards(project, data) == project.shards


def test_shards_that_are_gone_name_the_command_that_makes_them(project: Project) -> None:
    _, folder = run_on(project, "first", "other.npz")
    folder.rename(project.root / "elsewhere")
    with pytest.raises(
        DataError,
        match=r"run first \(npz other\.npz\): expected its shards .* `fedpipe run -S data\.path=other\.npz`",
    ):
        find_run_shards(project, data_of(project, "first"))


def test_missing_and_damaged_shards_name_their_own_remedy(project: Project) -> None:
    (project.shards / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"expected shards, found none\. Run `fedpipe prepare`"):
        find_run_shards(project, data_of(project))
    _, folder = run_on(project, "first", "other.npz")
    (folder / "clients.parquet").write_bytes(b"x")
    with pytest.raises(
        DataError,
        match=r"Remove the folder .*\.fedpipe/shards/\w+: the next run with its `data` settings makes it again",
    ):
        Population.open(folder)


def test_forget_works_on_the_data_of_the_run(
    project: Project, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    _, before = run_on(project, "first", "other.npz")
    done = forget(project, ["o2"], run="first")
    after = Population.open(Path(done.path))
    assert after.index.client_ids == ("o1", "o3", "o4")
    assert (done.examples, done.clients_left, done.in_dvc, done.removed) == (
        10,
        3,
        False,
        (str(before),),
    )
    assert not before.exists()
    assert json.loads((project.root / "forgotten.json").read_text()) == ["o2"]
    config = load_config(project.params, ["data.path=other.npz"])
    assert (
        current_shards(ShardSettings.of(config), project) == after.path
    )  # what the next run with these settings trains on
    assert read_manifest(project.shards).clients == 3
    later = described(capsys, "first")
    assert (later["client_ids"], later["forgotten"]) == (["o1", "o3", "o4"], 1)
    assert "a later version than the run trained on" in caplog.text


def test_clients_that_are_forgotten_later_are_added_to_the_earlier_ones(project: Project) -> None:
    write_data(project.root, "many.npz", [f"c{number:02}" for number in range(30)])
    settings = "data: {source: npz, path: main.npz, clients: null, shard_rows: 100}\n"
    (project.root / "params.yaml").write_text(settings + "cohort: {size: 1}\n")
    run_on(project, "first", "many.npz")
    first = forget(project, ["c29"], run="first")
    old = {path.name: path.read_bytes() for path in Path(first.path).glob("*-*.parquet")}
    both = forget(project, ["c29", "c28"], run="first")
    assert both.client_ids == ("c28", "c29")
    assert (both.examples, both.clients_left) == (10, 28)
    assert json.loads((project.root / "forgotten.json").read_text()) == ["c28", "c29"]
    assert (both.md5_before, both.removed) == (first.md5_after, (first.path,))
    assert both.md5_after not in (both.md5_before, first.md5_before)
    new = {path.name: path.read_bytes() for path in Path(both.path).glob("*-*.parquet")}
    changed = {name for name in old | new if old.get(name) != new.get(name)}
    assert set(both.files_changed) == changed
    assert 0 < len(changed) < len(old)


def test_an_unknown_client_and_a_failure_change_nothing(project: Project) -> None:
    _, folder = run_on(project, "first", "other.npz")
    listed = (project.root / "forgotten.json").read_text()
    with pytest.raises(
        DataError,
        match=r"ids of clients in the data of run first \(npz other\.npz\), found no m1\. .*--run names another",
    ):
        forget(project, ["m1"])
    with pytest.raises(DataError, match="at least one client that is not forgotten"):
        forget(project, ["o1", "o2", "o3", "o4"])
    assert (project.root / "forgotten.json").read_text() == listed
    assert folder.is_dir()


def test_shards_that_a_run_is_using_are_not_removed(project: Project) -> None:
    state, folder = run_on(project, "first", "other.npz")
    with state.alive():
        assert forget(project, ["o2"]).removed == ()
    assert folder.is_dir()


def test_the_command_that_makes_shards_can_be_pasted_into_a_shell(project: Project) -> None:
    overrides = [
        "data.path=my table.csv",
        "data.ignore_columns=[a note, it's]",
        "data.label_column='true'",
        "data.separator=;",
    ]
    settings = load_config(project.params, ["data.source=csv", *overrides]).data
    command = how_to_make(project, ShardSettings(settings)).split("`")[1]
    words = shlex.split(command)
    assert words[:2] == ["fedpipe", "run"]
    assert (
        load_config(project.params, [word for word in words[2:] if word != "-S"]).data == settings
    )


def test_the_command_for_another_source_names_no_settings_of_the_source_of_now(
    project: Project,
) -> None:
    settings = load_config(project.params).data
    project.params.write_text(
        "data: {source: csv, path: a.csv, separator: ';', partition: iid, clients: 3}\n"
        "cohort: {size: 1}\n"
    )
    command = how_to_make(project, ShardSettings(settings)).split("`")[1]
    words = [word for word in shlex.split(command)[2:] if word != "-S"]
    assert not any(word.startswith("data.separator") for word in words)
    assert load_config(project.params, words).data == settings


def test_the_kind_of_the_task_is_part_of_what_makes_shards(project: Project) -> None:
    config = load_config(project.params, ["task.kind=regression"])
    settings = ShardSettings.of(config)
    assert settings.kind == "regression"
    folder = current_shards(settings, project)
    assert read_manifest(folder).kind == "regression"
    classes = current_shards(ShardSettings(config.data), project)
    assert classes != folder
    assert read_manifest(classes).kind == "classification"
    assert shards_folder(ShardSettings(config.data, "binary"), project) != folder
    words = shlex.split(how_to_make(project, settings).split("`")[1])
    overrides = [word for word in words[2:] if word != "-S"]
    assert ShardSettings.of(load_config(project.params, overrides)) == settings


def test_the_kind_of_a_run_finds_its_later_shards(project: Project) -> None:
    config = load_config(project.params, ["task.kind=regression"])
    project.private.mkdir(exist_ok=True)
    folder = current_shards(ShardSettings.of(config), project)
    state = begin(project, "numbers", config, "run")
    state.update(data_md5=dvc_md5(folder), data_path=str(folder), mlflow_run_id="numbers-id")
    data = data_of(project, "numbers")
    assert data.shard_settings == ShardSettings.of(config)
    result = forget(project, ["m1"], run="numbers")
    assert find_run_shards(project, data) == current_shards(ShardSettings.of(config), project)
    later = Population.open(find_run_shards(project, data))
    assert list(later.index.client_ids) == ["m2", "m3"]
    assert later.manifest.kind == "regression"
    assert result.examples > 0
