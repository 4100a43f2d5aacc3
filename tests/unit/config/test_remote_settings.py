"""The settings of a run over several machines."""

from typing import Any

import pytest

from fedpipe.config import flatten_result, parse_config
from fedpipe.config.remote import REMOTE_GROUPS
from fedpipe.errors import ConfigError

REMOTE = {"remote": ["worker1:7100", "10.1.0.2:7100", "[fd00::2]:7100"]}


@pytest.mark.parametrize(
    "address",
    [
        "worker1",
        "worker1:",
        "worker1:0",
        "worker1:70000",
        "fd00::2:7100x",
        "http://worker1:7100",
        "a b:1",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        parse_config({"runtime": {"remote": [address]}}, "params.yaml")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"aggregator": {"name": "median"}},
            r"aggregator\.name=median cannot be spread over the machines of runtime\.remote: it must see",
        ),
        ({"aggregator": {"clipping": True}}, r"aggregator\.clipping=True cannot be spread"),
        (
            {"aggregator": {"compression_bits": 8}},
            r"aggregator\.compression_bits=8 cannot be spread",
        ),
        (
            {"algorithm": {"name": "scaffold"}},
            r"algorithm\.name=scaffold cannot be spread .* does not compute its clients in groups",
        ),
        (
            {"algorithm": {"name": "fedavg_reference"}},
            r"algorithm\.name=fedavg_reference cannot be spread",
        ),
        (
            {
                "privacy": {
                    "mechanism": "gaussian",
                    "clip_norm": 0.5,
                    "noise_multiplier": 1.0,
                    "delta": 1e-4,
                },
                "cohort": {"strategy": "poisson"},
            },
            r"privacy\.mechanism=gaussian cannot be spread .* noise is added to what each client sends",
        ),
        (
            {"runtime": {**REMOTE, "workers": 2}},
            r"runtime\.workers=2 is set but runtime\.remote ignores it",
        ),
        (
            {"runtime": {**REMOTE, "debug": True}},
            r"runtime\.debug=True computes in this process, but runtime\.remote is set",
        ),
        (
            {"runtime": {**REMOTE, "worker_memory_limit_mb": 900}},
            r"runtime\.worker_memory_limit_mb=900 is set but runtime\.remote ignores it",
        ),
        ({"runtime": {"remote": ["a:1", "a:1"]}}, r"runtime\.remote names a:1 twice"),
    ],
)
def test_what_cannot_be_spread_says_so_before_anything_starts(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({"runtime": REMOTE} | settings, "params.yaml")


def test_where_a_run_computes_is_no_part_of_what_it_computes() -> None:
    spread = parse_config({"runtime": REMOTE}, "params.yaml")
    fewer = parse_config({"runtime": {"remote": ["other:1"], "certs": "elsewhere"}}, "params.yaml")
    here = parse_config({"runtime": {"groups": REMOTE_GROUPS}}, "params.yaml")
    assert flatten_result(spread) == flatten_result(fewer) == flatten_result(here)
    assert flatten_result(spread) != flatten_result(parse_config({}, "params.yaml"))
