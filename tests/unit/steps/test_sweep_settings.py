"""What a sweep makes of the settings under its children's, before any child is drawn."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedpipe.errors import ConfigError
from fedpipe.steps.project import Project
from fedpipe.steps.sweep import load

REMOTE = "runtime.remote=[worker1:7100,worker2:7100]"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "params.yaml").write_text("data: {validation_fraction: 0.2}\n")
    return Project(tmp_path)


def write(project: Project, **values: Any) -> Path:
    path = project.root / "rates.yaml"
    path.write_text(yaml.safe_dump({"trials": 4, "space": {"client.learning_rate": {"min": 0.01, "max": 1.0}}} | values))
    return path


def test_groups_are_the_cores_of_a_child(project: Project) -> None:
    sweep, base = load(project, write(project, cores_per_child=2))
    assert (base.runtime.groups, sweep.max_parallel) == (2, None)


def test_children_on_machines_run_one_after_another(project: Project) -> None:
    sweep, base = load(project, write(project), [REMOTE])
    assert (base.runtime.set_groups, sweep.max_parallel) == (12, 1)
    assert load(project, write(project, max_parallel=1), [REMOTE])[0].max_parallel == 1
    path = write(project, max_parallel=2)
    assert load(project, path)[0].max_parallel == 2
    with pytest.raises(ConfigError, match=r"rates\.yaml: max_parallel=2 is set with runtime\.remote, .* Set max_parallel: 1, or"):
        load(project, path, [REMOTE])
