"""Step `reproduce`: runs a recorded run again, from its commit, its data and its settings, and
compares the weights of every round.

It needs a clone of the project, the MLflow store, and the DVC remote or the source of the data.
"""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.config.algorithm_table import ALGORITHMS
from fedpipe.config.load import read_params
from fedpipe.config.params_file import leave_out_ignored
from fedpipe.errors import ConfigError, DataError
from fedpipe.lineage.git_worktree import file_at, worktree_of
from fedpipe.lineage.rerun import Rerun, bring_data, run_again
from fedpipe.lineage.weight_diff import (
    Difference,
    History,
    first_difference,
    first_difference_without_noise,
    read_history,
)
from fedpipe.project.paths import Project
from fedpipe.runs.history import WEIGHTS_NAME
from fedpipe.runs.lineage import INITIAL_NAME, LINEAGE, PARAMS_NAME, PATCH_NAME, TAGS_NAME
from fedpipe.status import MlflowStatus
from fedpipe.tracking.artifacts import artifact_names, read_artifact
from fedpipe.tracking.lookup import find_run
from fedpipe.tracking.store import Store, read_store
from fedpipe.tracking.tags import (
    ALGORITHM_GROUPS,
    DVC_DATA_MD5,
    GIT_COMMIT,
    GIT_DIRTY,
    GIT_PATCH,
    PLAN_SHA256,
    PRIVACY_MECHANISM,
    PRIVACY_RELEASED,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

    from fedpipe.types import Weights

_COMPARED = ("version.", "host.", ALGORITHM_GROUPS, "algorithm.aggregator", "algorithm.data")
_FRESH_NOISE = (
    "the noise of a private run is drawn from a secret key and cannot be drawn again: compared "
    "are the data, settings, cohorts, initial weights and each round's failed clients and "
    "examples, not the weights after round 0"
)


@dataclass(frozen=True)
class Reproduction:
    """Result of a reproduction.

    Attributes:
        run_id: the run that was reproduced.
        result: `identical`, `identical but for the noise` of a private run, or `differs`.
        difference: the first difference.
        rounds: rounds that were compared, round 0 counted.
        data: how the data were made available, and their md5 then and now.
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


def reproduce(project: Project, name: str, say: Callable[[str], None]) -> Reproduction:
    """Run a recorded run again and compare; nothing of the new run is kept.

    Args:
        project: a clone that has the run's commit.
        name: the run, as `tracking.lookup.find_run` takes it.
        say: takes a line when a part begins.

    Raises:
        TrackingError: the store cannot be read, or has no such run.
        ConfigError: the run did not finish, has no commit or no settings, or this clone does not
            have the commit.
        DataError: its data can neither be pulled nor prepared again, or are others.
        RoundError: the run failed; the message ends in its own.
    """
    start = time.perf_counter()
    store = read_store(project.root)
    run = find_run(store, name)
    tags = run.data.tags
    run_id = run.info.run_id
    commit = tags.get(GIT_COMMIT, "none")
    _require_finished(run_id, run.info.status, commit)
    with tempfile.TemporaryDirectory(prefix="fedpipe-reproduce-") as folder:
        scratch = Path(folder)
        params, weights = _required_files(store, run, scratch)
        patch = read_artifact(store, run, f"{LINEAGE}/{PATCH_NAME}", scratch)
        initial = read_artifact(store, run, f"{LINEAGE}/{INITIAL_NAME}", scratch)
        notes = _notes(project, tags, commit, patch)
        changes = " and the changes that the run had" if patch else ""
        say(f"commit {commit[:12]}{changes}, in a work tree of its own")
        leave_out_ignored(params)
        with worktree_of(project, commit, patch) as tree:
            with suppress(ConfigError):  # the fedpipe of the commit judges the commit's file
                leave_out_ignored(tree.params)
            how, verified = bring_data(tree, tags[DVC_DATA_MD5], say)
            say("the run, with the settings that it had")
            rerun = run_again(
                tree,
                scratch,
                params=params,
                name=str(run.info.run_name),
                options=[*_machine_options(tags, params), *_initial_options(initial)],
                verified=verified,
            )
            if rerun.data_md5 != tags[DVC_DATA_MD5]:
                raise DataError(
                    f"run {run_id}: expected data with md5 {tags[DVC_DATA_MD5]}, found "
                    f"{rerun.data_md5} ({how}). Bring the source as it was, or add the DVC "
                    "remote that has the data (`dvc remote list`)."
                )
            new_tags = json.loads((rerun.folder / LINEAGE / TAGS_NAME).read_text(encoding="utf-8"))
            recorded = read_history(weights)
            repeated = read_history(rerun.folder / LINEAGE / WEIGHTS_NAME)
            result = "identical"
            if _has_secret_noise(tags):
                notes.append(_FRESH_NOISE)
                result = "identical but for the noise"
                difference = Difference(0, ("the cohort plan",))
                if tags.get(PLAN_SHA256) == new_tags.get(PLAN_SHA256):
                    difference = first_difference_without_noise(recorded, repeated)
            else:
                difference = _compare_weights(
                    store, run, scratch, rerun, recorded=recorded, repeated=repeated
                )
    names = sorted(
        key
        for key in tags.keys() | new_tags
        if key.startswith(_COMPARED) and tags.get(key) != new_tags.get(key)
    )
    return Reproduction(
        run_id=run_id,
        result=result if difference.round_num is None else "differs",
        difference=difference,
        rounds=len(recorded),
        data={"how": how, "md5": tags[DVC_DATA_MD5], "md5_now": rerun.data_md5},
        environment={key: [tags.get(key), new_tags.get(key)] for key in names},
        notes=notes,
        seconds=time.perf_counter() - start,
    )


def _require_finished(run_id: str, status: str, commit: str) -> None:
    if status != MlflowStatus.FINISHED:
        raise ConfigError(
            f"run {run_id}: expected a run that finished, found it {status}. Finish it with "
            "`fedpipe resume`."
        )
    if commit == "none":
        raise ConfigError(
            f"run {run_id}: expected a run with a git commit, found it was made without one, and "
            "cannot be repeated."
        )


def _required_files(store: Store, run: "Run", scratch: Path) -> tuple[Path, Path]:
    """Return the files of a run's settings and of its history of weights."""
    paths = []
    missing = []
    for name in (PARAMS_NAME, WEIGHTS_NAME):
        path = read_artifact(store, run, f"{LINEAGE}/{name}", scratch)
        if path is None:
            missing.append(name)
        else:
            paths.append(path)
    if missing:
        raise ConfigError(
            f"run {run.info.run_id}: expected {', '.join(missing)} among its artifacts, found "
            "none: it is no training (a sweep's trials are), or an older fedpipe made it."
        )
    return paths[0], paths[1]


def _notes(project: Project, tags: Mapping[str, str], commit: str, patch: Path | None) -> list[str]:
    notes = []
    if tags.get(GIT_DIRTY) == "true" and patch is None:
        notes.append(
            "the run had uncommitted changes that are not kept "
            f"({tags.get(GIT_PATCH, 'names of secrets, or an older fedpipe')})"
        )
    lock = file_at(project, commit, "uv.lock")
    here = project.root / "uv.lock"
    if lock is not None and here.exists() and here.read_bytes() != lock:
        notes.append(
            "uv.lock was another at the run's commit; the code of the run was run with the "
            "packages installed here"
        )
    return notes


def _has_secret_noise(tags: Mapping[str, str]) -> bool:
    return tags.get(PRIVACY_MECHANISM, "none") != "none" and PRIVACY_RELEASED in tags


def _machine_options(tags: Mapping[str, str], params: Path) -> list[str]:
    """Return options that make this machine compute as the run's did.

    The number of groups belongs to the result, and follows the machine's cores where it is not set.
    Remote workers do not belong to it: the run is repeated on this machine.
    """
    settings = read_params(params)
    options = []
    groups = tags.get(ALGORITHM_GROUPS, "")
    algorithm = ALGORITHMS.get(settings.get("algorithm", {}).get("name", ""))
    # `centralized` ignores groups: its one pool counts as a group.
    if groups.isdigit() and not (algorithm and algorithm.ignored("runtime.groups")):
        options += ["-S", f"runtime.groups={groups}"]
    if settings.get("runtime", {}).get("remote"):
        options += ["-S", "runtime.remote=[]"]
    return options


def _initial_options(initial: Path | None) -> list[str]:
    """Return the option that starts from the very weights that the run started from: an alias may
    have moved since.
    """
    if initial is None:
        return []
    return ["-S", f"model.initial={initial}"]


def _compare_weights(
    store: Store,
    run: "Run",
    scratch: Path,
    rerun: Rerun,
    *,
    recorded: History,
    repeated: History,
) -> Difference:
    from fedpipe.models.weights_io import load_weights

    rerun_weights = rerun.folder / "weights"
    files = {
        int(name.removeprefix("round_").removesuffix(".safetensors")): name
        for name in artifact_names(store, run, "weights")
        if name.startswith("round_")
    }
    files[max(recorded, default=0)] = "last.safetensors"

    def load_both(round_num: int) -> "tuple[Weights, Weights]":
        name = files[round_num]
        path = read_artifact(store, run, f"weights/{name}", scratch)
        if path is None:
            raise ConfigError(f"run {run.info.run_id}: expected its weights/{name}, found none.")
        return load_weights(path), load_weights(rerun_weights / name)

    saved_rounds = [number for number, name in files.items() if (rerun_weights / name).exists()]
    return first_difference(recorded, repeated, saved_rounds, load_both)
