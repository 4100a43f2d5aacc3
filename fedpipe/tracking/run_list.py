"""Lists the runs in a store, the newest first, those that meet some conditions.

A condition is `KEY=VALUE`, with `!=`, `>`, `>=`, `<`, `<=` or `~` (contains) in the place of `=`.
The key is a setting (`client.learning_rate`), a metric (`test/accuracy`: of the best round where
validation chose one, else of the last), or one of `FIELDS`.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fedpipe.config.load import known_keys, nearest
from fedpipe.config.schema import is_option
from fedpipe.config.task import DEFAULT_CHOOSE_BY
from fedpipe.config.task_metrics import metric_key
from fedpipe.errors import ConfigError, did_you_mean
from fedpipe.tracking.lookup import experiment_ids, pages
from fedpipe.tracking.store import Store
from fedpipe.tracking.tags import (
    DVC_DATA_MD5,
    GIT_COMMIT,
    INCOMPLETE,
    LAST_ROUND,
    SWEEP,
    SWEEP_SPACE,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

_PAGE = 200
_CONDITION = re.compile(r"\s*([^\s=!<>~]+)\s*(!=|>=|<=|=|>|<|~)\s*(.*?)\s*")
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True)
class ListedRun:
    """One run of the list.

    Attributes:
        run_id: MLflow's.
        name: of the run.
        status: `finished`, `running`, `failed`, `killed` or `scheduled`.
        start_ms: when it began, milliseconds since 1970.
        seconds: wall time; None while it is running.
        params: its settings by dotted key, as text.
        metrics: the last value of each metric by key, such as `final/test/accuracy`.
        tags: see `tracking.tags`.
    """

    run_id: str
    name: str
    status: str
    start_ms: int
    seconds: float | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def started(self) -> datetime:
        """Return when it began."""
        return datetime.fromtimestamp(self.start_ms / 1000, UTC)

    @property
    def data(self) -> str:
        """Return DVC's md5 of its data; empty if it has none."""
        return self.tags.get(DVC_DATA_MD5, "").removesuffix(".dir")

    @property
    def algorithm(self) -> str:
        """Return the algorithm's name, `sweep` for the parent of a sweep, or an empty text."""
        if SWEEP_SPACE in self.tags:
            return "sweep"
        return self.params.get("algorithm.name", "")

    @property
    def model(self) -> str:
        """Return the model's name, or an empty text."""
        return self.params.get("model.name", "")

    @property
    def rounds(self) -> int | None:
        """Return how many rounds it trained or, until they are done, is to train."""
        text = self.tags.get(LAST_ROUND) or self.params.get("rounds", "")
        return int(text) if text.isdigit() else None

    @property
    def chosen(self) -> tuple[str, float] | None:
        """Return the metric that chooses, as `SPLIT/NAME` and its value: that of the validation
        examples for the best round, or else of the test set after the last; None where there is
        neither.
        """
        return chosen_metric(self.params, self.metrics)

    def metric(self, key: str) -> float | None:
        """Return a metric by its full key, or by `SPLIT/NAME` that of the best round where there is
        one, else of the last.
        """
        for name in (key, f"best/{key}", f"final/{key}"):
            if name in self.metrics and (name != key or key.startswith(("best/", "final/"))):
                return self.metrics[name]
        return self.metrics.get(key)

    def as_row(self) -> dict[str, Any]:
        """Return what a table of runs shows, JSON-able."""
        name, value = self.chosen or ("", None)
        return {
            "run_id": self.run_id,
            "name": self.name,
            "status": self.status,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": self.seconds,
            "data_md5": self.data,
            "git_commit": self.tags.get(GIT_COMMIT, ""),
            "algorithm": self.algorithm,
            "model": self.model,
            "rounds": self.rounds,
            "metric": name,
            "value": value,
            "sweep": self.tags.get(SWEEP, ""),
            "incomplete": INCOMPLETE in self.tags,
        }


FIELDS: dict[str, Callable[[ListedRun], Any]] = {
    "name": lambda run: run.name,
    "id": lambda run: run.run_id,
    "status": lambda run: run.status,
    "data": lambda run: run.data,
    "commit": lambda run: run.tags.get(GIT_COMMIT, ""),
    "algorithm": lambda run: run.algorithm,
    "model": lambda run: run.model,
    "sweep": lambda run: run.tags.get(SWEEP, ""),
    "started": lambda run: run.started.isoformat(timespec="seconds"),
}
"""Keys of conditions beside settings and metrics. An id, a commit and data match their
beginnings, `started` compares as text: `started>=2026-11-29`.
"""
_BEGINNINGS = ("id", "data", "commit", "started")


