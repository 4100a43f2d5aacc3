"""The commands of README and docs as a reader types them: page by page, from top to bottom, in one fresh clone.

What a page needs to be read this way stands in comments of its source, beside the block that it is about:

    <!-- not run: REASON -->       before a block: it is not run; `tests/docs/test_sequences.py` lists each with its reason
    <!-- slow -->                  before a block: run with `-m slow` alone
    <!-- server: URL -->           before a block: its first command stays in the background and answers at URL
    <!-- server: shows TEXT -->    the same, ready when it has printed TEXT
    <!-- interrupted -->           before a block: Ctrl-C ends its first command, a run, after some rounds
    <!-- shows: TEXT -->           after a block: its output must have TEXT; may be repeated
    <!-- output -->                before a block of output: the lines of the commands above must be these, but for what varies (`masked`)

A block of Python or YAML whose first line names a file that does not exist, `# sensors.py`, is what the reader saves under this name.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.services import program, wait_for

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://git.example.org/fedpipe.system.git"
"""The address that README names; git is told that it is the copy of this work tree."""
PROGRAMS = (
    *("uv", "pip", "git", "cd", "cp", "export", "curl", "docker", "createdb", "set"),
    *("fedpipe", "dvc", "prefect", "python", "pytest", "mlflow", "mkdocs"),
)
_ROUNDS = ".fedpipe/runs/*/rounds.jsonl"
COMMAND_SECONDS = 580
_BEFORE = {"not run", "slow", "server", "interrupted", "servers", "commands", "shows"}
"""Comments that may stand before a block; `servers` and `commands` are for other tests, `shows` is of the block before."""
_FENCE = re.compile(r"^```(\S*)\n(.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!-- ([a-z ]+?)(?:: (.*?))? -->", re.DOTALL)
_UV = """#!/bin/bash
# Stands for uv: the packages are installed, so `uv run` runs and `uv sync` has nothing to do.
case "$1" in
  run)
    shift
    while [[ "$1" == --* ]]; do [[ "$1" == --group || "$1" == --extra ]] && shift; shift; done
    exec "$@" ;;
  sync) exit 0 ;;
  *) echo "uv $*: not known to this stand-in" >&2; exit 2 ;;
