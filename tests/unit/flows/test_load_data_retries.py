"""Which failures of `load_data` Prefect tries again."""

from typing import Any

import pytest
from prefect.states import Failed

from fedpipe.errors import ConfigError, DataError
from flows.tasks import load_data


def lost_connection() -> DataError:
    error = DataError("mnist: the download ended early")
    error.__cause__ = ConnectionResetError()
    return error


def is_tried_again(error: Exception) -> bool:
    """Ask what Prefect asks: the task's own condition, with the state of the failed run."""
    condition: Any = load_data.retry_condition_fn
    return bool(condition(load_data, None, Failed(data=error)))


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), lost_connection()])
def test_a_lost_connection_is_tried_again(error: Exception) -> None:
    assert load_data.retries == 2
    assert is_tried_again(error)


@pytest.mark.parametrize(
    "error", [ConfigError("data.path"), DataError("row 3"), FileNotFoundError("digits.csv")]
)
def test_a_wrong_setting_or_file_is_not(error: Exception) -> None:
    assert not is_tried_again(error)
