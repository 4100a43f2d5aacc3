"""The data of a run or a registered model that this machine did not train: what the store keeps leads to its shards."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from fedpipe.config import load_config
from fedpipe.config.shard_settings import ShardSettings
from fedpipe.data.digest import dvc_md5
from fedpipe.data.population import Population
from fedpipe.errors import TrackingError
from fedpipe.lineage.queries import client_lineage
from fedpipe.project.paths import Project
from fedpipe.runs.find_data import data_of, find_run_shards
from fedpipe.runs.shards import current_shards
from fedpipe.tracking.run import DataRecord, TrackedRun
from fedpipe.tracking.store import Store, open_store


def start_run(store: Store, name: str, tags: dict[str, str]) -> TrackedRun:
    data = DataRecord("npz", "data/shards", "0" * 32 + ".dir", "npz", {})
    return TrackedRun.start(
        store,
        name=name,
        params={"data.source": "npz"},
        tags={"fedpipe.plan_sha256": "x", **tags},
        data=data,
    )


def test_a_model_leads_to_the_data_of_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    np.savez(
        tmp_path / "f.npz",
        x=np.arange(40.0).reshape(20, 2),
        label=np.arange(20) % 2,
        client=np.repeat(["u1", "u2"], 10),
    )
    (tmp_path / "params.yaml").write_text("cohort: {size: 1}\n")
    (tmp_path / "forgotten.json").write_text("[]\n")
    project = Project(tmp_path)
    config = load_config(
        project.params, ["data.source=npz", "data.path=f.npz", "data.clients=null"]
    )
    folder = current_shards(ShardSettings.of(config), project)
    store = open_store(tmp_path, "digits")
    run = start_run(store, "far away", {"dvc.data_md5": dvc_md5(folder), "data.population": "who"})
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "params.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    run.log_file(tmp_path / "kept" / "params.yaml", "lineage")
    run.finish()
    store.client.create_registered_model("flowers")
    store.client.create_model_version("flowers", f"runs:/{run.run_id}/model", run.run_id)
    store.client.set_registered_model_alias("flowers", "champion", "1")
    for wanted in ("flowers@champion", "flowers/1", run.run_id, "far away"):
        data = data_of(project, wanted)
        assert (data.title, data.run_id, data.population, data.settings) == (
            "run far away (npz f.npz)",
            run.run_id,
            "who",
            config.data,
        )
        assert Population.open(find_run_shards(project, data)).index.client_ids == ("u1", "u2")
    assert client_lineage(project, "u1", "flowers@champion").population == "who"
    start_run(store, "bare", {}).finish()
    with pytest.raises(
        TrackingError, match=r"expected lineage/params\.yaml among its files, found none"
    ):
        data_of(project, "bare")
    with pytest.raises(TrackingError, match="no run or model is called 'nobody'"):
        data_of(project, "nobody")
