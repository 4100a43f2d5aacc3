"""The number of groups of a run whose settings leave it to the machine: noted when it first trains,
and used whenever it resumes.
"""

import json
from pathlib import Path
from typing import Any

from fedpipe.config.schema import RuntimeConfig
from fedpipe.system.atomic_files import write_atomic
from fedpipe.tracking.tags import ALGORITHM_GROUPS

GROUPS_NAME = "groups.json"
"""In the run's folder: `{"groups": 2}`."""


def keep_groups(runtime: RuntimeConfig, algorithm: Any, run_dir: Path) -> None:
    """Give the algorithm the number of groups that the run has had since its start, so that another
    number of cores, or a quota that was changed meanwhile, does not change its bits.

    Args:
        runtime: settings; with `groups` or `remote` they say the number themselves, and nothing is
            noted.
        algorithm: as it was built; nothing happens to one that does not compute its clients in
            groups.
        run_dir: the run's folder.
    """
    groups = algorithm.info.get(ALGORITHM_GROUPS, "none")
    if (
        runtime.set_groups is not None
        or not groups.isdigit()
        or not hasattr(algorithm, "use_groups")
    ):
        (run_dir / GROUPS_NAME).unlink(missing_ok=True)  # a sweep notes its number for every trial
        return
    noted = noted_groups(run_dir)
    if noted is None:
        note_groups(run_dir, int(groups))
    else:
        algorithm.use_groups(noted)


def note_groups(run_dir: Path, groups: int) -> None:
    """Note the number of groups of a run before it trains."""
    write_atomic(run_dir / GROUPS_NAME, json.dumps({"groups": groups}) + "\n")


def noted_groups(run_dir: Path) -> int | None:
    """Return the number of groups that a run started with, None if its folder does not say."""
    try:
        return int(json.loads((run_dir / GROUPS_NAME).read_text(encoding="utf-8"))["groups"])
    except FileNotFoundError:
        return None
