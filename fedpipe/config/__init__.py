"""Settings: `params.yaml` to frozen, strict models."""

from fedpipe.config.load import load_config, parse_config, parse_recorded
from fedpipe.config.result_settings import flatten_result
from fedpipe.config.schema import Config, DataConfig, flatten

__all__ = [
    "Config",
    "DataConfig",
    "flatten",
    "flatten_result",
    "load_config",
    "parse_config",
    "parse_recorded",
]
