"""docs/team.md from top to bottom: each of its commands, in its order, on real PostgreSQL and S3, by someone who has runs already."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.services import S3, Postgres, answers, free_port, program, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(6000)]

LONG = 1200
"""Seconds that a command may take on a machine that has other work."""

PAGE = Path(__file__).parents[2] / "docs" / "team.md"
INSTALLS = "uv sync --extra postgres --extra s3"
PORTS = {"5000": "health", "4200": "api/health"}


@dataclass
class Shell:
    """A shell that goes from block to block: what it exports and where it goes stays; what was said by each command."""

    user: Any
    environment: dict[str, str]
    folder: Path
    said: dict[str, str] = field(default_factory=dict)

    def run(self, block: str) -> None:
        """Run a block as bash does, each command by itself; its output goes to files."""
        for line in filter(None, block.splitlines()):
            out, kept = self.user.home / "out", self.user.home / "kept"
            # What the command leaves of variables and folder is the next one's.
            script = f"{{ {line.replace('uv run ', '')}\n}} >{out} 2>&1 && env -0 >{kept}.env && pwd >{kept}.pwd"
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                timeout=LONG,
                check=False,
            )
            self.said[line] = out.read_text()
            assert done.returncode == 0, f"{line}: exit code {done.returncode}\n{self.said[line]}"
            variables = Path(f"{kept}.env").read_text().split("\0")
            self.environment = dict(one.split("=", 1) for one in variables if "=" in one)
            self.folder = Path(Path(f"{kept}.pwd").read_text().strip())


@pytest.fixture(scope="module")
def walked(make_user: Callable[..., Any], s3: S3) -> Iterator[tuple[Shell, dict[str, Any]]]:
    """Someone with a registered run, after all the page's commands; and what that run said."""
    from tests.services import postgres_cluster, why_no_postgres

    problem = why_no_postgres() or (
        None
        if shutil.which("createdb")
        else "createdb not found: `apt-get install postgresql-client`"
    )
    if problem:
        pytest.skip(problem)
    user = make_user()
    register = [
        "-S",
        "data.validation_fraction=0.2",
        "-S",
        "tracking.register=true",
        "-S",
        "rounds=3",
    ]
    first = json.loads(
        user.run("fedpipe", "run", "--json", "--name", "first", *register, timeout=LONG).stdout
    )
    user.run("fedpipe", "run", "--name", "second", "-S", "rounds=2", timeout=LONG)
    text = PAGE.read_text(encoding="utf-8")
    ports = {port: str(free_port()) for port in PORTS}
    for port, other in ports.items():
        text = re.sub(rf"\b{port}\b", other, text)
    repository = user.home / "team.git"
    user.run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(repository))
    user.run("git", "remote", "add", "origin", str(repository))
    user.run("git", "push", "--quiet", "--set-upstream", "origin", "main")
    names = {
        f"GIT_{role}_{what}": "tester@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    more = {
        "TEAM_REPOSITORY": str(repository),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    }
    shell = Shell(user, user.environment() | names | more, user.project)
    with ExitStack() as stack:
        cluster = stack.enter_context(postgres_cluster())
        stack.enter_context(cluster.running())
        for kind, block in re.findall(
            r"^(?:<!-- ([\w ]+)(?:: [^>]*)? -->\n)?```\n(.*?)^```", text, re.MULTILINE | re.DOTALL
        ):
            if kind == "not run":
                assert "docker compose" in block
            elif kind == "servers":
                start_servers(stack, shell, block, ports)
            elif block.strip() != INSTALLS:  # they are installed
                shell.run(block)
                if ".env.example" in block:
                    fill_in(shell, cluster, s3)
        yield shell, first


def fill_in(shell: Shell, cluster: Postgres, s3: S3) -> None:
    """Write what the example leaves empty, and this machine's ports; read it again, as the page's next line did."""
    path = shell.folder / ".env"
    mine = {"PGPORT": str(cluster.port), "PGPASSWORD": cluster.password, **s3.environment}
    lines = [
        line.partition("=") for line in path.read_text().splitlines() if not line.startswith("#")
    ]
    assert [name for name, _, value in lines if name and not value] == [
        "PGPASSWORD",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ]
    path.write_text(
        "".join(f"{name}={mine.get(name, value)}\n" for name, _, value in lines if name)
    )
    shell.run("set -a; . ./.env; set +a")
    assert shell.environment["PGUSER"] == "fedpipe"


