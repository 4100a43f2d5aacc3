"""The floor for the CNN: a plain PyTorch loop over clients in one process per core, weights in shared memory, no framework.

Needs an interpreter that has PyTorch (`--torch-python`), nothing else of fedpipe's.
"""

import os
from typing import Any

import torch
import torch.multiprocessing as mp
from torch.nn import functional

from benchmarks.lib.systems.line import Job, Line, read_job


def to_torch(name: str, value: Any) -> torch.Tensor:
    """Return a weight in PyTorch's layout: channels first, dense kernels [out, in]."""
    tensor = torch.from_numpy(value)
    if tensor.dim() == 4:
        return tensor.permute(3, 2, 0, 1).contiguous()
    if (
        name == "dense/kernel"
    ):  # its rows follow height, width, channel; PyTorch flattens channel, height, width
        tensor = tensor.reshape(7, 7, 64, -1).permute(2, 0, 1, 3).reshape(tensor.shape)
    return tensor.t().contiguous() if tensor.dim() == 2 else tensor.clone()


def logits_of(weights: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return the network's logits for float32 [n, 1, 28, 28]."""
    kernel1, bias1, kernel2, bias2, kernel3, bias3, kernel4, bias4 = weights
    hidden = functional.relu(
        functional.max_pool2d(functional.conv2d(x, kernel1, bias1, padding=2), 2)
    )
    hidden = functional.relu(
        functional.max_pool2d(functional.conv2d(hidden, kernel2, bias2, padding=2), 2)
    )
    return functional.linear(
        functional.relu(functional.linear(hidden.flatten(1), kernel3, bias3)), kernel4, bias4
    )


def work(
    job: Job, clients: range, server: list[torch.Tensor], total: list[torch.Tensor], orders: Any
) -> None:
    """Train the clients from `server` on each order, leave the sum of their weights in `total`, and say so."""
    torch.set_num_threads(1)
    x = [torch.from_numpy(job.x[k]).unsqueeze(1).float() / 255 for k in clients]
    y = [torch.from_numpy(job.y[k]).long() for k in clients]
    while orders.recv():
        for tensor in total:
            tensor.zero_()
        for client_x, client_y in zip(x, y, strict=True):
            weights = [tensor.clone().requires_grad_() for tensor in server]
            for start in range(0, len(client_x), job.batch_size):
                batch = slice(start, start + job.batch_size)
                loss = functional.cross_entropy(
                    logits_of(weights, client_x[batch]), client_y[batch]
                )
                gradients = torch.autograd.grad(loss, weights)
                with torch.no_grad():
                    for tensor, gradient in zip(weights, gradients, strict=True):
                        tensor.sub_(gradient, alpha=job.learning_rate)
            with torch.no_grad():
                for tensor, weight in zip(total, weights, strict=True):
                    tensor.add_(weight)
        orders.send(True)


def main() -> None:
    """Run rounds as asked."""
    job, line = read_job(), Line()
    if job.model != "cnn":
        line.skip("for the CNN alone")
    server = [to_torch(name, value).share_memory_() for name, value in job.weights.items()]
    processes = len(os.sched_getaffinity(0))
    totals = [
        [torch.zeros_like(tensor).share_memory_() for tensor in server] for _ in range(processes)
    ]
    context = mp.get_context("spawn")
    ends = []
    for number, total in enumerate(totals):
        ours, theirs = context.Pipe()
        clients = range(number, len(job.x), processes)
        context.Process(
            target=work, args=(job, clients, server, total, theirs), daemon=True
        ).start()
        ends.append(ours)
    test_x, test_y = (
        torch.from_numpy(job.test_x).unsqueeze(1).float() / 255,
        torch.from_numpy(job.test_y),
    )

    def accuracy() -> float:
        with torch.no_grad():
            return float((logits_of(server, test_x).argmax(1) == test_y).float().mean())

    while True:
        line.step(accuracy)
        for end in ends:
            end.send(True)
        for end in ends:
            end.recv()
        for number, tensor in enumerate(server):
            tensor.copy_(sum(total[number] for total in totals) / len(job.x))


if __name__ == "__main__":
    main()
