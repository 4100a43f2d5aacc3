"""Clients that fail: named, left out, and the round has the bits of a round without them, in every arrangement."""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow_federated as tff

from fedpipe.algorithms.aggregation import each_client, mean, sum_of_updates
from fedpipe.algorithms.debug_algorithm import DebugAlgorithm
from fedpipe.algorithms.fedavg_reference import FedAvgReference
from fedpipe.algorithms.recipe import Recipe, build_client_work
from fedpipe.algorithms.recipe_algorithm import RecipeAlgorithm
from fedpipe.config import Config, DataConfig, parse_config
from fedpipe.config.schema import RuntimeConfig
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.resident import ResidentCache
from fedpipe.engine.runtime import Runtime
from fedpipe.errors import ConfigError, DataError, RoundError
from fedpipe.types import Examples, Weights

CLIPPED = tff.aggregators.clipping_factory(
    tff.aggregators.PrivateQuantileEstimationProcess.no_noise(1.0, 0.5, 0.2),
    tff.aggregators.MeanFactory(),
)
AGGREGATIONS = {
    "groups": None,
    "sum in groups": sum_of_updates(),
    "mean per client": each_client("mean per client", tff.aggregators.MeanFactory()),
    "adaptive clipping": each_client("adaptive clipping", CLIPPED),
}
SOUND = ("a", "c", "d", "e")


@pytest.fixture(scope="module")
def clients(make_clients: Any) -> Any:
    """Five clients; the features of b are so large that its second step overflows, those of c are only large."""
    made = make_clients({"a": 30, "b": 45, "c": 20, "d": 1, "e": 100}, np.float32)
    made.data["b"] = Examples(made.data["b"].x * np.float32(1e38), made.data["b"].y)
    made.data["c"] = Examples(made.data["c"].x * np.float32(1e6), made.data["c"].y)
    return made


def same(left: Weights, right: Weights) -> bool:
    return all(np.array_equal(left[name], right[name]) for name in right)


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_an_update_that_overflows_is_named_and_takes_no_part(
    build: Any, clients: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {
        "client": {"epochs": 2, "shuffle": True, "weighting": "examples"},
        "server": {"optimizer": "momentum"},
    }
    without, expected = build(clients, settings, AGGREGATIONS[name]).rounds([SOUND] * 2)
    with caplog.at_level(logging.WARNING, "fedpipe.algorithms"):
        weights, results = build(clients, settings, AGGREGATIONS[name]).rounds(
            [("e", "d", "c", "b", "a")] * 2
        )
    assert same(weights, without)
    assert [result.failed for result in results] == [("b",)] * 2
    assert [result.metrics for result in results] == [result.metrics for result in expected]
    assert results[0].examples == 2 * (30 + 20 + 1 + 100)
    assert (
        caplog.messages[0]
        == "round 1: 1 of 5 clients failed and take no part: b (its update or loss is not finite)."
    )


def test_too_few_reports_stop_the_round_and_say_who_is_missing_and_why(
    build: Any, clients: Any
) -> None:
    built = build(clients, {"cohort": {"min_reports": 2}})
    with pytest.raises(
        RoundError,
        match=r"^round 1: expected at least cohort\.min_reports=2 reports, got 1 of 2; missing: b \(its update or loss is not finite\)\. "
        r"Lower client\.learning_rate, or lower cohort\.min_reports\.$",
    ):
        built.rounds([("a", "b")])
    assert built.rounds([("a", "b", "d")])[1][0].failed == ("b",)


def test_several_workers_and_debug_leave_out_the_same_client(
    build: Any, clients: Any, softmax: Any, tmp_path: Path
) -> None:
    without, _ = build(clients).rounds([SOUND])
    config = Config(runtime=RuntimeConfig(workers=2))
    work = build_client_work(config, softmax, np.dtype(np.float32))
    cache = ResidentCache(tmp_path / "two", clients, ["two"], max_bytes=10**9)
    algorithm = RecipeAlgorithm(
        config,
        Recipe(work, each_client("mean per client", tff.aggregators.MeanFactory())),
        cache,
    )
    with Runtime(config.runtime, tmp_path / "worker.log") as runtime:
        result = runtime.call(algorithm.next, runtime.call(algorithm.initialize), 1, (*SOUND, "b"))
    debug = DebugAlgorithm(config, work, cache)
    in_process = debug.next(debug.initialize(), 1, (*SOUND, "b"))
    assert result.failed == in_process.failed == ("b",)
    for weights in (algorithm.weights(result.state), debug.weights(in_process.state)):
        for name, value in weights.items():
            np.testing.assert_allclose(value, without[name], rtol=1e-4, atol=1e-6)
    with pytest.raises(RoundError, match=r"got 0 of 1; missing: b"):
        debug.next(debug.initialize(), 1, ("b",))


def test_clients_in_a_damaged_row_group_are_named_and_the_others_train(
    tff_runtime: Any, softmax: Any, tmp_path: Path
) -> None:
    shards = tmp_path / "shards"
    prepare_shards(DataConfig(), shards, tmp_path)
    (path,) = shards.glob("train-*.parquet")
    file = pq.ParquetFile(path)
    group = file.metadata.row_group(3)
    hit = set(file.read_row_group(3, columns=["client_id"])["client_id"].to_pylist())
    column = next(
        group.column(i)
        for i in range(group.num_columns)
        if group.column(i).path_in_schema.startswith("x")
    )
    start = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)))
    body = bytearray(path.read_bytes())
    body[start : start + 16] = b"\xff" * 16
    path.write_bytes(body)

    population = Population.open(shards, verify=False)
    cohort = tuple(population.participating())
    assert 0 < len(hit) < len(cohort)
    work = build_client_work(Config(), softmax, np.dtype(np.uint8))
    aggregation = each_client("mean per client", tff.aggregators.MeanFactory())
    algorithm = RecipeAlgorithm(
        Config(), Recipe(work, aggregation), ResidentCache.of(population, tmp_path / "cache", 10**9)
    )
    result = tff_runtime.call(algorithm.next, tff_runtime.call(algorithm.initialize), 1, cohort)
    assert set(result.failed) == hit & set(cohort)
    config = Config.model_validate({"cohort": {"size": 10, "min_reports": 10}})
    strict = RecipeAlgorithm(
        config, Recipe(work, aggregation), ResidentCache.of(population, tmp_path / "other", 10**9)
    )
    with pytest.raises(
        RoundError,
        match=rf"missing: {re.escape(min(result.failed))} \(.*row group 3.*Fix the data, or lower cohort",
    ):
        tff_runtime.call(
            strict.next, tff_runtime.call(strict.initialize), 1, cohort[:3] + result.failed
        )


