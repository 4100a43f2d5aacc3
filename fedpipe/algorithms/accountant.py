"""Epsilon by round: a pure function of the settings, the number of clients and the plan, known
before the first round.

The protected unit is a client: all its examples, in all rounds. With z the noise multiplier, by
`cohort.strategy`:

    poisson          add or remove a client; a round is a Gaussian mechanism on a Poisson sample,
                     q = cohort.size / clients
    uniform          replace a client by another: its update may move the sum by 2 clip_norm, so
                     the Gaussian has z / 2; a sample of cohort.size without replacement
    fixed, shuffled, replace a client's updates by zero (Kairouz et al. 2021, arXiv 2103.00039,
    min_separation   Definition 1.1); no amplification: as many Gaussian mechanisms as the client
                     with most rounds has in the plan

`tree` is the last relation too: a tree of s rounds, none of which a client has two of, is
ceil(log2(s + 1)) Gaussian mechanisms (arXiv 2103.00039, Appendix D). `adaptive` is `gaussian` to
the accountant: its z pays for the noisy count of clipped updates as well (see `split_noise`). How
mechanisms compose: `loss_distributions`.
"""

import json
import math
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import dp_accounting

from fedpipe.algorithms.epsilon_composition import ACCOUNTANTS, Mechanism, epsilon_of
from fedpipe.config import Config
from fedpipe.config.cohort import CohortConfig
from fedpipe.types import CohortPlan

Relation = dp_accounting.NeighboringRelation
NEIGHBOURS = {
    Relation.ADD_OR_REMOVE_ONE: "add or remove one client",
    Relation.REPLACE_ONE: "replace one client by another",
    Relation.REPLACE_SPECIAL: "replace one client's updates by zero",
}
SAMPLING = {
    "poisson": "Poisson: each client with probability {size}/{clients}, independently",
    "uniform": "uniform: {size} of {clients} clients without replacement, each round anew",
}
REPEATABLE = (
    "drawn from the run's seed (privacy.repeatable): epsilon protects nobody, it "
    "describes the method alone"
)
COUNT_STDDEV_FRACTION = 0.05


def split_noise(noise: float, cohort: CohortConfig) -> tuple[float, float]:
    """Return how `adaptive` splits its noise: noise multiplier of the sum, standard deviation of
    the noise on the count.

    A client whose norm is below the clip counts +1/2, else -1/2. With z = `noise` the two together
    cost what noise z alone costs:

        z^-2 = z_sum^-2 + (2 sigma)^-2   where a client comes or goes with its count, which moves by
                                         1/2 (Andrew et al. 2021, arXiv 1905.03871, Theorem 1); a
                                         client replaced by another moves sum and count by twice as
                                         much
        z^-2 = z_sum^-2 + sigma^-2       where its update becomes zero, which is counted still: the
                                         count moves by 1

    sigma is the usual 1/20 of the cohort, but never so small that it takes more than a quarter of
    the budget: 1.16 z are left then.

    >>> [round(value, 3) for value in split_noise(4.0, CohortConfig(strategy="fixed"))]
    [4.619, 8.0]
    """
    if not noise:
        return 0.0, 0.0
    moves = 0.5 if cohort.strategy in SAMPLING else 1.0
    count_stddev = max(COUNT_STDDEV_FRACTION * cohort.size, 2 * moves * noise)
    return (noise**-2 - (count_stddev / moves) ** -2) ** -0.5, count_stddev


