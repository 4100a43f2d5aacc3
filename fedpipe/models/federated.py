"""Federated evaluation: how good a model is for each client, and how that is spread over them.

A mean over all examples says little of the clients that fare worst: the figures here are those of
the literature on fairness (Li et al. 2020, arXiv 1905.10497: the worst tenth of the clients, the
spread) beside the mean over clients and the mean over examples.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from fedpipe.config import Config
from fedpipe.data.index import ClientIndex
from fedpipe.data.manifest import Split
from fedpipe.models.evaluate import Predictor
from fedpipe.seeding import generator
from fedpipe.tasks import Metric, Predictions
from fedpipe.types import Examples, Weights

if TYPE_CHECKING:
    from fedpipe.data.client_ids import ClientIds
    from fedpipe.data.population import Population

_AT_ONCE = 1000
"""Examples that are predicted together: of many small clients at once."""
_MERGED_AT_ONCE = 256
"""Clients whose sums are kept before they are merged."""


class ClientExamples(Protocol):
    """The method of a population that the evaluation calls."""

    def examples(self, client_id: str, split: Split) -> Examples:
        """Return the client's examples of a split."""


@dataclass(frozen=True)
class ClientScores:
    """Figures of a model on the examples of some clients.

    Attributes:
        client_ids: whose.
        predictions: int64 [clients], examples, or tokens where each is followed by a prediction.
        losses: float64 [clients], mean of the task's loss.
        values: metric -> float64 [clients], NaN where it does not exist for a client.
        pooled: metric -> its value for the examples of all clients together, where it exists.
        lower_is_better: the metrics of which a lower value is better.
        may_be_absent: the metrics that need not exist for a client.
    """

    client_ids: tuple[str, ...]
    predictions: npt.NDArray[np.int64]
    losses: npt.NDArray[np.float64]
    values: Mapping[str, npt.NDArray[np.float64]]
    pooled: Mapping[str, float] = field(default_factory=dict)
    lower_is_better: frozenset[str] = frozenset()
    may_be_absent: frozenset[str] = frozenset()

    @property
    def accuracies(self) -> npt.NDArray[np.float64]:
        """Return float64 [clients], the fraction that is right; NaN of a task without accuracy."""
        return self.of("accuracy")

    def of(self, metric: str) -> npt.NDArray[np.float64]:
        """Return a metric, or `loss`, float64 [clients]; NaN where there is none."""
        if metric == "loss":
            return self.losses
        return self.values.get(metric, np.full(len(self.client_ids), np.nan))

    def metrics(self, group: str) -> dict[str, float]:
        """Return the figures of a group of clients by key, such as `participating/accuracy_mean`;
        none if there are no clients.

        Mean, spread and worst tenth are over the clients for which a metric exists; where it need
        not exist `NAME_clients` is their number.
        """
        if not self.client_ids:
            return {}
        weights = self.predictions / max(1, self.predictions.sum())
        figures = {
            "clients": float(len(self.client_ids)),
            "loss": float(self.losses @ weights),
            "loss_mean": float(self.losses.mean()),
        }
        for name, values in self.values.items():
            if name in self.pooled:
                figures[name] = self.pooled[name]
            if name in self.may_be_absent:
                known = values[~np.isnan(values)]
                figures[f"{name}_clients"] = float(len(known))
            else:  # NaN is that of a model that diverged, and is told
                known = values[self.predictions > 0]
            if len(known):
                figures |= spread(name, known)
                higher = name not in self.lower_is_better
                figures[f"{name}_worst_decile"] = worst_decile(known, higher_is_better=higher)
        return {f"{group}/{name}": value for name, value in figures.items()}


