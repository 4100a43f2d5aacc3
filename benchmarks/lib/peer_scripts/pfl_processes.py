"""pfl-research in several processes, its guide's way to use all cores: starts the other ranks, then becomes rank 0.

A program of its own because importing pfl already connects the ranks.
"""

import os
import socket
import subprocess
import sys

MODULE = "benchmarks.lib.peer_scripts.pfl_research"


def main():
    """Start one process per usable core; the parent ends them all with this one's process group."""
    count = len(os.sched_getaffinity(0))
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    addresses = ",".join(f"localhost:{port + rank}" for rank in range(count))
    command = [sys.executable, "-m", MODULE]
    environments = [
        os.environ | {"PFL_WORKER_ADDRESSES": addresses, "PFL_WORKER_RANK": str(rank)}
        for rank in range(count)
    ]
    for environment in environments[1:]:
        subprocess.Popen(command, env=environment)
    os.execve(sys.executable, command, environments[0])  # noqa: S606 - its own program, no shell text


if __name__ == "__main__":
    main()
