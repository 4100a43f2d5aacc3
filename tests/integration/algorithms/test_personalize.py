"""Personalization on real shards: the figures are those of a client that trains on, and of nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from fedpipe.algorithms.personalize import personalized_scores
from fedpipe.algorithms.recipe import build_client_work
from fedpipe.config import Config
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.resident import to_bytes
from fedpipe.models import build_model
from fedpipe.models.evaluate import Evaluator, Predictor
from fedpipe.models.federated import evaluate_clients


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Population:
    project = tmp_path_factory.mktemp("project")
    data = Config.model_validate(
        {"data": {"partition": "pathological", "clients": 50, "held_out_fraction": 0.2}}
    ).data
    prepare_shards(data, project / "shards", project)
    return Population.open(project / "shards")


@pytest.mark.parametrize("steps", [1, 7])
def test_a_client_trains_on_from_the_servers_weights_for_so_many_steps(
    population: Population, steps: int
) -> None:
    config = Config.model_validate(
        {"eval": {"personalize_steps": steps}, "client": {"learning_rate": 0.1, "shuffle": False}}
    )
    model = build_model(config, (28, 28), 10)
    weights, client = model.initial_weights(1), population.client_ids("test")[0]
    found = personalized_scores(config, Predictor(model), weights, population, [client])
    examples = population.examples(client)
    work = replace(
        build_client_work(config, model, np.dtype("uint8")),
        by_value=True,
        epochs=20,
        max_steps=steps,
    )
    body, count, zero = (
        to_bytes(examples, client),
        tf.constant(len(examples), tf.int64),
        tf.constant(0, tf.int64),
    )
    done = work(list(map(tf.constant, weights.values())), tf.constant(body), count, zero)
    assert int(done.sums["steps"]) == steps
    own = {
        name: weights[name] + change.numpy()
        for name, change in zip(weights, done.update, strict=True)
    }
    assert found.tolist() == [
        Evaluator(model, population.examples(client, "test")).evaluate(own).accuracy
    ]


def test_clients_of_few_labels_gain_and_repeat_bit_for_bit(population: Population) -> None:
    settings = {
        "eval": {"personalize_steps": 10},
        "client": {"learning_rate": 0.1, "shuffle": True},
        "model": {"name": "mlp"},
    }
    config = Config.model_validate(settings)
    model = build_model(config, (28, 28), 10)
    weights, clients = model.initial_weights(1), population.client_ids("test")
    before = evaluate_clients(Predictor(model), weights, population, clients).accuracies
    after = personalized_scores(config, Predictor(model), weights, population, clients)
    assert (after - before).mean() > 0.3  # two labels a client: to know these is worth a lot
    assert (
        after.tolist()
        == personalized_scores(config, Predictor(model), weights, population, clients).tolist()
    )


def test_one_that_has_nothing_to_train_on_has_no_figure(
    population: Population, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config.model_validate({"eval": {"personalize_steps": 1}})
    model = build_model(config, (28, 28), 10)
    ids = population.client_ids("test")[:2]
    monkeypatch.setattr(
        population, "client_ids", lambda split="train": ids[1:] if split == "train" else ids
    )
    found = personalized_scores(config, Predictor(model), model.initial_weights(1), population, ids)
    assert np.isnan(found).tolist() == [True, False]
