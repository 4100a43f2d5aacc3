"""A run that a benchmark strikes is held at a point, and continues from there when it is let go."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]
POINTS = ROOT / "tests" / "e2e" / "faults" / "hold_points"
PROGRAM = """
from fedpipe.runs.recorder import Recorder
from fedpipe.types import RoundReport
from pathlib import Path
import sys
recorder = Recorder(Path(sys.argv[1]))
for number in range(4):
    recorder.round_done(RoundReport(number, (), (), {}, 0, 0.0, {}))
    print(number, flush=True)
"""


def test_it_waits_at_the_call_of_a_round_and_goes_on_when_let_go(tmp_path: Path) -> None:
    holds = {
        "PYTHONPATH": os.pathsep.join([str(POINTS), str(ROOT)]),
        "FEDPIPE_HOLD": "done@2",
        "FEDPIPE_HOLD_FOLDER": str(tmp_path),
    }
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(
        command, env=os.environ | holds, stdout=subprocess.PIPE, text=True
    ) as process:
        limit = time.monotonic() + 60
        while (
            not (tmp_path / "done@2.reached").exists()
            and process.poll() is None
            and time.monotonic() < limit
        ):
            time.sleep(0.01)
        assert process.poll() is None
        assert (tmp_path / "rounds.jsonl").read_text().count("\n") == 2  # rounds 0 and 1
        (tmp_path / "done@2.go").touch()
        assert process.communicate(timeout=60)[0] == "0\n1\n2\n3\n"


def test_every_point_is_there() -> None:
    """Each function that is a point exists under its name."""
    import importlib

    sys.path.insert(0, str(POINTS))
    try:
        import sitecustomize
    finally:
        sys.path.remove(str(POINTS))
        sys.modules.pop("sitecustomize", None)
    for module, points in sitecustomize.POINTS.items():
        for path in points:
            owner = importlib.import_module(module)
            for name in path.split("."):
                owner = getattr(owner, name)
            assert callable(owner), (module, path)
