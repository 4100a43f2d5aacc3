"""Settings of privacy that contradict each other, or others, are refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from fedpipe.config import Config

GOOD = {"mechanism": "gaussian", "clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-5}
HELD_OUT = {"held_out_fraction": 0.2}


def test_good_ones_are_taken() -> None:
    Config.model_validate({"privacy": GOOD})
    Config.model_validate(
        {
            "privacy": {"mechanism": "adaptive", "epsilon": 8.0, "delta": 1e-6},
            "cohort": {"strategy": "uniform"},
        }
    )


def test_clients_that_never_train_validate_a_private_run() -> None:
    config = Config.model_validate(
        {"privacy": GOOD, "data": HELD_OUT, "eval": {"patience": 3}, "tracking": {"register": True}}
    )
    assert config.validates
    assert not Config.model_validate({"data": HELD_OUT}).validates
    Config.model_validate(
        {"privacy": GOOD | {"public_validation": True}, "data": {"validation_fraction": 0.2}}
    )


@pytest.mark.parametrize("name", ["fednova", "mimelite"])
@pytest.mark.parametrize("aggregator", [{"clipping": True}, {"zeroing": True}, {"name": "krum"}])
def test_what_is_sent_beside_the_update_must_not_decide(
    name: str, aggregator: dict[str, Any]
) -> None:
    values = {"algorithm": {"name": name}, "aggregator": aggregator, "cohort": {"min_reports": 9}}
    with pytest.raises(
        ValidationError,
        match=rf"by the size of what it sends, but with algorithm\.name={name} .* beside its update",
    ):
        Config.model_validate(values)
    Config.model_validate(values | {"algorithm": {"name": "fedavg"}})
    Config.model_validate({"algorithm": {"name": name}, "aggregator": {"name": "median"}})


@pytest.mark.parametrize(
    ("privacy", "others", "words"),
    [
        (
            {"clip_norm": 1.0},
            {},
            r"privacy\.clip_norm=1\.0 is set but privacy\.mechanism=none ignores it",
        ),
        (
            GOOD | {"target_quantile": 0.5},
            {},
            r"target_quantile=0\.5 is set but privacy\.mechanism=gaussian ignores it.* adaptive",
        ),
        (
            GOOD | {"restart_rounds": 5},
            {},
            r"restart_rounds=5 is set but .*gaussian ignores it.* tree",
        ),
        (
            GOOD | {"clip_norm": None},
            {},
            r"mechanism=gaussian: expected privacy\.clip_norm, found null",
        ),
        (
            GOOD | {"epsilon": 1.0},
            {},
            r"expected one of privacy\.noise_multiplier and privacy\.epsilon, found both",
        ),
        (GOOD | {"noise_multiplier": None}, {}, r"privacy\.epsilon, found neither"),
        (GOOD | {"delta": None}, {}, r"expected privacy\.delta, found null"),
        (
            GOOD | {"noise_multiplier": 0.0, "max_epsilon": 1.0},
            {},
            r"max_epsilon=1\.0 is set but without noise",
        ),
        (
            GOOD | {"noise_multiplier": None, "epsilon": 2.0, "max_epsilon": 1.0},
            {},
            r"privacy\.epsilon is the budget",
        ),
        (
            GOOD | {"mechanism": "tree"},
            {"cohort": {"strategy": "uniform"}},
            r"tree: expected cohort\.strategy .*shuffled.*, found uniform",
        ),
        (
            GOOD,
            {"client": {"weighting": "examples"}},
            r"client\.weighting=examples is set but .*gaussian counts every client alike",
        ),
        (GOOD, {"aggregator": {"name": "median"}}, r"gaussian clips and joins updates itself"),
        (
            GOOD,
            {"runtime": {"debug": True}},
            r"runtime\.debug=True takes the plain mean, found privacy\.mechanism=gaussian",
        ),
        (
            GOOD | {"repeatable": True},
            {"data": HELD_OUT, "tracking": {"register": True}},
            r"repeatable=True .* cannot be registered",
        ),
        (
            GOOD | {"total_epsilon": 3.0},
            {},
            r"total_epsilon=3\.0 is set but without tracking\.register nothing is registered",
        ),
        (
            GOOD | {"public_validation": True},
            {"data": HELD_OUT},
            r"public_validation=True is set but data\.held_out_fraction has",
        ),
        (
            GOOD | {"public_validation": True},
            {},
            r"public_validation=True is set but nothing is validated",
        ),
        (
            {"repeatable": True},
            {},
            r"repeatable=True is set but privacy\.mechanism=none ignores it",
        ),
        (
            GOOD,
            {"algorithm": {"name": "fedavg_reference"}},
            r"privacy\.\w+=.* is set but algorithm\.name=fedavg_reference ignores it",
        ),
    ],
)
def test_others_are_refused(privacy: dict[str, Any], others: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Config.model_validate({"privacy": privacy, **others})
