"""Privacy of a training: its accountant, the key of its noise, and what it costs together with
earlier runs on the same clients.
"""

import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.config import Config
from fedpipe.errors import CheckpointError, ConfigError
from fedpipe.runs.context import RunContext
from fedpipe.system.atomic_files import write_atomic
from fedpipe.types import CohortPlan

if TYPE_CHECKING:
    from fedpipe.algorithms.accountant import Accountant
    from fedpipe.algorithms.base import Algorithm
    from fedpipe.data.manifest import Manifest


KEY_NAME = "noise.key"
KEY_BYTES = 32


def account_of(
    config: Config, clients: int, plan: CohortPlan
) -> "tuple[Accountant | None, CohortPlan]":
    """Return the run's accountant and the rounds of the plan within its budget; None and the plan
    without privacy.

    Raises:
        ConfigError, PlanError: see `fedpipe.algorithms.privacy_budget`.
    """
    if not config.privacy.on:
        return None, plan
    from fedpipe.algorithms.privacy_budget import account, within_budget

    accountant = account(config, clients, plan)
    allowed = within_budget(accountant)
    return replace(accountant, plan=allowed), allowed


def accounted(algorithm: "Algorithm", accountant: "Accountant | None") -> "Algorithm":
    """Return the algorithm with `privacy/epsilon` among its metrics, where there is an
    accountant.
    """
    if accountant is None:
        return algorithm
    from fedpipe.algorithms.epsilon_metric import Accounted

    return Accounted(algorithm, accountant)


def noise_key_of(config: Config, folder: Path) -> bytes | None:
    """Return the 32 secret bytes that the run draws its noise from; None if it is not private or is
    repeatable.

    They are drawn from the operating system when the run starts and kept in the folder of its
    checkpoints, which is closed to other users. A run that is resumed finds its key there, and so
    has the same noise.

    Raises:
        CheckpointError: there are checkpoints but no key, or the key is damaged or cannot be
            written.
    """
    if not config.privacy.on or config.privacy.repeatable:
        return None
    path = folder / KEY_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        if not path.exists():
            if any(folder.glob("*.safetensors")):
                raise CheckpointError(
                    f"{path}: the run has checkpoints but the key of its noise is gone, so it "
                    "cannot continue with the same noise. Start a new run."
                )
            write_atomic(path, secrets.token_bytes(KEY_BYTES), mode=0o600, sync_folder=True)
        key = path.read_bytes()
    except OSError as err:
        raise CheckpointError(
            f"{path}: the key of the run's noise cannot be written or read: {err.strerror}."
        ) from err
    if len(key) != KEY_BYTES:
        raise CheckpointError(
            f"{path}: the key of the run's noise has {len(key)} bytes instead of {KEY_BYTES}. "
            "Start a new run."
        )
    return key


def require_budget(run: RunContext, accountant: "Accountant", manifest: "Manifest") -> None:
    """Refuse a new run that could not be registered: with it the clients' models would cost more
    than `privacy.total_epsilon`.

    A run that is resumed continues: what it has released so far is released.

    Raises:
        ConfigError: the budget would be passed.
        TrackingError: the store cannot be read.
    """
    from fedpipe.lineage.privacy_total import privacy_total, released_of
    from fedpipe.runs.lineage import population_key
    from fedpipe.tracking.store import open_store

    if run.state and run.state.values.get("mlflow_run_id"):
        return
    config = run.config
    store = open_store(run.project.root, config.tracking.experiment)
    spent = released_of(accountant.spent(len(accountant.plan)))
    key = population_key(config.data, manifest.partition)
    total = privacy_total(store, key, float(config.privacy.delta or 0.0), planned=spent)
    budget = float(config.privacy.total_epsilon or 0.0)
    if total.epsilon is None or total.epsilon > budget:
        raise ConfigError(
            f"privacy.total_epsilon={budget}: with this run {total.sentence()}, more than the "
            "budget. Lower privacy.epsilon or the rounds, or leave tracking.register off and "
            "release nothing more of these clients."
        )
