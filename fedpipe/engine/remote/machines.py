"""The machines of a run: who takes part, who was lost and why, who is tried again."""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from fedpipe.engine.remote.control import WorkerRefusedError, WorkerUnreachableError
from fedpipe.engine.remote.machine import Machine, RemoteRun
from fedpipe.errors import FedpipeError, WorkerError

AGAIN_SECONDS = 5.0
"""Least time between two tries to win back a machine."""

logger = logging.getLogger("fedpipe.engine")


class Machines:
    """The machines of one run. Used by the thread that calls, but for `close`."""

    def __init__(self, addresses: Sequence[str], run: RemoteRun) -> None:
        """Name them; nothing is connected."""
        self.all = [Machine(address, run) for address in addresses]
        self.longest_share_seconds = 0.0
        self._losses: list[str] = []
        self._tried: dict[str, float] = {}
        self._returning: dict[str, threading.Thread] = {}
        self._closed = False

    @property
    def here(self) -> list[Machine]:
        """Return those that take part, in the order of the settings."""
        return [machine for machine in self.all if machine.here]

    def connect(self) -> None:
        """Connect all that are not here; some that do not answer are warned of, and tried again at
        later rounds.

        Raises:
            WorkerRefusedError: one is another run's, or its versions, data or certificates differ
                from this side's.
            WorkerError: none answers; the message names each with its reason.
        """
        self._closed = False
        away = [machine for machine in self.all if not machine.here]
        if not away:
            return
        with ThreadPoolExecutor(len(away), thread_name_prefix="fedpipe-connect") as pool:
            refused = [err for err in pool.map(self._connect, away) if err is not None]
        if refused:
            raise (
                refused[0] if len(refused) == 1 else WorkerRefusedError(" ".join(map(str, refused)))
            )
        if not self.here:
            raise WorkerError(
                self.none_left("expected at least one machine of runtime.remote, found none")
            )
        for machine in away:
            if not machine.here:
                self.lose(machine, machine.reason)
        odd = [
            f"{machine.address} ({', '.join(machine.vectors)})"
            for machine in self.here
            if machine.vectors
        ]
        if odd:
            logger.warning(
                "the last bits may depend on who computes: the CPU of this machine and of %s "
                "differ.",
                "; ".join(odd),
            )

    def none_left(self, problem: str) -> str:
        """Return a message that names each machine and why it is not here."""
        reasons = "; ".join(f"{machine.address}: {machine.reason}" for machine in self.all)
        return (
            f"{problem}: {reasons}. Start `fedpipe worker` there, or take them out of "
            "runtime.remote; `fedpipe resume` continues the run."
        )

    def lose(self, machine: Machine, reason: str) -> None:
        """Give a machine up for now, and keep why for the round's report."""
        machine.drop(reason)
        machine.reason = machine.reason or reason
        self._losses.append(f"{machine.address}: {reason}")
        self._tried[machine.address] = time.monotonic()
        logger.warning(
            "machine %s is lost: %s; the others continue without it.", machine.address, reason
        )

    @property
    def losses(self) -> list[str]:
        """Return what was lost and not yet taken."""
        return list(self._losses)

    def take_losses(self) -> tuple[str, ...]:
        """Return what was lost since the last call, `host:port: why`."""
        losses = tuple(self._losses)
        self._losses = []
        return losses

    def look_again(self) -> None:
        """Try to reconnect lost machines in the background; those that answer take part from the
        next round on.
        """
        for machine in self.all:
            waited = time.monotonic() - self._tried.get(machine.address, 0.0) >= AGAIN_SECONDS
            trying = self._returning.get(machine.address)
            if machine.here:
                if machine.address in self._tried:
                    del self._tried[machine.address]
                    logger.warning("machine %s takes part again.", machine.address)
            elif waited and (trying is None or not trying.is_alive()):
                self._tried[machine.address] = time.monotonic()
                self._returning[machine.address] = threading.Thread(
                    target=self._connect, args=(machine,), daemon=True
                )
                self._returning[machine.address].start()

    def close(self) -> None:
        """End all sessions."""
        self._closed = True
        for machine in self.all:
            machine.drop("the run has ended")

    def _connect(self, machine: Machine) -> FedpipeError | None:
        try:
            machine.connect()
        except WorkerUnreachableError as err:
            machine.reason = str(err)
        except FedpipeError as err:
            machine.reason = str(err)
            return err
        if self._closed:
            machine.drop("the run has ended")
        return None
