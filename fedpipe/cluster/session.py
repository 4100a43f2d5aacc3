"""A run's use of a worker on this machine, and who asks for it."""

import threading
from dataclasses import dataclass, field

from fedpipe.cluster.worker_data import WorkerData
from fedpipe.engine.local.worker import Worker
from fedpipe.errors import WorkerError
from fedpipe.project.paths import Project


@dataclass(frozen=True)
class Who:
    """Who asks for a session.

    Attributes:
        run: name of the run.
        runner: machine and process, for messages.
        instance: the process's run alone.
        certificate: the client's, as DER.
    """

    run: str
    runner: str
    instance: str
    certificate: bytes


@dataclass
class Session:
    """A run's use of this worker."""

    token: str
    who: Who
    worker: Worker
    project: Project
    cache_max_bytes: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    brought: WorkerData | None = None

    def bring(self, md5: str) -> WorkerData:
        """Have the data of an md5 here. Raises DataError."""
        with self.lock:
            self.brought = WorkerData(self.project, md5, self.cache_max_bytes)
            return self.brought

    def data(self) -> WorkerData:
        """Return the data of the session. Raises WorkerError if it has none."""
        with self.lock:
            if self.brought is None:
                raise WorkerError("expected the run to name its data first, it did not.")
            return self.brought
