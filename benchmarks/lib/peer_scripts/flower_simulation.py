"""Flower: FedAvg on its simulation runtime, Ray, with one actor per usable core.

Runs in Flower's own venv, by the interface that the environment names: `message` (`run_simulation` with a `ServerApp`, a
`ClientApp` and messages: Flower's present one) or `numpy_client` (`start_simulation` with a `NumPyClient`: deprecated, and
without the present one's polling).
"""

import os

import ray
from flwr.client import NumPyClient
from flwr.common import ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import ServerConfig
from flwr.server.strategy import FedAvg as LegacyFedAvg
from flwr.simulation import run_simulation, start_simulation

from benchmarks.lib.peer_scripts import flower_clients
from benchmarks.lib.systems.line import FOLDER, Line, read_job

MANY_ROUNDS = 1_000_000


def wait(line, arrays):
    """Wait for the next round. When there is none, end Ray and this process, whatever Flower's threads are waiting for."""
    try:
        line.step(lambda: flower_clients.accuracy(arrays))
    except SystemExit:
        ray.shutdown()
        os._exit(0)


def run_messages(line, clients, ray_settings, resources):
    """Run rounds with Flower's message interface."""
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp
    from flwr.serverapp.strategy import FedAvg

    client_app, server_app = ClientApp(), ServerApp()

    @client_app.train()
    def train(message, context):
        arrays, count = flower_clients.train(
            context.node_config["partition-id"], message.content["arrays"].to_numpy_ndarrays()
        )
        content = {
            "arrays": ArrayRecord(numpy_ndarrays=arrays),
            "metrics": MetricRecord({"num-examples": count}),
        }
        return Message(content=RecordDict(content), reply_to=message)

    class Rounds(FedAvg):
        def configure_train(self, server_round, arrays, config, grid):
            wait(line, arrays.to_numpy_ndarrays())
            return super().configure_train(server_round, arrays, config, grid)

    @server_app.main()
    def serve(grid, context):  # noqa: ARG001 - what a ServerApp is called with
        strategy = Rounds(
            fraction_train=1.0,
            fraction_evaluate=0.0,
            min_train_nodes=clients,
            min_available_nodes=clients,
        )
        strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(numpy_ndarrays=flower_clients.initial_arrays()),
            num_rounds=MANY_ROUNDS,
        )

    config = {"init_args": ray_settings, "client_resources": resources}
    run_simulation(server_app, client_app, num_supernodes=clients, backend_config=config)


def run_numpy_clients(line, clients, ray_settings, resources):
    """Run rounds with Flower's older interface."""

    class Client(NumPyClient):
        def __init__(self, client):
            self._client = client

        def fit(self, parameters, config):  # noqa: ARG002 - what a client is called with
            return *flower_clients.train(self._client, parameters), {}

    class Rounds(LegacyFedAvg):
        def configure_fit(self, server_round, parameters, client_manager):
            wait(line, parameters_to_ndarrays(parameters))
            return super().configure_fit(server_round, parameters, client_manager)

    strategy = Rounds(
        fraction_fit=1.0,
        fraction_evaluate=0.0,
        min_fit_clients=clients,
        min_available_clients=clients,
        accept_failures=False,
        initial_parameters=ndarrays_to_parameters(flower_clients.initial_arrays()),
    )
    start_simulation(
        client_fn=lambda context: Client(int(context.node_config["partition-id"])).to_client(),
        num_clients=clients,
        client_resources=resources,
        config=ServerConfig(num_rounds=MANY_ROUNDS),
        strategy=strategy,
        ray_init_args=ray_settings,
    )


def main():
    """Run rounds for as long as they are asked for."""
    line, cores = Line(), len(os.sched_getaffinity(0))
    ray_settings = {
        "num_cpus": cores,
        "include_dashboard": False,
        "_temp_dir": os.path.join(os.environ[FOLDER], f"ray-{os.environ['FLOWER_API'][0]}"),
    }
    run = {"message": run_messages, "numpy_client": run_numpy_clients}[os.environ["FLOWER_API"]]
    run(line, len(read_job().x), ray_settings, {"num_cpus": 1, "num_gpus": 0.0})


if __name__ == "__main__":
    main()
