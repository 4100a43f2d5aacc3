"""What people mistype or leave out: one message, exit code 2, no traceback; it names the place and the next step."""

import json
import shutil
import sys
from pathlib import Path

import pytest

import fedpipe.cli.main  # noqa: F401 - the module; the package's attribute of this name is the function

module = sys.modules["fedpipe.cli.main"]
ROOT = Path(__file__).parents[3]


class Left(Exception):
    """The program would have ended here."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with its settings and three runs, in which the command line runs within this process."""
    shutil.copy2(ROOT / "params.yaml", tmp_path)
    ids = {"spring": "abcd1111", "summer": "abcd2222", "winter": "ef993333"}
    for begun, (name, run_id) in enumerate(ids.items()):
        folder = tmp_path / ".fedpipe" / "runs" / name
        folder.mkdir(parents=True)
        values = {
            "name": name,
            "entry": "run",
            "status": "finished",
            "begun": begun,
            "key": name,
            "mlflow_run_id": run_id * 4,
            "config": {},
        }
        (folder / "run_state.json").write_text(json.dumps(values))
    for name in ("watch_outlets", "_show_warnings"):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def message(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    codes = []

    def leave(code: int) -> None:
        codes.append(code)
        raise Left

    monkeypatch.setattr(module, "_leave", leave)
    monkeypatch.setattr(sys, "argv", ["fedpipe", *command.split()])
    with pytest.raises(Left):
        module.main()
    out, err = capsys.readouterr()
    assert (codes, out, err.count("\n")) == ([2], "", 1), out + err
    assert err.startswith("fedpipe: ")
    assert "Traceback" not in err
    return err


SETTINGS = {
    "run -S rounds": ["-S rounds", "KEY=VALUE", "client.learning_rate=0.05"],
    "run -S =3": ["-S =3", "KEY=VALUE"],
    "run -S client.learnig_rate=1": [
        "-S client.learnig_rate=1",
        "did you mean 'client.learning_rate'?",
    ],
    "run -S learning_rate=1": [
        "unknown key 'learning_rate'",
        "did you mean 'client.learning_rate' or 'server.learning_rate'?",
    ],
    "run -S client=3": [
        "unknown key 'client'",
        "it is a section of settings. Set one of them: client.",
    ],
    "run -S rounds=ten": ["-S rounds=ten: 'rounds'", "valid integer", "found 'ten'"],
    "run -S rounds=2.5": ["-S rounds=2.5", "valid integer"],
    "run -S rounds=0": ["-S rounds=0", "greater than or equal to 1"],
    "run -S client.learning_rate=nan": ["-S client.learning_rate=nan"],
    "run -S algorithm.name=fedavgg": ["-S algorithm.name=fedavgg", "fedavg"],
    "run -S cohort.size=101": [
        "params.yaml with -S cohort.size=101",
        "Lower cohort.size or raise data.clients",
    ],
    "run -S rounds=1 -S rounds=2": ["rounds=1", "rounds=2", "twice"],
    "run -S data.source=nowhere": ["-S data.source=nowhere", "mnist5k", "csv"],
    "run --params nowhere.yaml": ["nowhere.yaml: no such params file", "--params"],
    "prepare --params .": ["cannot be read", "directory"],
    "sweep": ["sweep.yaml"],
}
COMMANDS = {
    "rnu": ["'rnu'", "Did you mean 'run'?", "fedpipe --help"],
    "descibe": ["Did you mean 'describe'?"],
    "run --fast": ["--fast", "fedpipe run --help"],
    "predict": ["fedpipe predict --help"],
    "lineage": ["a run or model, or --client ID", "fedpipe lineage --client c003"],
}
RUNS = {
    "resume spirng": ["run spirng", "Did you mean 'spring'?", "winter, summer, spring"],
    "resume abcd": [
        "run abcd: more than one run id begins so",
        "abcd2222abcd (summer)",
        "abcd1111abcd (spring)",
    ],
    "resume nobody-at-all": ["no such run in this project", "The newest runs are: winter"],
    "record spirng": ["Did you mean 'spring'?"],
    "lineage nobody": ["mlflow.db", "Run first", "MLFLOW_TRACKING_URI"],
}


@pytest.mark.parametrize(
    ("command", "words"), [*SETTINGS.items(), *COMMANDS.items(), *RUNS.items()]
)
@pytest.mark.usefixtures("here")
def test_a_mistake_is_told_with_its_place_and_the_next_step(
    command: str,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = message(command, monkeypatch, capsys)
    assert [word for word in words if word not in said] == [], said


def test_the_file_is_named_where_the_mistake_is_in_it(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "params.yaml").write_text("rounds: many\nclient:\n  epochs: 0\n")
    said = message("run -S rounds=0", monkeypatch, capsys)
    assert said.startswith("fedpipe: -S rounds=0: 'rounds'")
    assert (
        "params.yaml: 'client.epochs': input should be greater than or equal to 1, found 0" in said
    )
    assert "many" not in said


def test_a_subfolder_belongs_to_the_project(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "notes" / "deep").mkdir(parents=True)
    monkeypatch.chdir(here / "notes" / "deep")
    assert "Did you mean 'spring'?" in message("resume spirng", monkeypatch, capsys)


def test_outside_of_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    (here / "params.yaml").unlink()
    for command in ("run", "resume", "describe", "doctor", "lineage x", "predict m@champion x.png"):
        said = message(command, monkeypatch, capsys)
        assert (
            f"{tmp_path}: no params.yaml here or in a folder above. Go to a project, or make one with `fedpipe init DIR`"
            in said
        )


def test_a_run_is_found_by_the_beginning_of_its_id(here: Path) -> None:
    from fedpipe.pipeline.find_run import run_named
    from fedpipe.project.paths import Project
    from fedpipe.runs.state import all_states

    assert run_named(all_states(Project(here)), "ef99").name == "winter"
