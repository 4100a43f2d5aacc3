"""The algorithms again, in float64 NumPy from their papers: what `benchmarks.oracles` and a test compare fedpipe with.

Softmax regression on clients' examples in the order of the shards. Nothing of fedpipe is imported, so that no mistake is shared.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Tensors = list[npt.NDArray[np.float64]]
Clients = Mapping[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]]
"""Features [n, 784], pixels as 0..1, and labels [n], by client id."""


@dataclass(frozen=True)
class Work:
    """What each client does.

    Attributes:
        rate: step size.
        epochs, batch_size, max_steps: of plain mini-batch steps; `batch_size` None is all examples at once.
        optimizer: sgd, momentum or adam (with the eps-hat of Kingma and Ba 2015, end of section 2).
        momentum: of `momentum`.
        proximal: mu of Li et al. 2020 (arXiv 1812.06127), Algorithm 2.
        by_examples: whether a client counts by its number of examples.
    """

    rate: float = 0.1
    epochs: int = 2
    batch_size: int | None = 20
    max_steps: int | None = None
    optimizer: str = "sgd"
    momentum: float = 0.9
    proximal: float = 0.0
    by_examples: bool = False


def gradient(weights: Tensors, x: npt.NDArray[np.float64], y: npt.NDArray[np.int64]) -> Tensors:
    """Return the gradient of the mean cross-entropy, x^T (p - onehot) / n."""
    scores = x @ weights[0] + weights[1]
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    return [x.T @ p / len(y), p.mean(axis=0)]


def train(
    weights: Tensors,
    x: Any,
    y: Any,
    work: Work,
    direction: Callable[[Tensors], Tensors] | None = None,
) -> tuple[Tensors, int]:
    """Return a client's weights and the number of its steps; `direction` changes each gradient before the step."""
    current, step = [tensor.copy() for tensor in weights], 0
    velocity = [np.zeros_like(tensor) for tensor in weights]
    square = [np.zeros_like(tensor) for tensor in weights]
    size = work.batch_size or len(y)
    for _ in range(work.epochs):
        for start in range(0, len(y), size):
            if step == work.max_steps:
                return current, step
            found = gradient(current, x[start : start + size], y[start : start + size])
            step += 1
            found = [
                g + work.proximal * (w - old)
                for g, w, old in zip(found, current, weights, strict=True)
            ]
            if direction is not None:
                found = direction(found)
            if work.optimizer == "momentum":
                velocity = [work.momentum * v + g for v, g in zip(velocity, found, strict=True)]
                found = velocity
            if work.optimizer == "adam":
                velocity = [0.9 * v + 0.1 * g for v, g in zip(velocity, found, strict=True)]
                square = [0.999 * s + 0.001 * g * g for s, g in zip(square, found, strict=True)]
                scale = math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                found = [
                    scale * v / (np.sqrt(s) + 1e-7) for v, s in zip(velocity, square, strict=True)
                ]
            current = [w - work.rate * g for w, g in zip(current, found, strict=True)]
    return current, step


class Server:
    """Server optimizers of Reddi et al. 2021 (arXiv 2003.00295), Algorithm 2, in TFF's form; the gradient is the negated update."""

    def __init__(
        self,
        name: str = "sgd",
        rate: float = 1.0,
        momentum: float = 0.9,
        tau: float = 1e-3,
        beta_1: float = 0.9,
    ) -> None:
        """Take the constants; `adagrad` starts at tau^2 and divides by sqrt(v + tau^2)."""
        self._name, self._rate, self._momentum, self._tau, self._beta_1, self._beta_2 = (
            name,
            rate,
            momentum,
            tau,
            beta_1,
            0.99,
        )
        self._mean: Any = 0.0
        self._square: Any = None
        self._step = 0

    def next(self, weights: Tensors, update: Tensors) -> Tensors:
        """Return the weights after a round."""
        self._step += 1
        if self._square is None:
            self._mean = [np.zeros_like(tensor) for tensor in weights]
            self._square = [
                np.full_like(tensor, 0.0 if self._name == "adam" else self._tau**2)
                for tensor in weights
            ]
        step = update
        if self._name == "momentum":
            self._mean = step = [
                self._momentum * m + d for m, d in zip(self._mean, update, strict=True)
            ]
        elif self._name == "adagrad":
            self._square = [v + d * d for v, d in zip(self._square, update, strict=True)]
            step = [
                d / np.sqrt(v + self._tau**2) for d, v in zip(update, self._square, strict=True)
            ]
        elif self._name in ("adam", "yogi"):
            b1, b2 = self._beta_1, self._beta_2
            self._mean = [b1 * m + (1 - b1) * d for m, d in zip(self._mean, update, strict=True)]
            if self._name == "adam":
                self._square = [
                    b2 * v + (1 - b2) * d * d for v, d in zip(self._square, update, strict=True)
                ]
            else:
                self._square = [
                    v - (1 - b2) * d * d * np.sign(v - d * d)
                    for v, d in zip(self._square, update, strict=True)
                ]
            scale = math.sqrt(1 - b2**self._step) / (1 - b1**self._step)
            step = [
                scale * m / (np.sqrt(v) + self._tau)
                for m, v in zip(self._mean, self._square, strict=True)
            ]
        return [w + self._rate * s for w, s in zip(weights, step, strict=True)]


def mean(updates: Sequence[Tensors], shares: Sequence[float]) -> Tensors:
    """Return the weighted mean of the updates."""
    return [
        np.average(np.stack(tensors), axis=0, weights=shares)
        for tensors in zip(*updates, strict=True)
    ]


