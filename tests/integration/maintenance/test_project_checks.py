"""`fedpipe doctor` does what a run will do: each fault of a project is found by its check, with the place and the next step."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from fedpipe.cli.doctor import show_checks
from fedpipe.config import load_config
from fedpipe.maintenance.check import Check, tried
from fedpipe.maintenance.machine_checks import machine_checks
from fedpipe.maintenance.project_checks import (
    check_dvc,
    check_folder,
    check_model,
    check_store,
    read_settings,
    trying_data,
)
from fedpipe.project.paths import Project

TABLE = [
    "data.source=csv",
    "data.path=mine.csv",
    "data.clients=null",
    "cohort.size=1",
    "cohort.min_reports=1",
]


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for module in ("mine", "helper"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return Project(project)


def data(here: Project, *overrides: str) -> Check:
    def read() -> Check:
        with trying_data(load_config(here.params, overrides), here) as data:
            return data.check

    return tried("data", read)


def failed(check: Check, *words: str) -> None:
    assert (check.ok, check.needed) == (False, True), check.line
    assert [word for word in words if word not in check.line] == [], check.line


def test_a_typo_in_the_params_file(here: Project) -> None:
    here.params.write_text(here.params.read_text().replace("learning_rate:", "learnig_rate:", 1))
    config, check = read_settings(here.params, [])
    assert config is None
    failed(
        check,
        "FAIL settings: params.yaml: unknown key 'client.learnig_rate'; did you mean 'client.learning_rate'?",
    )


def test_an_override_counts_as_in_a_run(here: Project) -> None:
    config, check = read_settings(here.params, ["rounds=3"])
    assert config is not None
    assert (config.rounds, check.ok) == (3, True)
    failed(read_settings(here.params, ["rounds=0"])[1], "rounds")
    failed(read_settings(here.root / "nowhere.yaml", [])[1], "nowhere.yaml", "no such params file")


@pytest.mark.parametrize("mark", ["<<<<<<< HEAD", ">>>>>>> other"])
def test_merge_markers_in_the_lock_file(here: Project, mark: str) -> None:
    lock = here.root / "dvc.lock"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([*lines[:4], mark, *lines[4:]]) + "\n")
    failed(tried("dvc", partial(check_dvc, here)), "dvc.lock:5", "merge")


def test_dvc_is_asked(here: Project) -> None:
    (here.root / "dvc.yaml").write_text(
        "stages:\n  prepare:\n    cmd: fedpipe prepare\n    deps: [nowhere.csv]\n"
    )
    assert tried("dvc", partial(check_dvc, here)).ok
    (here.root / "dvc.yaml").write_text("stages:\n  prepare:\n    comand: fedpipe prepare\n")
    failed(tried("dvc", partial(check_dvc, here)), "dvc.yaml", "comand, line 3")


def test_a_data_file_that_is_not_there(here: Project) -> None:
    failed(data(here, *TABLE), "mine.csv", "found nothing")


def test_a_table_that_can_be_read_and_one_that_cannot(here: Project) -> None:
    table = here.root / "mine.csv"
    table.write_text("client,label,x\na,0,1.5\na,1,2\nb,0,3\nb,1,4\n")
    check = data(here, *TABLE)
    assert check.ok, check.line
    assert "mine.csv can be read: 2 clients, 2 classes, features [1]" in check.finding
    table.write_text("client,label,x\na,0,1.5\na,1,\nb,0,3\nb,1,4\n")
    failed(data(here, *TABLE), "mine.csv", "column x")
    assert not (here.root / "data" / "shards").exists()
    assert not (here.private / "shards").exists()


def test_data_of_the_params_file_must_be_a_dependency_of_the_stage(here: Project) -> None:
    (here.root / "mine.csv").write_text("client,label,x\na,0,1.5\na,1,2\n")
    text = (
        here.params.read_text()
        .replace("source: mnist5k", "source: csv", 1)
        .replace("  path:\n", "  path: mine.csv\n", 1)
    )
    here.params.write_text(text)
    failed(data(here), "Add the line `- mine.csv`", "dvc.yaml")


@pytest.mark.parametrize(
    ("key", "check"),
    [
        ("model.name", lambda here, config: check_model(config, here, None)),
        (
            "data.source",
            lambda here, config: data(
                here, f"data.source={config.data.source}", "data.clients=null"
            ),
        ),
    ],
)
def test_a_name_error_in_code_of_the_users_own(
    here: Project, key: str, check: Callable[..., Check]
) -> None:
    (here.root / "mine.py").write_text(
        "import math\n\nSIZE = math.pi * radius\n\n\ndef make(*args):\n    return None\n"
    )
    config = load_config(here.params, [f"{key}=mine:make"])
    failed(
        tried(key, lambda: check(here, config)), "mine", "NameError: name 'radius' is not defined"
    )


def test_a_store_that_is_not_there_and_one_that_is(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = check_store(here, "fedpipe")
    assert check.ok, check.line
    assert (here.root / "mlflow.db").stat().st_size > 0
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here.params}/mlflow.db")
    failed(
        check_store(here, "fedpipe"),
        "params.yaml/mlflow.db",
        "Set MLFLOW_TRACKING_URI to a store that can be written.",
    )


def test_the_folder_of_the_project_is_written_and_locked(here: Project) -> None:
    check = check_folder(here)
    assert (check.ok, str(here.root) in check.finding) == (True, True)
    assert [path.name for path in here.root.iterdir() if path.name.startswith(".fedpipe")] == []


def test_each_check_of_the_machine_has_a_name_of_its_own(here: Project) -> None:
    names = [check.name for check in machine_checks(here)]
    assert len(set(names)) == len(names)
    assert {
        "python",
        "cpu",
        "tensorflow",
        "home",
        "open files",
        "local ports",
        "disk",
        "git",
    } <= set(names)


def test_an_exception_of_any_kind_is_a_failed_check() -> None:
    failed(tried("data", lambda: [][1]), "FAIL data: IndexError: list index out of range")  # type: ignore[arg-type, return-value]


def test_quiet_shows_what_is_not_ok_and_the_exit_code_tells(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fine, odd = Check("a", True, True, "fine", ""), Check("b", False, False, "odd", "look at it")
    show_checks([fine, odd], as_json=False, quiet=True)
    assert capsys.readouterr().out == "warn b: odd. Look at it.\n"
    import typer

    with pytest.raises(typer.Exit) as ended:
        show_checks(iter([fine, Check("c", False, True, "broken", "")]), as_json=False, quiet=False)
    assert ended.value.exit_code == 1
    assert capsys.readouterr().out == "ok   a: fine\nFAIL c: broken\n"


def test_the_fields_that_programs_read(capsys: pytest.CaptureFixture[str]) -> None:
    show_checks([Check("b", False, False, "odd", "look at it")], as_json=True, quiet=False)
    assert capsys.readouterr().out == (
        '[{"name": "b", "ok": false, "needed": false, "found": "odd", "mend": "look at it"}]\n'
    )
