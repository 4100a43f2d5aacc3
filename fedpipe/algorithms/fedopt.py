"""FedAdagrad, FedAdam and FedYogi: adaptive optimizers at the server.

Source: Reddi et al. 2021, "Adaptive Federated Optimization" (arXiv 2003.00295), Algorithm 2. D is
    the mean update, g = -D:

    m = beta_1 m + (1 - beta_1) D                           (FedAdagrad: m = D)
    v = v + D^2                                             FedAdagrad
    v = v - (1 - beta_2) D^2 sign(v - D^2)                  FedYogi
    v = beta_2 v + (1 - beta_2) D^2                         FedAdam
    w = w + server_learning_rate m / (sqrt(v) + tau)

beta_1 = 0.9, beta_2 = 0.99, tau = 1e-3 (`server.epsilon`) as in the paper's section 5, FedAdagrad
with beta_1 = 0; v starts at tau^2. The optimizers are TFF's, which differ from the algorithm as
printed: Adam and Yogi correct the bias of their means in the step size, so that tau is the eps-hat
of Kingma and Ba 2015 (end of their section 2), which is sqrt(1 - beta_2^t) times the epsilon of
their Algorithm 1; Adam's v starts at 0; Adagrad divides by sqrt(v + tau^2), which is at most
sqrt(v) + tau and at least that over sqrt(2).
"""

from fedpipe.algorithms.optimizers import build_optimizer
from fedpipe.algorithms.recipe import Recipe, Run, averaging
from fedpipe.config.defaults import ADAPTIVE_SERVER, or_default

TAU, BETA_1, BETA_2 = (ADAPTIVE_SERVER[name] for name in ("epsilon", "beta_1", "beta_2"))


def build_fedadagrad(run: Run) -> Recipe:
    """Return FedAvg with Adagrad at the server."""
    server = run.config.server
    square = (server.epsilon or TAU) ** 2
    optimizer = build_optimizer(
        "adagrad", server.learning_rate, epsilon=square, initial_preconditioner_value=square
    )
    return averaging(run, optimizer)


def build_fedadam(run: Run) -> Recipe:
    """Return FedAvg with Adam at the server."""
    return _with_means(run, "adam")


def build_fedyogi(run: Run) -> Recipe:
    """Return FedAvg with Yogi at the server."""
    return _with_means(
        run, "yogi", initial_preconditioner_value=(run.config.server.epsilon or TAU) ** 2
    )


def _with_means(run: Run, name: str, **constants: float) -> Recipe:
    server = run.config.server
    beta_1 = or_default(server.beta_1, BETA_1)
    beta_2 = or_default(server.beta_2, BETA_2)
    epsilon = server.epsilon or TAU
    optimizer = build_optimizer(
        name, server.learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, **constants
    )
    return averaging(run, optimizer)
