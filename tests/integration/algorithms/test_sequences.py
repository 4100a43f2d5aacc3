"""Texts of differing length train on a worker: from a CSV of characters to rounds whose loss falls."""

from pathlib import Path
from typing import Any

import pytest

from fedpipe.algorithms.catalog import build_algorithm
from fedpipe.config import Config
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
from fedpipe.errors import ModelError
from fedpipe.models import build_model, check_input


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Population:
    """Three clients with lines of `ab` and `cd` again and again; the label says which."""
    project = tmp_path_factory.mktemp("texts")
    lines = [
        f"{client},{label},{label * (2 + number % 5)}"
        for client in "xyz"
        for label in ("ab", "cd")
        for number in range(10)
    ]
    (project / "lines.csv").write_text("client,label,text\n" + "\n".join(lines) + "\n")
    data = Config.model_validate(
        {"data": {"source": "csv", "path": "lines.csv", "clients": None}}
    ).data
    prepare_shards(data, project / "shards", project)
    return Population.open(project / "shards")


def test_variable_length_trains_and_its_loss_falls(
    texts: Population, tff_runtime: Any, tmp_path: Path
) -> None:
    config = Config.model_validate(
        {
            "model": {"name": "lstm", "tokens": 257},
            "client": {"optimizer": "adam", "learning_rate": 0.005, "epochs": 4, "batch_size": 8},
            "data": {"source": "csv", "path": "lines.csv"},
        }
    )
    assert texts.manifest.variable_length
    check_input(config, texts.manifest)
    model = build_model(config, texts.manifest.feature_shape, texts.manifest.num_classes)
    algorithm = build_algorithm(config, model, texts, tmp_path)
    state, losses = tff_runtime.call(algorithm.initialize), []
    for round_num in range(1, 4):
        result = tff_runtime.call(algorithm.next, state, round_num, texts.client_ids()[:2])
        state = result.state
        losses.append(result.metrics["train/loss"])
    assert losses[0] < 0.75  # ln 2 = 0.69: two labels, nothing known
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(("tokens", "found"), [(None, "from 0 to 1"), (101, "from 0 to 100")])
def test_a_token_that_the_model_has_not_is_found_before_training(
    texts: Population, tokens: int | None, found: str
) -> None:
    """Also if one client's examples alone have it: it would fail in every round, and the run go on without it."""
    assert texts.highest_token() == ord("d") + 1
    config = Config.model_validate(
        {
            "model": {"name": "lstm", "tokens": tokens},
            "data": {"source": "csv", "path": "lines.csv"},
        }
    )
    with pytest.raises(
        ModelError, match=rf"expected tokens {found}, .*has 101\. Set model\.tokens to 102 or more"
    ):
        check_input(config, texts.manifest, None, texts.highest_token)
    enough = config.model_copy(update={"model": config.model.model_copy(update={"tokens": 102})})
    check_input(enough, texts.manifest, None, texts.highest_token)
