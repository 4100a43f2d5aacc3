"""docs/algorithms.md names every algorithm, and its example runs as it stands there; so do the settings in `params/`."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedpipe.algorithms.catalog import build_algorithm
from fedpipe.config import Config, load_config
from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.config.ignored_settings import CHOICES
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.errors import ConfigError
from fedpipe.models import build_model

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "algorithms.md").read_text(encoding="utf-8")
PRESETS = sorted((ROOT / "params").glob("*.yaml"))


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Population:
    project = tmp_path_factory.mktemp("project")
    prepare_shards(Config().data, project / "shards", project)
    return Population.open(project / "shards")


def one_round(
    config: Config, population: Population, folder: Path, call: Any, cohort: int = 1
) -> dict[str, Any]:
    model = build_model(config, population.manifest.feature_shape, population.manifest.num_classes)
    algorithm = build_algorithm(config, model, population, folder / "cache", folder)
    result = call(algorithm.next, call(algorithm.initialize), 1, population.client_ids()[:cohort])
    return dict(algorithm.weights(result.state))


def test_the_table_is_the_registry() -> None:
    table = DOC.partition("| `algorithm.name` |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE) == [
        (name, entry.summary) for name, entry in ALGORITHMS.items()
    ]


def test_the_table_of_aggregators_is_complete() -> None:
    table = DOC.partition("| `aggregator.name` |")[2].partition("\n\n")[0]
    names = next(choice.values for choice in CHOICES if choice.key == "aggregator.name")
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(names)


def test_the_worked_algorithm_clips_each_step(
    tmp_path: Path, population: Population, tff_runtime: Any
) -> None:
    blocks = [
        block
        for block in re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
        if block.startswith("# clipped.py")
    ]
    assert len(blocks) == 1
    (tmp_path / "clipped.py").write_text(blocks[0])
    (command,) = re.findall(r"uv run fedpipe run (-S algorithm\.name=clipped:build.*)", DOC)
    config = load_config(
        ROOT / "params.yaml", [*command.replace("-S ", "").split(), "client.max_steps=1"]
    )
    weights = one_round(config, population, tmp_path, tff_runtime.call)
    # One client, one step from zero: the first gradient's norm is above 1, so the update's is the rate.
    assert np.sqrt(sum(float((tensor**2).sum()) for tensor in weights.values())) == pytest.approx(
        0.5, rel=1e-5
    )


def test_the_worked_tff_process_is_federated_averaging(
    tmp_path: Path, population: Population, tff_runtime: Any
) -> None:
    (block,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
        if block.startswith("# keras_fedavg.py")
    ]
    (tmp_path / "keras_fedavg.py").write_text(block)
    (command,) = re.findall(r"uv run fedpipe run (-S algorithm\.name=keras_fedavg:build.*)", DOC)
    config = load_config(ROOT / "params.yaml", command.replace("-S ", "").split())
    of_process = tff_runtime.call(one_round, config, population, tmp_path, lambda f, *a: f(*a), 3)
    fedavg = load_config(ROOT / "params.yaml", ["client.weighting=examples"])
    expected = one_round(fedavg, population, tmp_path, tff_runtime.call, 3)
    for name, tensor in expected.items():
        np.testing.assert_allclose(of_process[name], tensor, rtol=0, atol=1e-6)
        assert np.abs(tensor).max() > 1e-3


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "def make(run): raise KeyError('mu')",
            r"algorithm\.name=broken\d:make: KeyError: 'mu', in \S*broken\d\.py:1: `def make.*` \(while building the algorithm;",
        ),
        (
            "def make(run): return 3",
            r"expected a fedpipe.algorithms.recipe.Recipe, a TFF process or an Algorithm, found int without info, initialize",
        ),
        ("", r"expected a function 'make' in \S*broken\d\.py, found none; it has no function\."),
    ],
)
def test_what_is_no_algorithm_is_one_line(
    tmp_path: Path, body: str, words: str, request: pytest.FixtureRequest
) -> None:
    number = request.node.callspec.indices["body"]
    (tmp_path / f"broken{number}.py").write_text(body)
    config: Any = Config.model_validate({"algorithm": {"name": f"broken{number}:make"}})
    with pytest.raises(ConfigError, match=words):
        build_algorithm(config, None, SimpleNamespace(), tmp_path, tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", PRESETS, ids=[path.stem for path in PRESETS])
def test_settings_of_the_literature_train_a_round(
    path: Path, tmp_path: Path, population: Population, tff_runtime: Any
) -> None:
    # As published, but on the embedded digits, with the small model: the file's algorithm, optimizers and rates are what is shown here.
    assert load_config(path).cohort.size == 10
    config = load_config(path, ["data.source=mnist5k", "data.clients=100", "model.name=softmax"])
    weights = one_round(config, population, tmp_path, tff_runtime.call, cohort=3)
    assert all(np.isfinite(tensor).all() and tensor.any() for tensor in weights.values())


def test_there_are_settings() -> None:
    assert len(PRESETS) >= 6
