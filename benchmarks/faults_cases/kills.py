"""The run itself is killed at random moments, or told to end."""

import random
import signal
import subprocess
import time
from collections.abc import Iterator

from benchmarks.faults_cases.clone import Clone, Outcome

END_SECONDS = 10.0


def killed(clone: Clone, kills: int, seed: int) -> Iterator[Outcome]:
    """SIGKILL at `kills` moments between the first second and the end; then `fedpipe resume`."""
    draw = random.Random(seed)  # noqa: S311 - moments, not secrets
    for number in range(kills):
        moment = draw.uniform(1, clone.seconds)
        with clone.running() as process:
            time.sleep(moment)
            clone.note_family(process)
            ended = process.poll() is not None
            process.kill()
            process.wait()
        done = clone.rounds_done()
        summary = clone.answered if ended else clone.resume()
        yield clone.judge(f"SIGKILL {number + 1}", summary, f"after {moment:.1f} s, {done} rounds{', had ended' if ended else ''}")


def told_to_end(clone: Clone, number: signal.Signals) -> Outcome:
    """SIGINT or SIGTERM in a round: the run ends in time with its own exit code; then `fedpipe resume`."""
    with clone.running() as process:
        clone.wait_for(process, 5)
        start = time.monotonic()
        process.send_signal(number)
        try:
            code = process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return Outcome(number.name, False, note=f"it did not end within {END_SECONDS:g} s")
        seconds = time.monotonic() - start
    if code != 128 + number:
        return Outcome(number.name, False, note=f"expected exit code {128 + number}, found {code}")
    return clone.judge(number.name, clone.resume(), f"ended in {seconds:.1f} s with {code}")
