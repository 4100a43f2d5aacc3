"""Who took part in each round, and the SHA-256 of its weights, for questions asked later.

`weights.jsonl` has one line per round: the SHA-256 of the weights and of each tensor, the clients
that failed, the number of examples that were processed. `clients.parquet` is made of it and the
plan at the end. A round does not wait for its hashes, which take milliseconds for a million weights: a
thread computes them during the next round, and the line is on disk before that of the next round is
begun. So a checkpoint is at most one line ahead, and a resumed run sends that round again.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.config.schema import ClientConfig
from fedpipe.runs.lineage import LINEAGE
from fedpipe.runs.optional_parts import PARTICIPATION, Parts
from fedpipe.system.background_writer import BackgroundWriter
from fedpipe.system.json_lines import append_line, repaired_lines
from fedpipe.tracking.participation import (
    CLIENTS_NAME,
    FAILED,
    REPORTED,
    ClientRound,
    write_clients,
)
from fedpipe.types import CohortPlan, RoundReport, weights_sha256

if TYPE_CHECKING:
    from fedpipe.tracking.journaled_run import JournaledRun

WEIGHTS_NAME = "weights.jsonl"

logger = logging.getLogger(__name__)


class History:
    """A `RoundSink` that keeps each round once, also over interruptions: it continues what an
    earlier try of the run left.
    """

    def __init__(
        self, folder: Path, plan: CohortPlan, client: ClientConfig, held: Callable[[str], int]
    ) -> None:
        """Continue where the folder's files end.

        Args:
            folder: for the files; made if it is not there.
            plan: the run's cohorts.
            client: the settings of client work.
            held: gives the number of training examples of a client.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.weights_path = folder / WEIGHTS_NAME
        self.clients_path = folder / CLIENTS_NAME
        self._plan = plan
        self._client = client
        self._held = held
        self._rounds: dict[int, dict[str, Any]] = {
            int(line["round"]): line for line in repaired_lines(self.weights_path)
        }
        self._writer = BackgroundWriter("fedpipe-history")

    def round_done(self, report: RoundReport) -> None:
        """Keep the round; skip one that is there already."""
        self.flush()
        if report.round_num not in self._rounds:
            self._writer.submit(self._keep, report)

    def flush(self) -> None:
        """Wait until the last round is on disk. Raises OSError if it is not."""
        self._writer.flush()

    def close(self) -> None:
        """End the thread."""
        self._writer.close()

    def _keep(self, report: RoundReport) -> None:
        line = {
            "round": report.round_num,
            "sha256": weights_sha256(report.weights),
            "tensors": {
                name: weights_sha256({name: value}) for name, value in report.weights.items()
            },
            "failed": list(report.failed),
            "examples": report.examples,
        }
        append_line(self.weights_path, line)
        self._rounds[report.round_num] = line

    def write_clients(self) -> None:
        """Write the table of the clients for the rounds so far."""
        self.flush()
        write_clients(self.clients_path, self._rows())

    def _rows(self) -> Iterator[ClientRound]:
        for number in sorted(self._rounds):
            if number == 0:
                continue
            line = self._rounds[number]
            failed = set(line["failed"])
            examples = {
                client_id: processed(self._client, self._held(client_id))
                for client_id in self._plan.cohort(number)
                if client_id not in failed
            }
            if sum(examples.values()) != line["examples"]:
                # An algorithm of the user's own that goes through them in its own way: what each
                # holds is what is known.
                examples = {client_id: self._held(client_id) for client_id in examples}
            yield from (
                ClientRound(number, client_id, REPORTED, count)
                for client_id, count in examples.items()
            )
            yield from (ClientRound(number, client_id, FAILED, 0) for client_id in failed)
            if self._plan.turnouts:
                turnout = self._plan.turnouts[number - 1]
                for status, absent in (
                    ("dropped", turnout.dropped),
                    ("late", turnout.late),
                    ("surplus", turnout.surplus),
                ):
                    yield from (ClientRound(number, client_id, status, 0) for client_id in absent)


@contextmanager
def logged(history: History, run: "JournaledRun", parts: Parts) -> Iterator[None]:
    """Log the history of the rounds that the block runs when it ends, also by an error: weights of
    a run that failed are kept, too.

    After the last round it is one of the run's `parts`, which may fail without the others.
    """
    try:
        yield
    except BaseException:
        try:
            _log(history, run)
        except OSError as err:  # such as a full disk; the first error is raised all the same
            logger.warning(
                "%s: who took part in the rounds so far is not recorded: %s",
                history.clients_path,
                err,
            )
        raise
    else:
        history.flush()
        parts.attempt(PARTICIPATION, lambda: _log(history, run))
    finally:
        history.close()


def _log(history: History, run: "JournaledRun") -> None:
    history.write_clients()
    for path in (history.weights_path, history.clients_path):
        if path.exists():
            run.log_file(path, LINEAGE)


def processed(client: ClientConfig, count: int) -> int:
    """Return how many examples a client with `count` of them processes in a round, each epoch
    counted.

    >>> processed(ClientConfig(batch_size=20, epochs=2), 50), processed(ClientConfig(batch_size=20, epochs=2, max_steps=4), 50)
    (100, 70)
    """
    steps_per_epoch = -(-count // client.batch_size)
    steps = steps_per_epoch * client.epochs
    if client.max_steps is None or client.max_steps >= steps:
        return count * client.epochs
    whole, left = divmod(client.max_steps, steps_per_epoch)
    return whole * count + left * client.batch_size
