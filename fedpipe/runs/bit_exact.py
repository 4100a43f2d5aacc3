"""Whether a run has the same last bits whenever it is repeated on the same machine, for the run's
tag `fedpipe.bit_exact`.
"""

from collections.abc import Mapping

from fedpipe.config import Config
from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.tracking.tags import ALGORITHM_DRAWS, ALGORITHM_GROUPS


def bit_exact(config: Config, info: Mapping[str, str]) -> str:
    """Return `yes`, or what else than settings, data and seed the last bits of the weights depend
    on.

    What was tried, and what a test holds: repetitions, interruptions, new workers, one core or two,
    with every aggregator.

    Args:
        config: the run's settings.
        info: what the algorithm says of itself; `algorithm.groups` is read, and of a TFF process
            `algorithm.draws`.

    >>> bit_exact(Config(), {"algorithm.groups": "2"})
    'yes, with as many cores (runtime.groups is not set and was 2; set it for the same bits on any number of cores)'
    """
    draws = info.get(ALGORITHM_DRAWS)
    if config.algorithm.name not in ALGORITHMS and draws is None:
        return f"not known: algorithm.name={config.algorithm.name} is no algorithm of fedpipe's"
    if draws not in (None, "none"):
        return f"no: the TFF process draws with {draws}, which the run's seed does not determine"
    runtime = config.runtime
    groups = info.get(ALGORITHM_GROUPS, "none")
    conditions = []
    if runtime.debug:
        conditions.append(
            "as many cores (runtime.debug computes in the run's process, where TensorFlow has a "
            "thread for each)"
        )
    elif runtime.set_groups is None and groups != "none":
        conditions.append(
            f"as many cores (runtime.groups is not set and was {groups}; set it for the same bits "
            "on any number of cores)"
        )
    if runtime.workers > 1:
        conditions.append(
            f"runtime.workers={runtime.workers} (the sums of several workers are added in another "
            "order than those of one)"
        )
    if conditions:
        return f"yes, with {' and '.join(conditions)}"
    return "yes"
