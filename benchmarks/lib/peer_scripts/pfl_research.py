"""pfl-research: its `FederatedAveraging` on its `SimulatedBackend`, with users' data as tensors in memory.

Runs in pfl's own venv: in one process (the parent sets `OMP_NUM_THREADS`), or as one of several (`pfl_processes`).
"""

import os

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from torch.nn import functional

from benchmarks.lib.peer_scripts.torch_models import MODELS, accuracy, to_tensors
from benchmarks.lib.systems.line import Line, read_job

MANY_ROUNDS = 1_000_000
"""More than are asked for; also the interval of pfl's own evaluations, of which the first round alone has one."""


class Rounds(TrainingProcessCallback):
    """Waits before each round until it is asked for; the other ranks wait for rank 0."""

    def __init__(self, line, job):
        """Take the line (rank 0), or `None`."""
        self._line, self._job = line, job

    def on_train_begin(self, *, model):
        """Wait for the first round."""
        self._wait(model)
        return Metrics()

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):  # noqa: ARG002 - what pfl calls it with
        """Wait for the next round."""
        self._wait(model)
        return False, Metrics()

    def _wait(self, model):
        if self._line is not None:
            self._line.step(
                lambda: accuracy(model.pytorch_model, self._job.test_x, self._job.test_y)
            )
        if torch.distributed.is_initialized():
            torch.distributed.barrier()


def federated_model(job):
    """Return the job's network as pfl wants it: with its loss and its metrics."""

    class Model(MODELS[job.model]):
        def loss(self, x, y):
            return functional.cross_entropy(self(x), y)

        @torch.no_grad()
        def metrics(self, x, y):
            return {"accuracy": Weighted(int((self(x).argmax(1) == y).sum()), len(y))}

    model = Model(job.weights)
    return PyTorchModel(model, torch.optim.SGD, torch.optim.SGD(model.parameters(), lr=1.0))


def main():
    """Build FedAvg and run rounds for as long as they are asked for."""
    job, rank = read_job(), int(os.environ.get("PFL_WORKER_RANK", "0"))
    line = Line() if rank == 0 else None
    np.random.seed(0)  # all ranks draw the same cohorts
    users = [Dataset(list(to_tensors(x, y))) for x, y in zip(job.x, job.y, strict=True)]
    data = FederatedDataset(
        users.__getitem__, get_user_sampler("minimize_reuse", list(range(len(users))))
    )
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=MANY_ROUNDS,
            evaluation_frequency=MANY_ROUNDS,
            train_cohort_size=len(users),
            val_cohort_size=None,
        ),
        backend=SimulatedBackend(training_data=data, val_data=data),
        model=federated_model(job),
        model_train_params=NNTrainHyperParams(
            local_num_epochs=1,
            local_learning_rate=job.learning_rate,
            local_batch_size=job.batch_size,
        ),
        callbacks=[Rounds(line, job)],
        send_metrics_to_platform=False,
    )


if __name__ == "__main__":
    main()
