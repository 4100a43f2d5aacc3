"""The runs of a study: each arm in each condition with each seed, checked before the first is
started.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedpipe.config import Config
from fedpipe.config.ignored_settings import switch_choices
from fedpipe.config.load import read_params, set_overrides
from fedpipe.config.result_settings import flatten_result
from fedpipe.config.study import StudyConfig, load_study
from fedpipe.config.sweep_trials import SweepBase, trial_config
from fedpipe.config.task_metrics import is_higher_better, is_own_metric, metric_key
from fedpipe.errors import ConfigError, did_you_mean
from fedpipe.project.paths import Project
from fedpipe.runs.state import LONGEST_FOLDER_NAME
from fedpipe.tasks.score import score_of

SPLITS = ("test", "validation", "participating", "held_out", "personalized")


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study.

    Attributes:
        arm: its name.
        condition: values of the conditions by dotted key.
        seed: of the study's seeds.
        config: its settings.
        name: of the run; made of the study, the arm, the seed and what the result depends on, so
            that a run that is there is found again.
    """

    arm: str
    condition: dict[str, Any]
    seed: int
    config: Config
    name: str


@dataclass(frozen=True)
class Plan:
    """A study and all of its runs, in the order in which they are started: seed by seed.

    Attributes:
        metric: key of what is compared.
        higher_is_better: which way of it is better.
        runs: see there.
    """

    study: StudyConfig
    metric: str
    runs: tuple[PlannedRun, ...]
    higher_is_better: bool = True

    @property
    def conditions(self) -> list[dict[str, Any]]:
        """Return all combinations of the conditions' values; one that is empty if there are
        none."""
        keys = self.study.conditions
        return [
            dict(zip(keys, values, strict=True)) for values in itertools.product(*keys.values())
        ]


def plan(project: Project, path: Path, overrides: Sequence[str] = ()) -> Plan:
    """Return the runs of the study in a file.

    Args:
        project: where.
        path: of the study's file.
        overrides: more overrides, over the file's.

    Raises:
        ConfigError: the file is not valid; settings of an arm do not go together; two arms are the
            same; or no run would have the metric.
    """
    study = load_study(path)
    base = _base(project, study, path.name, overrides)
    combinations = Plan(study, "", ()).conditions
    runs = []
    for seed, condition in itertools.product(study.seed_list, combinations):
        seen: dict[str, str] = {}
        for arm, settings in study.arms.items():
            point = {**condition, **settings, **study.seed_settings(seed)}
            config = trial_config(base, point)
            identity = _identity(config)
            if identity in seen:
                raise ConfigError(
                    f"{path.name}: the arms {seen[identity]} and {arm} have the same settings"
                    f"{_in(condition)}: they cannot differ. Change one of them, or remove it."
                )
            seen[identity] = arm
            name = f"{study.name}-{arm}-s{seed}-{identity}"
            if len(name) > LONGEST_FOLDER_NAME:
                raise ConfigError(
                    f"{path.name}: the name of the run {name} is longer than {LONGEST_FOLDER_NAME} "
                    "letters. Shorten that of the study or the arm."
                )
            runs.append(PlannedRun(arm, condition, seed, config, name))
    metric = study.metric or default_metric(runs[0].config)
    _refuse_unknown_metric(path.name, metric, runs)
    higher_is_better = _is_higher_better(metric, runs[0].config, project)
    return Plan(study, metric, tuple(runs), higher_is_better)


def default_metric(config: Config) -> str:
    """Return the test metric that a study compares where it names none."""
    return f"test/{config.task.choice}"


def _is_higher_better(metric: str, config: Config, project: Project) -> bool:
    """Return which way of a metric is better; a function of the user's own says it itself."""
    name = metric.rpartition("/")[2]
    if name.endswith("_std"):  # what differs less between clients is better
        return False
    for own in filter(is_own_metric, config.task.metric_names):
        if name == metric_key(own) or name.startswith(f"{metric_key(own)}_"):
            task = config.task.model_copy(update={"choose_by": metric_key(own)})
            return score_of(task, project.root).higher_is_better
    return is_higher_better(name)


def _base(project: Project, study: StudyConfig, where: str, overrides: Sequence[str]) -> SweepBase:
    """Return the settings under all arms; they are judged with those of an arm in them."""
    params = project.root / study.params
    values = read_params(params)
    before = deepcopy(values)
    overridden: dict[str, str] = {}
    for place, texts in ((f"{where}: overrides:", study.overrides), ("-S", overrides)):
        for key, text in set_overrides(values, texts, place).items():
            users = [name for name, settings in study.arms.items() if key in settings]
            if key in study.conditions:
                users.append("conditions")
            if users:
                raise ConfigError(
                    f"{place} {text} is set, and {where} sets '{key}' in {', '.join(users)}. "
                    "Remove one of the two."
                )
            overridden[key] = text
    switch_choices(values, before, overridden)
    return SweepBase(
        values, frozenset(overridden), study.cores_per_run, where, params.name, called="run"
    )


def _identity(config: Config) -> str:
    """Return eight letters of what the result of a run depends on."""
    text = json.dumps(flatten_result(config), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _in(condition: dict[str, Any]) -> str:
    if not condition:
        return ""
    return " where " + ", ".join(f"{key}={value}" for key, value in condition.items())


def _refuse_unknown_metric(where: str, metric: str, runs: Sequence[PlannedRun]) -> None:
    split, slash, name = metric.partition("/")
    if not slash or split not in SPLITS:
        raise ConfigError(
            f"{where}: metric: expected a metric of {', '.join(SPLITS)}, such as test/accuracy, "
            f"found '{metric}'."
        )
    config = runs[0].config
    known = ["loss", *map(metric_key, config.task.metric_names)]
    if split != "personalized" and not any(
        name == key or name.startswith((f"{key}_", f"{key}/")) for key in known
    ):
        raise ConfigError(
            f"{where}: metric={metric}: expected loss or one of the task's metrics, "
            f"{', '.join(known[1:])}, found '{name}'. {did_you_mean(name, known)} Add it to "
            f"task.metrics."
        )
    needs = {
        "validation": ("data.validation_fraction=0.2", config.validates),
        "held_out": ("data.held_out_fraction=0.2", bool(config.data.held_out_fraction)),
        "personalized": ("eval.personalize_steps=5", bool(config.eval.personalize_steps)),
    }
    setting, there = needs.get(split, ("", True))
    if not there:
        raise ConfigError(
            f"{where}: metric={metric}: no run would have it. Add `{setting}` to overrides."
        )
