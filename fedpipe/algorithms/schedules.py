"""Learning rates by round: a pure function of the settings and the round number, so that a
resumed run has the same rates.

The rate of a round travels to the worker as a number (clients: in their refs; server: in its
optimizer's state), so nothing is compiled anew.
"""

from math import cos, pi
from typing import Any, NamedTuple

import numpy as np

from fedpipe.config import Config
from fedpipe.config.defaults import DECAY_RATE, DECAY_ROUNDS, FINAL_FRACTION, or_default
from fedpipe.config.schema import ClientConfig, Scheduled, ServerConfig


def rate_of_round(side: ClientConfig | ServerConfig, rounds: int, round_num: int) -> float:
    """Return the learning rate of round `round_num`, 1 to `rounds`.

    With w = `warmup_rounds` and f = `final_fraction`: round r <= w has r/w of the rate; then, t = r
    - 1 - w,

        constant      rate
        exponential   rate decay_rate ** (t / decay_rounds)
        cosine        rate (f + (1 - f) (1 + cos(pi t / (rounds - w))) / 2)
                      (Loshchilov and Hutter 2017, arXiv 1608.03983, equation 5)

    >>> [rate_of_round(ClientConfig(learning_rate=1.0, schedule="cosine"), 4, r) for r in (1, 3)]
    [1.0, 0.5]
    >>> rate_of_round(ClientConfig(learning_rate=1.0, warmup_rounds=4), 10, 1)
    0.25
    """
    warmup = side.warmup_rounds
    if round_num <= warmup:
        return side.learning_rate * round_num / warmup
    passed = round_num - 1 - warmup
    if side.schedule == "exponential":
        decay_rate = or_default(side.decay_rate, DECAY_RATE)
        return float(
            side.learning_rate * decay_rate ** (passed / (side.decay_rounds or DECAY_ROUNDS))
        )
    if side.schedule == "cosine":
        last = side.final_fraction or FINAL_FRACTION
        return side.learning_rate * (
            last + (1 - last) * (1 + cos(pi * passed / (rounds - warmup))) / 2
        )
    return side.learning_rate


class Rates(NamedTuple):
    """The learning rates of a round; `None` where every round has the optimizer's own."""

    client: float
    server: float | None


def rates_of_round(config: Config, round_num: int) -> Rates:
    """Return the rates of round `round_num`."""
    server = (
        None
        if _is_constant(config.server)
        else rate_of_round(config.server, config.rounds, round_num)
    )
    return Rates(rate_of_round(config.client, config.rounds, round_num), server)


def with_server_rate(state: Any, rate: float | None) -> Any:
    """Return the server state with the optimizer's learning rate set; TFF's optimizers keep it in
    their state.
    """
    if rate is None:
        return state
    return state | {"optimizer": state["optimizer"] | {"learning_rate": np.float32(rate)}}


def rate_metrics(config: Config, rates: Rates) -> dict[str, float]:
    """Return the rates by metric key; only those that change from round to round."""
    metrics = {} if _is_constant(config.client) else {"client/learning_rate": rates.client}
    if rates.server is None:
        return metrics
    return metrics | {"server/learning_rate": rates.server}


def _is_constant(side: Scheduled) -> bool:
    return side.schedule == "constant" and not side.warmup_rounds
