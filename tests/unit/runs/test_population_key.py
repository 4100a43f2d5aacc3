"""Who a client id means: the same key where it is the same client, another where it may be someone else."""

from fedpipe.config import DataConfig
from fedpipe.runs.lineage import population_key


def test_made_clients_are_the_work_of_their_settings():
    key = population_key(DataConfig(), "dirichlet")
    assert population_key(DataConfig(alpha=0.5), "dirichlet") != key
    assert population_key(DataConfig(seed=2), "dirichlet") != key
    assert population_key(DataConfig(partition="dirichlet"), "dirichlet") == key, (
        "auto and what it came to are the same"
    )
    assert population_key(DataConfig(test_fraction=0.5, shard_rows=1000), "dirichlet") == key, (
        "how their examples are split is not who they are"
    )


def test_natural_clients_are_their_sources():
    key = population_key(DataConfig(source="csv", path="a.csv"), "natural")
    assert (
        population_key(DataConfig(source="csv", path="a.csv", clients=None, seed=9), "natural")
        == key
    )
    assert population_key(DataConfig(source="csv", path="b.csv"), "natural") != key
