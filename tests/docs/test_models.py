"""docs/models.md names every model, and its example trains as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest

from fedpipe.algorithms.registry import build_algorithm
from fedpipe.config import load_config
from fedpipe.config.model import MODEL_NAMES
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.errors import ModelError
from fedpipe.models import build_model, check_input

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_table_names_every_model() -> None:
    table = DOC.partition("| `model.name` |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(MODEL_NAMES)


def test_the_worked_model_trains(tmp_path: Path, tff_runtime: Any) -> None:
    (block,) = re.findall(r"```python\n(# narrow.py\n.*?)```", DOC, re.DOTALL)
    (tmp_path / "narrow.py").write_text(block)
    (command,) = re.findall(r"uv run fedpipe run (-S model\.name=narrow:narrow.*)", DOC)
    config = load_config(ROOT / "params.yaml", command.replace("-S ", "").split())
    prepare_shards(config.data, tmp_path / "shards", tmp_path)
    population = Population.open(tmp_path / "shards")
    check_input(config, population.manifest, tmp_path)
    model = build_model(config, population.manifest.feature_shape, population.manifest.num_classes, tmp_path)
    algorithm = build_algorithm(config, model, population, tmp_path / "cache")
    state, losses = tff_runtime.call(algorithm.initialize), []
    for round_num in range(1, 6):
        result = tff_runtime.call(algorithm.next, state, round_num, population.client_ids()[:5])
        state = result.state
        losses.append(result.metrics["train/loss"])
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "raise ValueError('no such layer')",
            r"model\.name=broken:build: expected a function that builds a model, it raised ValueError: no",
        ),
        ("return 3", r"expected it to return a fedpipe\.models\.ModelSpec, found int"),
        ("return spec(weights=lambda s: {'b': np.zeros(3, np.float32)})", r"expected initial weights called a, in this order, found b"),
        ("return spec(weights=lambda s: {'a': np.zeros(3)})", r"expected finite float32 arrays as initial weights, 'a' is float64"),
        (
            "return spec(weights=lambda s: {'a': np.random.rand(3).astype('f4')})",
            r"expected the same initial weights for the same seed, 'a'",
        ),
        ("return spec(logits=lambda w, x: x)", r"expected logits of shape \[2, 3\] for two examples, found \[2, 4, 4\]"),
        ("return spec(logits=lambda w, x: 1 / 0)", r"expected logits, it raised ZeroDivisionError"),
    ],
)
def test_what_is_no_model_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, words: str) -> None:
    text = (
        "import numpy as np\nfrom fedpipe.models import ModelSpec\n"
        "def build(shape, classes):\n"
        "    def spec(weights=lambda s: {'a': np.zeros(3, np.float32)}, logits=lambda w, x: np.zeros((len(x), classes))):\n"
        "        return ModelSpec('mine', shape, classes, ('a',), weights, logits)\n"
        f"    {body}\n"
    )
    (tmp_path / "broken.py").write_text(text)
    monkeypatch.delitem(__import__("sys").modules, "broken", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = load_config(ROOT / "params.yaml", ["model.name=broken:build"])
    with pytest.raises(ModelError, match=words):
        build_model(config, (4, 4), 3, tmp_path)
