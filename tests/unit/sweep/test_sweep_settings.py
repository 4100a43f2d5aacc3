"""What a sweep makes of the settings under its trials', before any trial is drawn."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedpipe.errors import ConfigError
from fedpipe.project.paths import Project
from fedpipe.sweep.sweep import load, run_sweep

REMOTE = "runtime.remote=[worker1:7100,worker2:7100]"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "params.yaml").write_text("data: {validation_fraction: 0.2}\n")
    return Project(tmp_path)


def write(project: Project, **values: Any) -> Path:
    path = project.root / "rates.yaml"
    path.write_text(
        yaml.safe_dump(
            {"trials": 4, "space": {"client.learning_rate": {"min": 0.01, "max": 1.0}}} | values
        )
    )
    return path


def test_groups_are_the_cores_of_a_child(project: Project) -> None:
    sweep, _, base = load(project, write(project, cores_per_child=2))
    assert (base.runtime.groups, sweep.max_parallel) == (2, None)


def test_children_on_machines_run_one_after_another(project: Project) -> None:
    sweep, _, base = load(project, write(project), [REMOTE])
    assert (base.runtime.set_groups, sweep.max_parallel) == (12, 1)
    assert load(project, write(project, max_parallel=1), [REMOTE])[0].max_parallel == 1
    path = write(project, max_parallel=2)
    assert load(project, path)[0].max_parallel == 2
    with pytest.raises(
        ConfigError,
        match=r"rates\.yaml: max_parallel=2 is set with runtime\.remote, .* Set max_parallel: 1, or",
    ):
        load(project, path, [REMOTE])


def test_a_place_that_takes_no_file_is_refused_before_anything_is_trained(project: Project) -> None:
    path = write(project)
    with pytest.raises(ConfigError, match="the best trial's settings cannot be written there: "):
        run_sweep(project, path, out=path / "best.yaml")
    with pytest.raises(
        ConfigError, match="expected a file for the best trial's settings, found a folder"
    ):
        run_sweep(project, path, out=project.root)
    assert sorted(one.name for one in project.root.iterdir()) == ["params.yaml", "rates.yaml"]


def test_a_sweep_file_that_is_not_there_is_called_one(project: Project) -> None:
    with pytest.raises(ConfigError, match=r"other\.yaml: no such sweep file"):
        load(project, project.root / "other.yaml")
