"""The bits of a run do not depend on how many machines compute it."""

from typing import Any

import pytest


@pytest.mark.parametrize("examples", ["resident", "by_value"])
def test_one_two_and_three_machines_give_the_bits_of_none(runner: Any, three: Any, examples: str) -> None:
    addresses = [worker.address for worker in three]
    settings = {"runtime": {"data": examples}}
    here, _ = runner.weights([], **settings)

    def lose_files(round_num: int) -> None:  # as `fedpipe cache --clear` in a worker's project in mid-run
        if round_num == 2:
            for path in (three[0].folder / ".fedpipe" / "cache" / "clients").glob("*/*"):
                path.unlink()

    for count in (1, 2, 3) if examples == "resident" else (2,):
        found, losses = runner.weights(addresses[:count], between=lose_files if count == 2 else None, **settings)
        assert (found, losses) == (here, [(), ()])
