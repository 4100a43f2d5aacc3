"""Simulates which of a round's selected clients report, as populations of real devices do (Bonawitz
et al. 2019, arXiv 1902.01046).

Time is simulated: nobody waits. Every draw belongs to a client and a round by name,
`derive_seed(seed, name, round, client)`, so it does not depend on who else was asked.

    asked --battery, network--> dropped
          --latency > deadline--> late
          --enough reports before it--> surplus
          --> reported
"""

from collections.abc import Callable, Sequence
from math import ceil, sqrt

import numpy as np

from fedpipe.config.cohort import CohortConfig
from fedpipe.config.defaults import AVAILABLE_FRACTION, LATENCY_SIGMA
from fedpipe.data.array_types import Bools, Floats
from fedpipe.seeding import derive_seed
from fedpipe.types import Turnout

_FIRST_DAYS = 0.5
"""Fraction of a day within which the clients' days begin: so the population has days and nights
too.
"""


def is_simulated(config: CohortConfig) -> bool:
    """Return whether a round's clients may be fewer than it would like: the plan then says what
    became of everyone.
    """
    faults = (
        config.dropout_fraction
        or config.latency_median_seconds is not None
        or config.day_rounds is not None
    )
    return bool(faults) or config.strategy == "poisson"


def clients_to_ask(config: CohortConfig) -> int:
    """Return the cohort's size with over-selection.

    >>> clients_to_ask(CohortConfig(size=10, over_selection_fraction=0.25, dropout_fraction=0.1))
    13
    """
    return ceil(round(config.size * (1 + config.over_selection_fraction), 9))


def availability(
    config: CohortConfig, client_ids: Sequence[str], seed: int
) -> Callable[[int], Bools | None]:
    """Return the function from a round to bool [clients], who can be asked then; None is
    everybody.
    """
    if config.day_rounds is None:
        return lambda _: None
    day_rounds = config.day_rounds
    fraction = config.available_fraction or AVAILABLE_FRACTION
    begins = _FIRST_DAYS * _uniforms(seed, ("day",), client_ids)
    return lambda round_num: ((round_num - 1) / day_rounds + begins) % 1.0 < fraction


def turn_out(
    config: CohortConfig, asked: Sequence[str], available: int, round_num: int, seed: int
) -> Turnout:
    """Return what became of the clients that a round asked.

    Args:
        config: drop-outs, latency, deadline; `size`, the number of reports after which an
            over-selected round ends.
        asked: client ids.
        available: number of clients that could have been asked.
        round_num: the round.
        seed: the run's.
    """
    ids = np.array(asked, np.object_)
    dropped = _uniforms(seed, ("dropout", round_num), asked) < config.dropout_fraction
    seconds = None
    late = np.zeros(len(ids), np.bool_)
    if config.latency_median_seconds is not None:
        seconds = latencies(config, asked, round_num, seed)
        late = ~dropped & (seconds > (config.round_deadline_seconds or np.inf))
    in_time = np.flatnonzero(~dropped & ~late)
    surplus = in_time[:0]
    if config.over_selection_fraction:
        arrival = seconds if seconds is not None else _uniforms(seed, ("arrival", round_num), asked)
        in_order = in_time[np.argsort(arrival[in_time], kind="stable")]
        in_time = np.sort(in_order[: config.size])
        surplus = np.sort(in_order[config.size :])
    took = None
    if seconds is not None:
        full = bool(config.over_selection_fraction) and len(in_time) == config.size
        took = float(seconds[in_time].max(initial=0.0))
        if config.round_deadline_seconds is not None and not full and (dropped.any() or late.any()):
            took = config.round_deadline_seconds  # the server waits for who does not come
    return Turnout(
        tuple(ids[in_time]),
        tuple(ids[dropped]),
        tuple(ids[late]),
        tuple(ids[surplus]),
        available,
        took,
    )


def latencies(config: CohortConfig, client_ids: Sequence[str], round_num: int, seed: int) -> Floats:
    """Return float64 [clients], simulated seconds from asking to the report: median * exp(sigma (a
    + b) / sqrt 2).

    a ~ N(0, 1) is the client's in all rounds, a slow device stays slow; b ~ N(0, 1) is this
    round's.
    """
    sigma = LATENCY_SIGMA if config.latency_sigma is None else config.latency_sigma
    own = _normals(seed, ("speed",), client_ids)
    now = _normals(seed, ("latency", round_num), client_ids)
    seconds: Floats = (config.latency_median_seconds or 0.0) * np.exp(sigma * (own + now) / sqrt(2))
    return seconds


def _uniforms(seed: int, names: tuple[str | int, ...], client_ids: Sequence[str]) -> Floats:
    """Return float64 [clients] in (0, 1]: each a function of the seed, the names and its client."""
    seeds = [derive_seed(seed, *names, client_id) for client_id in client_ids]
    draws: Floats = (np.array(seeds, np.float64) + 1) / 2.0**63
    return draws


def _normals(seed: int, names: tuple[str | int, ...], client_ids: Sequence[str]) -> Floats:
    """Return float64 [clients], N(0, 1), by Box and Muller (1958)."""
    radius = _uniforms(seed, ("radius", *names), client_ids)
    angle = _uniforms(seed, ("angle", *names), client_ids)
    draws: Floats = np.sqrt(-2 * np.log(radius)) * np.cos(2 * np.pi * angle)
    return draws
