"""The flows under module paths that no file of a project can shadow: entry points of Prefect's
deployments, and what a project's own flow imports.

Prefect would put the folder of an entry point that is a file on `sys.path`, where `flows/train.py`
takes the place of a project's own `train.py`.
"""

from flows.evaluate import federated_evaluation
from flows.sweep import federated_sweep
from flows.train import federated_training

__all__ = ["federated_evaluation", "federated_sweep", "federated_training"]