@dataclass(frozen=True)
class Accountant:
    """The accountant of one run.

    Attributes:
        config: the settings, with `privacy.noise_multiplier` known.
        clients: number of clients that may be sampled.
        plan: the cohort of every round.
    """

    config: Config
    clients: int
    plan: CohortPlan

    @property
    def relation(self) -> Any:
        """Return dp_accounting's name of the neighbouring relation."""
        if self.config.privacy.mechanism == "tree":
            return Relation.REPLACE_SPECIAL
        strategies = {"poisson": Relation.ADD_OR_REMOVE_ONE, "uniform": Relation.REPLACE_ONE}
        return strategies.get(self.config.cohort.strategy, Relation.REPLACE_SPECIAL)

    def mechanism(self, round_num: int) -> tuple[Mechanism, int]:
        """Return the mechanism that released rounds 1..`round_num`, and how many times a client
        meets it in them.
        """
        privacy = self.config.privacy
        cohort = self.config.cohort
        noise = float(privacy.noise_multiplier or 0.0)
        if privacy.mechanism == "tree":
            steps = min(round_num, privacy.restart_rounds or len(self.plan))
            return Mechanism("gaussian", noise), self._most_rounds[round_num - 1] * math.ceil(
                math.log2(steps + 1)
            )
        if cohort.strategy == "poisson":
            return Mechanism("poisson", noise, cohort.size / self.clients), round_num
        if cohort.strategy == "uniform":
            asked = max(map(len, self.plan.cohorts))
            return Mechanism("without_replacement", noise / 2, asked / self.clients), round_num
        return Mechanism("gaussian", noise), self._most_rounds[round_num - 1]

    def epsilon(self, round_num: int) -> float:
        """Return epsilon after round `round_num`, for `privacy.delta`; 0 before the first, infinite
        without noise.
        """
        if round_num == 0:
            return 0.0
        if not self.config.privacy.noise_multiplier:
            return math.inf
        mechanism, count = self.mechanism(round_num)
        return epsilon_of([(mechanism, count)], float(self.config.privacy.delta or 0.0))

    def rounds_within(self, budget: float) -> int:
        """Return how many rounds of the plan have an epsilon of at most `budget`."""
        # epsilon never falls from round to round
        low = 0
        high = len(self.plan)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.epsilon(middle) <= budget else (low, middle - 1)
        return low

    @property
    def info(self) -> dict[str, str]:
        """Return what the run's page says of its privacy."""
        privacy = self.config.privacy
        cohort = self.config.cohort
        sampling = SAMPLING.get(
            cohort.strategy, "none: rounds of a client are known beforehand ({strategy})"
        )
        if privacy.mechanism == "tree":
            sampling = "none: at most one round of a client in each tree ({strategy})"
        return {
            "privacy.mechanism": privacy.mechanism,
            "privacy.noise_multiplier": repr(privacy.noise_multiplier),
            **self.spent(len(self.plan)),
            "privacy.delta": repr(privacy.delta),
            "privacy.neighbours": NEIGHBOURS[self.relation],
            "privacy.sampling": sampling.format(
                size=cohort.size, clients=self.clients, strategy=cohort.strategy
            ),
            "privacy.accountant": ACCOUNTANTS[self.mechanism(len(self.plan))[0].kind],
            "privacy.covers": self._covers,
            "privacy.noise": REPEATABLE
            if privacy.repeatable
            else "drawn from a secret key of the run's own",
        }

    @property
    def _covers(self) -> str:
        """Return what epsilon is about, and what it is not."""
        if self.config.privacy.repeatable:
            return REPEATABLE
        text = (
            "the server's weights, if the plan is secret; metrics under train/ and test/, figures "
            "of single clients, the plan and the list of failed clients are not covered"
        )
        if self.config.privacy.public_validation:
            text += (
                "; nor is what validation examples choose (best round, early stop, champion): "
                "privacy.public_validation declares them public"
            )
        return text

    def released(self, round_num: int) -> list[tuple[Mechanism, int]]:
        """Return what rounds 1..`round_num` released, for neighbours that differ by one client
        whose updates are zero.

        Every run has these in common, so that what several runs released can be composed
        (`privacy.total`). A client that is replaced by another may be replaced by one whose updates
        are zero; a client that is left out of a Poisson sample adds nothing to the sum either, but
        with `adaptive` its zero update is counted, by up to 1 where leaving it out moves the count
        by 1/2.
        """
        mechanism, count = self.mechanism(round_num)
        if (
            self.config.privacy.mechanism == "adaptive"
            and mechanism.kind == "poisson"
            and mechanism.noise
        ):
            sum_noise, count_stddev = split_noise(mechanism.noise, self.config.cohort)
            mechanism = replace(mechanism, noise=(sum_noise**-2 + count_stddev**-2) ** -0.5)
        return [(mechanism, count)]

    def spent(self, round_num: int) -> dict[str, str]:
        """Return the tags that say what rounds 1..`round_num` cost; `privacy.released` composes
        with other runs (`privacy_total`).
        """
        tags = {"privacy.epsilon": self.epsilon_text(round_num)}
        if self.config.privacy.noise_multiplier and not self.config.privacy.repeatable:
            parts = [
                {**asdict(mechanism), "count": count}
                for mechanism, count in self.released(round_num)
            ]
            tags["privacy.released"] = json.dumps(parts)
        return tags

    def epsilon_text(self, round_num: int) -> str:
        """Return epsilon after round `round_num`, as a tag has it."""
        end = self.epsilon(round_num)
        if math.isinf(end):
            return "infinite"
        return repr(end)

    def summary(self, round_num: int) -> dict[str, Any]:
        """Return the same in short, for the summary of a run that ended after `round_num`;
        `epsilon` is None without noise.
        """
        end = self.epsilon(round_num)
        info = self.info
        short = {
            key: info[f"privacy.{key}"]
            for key in ("mechanism", "neighbours", "sampling", "accountant", "noise")
        }
        numbers = {
            "noise_multiplier": self.config.privacy.noise_multiplier,
            "delta": self.config.privacy.delta,
        }
        return {"epsilon": None if math.isinf(end) else end, **numbers, **short}

    @cached_property
    def _most_rounds(self) -> list[int]:
        """Return for each round how many rounds, up to it, the client has that has most."""
        seen: Counter[str] = Counter()
        most = 0
        counts = []
        for cohort in self.plan.cohorts:
            seen.update(cohort)
            most = max([most, *(seen[client] for client in cohort)])
            counts.append(most)
        return counts
