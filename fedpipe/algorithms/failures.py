"""Clients that cannot report in a round: who they are, why, and whether the round continues without
them.

A client fails if its examples cannot be read, which shows before the round, or if its computation
fails or its update or its loss is not finite, which shows in it. A round in which someone failed is
computed again, from the same state, with the others alone: nothing of a failed client reaches an
aggregate, whatever the aggregator, and the result has the bits of a round that never asked for it.

A NaN or infinity stays in every sum that it enters, so a round of groups knows by one look at each
group's sums that someone failed, and costs no more for it. Who it was is asked only then.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from fedpipe.algorithms.base import ComputationError
from fedpipe.algorithms.client_refs import ClientFile, ClientFiles
from fedpipe.algorithms.client_work import ClientWork
from fedpipe.algorithms.sending import type_sent, unpack
from fedpipe.errors import DataError, RoundError, shorten
from fedpipe.system.user_code import message_of

NOT_FINITE = "its update or loss is not finite"
_NAMED = 5

logger = logging.getLogger("fedpipe.algorithms")


def readable(
    files: ClientFiles, cohort: Sequence[str]
) -> tuple[dict[str, ClientFile], dict[str, str]]:
    """Return the clients whose examples can be read, in the order of the cohort, and of the others
    why not.

    Raises:
        EnvironmentProblem: the cache cannot be written; that is no client's fault.
    """
    try:
        return dict(zip(cohort, files.clients(cohort), strict=True)), {}
    except DataError:
        pass  # one of them: each is asked for alone
    clients = {}
    failed = {}
    for client_id in cohort:
        try:
            (clients[client_id],) = files.clients([client_id])
        except DataError as err:
            failed[client_id] = str(err)
    return clients, failed


def require_reports(
    round_num: int, asked: int, failed: Mapping[str, str], min_reports: int
) -> None:
    """Warn of the clients that failed. Raises RoundError if fewer than `min_reports` of those
    `asked` are left.
    """
    if not failed:
        return
    missing = shorten(
        (f"{client_id} ({why.rstrip('.')})" for client_id, why in sorted(failed.items())), _NAMED
    )
    if asked - len(failed) < min_reports:
        step = "Lower client.learning_rate" if NOT_FINITE in failed.values() else "Fix the data"
        raise RoundError(
            f"round {round_num}: expected at least cohort.min_reports={min_reports} reports, got "
            f"{asked - len(failed)} of {asked}; missing: {missing}. {step}, or lower "
            "cohort.min_reports."
        )
    logger.warning(
        "round %d: %d of %d clients failed and take no part: %s.",
        round_num,
        len(failed),
        asked,
        missing,
    )


def failing(
    error: ComputationError,
    round_num: int,
    run_alone: Callable[[str], Any],
    clients: Sequence[str],
) -> dict[str, str]:
    """Return the clients at which the computation of a round failed, and why, by running each
    alone.

    Args:
        error: what the round raised.
        round_num: the round.
        run_alone: runs the client work of one client.
        clients: who took part.

    Raises:
        RoundError: it fails at every client: the computation is wrong, not the data.
        ComputationError: it fails at no client alone.
    """
    failed = {}
    for client_id in clients:
        try:
            run_alone(client_id)
        except ComputationError as err:
            failed[client_id] = _reason(err)
    if not failed:
        raise error
    if len(failed) == len(clients) > 1:
        raise RoundError(
            f"round {round_num}: expected client work that runs, found that it fails at all "
            f"{len(clients)} clients: {_reason(error)}. runtime.debug=true shows where."
        ) from error
    return failed


def _reason(error: ComputationError) -> str:
    """Return a worker's text without the names and the stack of TensorFlow's nodes."""
    text = str(error).split("\\n")[0].replace("\\t", " ")
    return message_of(text) or "it said nothing"


def not_finite(tensors: Sequence[Any]) -> Any:
    """Return int64 1 if any of the tensors holds a NaN or infinity, else 0."""
    finite = tf.stack([tf.reduce_all(tf.math.is_finite(tensor)) for tensor in tensors])
    return tf.cast(tf.logical_not(tf.reduce_all(finite)), tf.int64)


def build_finder(work: ClientWork, state_type: Any) -> Any:
    """Return the TFF computation (what the server sends, refs of clients as vectors) -> int64
    [clients]: 1 for each `not_finite`.

    It repeats the clients' work, which is a pure function of what is sent, examples and seed, one
    after the other.

    Args:
        work: the client work.
        state_type: TFF type of the server state; `weights` and `optimizer` are read.
    """
    refs_type = {
        "data": tff.TensorType(np.str_, [None]),
        "count": tff.TensorType(np.int64, [None]),
        "seed": tff.TensorType(np.int64, [None]),
        "rate": tff.TensorType(np.float32, [None]),
    }

    @tff.tensorflow.computation(
        type_sent(work, state_type["weights"], state_type["optimizer"]),
        tff.types.to_type(refs_type),
    )
    def find(sent: Any, refs: Any) -> Any:
        weights, server = unpack(work, sent)

        def client(i: Any, flags: Any) -> Any:
            result = work(
                list(weights),
                refs["data"][i],
                refs["count"][i],
                refs["seed"][i],
                refs["rate"][i],
                server,
            )
            return i + 1, flags.write(i, not_finite([*result.update, result.sums["loss"]]))

        clients = tf.size(refs["count"])
        flags = tf.TensorArray(tf.int64, clients, element_shape=())
        return tf.while_loop(lambda i, _: i < clients, client, (0, flags), parallel_iterations=1)[
            1
        ].stack()

    return find
