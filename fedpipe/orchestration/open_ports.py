"""What Prefect's own settings make this process listen on, beside what fedpipe serves. Nothing,
unless they say so.
"""

import ipaddress
import logging

from prefect.settings import (
    PREFECT_CLIENT_METRICS_ENABLED,
    PREFECT_CLIENT_METRICS_PORT,
    PREFECT_RUNNER_SERVER_ENABLE,
    PREFECT_RUNNER_SERVER_HOST,
    PREFECT_RUNNER_SERVER_PORT,
)

logger = logging.getLogger("flows")


def warn_of_open_ports() -> None:
    """Warn of each port that other machines would reach: neither of these servers asks for a
    password.
    """
    if PREFECT_RUNNER_SERVER_ENABLE.value() and not is_this_machine(
        PREFECT_RUNNER_SERVER_HOST.value()
    ):
        logger.warning(
            "PREFECT_RUNNER_SERVER_HOST=%s: everybody who reaches port %s there can start and stop "
            "runs, without a password. Set 127.0.0.1.",
            PREFECT_RUNNER_SERVER_HOST.value(),
            PREFECT_RUNNER_SERVER_PORT.value(),
        )
    if PREFECT_CLIENT_METRICS_ENABLED.value():
        logger.warning(
            "PREFECT_CLIENT_METRICS_ENABLED: Prefect serves its figures on port %s of all "
            "interfaces. Unset it to serve nothing.",
            PREFECT_CLIENT_METRICS_PORT.value(),
        )


def is_this_machine(host: str) -> bool:
    """Return whether a server bound to `host` is reached from this machine alone.

    >>> [is_this_machine(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
