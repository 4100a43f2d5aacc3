"""TFF processes of a user's own, as they are, on the run's worker."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from fedpipe.algorithms.catalog import build_algorithm
from fedpipe.algorithms.recipe import Run
from fedpipe.config import Config
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.engine.checkpoint import Checkpoints
from fedpipe.engine.loop import run_rounds
from fedpipe.engine.runtime import Runtime
from fedpipe.engine.user_algorithm import UserAlgorithm
from fedpipe.errors import ConfigError, RoundError
from fedpipe.models import build_model
from fedpipe.types import CohortPlan, RoundReport, Weights

MODULE = '''
import collections
import attrs
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

tff.backends.native.set_sync_local_cpp_execution_context()  # as scripts for TFF have it


def keras(run, **dense):
    return tf.keras.Sequential([
        tf.keras.layers.InputLayer(run.batch_spec[0].shape[1:]),
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(10, **dense),
    ])


def learning(run, **dense):
    def model_fn():
        return tff.learning.models.from_keras_model(
            keras(run, **(dense or {"kernel_initializer": "zeros"})),
            input_spec=run.batch_spec,
            loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[tf.keras.metrics.SparseCategoricalAccuracy()],
        )

    return tff.learning.algorithms.build_weighted_fed_avg(
        model_fn,
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(run.config.client.learning_rate),
        server_optimizer_fn=tff.learning.optimizers.build_adam(0.01, epsilon=0.1)
        if run.config.server.optimizer == "adam" else tff.learning.optimizers.build_sgdm(1.0),
    )


def drawn(run):
    return learning(run, kernel_initializer="glorot_uniform")


def functional(run):
    return tff.learning.algorithms.build_unweighted_fed_avg(
        run.tff_model(),
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(run.config.client.learning_rate),
        server_optimizer_fn=tff.learning.optimizers.build_sgdm(1.0),
    )


@attrs.define
class Velocity:
    value: object
    rounds: object


def tuple_state(run):
    """Softmax regression by one gradient of each client, with momentum: the state is a tuple of
    weights by name and an attrs class."""
    element = collections.OrderedDict(
        label=tf.TensorSpec([None, 1], tf.int64), pixels=tf.TensorSpec([None, 784], tf.float32)
    )
    datasets = tff.SequenceType(tff.types.tensorflow_to_type(element))

    @tff.tensorflow.computation
    def start():
        weights = collections.OrderedDict(bias=tf.zeros([10]), kernel=tf.zeros([784, 10]))
        return weights, Velocity(collections.OrderedDict(bias=tf.zeros([10]), kernel=tf.zeros([784, 10])),
                                 tf.constant(0, tf.int64))

    state_type = start.type_signature.result

    @tff.tensorflow.computation(datasets, state_type[0])
    def gradient(dataset, weights):
        def add(total, batch):
            with tf.GradientTape() as tape:
                tape.watch(weights)
                logits = tf.matmul(batch["pixels"], weights["kernel"]) + weights["bias"]
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
                    labels=tf.reshape(batch["label"], [-1]), logits=logits)
                loss = tf.reduce_sum(losses)
            inner = tape.gradient(loss, weights)
            return (collections.OrderedDict((k, total[0][k] + inner[k]) for k in inner), total[1] + loss,
                    total[2] + tf.cast(tf.size(losses), tf.float32))
        zero = collections.OrderedDict((k, tf.zeros_like(v)) for k, v in weights.items())
        sums, loss, count = dataset.reduce((zero, 0.0, 0.0), add)
        return collections.OrderedDict((k, v / count) for k, v in sums.items()), loss / count

    @tff.tensorflow.computation(state_type, state_type[0])
    def step(state, mean):
        weights, velocity = state
        moved = collections.OrderedDict((k, 0.9 * velocity.value[k] + mean[k]) for k in mean)
        return (collections.OrderedDict((k, weights[k] - 0.1 * moved[k]) for k in mean),
                Velocity(moved, velocity.rounds + 1))

    @tff.federated_computation
    def initialize():
        return tff.federated_eval(start, tff.SERVER)

    @tff.federated_computation(
        tff.FederatedType(state_type, tff.SERVER), tff.FederatedType(datasets, tff.CLIENTS))
    def next_fn(state, data):
        weights = tff.federated_map(tff.tensorflow.computation(lambda s: s[0], state_type), state)
        gradients, losses = tff.federated_map(gradient, (data, tff.federated_broadcast(weights)))
        metrics = tff.federated_zip(collections.OrderedDict(loss=tff.federated_mean(losses)))
        return tff.federated_map(step, (state, tff.federated_mean(gradients))), metrics

    return tff.templates.IterativeProcess(initialize, next_fn), lambda state: state[0]


def other_features(run):
    def model_fn():
        model = tf.keras.Sequential([tf.keras.layers.InputLayer((14, 14)), tf.keras.layers.Flatten(),
                                     tf.keras.layers.Dense(10)])
        return tff.learning.models.from_keras_model(
            model, input_spec=(tf.TensorSpec([None, 14, 14]), tf.TensorSpec([None], tf.int32)),
            loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return tff.learning.algorithms.build_weighted_fed_avg(
        model_fn, client_optimizer_fn=tff.learning.optimizers.build_sgdm(0.1))


def other_weights(run):
    def model_fn():
        model = tf.keras.Sequential([tf.keras.layers.InputLayer((28, 28)), tf.keras.layers.Flatten(),
                                     tf.keras.layers.Dense(11)])
        return tff.learning.models.from_keras_model(
            model, input_spec=run.batch_spec,
            loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return tff.learning.algorithms.build_weighted_fed_avg(
        model_fn, client_optimizer_fn=tff.learning.optimizers.build_sgdm(0.1))
'''


def workers() -> set[int]:
    """TFF's workers that this process or its children started."""
    return {
        process.pid
        for process in psutil.Process().children(recursive=True)
        if process.name().startswith("worker_binary")
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "processes.py").write_text(textwrap.dedent(MODULE))
    prepare_shards(Config.model_validate({"data": {"clients": 20}}).data, folder / "shards", folder)
    return folder


