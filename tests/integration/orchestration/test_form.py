"""The form of a training in Prefect: typed fields for the common settings, whose names are those of the settings."""

import logging
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError
from prefect.utilities.callables import parameter_schema

from fedpipe.config import Config, flatten, load_config
from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.config.data import SOURCE_NAMES
from fedpipe.config.model import MODEL_NAMES
from fedpipe.errors import ConfigError
from fedpipe.orchestration.form import KEYS, form_overrides
from fedpipe.orchestration.run_log import result_line, say, say_results_only
from flows.train import federated_training

FORM = parameter_schema(federated_training).model_dump_for_openapi()


def field(name: str) -> dict[str, Any]:
    """Return the part of a field's schema that is not null."""
    (about,) = [part for part in FORM["properties"][name]["anyOf"] if part != {"type": "null"}]
    return dict(about)


def test_each_field_is_a_setting_with_its_type_and_range() -> None:
    assert set(FORM["properties"]) == {"params", "overrides", "name", *KEYS}
    assert set(KEYS.values()) <= set(flatten(Config()))
    assert FORM.get("required", []) == []
    assert field("rounds") == {"minimum": 1, "type": "integer"}
    assert field("learning_rate") == {"exclusiveMinimum": 0, "type": "number"}
    assert field("algorithm") == {"enum": list(ALGORITHMS), "type": "string"}
    assert field("model") == {"enum": list(MODEL_NAMES), "type": "string"}
    assert field("source") == {"enum": list(SOURCE_NAMES), "type": "string"}


def test_the_examples_of_overrides_are_settings() -> None:
    (example,) = FORM["properties"]["overrides"]["examples"]
    assert {override.partition("=")[0] for override in example} <= set(flatten(Config()))


def test_fields_become_settings(tmp_path: Any) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("rounds: 9\nclient:\n  epochs: 3\n")
    fields = {
        "rounds": 2,
        "learning_rate": 1e-05,
        "algorithm": "fedprox",
        "data_path": "my data, new.csv",
        "epochs": None,
    }
    config = load_config(params, form_overrides(fields, ["algorithm.mu=0.5"]))
    assert (config.rounds, config.client.learning_rate, config.client.epochs) == (2, 1e-05, 3)
    assert (config.algorithm.name, config.algorithm.mu, config.data.path) == (
        "fedprox",
        0.5,
        "my data, new.csv",
    )


def test_a_field_and_an_override_of_the_same_setting_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"the field 'cohort_size' and one of the overrides both set cohort\.size"
    ):
        form_overrides({"cohort_size": 4}, ["cohort.size=5"])


def test_calls_as_before_the_form_are_taken() -> None:
    old = {"params": "params.yaml", "overrides": ["rounds=1"], "name": "mine"}
    taken = federated_training.validate_parameters(old)
    assert (taken["overrides"], taken["name"]) == (["rounds=1"], "mine")
    with pytest.raises(ParameterTypeError, match="rounds"):
        federated_training.validate_parameters({"rounds": 0})


def test_outside_of_a_run_nothing_is_logged() -> None:
    say("nobody hears this")


def test_empty_closing_lines_are_dropped_and_all_others_stay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    say_results_only()
    logger = logging.getLogger("prefect.task_runs")
    with caplog.at_level(logging.INFO, "prefect.task_runs"):
        logger.addHandler(caplog.handler)
        for line in ("Finished in state Completed()", "Finished in state Failed('no')", "result"):
            logger.info(line)
        logger.removeHandler(caplog.handler)
    assert {record.getMessage() for record in caplog.records} == {
        "Finished in state Failed('no')",
        "result",
    }


def test_the_result_says_the_best_round_where_validation_chose_one() -> None:
    figures = {"test/accuracy": 0.25, "test/loss": 2.0}
    summary = {
        "rounds": 4,
        "initial": figures,
        "final": figures,
        "best": {"test/accuracy": 0.5},
        "best_round": 2,
    }
    assert result_line(summary).endswith("; best round 2: test accuracy 0.5000")
