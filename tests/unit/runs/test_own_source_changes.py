"""A source of the user's own that changes makes other shards: where its settings are overridden, and where DVC owns the shards."""

import importlib
import sys
from pathlib import Path

import pytest

from fedpipe.config import parse_config
from fedpipe.data.population import Population
from fedpipe.errors import ConfigError
from fedpipe.project.paths import Project
from fedpipe.runs.shards import ensure_shards

SOURCE = """import numpy as np
from fedpipe.data.sources import Batch, Source
def give(config, project):
    x, y = np.full((12, 2), {value}, np.float32), np.arange(12) % 2
    return Source(lambda: iter([Batch(x, y, clients=list("aabbaabbaabb"))]), num_classes=2)
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "params.yaml").write_text("data: {source: mnist5k}\n")
    (tmp_path / "dvc.yaml").write_text(
        "stages: {prepare: {cmd: fedpipe prepare, deps: [fedpipe/data]}}\n"
    )
    return Project(tmp_path)


def test_overridden_sources_have_shards_by_their_code(project: Project) -> None:
    seen = []
    for value in (
        1,
        22,
        1,
    ):  # of other lengths: Python's bytecode knows a file by its second and its size
        (project.root / "changing.py").write_text(SOURCE.format(value=value))
        sys.modules.pop(
            "changing", None
        )  # Python imports a module once in a process, and a run is one
        importlib.invalidate_caches()
        config = parse_config({"data": {"source": "changing:give", "clients": None}}, "a test")
        data = ensure_shards(config, project)
        seen.append((data.md5, float(Population.open(Path(data.path)).examples("a").x[0, 0])))
    assert [value for _, value in seen] == [1.0, 22.0, 1.0]
    assert seen[0] == seen[2]
    assert seen[0][0] != seen[1][0]


def test_a_source_that_dvc_does_not_watch_is_refused(project: Project) -> None:
    (project.root / "changing.py").write_text(SOURCE.format(value=1))
    project.params.write_text("data: {source: 'changing:give', clients: null}\n")
    config = parse_config({"data": {"source": "changing:give", "clients": None}}, "params.yaml")
    with pytest.raises(
        ConfigError,
        match=r"data\.source=changing:give: DVC does not see changing\.py change, as it is not among the deps of the stage prepare",
    ):
        ensure_shards(config, project)
