"""A session of `import fedpipe` within a running event loop; writes what it found as JSON."""

import asyncio
import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import fedpipe

BROKEN = """
def build(input_shape, num_classes):
    raise ValueError("not today")
"""


def error_of(call: Any) -> str:
    from fedpipe.errors import FedpipeError

    try:
        call()
    except FedpipeError as err:
        return f"{type(err).__name__}: {err}"
    return "no error"


def frame_rows(frame: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(
        frame.reset_index().to_json(orient="records", double_precision=15)
    )
    return rows


def interrupted_run(project: Path) -> dict[str, Any]:
    """Stop a run as a notebook's stop button does, and resume it."""
    lines = project / ".fedpipe" / "runs" / "stopped" / "rounds.jsonl"
    main = threading.main_thread().ident
    assert main is not None

    def stop_after_three_rounds() -> None:
        while not lines.exists() or lines.read_bytes().count(b"\n") < 3:
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=stop_after_three_rounds, daemon=True).start()
    message = "no interrupt"
    try:
        fedpipe.run(overrides={"rounds": 400}, name="stopped", project=project, quiet=True)
    except KeyboardInterrupt as err:
        message = str(err)
    run = fedpipe.load_run("stopped", project)
    done = lines.read_bytes().count(b"\n")
    return {
        "message": message,
        "status": run.status,
        "rounds": done,
        "summary": error_of(lambda: run.summary),
        "resumed": run.resume(quiet=True).status,
        "rows": len(run.metrics),
    }


async def session(project: Path, home: Path) -> dict[str, Any]:
    import numpy as np

    from fedpipe.types import weights_sha256

    commands: list[str] = []
    sys.addaudithook(
        lambda event, arguments: event == "subprocess.Popen" and commands.append(str(arguments[1]))
    )
    answers: dict[str, Any] = {"seconds": [], "servers": [], "folder": [], "errors": {}}
    answers["started_in"] = os.getcwd()
    runs = {}
    settings = {"client.learning_rate": 0.1, "rounds": 4, "tracking.save_every": 2}
    for name in ("first", "second"):
        commands.clear()
        start = time.perf_counter()
        runs[name] = fedpipe.run(overrides=settings, name=name, project=project, quiet=True)
        answers["seconds"].append(time.perf_counter() - start)
        answers["servers"].append(sum("uvicorn" in command for command in commands))
        answers["folder"].append(os.getcwd())
    run = runs["first"]
    answers |= {
        "id": run.id,
        "params": run.params,
        "summary": run.summary,
        "metrics": [
            {"round": int(number), **{key: value for key, value in row.items() if value == value}}
            for number, row in run.metrics.iterrows()
        ],
        "clients": {"rows": len(run.clients), "columns": list(run.clients.columns)},
        "cohorts": run.cohorts,
        "kept": run.kept_rounds,
        "weights": {name: weights_sha256(one.weights("final")) for name, one in runs.items()}
        | {"summary": run.summary["weights_sha256"], "number": weights_sha256(run.weights(4))},
        "repr": repr(run),
        "html": run._repr_html_(),
        "report": str(run.report(runs["second"])),
        "runs": list(fedpipe.runs(project=project)["name"]),
        "filtered": list(fedpipe.runs("name=second", project=project)["name"]),
    }
    digits = np.random.default_rng(1).integers(0, 256, (3, 28, 28), np.uint8)
    np.savez(home / "digits.npz", x=digits)
    model = fedpipe.load_run("first", project).model()
    predicted = model(digits)
    answers["model"] = {
        "columns": list(predicted.columns),
        "array": predicted.to_numpy().tolist(),
    }
    answers["resumed"] = run.resume().id
    own = project / "broken.py"
    own.write_text(BROKEN)
    errors = {
        "a round that is not kept": lambda: run.weights(3),
        "unknown key": lambda: fedpipe.run(overrides={"client.lr": 1}, project=project),
        "bad value": lambda: fedpipe.run(overrides={"rounds": 0}, project=project),
        "no project": lambda: fedpipe.run(project=home),
        "no such run": lambda: fedpipe.load_run("third", project),
        "another shape": lambda: model(np.zeros((2, 3), np.uint8)),
        "code that fails": lambda: fedpipe.run(
            overrides={"model.name": "broken:build"}, project=project, quiet=True
        ),
    }
    answers["errors"] = {case: error_of(call) for case, call in errors.items()}
    answers["interrupted"] = interrupted_run(project)
    answers["shapes"] = []
    code = (project / "fedpipe/templates/own/model.py.template").read_text()
    for hidden in ("16", "5"):
        (project / "mine.py").write_text(code.replace("HIDDEN = 16", f"HIDDEN = {hidden}"))
        changed = fedpipe.run(
            overrides={"model.name": "mine:build", "rounds": 1}, project=project, quiet=True
        )
        answers["shapes"].append(changed.weights()["in"].shape)
    return answers


if __name__ == "__main__":
    os.chdir(Path(sys.argv[2]).parent)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        found = asyncio.run(session(Path(sys.argv[1]), Path(sys.argv[2]).parent))
    found["stdout"] = printed.getvalue()
    Path(sys.argv[2]).write_text(json.dumps(found))