@pytest.fixture
def population(place: Path) -> Population:
    return Population.open(place / "shards", verify=False)


Build = Callable[..., Any]


@pytest.fixture
def build(place: Path, population: Population, tff_runtime: Runtime) -> Iterator[Build]:
    """Return a function that builds an algorithm by its name; no worker but the runtime's is started."""
    tff_runtime.call(lambda: None)
    before = workers()

    def make(name: str, **settings: Any) -> Any:
        name = name if name == "fedavg" else f"processes:{name}"
        config = Config.model_validate({"algorithm": {"name": name}, **settings})
        model = build_model(config, (28, 28), 10)
        arguments = (config, model, population, place / "cache", place)
        if name == "fedavg":
            return tff_runtime.call(build_algorithm, *arguments)
        return UserAlgorithm.build(name, tff_runtime, build_algorithm, *arguments)

    yield make
    assert workers() <= before


class Reports:
    def __init__(self) -> None:
        self.reports: list[RoundReport] = []

    def round_done(self, report: RoundReport) -> None:
        self.reports.append(report)


def train(
    algorithm: Any,
    runtime: Runtime,
    cohorts: Sequence[Sequence[str]],
    folder: Path | None = None,
) -> tuple[Weights, list[RoundReport]]:
    """Run a round for each cohort from the newest checkpoint in `folder`; return the last weights."""
    sink = Reports()
    checkpoints = Checkpoints(folder, {"plan": "p"}, every=1, keep=2) if folder else None
    plan = CohortPlan("fixed", 1, tuple(map(tuple, cohorts)))
    result = run_rounds(algorithm, runtime, plan, lambda _: {}, 1, [sink], checkpoints)
    return result.final.weights, sink.reports


@pytest.mark.parametrize(
    ("name", "client"),
    [
        ("learning", {"weighting": "examples"}),
        ("learning", {"weighting": "examples", "epochs": 2, "shuffle": True}),
        (
            "functional",
            {"learning_rate": 0.05, "epochs": 2, "shuffle": True, "max_steps": 9, "batch_size": 32},
        ),
    ],
)
def test_tffs_federated_averaging_is_fedpipes(
    build: Build, tff_runtime: Runtime, population: Population, name: str, client: dict[str, Any]
) -> None:
    ids = list(population.participating())
    cohorts = [ids[:5], ids[5:10], ids[:5]]
    own, reports = train(build(name, client=client), tff_runtime, cohorts)
    fedavg, expected = train(build("fedavg", client=client), tff_runtime, cohorts)
    for tensor in fedavg:
        np.testing.assert_allclose(own[tensor], fedavg[tensor], rtol=0, atol=1e-6)
    assert np.abs(own["kernel"]).max() > 1e-3
    for report, other in zip(reports[1:], expected[1:], strict=True):
        assert report.examples == other.examples
        for metric in ("train/loss", "train/accuracy", "train/steps"):
            assert report.metrics[metric] == pytest.approx(other.metrics[metric], abs=1e-5)


@pytest.mark.parametrize("name", ["learning", "tuple_state"])
def test_a_resumed_process_has_the_bits_of_one_that_was_never_interrupted(
    build: Build, tff_runtime: Runtime, population: Population, tmp_path: Path, name: str
) -> None:
    settings = {"client": {"shuffle": True}, "server": {"optimizer": "adam", "learning_rate": 0.01}}
    ids = list(population.participating())
    cohorts = [ids[number : number + 4] for number in range(4)]
    whole, _ = train(build(name, **settings), tff_runtime, cohorts)
    train(build(name, **settings), tff_runtime, cohorts[:2], tmp_path)
    resumed, reports = train(build(name, **settings), tff_runtime, cohorts, tmp_path)
    assert [report.round_num for report in reports] == [2, 3, 4]
    for tensor in whole:
        assert resumed[tensor].tobytes() == whole[tensor].tobytes()
    if name == "tuple_state":
        assert reports[-1].metrics["train/loss"] < np.log(10)


