"""Sends the server's weights to the clients of a round, and its optimizer state where the client
work reads it.
"""

from typing import Any

import tensorflow_federated as tff

from fedpipe.algorithms.client_work import ClientWork


def type_sent(work: ClientWork, weights_type: Any, optimizer_type: Any) -> Any:
    """Return the TFF type of what the server sends: its weights, and its optimizer state where the
    work reads that.
    """
    if work.reads_server:
        return tff.types.to_type((weights_type, optimizer_type))
    return weights_type


def unpack(work: ClientWork, sent: Any) -> tuple[Any, Any]:
    """Return weights and server state, `None` where it is not sent, of what was sent."""
    if work.reads_server:
        return (list(sent[0]), sent[1])
    return (sent, None)


def broadcast(work: ClientWork, state: Any) -> Any:
    """Return at the clients what the server of `state` sends, inside a federated computation."""
    return tff.federated_broadcast(
        tff.federated_zip((state.weights, state.optimizer)) if work.reads_server else state.weights
    )
