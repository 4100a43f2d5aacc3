"""A run that is cancelled on Prefect's pages ends, also where no runner of Prefect's started it:
`fedpipe run` with a server.

A runner (`fedpipe serve`, a worker) hears of the cancellation and sends its child a SIGTERM. Here a
thread asks the server now and then and sends the SIGTERM to this process, so that both ways end
alike: the round is given up, its checkpoint saved, MLflow's run marked.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from uuid import UUID

from httpx import HTTPError
from prefect import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

EVERY_SECONDS = 2.0

logger = logging.getLogger("flows")


class Cancellable(Protocol):
    """What a flow run belongs to: a run or a sweep. `values["flow_run_id"]` is there once Prefect
    has given it.
    """

    values: dict[str, Any]


class _Watch(threading.Thread):
    """Asks the server whether the run's flow run is cancelled, until it is or the block ends."""

    def __init__(self, run: Cancellable) -> None:
        super().__init__(name="fedpipe-cancel", daemon=True)
        self._run = run
        self._over = threading.Event()
        self.cancelled = False

    @property
    def flow_run_id(self) -> UUID | None:
        """Return the flow run's id, None before Prefect has given it."""
        known = self._run.values.get("flow_run_id")
        if known:
            return UUID(str(known))
        return None

    def run(self) -> None:
        with get_client(sync_client=True) as client:
            while not self._over.wait(EVERY_SECONDS):
                if self.flow_run_id is None:
                    continue
                try:
                    state = client.read_flow_run(self.flow_run_id).state
                except ObjectNotFound:  # deleted there: nobody can cancel it any more
                    return
                except HTTPError:  # away; the flow itself says so where it matters
                    continue
                if (
                    state is not None
                    and (state.is_cancelling() or state.is_cancelled())
                    and not self._over.is_set()
                ):
                    self.cancelled = True
                    os.kill(os.getpid(), signal.SIGTERM)
                    return

    def end(self) -> None:
        """Stop asking; tell Prefect that a cancelled run has ended."""
        self._over.set()
        self.join()
        if self.cancelled and self.flow_run_id is not None:
            try:
                with get_client(sync_client=True) as client:
                    client.set_flow_run_state(
                        self.flow_run_id,
                        Cancelled(message="fedpipe gave up the round and ended."),
                        force=True,
                    )
            except HTTPError as err:
                logger.warning(
                    "flow run %s: cancelled, and Prefect's server could not be told that it is "
                    "over: %s",
                    self.flow_run_id,
                    err,
                )


@contextmanager
def ending_when_cancelled(run: Cancellable) -> Iterator[None]:
    """End this process with SIGTERM when the flow run of `run` is cancelled while the block
    runs.
    """
    watch = _Watch(run)
    watch.start()
    try:
        yield
    finally:
        watch.end()
