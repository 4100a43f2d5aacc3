"""Stands in for a sweep's trial, without TensorFlow: a learning rate of 0.1 is best, 1e30 fails; a file `slow` in the project holds it up.

`python sweep_stand_in.py FOLDER --line DESCRIPTOR`. What it says, writes and obeys is what `fedpipe sweep-child` does; its checkpoint is
the number of rounds in `rounds.jsonl`.
"""

import json
import math
import os
import signal
import socket
import sys
import time
from pathlib import Path

from fedpipe.runs.state import read_state
from fedpipe.sweep.trial import Line, Pruned
from fedpipe.types import RoundReport


def main(folder: Path, line: int) -> None:
    state = read_state(folder)
    assert state is not None
    rate = state.config.client.learning_rate
    with (folder / "starts").open("a") as file:
        file.write(f"{os.getpid()}\n")
    with state.alive(), socket.socket(fileno=line) as end:
        if rate == 1e30:
            state.update(status="failed", reason="round 1: expected finite server weights")
            sys.exit(2)
        sink, rounds = Line(end, state.values["metric"]), folder / "rounds.jsonl"
        done = len(rounds.read_text().splitlines()) if rounds.exists() else 0
        try:
            for number in range(done, state.config.rounds + 1):
                value = number / (1 + abs(math.log10(rate) + 1)) / 100
                with rounds.open("a") as file:
                    file.write(json.dumps({"round": number}) + "\n")
                sink.round_done(
                    RoundReport(number, (), (), {state.values["metric"]: value}, 0, 0.0, {})
                )
                if number == 2 and (folder.parents[2] / "strike").exists() and not done:
                    os.kill(os.getpid(), signal.SIGKILL)
                while number == 2 and (folder.parents[2] / "slow").exists():
                    time.sleep(0.01)
        except Pruned as err:
            state.update(status="pruned", reason=str(err))
            return
        state.update(status="finished", value=value)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[3]))
