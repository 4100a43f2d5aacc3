"""Sequences of differing length from a user's file to client work: batches as long as their longest, padding that counts for nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from fedpipe.algorithms.catalog import build_algorithm
from fedpipe.algorithms.client_work import ClientWork
from fedpipe.algorithms.optimizers import build_optimizer
from fedpipe.config import Config
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.resident import to_bytes
from fedpipe.engine.runtime import Runtime
from fedpipe.models import ModelSpec
from fedpipe.types import Examples

TOKENS, CLASSES, RATE, BATCH = 9, 3, 0.5, 2
SENTENCES = {
    "ann": [[1], [2, 3, 4, 5, 6, 7], [8, 8], [3, 1, 2]],
    "bob": [[5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 1], [2], [7, 1]],
    "zoë": [[4, 2], [6], [6, 6, 1, 1, 1], [3], [2, 2, 2]],
}


def bag(longest: int, seen: list[Any] | None = None) -> ModelSpec:
    """Logits are the mean of the tokens' rows of a table, padding left out; `seen` takes each batch."""

    def logits(weights: Any, x: Any) -> Any:
        if seen is not None:
            seen.append(x.numpy().tolist())
        real = tf.cast(tf.not_equal(x, 0), tf.float32)
        counts = tf.reduce_sum(tf.one_hot(x, TOKENS) * real[:, :, tf.newaxis], axis=1)
        return tf.matmul(counts / tf.reduce_sum(real, axis=1, keepdims=True), weights[0])

    table = np.zeros((TOKENS, CLASSES), np.float32)
    return ModelSpec(
        "bag",
        (longest,),
        CLASSES,
        ("table",),
        lambda _: {"table": table},
        logits,
        keras=lambda: None,
    )


@pytest.fixture
def population(tmp_path: Path) -> Population:
    rows = [
        (client, len(tokens) % CLASSES, tokens)
        for client, sentences in SENTENCES.items()
        for tokens in sentences
    ]
    columns = dict(
        zip(("client", "label", "tokens"), map(list, zip(*rows, strict=True)), strict=True)
    )
    pq.write_table(pa.table(columns), tmp_path / "mine.parquet")
    settings = Config.model_validate(
        {"data": {"source": "parquet", "path": "mine.parquet", "clients": None}}
    ).data
    prepare_shards(settings, tmp_path / "shards", tmp_path)
    return Population.open(tmp_path / "shards")


def originals(population: Population, client_id: str) -> list[tuple[list[int], int]]:
    """Return the client's training sentences as they were in the file, in the order of the shards."""
    examples = population.examples(client_id)
    found = [
        ([int(token) for token in x if token], int(y))
        for x, y in zip(examples.x, examples.y, strict=True)
    ]
    assert all(tokens in SENTENCES[client_id] and y == len(tokens) % CLASSES for tokens, y in found)
    return found


def trained_in_numpy(sentences: list[tuple[list[int], int]], table: Any) -> Any:
    """SGD over the unpadded sentences: a token's row has the gradient (p - onehot) / length, for each time that it occurs."""
    table = table.copy()
    for start in range(0, len(sentences), BATCH):
        batch, gradient = sentences[start : start + BATCH], np.zeros_like(table)
        for tokens, y in batch:
            z = table[tokens].mean(0)
            p = np.exp(z) / np.exp(z).sum() - np.eye(CLASSES)[y]
            for token in tokens:
                gradient[token] += p / len(tokens) / len(batch)
        table -= RATE * gradient
    return table


def test_a_batch_is_as_long_as_its_longest_sentence_and_padded_with_zeros() -> None:
    seen: list[Any] = []
    work = ClientWork(
        bag(6, seen),
        build_optimizer("sgd", RATE),
        np.dtype("int32"),
        BATCH,
        by_value=True,
        variable_length=True,
    )
    x = np.zeros((5, 6), np.int32)
    for row, tokens in enumerate([[1], [2, 3, 4], [5], [6], [7, 8]]):
        x[row, : len(tokens)] = tokens
    data = tf.constant(to_bytes(Examples(x, np.zeros(5, np.int32)), "c"))
    work([tf.zeros((TOKENS, CLASSES))], data, tf.constant(5, tf.int64), tf.constant(0, tf.int64))
    assert seen == [[[1, 0, 0], [2, 3, 4]], [[5], [6]], [[7, 8]]]


def test_rounds_on_sentences_are_those_on_the_unpadded_ones(
    population: Population, tff_runtime: Runtime, tmp_path: Path
) -> None:
    manifest = population.manifest
    assert (manifest.feature_dtype, manifest.variable_length, manifest.feature_shape) == (
        "int32",
        True,
        (12,),
    )
    settings = {
        "cohort": {"size": 3},
        "client": {"batch_size": BATCH, "learning_rate": RATE},
        "runtime": {"groups": 2},
    }
    algorithm = build_algorithm(
        Config.model_validate(settings), bag(12), population, tmp_path / "cache"
    )
    state = tff_runtime.call(algorithm.initialize)
    expected, cohort = np.zeros((TOKENS, CLASSES)), tuple(sorted(SENTENCES))
    for number in (1, 2, 3):
        state = tff_runtime.call(algorithm.next, state, number, cohort).state
        expected = np.mean(
            [trained_in_numpy(originals(population, client_id), expected) for client_id in cohort],
            axis=0,
        )
        np.testing.assert_allclose(algorithm.weights(state)["table"], expected, atol=1e-6)
    assert np.abs(expected).max() > 0.1