def test_the_gradients_of_an_iterative_process_are_those_of_the_data(
    build: Build, tff_runtime: Runtime, population: Population
) -> None:
    ids = list(population.participating())[:3]
    weights, _ = train(build("tuple_state"), tff_runtime, [ids])
    expected = []
    for client_id in ids:
        examples = population.examples(client_id)
        x = examples.x.reshape(len(examples), 784) / 255.0
        p = np.full((len(examples), 10), 0.1)
        p[np.arange(len(examples)), examples.y] -= 1
        expected.append(x.T @ p / len(examples))
    np.testing.assert_allclose(weights["kernel"], -0.1 * np.mean(expected, axis=0), atol=1e-6)


def test_initial_weights_that_a_layer_draws_follow_from_the_seed(build: Build) -> None:
    first = build("drawn").weights(build("drawn").initialize())
    again = build("drawn").weights(build("drawn").initialize())
    other = build("drawn", seed=2)
    assert first["kernel"].tobytes() == again["kernel"].tobytes()
    assert first["kernel"].any()
    assert not np.array_equal(first["kernel"], other.weights(other.initialize())["kernel"])


def test_a_learning_process_starts_from_model_initial(
    place: Path, population: Population, tff_runtime: Runtime
) -> None:
    warm = {
        "kernel": np.full((784, 10), 0.5, np.float32),
        "bias": np.arange(10, dtype=np.float32),
    }

    def build_named(name: str) -> Any:
        settings = {"algorithm": {"name": name}, "model": {"initial": "warm.safetensors"}}
        config = Config.model_validate(settings)
        model = replace(build_model(config, (28, 28), 10), initial_weights=lambda _seed: warm)
        arguments = (config, model, population, place / "cache", place)
        return UserAlgorithm.build(name, tff_runtime, build_algorithm, *arguments)

    algorithm = build_named("processes:learning")
    weights = algorithm.weights(algorithm.initialize())
    for name, tensor in warm.items():
        np.testing.assert_array_equal(weights[name], tensor)
    with pytest.raises(
        ConfigError, match=r"model\.initial=warm\.safetensors is set but .* cannot be set"
    ):
        build_named("processes:tuple_state")


def test_what_a_run_records_of_it(build: Build) -> None:
    info = build("learning").info
    assert info["algorithm.process"] == "LearningProcess"
    assert info["algorithm.batches"] == "<float32[?,28,28],int32[?]>"
    assert info["algorithm.draws"] == "none"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "other_features",
            r"found <float32\[\?,14,14\],int32\[\?\]>\*: the features of an example have shape "
            r"\[28, 28\] and its label has \[\]\. Build the process for run\.batch_spec\.",
        ),
        (
            "other_weights",
            r"those of model\.name=softmax \(kernel float32\[784,10\], bias float32\[10\]\), found "
            r"float32\[784,11\], float32\[11\]\. Set model\.name",
        ),
    ],
)
def test_a_process_that_does_not_fit_is_refused_in_one_line(
    build: Build, name: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        build(name)
    assert str(caught.value).startswith(f"algorithm.name=processes:{name}: ")
    assert "\n" not in str(caught.value)


def test_a_client_whose_update_is_not_finite_takes_no_part(
    build: Build, tff_runtime: Runtime, population: Population, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = list(population.participating())[:4]
    expected, _ = train(build("learning"), tff_runtime, [ids[1:]])
    algorithm = build("learning", client={"learning_rate": 0.01})
    inner = algorithm._inner
    real = inner._compute

    def compute(state: Any, round_num: int, clients: Any) -> Any:
        next_state, metrics = real(state, round_num, clients)
        if ids[0] in clients:
            broken = dict(next_state)
            key = next(key for key in broken if "trainable" in key)
            broken[key] = np.full_like(broken[key], np.nan)
            return broken, metrics
        return next_state, metrics

    monkeypatch.setattr(inner, "_compute", compute)
    weights, reports = train(algorithm, tff_runtime, [ids])
    assert reports[-1].failed == (ids[0],)
    for tensor in expected:
        assert weights[tensor].tobytes() == expected[tensor].tobytes()
    with pytest.raises(RoundError, match=r"expected at least cohort\.min_reports=1 reports, got 0"):
        train(algorithm, tff_runtime, [ids[:1]])


def test_a_run_without_the_population_has_the_spec_of_its_batches(population: Population) -> None:
    run: Any = Run(Config(), SimpleNamespace(), population, Path())  # type: ignore[arg-type]
    x, y = run.batch_spec
    assert (x.shape.as_list(), y.shape.as_list()) == ([None, 28, 28], [None])
