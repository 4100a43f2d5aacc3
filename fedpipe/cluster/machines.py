"""The machines of a run, from its settings."""

from typing import TYPE_CHECKING

from fedpipe.config.schema import RuntimeConfig
from fedpipe.project.paths import Project

if TYPE_CHECKING:
    from fedpipe.engine.remote.machines import Machines


def machines_of(
    runtime: RuntimeConfig, project: Project, run_name: str, data_md5: str
) -> "Machines | None":
    """Return the machines of `runtime.remote`, not connected; None if the run is computed here.

    Raises:
        EnvironmentProblem: the certificates are missing, over, or do not go together.
    """
    if not runtime.remote:
        return None
    from fedpipe.engine.remote.machine import RemoteRun
    from fedpipe.engine.remote.machines import Machines
    from fedpipe.engine.remote.tls import client_context

    certificates = project.root / runtime.certs
    client_context(certificates)
    md5 = None if runtime.data == "by_value" else data_md5
    run = RemoteRun(
        run_name, certificates, md5, runtime.start_timeout_seconds, runtime.round_timeout_seconds
    )
    return Machines(runtime.remote, run)
