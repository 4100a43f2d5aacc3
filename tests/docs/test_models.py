"""docs/models.md names every model, and its example trains as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest

from fedpipe.algorithms.catalog import build_algorithm
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
    model = build_model(
        config, population.manifest.feature_shape, population.manifest.num_classes, tmp_path
    )
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
            r"model\.name=broken:build: ValueError: no such layer, in \S*broken\.py:6: `raise .*` \(while building the model; --debug",
        ),
        (
            "return 3",
            r"expected it to return a tf\.keras\.Model, .* or a fedpipe\.models\.ModelSpec, found int",
        ),
        (
            "return tf.keras.Sequential([tf.keras.layers.Dense(3)])",
            r"expected outputs of shape \[n, 3\] for n examples, found \[n, 4, 3\]",
        ),
        (
            "return spec(weights=lambda s: {'b': np.zeros(3, np.float32)})",
            r"with the keys a, in this order, found b",
        ),
        (
            "return spec(weights=lambda s: [np.zeros(3)])",
            r"with the keys a, in this order, found list",
        ),
        (
            "return spec(weights=lambda s: {'a': np.zeros(3)})",
            r"of float32, 'a' is float64\. Write \.astype\(np\.float32\)",
        ),
        (
            "return spec(weights=lambda s: {'a': 0.5})",
            r"to be NumPy arrays of float32, 'a' is float\. Write np\.asarray",
        ),
        (
            "return spec(weights=lambda s: {'a': tf.zeros(3)})",
            r"to be NumPy arrays of float32, 'a' is EagerTensor",
        ),
        (
            "return spec(weights=lambda s: {'a': np.full(3, np.nan, np.float32)})",
            r"finite initial weights, 'a' has NaN or infinity",
        ),
        (
            "return spec(weights=lambda s: {'a': np.zeros(s, np.float32)})",
            r"'a' has \[1\] for seed 1 and \[2\] for seed 2",
        ),
        (
            "return spec(weights=lambda s: {'a': np.random.rand(3).astype('f4')})",
            r"expected the same initial weights for the same seed, 'a'",
        ),
        (
            "return spec(names=('a', 'b', 'a'))",
            r"expected each tensor name once, found a more often",
        ),
        (
            "return spec(names=('__metadata__',))",
            r"beginning with a letter, .* found '__metadata__'\. Rename it",
        ),
        (
            "return spec(names=('a\\n',))",
            r"expected tensor names of 1 to 200 letters .* found 'a\\n'",
        ),
        (
            "return spec(names=('my kernel',))",
            r"digits and \. _ - /, .* found 'my kernel'\. Rename it",
        ),
        ("return spec(names=('w:0',))", r"as TensorFlow saves them, found 'w:0'\. Rename it"),
        (
            "return spec(names='a')",
            r"expected tensor_names to be a tuple of at least one text, found 'a'",
        ),
        (
            "return spec(names=())",
            r"expected tensor_names to be a tuple of at least one text, found \(\)",
        ),
        (
            "return spec(shape=(9,))",
            r"features of shape \[4, 4\] and 3 classes, found feature_shape=\[9\] and num_classes=3",
        ),
        (
            "return spec(logits=lambda w, x: x)",
            r"expected logits of shape \[2, 3\] for two examples, found \[2, 4, 4\]",
        ),
        (
            "return spec(logits=lambda w, x: None)",
            r"model\.name=broken:build: ValueError: .*None.* \(while computing logits",
        ),
        (
            "return spec(logits=lambda w, x: tf.zeros((2, 3), tf.float64))",
            r"expected logits of float32, found float64\. Write tf\.cast",
        ),
        (
            "return spec(logits=lambda w, x: 1 / 0)",
            r"ZeroDivisionError: division by zero, in \S*broken\.py:6: `return spec",
        ),
        (
            "return spec(logits=lambda w, x: tf.keras.layers.Dense(3)(flat(x)))",
            r"function of the weights alone, found that it makes a tf\.Var",
        ),
        (
            "layer = tf.keras.layers.Dense(3); return spec(logits=lambda w, x: layer(flat(x)))",
            r"found that it makes a tf\.Variable, as Keras",
        ),
        (
            "layer = tf.keras.layers.Dense(3); layer.build((None, 16)); return spec(logits=lambda w, x: layer(flat(x)))",
            r"found that it reads a tf\.Variable \(bias, kernel\), as Keras layers do: it would not be trained",
        ),
        (
            "norm = tf.keras.layers.BatchNormalization(); norm.build((None, 3))\n"
            "    return spec(logits=lambda w, x: norm(flat(x)[:, :3], training=True))",
            r"found that it reads a tf\.Variable \(beta, gamma, moving_mean\)",
        ),
        (
            "return spec(logits=lambda w, x: flat(x).numpy()[:, :3])",
            r"AttributeError: .*numpy.*, in \S*broken\.py:6: .*while computing logits",
        ),
    ],
)
def test_what_is_no_model_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, words: str
) -> None:
    text = (
        "import numpy as np; import tensorflow as tf; from fedpipe.models import ModelSpec\n"
        "flat = lambda x: tf.reshape(x, (-1, 16))\n"
        "def build(shape, classes):\n"
        "    def spec(weights=lambda s: {'a': np.zeros(3, np.float32)}, logits=lambda w, x: flat(x)[:, :3], names=('a',), shape=shape):\n"
        "        return ModelSpec('mine', shape, classes, names, weights, logits)\n"
        f"    {body}\n"
    )
    (tmp_path / "broken.py").write_text(text)
    monkeypatch.delitem(__import__("sys").modules, "broken", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = load_config(ROOT / "params.yaml", ["model.name=broken:build"])
    with pytest.raises(ModelError, match=words) as caught:
        build_model(config, (4, 4), 3, tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
