"""Which runs a study has, and what is refused before the first is started."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedpipe.config import Config
from fedpipe.errors import ConfigError
from fedpipe.project.paths import Project
from fedpipe.study.plan import Plan, plan
from fedpipe.study.study import _key, run_study
from fedpipe.system.locks import held

ARMS = {"fedavg": {}, "prox": {"algorithm.name": "fedprox"}}


@pytest.fixture
def planned(tmp_path: Path) -> Any:
    (tmp_path / "params.yaml").write_text("rounds: 2\n")

    def make(overrides: tuple[str, ...] = (), **study: Any) -> Plan:
        path = tmp_path / "which.yaml"
        path.write_text(yaml.safe_dump({"arms": ARMS, "seeds": 3} | study))
        return plan(Project(tmp_path), path, overrides)

    return make


def test_all_arms_meet_all_conditions_with_the_same_seeds(planned: Any) -> None:
    runs = planned(conditions={"data.alpha": [0.1, 1.0], "cohort.size": [5, 10]}).runs
    assert len(runs) == 2 * 4 * 3
    assert len({run.name for run in runs}) == len(runs)
    for run in runs:
        assert (run.config.seed, run.config.data.seed) == (run.seed, run.seed)
        assert run.config.data.alpha == run.condition["data.alpha"]
        assert run.config.algorithm.name == ("fedprox" if run.arm == "prox" else "fedavg")
        assert run.config.rounds == 2, "the params file is under all arms"


def test_a_fixed_seed_stays_that_of_the_params_file(planned: Any) -> None:
    runs = planned(fixed=["data"], seeds=[7, 8, 9]).runs
    assert {run.config.data.seed for run in runs} == {1}
    assert {run.config.seed for run in runs} == {7, 8, 9}


def test_more_seeds_and_arms_keep_the_names_of_the_others(planned: Any) -> None:
    names = {run.name for run in planned().runs}
    more = planned(seeds=4, arms=ARMS | {"sgd": {"algorithm.name": "fedsgd"}})
    assert names < {run.name for run in more.runs}


def test_the_metric_is_the_test_metric_that_chooses(planned: Any) -> None:
    assert planned().metric == "test/accuracy"
    assert planned(overrides=("task.kind=regression",)).metric == "test/rmse"


@pytest.mark.parametrize(
    ("study", "words"),
    [
        (
            {"arms": {"a": {}, "b": {}}},
            "the arms a and b have the same settings: they cannot differ",
        ),
        (
            {"arms": {"a": {"data.alpha": 1.0}}, "conditions": {"data.alpha": [1.0]}},
            "'data.alpha' is a condition, which an arm cannot override",
        ),
        ({"seeds": 2}, "a test needs three or more, found 2"),
        ({"seeds": [1, 1, 2]}, "expected each seed once"),
        ({"conditions": {"seed": [1]}}, "'seed' follows the seeds of the study"),
        (
            {"conditions": {"data.alhpa": [1]}},
            "unknown setting 'data.alhpa'; did you mean 'data.alpha'",
        ),
        ({"contrasts": "fedsgd"}, "expected all or one of the arms fedavg, prox, found 'fedsgd'"),
        (
            {"metric": "validation/accuracy"},
            "no run would have it. Add `data.validation_fraction=0.2`",
        ),
        ({"metric": "test/acuracy"}, "found 'acuracy'. Did you mean 'accuracy'"),
        ({"metric": "accuracy"}, "expected a metric of test, validation"),
        ({"overrides": ["algorithm.name=fedsgd"]}, "sets 'algorithm.name' in prox. Remove one"),
        ({"name": "n" * 60, "arms": {"a" * 40: {}}}, "longer than 100 letters"),
        ({"arm": {}}, "unknown key 'arm'. Known keys: name, arms"),
        (
            {"arms": {"a": {"algorithm.mu": 3.0}}, "seeds": 1},
            "run with algorithm.mu=3.0, data.seed=1, seed=1: algorithm.mu=3.0 is set but",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_file(planned: Any, study: Any, words: str) -> None:
    with pytest.raises(ConfigError) as err:
        planned(**study)
    assert words in str(err.value)
    assert "which.yaml" in str(err.value)


def test_a_study_without_arms_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("")
    (tmp_path / "study.yaml").write_text("seeds: 3\n")
    with pytest.raises(ConfigError, match="expected 'arms', found none"):
        plan(Project(tmp_path), tmp_path / "study.yaml")


def test_a_metric_of_ones_own_says_which_way_is_better(planned: Any, tmp_path: Path) -> None:
    (tmp_path / "study_scores.py").write_text(
        "def cost(outputs, targets):\n    return 1.0\ncost.higher_is_better = False\n"
        "def loss_ratio(outputs, targets):\n    return 1.0\n"
    )
    own = "task.metrics=[study_scores:cost,study_scores:loss_ratio]"
    chosen = planned(overrides=(own, "task.choose_by=cost"))
    assert (chosen.metric, chosen.higher_is_better) == ("test/cost", False)
    for metric, higher in (
        ("participating/cost_mean", False),
        ("test/loss_ratio", True),
        ("test/loss", False),
        ("participating/accuracy_std", False),
        ("participating/accuracy_worst_decile", True),
    ):
        assert planned(overrides=(own,), metric=metric).higher_is_better is higher, metric


def test_a_study_that_runs_already_is_refused(planned: Any, tmp_path: Path) -> None:
    planned()
    lock = tmp_path / ".fedpipe" / "studies" / "which" / "lock"
    lock.parent.mkdir(parents=True)
    with (
        held(lock, "the other process"),
        pytest.raises(ConfigError, match=r"study which: it is still running\. Wait for it"),
    ):
        run_study(Project(tmp_path), tmp_path / "which.yaml")


def test_data_of_other_kinds_of_labels_are_other_data() -> None:
    kinds = [Config.model_validate({"task": {"kind": kind}}) for kind in ("binary", "regression")]
    assert len({_key(config) for config in [*kinds, *kinds]}) == 2
