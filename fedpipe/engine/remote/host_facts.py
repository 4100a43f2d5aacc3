"""Facts of a host that both sides of a run over several machines compare: versions, which must be
the same, and CPU flags, which decide the last bits. Imports no TensorFlow.
"""

from collections.abc import Mapping
from typing import Any

from fedpipe import __version__
from fedpipe.system.host import cpu_flags, package_version
from fedpipe.system.resources import usable_cores

PROTOCOL = 1
"""Version of the control connection and of resident files; sides of two versions cannot work
together.
"""
SAME = ("protocol", "fedpipe", "tensorflow", "tensorflow-federated")
_VECTORS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512", "amx")
"""Beginnings of the CPU flags by which TensorFlow and oneDNN choose their kernels, and so the last
bits.
"""


def facts() -> dict[str, Any]:
    """Return this side's: `protocol`, versions by package, `vectors` (the CPU's flags), `cores`
    that may be used.
    """
    packages = {name: package_version(name) for name in ("tensorflow", "tensorflow-federated")}
    return {
        "protocol": PROTOCOL,
        "fedpipe": __version__,
        **packages,
        "vectors": sorted({flag for flag in cpu_flags() if flag.startswith(_VECTORS)}),
        "cores": usable_cores(),
    }


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Return what must be the same and is not, with both values.

    >>> differences({"fedpipe": "0.2"}, {"fedpipe": "0.1"})
    ['fedpipe 0.2 here, 0.1 there']
    """
    return [
        f"{name} {mine.get(name)} here, {theirs.get(name)} there"
        for name in SAME
        if mine.get(name) != theirs.get(name)
    ]


def other_vectors(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Return the CPU flags that one side alone has: where there are some, the last bits may differ
    between the machines.
    """
    return sorted(set(mine["vectors"]) ^ set(theirs["vectors"]))
