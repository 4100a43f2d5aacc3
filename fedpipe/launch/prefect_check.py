"""The check of Prefect for `fedpipe doctor`: the server that a run would use is started and ended,
or reached.
"""

import logging

from fedpipe.maintenance.check import Check, passed
from fedpipe.orchestration.home import use_writable_home
from fedpipe.project.paths import PREFECT_HOME, Project


def check_prefect(project: Project) -> Check:
    """Start Prefect's temporary server and end it, or ask the configured one; import the flow.

    Raises:
        EnvironmentProblem: it does not start or answer, with its reason.
    """
    use_writable_home(project)
    project.private.mkdir(parents=True, exist_ok=True)
    from prefect import __version__
    from prefect.settings import PREFECT_API_URL

    from fedpipe.orchestration.server import prefect_api

    logging.getLogger("prefect").setLevel(logging.ERROR)
    with prefect_api(
        project.private / "prefect-server.log", project.private / PREFECT_HOME
    ) as server:
        import flows.train  # noqa: F401 - what a run imports

        finding = f"PREFECT_API_URL={PREFECT_API_URL.value()} answers"
        if server is not None:
            server.wait()
            finding = f"Prefect {__version__} starts and ends a server of its own"
    return passed("prefect server", finding)