def spread(name: str, values: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return mean, standard deviation and the 10th, 50th and 90th percentile of one value a client.

    >>> spread("x", np.array([0.0, 1.0]))
    {'x_mean': 0.5, 'x_std': 0.5, 'x_p10': 0.1, 'x_p50': 0.5, 'x_p90': 0.9}
    """
    low, middle, high = (float(value) for value in np.percentile(values, (10, 50, 90)))
    figures = {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "p10": low,
        "p50": middle,
        "p90": high,
    }
    return {f"{name}_{key}": value for key, value in figures.items()}


def worst_decile(values: npt.NDArray[np.float64], higher_is_better: bool = True) -> float:
    """Return the mean of the worst tenth of the values, rounded up to whole clients: the lowest, or
    the highest where lower is better.

    >>> worst_decile(np.arange(11.0)), worst_decile(np.arange(11.0), higher_is_better=False)
    (0.5, 9.5)
    """
    ordered = np.sort(values)
    if not higher_is_better:
        ordered = ordered[::-1]
    return float(ordered[: -(-len(values) // 10)].mean())


def choose_clients(
    index: ClientIndex, split: Split, held_out: bool, most: int, seed: int
) -> tuple[str, ...]:
    """Return the clients that have examples in a split and are held out or not, sorted; of more
    than `most` as many, drawn by name.

    Args:
        index: of the population; nothing else of it is read.
        split: whose examples count.
        held_out: which of the two kinds.
        most: limit.
        seed: the run's.
    """
    rows = np.flatnonzero((index.counts(split) > 0) & (index.held_out == held_out))
    if len(rows) > most:
        rng = generator(seed, "evaluation", split, int(held_out))
        rows = np.sort(rows[rng.choice(len(rows), most, replace=False, shuffle=False)])
    return tuple(index.client_ids[i] for i in rows.tolist())


def evaluate_clients(
    predictor: Predictor,
    weights: Weights,
    population: ClientExamples,
    client_ids: Sequence[str],
    split: Split = "test",
) -> ClientScores:
    """Return what the weights are worth to each client, on its examples of a split; it has at least
    one.

    Raises:
        DataError: a client's examples cannot be read.
        ModelError: the model does not take them.
    """
    task = predictor.task
    spread_metrics = [metric for metric in task.metrics if metric.name in task.over_clients]
    counts = np.zeros(len(client_ids))
    losses = np.zeros(len(client_ids))
    totals = [_Total(family, len(client_ids)) for family in task.families(task.over_clients)]
    waiting: list[Examples] = []
    numbers: list[int] = []

    def flush() -> None:
        predictions = predictor.predict(weights, concatenated(waiting))
        owner = np.repeat(numbers, list(map(len, waiting)))[predictions.rows]
        counts[:] += np.bincount(owner, minlength=len(client_ids))
        losses[:] += np.bincount(
            owner, predictions.losses.astype(np.float64), minlength=len(client_ids)
        )
        for total in totals:
            total.add(predictions, owner, numbers)
        waiting.clear()
        numbers.clear()

    for number, client_id in enumerate(client_ids):
        waiting.append(population.examples(client_id, split))
        numbers.append(number)
        if sum(map(len, waiting)) >= _AT_ONCE:
            flush()
    if waiting:
        flush()
    values: dict[str, npt.NDArray[np.float64]] = {}
    pooled: dict[str, float] = {}
    for total in totals:
        values |= total.values
        pooled |= total.pooled()
    return ClientScores(
        tuple(client_ids),
        counts.astype(np.int64),
        losses / np.maximum(counts, 1),
        values={metric.name: values[metric.name] for metric in spread_metrics},
        pooled=pooled,
        lower_is_better=frozenset(
            metric.name for metric in spread_metrics if not metric.higher_is_better
        ),
        may_be_absent=frozenset(
            metric.name for metric in spread_metrics if not metric.always_exists
        ),
    )


class _Total:
    """Metrics of one family for each client, and their sums over all."""

    def __init__(self, family: Sequence[Metric], clients: int) -> None:
        """Start without predictions."""
        self._family = family
        self._parts: list[Any] = []
        self.values = {metric.name: np.full(clients, np.nan) for metric in family}

    def add(
        self, predictions: Predictions, owner: npt.NDArray[np.int64], numbers: Sequence[int]
    ) -> None:
        """Add the predictions of the clients `numbers`, which follow one another in `owner`."""
        first = self._family[0]
        if first.name == "accuracy" and len(predictions.labels):
            self._add_accuracies(predictions, owner)
            return
        starts = np.searchsorted(owner, numbers).tolist()
        ends = np.searchsorted(owner, numbers, side="right").tolist()
        for number, start, end in zip(numbers, starts, ends, strict=True):
            sums = first.sums(predictions.between(start, end))
            for metric in self._family:
                value = metric.value(sums)
                if value is not None:
                    self.values[metric.name][number] = value
            self._parts.append(sums)
            if len(self._parts) >= _MERGED_AT_ONCE:
                self._parts = [first.merge(self._parts)]

    def pooled(self) -> dict[str, float]:
        """Return the metrics of all predictions together, those that exist."""
        if not self._parts:
            return {}
        sums = self._family[0].merge(self._parts)
        values = {metric.name: metric.value(sums) for metric in self._family}
        return {name: value for name, value in values.items() if value is not None}

    def _add_accuracies(self, predictions: Predictions, owner: npt.NDArray[np.int64]) -> None:
        """Add accuracies of all clients at once, as there are many small ones."""
        values = self.values["accuracy"]
        counts = np.bincount(owner, minlength=len(values))
        hits = np.bincount(owner, predictions.hits.astype(np.float64), minlength=len(values))
        present = counts > 0
        values[present] = hits[present] / counts[present]
        self._parts.append(np.array([hits.sum(), counts.sum()]))


def validating_clients(config: Config, population: "Population") -> tuple[str, ...]:
    """Return the clients that validate a private run and never train in it, sorted; none of other
    runs.

    Epsilon covers the clients that train, but not what their validation examples choose: the best
    round, the early stop, the champion. Those are chosen by the held-out clients. Where there are
    none, a fraction `data.validation_fraction` of the other clients, rounded up, is drawn from the
    run's seed. `privacy.public_validation` declares the examples public instead.
    """
    if not config.privacy.on or config.privacy.public_validation:
        return ()
    index = population.index
    held_out = np.flatnonzero(
        index.held_out & (index.counts("train") + index.counts("validation") > 0)
    )
    if len(held_out):
        return tuple(index.client_ids[i] for i in held_out.tolist())
    clients = population.participating()
    count = math.ceil(config.data.validation_fraction * len(clients))
    chosen = generator(config.seed, "validating clients").choice(
        len(clients), count, replace=False, shuffle=False
    )
    return tuple(clients[i] for i in sorted(chosen.tolist()))


def training_clients(config: Config, population: "Population") -> "ClientIds":
    """Return the clients that may be asked to train in a run, sorted."""
    participating = population.participating()
    validating = set(validating_clients(config, population))
    if not validating:
        return participating
    return participating.where(
        np.array([client_id not in validating for client_id in participating], np.bool_)
    )


def validation_examples(config: Config, population: "Population") -> Examples | None:
    """Return the examples that choose the best round, the early stop and the champion; None if
    there are none.

    They are the validation examples of the clients that train; of a private run all training and
    validation examples of its `validating_clients`. Of more than `eval.clients` clients, as many
    are drawn.
    """
    if config.privacy.on and not config.privacy.public_validation:
        clients = validating_clients(config, population)
        if len(clients) > config.eval.clients:
            rng = generator(config.seed, "evaluation", "validating clients")
            clients = tuple(
                clients[i]
                for i in sorted(
                    rng.choice(len(clients), config.eval.clients, replace=False).tolist()
                )
            )
        splits: tuple[Split, ...] = ("train", "validation")
    else:
        clients = choose_clients(
            population.index, "validation", False, config.eval.clients, config.seed
        )
        splits = ("validation",)
    examples = []
    for split in splits:
        holders = population.client_ids(split)
        examples += [
            population.examples(client_id, split) for client_id in clients if client_id in holders
        ]
    if not examples:
        return None
    return concatenated(examples)


def pooled(population: ClientExamples, client_ids: Sequence[str], split: Split) -> Examples:
    """Return the examples of a split of all these clients together."""
    return concatenated([population.examples(client_id, split) for client_id in client_ids])


def concatenated(examples: Sequence[Examples]) -> Examples:
    """Return the examples one after another; there is at least one set of them."""
    features = np.concatenate([client.x for client in examples])
    return Examples(features, np.concatenate([client.y for client in examples]))
