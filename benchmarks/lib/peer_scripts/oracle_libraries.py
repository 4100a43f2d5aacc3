"""Single functions of other projects' libraries: Opacus' accountants, Flower's robust aggregates and partitions, torchmetrics.

They share one venv.
"""

import numpy as np
import torch
from datasets import Dataset
from flwr.server.strategy.aggregate import aggregate_krum, aggregate_median, aggregate_trimmed_avg
from flwr_datasets.partitioner import DirichletPartitioner
from opacus.accountants import PRVAccountant, RDPAccountant
from torchmetrics.classification import MulticlassCalibrationError

from benchmarks.lib.peer_scripts.oracle_job import OracleJob


def epsilons(trainings):
    """Return epsilon by Opacus' accountants."""
    answer = {"PRV": [], "RDP": []}
    for training in trainings:
        for key, kind in (("PRV", PRVAccountant), ("RDP", RDPAccountant)):
            accountant = kind()
            accountant.history = [
                (training["noise"], training["cohort"] / training["clients"], training["rounds"])
            ]
            answer[key].append(float(accountant.get_epsilon(delta=training["delta"])))
    return answer


def robust(updates):
    """Return Flower's robust aggregates of the updates, each a client of one example."""
    results = [([update], 1) for update in updates]
    return {
        "median": aggregate_median(results)[0],
        "trimmed": aggregate_trimmed_avg(results, 0.2)[0],
        "krum": aggregate_krum(results, 2, 0)[0],
    }


def total_variation(alpha, labels):
    """Return the mean distance of a client's labels from all labels, over five seeds of Flower's Dirichlet partitions."""
    values = []
    for seed in range(1, 6):
        data = Dataset.from_dict({"label": labels.tolist()})
        partitioner = DirichletPartitioner(100, "label", alpha, min_partition_size=2, seed=seed)
        partitioner.dataset = data
        counts = np.zeros((100, 10))
        for client in range(100):
            np.add.at(counts[client], partitioner.load_partition(client)["label"], 1)
        shares = counts / counts.sum(axis=1, keepdims=True)
        values.append(0.5 * np.abs(shares - counts.sum(axis=0) / counts.sum()).sum(axis=1).mean())
    return float(np.mean(values))


def main():
    """Answer with all of them."""
    job = OracleJob()
    error = MulticlassCalibrationError(10, n_bins=15, norm="l1")
    probabilities, labels = (
        torch.from_numpy(job.arrays[name]) for name in ("probabilities", "labels")
    )
    answer = {
        "epsilons": epsilons(job.values["epsilons"]),
        "calibration_error": float(error(probabilities, labels)),
        "dirichlet": {
            str(alpha): total_variation(alpha, job.arrays["digits"]) for alpha in (0.5, 1.0, 10.0)
        },
    }
    job.answer(
        answer, {f"robust/{name}": value for name, value in robust(job.arrays["updates"]).items()}
    )


if __name__ == "__main__":
    main()
