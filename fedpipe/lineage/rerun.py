"""Runs a recorded run again in a work tree: brings its data and starts `fedpipe run` there."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedpipe.errors import DataError, RoundError, program_error
from fedpipe.project import dvc
from fedpipe.project.paths import Project
from fedpipe.runs.optional_parts import INCOMPLETE_EXIT_CODE
from fedpipe.system.git import repository_environment

_END_SECONDS = 30
_NOT_FOR_THE_RERUN = ("DVC_STAGE", "DVC_EXP_NAME", "MLFLOW_DEFAULT_ARTIFACT_ROOT")
"""Environment variables that would change the run; the last names the team's bucket."""


@dataclass(frozen=True)
class Rerun:
    """A run that finished in a work tree: its folder, and DVC's md5 of its data."""

    folder: Path
    data_md5: str


def bring_data(tree: Project, md5: str, say: Callable[[str], None]) -> tuple[str, bool]:
    """Pull the shards through DVC if `dvc.lock` names them.

    Args:
        tree: the work tree.
        md5: DVC's md5 of the shards.
        say: takes a line of progress.

    Returns:
        How the data are made available, and whether the shards are there already.

    Raises:
        DataError: DVC pulled other data.
    """
    from fedpipe.data.digest import dvc_md5

    if dvc.locked_md5(tree.root, "prepare", "data/shards") != md5:
        say("data: prepared again, dvc.lock does not name this version")
        return "prepared again: dvc.lock does not name this version", False
    say(f"data {md5[:12]}: pulled through DVC")
    try:
        dvc.pull(tree.root, "data/shards")
    except DataError as err:
        say("data: cannot be pulled, prepared again")
        return f"prepared again: not in DVC's cache and remote: {str(err)[:300]}", False
    pulled_md5 = dvc_md5(tree.shards)
    if pulled_md5 != md5:
        raise DataError(
            f"{tree.shards}: expected data with md5 {md5}, but DVC pulled {pulled_md5}."
        )
    return "pulled through DVC", True


def run_again(
    tree: Project, scratch: Path, *, params: Path, name: str, options: list[str], verified: bool
) -> Rerun:
    """Run `fedpipe run` with the work tree's own code, in a store that is thrown away.

    Args:
        tree: the work tree.
        scratch: an empty folder, for the store and the output.
        params: the settings of the run.
        name: of the run that is repeated.
        options: more options of `fedpipe run`.
        verified: the shards are those of the run; DVC is not asked, as their source may be missing.

    Raises:
        RoundError: the run failed.
    """
    code_folder = _link_code(tree, scratch)
    environment = repository_environment(tree.root)
    for variable in _NOT_FOR_THE_RERUN:
        environment.pop(variable, None)
    python_path = [str(code_folder), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, python_path))
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{scratch / 'mlflow.db'}"
    if verified:
        environment["DVC_STAGE"] = "reproduce"
    command = [sys.executable, "-P", "-m", "fedpipe", "run", "--json"]
    command += ["--params", str(params), "--name", f"reproduce-{name}", *options]
    stdout = scratch / "stdout"
    stderr = scratch / "stderr"
    exit_code = _run(command, tree.root, environment, stdout, stderr)
    if exit_code not in (0, INCOMPLETE_EXIT_CODE):  # a picture that fails changes no weights
        reason = program_error(stderr.read_text(encoding="utf-8", errors="replace"))
        reason = (reason or "it gave no reason").removeprefix("fedpipe: ")
        raise RoundError(f"the run failed with exit code {exit_code}: {reason}")
    summary = json.loads(stdout.read_text(encoding="utf-8").splitlines()[-1])
    return Rerun(Path(summary["run_dir"]), summary["data_md5"])


def _run(
    command: list[str], folder: Path, environment: dict[str, str], stdout: Path, stderr: Path
) -> int:
    """Return the exit code of a command, which ends before this function does."""
    with stdout.open("w") as out, stderr.open("w") as err:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        try:
            return process.wait()
        except BaseException:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise


def _link_code(tree: Project, scratch: Path) -> Path:
    """Return a folder with links to the work tree's packages of fedpipe: on Python's path, without
    the user's other files.
    """
    folder = scratch / "code"
    folder.mkdir()
    for package in ("fedpipe", "flows"):
        if (tree.root / package / "__init__.py").is_file():
            (folder / package).symlink_to(tree.root / package)
    return folder
