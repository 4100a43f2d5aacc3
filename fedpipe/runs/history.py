"""What a run must keep of each round so that others can ask about it later: who took part, and the
SHA-256 of the weights.

`weights.jsonl` has a line a round: the weights' SHA-256, that of each tensor, who failed, how many
examples were processed. From it and the plan `clients.parquet` is made at the end. A round does not
wait for its hashes, which take milliseconds for a million weights: they are computed in a thread
while the next round is, and the line is on disk before that round's is begun. So a checkpoint is a
line ahead at most, and a run that goes on from it sends that round again.
"""

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpipe.config.schema import ClientConfig
from fedpipe.runs.lineage import LINEAGE
from fedpipe.runs.parts import PARTICIPATION, Parts
from fedpipe.system.json_lines import whole_lines
from fedpipe.tracking.participation import (
    CLIENTS_NAME,
    FAILED,
    REPORTED,
    ClientRound,
    write_clients,
)
from fedpipe.types import CohortPlan, RoundReport, weights_sha256

if TYPE_CHECKING:
    from fedpipe.tracking.journaled import JournaledRun

WEIGHTS_NAME = "weights.jsonl"

logger = logging.getLogger(__name__)


class History:
    """A `RoundSink` that keeps each round once, also over interruptions: what an earlier try of the
    run left is gone on with.
    """

    def __init__(
        self, folder: Path, plan: CohortPlan, client: ClientConfig, held: Callable[[str], int]
    ) -> None:
        """Go on where the folder's files end.

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
            int(line["round"]): line for line in whole_lines(self.weights_path)
        }
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="fedpipe-history")
        self._pending: Future[None] | None = None

    def round_done(self, report: RoundReport) -> None:
        """Keep the round; one that is there is passed over."""
        self.flush()
        if report.round_num not in self._rounds:
            self._pending = self._writer.submit(self._keep, report)

    def flush(self) -> None:
        """Wait until the last round is on disk. Raises OSError if it is not."""
        pending = self._pending
        self._pending = None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """End the thread."""
        self._writer.shutdown()

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
        with self.weights_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
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
                one: processed(self._client, self._held(one))
                for one in self._plan.cohort(number)
                if one not in failed
            }
            if sum(examples.values()) != line["examples"]:
                # An algorithm of the user's own that goes through them in its own way: what each
                # holds is what is known.
                examples = {one: self._held(one) for one in examples}
            yield from (
                ClientRound(number, one, REPORTED, count) for one, count in examples.items()
            )
            yield from (ClientRound(number, one, FAILED, 0) for one in failed)
            if self._plan.turnouts:
                turnout = self._plan.turnouts[number - 1]
                for status, absent in (
                    ("dropped", turnout.dropped),
                    ("late", turnout.late),
                    ("surplus", turnout.surplus),
                ):
                    yield from (ClientRound(number, one, status, 0) for one in absent)


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
        except (
            OSError
        ) as err:  # a full disk, say, which is perhaps the first error too: that one goes on
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
