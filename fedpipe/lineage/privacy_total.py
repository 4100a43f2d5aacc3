"""Privacy cost of several released models together: composition over the runs of a population."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fedpipe.errors import TrackingError
from fedpipe.status import MlflowStatus
from fedpipe.tracking.tags import POPULATION, PRIVACY_DELTA, PRIVACY_RELEASED

if TYPE_CHECKING:
    from mlflow.entities import Run

    from fedpipe.algorithms.epsilon_composition import Mechanism
    from fedpipe.tracking.store import Store

NEIGHBOURS = "one client whose updates are zero"
_NAMED = 5


@dataclass(frozen=True)
class PrivacyTotal:
    """The cost of all registered versions and finished runs of a population.

    Attributes:
        epsilon: of the private runs together, for `delta`, as if all their weights were released;
            None is infinite.
        delta: the delta that epsilon is for.
        neighbours: how the populations that epsilon compares differ.
        private_runs: number of finished private runs, and planned ones.
        open_versions: registered versions of the population that no epsilon covers, as
            `NAME/VERSION`.
        open_runs: number of finished runs without privacy, or with `privacy.repeatable`; not in
            epsilon unless registered.
    """

    epsilon: float | None
    delta: float
    neighbours: str
    private_runs: int
    open_versions: tuple[str, ...]
    open_runs: int

    def to_json(self) -> dict[str, Any]:
        """Return the values and the sentence, JSON-able."""
        return asdict(self) | {"text": self.sentence()}

    def sentence(self) -> str:
        """Return the total in words."""
        if self.open_versions:
            names = ", ".join(self.open_versions[:_NAMED])
            return (
                f"the clients are not protected at all: {names} of them were registered without "
                "privacy"
            )
        value = "infinite" if self.epsilon is None else f"{self.epsilon:.4g}"
        text = (
            f"{self.private_runs} private runs on these clients cost epsilon {value} together "
            f"(delta {self.delta:g}, neighbours: {NEIGHBOURS})"
        )
        if self.open_runs:
            text += f"; {self.open_runs} runs without privacy are not counted: release none of them"
        return text


def released_of(tags: Mapping[str, str]) -> "list[tuple[Mechanism, int]] | None":
    """Return the mechanisms that a run's tags name, with the number of their uses; None if no
    epsilon covers the run: it has no noise, or noise from its seed.

    Raises:
        TrackingError: the tag is not what fedpipe writes.
    """
    from fedpipe.algorithms.epsilon_composition import Mechanism

    text = tags.get(PRIVACY_RELEASED)
    if text is None:
        return None
    try:
        return [
            (
                Mechanism(entry["kind"], float(entry["noise"]), float(entry["probability"])),
                int(entry["count"]),
            )
            for entry in json.loads(text)
        ]
    except (ValueError, KeyError, TypeError) as err:
        raise TrackingError(
            f"the tag {PRIVACY_RELEASED} holds {text[:100]!r}, which is not what fedpipe writes. "
            "Set it as it was."
        ) from err


def privacy_total(
    store: "Store",
    population: str,
    delta: float,
    planned: "Sequence[tuple[Mechanism, int]] | None" = (),
    without_run: str | None = None,
) -> PrivacyTotal:
    """Return the cost of all registered versions and finished runs of a population.

    Runs that are deleted in MLflow count, since their models may be elsewhere; runs that are no
    longer in the store cannot.

    Args:
        store: the MLflow store.
        population: key of who the clients are (`runs.lineage.population_key`).
        delta: above 0, below 1.
        planned: mechanisms of a run that is not finished yet; None for one that no epsilon covers.
        without_run: id of a run to leave out, because `planned` is that run.

    Raises:
        TrackingError: the store cannot be read.
    """
    from fedpipe.algorithms.epsilon_composition import epsilon_of
    from fedpipe.tracking.lookup import model_versions, runs_of_population

    runs = {
        run.info.run_id: run
        for run in runs_of_population(store, population)
        if run.info.run_id != without_run
    }
    versions = [version for version in model_versions(store) if version.run_id in runs]
    registered = {version.run_id for version in versions}
    mechanisms: list[tuple[Mechanism, int]] = []
    uncovered = set()
    private_runs = 0
    for run_id, run in runs.items():
        if run.info.status != MlflowStatus.FINISHED and run_id not in registered:
            continue
        released = released_of(run.data.tags)
        if released is None:
            uncovered.add(run_id)
        else:
            private_runs += 1
            mechanisms += released
    if planned:
        private_runs += 1
        mechanisms += planned
    open_versions = tuple(
        f"{version.name}/{version.version}" for version in versions if version.run_id in uncovered
    )
    epsilon = None
    if planned is not None and not open_versions:
        total = epsilon_of(_merge(mechanisms), delta)
        epsilon = None if math.isinf(total) else total
    return PrivacyTotal(
        epsilon=epsilon,
        delta=delta,
        neighbours=NEIGHBOURS,
        private_runs=private_runs,
        open_versions=open_versions,
        open_runs=len(uncovered - registered),
    )


def _merge(mechanisms: "Sequence[tuple[Mechanism, int]]") -> "list[tuple[Mechanism, int]]":
    """Return each mechanism once, with the number of all its uses."""
    counts: Counter[Mechanism] = Counter()
    for mechanism, count in mechanisms:
        counts[mechanism] += count
    return list(counts.items())


def total_with_run(store: "Store", run: "Run") -> PrivacyTotal:
    """Return the cost of a private run together with the other finished runs on its clients, for
    the delta of the run.

    The run itself counts even if it is not finished: it is registered, and its report is written,
    shortly before its end.

    Args:
        store: the MLflow store.
        run: a run with the tags `data.population` and `privacy.delta`.

    Raises:
        TrackingError: the store cannot be read.
    """
    tags = run.data.tags
    return privacy_total(
        store,
        tags[POPULATION],
        float(tags[PRIVACY_DELTA]),
        planned=released_of(tags),
        without_run=run.info.run_id,
    )
