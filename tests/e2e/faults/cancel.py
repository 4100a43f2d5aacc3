"""A flow run is cancelled on Prefect's server while it trains."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.e2e.faults.clone import Clone, Outcome
from tests.e2e.faults.kills import AFTER_ROUND, END_SECONDS, status_in_store
from tests.e2e.faults.stores import free_port, server


def cancelled(clone: Clone, folder: Path) -> Outcome:
    """`fedpipe run` with a Prefect server, and the flow run is cancelled there; then `fedpipe resume`."""
    name, port = "cancelled in Prefect", free_port()
    url = f"http://127.0.0.1:{port}/api"
    program = str(Path(sys.executable).with_name("prefect"))
    command = [program, "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    own = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")} | {
        "PREFECT_HOME": str(folder / "prefect")
    }
    with server(command, f"{url}/health", folder, own):
        point = f"done@{AFTER_ROUND}"
        with clone.running(holds=[point], PREFECT_API_URL=url) as process:
            clone.hold(process, point)
            state = (
                json.loads((clone.newest_run / "run_state.json").read_text(encoding="utf-8"))
                if clone.newest_run
                else {}
            )
            start = time.monotonic()
            _call(
                f"{url}/flow_runs/{state['flow_run_id']}/set_state",
                {"state": {"type": "CANCELLING"}},
            )
            try:
                code = process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                return Outcome(name, False, note=f"it did not end within {END_SECONDS:g} s")
            seconds = time.monotonic() - start
        said, status = (
            _call(f"{url}/flow_runs/{state['flow_run_id']}")["state_type"],
            status_in_store(clone),
        )
        if (code, said, status) != (143, "CANCELLED", "KILLED"):
            return Outcome(
                name,
                False,
                note=f"expected exit code 143, CANCELLED and KILLED, found {code}, {said} and {status}",
            )
    return clone.judge(name, clone.resume(), f"ended in {seconds:.1f} s with {code}")


def _call(url: str, body: "dict[str, Any] | None" = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - own server
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.load(answer)
