"""The named algorithms: where each is, and which settings it reads. A new algorithm joins with an
entry here.

The table is light, so that a params file is checked before TensorFlow is imported; the files that
it names are imported when a run needs them (`fedpipe.algorithms.catalog`). A user's own,
`mypackage.module:build`, needs no entry: every setting is taken.
"""

from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Literal

ServerOptimizer = Literal["sgd", "momentum", "adam", "adagrad", "yogi"]


@dataclass(frozen=True)
class NamedAlgorithm:
    """An algorithm as the settings see it.

    Attributes:
        where: `module:function` that builds it.
        summary: one line for docs: what it is, and its paper.
        server_optimizer: the server optimizer that the algorithm brings; `None`: `server.optimizer`
            chooses.
        own: settings of the section `algorithm` that it reads, beside its name.
        ignores: patterns of other settings that it does not read; setting one is an error.
        reads: exceptions to `ignores`.
        because: why it ignores them; ends the error. `runtime.debug` has a reason of its own.
        sends_more: what its clients send beside the update, in the same message: a norm or a
            distance over both would mean nothing.
    """

    where: str
    summary: str
    server_optimizer: ServerOptimizer | None = None
    own: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    because: str = ""
    sends_more: str = ""

    def ignored(self, key: str) -> bool:
        """Return whether the setting called `key`, such as `client.shuffle`, has no effect."""
        return key not in self.reads and any(fnmatch(key, pattern) for pattern in self.ignores)

    def why_ignored(self, key: str) -> str:
        """Return why a setting outside of the section `algorithm` has no effect."""
        debug = (
            "debug runs, client after client, only algorithms whose clients send an update and "
            "keep nothing"
        )
        if key == "runtime.debug":
            return debug
        return self.because


ALGORITHMS: dict[str, NamedAlgorithm] = {
    "fedavg": NamedAlgorithm(
        "fedpipe.algorithms.fedavg:build",
        "Federated Averaging (McMahan et al. 2017, arXiv 1602.05629, Algorithm 1)",
    ),
    "fedavg_reference": NamedAlgorithm(
        "fedpipe.algorithms.fedavg_reference:build_reference",
        "the same as TFF's tutorial writes it, unweighted, to read and to compare with",
        ignores=(
            "client.*",
            "server.*",
            "aggregator.*",
            "privacy.*",
            "runtime.groups",
            "runtime.data",
            "runtime.cache_max_bytes",
            "runtime.debug",
            "task.*",
        ),
        reads=(
            "client.batch_size",
            "client.epochs",
            "client.learning_rate",
            "task.metrics",
            "task.choose_by",
        ),
        because="its clients take plain SGD steps, its server the unweighted mean of their weights",
    ),
    "fedprox": NamedAlgorithm(
        "fedpipe.algorithms.fedprox:build",
        "clients are held near the server's weights (Li et al. 2020, arXiv 1812.06127, Algorithm "
        "2)",
        own=("mu",),
    ),
    "fedsgd": NamedAlgorithm(
        "fedpipe.algorithms.fedsgd:build",
        "one step on each client's whole data (McMahan et al. 2017, arXiv 1602.05629, section 2)",
        ignores=(
            "client.batch_size",
            "client.epochs",
            "client.max_steps",
            "client.shuffle",
            "client.optimizer",
        ),
        because="each client takes one SGD step on all its examples",
    ),
    "fedavgm": NamedAlgorithm(
        "fedpipe.algorithms.fedavgm:build",
        "server momentum (Hsu et al. 2019, arXiv 1909.06335, section 4.3)",
        server_optimizer="momentum",
        ignores=("server.optimizer",),
        because="its server optimizer is momentum",
    ),
    "fedadagrad": NamedAlgorithm(
        "fedpipe.algorithms.fedopt:build_fedadagrad",
        "server Adagrad (Reddi et al. 2021, arXiv 2003.00295, Algorithm 2)",
        server_optimizer="adagrad",
        ignores=("server.optimizer",),
        because="its server optimizer is adagrad",
    ),
    "fedadam": NamedAlgorithm(
        "fedpipe.algorithms.fedopt:build_fedadam",
        "server Adam (Reddi et al. 2021, arXiv 2003.00295, Algorithm 2)",
        server_optimizer="adam",
        ignores=("server.optimizer",),
        because="its server optimizer is adam",
    ),
    "fedyogi": NamedAlgorithm(
        "fedpipe.algorithms.fedopt:build_fedyogi",
        "server Yogi (Reddi et al. 2021, arXiv 2003.00295, Algorithm 2)",
        server_optimizer="yogi",
        ignores=("server.optimizer",),
        because="its server optimizer is yogi",
    ),
    "mimelite": NamedAlgorithm(
        "fedpipe.algorithms.mimelite:build",
        "clients step with the server's momentum (Karimireddy et al. 2021, arXiv 2008.03606, "
        "Algorithm 1; TFF's MimeLite)",
        ignores=("privacy.*",),
        because="its clients send a gradient beside the update, which the noise would have to "
        "cover as well",
        sends_more="a gradient",
    ),
    "scaffold": NamedAlgorithm(
        "fedpipe.algorithms.scaffold:build",
        "control variates against the clients' differences (Karimireddy et al. 2020, arXiv "
        "1910.06378, Algorithm 1, option II)",
        ignores=(
            "client.optimizer",
            "privacy.*",
            "aggregator.secure",
            "runtime.groups",
            "runtime.debug",
        ),
        because="its clients take SGD steps, and each sends its control variate beside the "
        "update, a value of its own that is not private",
    ),
    "fednova": NamedAlgorithm(
        "fedpipe.algorithms.fednova:build",
        "updates are normalized by the client's steps (Wang et al. 2020, arXiv 2007.07481, "
        "equation 9)",
        ignores=("privacy.*",),
        because="its clients send the number of their steps beside the update, which the noise "
        "would have to cover as well",
        sends_more="the number of its steps",
    ),
    "centralized": NamedAlgorithm(
        "fedpipe.algorithms.centralized:build",
        "baseline: SGD on the pooled examples of the round's clients",
        ignores=(
            *("client.weighting", "client.shuffle", "server.*", "aggregator.*"),
            *("privacy.*", "runtime.groups", "runtime.debug"),
        ),
        because="it trains on the pooled examples, shuffled; nothing is joined",
    ),
    "local_only": NamedAlgorithm(
        "fedpipe.algorithms.local_only:build",
        "baseline: each client trains a model of its own, nothing is exchanged",
        ignores=(
            "client.weighting",
            "server.*",
            "aggregator.*",
            "privacy.*",
            "runtime.groups",
            "runtime.debug",
        ),
        because="its clients exchange nothing",
    ),
}
