"""The machines of a run: their addresses, and which settings cannot be spread over them."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator

from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.config.group_settings import each_client_by

REMOTE_GROUPS = 12
"""Groups of a round's clients where `runtime.remote` is set and `runtime.groups` is not. A
constant, so that the result does not depend on how many machines there are or on their cores;
twelve can be shared out evenly to 2, 3, 4 and 6.
"""

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})", re.ASCII)


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port`; an IPv6 address is in brackets. Raises ValueError on
    anything else.

    >>> split_address("[fd00::2]:7100")
    ('fd00::2', 7100)
    """
    match = _ADDRESS.fullmatch(address)
    if not match or int(match[3]) > 65535:
        raise ValueError(
            f"expected host:port, such as worker1:7100 or [fd00::2]:7100, found {address!r}"
        )
    return match[1] or match[2], int(match[3])


def _checked(address: str) -> str:
    if split_address(address)[1] == 0:
        raise ValueError(f"runtime.remote: expected a port from 1 to 65535, found {address!r}")
    return address


Address = Annotated[str, AfterValidator(_checked)]
"""`host:port` of a `fedpipe worker`."""


def problem_of_remote(config: Any) -> str | None:
    """Return why the settings cannot be computed on `runtime.remote`, None if they can or if it is
    not set.
    """
    runtime = config.runtime
    if not runtime.remote:
        return None
    if len(set(runtime.remote)) < len(runtime.remote):
        twice = sorted({address for address in runtime.remote if runtime.remote.count(address) > 1})
        return f"runtime.remote names {', '.join(twice)} twice. Name each machine once."
    if runtime.workers > 1:
        return (
            f"runtime.workers={runtime.workers} is set but runtime.remote ignores it: clients are "
            "spread over its machines. Remove one."
        )
    if runtime.worker_memory_limit_mb is not None:
        return (
            f"runtime.worker_memory_limit_mb={runtime.worker_memory_limit_mb} is set but "
            "runtime.remote ignores it: it replaces workers of this machine. Remove one."
        )
    if runtime.debug:
        return (
            "runtime.debug=True computes in this process, but runtime.remote is set. Remove one "
            "of them."
        )
    named = ALGORITHMS.get(config.algorithm.name)
    whole = "cannot be spread over the machines of runtime.remote"
    next_step = "Set runtime.remote: []."
    if named is not None and named.ignored("runtime.groups"):
        return (
            f"algorithm.name={config.algorithm.name} {whole}: it does not compute its clients in "
            f"groups. {next_step}"
        )
    if config.privacy.on:
        return (
            f"privacy.mechanism={config.privacy.mechanism} {whole}: noise is added to what each "
            f"client sends, not to sums of groups. {next_step}"
        )
    reader = each_client_by(config)
    if reader:
        return (
            f"{reader} {whole}: it must see each client's update, not sums of groups. {next_step}"
        )
    return None
