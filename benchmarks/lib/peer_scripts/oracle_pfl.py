"""pfl-research's algorithms on the cases of `benchmarks.oracles`; runs in pfl's own venv."""

from itertools import chain

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.aggregate.weighting import WeightByDatapoints
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.algorithm.fedprox import FedProx, FedProxParams
from pfl.algorithm.scaffold import SCAFFOLD, SCAFFOLDParams
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.user_state import InMemoryUserStateStorage
from pfl.hyperparam import NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from torch.nn import functional

from benchmarks.lib.peer_scripts.oracle_job import OracleJob


class Softmax(torch.nn.Module):
    """Softmax regression that starts at zero."""

    def __init__(self):
        """Make the layer."""
        super().__init__()
        self.layer = torch.nn.Linear(784, 10)
        torch.nn.init.zeros_(self.layer.weight)
        torch.nn.init.zeros_(self.layer.bias)

    def forward(self, x):
        """Return the logits."""
        return self.layer(x)

    def loss(self, x, y):
        """Return the mean cross-entropy."""
        return functional.cross_entropy(self(x), y)

    @torch.no_grad()
    def metrics(self, x, y):
        """Return what pfl asks for."""
        return {"accuracy": Weighted(int((self(x).argmax(1) == y).sum()), len(y))}


class Keep(TrainingProcessCallback):
    """Keeps the weights after each round."""

    def __init__(self, answer, name):
        """Take where to keep them."""
        self._answer, self._name = answer, name

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):  # noqa: ARG002 - what pfl calls it with
        """Keep the weights."""
        layer = model.pytorch_model.layer
        self._answer[f"{self._name}/{central_iteration}/0"] = layer.weight.detach().numpy().T.copy()
        self._answer[f"{self._name}/{central_iteration}/1"] = layer.bias.detach().numpy().copy()
        return False, Metrics()


def run(job, name, case, answer):
    """Run the rounds of a case."""
    cohorts = case["cohorts"]
    size, rounds = len(cohorts[0]), len(cohorts)
    common = {
        "central_num_iterations": rounds,
        "evaluation_frequency": rounds + 1,
        "train_cohort_size": size,
        "val_cohort_size": None,
    }
    algorithm, params = FederatedAveraging(), NNAlgorithmParams(**common)
    if case["algorithm"] == "fedprox":
        algorithm, params = FedProx(), FedProxParams(**common, mu=case["mu"])
    elif case["algorithm"] == "scaffold":
        storage = InMemoryUserStateStorage()
        algorithm = SCAFFOLD()
        params = SCAFFOLDParams(
            **common,
            population=case["population"],
            use_gradient_as_control_variate=False,
            user_state_storage=storage,
        )
    order = chain.from_iterable(sorted(cohort) for cohort in cohorts)

    def user(client):
        x, y = job.examples(client)
        return Dataset(
            [torch.from_numpy(np.array(x)), torch.from_numpy(np.array(y))], user_id=client
        )

    everyone = sorted({client for cohort in cohorts for client in cohort})
    data = FederatedDataset(user, lambda: next(order))
    val = FederatedDataset(user, lambda: everyone[0])
    model = Softmax()
    server = torch.optim.SGD(
        model.parameters(),
        lr=case.get("server_rate", 1.0),
        momentum=case.get("server_momentum", 0.0),
    )
    weighting = [WeightByDatapoints()] if case.get("by_examples") else []
    algorithm.run(
        algorithm_params=params,
        backend=SimulatedBackend(training_data=data, val_data=val, postprocessors=weighting),
        model=PyTorchModel(model, torch.optim.SGD, server),
        model_train_params=NNTrainHyperParams(
            local_num_epochs=2, local_learning_rate=0.1, local_batch_size=20
        ),
        callbacks=[Keep(answer, name)],
        send_metrics_to_platform=False,
    )


def main():
    """Run each case and answer with the weights after every round."""
    job, answer = OracleJob(), {}
    for name, case in job.values["cases"].items():
        run(job, name, case, answer)
    job.answer(arrays=answer)


if __name__ == "__main__":
    main()
