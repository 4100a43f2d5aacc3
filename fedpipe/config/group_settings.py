"""Which settings have a round's clients computed in groups."""

from typing import Any

from fedpipe.config.algorithm_table import ALGORITHMS


def computes_in_groups(config: Any) -> bool:
    """Return whether the settings have clients computed in groups, so that `runtime.groups` is part
    of the result.

    Of an algorithm of the user's own only its code knows: False.
    """
    named = ALGORITHMS.get(config.algorithm.name)
    known = named is not None and not named.ignored("runtime.groups")
    return known and not config.runtime.debug and each_client_by(config) is None


def each_client_by(config: Any) -> str | None:
    """Return the setting that asks for each client's update, so that sums of groups are not enough;
    None if none does.

    >>> from fedpipe.config import Config
    >>> each_client_by(Config.model_validate({"aggregator": {"name": "median"}}))
    'aggregator.name=median'
    """
    if config.privacy.on:
        return f"privacy.mechanism={config.privacy.mechanism}"
    for key, value in config.aggregator:
        if value not in ("mean", False, None):
            return f"aggregator.{key}={value}"
    return None
