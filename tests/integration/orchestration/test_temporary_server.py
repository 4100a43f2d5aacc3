"""Prefect's temporary server, started for real: beside files with the names of modules, with a database that it cannot use."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
from fedpipe.orchestration.server import TemporaryServer
server = TemporaryServer(Path(sys.argv[1]) / "server.log", Path(sys.argv[1]) / "own")
try:
    server.wait()
    print("answers")
finally:
    server.close(hurry=True)
"""


@pytest.mark.slow
def test_it_starts_beside_files_called_like_modules_with_a_database_of_a_newer_prefect(
    tmp_path: Path,
) -> None:
    project, home = tmp_path / "what?%20 #", tmp_path / "home"
    for folder in (project, home):
        folder.mkdir()
    for name in (
        "secrets",
        "queue",
        "signal",
        "types",
        "random",
        "socket",
        "yaml",
        "prefect",
        "uvicorn",
    ):
        (project / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    with closing(sqlite3.connect(home / "prefect.db")) as database:
        database.execute("CREATE TABLE alembic_version (version_num)")
        database.execute("INSERT INTO alembic_version VALUES ('ffffffffffff')")
        database.commit()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")
    } | {"PREFECT_HOME": str(home)}
    command = [sys.executable, "-P", "-c", SCRIPT, str(project)]
    done = subprocess.run(
        command,
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.stdout == "answers\n", (
        done.stderr[-1000:] + (project / "server.log").read_text()[-1000:]
    )
    assert "was made by another, newer Prefect" in done.stderr
    assert (project / "own" / "prefect.db").exists()
    assert sorted(os.listdir(tmp_path)) == ["home", "what?%20 #"]
