"""Bringing ahead: a second process makes the files that rounds will ask for, and ends with whoever wanted them."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fedpipe.config import DataConfig
from fedpipe.data.population import Population
from fedpipe.data.prefetch import FEW_CLIENTS, prefetched
from fedpipe.data.prepare import prepare_shards
from fedpipe.data.resident import ResidentCache, usage
from fedpipe.types import CohortPlan

CLIENTS = FEW_CLIENTS + 50


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bring") / "shards"
    prepare_shards(DataConfig(clients=CLIENTS, partition="iid"), folder, folder.parent)
    return folder


def plan_of(shards: Path, folder: Path, clients: int) -> CohortPlan:
    ids = Population.open(shards).participating()[:clients]
    plan = CohortPlan(
        "uniform", 1, tuple(ids[start : start + 10] for start in range(0, len(ids), 10))
    )
    (folder / "plan.json").write_text(plan.to_json())
    return plan


def bringers() -> list[int]:
    """Return what this process has started, by pid: other tests may run beside it."""
    return [
        process.pid
        for process in psutil.Process().children(recursive=True)
        if "fedpipe.data.prefetch" in process.cmdline()
    ]


def test_all_planned_clients_are_brought_and_they_are_sound(shards: Path, tmp_path: Path) -> None:
    plan = plan_of(shards, tmp_path, CLIENTS)
    with prefetched(
        shards, plan, tmp_path / "plan.json", tmp_path / "cache", 10**9, tmp_path / "log"
    ):
        limit = time.monotonic() + 60
        while usage(tmp_path / "cache").files < CLIENTS and time.monotonic() < limit:
            time.sleep(0.1)
    assert (tmp_path / "log").read_text() == ""
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}
    cache = ResidentCache.of(Population.open(shards), tmp_path / "cache", 10**9)
    assert [client.count for client in cache.clients(plan.cohort(3))] == [
        Population.open(shards).num_examples(c) for c in plan.cohort(3)
    ]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")} == before, (
        "a file was made a second time"
    )


def test_few_clients_start_nothing(shards: Path, tmp_path: Path) -> None:
    plan = plan_of(shards, tmp_path, FEW_CLIENTS)
    with prefetched(
        shards, plan, tmp_path / "plan.json", tmp_path / "cache", 10**9, tmp_path / "log"
    ):
        assert bringers() == []
    assert not (tmp_path / "log").exists()


def test_what_it_cannot_do_is_in_its_log_and_harms_nobody(shards: Path, tmp_path: Path) -> None:
    plan = plan_of(shards, tmp_path, CLIENTS)
    (tmp_path / "plan.json").write_text("no plan")
    with prefetched(
        shards, plan, tmp_path / "plan.json", tmp_path / "cache", 10**9, tmp_path / "log"
    ):
        limit = time.monotonic() + 60
        while not (tmp_path / "log").read_text() and time.monotonic() < limit:
            time.sleep(0.1)
    assert "JSONDecodeError" in (tmp_path / "log").read_text()


def test_it_ends_with_a_run_that_is_killed(shards: Path, tmp_path: Path) -> None:
    plan_of(shards, tmp_path, CLIENTS)
    code = (
        "import sys, time; from pathlib import Path; from fedpipe.data.prefetch import prefetched; from fedpipe.types import CohortPlan\n"
        f"here = Path({str(tmp_path)!r}); plan = CohortPlan.from_json((here / 'plan.json').read_text())\n"
        f"plan = CohortPlan(plan.strategy, plan.seed, plan.cohorts * 2000)\n"
        "(here / 'long.json').write_text(plan.to_json())\n"
        f"with prefetched(Path({str(shards)!r}), plan, here / 'long.json', here / 'cache', 10**9, here / 'log'):\n"
        "    print('on', flush=True); time.sleep(100)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert run.stdout is not None
    assert run.stdout.readline() == b"on\n"
    (child,) = psutil.Process(run.pid).children()
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    limit = time.monotonic() + 20
    while (
        child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < limit
    ):
        time.sleep(0.1)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
