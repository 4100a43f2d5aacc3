"""Step `reproduce`: runs a recorded run again, from its commit, its data and its settings, and
compares the weights of every round.

What it needs is a clone of the project, the MLflow store, and the DVC remote or whatever the data
can be prepared from again.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fedpipe.config.algorithms import ALGORITHMS
from fedpipe.config.load import read_params
from fedpipe.errors import ConfigError, DataError, RoundError, program_error
from fedpipe.lineage.git_worktree import file_at, worktree_of
from fedpipe.lineage.weight_diff import Difference, first_difference
from fedpipe.project import dvc
from fedpipe.project.paths import Project
from fedpipe.runs.history import WEIGHTS_NAME
from fedpipe.runs.lineage import LINEAGE, PARAMS_NAME, PATCH_NAME, TAGS_NAME
from fedpipe.runs.parts import INCOMPLETE_EXIT_CODE
from fedpipe.system.git import repository_environment

_COMPARED = ("version.", "host.", "algorithm.groups", "algorithm.aggregator", "algorithm.data")
_END_SECONDS = 30
_FRESH_NOISE = (
    "the noise of a private run is drawn from a secret key and cannot be drawn again: compared "
    "are the data, settings, cohorts, initial weights and each round's failed clients and "
    "examples, not the weights after round 0"
)


@dataclass(frozen=True)
class Reproduction:
    """What came of it.

    Attributes:
        run_id: the run that was reproduced.
        result: `identical`, `identical but for the noise` of a private run, or `differs`.
        difference: the first difference.
        rounds: rounds that were compared, round 0 counted.
        data: how the data were had, and their md5 then and now.
        environment: what differs, by name: then and now.
        notes: what else may explain a difference.
        seconds: wall time.
    """

    run_id: str
    result: str
    difference: Difference
    rounds: int
    data: dict[str, str]
    environment: dict[str, list[str | None]]
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))


def reproduce(project: Project, wanted: str, say: Callable[[str], None]) -> Reproduction:
    """Run the run that `wanted` names (see `tracking.lookup.find_run`) again and compare; nothing
    of it is kept.

    Args:
        project: a clone that has the run's commit.
        wanted: the run.
        say: takes a line when a part begins.

    Raises:
        TrackingError: the store cannot be read, or has no such run.
        ConfigError: the run did not finish, has no commit or no settings, or this clone does not
            have the commit.
        DataError: its data cannot be had: neither pulled nor prepared again, or they are others.
        RoundError: the run failed; the message ends in what it said.
    """
    from fedpipe.tracking.artifacts import read_artifact
    from fedpipe.tracking.lookup import find_run
    from fedpipe.tracking.store import read_store

    start = time.perf_counter()
    store = read_store(project.root)
    run = find_run(store, wanted)
    tags = run.data.tags
    run_id = run.info.run_id
    commit = tags.get("git.commit", "none")
    _refuse(run_id, run.info.status, commit)
    with tempfile.TemporaryDirectory(prefix="fedpipe-reproduce-") as name:
        kept = Path(name)
        needed = {
            part: read_artifact(store, run, f"{LINEAGE}/{part}", kept)
            for part in (PARAMS_NAME, WEIGHTS_NAME)
        }
        missing = [part for part, path in needed.items() if path is None]
        if missing:
            raise ConfigError(
                f"run {run_id}: expected {', '.join(missing)} among its artifacts, found none: it "
                "is no training (a sweep's trials are), or an older fedpipe made it."
            )
        patch = read_artifact(store, run, f"{LINEAGE}/{PATCH_NAME}", kept)
        notes = _notes(project, tags, commit, patch)
        say(
            f"commit {commit[:12]}{' and the changes that the run had' if patch else ''}, in a "
            "work tree of its own"
        )
        with worktree_of(project, commit, patch) as there:
            how, verified = _bring_data(there, tags["dvc.data_md5"], say)
            say("the run, with the settings that it had")
            params = needed[PARAMS_NAME]
            summary = _run(
                there,
                kept,
                Path(str(params)),
                str(run.info.run_name),
                _same_groups(tags, Path(str(params))),
                verified,
            )
            if summary["data_md5"] != tags["dvc.data_md5"]:
                raise DataError(
                    f"run {run_id}: expected data with md5 {tags['dvc.data_md5']}, found "
                    f"{summary['data_md5']} ({how}). Bring the source as it was, or add the DVC "
                    "remote that has the data (`dvc remote list`)."
                )
            folder = Path(summary["run_dir"])
            recorded = _lines(needed[WEIGHTS_NAME])
            found = _lines(folder / LINEAGE / WEIGHTS_NAME)
            secret = tags.get("privacy.mechanism", "none") != "none" and "privacy.released" in tags
            now = json.loads((folder / LINEAGE / TAGS_NAME).read_text(encoding="utf-8"))
            if secret:
                notes.append(_FRESH_NOISE)
                difference = _but_for_the_noise(tags, now, recorded, found)
            else:
                difference = _compare(store, run, kept, folder / "weights", recorded, found)
    same = "identical but for the noise" if secret else "identical"
    names = sorted(
        key
        for key in tags.keys() | now
        if key.startswith(_COMPARED) and tags.get(key) != now.get(key)
    )
    return Reproduction(
        run_id=run_id,
        result=same if difference.round_num is None else "differs",
        difference=difference,
        rounds=len(recorded),
        data={"how": how, "md5": tags["dvc.data_md5"], "md5_now": summary["data_md5"]},
        environment={key: [tags.get(key), now.get(key)] for key in names},
        notes=notes,
        seconds=time.perf_counter() - start,
    )


def _refuse(run_id: str, status: str, commit: str) -> None:
    if status != "FINISHED":
        raise ConfigError(
            f"run {run_id}: expected a run that finished, found it {status}. Bring it to its end "
            "(`fedpipe resume`)."
        )
    if commit == "none":
        raise ConfigError(
            f"run {run_id}: expected a run with a git commit, found it was made without one, and "
            "cannot be repeated."
        )


def _notes(project: Project, tags: Mapping[str, str], commit: str, patch: Path | None) -> list[str]:
    notes = []
    if tags.get("git.dirty") == "true" and patch is None:
        notes.append(
            "the run had uncommitted changes that are not kept "
            f"({tags.get('git.patch', 'names of secrets, or an older fedpipe')})"
        )
    lock = file_at(project, commit, "uv.lock")
    here = project.root / "uv.lock"
    if lock is not None and here.exists() and here.read_bytes() != lock:
        notes.append(
            "uv.lock was another at the run's commit; the code of the run was run with the "
            "packages installed here"
        )
    return notes


def _same_groups(tags: Mapping[str, str], params: Path) -> list[str]:
    """Return the number of groups as a setting: it belongs to the result, and follows the machine's
    cores where it is not set.

    The machines of a run that was spread over some do not belong to it: it is repeated on this one.
    """
    groups = tags.get("algorithm.groups", "")
    named = ALGORITHMS.get(read_params(params).get("algorithm", {}).get("name", ""))
    ignored = named is not None and named.ignored(
        "runtime.groups"
    )  # `centralized`, whose one pool counts as a group
    here = (
        ["-S", "runtime.remote=[]"] if read_params(params).get("runtime", {}).get("remote") else []
    )
    return [
        *(["-S", f"runtime.groups={groups}"] if groups.isdigit() and not ignored else []),
        *here,
    ]


def _bring_data(there: Project, md5: str, say: Callable[[str], None]) -> tuple[str, bool]:
    """Have the shards pulled where `dvc.lock` names them; return how the data are had, and whether
    they are there already.
    """
    from fedpipe.data.digest import dvc_md5

    if dvc.locked_md5(there.root, "prepare", "data/shards") != md5:
        say("data: prepared again, dvc.lock does not name this version")
        return "prepared again: dvc.lock does not name this version", False
    say(f"data {md5[:12]}: pulled through DVC")
    try:
        dvc.pull(there.root, "data/shards")
    except DataError as err:
        say("data: cannot be pulled, prepared again")
        return f"prepared again: not in DVC's cache and remote: {str(err)[:300]}", False
    found = dvc_md5(there.shards)
    if found != md5:
        raise DataError(
            f"{there.shards}: expected the data with md5 {md5}, as DVC pulled them, found {found}."
        )
    return "pulled through DVC", True


def _run(
    there: Project, scratch: Path, params: Path, name: str, options: list[str], verified: bool
) -> dict[str, Any]:
    """Return the summary of `fedpipe run` by the work tree's own code, in a store that is thrown
    away.
    """
    path = os.pathsep.join(
        [str(_code_of(there, scratch)), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    environment = repository_environment(there.root) | {
        "PYTHONPATH": path,
        "MLFLOW_TRACKING_URI": f"sqlite:///{scratch / 'mlflow.db'}",
    }
    for variable in (
        "DVC_STAGE",
        "DVC_EXP_NAME",
        "MLFLOW_DEFAULT_ARTIFACT_ROOT",
    ):  # the last is the team's bucket
        environment.pop(variable, None)
    if verified:
        environment["DVC_STAGE"] = (
            # the shards are verified and DVC is not asked: what they were made from may not be here
            "reproduce"
        )
    command = [
        sys.executable,
        "-P",
        "-m",
        "fedpipe",
        "run",
        "--json",
        "--params",
        str(params),
        "--name",
        f"reproduce-{name}",
        *options,
    ]
    out = scratch / "stdout"
    err = scratch / "stderr"
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(
            command,
            cwd=there.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
        try:
            code = process.wait()
        except BaseException:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            raise
    if code not in (0, INCOMPLETE_EXIT_CODE):  # a picture that fails changes no weights
        reason = (
            program_error(err.read_text(encoding="utf-8", errors="replace")) or "it gave no reason"
        )
        raise RoundError(
            f"the run failed with exit code {code}: {reason.removeprefix('fedpipe: ')}"
        )
    summary: dict[str, Any] = json.loads(out.read_text(encoding="utf-8").splitlines()[-1])
    return summary


def _code_of(there: Project, scratch: Path) -> Path:
    """Return a folder with links to the packages of fedpipe that the work tree has: on Python's
    path, without the user's other files.
    """
    folder = scratch / "code"
    folder.mkdir()
    for package in ("fedpipe", "flows"):
        if (there.root / package / "__init__.py").is_file():
            (folder / package).symlink_to(there.root / package)
    return folder


def _compare(
    store: Any,
    run: Any,
    scratch: Path,
    folder: Path,
    recorded: list[dict[str, Any]],
    found: list[dict[str, Any]],
) -> Difference:
    from fedpipe.models.weights_io import load_weights
    from fedpipe.tracking.artifacts import artifact_names, read_artifact
    from fedpipe.types import Weights

    last = max((int(line["round"]) for line in recorded), default=0)
    files = {
        int(name[6:-12]): name
        for name in artifact_names(store, run, "weights")
        if name.startswith("round_")
    }
    files[last] = "last.safetensors"

    def weights(number: int) -> tuple[Weights, Weights]:
        path = read_artifact(store, run, f"weights/{files[number]}", scratch)
        if path is None:
            raise ConfigError(
                f"run {run.info.run_id}: expected its weights/{files[number]}, found none."
            )
        return load_weights(path), load_weights(folder / files[number])

    kept = [number for number, name in files.items() if (folder / name).exists()]
    return first_difference(recorded, found, kept, weights)


def _but_for_the_noise(
    tags: Mapping[str, str],
    now: Mapping[str, str],
    recorded: list[dict[str, Any]],
    found: list[dict[str, Any]],
) -> Difference:
    """Return the first difference of two private runs that is not noise: another plan counts as
    round 0.
    """
    if tags.get("fedpipe.plan_sha256") != now.get("fedpipe.plan_sha256"):
        return Difference(0, ("the cohort plan",))
    again = {int(line["round"]): line for line in found}
    for line in recorded:
        number = int(line["round"])
        other = again.get(number)
        keys = ("sha256", "failed", "examples") if number == 0 else ("failed", "examples")
        different = tuple(key for key in keys if other is None or other[key] != line[key])
        if different:
            return Difference(number, different)
    return Difference(None)


def _lines(path: Path | None) -> list[dict[str, Any]]:
    try:
        return [
            json.loads(line) for line in Path(str(path)).read_text(encoding="utf-8").splitlines()
        ]
    except (OSError, ValueError) as err:
        raise ConfigError(
            f"{path}: expected a line of JSON a round, found {err}. The commit's code may be older."
        ) from err
