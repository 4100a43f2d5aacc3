"""The disk is full: of the runs' files in the middle of a run, of the shards, of MLflow's artifacts. Small file systems of their own."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from fedpipe.runs.optional_parts import INCOMPLETE_EXIT_CODE
from tests.e2e.faults.clone import LIMIT_SECONDS, Clone, Outcome
from tests.e2e.faults.machine import mounted

RUNS_MB, ARTIFACTS_KB, SHARDS_KB = 64, 256, 400


def checkpoints_full(clone: Clone) -> Outcome:
    """No room for the runs' files from a round on; `fedpipe resume` when there is room."""
    name, runs = "disk full: checkpoints", clone.project / ".fedpipe" / "runs"
    with mounted(runs, f"size={RUNS_MB}m"):
        filler = runs / "filler"
        with clone.running(holds=["done@5"]) as process:
            clone.hold(process, "done@5")
            _fill(filler)
            clone.release("done@5")
            code = process.wait(LIMIT_SECONDS)
        said = clone.said
        before = _contents(clone, runs / "*" / "checkpoints")
        filler.unlink()
        return _refused(name, code, said) or clone.judge(
            name, clone.resume(), f"{len(before)} checkpoints stayed; {_last(said)}"
        )


def artifacts_full(clone: Clone) -> Outcome:
    """No room for MLflow's artifacts: the run is recorded without them; `fedpipe resume` makes up for it when there is room."""
    name, artifacts = "disk full: artifacts", clone.project / "mlartifacts"
    with mounted(artifacts, f"size={ARTIFACTS_KB}k"):
        with clone.running("-S", "tracking.wait_seconds=2") as process:
            code = process.wait(LIMIT_SECONDS)
        said, incomplete = (
            clone.said,
            clone.answered.get("incomplete", {}) if code == INCOMPLETE_EXIT_CODE else {},
        )
        if not incomplete or "Traceback" in said:
            return Outcome(
                name,
                False,
                note=f"expected exit code 3 and parts that are named, found {code}: {said[-3000:]}",
            )
        return _with_room(
            artifacts,
            lambda: clone.judge(name, clone.resume(), f"{len(incomplete)} parts were missing"),
        )


def shards_full(clone: Clone) -> Outcome:
    """No room for the shards: an error, what was there stays; with room the same run goes on."""
    name, data = "disk full: shards", clone.project / "data"
    earlier = _contents(clone, data / "shards")
    shutil.rmtree(
        clone.project / ".dvc" / "cache", ignore_errors=True
    )  # else DVC brings them back from there
    with mounted(data, f"size={SHARDS_KB}k"):
        with clone.running() as process:
            code = process.wait(LIMIT_SECONDS)
        said, half = clone.said, [path.name for path in data.iterdir()]
        refused = _refused(name, code, said)
        if refused or half:
            return refused or Outcome(
                name, False, note=f"expected nothing half made, found {half}: {_last(said)}"
            )
        outcome = _with_room(data, lambda: clone.judge(name, clone.resume(), _last(said)))
    if _contents(clone, data / "shards") != earlier:
        return Outcome(name, False, note="the shards that were there before are others now")
    return outcome


def _refused(name: str, code: int, said: str) -> Outcome | None:
    """Return what was not as promised, if anything: one line that says what is full, exit code 2, no traceback."""
    if (
        code == 2
        and "Traceback" not in said
        and any(word in said for word in ("No space left", "full"))
    ):
        return None
    where = max(said.find("Traceback") - 300, 0)
    return Outcome(
        name,
        False,
        note=f"expected exit code 2, no traceback and 'No space left', found {code}: {said[where : where + 3000]}",
    )


def _with_room(where: Path, then: Callable[[], Outcome]) -> Outcome:
    subprocess.run(["mount", "-o", "remount,size=512m", str(where)], check=True)
    return then()


def _contents(clone: Clone, folder: Path) -> dict[str, bytes]:
    pattern = str(folder.relative_to(clone.project) / "*")
    return {str(path): path.read_bytes() for path in clone.project.glob(pattern) if path.is_file()}


def _last(said: str) -> str:
    return said.strip().splitlines()[-1][-300:]


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue  # no room for so much
