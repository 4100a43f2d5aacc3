"""`import fedpipe` is cheap, and its names are there."""

import subprocess
import sys

HEAVY = ("tensorflow", "tensorflow_federated", "pandas", "numpy", "mlflow", "prefect", "pydantic")


def test_importing_fedpipe_imports_nothing_heavy_and_takes_no_time() -> None:
    script = (
        "import sys, time; start = time.perf_counter(); import fedpipe; "
        "seconds = time.perf_counter() - start; "
        f"print(seconds, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    times = []
    for _ in range(3):
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        seconds, _, modules = done.stdout.partition(" ")
        assert modules.strip() == "[]"
        times.append(float(seconds))
    assert min(times) < 0.1


def test_runs_is_a_function_and_the_package_of_that_name() -> None:
    import fedpipe
    import fedpipe.runs.state

    assert callable(fedpipe.runs)
    assert fedpipe.runs.state.RunState
    assert {"run", "runs", "load_run", "Run"} <= set(dir(fedpipe))
