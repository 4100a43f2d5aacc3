"""What Flower's clients train with: NumPy for softmax, PyTorch for the CNN, on data that each actor loads once.

A module of its own, so that Ray's actors import it and keep what they loaded from round to round.
"""

from functools import cache

import numpy as np

from benchmarks.lib.systems.line import read_job


@cache
def client_examples(client):
    """Return a client's float32 features [n, 784] and int labels [n]."""
    job = _job()
    return np.float32(job.x[client]).reshape(len(job.y[client]), -1) / 255, job.y[client]


def train(client, arrays):
    """Return the weights after one epoch of the client's batches from `arrays`, in the same order, and its number of examples."""
    job = _job()
    count = len(job.y[client])
    if job.model == "softmax":
        return _train_softmax(job, *client_examples(client), *arrays), count
    return _train_torch(job, client, arrays), count


def initial_arrays():
    """Return the job's weights as the server starts with them: of the CNN in PyTorch's shapes."""
    job = _job()
    if job.model == "softmax":
        return list(job.weights.values())
    return [tensor.numpy() for tensor in _network().state_dict().values()]


def accuracy(arrays):
    """Return the accuracy of the server's weights on the common test set."""
    job = _job()
    if job.model == "softmax":
        kernel, bias = arrays
        logits = np.float32(job.test_x).reshape(len(job.test_y), -1) / 255 @ kernel + bias
        return float(np.mean(logits.argmax(1) == job.test_y))
    from benchmarks.lib.peer_scripts import torch_models

    return torch_models.accuracy(_network(arrays), job.test_x, job.test_y)


@cache
def _job():
    return read_job()


def _train_softmax(job, x, y, kernel, bias):
    kernel, bias = kernel.copy(), bias.copy()
    for start in range(0, len(y), job.batch_size):
        batch, labels = x[start : start + job.batch_size], y[start : start + job.batch_size]
        logits = batch @ kernel + bias
        gradient = np.exp(logits - logits.max(axis=1, keepdims=True))
        gradient /= gradient.sum(axis=1, keepdims=True)
        gradient[np.arange(len(labels)), labels] -= 1
        gradient *= job.learning_rate / len(labels)
        kernel -= batch.T @ gradient
        bias -= gradient.sum(axis=0)
    return [kernel, bias]


def _train_torch(job, client, arrays):
    import torch
    from torch.nn import functional

    network, (x, y) = _network(arrays), _tensors(client)
    optimizer = torch.optim.SGD(network.parameters(), lr=job.learning_rate)
    for batch, labels in zip(x.split(job.batch_size), y.split(job.batch_size), strict=True):
        optimizer.zero_grad()
        functional.cross_entropy(network(batch), labels).backward()
        optimizer.step()
    return [tensor.numpy() for tensor in network.state_dict().values()]


@cache
def _tensors(client):
    from benchmarks.lib.peer_scripts.torch_models import to_tensors

    return to_tensors(_job().x[client], _job().y[client])


@cache
def _built():
    from benchmarks.lib.peer_scripts.torch_models import MODELS

    return MODELS[_job().model](_job().weights)


def _network(arrays=None):
    """Return this process's network, with the given weights."""
    import torch

    network = _built()
    if arrays is not None:
        with torch.no_grad():
            for tensor, array in zip(network.state_dict().values(), arrays, strict=True):
                tensor.copy_(torch.from_numpy(np.array(array)))
    return network
