"""The lineage that a run's tags name, written to its folder and read back."""

import json
from pathlib import Path

from fedpipe.runs.lineage import LINEAGE, TAGS_NAME, read_lineage, write_lineage

TAGS = {
    "git.commit": "c0ffee",
    "git.branch": "main",
    "git.dirty": "true",
    "git.patch": "sha256:ab",
    "dvc.data_md5": "0f.dir",
    "dvc.data_in_lock": "true",
    "dvc.experiment": "faster",
    "prefect.flow_run_id": "1234",
    "prefect.flow_run_name": "brave-fox",
    "prefect.url": "http://127.0.0.1:4200/1234",
    "fedpipe.plan_sha256": "9a",
}


def test_each_tag_has_its_place_in_the_file(tmp_path: Path) -> None:
    folder = tmp_path / LINEAGE
    folder.mkdir()
    (folder / TAGS_NAME).write_text(json.dumps(TAGS))
    path = write_lineage(folder, "run-1", "sqlite:///mlflow.db", "77")
    assert list(json.loads(path.read_text()).items()) == [
        ("git", {"commit": "c0ffee", "branch": "main", "dirty": True, "patch": "sha256:ab"}),
        ("dvc", {"data_md5": "0f.dir", "data_in_lock": True, "experiment": "faster"}),
        (
            "prefect",
            {
                "flow_run_id": "1234",
                "flow_run_name": "brave-fox",
                "url": "http://127.0.0.1:4200/1234",
            },
        ),
        ("plan_sha256", "9a"),
        ("initial", {"source": None, "sha256": None}),
        ("mlflow", {"run_id": "run-1", "store": "sqlite:///mlflow.db"}),
        ("weights_sha256", "77"),
    ]
    lineage = read_lineage(tmp_path)
    assert (lineage.git.commit, lineage.dvc.experiment, lineage.prefect.url) == (
        "c0ffee",
        "faster",
        "http://127.0.0.1:4200/1234",
    )
    assert (lineage.mlflow.run_id, lineage.weights_sha256) == ("run-1", "77")


def test_a_run_without_tags_has_a_lineage_without_links(tmp_path: Path) -> None:
    write_lineage(tmp_path / LINEAGE, "run-1", "sqlite:///mlflow.db", "77")
    lineage = read_lineage(tmp_path)
    assert (lineage.git.commit, lineage.git.dirty, lineage.dvc.data_in_lock) == (None, False, False)
    assert lineage.prefect.flow_run_id is None
