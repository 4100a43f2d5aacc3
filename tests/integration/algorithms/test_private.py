"""Private means on the engine: the noise is what theory says, the clip holds, and a run that goes on has the same bits."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from fedpipe.algorithms.noise import NoiseSource
from fedpipe.algorithms.private import private_mean
from fedpipe.config import Config
from fedpipe.engine.server_state import flatten, restore
from fedpipe.errors import RoundError
from fedpipe.types import weights_sha256

SHAPES = [(784, 10), (10,)]
COHORT = ("nineteen", "twenty")
NOISE, CLIP = 0.8, 0.5
STILL = 1e-30  # a learning rate at which updates are nothing beside the noise
MECHANISMS = ("gaussian", "adaptive", "tree")
KEY = bytes(range(32))
SEED_1_NOISE = "06cfe037e98f3d0f75f50852031b0f75cb12fc2f564947c2274df4a7efbafa6f"


@pytest.fixture
def private(build: Any, mixed_clients: Any) -> Any:
    def make(
        mechanism: str,
        rate: float,
        clients: Any = mixed_clients,
        key: bytes | None = KEY,
        strategy: str = "fixed",
        **privacy: Any,
    ) -> Any:
        values: Mapping[str, Any] = {
            "client": {"learning_rate": rate},
            "cohort": {"size": 2, "strategy": strategy},
            "privacy": {
                "mechanism": mechanism,
                "clip_norm": CLIP,
                "noise_multiplier": NOISE,
                "delta": 1e-5,
                "repeatable": key is None,
                **privacy,
            },
        }
        return build(clients, values, private_mean(Config.model_validate(values), SHAPES, key))

    return make


def flat(weights: Any) -> Any:
    return np.concatenate([tensor.ravel() for tensor in weights.values()])


def test_the_noise_of_a_round_has_its_deviation_and_each_round_its_own(private: Any) -> None:
    # 7,850 coordinates: the estimate of a deviation is off by 0.8 % (one sigma), of a correlation by 1.1 %.
    built = private("gaussian", STILL)
    one, two = flat(built.rounds([COHORT])[0]), flat(built.rounds([COHORT] * 2)[0])
    other = two - one
    for noise in (one, other):
        assert noise.std() == pytest.approx(
            CLIP * NOISE / 2, rel=0.04
        )  # on the sum of two, over two
        assert abs(noise.mean()) < 4 * noise.std() / np.sqrt(noise.size)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.05
    alone = flat(built.rounds([COHORT[:1]])[0])
    np.testing.assert_allclose(
        alone, one, atol=1e-7, err_msg="noise and denominator depend on who reports"
    )


def test_an_empty_cohort_is_a_round_of_noise(private: Any) -> None:
    built = private("gaussian", STILL)
    weights, results = built.rounds([()])
    assert flat(weights).std() == pytest.approx(CLIP * NOISE / 2, rel=0.04)
    assert "train/loss" not in results[0].metrics


def test_a_poisson_round_whose_clients_all_fail_is_a_round_of_noise(
    private: Any, make_clients: Any
) -> None:
    """To stop there, or to skip the round, would tell who was sampled."""
    clients = make_clients({"whole": 20, "broken": 20}, np.float32)
    clients.data["broken"].x[:] = np.nan
    built = private("gaussian", STILL, clients, strategy="poisson")
    weights, results = built.rounds([("broken",), ("broken",)])
    assert [result.failed for result in results] == [("broken",), ("broken",)]
    assert flat(weights).std() == pytest.approx(CLIP * NOISE / 2 * np.sqrt(2), rel=0.04)
    with pytest.raises(RoundError, match=r"cohort\.min_reports=1"):
        private("gaussian", STILL, clients, strategy="fixed").rounds([("broken",)])


def test_the_noise_of_a_tree_grows_with_its_depth_not_with_the_rounds(private: Any) -> None:
    # Honaker 2015: a node over two has variance 1 / (1 + 1 / 2v) of theirs, v: 1, 2/3, 4/7. Four rounds apart would have 4.
    weights, _ = private("tree", STILL).rounds([COHORT] * 4)
    assert flat(weights).std() == pytest.approx(CLIP * NOISE / 2 * np.sqrt(4 / 7), rel=0.04)
    # With a tree of two rounds each: two roots, 2/3 each.
    weights, _ = private("tree", STILL, restart_rounds=2).rounds([COHORT] * 4)
    assert flat(weights).std() == pytest.approx(CLIP * NOISE / 2 * np.sqrt(4 / 3), rel=0.04)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_each_clients_update_is_clipped_over_all_tensors(private: Any, mechanism: str) -> None:
    built = private(mechanism, 100.0, noise_multiplier=0.0)
    weights, _ = built.rounds([COHORT[:1]])
    assert np.linalg.norm(flat(weights)) == pytest.approx(
        CLIP / 2, rel=1e-4
    )  # one of two that are expected


@pytest.mark.parametrize(
    "mechanism", ["gaussian", "adaptive"]
)  # of a tree the clip above says enough, and it takes longest to build
def test_without_noise_and_with_a_wide_clip_it_is_the_mean(
    private: Any, mixed_clients: Any, oracle: Any, mechanism: str
) -> None:
    weights, _ = private(mechanism, 0.01, noise_multiplier=0.0, clip_norm=1e6).rounds([COHORT] * 2)
    for name, value in oracle(mixed_clients, [COHORT] * 2).items():
        np.testing.assert_allclose(weights[name], value, atol=1e-5)


def test_an_adaptive_clip_follows_the_quantile(private: Any) -> None:
    # Both norms are below 1e6: the fraction below is 1, the target 0.5, so a round multiplies the clip by exp(-0.2 (1 - 0.5)).
    _, results = private("adaptive", 0.01, noise_multiplier=0.0, clip_norm=1e6).rounds([COHORT] * 3)
    clips = [result.metrics["aggregator/clip"] for result in results]
    np.testing.assert_allclose(clips, 1e6 * np.exp(-0.1 * np.arange(1, 4)), rtol=1e-4)


def test_adaptive_noise_is_a_little_more_for_the_count(private: Any) -> None:
    # The count of a cohort of 2 moves by 1 and has noise 2 z: z^-2 = z_sum^-2 + (2 z)^-2.
    weights, _ = private("adaptive", STILL).rounds([COHORT])
    assert flat(weights).std() == pytest.approx(CLIP * NOISE * (1 - 1 / 4) ** -0.5 / 2, rel=0.04)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_two_runs_with_one_seed_have_noise_of_their_own(private: Any, mechanism: str) -> None:
    """7,850 coordinates: the estimate of a correlation is off by 1.1 % (one sigma)."""
    mine = flat(private(mechanism, STILL).rounds([COHORT])[0])
    other = flat(private(mechanism, STILL, key=bytes(32)).rounds([COHORT])[0])
    again = flat(private(mechanism, STILL).rounds([COHORT])[0])
    np.testing.assert_array_equal(mine, again, err_msg="the same key is the same noise")
    assert abs(np.corrcoef(mine, other)[0, 1]) < 0.05
    assert other.std() == pytest.approx(mine.std(), rel=0.04)


def test_a_repeatable_run_has_the_noise_of_its_seed(private: Any) -> None:
    # The bits of fedpipe before private runs had keys: studies that were made with them can be repeated.
    weights = private("gaussian", STILL, key=None).rounds([COHORT])[0]
    assert weights_sha256(weights) == SEED_1_NOISE


def test_a_private_run_without_a_key_is_an_error() -> None:
    values = {
        "privacy": {
            "mechanism": "gaussian",
            "clip_norm": CLIP,
            "noise_multiplier": NOISE,
            "delta": 1e-5,
        }
    }
    config = Config.model_validate({**values, "cohort": {"strategy": "uniform"}})
    with pytest.raises(ValueError, match=r"expected 32 bytes with privacy\.repeatable=False"):
        private_mean(config, SHAPES, None)


def test_the_key_is_not_shown() -> None:
    assert repr(KEY) not in repr(NoiseSource(KEY, 1))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_run_that_goes_on_has_the_same_noise(private: Any, after: Any, mechanism: str) -> None:
    extra = {"restart_rounds": 2} if mechanism == "tree" else {}
    algorithm = private(mechanism, 0.05, **extra).algorithm
    kept = flatten(after(algorithm, 3, COHORT))
    assert all(leaf.dtype.kind in "fiub" for leaf in kept.values()), "a checkpoint holds numbers"
    resumed = after(algorithm, 2, COHORT, restore(after(algorithm, 0, ()), kept), first=4)
    assert weights_sha256(algorithm.weights(resumed)) == weights_sha256(
        algorithm.weights(after(algorithm, 5, COHORT))
    )
