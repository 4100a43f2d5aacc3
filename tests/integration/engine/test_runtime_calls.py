"""Calls from wherever flows make them, on one worker and on several."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedpipe.engine.local.context import OPEN_EXECUTORS
from fedpipe.engine.runtime import Runtime
from fedpipe.errors import WorkerError

Make = Callable[..., Runtime]
Mean = Callable[[int], tuple[float, list[float]]]

MEAN_OF_FIVE = (2.0, [1.0, 2.0])  # (0 + 1 + 2 + 3 + 4) / 5


def test_a_call_from_the_main_thread_from_pool_threads_and_after_the_starting_thread(
    make_runtime: Make, mean: Mean
) -> None:
    runtime = make_runtime()
    starter = threading.Thread(target=runtime.start)
    starter.start()
    starter.join()
    assert runtime.call(mean, 5) == MEAN_OF_FIVE
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: runtime.call(mean, 5), range(6))) == [MEAN_OF_FIVE] * 6
    assert runtime.call(lambda: runtime.call(mean, 5)) == MEAN_OF_FIVE  # a call within a call


@pytest.mark.parametrize("workers", [1, 2])
def test_a_call_from_a_running_event_loop(make_runtime: Make, mean: Mean, workers: int) -> None:
    runtime = make_runtime(workers=workers)

    async def flow() -> list[object]:
        return [runtime.call(mean, 5), await asyncio.to_thread(runtime.call, mean, 5)]

    assert asyncio.run(flow()) == [MEAN_OF_FIVE] * 2
    assert runtime.call(mean, 5) == MEAN_OF_FIVE  # and after a loop has gone


@pytest.mark.parametrize("variable", ["http_proxy", "grpc_proxy", "https_proxy"])
def test_a_proxy_in_the_environment_is_not_used(
    make_runtime: Make, mean: Mean, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    runtime = make_runtime(isolation="off", round_timeout_seconds=30.0, max_restarts=0)
    assert runtime.call(mean, 5) == MEAN_OF_FIVE


@pytest.mark.parametrize("clients", [1, 2, 3, 10])
def test_several_workers_give_the_mean_of_one(make_runtime: Make, clients: int) -> None:
    import tensorflow_federated as tff

    at_clients = tff.FederatedType(tff.TensorType(np.float32, [3]), tff.CLIENTS)
    weight = tff.FederatedType(np.float32, tff.CLIENTS)

    @tff.federated_computation(at_clients, weight, tff.FederatedType(np.float32, tff.SERVER))
    def weighted(
        values: Any, weights: Any, passed: Any
    ) -> Any:  # the server's value last: TFF's own partition fails on this
        return tff.federated_mean(values, weights), tff.federated_sum(weights), passed

    random = np.random.default_rng(7)
    values = [random.normal(size=3).astype(np.float32) for _ in range(clients)]
    weights = [float(weight) for weight in random.integers(1, 9, clients)]
    results = {
        n: make_runtime(workers=n).call(weighted, values, weights, np.float32(0.5))
        for n in (1, 2, 3)
    }
    expected = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    for mean_value, total, passed in results.values():
        np.testing.assert_allclose(mean_value, results[1][0], atol=1e-6, rtol=0)
        np.testing.assert_allclose(mean_value, expected, atol=1e-6)
        assert (float(total), float(passed)) == (sum(weights), 0.5)


def test_several_workers_work_at_once(make_runtime: Make, tmp_path: Path) -> None:
    import tensorflow as tf
    import tensorflow_federated as tff

    for client in (0, 1):
        (tmp_path / f"{client}").write_text("")

    @tff.tensorflow.computation(np.int32)
    def meet(client: Any) -> Any:
        own, other = (
            tf.strings.join([f"{tmp_path}/", tf.strings.as_string(number)])
            for number in (client, 1 - client)
        )
        with tf.control_dependencies([tf.io.write_file(own, "here")]):
            turns = tf.while_loop(
                lambda _: tf.equal(tf.strings.length(tf.io.read_file(other)), 0),
                lambda i: [i * 0],
                [client],
            )
        return turns[0] * 0 + 1

    met = tff.federated_computation(
        lambda ids: tff.federated_sum(tff.federated_map(meet, ids)),
        tff.FederatedType(np.int32, tff.CLIENTS),
    )
    runtime = make_runtime(workers=2, round_timeout_seconds=60.0, max_restarts=0)
    assert (
        int(runtime.call(met, [0, 1])) == 2
    )  # each worker has one client, and each client waits for the other


def test_several_workers_run_what_has_no_clients_to_share(make_runtime: Make) -> None:
    import tensorflow_federated as tff

    add = tff.tensorflow.computation(lambda a, b: a + b, [np.int32, np.int32])
    zero = tff.federated_computation(lambda: tff.federated_value(7, tff.SERVER))
    doubled = tff.federated_computation(
        lambda values: tff.federated_map(
            tff.tensorflow.computation(lambda x: 2 * x, np.int32), values
        ),
        tff.FederatedType(np.int32, tff.CLIENTS),
    )
    runtime = make_runtime(workers=2)
    assert int(runtime.call(add, 2, 3)) == 5
    assert int(runtime.call(zero)) == 7
    assert [int(value) for value in runtime.call(doubled, [1, 2, 3])] == [2, 4, 6]


def test_varying_cohort_sizes_keep_few_executors_open(make_runtime: Make, mean: Mean) -> None:
    runtime = make_runtime()
    connection = runtime.call(runtime._connect)
    executors = connection.context.lanes[0].executors
    for clients in (1, 2, 3, 4, 5, 6, 7, 8, 1, 2):
        assert runtime.call(mean, clients)[0] == (clients - 1) / 2
        assert len(executors) <= OPEN_EXECUTORS
    assert len(executors) == OPEN_EXECUTORS


def test_info_and_the_context_manager(
    make_runtime: Make, mean: Mean, running: Callable[[int], bool], tmp_path: Path
) -> None:
    runtime = make_runtime(workers=2, isolation="off")
    assert runtime.info == {
        "isolation": "not started",
        "workers": "2",
        "restarts": "0",
        "recycled": "0",
    }
    with runtime:
        runtime.call(mean, 5)
        workers = runtime.workers
        assert len(workers) == 2
    assert [worker.pid for worker in workers if running(worker.pid)] == []
    assert runtime.info == {"isolation": "open", "workers": "2", "restarts": "0", "recycled": "0"}
    assert (tmp_path / "logs" / "worker.log").exists()
    with pytest.raises(WorkerError, match="this TFF runtime was closed"):
        runtime.call(mean, 5)


def test_large_values_are_given_back_at_once(make_runtime: Make) -> None:
    # Told only after twenty values, the worker would hold all ten arguments of 80 MB and their results.
    import tensorflow_federated as tff

    @tff.tensorflow.computation(tff.TensorType(np.float32, [20_000_000]))
    def twice(value: Any) -> Any:
        return value + value

    runtime, megabytes = make_runtime(), []
    for number in range(10):
        result = runtime.call(twice, np.full(20_000_000, number, np.float32))
        assert (result == 2 * number).all()
        megabytes.append(runtime.workers[0].memory_mb())
    assert megabytes[-1] < megabytes[1] + 200, megabytes
