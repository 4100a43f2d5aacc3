"""Prefect's settings that let other machines in are warned of; its defaults are not."""

import logging
from typing import Any

import pytest
from prefect.settings import (
    PREFECT_CLIENT_METRICS_ENABLED,
    PREFECT_RUNNER_SERVER_ENABLE,
    PREFECT_RUNNER_SERVER_HOST,
    temporary_settings,
)

from fedpipe.orchestration.open_ports import warn_of_open_ports


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, []),
        ({PREFECT_RUNNER_SERVER_HOST: "0.0.0.0"}, []),  # noqa: S104 - nothing is served
        ({PREFECT_RUNNER_SERVER_ENABLE: True}, []),
        (
            {PREFECT_RUNNER_SERVER_ENABLE: True, PREFECT_RUNNER_SERVER_HOST: "0.0.0.0"},  # noqa: S104
            ["PREFECT_RUNNER_SERVER_HOST=0.0.0.0"],
        ),
        ({PREFECT_CLIENT_METRICS_ENABLED: True}, ["PREFECT_CLIENT_METRICS_ENABLED"]),
    ],
)
def test_what_lets_other_machines_in_is_warned_of(
    changed: dict[Any, Any], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with temporary_settings(changed), caplog.at_level(logging.WARNING, "flows"):
        warn_of_open_ports()
    assert [record.getMessage().split(":")[0] for record in caplog.records] == said
