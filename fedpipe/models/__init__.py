"""Named architectures: what goes in, the initial weights, the logits; and evaluation of weights on
pooled examples.
"""

from fedpipe.models.catalog import build_model, check_input
from fedpipe.models.spec import ModelSpec

__all__ = ["ModelSpec", "build_model", "check_input"]