def test_settings_that_cannot_hold_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"cohort\.min_reports=11 can never be reached with cohort\.size=10"
    ):
        parse_config({"cohort": {"min_reports": 11}}, "test")
    parse_config(
        {"cohort": {"min_reports": 2}, "algorithm": {"name": "fedavg_reference"}}, "test"
    )  # it reads it too


def test_a_label_that_is_no_class_fails_its_client_and_no_other(
    build: Any, make_clients: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Not through a population, which looks at labels when it reads them: the computation itself fails, and only the worker knows why.
    sizes = {"a": 30, "b": 45, "d": 25}
    without, _ = build(
        make_clients({name: size for name, size in sizes.items() if name != "b"})
    ).rounds([("a", "d")] * 2)
    made = make_clients(sizes)
    made.data["b"].y[3] = 10
    with caplog.at_level(logging.WARNING, "fedpipe.algorithms"):
        weights, results = build(made).rounds([("a", "b", "d")] * 2)
    assert same(weights, without)
    assert [result.failed for result in results] == [("b",)] * 2
    assert re.search(
        r"round 1: 1 of 3 clients failed and take no part: b \(.*label value of 10 .*valid range",
        caplog.messages[0],
    )
    for name in ("a", "d"):
        made.data[name].y[0] = -1
    for path in tmp_path.glob("*/*"):
        path.unlink()
    with pytest.raises(
        RoundError,
        match=r"^round 1: expected client work that runs, found that it fails at all 3 clients: .*label value",
    ):
        build(made).rounds([("a", "b", "d")])


@pytest.mark.parametrize("examples", ["resident", "by_value"])
def test_a_resident_file_that_vanishes_under_a_round_is_made_again(
    clients: Any,
    softmax: Any,
    tff_runtime: Any,
    tmp_path: Path,
    examples: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = parse_config({"runtime": {"groups": 2, "data": examples}}, "test")
    cache = ResidentCache(tmp_path, clients, ["vanishing"], max_bytes=10**9)
    algorithm = RecipeAlgorithm(
        config,
        Recipe(
            build_client_work(config, softmax, np.dtype(np.float32)),
            AGGREGATIONS["sum in groups"] or mean(),
        ),
        cache,
    )
    state = tff_runtime.call(algorithm.initialize)
    expected = algorithm.weights(tff_runtime.call(algorithm.next, state, 1, SOUND).state)
    computation: Any = algorithm.computation
    refs, calls = computation.refs, []

    def clear_before_the_first(
        *arguments: Any,
    ) -> Any:  # after the round was handed its files, as `fedpipe cache clear` might
        if not calls:
            for path in tmp_path.glob("*/*"):
                path.unlink()
        calls.append(arguments)
        return refs(*arguments)

    monkeypatch.setattr(computation, "refs", clear_before_the_first)
    result = tff_runtime.call(algorithm.next, state, 1, SOUND)
    assert (len(calls), result.failed) == (2, ())
    assert same(algorithm.weights(result.state), expected)


def test_the_reference_leaves_out_the_same_clients(
    clients: Any, softmax: Any, tff_runtime: Any
) -> None:
    class Some:
        """Five clients; of d nothing can be read."""

        def examples(self, client_id: str) -> Examples:
            if client_id == "d":
                raise DataError("client d: planted.")
            found: Examples = clients.examples(client_id)
            return found

    # Two passes: the second step of b overflows.
    settings = {
        "algorithm": {"name": "fedavg_reference"},
        "client": {"epochs": 2},
        "cohort": {"min_reports": 2},
    }
    algorithm = FedAvgReference(softmax, parse_config(settings, "test"), Some())
    state = tff_runtime.call(algorithm.initialize)
    without = tff_runtime.call(algorithm.next, state, 1, ("a", "c", "e"))
    result = tff_runtime.call(algorithm.next, state, 1, ("a", "b", "c", "d", "e"))
    assert result.failed == ("b", "d")
    assert result.metrics == without.metrics
    assert same(algorithm.weights(result.state), algorithm.weights(without.state))
    with pytest.raises(
        RoundError,
        match=r"min_reports=2 reports, got 1 of 2; missing: d \(client d: planted\)\. Fix the data",
    ):
        tff_runtime.call(algorithm.next, state, 1, ("a", "d"))
