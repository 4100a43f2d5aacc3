"""A user with a clone of the project and a home of their own, in which commands are run and timed."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.lib.common import ROOT, BenchmarkError
from benchmarks.lib.processes import end_group

NOT_COPIED = ("tests/", "benchmarks/")


TIMEOUT_SECONDS = 600


class User:
    """Someone with a clone of the project and a home of their own, both kept from run to run."""

    def __init__(self, folder: Path, uv: bool) -> None:
        """Copy the project to `folder`; with `uv` install it there too, else run the one that is installed here."""
        self.project, self._home, self._uv = folder / "project", folder / "home", uv
        self._home.mkdir()
        for name in self._git(ROOT, "ls-files", "-z").split("\0"):
            if (ROOT / name).is_file() and not name.startswith(NOT_COPIED):
                (self.project / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.project / name)
        for command in (
            ["init", "--quiet"],
            ["add", "--all"],
            ["commit", "--quiet", "--message", "A clone"],
        ):
            self._git(
                self.project,
                "-c",
                "user.name=Benchmark",
                "-c",
                "user.email=benchmark@example.org",
                *command,
            )
        self._python = Path(sys.executable)
        if uv:
            self.timed(["uv", "sync", "--locked", "--quiet"], "uv sync")
            self._python = self.project / ".venv" / "bin" / "python"
        _require_bytecode(self._python)

    def fedpipe(self) -> tuple[float, dict[str, Any]]:
        """Return the wall seconds of `fedpipe run` and its summary."""
        program = ["uv", "run", "fedpipe"] if self._uv else [str(self._python.with_name("fedpipe"))]
        seconds, output = self.timed([*program, "run", "--json", "--timings"], "fedpipe run")
        summary: dict[str, Any] = json.loads(output)
        return seconds, summary

    def tutorial(self, data: Path) -> tuple[float, dict[str, Any]]:
        """Return the wall seconds of the tutorial's script and its figures."""
        result = self._home / "tutorial.json"
        script = Path(__file__).with_name("tutorial_script.py")
        seconds, _ = self.timed(
            [str(self._python), str(script), str(data), str(result)], "the tutorial's script"
        )
        figures: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return seconds, figures

    def many_runs(self, kind: str, runs: int) -> dict[str, Any]:
        """Run as often in one process; return its wall seconds as `wall`, those of the `first_run`, the median of the later ones as
        `later_run`, and the `weights`' hashes."""
        result = self._home / "many_runs.json"
        script = Path(__file__).with_name("many_runs.py")
        command = [str(self._python), str(script), kind, str(runs), str(result)]
        wall, _ = self.timed(command, f"{runs} {kind} runs")
        figures: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        first, *later = figures["seconds"]
        later_run = statistics.median(later or [first])
        return {
            "wall": wall,
            "first_run": first,
            "later_run": later_run,
            "weights": figures["weights"],
        }

    def timed(self, command: Sequence[str], what: str) -> tuple[float, str]:
        """Run a command and return its wall seconds and its stdout; then end what it left behind. Raises BenchmarkError."""
        out, err = self._home / "stdout", self._home / "stderr"
        with out.open("w") as stdout, err.open("w") as stderr:
            start = time.perf_counter()
            process = subprocess.Popen(
                list(command),
                cwd=self.project,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
            try:
                code = process.wait(TIMEOUT_SECONDS)
                seconds = time.perf_counter() - start
            except subprocess.TimeoutExpired as error:
                raise BenchmarkError(f"{what} took more than {TIMEOUT_SECONDS} s") from error
            finally:
                process.kill()
                process.wait()
                end_group(process.pid)  # stock TFF leaves its worker; not counted
        if code:
            tail = "\n".join(err.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
            raise BenchmarkError(f"{what} ended with code {code}. The end of its output:\n{tail}")
        return seconds, out.read_text(encoding="utf-8")

    def _environment(self) -> dict[str, str]:
        others = ("PREFECT_", "MLFLOW_", "DVC_", "PYTHON", "VIRTUAL_ENV")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        if self._uv:  # a user's home holds uv's cache; this home is empty
            kept["UV_CACHE_DIR"] = subprocess.run(
                ["uv", "cache", "dir"], capture_output=True, text=True, check=True
            ).stdout.strip()
        return kept | {"HOME": str(self._home), "DVC_NO_ANALYTICS": "true"}

    @staticmethod
    def _git(folder: Path, *arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        ).stdout


def _require_bytecode(python: Path) -> None:
    """Raise BenchmarkError if TensorFlow is not compiled: the import would be most of either time."""
    code = "import importlib.util as u, pathlib; print(u.cache_from_source(u.find_spec('tensorflow').origin))"
    path = subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(path).is_file():
        raise BenchmarkError(
            f"expected packages with bytecode, found no {path}. Compile it: `uv sync --compile-bytecode --reinstall`."
        )
