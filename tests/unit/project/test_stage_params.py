"""A stage's params: groups of params.yaml, and names of a TOML file such as pyproject.toml."""

from pathlib import Path

from fedpipe.project.dvc import stage_is_current

STAGE = """stages:
  prepare:
    cmd: fedpipe prepare
    params:
      - data
      - task.kind
      - pyproject.toml: [project.dependencies]
"""
LOCK = """schema: '2.0'
stages:
  prepare:
    cmd: fedpipe prepare
    params:
      params.yaml:
        data: {seed: 1}
        task.kind: binary
      pyproject.toml:
        project.dependencies: [fedpipe==0.1.0]
"""


def project(folder: Path, packages: str = '[project]\ndependencies = ["fedpipe==0.1.0"]\n') -> Path:
    for name, text in {
        "dvc.yaml": STAGE,
        "dvc.lock": LOCK,
        "params.yaml": "data: {seed: 1}\ntask: {kind: binary}\n",
        "pyproject.toml": packages,
    }.items():
        (folder / name).write_text(text)
    return folder


def test_the_same_packages_are_current(tmp_path: Path) -> None:
    assert stage_is_current(project(tmp_path), "prepare")


def test_other_packages_are_not(tmp_path: Path) -> None:
    assert not stage_is_current(
        project(tmp_path, '[project]\ndependencies = ["fedpipe==0.2.0"]\n'), "prepare"
    )
    assert not stage_is_current(project(tmp_path, "[project]\nname = 'x'\n"), "prepare")
    assert not stage_is_current(project(tmp_path, "[project"), "prepare")


def test_other_settings_are_not(tmp_path: Path) -> None:
    project(tmp_path)
    for settings in (
        "data: {seed: 2}\ntask: {kind: binary}\n",
        "data: {seed: 1}\ntask: {kind: regression}\n",
        "data: {seed: 1}\n",
    ):
        (tmp_path / "params.yaml").write_text(settings)
        assert not stage_is_current(tmp_path, "prepare")
