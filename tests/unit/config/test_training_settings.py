"""Settings of client work and server that would be ignored are refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from fedpipe.config import Config


@pytest.mark.parametrize("side", ["client", "server"])
def test_momentum_without_the_optimizer_that_reads_it(side: str) -> None:
    with pytest.raises(
        ValidationError, match=rf"{side}\.momentum=0\.5 is set but {side}\.optimizer=sgd ignores it"
    ):
        Config.model_validate({side: {"momentum": 0.5}})


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("client", "shuffle", True),
        ("client", "max_steps", 3),
        ("client", "optimizer", "adam"),
        ("client", "weighting", "examples"),
        ("server", "optimizer", "adam"),
        ("server", "learning_rate", 0.5),
        ("runtime", "groups", 2),
        ("runtime", "data", "by_value"),
    ],
)
def test_what_the_reference_ignores(group: str, name: str, value: Any) -> None:
    Config.model_validate({group: {name: value}})
    with pytest.raises(
        ValidationError,
        match=rf"{group}\.{name}={value} is set but algorithm\.name=fedavg_reference ignores it",
    ):
        Config.model_validate({"algorithm": {"name": "fedavg_reference"}, group: {name: value}})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"algorithm": {"mu": 0.1}},
            r"algorithm\.mu=0\.1 is set but algorithm\.name=fedavg ignores it\. .* algorithm\.name=fedprox",
        ),
        (
            {"algorithm": {"name": "fedsgd"}, "client": {"epochs": 2}},
            r"client\.epochs=2 .*fedsgd ignores it: each client takes one SGD step",
        ),
        (
            {"algorithm": {"name": "scaffold"}, "runtime": {"debug": True}},
            r"runtime\.debug=True .*scaffold ignores it: debug runs, client",
        ),
        (
            {"algorithm": {"name": "fedadam"}, "server": {"optimizer": "yogi"}},
            r"server\.optimizer=yogi .* its server optimizer is adam",
        ),
        (
            {"algorithm": {"name": "fedadam"}, "server": {"momentum": 0.5}},
            r"server\.momentum=0\.5 is set but algorithm\.name=fedadam ignores",
        ),
        (
            {"server": {"optimizer": "adagrad", "beta_1": 0.5}},
            r"server\.beta_1=0\.5 is set but server\.optimizer=adagrad ignores",
        ),
        ({"server": {"epsilon": 0.5}}, r"server\.epsilon=0\.5 .* choose adam or adagrad or yogi"),
        (
            {"algorithm": {"name": "fedavgg"}},
            r"algorithm\.name: expected one of fedavg, .* or mypackage.module:function, found 'fedavgg'",
        ),
    ],
)
def test_what_an_algorithm_does_not_read(settings: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Config.model_validate(settings)


def test_patience_needs_validation_examples() -> None:
    Config.model_validate({"eval": {"patience": 3}, "data": {"validation_fraction": 0.2}})
    with pytest.raises(
        ValidationError,
        match=r"eval\.patience=3 needs validation examples, found data\.validation_fraction=0",
    ):
        Config.model_validate({"eval": {"patience": 3}})


def test_what_an_algorithm_brings_may_be_set() -> None:
    Config.model_validate({"algorithm": {"name": "fedavgm"}, "server": {"momentum": 0.5}})
    Config.model_validate(
        {"algorithm": {"name": "fedyogi"}, "server": {"epsilon": 0.1, "beta_2": 0.9}}
    )
    Config.model_validate({"algorithm": {"name": "mine.own:build", "mu": 0.1}})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"aggregator": {"byzantine": 2}},
            r"aggregator\.byzantine=2 is set but aggregator\.name=mean ignores it\. .* choose krum",
        ),
        (
            {"aggregator": {"name": "median", "clipping": True}},
            r"aggregator\.clipping=True .* aggregator\.name=median ignores it",
        ),
        (
            {"aggregator": {"name": "median"}, "client": {"weighting": "examples"}},
            r"weighting=examples .* counts every client alike",
        ),
        (
            {"aggregator": {"name": "krum", "byzantine": 4}, "cohort": {"min_reports": 10}},
            r"expected more than 10 reports, found .*=10",
        ),
        (
            {"aggregator": {"name": "median"}, "runtime": {"debug": True}},
            r"runtime\.debug=True takes the plain mean, found another",
        ),
        (
            {"algorithm": {"name": "fedavg_reference"}, "aggregator": {"name": "median"}},
            r"name=median .*fedavg_reference ignores",
        ),
    ],
)
def test_what_an_aggregator_does_not_go_with(settings: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Config.model_validate(settings)


def test_a_champion_is_chosen_by_validation_examples() -> None:
    Config.model_validate({"tracking": {"register": True}, "data": {"validation_fraction": 0.2}})
    with pytest.raises(
        ValidationError,
        match=r"tracking\.register=True needs validation examples, found data\.validation_fraction=0",
    ):
        Config.model_validate({"tracking": {"register": True}})


@pytest.mark.parametrize("name", ["a/b", "a:1", "digits@champion", " digits", "two  spaces"])
def test_names_that_no_model_can_have(name: str) -> None:
    with pytest.raises(ValidationError, match=r"tracking\.model_name: expected a name without"):
        Config.model_validate({"tracking": {"model_name": name}})
