"""The limit of open files: raised as far as allowed, and named where it was the cause."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from fedpipe.data.population import Population
from fedpipe.errors import DataError, TrackingError
from fedpipe.system.open_files import open_files_problem, raise_open_files_limit


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [(100, 200, 200), (200, 200, 200), (100, 100_000, 65_536), (70_000, 100_000, 70_000)],
)
def test_the_soft_limit_is_raised(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int
) -> None:
    limits = (soft, hard)

    def put(_: int, new: tuple[int, int]) -> None:
        nonlocal limits
        limits = new

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", put)
    raise_open_files_limit()
    assert limits == (raised, hard)


def test_an_unlimited_hard_limit_is_not_taken_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = (1024, resource.RLIM_INFINITY)
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: asked.append(new))
    raise_open_files_limit()
    assert asked == [(65_536, resource.RLIM_INFINITY)]


def caused(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    "err",
    [
        OSError(errno.EMFILE, "Too many open files"),
        caused(
            TrackingError("mlflow.db: cannot open the store. Make it writable."),
            OSError(errno.ENFILE, "file table overflow"),
        ),
        caused(RuntimeError("worker"), ValueError("UNKNOWN: /x/shard; Too many open files")),
        DataError(
            "`dvc repro prepare` failed with exit code 255: ERROR: too many open files, please visit ..."
        ),
        DataError("Prefect's temporary server did not start: OSError: [Errno 24] x"),
    ],
)
def test_the_limit_is_named_whoever_met_it(err: Exception) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    text = str(open_files_problem(err))
    assert text.startswith(
        f"too many open files: this process and what it starts may have {limit} open"
    )
    assert "ulimit -n" in text


def test_other_errors_are_left_alone() -> None:
    assert open_files_problem(OSError(errno.ENOSPC, "No space left on device")) is None
    assert open_files_problem(ValueError("unable to open database file")) is None


def test_a_population_of_many_files_is_read_with_few_open(tmp_path: Path) -> None:
    """As a user with a low limit would: the limit cannot be set back in this process."""
    (tmp_path / "params.yaml").write_text("")
    rows = "".join(f"c{client},{row % 2},{row}\n" for client in range(80) for row in range(120))
    (tmp_path / "many.csv").write_text(f"client,label,a\n{rows}")
    script = f"""
import resource, sys
from pathlib import Path
from fedpipe.config import DataConfig
from fedpipe.data.population import Population
from fedpipe.data.prepare import prepare_shards
root = Path({str(tmp_path)!r})
config = DataConfig(source="csv", path="many.csv", clients=None, shard_rows=100)
prepare_shards(config, root / "shards", root, frozenset())
resource.setrlimit(resource.RLIMIT_NOFILE, (45, 45))
population = Population.open(root / "shards")
assert len(population.manifest.files) > 70, len(population.manifest.files)
print(sum(len(population.examples(one)) for one in population.client_ids()) + len(population.central_test()))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-800:]
    before = len(os.listdir("/proc/self/fd"))
    population = Population.open(tmp_path / "shards")
    assert int(done.stdout.split()[-1]) == population.manifest.central_test_examples + sum(
        population.num_examples(one) for one in population.client_ids()
    )
    for client_id in population.client_ids():
        population.examples(client_id)
    # One file of each split may stay open; other threads of this process may open some meanwhile.
    assert len(os.listdir("/proc/self/fd")) < before + 20
