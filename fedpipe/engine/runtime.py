"""The runtime of a run: starts, replaces and ends its TFF workers, and calls them within a time
limit.

Light to import: `start` needs neither TensorFlow nor TFF, so that the workers start while these
load; `call` imports them.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from fedpipe.engine.local.worker import Worker
from fedpipe.errors import WorkerError

if TYPE_CHECKING:
    import grpc

    from fedpipe.config.schema import RuntimeConfig
    from fedpipe.engine.local.call_deadline import Guard, WorkerFaultError
    from fedpipe.engine.local.context import WorkersContext
    from fedpipe.engine.remote.machines import Machines

Result = TypeVar("Result")

logger = logging.getLogger("fedpipe.engine")


@dataclass(frozen=True)
class _Connection:
    """The channels and the context of one generation of workers; a new one is made after a fault,
    because TFF caches a worker's executors.
    """

    channels: "tuple[grpc.Channel, ...]"
    guards: "tuple[Guard, ...]"
    context: "WorkersContext"

    def close(self) -> None:
        for channel in self.channels:
            channel.close()


class Runtime:
    """Owns the TFF workers of one run. Safe to use from many threads; calls run one after another,
    as on one TFF context.

    Example:
        with Runtime(config.runtime, Path("worker.log")) as runtime:
            state = runtime.call(process.initialize, label="initial state")
    """

    def __init__(self, config: "RuntimeConfig", log_path: Path) -> None:
        """Take the settings, and the file to which all workers' output is appended. Nothing is
        started.
        """
        self._config = config
        self._log_path = log_path
        self._workers: list[Worker] = []
        self._connection: _Connection | None = None
        self._machines: Machines | None = None
        self._losses: list[str] = []
        self._restarts = self._recycled = 0
        self._isolation = "not started"
        self._closed = ""  # why no call is possible any more
        self._caller: int | None = None  # thread that is in `call`
        self._call_lock = threading.Lock()
        self._workers_lock = threading.Lock()  # short: `close` must not wait for a call

    @property
    def info(self) -> dict[str, str]:
        """Return what the run should record: `isolation` (`isolated`, `open`, or `not started`),
        `workers`; `restarts` after faults, and how often workers were `recycled` because of their
        memory; over several machines also `remote` and which were `lost`.
        """
        info = {
            "isolation": self._isolation,
            "workers": str(self._config.workers),
            "restarts": str(self._restarts),
            "recycled": str(self._recycled),
        }
        if self._machines:
            info["remote"] = ", ".join(self._config.remote)
            info["lost"] = "; ".join(self._losses) or "none"
        return info

    def attach(self, machines: "Machines") -> None:
        """Have the clients' work computed on machines; they are connected by the next call, and let
        go by `close`.
        """
        self._discard_machines()
        self._machines = machines
        self._connection = None

    def take_losses(self) -> tuple[str, ...]:
        """Return the machines that were lost since the last call, `host:port: why`; the calls went
        on without them.
        """
        if self._machines:
            return self._machines.take_losses()
        return ()

    @property
    def workers(self) -> tuple[Worker, ...]:
        """Return the workers that are started now; after a fault there are others."""
        return tuple(self._workers)

    def start(self) -> None:
        """Start the workers and return at once. Does nothing if they are started. Raises
        WorkerError once it is closed or gave up.
        """
        with self._workers_lock:
            if self._closed:
                raise WorkerError(f"this TFF runtime {self._closed}. Make a new one.")
            while len(self._workers) < self._config.workers:
                self._workers.append(Worker(self._config.isolation, self._log_path))

    def call(self, fn: Callable[..., Result], *args: Any, label: str = "a TFF call") -> Result:
        """Return `fn(*args)`, computed with the workers as TFF's execution context in this thread.

        Args:
            fn: calls TFF computations in this thread; a pure function of its arguments, for it is
                repeated after a fault.
            args: its arguments.
            label: what is being done, for messages: `round 3`.

        Raises:
            WorkerError: the workers did not start, or faults used up `runtime.max_restarts`.
            Exception: whatever `fn` raises for reasons of its own, unchanged.
        """
        if self._caller == threading.get_ident():  # fn itself calls: same context, same deadline
            return fn(*args)
        with self._call_lock:
            self._caller = threading.get_ident()
            try:
                return self._call_until_done(fn, args, label)
            finally:
                self._caller = None

    def close(self) -> None:
        """End the workers and return when they are gone; a call in another thread fails. A second
        call does nothing.
        """
        with self._workers_lock:
            self._closed = self._closed or "was closed"
        self._discard()

    def __enter__(self) -> Self:
        """Return the runtime itself, not started."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _call_until_done(
        self, fn: Callable[..., Result], args: tuple[Any, ...], label: str
    ) -> Result:
        from fedpipe.engine.local.call_deadline import WorkerFaultError

        while True:
            try:
                result = self._call_once(fn, args)
                if self._machines is not None:
                    self._losses += [f"{label}: {loss}" for loss in self._machines.losses]
                self._recycle_if_grown(label)
                return result
            except WorkerFaultError as fault:
                self._discard()
                self._count_restart(label, fault)
            except Exception:
                raise  # the caller's own, or a start that failed: no fault of a running worker
            except BaseException:
                # given up (SIGINT, cancelled): nobody needs what the worker still computes
                self._discard()
                raise

    def _call_once(self, fn: Callable[..., Result], args: tuple[Any, ...]) -> Result:
        connection = self._connect()
        import tensorflow_federated as tff

        deadline = time.monotonic() + self._config.round_timeout_seconds
        for guard in connection.guards:
            guard.deadline = deadline
        try:
            with tff.framework.get_context_stack().install(connection.context):
                return fn(*args)
        finally:
            for guard in connection.guards:
                guard.deadline = None

    def _recycle_if_grown(self, label: str) -> None:
        """Replace all workers if one has outgrown its limit; the new ones start while the caller
        does what comes between rounds.
        """
        limit = self._config.worker_memory_limit_mb
        if limit is None:
            return
        memory = max((worker.memory_mb() for worker in self.workers), default=0.0)
        if memory <= limit:
            return
        # one that is recycled each round would say so each round
        log = logger.info if self._recycled else logger.warning
        log(
            "after %s: a TFF worker of %.0f MB, over runtime.worker_memory_limit_mb=%d, is "
            "replaced.",
            *(label, memory, limit),
        )
        self._discard()
        if not self._closed:  # by another thread; then this call, which is done, was the last
            self._recycled += 1
            self.start()

    def _connect(self) -> _Connection:
        """Return the connection to live workers. Raises WorkerLostError if one ended since the last
        call.
        """
        from fedpipe.engine.local.call_deadline import Guard, WorkerLostError

        self.start()
        workers = self.workers  # `close` may empty the list meanwhile
        if self._connection is None:
            try:
                for worker in workers:
                    worker.wait_ready(self._config.start_timeout_seconds)
            except WorkerError:
                self._discard()
                raise
            # Not before: this imports TFF, and a worker that cannot start should say so at once.
            from fedpipe.engine.local.context import open_channel

            self._isolation = "isolated" if all(worker.isolated for worker in workers) else "open"
            channels = tuple(open_channel(worker.target) for worker in workers)
            guards = tuple(
                Guard(worker, channel) for worker, channel in zip(workers, channels, strict=True)
            )
            self._connection = _Connection(channels, guards, self._context(guards))
        for worker in workers:
            if not worker.alive():
                raise WorkerLostError(f"the TFF worker ended {worker.how_it_ended()}")
        return self._connection

    def _context(self, guards: "tuple[Guard, ...]") -> "WorkersContext":
        from fedpipe.engine.local.context import WorkersContext

        if self._machines is None:
            return WorkersContext(guards)
        from fedpipe.engine.remote.context import RemoteContext

        self._machines.connect()
        return RemoteContext(guards, self._machines)

    def _discard_machines(self) -> None:
        if self._machines is not None:
            self._machines.close()

    def _discard(self) -> None:
        """End all workers, the healthy ones too: they may be busy with their share of the round."""
        with self._workers_lock:
            workers = self._workers
            self._workers = []
            connection = self._connection
            self._connection = None
        for worker in workers:
            worker.begin_close()
        self._discard_machines()
        for worker in workers:
            worker.close()
        if connection is not None:
            connection.close()

    def _count_restart(self, label: str, fault: "WorkerFaultError") -> None:
        """Allow one more repetition, or raise WorkerError."""
        if self._closed:
            raise WorkerError(
                f"{label}: the TFF runtime {self._closed} before it was done."
            ) from fault
        if self._restarts >= self._config.max_restarts:
            self._give_up(label, fault)
        self._restarts += 1
        logger.warning(
            "%s: %s; restart %d of %d, repeating.",
            label,
            fault,
            self._restarts,
            self._config.max_restarts,
        )

    def _give_up(self, label: str, fault: "WorkerFaultError") -> NoReturn:
        from fedpipe.engine.local.call_deadline import RoundTimeoutError

        config = self._config
        self._closed = f"gave up at {label}"
        used = f"runtime.max_restarts={config.max_restarts} used up"
        if isinstance(fault, RoundTimeoutError):
            raise WorkerError(
                f"{label}: did not finish within "
                f"runtime.round_timeout_seconds={config.round_timeout_seconds:g}: {fault}; "
                f"{used}. Raise the limit or see {self._log_path}."
            ) from fault
        raise WorkerError(
            f"{label}: {fault}; {used}. Out of memory? See {self._log_path}, or make the cohort "
            "smaller."
        ) from fault
