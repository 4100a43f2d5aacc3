"""Settings: `params.yaml` to frozen, strict models."""

from fedpipe.config.load import flatten, flatten_result, load_config, parse_config
from fedpipe.config.schema import Config, DataConfig

__all__ = ["Config", "DataConfig", "flatten", "flatten_result", "load_config", "parse_config"]
