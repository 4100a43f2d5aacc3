"""Which settings the result of a run depends on: a resumed run must have the same."""

from typing import Any

from fedpipe.config.schema import Config, flatten

PLACES = ("runtime.remote", "runtime.certs")
"""Settings that say where a run computes, and nothing about what: a resumed run may have others."""


def flatten_result(config: Config) -> dict[str, Any]:
    """Return the settings by dotted key that a run's result may depend on: without those that only
    say where it is computed.
    """
    return {key: value for key, value in flatten(config).items() if key not in PLACES} | {
        "runtime.groups": config.runtime.set_groups
    }
