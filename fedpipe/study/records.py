"""A study in MLflow: a parent run, under it a run for each arm, and under these the arm's runs."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fedpipe.project.paths import Project
from fedpipe.study.plan import Plan, PlannedRun
from fedpipe.study.results import StudyResult, condition_text
from fedpipe.system.atomic_files import write_atomic
from fedpipe.tracking.tags import (
    PARENT,
    STUDY,
    STUDY_ARM,
    STUDY_CONDITION,
    STUDY_CONDITIONS,
    STUDY_METRIC,
    STUDY_SEED,
    STUDY_SEEDS,
)

if TYPE_CHECKING:
    from fedpipe.tracking.store import Store

_KEY_NAME = "key.txt"
_ARTIFACTS = "study"


@dataclass(frozen=True)
class StudyRecord:
    """The parent run and the runs of the arms.

    Attributes:
        run_id: of the parent.
        arms: id of each arm's run.
        url: of the parent's page.
    """

    store: "Store"
    name: str
    run_id: str
    arms: Mapping[str, str]
    url: str

    @classmethod
    def open(cls, project: Project, planned: Plan, folder: Path) -> Self:
        """Return the record of a study, made where it is not there yet.

        Args:
            project: whose store is written.
            planned: the study.
            folder: of the study; a file in it has the key by which its runs are found again.

        Raises:
            TrackingError: the store cannot be written.
        """
        from fedpipe.tracking.environment import environment_tags
        from fedpipe.tracking.store import open_store, run_url
        from fedpipe.tracking.sweeps import start_parent

        study = planned.study
        path = folder / _KEY_NAME
        if not path.exists():
            write_atomic(path, uuid.uuid4().hex)
        key = path.read_text(encoding="utf-8")
        store = open_store(project.root, planned.runs[0].config.tracking.experiment)
        # Tags, as a study may grow: MLflow's params cannot be changed.
        tags = {
            **environment_tags(project.root),
            STUDY_METRIC: planned.metric,
            STUDY_SEEDS: json.dumps(study.seed_list),
            STUDY_CONDITIONS: json.dumps(study.conditions),
        }
        parent = start_parent(store, str(study.name), {}, tags, key, STUDY)
        arms = {}
        for arm, settings in study.arms.items():
            about = {STUDY_ARM: arm, PARENT: parent}
            own_key = uuid.uuid5(uuid.UUID(key), arm).hex
            arms[arm] = start_parent(store, f"{study.name}-{arm}", settings, about, own_key, STUDY)
        url = run_url(store, store.experiment_id, parent)
        return cls(store, str(study.name), parent, arms, url)

    def tags_of(self, run: PlannedRun) -> dict[str, str]:
        """Return the tags of one of the study's runs."""
        return {
            PARENT: self.arms[run.arm],
            STUDY: self.name,
            STUDY_ARM: run.arm,
            STUDY_CONDITION: condition_text(run.condition),
            STUDY_SEED: str(run.seed),
        }

    def conclude(self, result: StudyResult, files: Mapping[str, Path]) -> None:
        """Log the result to the parent run, the mean of each arm to its run, and mark them as
        finished.

        Raises:
            TrackingError: the store cannot be written.
        """
        from fedpipe.tracking.run import TrackedRun

        parent = TrackedRun.attach(self.store, self.run_id)
        for file in files.values():
            parent.log_file(file, _ARTIFACTS)
        for arm, run_id in self.arms.items():
            means = [cell.summary.mean for cell in result.cells if cell.arm == arm]
            with self.store.guard(f"write the result of arm {arm}"):
                for number, mean in enumerate(means):
                    self.store.client.log_metric(
                        run_id, f"study/{result.metric}", mean, step=number
                    )
            TrackedRun.attach(self.store, run_id).finish()
        parent.finish()
