"""Makes the refs of clients, which a round sends beside the server's state: where the client's
examples are, how many there are, its seed and its learning rate. A few bytes, whatever the data.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fedpipe.seeding import derive_seed


class ClientFile(Protocol):
    """One client's examples in a file, as `fedpipe.data.resident` makes it."""

    @property
    def count(self) -> int:
        """Return the number of examples."""

    def exists(self) -> bool:
        """Return whether the file is still there."""

    def read_bytes(self) -> bytes:
        """Return its content. Raises FileNotFoundError if it is gone."""

    def address(self, here: bool) -> bytes:
        """Return where a worker on this machine (`here`), or on another, finds it."""


class ClientFiles(Protocol):
    """The files of a population's clients: all that an algorithm knows of a disk."""

    def prefetch(self, client_ids: Sequence[str]) -> None:
        """Have missing files made in the background, and return at once."""

    def clients(self, client_ids: Sequence[str]) -> Sequence[ClientFile]:
        """Return the clients' files, in their order. Raises DataError if examples of one cannot be
        read.
        """


@dataclass(frozen=True)
class ClientRefs:
    """Makes the refs of a run's clients.

    Attributes:
        seed: the run's.
        by_value: whether examples are sent instead of the paths of their files.
        remote: whether clients are computed on other machines.
    """

    seed: int
    by_value: bool
    remote: bool

    def of_client(self, round_num: int, rate: float, client_id: str, client: ClientFile) -> Any:
        """Return one client's ref: `data`, `count`, `seed` and `rate`, a scalar each."""
        vectors = self.of_group(round_num, rate, {client_id: client})
        return OrderedDict((name, vector[0]) for name, vector in vectors.items())

    def of_group(
        self, round_num: int, rate: float, clients: Mapping[str, ClientFile], here: bool = False
    ) -> Any:
        """Return the refs of some clients, in their order, as vectors [clients].

        Args:
            round_num: the round.
            rate: the clients' learning rate in it.
            clients: their files.
            here: whether a worker on this machine reads the files, whatever the run's setting.
        """
        files = clients.values()
        here = here or not self.remote
        data = [file.read_bytes() if self.by_value else file.address(here) for file in files]
        seeds = [derive_seed(self.seed, "client", round_num, client_id) for client_id in clients]
        return OrderedDict(
            data=np.array(data, np.object_),
            count=np.array([file.count for file in files], np.int64),
            seed=np.array(seeds, np.int64),
            rate=np.full(len(files), rate, np.float32),
        )
