"""What the shards hold is compared with what the model takes before anything is trained; a mismatch names both sides."""

from typing import Any

import pytest

from fedpipe.config import Config
from fedpipe.data.manifest import Manifest
from fedpipe.errors import ModelError
from fedpipe.models import check_input


def manifest(**changes: Any) -> Any:
    values = {
        "source": "csv",
        "feature_dtype": "uint8",
        "feature_shape": (28, 28),
        "variable_length": False,
        "num_classes": 10,
    }
    return Manifest.model_construct(**(values | changes))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "softmax",
            {"feature_dtype": "int32"},
            r"^model\.name=softmax: expected uint8 or float32 .*source=csv has int32 .*\[28, 28\]",
        ),
        (
            "softmax",
            {"feature_dtype": "int32", "feature_shape": (7,), "variable_length": True},
            r"has int32 sequences of up to \[7\]",
        ),
        ("cnn", {"feature_shape": (5,)}, r"cnn.*expected.*found.*5"),
    ],
)
def test_a_mismatch_names_both_sides(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_input(Config.model_validate({"model": {"name": name}}), manifest(**changes))


@pytest.mark.parametrize("changes", [{}, {"feature_dtype": "float32"}, {"feature_shape": (3,)}])
def test_what_fits_passes(changes: dict[str, Any]) -> None:
    check_input(Config(), manifest(**changes))
