"""The bits of a run do not depend on how many machines compute it."""

from typing import Any

import pytest

from fedpipe.types import weights_sha256


@pytest.mark.parametrize("examples", ["resident", "by_value"])
def test_one_two_and_three_machines_give_the_bits_of_none(
    runner: Any, three: Any, examples: str
) -> None:
    addresses = [worker.address for worker in three]
    settings = {"runtime": {"data": examples}}
    here, _ = runner.weights([], **settings)

    def lose_files(
        round_num: int,
    ) -> None:  # as `fedpipe cache --clear` in a worker's project in mid-run
        if round_num == 2:
            for path in (three[0].folder / ".fedpipe" / "cache" / "clients").glob("*/*"):
                path.unlink()

    for count in (1, 2, 3) if examples == "resident" else (2,):
        found, losses = runner.weights(
            addresses[:count], between=lose_files if count == 2 else None, **settings
        )
        assert (found, losses) == (here, [(), ()])


def test_clients_that_fail_are_left_out_on_machines_as_they_are_here(
    runner: Any, three: Any
) -> None:
    # After one step this large the next one overflows: who has more than one batch fails.
    settings = {
        "client": {"learning_rate": 1e38, "batch_size": 300, "weighting": "uniform"},
        "cohort": {"size": 12, "min_reports": 1},
    }
    cohort, found = tuple(runner.population.participating()), []
    for addresses in ([], [worker.address for worker in three]):
        algorithm, runtime = runner.open(runner.config(addresses, **settings))
        with runtime:
            result = runtime.call(
                algorithm.next, runtime.call(algorithm.initialize), 1, cohort, label="round 1"
            )
            found.append(
                (
                    result.failed,
                    weights_sha256(algorithm.weights(result.state)),
                    runtime.take_losses(),
                )
            )
    assert 0 < len(found[0][0]) < len(cohort)
    assert found[0] == found[1]