esac
"""


@dataclass
class Block:
    """A block of a page that has commands, or a file that the reader saves.

    Attributes:
        page: the page's path from the root.
        line: of the page, from 1.
        commands: one each, continued lines joined.
        file: name of the file to save; None of commands.
        text: the block's text.
        not_run: why it is not run; None if it is.
        slow: whether it runs with `-m slow` alone.
        server: where its first command answers, or `shows TEXT`; None if it ends by itself.
        interrupted: whether its first command is a run that gets a Ctrl-C.
        shows: texts that its output must have.
        output: what the page shows as its output; None if nothing.
    """

    page: str
    line: int
    commands: list[str]
    file: str | None
    text: str
    not_run: str | None = None
    slow: bool = False
    server: str | None = None
    interrupted: bool = False
    shows: list[str] = field(default_factory=list)
    output: str | None = None


def blocks_of(path: Path) -> list[Block]:
    """Return the blocks of a page that a reader types or saves, with what their comments say.

    Raises:
        ValueError: a comment is unknown, or belongs to no block.
    """
    text = path.read_text(encoding="utf-8")
    page = path.relative_to(ROOT).as_posix()
    blocks: list[Block] = []
    end = 0
    for fence in _FENCE.finditer(text):
        between = text[end : fence.start()]
        end = fence.end()
        if blocks:
            blocks[-1].shows += [
                str(words) for name, words in _COMMENT.findall(_head(between)) if name == "shows"
            ]
        notes = dict(_COMMENT.findall(_tail(between)))
        body = fence[2]
        if "output" in notes:
            blocks[-1].output = body
        elif (
            block := _block(page, text.count("\n", 0, fence.start()) + 1, fence[1], body)
        ) is not None:
            unknown = set(notes) - _BEFORE
            if unknown:
                raise ValueError(
                    f"{page}:{block.line}: the comment before it, {unknown}, means nothing here"
                )
            block.not_run, block.server = notes.get("not run"), notes.get("server")
            block.slow, block.interrupted = "slow" in notes, "interrupted" in notes
            blocks.append(block)
    if blocks:
        blocks[-1].shows += [
            str(words) for name, words in _COMMENT.findall(_head(text[end:])) if name == "shows"
        ]
    return blocks


def _head(text: str) -> str:
    """Return the comments with which a text begins."""
    match = re.match(r"(?:\s*<!-- .*? -->)*", text, re.DOTALL)
    return match[0] if match else ""


def _tail(text: str) -> str:
    """Return the comments with which a text ends."""
    match = re.search(r"(?:<!-- (?:(?!-->).)*? -->\s*)*\Z", text, re.DOTALL)
    return match[0] if match else ""


def _block(page: str, line: int, language: str, body: str) -> Block | None:
    named = re.match(r"# ([\w/]+\.(?:py|yaml))\n", body)
    if language in ("python", "yaml") and named and not (ROOT / named[1]).exists():
        return Block(page, line, [], named[1], body)
    if language not in ("", "sh", "bash", "console"):
        return None
    lines = [one.removeprefix("$ ") for one in body.replace("\\\n", " ").splitlines()]
    commands = [one for one in lines if one.strip() and not one.startswith("#")]
    first = commands[0].split()[0] if commands else ""
    return (
        Block(page, line, commands, None, body)
        if first in PROGRAMS or re.match(r"[A-Z_]+=", first)
        else None
    )


def masked(text: str) -> list[str]:
    """Return the lines of an output without what differs between two runs: ids, times, ports, speeds, frames of tables.

    >>> masked("│ after   │ 2.0269 │\\ncommit 87cf98934b66  12.5 s")
    ['after 2.0269', 'commit * * s']
    """
    text = re.sub(r"\x1b\[[0-9;]*m|[\u2500-\u257f]", " ", text)
    text = re.sub(
        r"\b\d{8}-\d{6}-\d+\b|\b[0-9a-f]{10,}\b|\b\d{2}:\d{2}(:\d{2})?\b|\b127\.0\.0\.1:\d+",
        "*",
        text,
    )
    text = re.sub(r"\b[\d.,]+(?= ?(s|ms|seconds|kB|MB|GB)\b)", "*", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.split()]


class Reader:
    """Someone who reads a page and types its commands, one after the other, in a shell of their own.

    What a command leaves of variables and folder is the next one's. Output goes to files, never to pipes.
    """

    def __init__(self, home: Path, source: Path, servers: ExitStack) -> None:
        """Take an empty home; `source` is the repository that is cloned, `servers` ends what was started in the background."""
        self.home, self._servers = home, servers
        home.mkdir(parents=True)
        folder = home / "bin"
        folder.mkdir()
        (folder / "uv").write_text(_UV)
        (folder / "pip").write_text('#!/bin/bash\n[[ "$*" == "install uv" ]]\n')
        for path in folder.iterdir():
            path.chmod(0o755)
        # What whoever clones has: a git that knows their name. The address of the README leads to the copy of this work tree.
        (home / ".gitconfig").write_text(
            f'[user]\n\tname = Reader\n\temail = reader@example.org\n[url "{source}"]\n\tinsteadOf = {REPOSITORY}\n'
        )
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "MLFLOW_", "DVC_", "GIT_"))
        }
        path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = kept | {
            "HOME": str(home),
            "PATH": path,
            "DVC_NO_ANALYTICS": "true",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        self.folder = home / "work"
        self.folder.mkdir()
        self._network = servers.enter_context(_own_network(home / "network.log"))

    def read(self, block: Block) -> str:
        """Do what a block says and return what its commands printed. Raises AssertionError at the first that fails."""
        where = f"{block.page}:{block.line}"
        if block.file is not None:
            (self.folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / block.file).write_text(block.text, encoding="utf-8")
            return ""
        commands = list(block.commands)
        printed = (
            self._serve(commands.pop(0), block.server, where) if block.server is not None else ""
        )
        if block.interrupted:
            self._interrupt(commands.pop(0), where)
        for command in commands:
            printed += self._run(command, where)
        for words in block.shows:
            assert words in printed, f"{where}: its output has no {words!r}:\n{printed}"
        if block.output is not None:
            missing = [line for line in masked(block.output) if line not in masked(printed)]
            assert not missing, (
                f"{where}: the page shows lines that were not printed: {missing}\n{printed}"
            )
        return printed

    def _run(self, command: str, where: str) -> str:
        out, kept = self.home / "out", self.home / "kept"
        script = f"cd {shlex.quote(str(self.folder))} && {{ {command}\n}} >{out} 2>&1 && env -0 >{kept}.env && pwd >{kept}.pwd"
        try:
            done = subprocess.run(
                [*self._network, "bash", "-c", script],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as err:
            raise AssertionError(
                f"{where}: {command}: not done after {COMMAND_SECONDS} s\n{out.read_text()}"
            ) from err
        printed = out.read_text()
        assert done.returncode == 0, f"{where}: {command}: exit code {done.returncode}\n{printed}"
        variables = Path(f"{kept}.env").read_text().split("\0")
        self.environment = dict(one.split("=", 1) for one in variables if "=" in one)
        self.folder = Path(Path(f"{kept}.pwd").read_text().strip())
        return printed

    def _words(self, command: str) -> list[str]:
        """Return a command as the words of a process that takes signals itself."""
        return [
            *self._network,
            "bash",
            "-c",
            f"cd {shlex.quote(str(self.folder))} && exec env --default-signal=INT {command}",
        ]

    def _interrupt(self, command: str, where: str) -> None:
        log = self.home / f"interrupted-{time.monotonic_ns()}.log"
        before = set(self.folder.glob(_ROUNDS))
        with program(log, *self._words(command), env=self.environment, cwd=self.folder) as process:

            def some_rounds() -> bool:
                return any(
                    path.read_text().count("\n") >= 5
                    for path in set(self.folder.glob(_ROUNDS)) - before
                )

            wait_for(f"{where}: {command}: some rounds", some_rounds, process, log)
            process.send_signal(signal.SIGINT)
            code = process.wait(120)
        assert code == 128 + signal.SIGINT, (
            f"{where}: {command}: exit code {code}\n{log.read_text()}"
        )

    def _serve(self, command: str, ready: str, where: str) -> str:
        log = self.home / f"server-{time.monotonic_ns()}.log"
        process = self._servers.enter_context(
            program(log, *self._words(command), env=self.environment, cwd=self.folder)
        )
        if ready.startswith("shows "):
            wait_for(
                f"{where}: {command}",
                lambda: ready.removeprefix("shows ") in log.read_text(),
                process,
                log,
            )
        else:
            ask = [
                *self._network,
                "curl",
                "--noproxy",
                "*",
                "--silent",
                "--output",
                os.devnull,
                ready,
            ]
            wait_for(
                f"{where}: {command}",
                lambda: subprocess.run(ask, check=False).returncode == 0,
                process,
                log,
            )
        return log.read_text()


@contextmanager
def _own_network(log: Path) -> Iterator[list[str]]:
    """Give the words before a command with which it runs on a network of its own, where every port that a page names is free and the
    other machines that it names are this one; no words where that is not allowed."""
    hosts = log.with_name("hosts")
    hosts.write_text(
        "127.0.0.1 localhost\n"
        + "".join(f"127.0.0.{number + 1} worker{number}\n" for number in (1, 2, 3))
    )
    script = f"mount --bind {shlex.quote(str(hosts))} /etc/hosts && ip link set lo up && echo ready && exec sleep infinity"
    with program(
        log, "unshare", "--net", "--mount", "sh", "-c", script, env=os.environ, cwd=log.parent
    ) as holder:
        while holder.poll() is None and "ready" not in log.read_text():
            time.sleep(0.05)
        yield (
            ["nsenter", f"--target={holder.pid}", "--net", "--mount"]
            if holder.poll() is None
            else []
        )


def walk(path: Path, home: Path, source: Path, *, slow: bool) -> dict[int, str]:
    """Read a page from top to bottom and return what each block printed, by its line.

    Args:
        path: of the page.
        home: empty folder of the reader.
        source: repository to clone. Of other pages than README the reader has cloned it already.
        slow: also do what is marked as slow.

    Raises:
        AssertionError: a command failed, or its output is not what the page says.
    """
    printed = {}
    with ExitStack() as servers:
        reader: Any = Reader(home, source, servers)
        if path.name != "README.md":
            reader.read(
                Block(
                    "the start",
                    0,
                    [f"git clone --quiet {REPOSITORY} fedpipe", "cd fedpipe"],
                    None,
                    "",
                )
            )
        for block in blocks_of(path):
            if block.not_run is None and (slow or not block.slow):
                printed[block.line] = reader.read(block)
    return printed
