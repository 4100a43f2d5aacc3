"""Secure sums, simulated: the arithmetic of secure aggregation without its cryptography.

TFF's `secure_aggregator` sends clipped integers and asks the runtime for
`federated_secure_sum_bitwidth`, a sum whose summands nobody sees (Bonawitz et al. 2017). TFF's open
runtime does not have it. Here, as in TFF's own tests, plain sums take its place: the result is that
of secure aggregation, with its clipping and rounding to integers, and nobody is protected. The
run's tags say so.
"""

from tensorflow_federated.python.core.backends.test import (
    compiler,
)  # there is no public name for it
from tensorflow_federated.python.core.impl.computation import computation_impl

from fedpipe.algorithms.composer import Process

SIMULATED = "simulated: sums of integers as in secure aggregation, without cryptography"


def simulated(process: Process) -> Process:
    """Return the process with plain sums in the place of secure ones."""
    plain = compiler.replace_secure_intrinsics_with_bodies(process.next)
    # With its type, which names Python's containers.
    return Process(
        process.initialize,
        computation_impl.ConcreteComputation.with_type(plain, process.next.type_signature),
    )
