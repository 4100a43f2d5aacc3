"""Which settings the result of a run depends on: a resumed run must have the same."""

from typing import Any

from fedpipe.config.schema import Config, flatten, known_settings

PLACES = ("runtime.remote", "runtime.certs")
"""Settings that say where a run computes, and nothing about what: a resumed run may have others."""


ADDED = (
    "data.preprocess",
    "data.options",
    "task.kind",
    "task.loss",
    "task.label_smoothing",
    "task.class_weights",
    "task.gamma",
    "task.delta",
    "task.metrics",
    "task.choose_by",
    "task.options",
    "model.batch_norm",
    "model.initial",
    "model.trainable",
    "model.options",
    "algorithm.options",
    "client.augment",
)
"""Settings that came after version 0.1.0. One that has its default is left out, so that runs of
before are resumed and reproduced.
"""


def flatten_result(config: Config) -> dict[str, Any]:
    """Return the settings by dotted key that a run's result may depend on: without those that only
    say where it is computed.
    """
    settings = {key: value for key, value in flatten(config).items() if key not in PLACES}
    for key in ADDED:
        if settings[key] == known_settings()[key].default:
            del settings[key]
    return settings | {"runtime.groups": config.runtime.set_groups}