def chosen_metric(
    params: Mapping[str, str], metrics: Mapping[str, float]
) -> tuple[str, float] | None:
    """Return the metric that chooses and its value, see `ListedRun.chosen`.

    >>> chosen_metric({}, {"final/test/accuracy": 0.3, "final/test/loss": 2.0})
    ('test/accuracy', 0.3)
    >>> chosen_metric({"task.choose_by": "auroc"}, {"best/validation/auroc": 0.9})
    ('validation/auroc', 0.9)
    """
    kind: Any = params.get("task.kind", "classification")
    asked = params.get("task.choose_by", "None")
    if asked in ("None", ""):
        asked = DEFAULT_CHOOSE_BY.get(kind, "loss")
    names = (metric_key(asked), "loss")
    for name in names:
        for prefix, split in (("best/", "validation"), ("final/", "test"), ("", "test")):
            key = f"{split}/{name}"
            if prefix + key in metrics:
                return key, metrics[prefix + key]
    return None


def list_runs(
    store: Store, conditions: Sequence[str] = (), limit: int | None = None
) -> list[ListedRun]:
    """Return runs of all experiments, the newest first.

    Args:
        store: an open store.
        conditions: all of which a run has to meet.
        limit: at most so many; None: all.

    Raises:
        ConfigError: a condition has another form, or an unknown key.
        TrackingError: the store does not answer.
    """
    tests = [_test(condition) for condition in conditions]
    runs: list[ListedRun] = []
    with store.guard("list the runs"):
        for run in _newest(store, _PAGE if limit is None or tests else min(limit, _PAGE)):
            if limit is not None and len(runs) >= limit:
                break
            if all(test(run) for test in tests):
                runs.append(run)
    return runs


def _newest(store: Store, page_size: int) -> Iterator[ListedRun]:
    experiments = experiment_ids(store)
    for entity in pages(
        lambda token: store.client.search_runs(
            experiments,
            max_results=max(page_size, 1),
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
    ):
        yield listed(entity)


def listed(run: "Run") -> ListedRun:
    """Return MLflow's entity of a run as one of the list."""
    info = run.info
    return ListedRun(
        run_id=info.run_id,
        name=str(info.run_name or info.run_id),
        status=str(info.status).lower(),
        start_ms=info.start_time,
        seconds=(info.end_time - info.start_time) / 1000 if info.end_time else None,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
    )


def _test(condition: str) -> Callable[[ListedRun], bool]:
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise ConfigError(
            f"filter '{condition}': expected KEY=VALUE, for example client.learning_rate=0.1 or "
            "test/accuracy>0.5; = != > >= < <= compare, ~ finds a part."
        )
    key, sign, value = match.groups()
    read = _reader(condition, key)

    def meets(run: ListedRun) -> bool:
        actual = read(run)
        return actual is not None and _compare(actual, sign, value, key in _BEGINNINGS)

    return meets


def _reader(condition: str, key: str) -> Callable[[ListedRun], Any]:
    """Return what reads the value of a key from a run."""
    if key in FIELDS:
        return FIELDS[key]
    if "/" in key:
        return lambda run: run.metric(key)
    if key in known_keys() or is_option(key):
        return lambda run: run.params.get(key)
    hint = did_you_mean(key, [*FIELDS, *known_keys()]) or nearest(key).lstrip("; ").capitalize()
    raise ConfigError(
        f"filter '{condition}': unknown key '{key}'. {hint} A key is a setting, a metric such as "
        f"test/accuracy, or one of {', '.join(FIELDS)}."
    )


def _compare(actual: Any, sign: str, value: str, beginning: bool) -> bool:
    left, right = _plain(str(actual)), _plain(value)
    if sign == "~":
        return right in left
    numbers = _number(left), _number(right)
    are_numbers = None not in numbers and not beginning
    if sign in _ORDERS:
        if are_numbers:
            return _ORDERS[sign](*numbers)
        return beginning and _ORDERS[sign](left, right)
    same = numbers[0] == numbers[1] if are_numbers else left == right
    if beginning:
        same = left.startswith(right)
    return same == (sign == "=")


def _plain(text: str) -> str:
    """Return a value's text as Python and YAML both have it."""
    lowered = text.strip().lower()
    return "none" if lowered in ("null", "~") else lowered


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