def median(updates: Sequence[Tensors], _: Sequence[float]) -> Tensors:
    """Return the coordinate-wise median (Yin et al. 2018, arXiv 1803.01498, Definition 1)."""
    return [np.median(np.stack(tensors), axis=0) for tensors in zip(*updates, strict=True)]


def trimmed(fraction: float) -> Callable[[Sequence[Tensors], Sequence[float]], Tensors]:
    """Return the coordinate-wise mean without the floor(fraction n) largest and smallest (the same, Definition 2)."""

    def of(updates: Sequence[Tensors], _: Sequence[float]) -> Tensors:
        cut = math.floor(fraction * len(updates) + 1e-9)
        return [
            np.sort(np.stack(tensors), axis=0)[cut : len(updates) - cut].mean(axis=0)
            for tensors in zip(*updates, strict=True)
        ]

    return of


def krum(byzantine: int) -> Callable[[Sequence[Tensors], Sequence[float]], Tensors]:
    """Return the update nearest to its n - byzantine - 2 nearest others (Blanchard et al. 2017, arXiv 1703.02757, section 4)."""

    def of(updates: Sequence[Tensors], _: Sequence[float]) -> Tensors:
        points = np.stack(
            [np.concatenate([tensor.ravel() for tensor in update]) for update in updates]
        )
        squares = ((points[:, None] - points[None]) ** 2).sum(axis=2)
        nearest = np.sort(squares, axis=1)[:, 1 : len(updates) - byzantine - 1]
        return updates[int(nearest.sum(axis=1).argmin())]

    return of


def averaging(
    clients: Clients,
    cohorts: Sequence[Sequence[str]],
    work: Work,
    server: Server | None = None,
    aggregate: Any = mean,
) -> list[Tensors]:
    """Return the server's weights after each round of Federated Averaging and what differs in server or aggregate alone."""
    server = server or Server()
    weights, history = zeros(), []
    for cohort in cohorts:
        trained = [train(weights, *clients[client], work)[0] for client in sorted(cohort)]
        updates = [[new - old for new, old in zip(one, weights, strict=True)] for one in trained]
        shares = [
            float(len(clients[client][1])) if work.by_examples else 1.0 for client in sorted(cohort)
        ]
        weights = server.next(weights, aggregate(updates, shares))
        history.append(weights)
    return history


def scaffold(
    clients: Clients, cohorts: Sequence[Sequence[str]], work: Work, population: int
) -> list[Tensors]:
    """Return the weights of SCAFFOLD (Karimireddy et al. 2020, arXiv 1910.06378, Algorithm 1, option II): c_i - c + (x - y_i) / (K lr)."""
    weights, history = zeros(), []
    center = zeros()
    own: dict[str, Tensors] = {}
    for cohort in cohorts:
        updates, changes = [], []
        for client in sorted(cohort):
            variate = own.get(client, zeros())
            shift = [c - c_i for c, c_i in zip(center, variate, strict=True)]
            new, steps = train(
                weights,
                *clients[client],
                work,
                lambda g, shift=shift: [a + b for a, b in zip(g, shift, strict=True)],
            )
            updates.append([y - x for y, x in zip(new, weights, strict=True)])
            own[client] = [
                c_i - c + (x - y) / (steps * work.rate)
                for c_i, c, x, y in zip(variate, center, weights, new, strict=True)
            ]
            changes.append(
                [after - before for after, before in zip(own[client], variate, strict=True)]
            )
        weights = [x + d for x, d in zip(weights, mean(updates, [1.0] * len(updates)), strict=True)]
        center = [
            c + sum(change[t] for change in changes) / population for t, c in enumerate(center)
        ]
        history.append(weights)
    return history


def fednova(clients: Clients, cohorts: Sequence[Sequence[str]], work: Work) -> list[Tensors]:
    """Return the weights of FedNova for SGD (Wang et al. 2020, arXiv 2007.07481, equation 9): a_k is the number of steps."""
    weights, history = zeros(), []
    for cohort in cohorts:
        directions, lengths, shares = [], [], []
        for client in sorted(cohort):
            new, steps = train(weights, *clients[client], work)
            directions.append([(y - x) / steps for y, x in zip(new, weights, strict=True)])
            lengths.append(float(steps))
            shares.append(float(len(clients[client][1])) if work.by_examples else 1.0)
        length = float(np.average(lengths, weights=shares))
        weights = [x + length * d for x, d in zip(weights, mean(directions, shares), strict=True)]
        history.append(weights)
    return history


def mimelite(clients: Clients, cohorts: Sequence[Sequence[str]], work: Work) -> list[Tensors]:
    """Return the weights of MimeLite with momentum (Karimireddy et al. 2021, arXiv 2008.03606, Algorithm 1)."""
    weights, history, velocity = zeros(), [], zeros()
    for cohort in cohorts:
        updates, gradients = [], []
        plain = Work(work.rate, work.epochs, work.batch_size)
        for client in sorted(cohort):
            held = velocity
            new, _ = train(
                weights,
                *clients[client],
                plain,
                lambda g, held=held: [work.momentum * v + a for v, a in zip(held, g, strict=True)],
            )
            updates.append([y - x for y, x in zip(new, weights, strict=True)])
            gradients.append(gradient(weights, *clients[client]))
        shares = [
            float(len(clients[client][1])) if work.by_examples else 1.0 for client in sorted(cohort)
        ]
        velocity = [
            work.momentum * v + g for v, g in zip(velocity, mean(gradients, shares), strict=True)
        ]
        weights = [x + d for x, d in zip(weights, mean(updates, shares), strict=True)]
        history.append(weights)
    return history


def zeros() -> Tensors:
    """Return the weights of softmax regression on digits before the first round."""
    return [np.zeros((784, 10)), np.zeros(10)]