def start_servers(stack: ExitStack, shell: Shell, block: str, ports: dict[str, str]) -> None:
    commands = block.strip().splitlines()
    assert len(commands) == len(ports)
    for command, (port, health) in zip(commands, PORTS.items(), strict=True):
        log = shell.user.home / f"server-{port}.log"
        line = re.sub(r"uv run ", "exec ", command)
        process = stack.enter_context(
            program(log, "bash", "-c", line, env=shell.environment, cwd=shell.folder)
        )
        wait_for(
            command,
            lambda port=port, health=health: answers(f"http://127.0.0.1:{ports[port]}/{health}"),
            process,
            log,
            LONG,
        )
    shell.environment = {
        k: v for k, v in shell.environment.items() if not k.startswith("PG")
    }  # "nobody needs PostgreSQL's password"


def saying(shell: Shell, start: str) -> str:
    (found,) = [text for line, text in shell.said.items() if line.startswith(start)]
    return found


def test_no_run_is_lost_and_all_of_them_are_found_by_their_ids(
    walked: tuple[Shell, dict[str, Any]],
) -> None:
    shell, first = walked
    assert "2 runs, 1 registered versions" in saying(shell, "uv run fedpipe store copy")
    assert first["run_id"] in saying(shell, "uv run fedpipe lineage fedpipe@champion")
    assert "identical" in saying(shell, "uv run fedpipe reproduce fedpipe@champion")
    assert shell.environment["MLFLOW_TRACKING_URI"] in saying(shell, "uv run fedpipe doctor")
    assert (shell.user.project / "mlflow.db").exists()


def test_a_colleague_trains_on_the_same_data_and_uses_the_same_model(
    walked: tuple[Shell, dict[str, Any]], s3: S3
) -> None:
    shell, first = walked
    assert shell.folder.name == "colleague"
    assert not (shell.folder / "mlflow.db").exists()
    assert not (shell.folder / "mlartifacts").exists()
    taking_part = saying(shell, "uv run fedpipe lineage --client c011")
    assert "colleague" in taking_part
    assert "first" in taking_part
    assert len(saying(shell, "uv run fedpipe predict").split()) > 100
    keys = s3.keys("fedpipe")
    assert any(key.startswith("dvc/files/md5/") for key in keys)
    assert f"mlflow/1/{first['run_id']}/artifacts/weights/last.safetensors" in keys


def test_a_worker_trained_for_the_team(walked: tuple[Shell, dict[str, Any]]) -> None:
    shell, _ = walked
    assert "on-a-worker" in saying(shell, "uv run fedpipe lineage on-a-worker")
    assert "COMPLETED" in saying(shell, "uv run prefect worker start") or "Completed" in saying(
        shell, "uv run prefect worker start"
    )


def test_a_sweep_and_a_comparison_in_the_shared_store(walked: tuple[Shell, dict[str, Any]]) -> None:
    """What the page does not say, because it is as everywhere."""
    shell, _ = walked
    body = {"search": "grid", "overrides": ["data.validation_fraction=0.2", "rounds=2"]}
    (shell.folder / "rates.yaml").write_text(
        json.dumps(body | {"space": {"client.learning_rate": {"choices": [0.1, 0.01]}}})
    )
    shell.run("fedpipe sweep rates.yaml --json\nfedpipe report rates colleague --out both.html")
    assert '"finished": 2' in saying(shell, "fedpipe sweep")
    assert (shell.folder / "both.html").stat().st_size > 10_000


def test_no_password_is_where_others_read(walked: tuple[Shell, dict[str, Any]]) -> None:
    shell, _ = walked
    planted = re.findall(
        r"^(?:PGPASSWORD|AWS_SECRET_ACCESS_KEY)=(.+)$",
        (shell.user.project / ".env").read_text(),
        re.MULTILINE,
    )
    assert len(planted) == 2
    for folder in (shell.user.project, shell.folder):
        for path in [
            *folder.rglob("*.log"),
            *folder.rglob("*.json*"),
            *(folder / ".dvc").glob("config*"),
        ]:
            found = path.read_bytes() if path.is_file() else b""
            assert not any(one.encode() in found for one in planted), path
    assert not any(one in text for one in planted for text in shell.said.values())
