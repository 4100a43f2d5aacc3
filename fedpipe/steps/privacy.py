"""Privacy of a training: its accountant, made before the first round, and the rounds that the budget allows."""

from dataclasses import replace
from typing import TYPE_CHECKING

from fedpipe.config import Config
from fedpipe.types import CohortPlan

if TYPE_CHECKING:
    from fedpipe.algorithms.accountant import Accountant
    from fedpipe.algorithms.base import Algorithm


def account_of(config: Config, clients: int, plan: CohortPlan) -> "tuple[Accountant | None, CohortPlan]":
    """Return the run's accountant and the rounds of the plan within its budget; None and the plan without privacy.

    Raises:
        ConfigError, PlanError: see `fedpipe.algorithms.accountant`.
    """
    if not config.privacy.on:
        return None, plan
    from fedpipe.algorithms.accountant import account, within_budget

    accountant = account(config, clients, plan)
    allowed = within_budget(accountant)
    return replace(accountant, plan=allowed), allowed


def accounted(algorithm: "Algorithm", accountant: "Accountant | None") -> "Algorithm":
    """Return the algorithm with `privacy/epsilon` among its metrics, where there is an accountant."""
    if accountant is None:
        return algorithm
    from fedpipe.algorithms.accounted import Accounted

    return Accounted(algorithm, accountant)
