"""Runs for the report's tests: small, complete, and as hostile as names can be."""

import numpy as np

from fedpipe.data.skew import PopulationFigures
from fedpipe.lineage.queries import DataLineage, RunLineage, StoredRunLineage
from fedpipe.models.confusion import Confusion
from fedpipe.report.facts import RunFacts
from fedpipe.runs.lineage import DvcLineage, GitLineage, PrefectLineage
from fedpipe.tables.evaluation import ClientValue, ClientValues
from fedpipe.tables.mistakes import Mistake
from fedpipe.tables.population import PopulationTable
from fedpipe.tracking.lookup import ModelVersion
from fedpipe.tracking.participation import ClientRound

HOSTILE = "<script>alert('x')</script>\"'&<img src=https://evil.example/x onerror=alert(1)>"
_FIGURES = PopulationFigures(
    3,
    1,
    {"train": 30, "validation": 0, "test": 6},
    5,
    10.0,
    15,
    0.2,
    0.3,
    1.7,
    ((5.0, 10.0, 1), (10.0, 15.0, 2)),
)


def confusion_of(matrix: object) -> Confusion:
    """Return the counts of a matrix: row = label, column = prediction."""
    counts = np.asarray(matrix)
    labels, predicted = np.indices(counts.shape)
    return Confusion.count(
        np.repeat(labels.ravel(), counts.ravel()),
        np.repeat(predicted.ravel(), counts.ravel()),
        len(counts),
    )


def run_facts(name: str = "first", run_id: str = "a" * 32, **changes: object) -> RunFacts:
    """Return a run of three rounds with every part; `changes` replace its values."""
    rng = np.random.default_rng(1)
    confusion = confusion_of([[8, 2, 0], [1, 9, 0], [0, 3, 7]])
    tags = {
        "dvc.data_md5": "0" * 32 + ".dir",
        "weights.last_round": "3",
        "weights.last_sha256": "f" * 64,
        "host.cpu": "a CPU",
        "version.python": "3.11.9",
    }
    values: dict[str, object] = {
        "run_id": run_id,
        "name": name,
        "status": "FINISHED",
        "start_ms": 1_700_000_000_000,
        "end_ms": 1_700_000_075_200,
        "url": f"http://127.0.0.1:5000/#/experiments/1/runs/{run_id}",
        "params": {
            "rounds": "3",
            "client.learning_rate": "0.01",
            "data.source": "mnist5k",
            "algorithm.name": "fedavg",
        },
        "tags": tags,
        "metrics": {"final/test/accuracy": 0.8, "final/test/loss": 0.7},
        "lineage": RunLineage(
            git=GitLineage(commit="c" * 40, branch="main", dirty=False, patch=None),
            dvc=DvcLineage(data_md5=tags["dvc.data_md5"], data_in_lock=True, experiment=None),
            prefect=PrefectLineage(
                flow_run_id="1234-5678",
                flow_run_name=name,
                url="http://127.0.0.1:4200/runs/flow-run/1234-5678",
            ),
            plan_sha256=None,
            mlflow=StoredRunLineage(run_id, name, "FINISHED", 0, "sqlite:///mlflow.db", "http://x"),
            data=DataLineage("mnist5k", None),
            weights_sha256=tags["weights.last_sha256"],
            rounds=3,
            algorithm="fedavg",
            model="softmax",
            final={},
            best={},
            versions=[ModelVersion("digits", "2", run_id, ("champion",), {})],
            privacy_total=None,
            of="the last round",
            round=3,
            figures={},
        ),
        "rounds": [
            {"round": 0.0, "test/accuracy": 0.1, "test/loss": 2.3},
            *(
                {
                    "round": float(n),
                    "test/accuracy": 0.1 + 0.2 * n,
                    "test/loss": 2.3 - 0.5 * n,
                    "round/seconds": 0.02,
                }
                for n in (1, 2, 3)
            ),
        ],
        "accuracies": ClientValues(
            "accuracy",
            True,
            [
                ClientValue("c001", False, 6, 0.5, None),
                ClientValue("c002", True, 6, 1.0, None),
            ],
        ),
        "labels": ["zero", "one", "two"],
        "confusion": confusion,
        "mistakes": [Mistake("two", "one", 0.91, rng.integers(0, 256, (28, 28), np.uint8))],
        "population": PopulationTable(
            vars(_FIGURES), ("zero", "one", "two"), 3, 2, np.array([[5, 0, 0], [4, 8, 3]])
        ),
        "clients": [
            ClientRound(1, "c001", "reported", 15),
            ClientRound(2, "c001", "failed", 0),
            ClientRound(3, "c002", "reported", 10),
        ],
        "seconds": {"data": 0.5, "training": 3.0, "evaluation": 1.0},
    }
    return RunFacts(**(values | changes))  # type: ignore[arg-type]
