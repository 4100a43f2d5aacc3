"""Other projects' simulators, each installed at a pinned version into a venv of its own.

None of them can share fedpipe's environment, and none is a dependency. Whatever cannot be installed is said, and left out.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

INSTALL_TIMEOUT_SECONDS = 600.0
TORCH = "torch==2.13.0"
_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_STAMP = "installed.json"


class NotInstalled(Exception):
    """A peer could not be installed; the message is the reason."""


@dataclass(frozen=True)
class Peer:
    """One project.

    Attributes:
        name: as in the results.
        requirements: what is installed from PyPI, pinned.
        torch: whether PyTorch is needed; its CPU build, for PyPI's brings several GB of CUDA.
        module: program in `benchmarks.lib.peer_scripts` that runs it.
        variants: environment variables of each way to run it that is compared, by name; the best counts.
        other_modules: program of a variant that has another, by name.
    """

    name: str
    requirements: tuple[str, ...]
    torch: bool
    module: str
    variants: Mapping[str, Mapping[str, str]]
    other_modules: Mapping[str, str] = field(default_factory=dict)

    def command(self, variant: str, python: Path) -> list[str]:
        """Return the command that runs a variant with the interpreter of the peer's venv."""
        settings = {**_QUIET, **self.variants[variant]}
        module = self.other_modules.get(variant, self.module)
        return [
            "env",
            *(f"{key}={value}" for key, value in settings.items()),
            str(python),
            "-m",
            f"benchmarks.lib.peer_scripts.{module}",
        ]


_QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
"""No reports to the projects' servers; Ray must not rebuild the environment of the `uv run` that it finds above itself."""

PEERS = (
    Peer(
        "flower",
        ("flwr[simulation]==1.41.0", "numpy"),
        torch=True,
        module="flower_simulation",
        variants={
            "messages": {"FLOWER_API": "message"},
            "NumPyClient": {"FLOWER_API": "numpy_client"},
        },
    ),
    Peer(
        # jax 0.5 is the last that FedJAX's newest release runs on: it calls jax.tree_map.
        "fedjax",
        ("fedjax==0.0.17", "jax==0.5.3", "jaxlib==0.5.3"),
        torch=False,
        module="fedjax_rounds",
        variants={"jit": {"FEDJAX_BACKEND": "jit"}},
    ),
    Peer(
        "pfl",
        ("pfl[pytorch]==0.6.0",),
        torch=True,
        module="pfl_research",
        variants={
            "1 thread": {"OMP_NUM_THREADS": "1"},
            "2 threads": {"OMP_NUM_THREADS": "2"},
            "2 processes": {"OMP_NUM_THREADS": "1"},
        },
        other_modules={"2 processes": "pfl_processes"},
    ),
)


def installed(peer: Peer, venvs: Path) -> Path:
    """Return the interpreter of the peer's venv below `venvs`, made now if it is not there.

    Raises:
        NotInstalled: with the reason.
    """
    folder = venvs.absolute() / peer.name
    python, log, wanted = (
        folder / "bin" / "python",
        venvs.absolute() / f"{peer.name}.log",
        _wanted(peer),
    )
    try:
        if (folder / _STAMP).is_file() and json.loads(
            (folder / _STAMP).read_text(encoding="utf-8")
        ) == wanted:
            return python
        venvs.mkdir(parents=True, exist_ok=True)
        log.write_text("", encoding="utf-8")
    except OSError as err:
        raise NotInstalled(f"no venv can be made in {venvs}: {err.strerror or err}") from err
    # `venv` and not uv makes it: pip is needed in it, which may know of wheels on disk where uv does not look.
    _run([sys.executable, "-m", "venv", "--clear", str(folder)], log)
    if peer.torch:
        _install_torch(python, log)
    _run(
        [
            "uv",
            "pip",
            "install",
            "--compile-bytecode",
            "--python",
            str(python),
            *peer.requirements,
            *([TORCH] if peer.torch else []),
        ],
        log,
    )
    (folder / _STAMP).write_text(json.dumps(wanted), encoding="utf-8")
    return python


def versions(peer: Peer, python: Path) -> dict[str, str]:
    """Return the installed versions of what makes the peer's speed."""
    names = [requirement.split("==")[0].split("[")[0] for requirement in peer.requirements]
    names += ["torch"] * peer.torch + ["ray"] * (peer.name == "flower")
    code = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    done = subprocess.run(
        [str(python), "-c", code, *names], capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _wanted(peer: Peer) -> list[str]:
    return [*peer.requirements, *([TORCH] if peer.torch else [])]


def _install_torch(python: Path, log: Path) -> None:
    """Install PyTorch's CPU build: from a folder that pip is configured to look in, else from PyTorch's own index."""
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps"]
    try:
        _run([*pip, "--no-index", TORCH], log)
    except NotInstalled:
        _run([*pip, "--index-url", _CPU_INDEX, TORCH], log)


def _run(command: Sequence[str], log: Path) -> None:
    """Run a command with its output in `log`; on failure or after the time limit end it and all it started."""
    with log.open("a", encoding="utf-8") as file:
        try:
            # Not in the project's folder: there uv would apply the overrides of fedpipe's own environment.
            process = subprocess.Popen(
                command,
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        except OSError as err:
            raise NotInstalled(f"{command[0]}: {err.strerror or err}") from err
        try:
            code = process.wait(INSTALL_TIMEOUT_SECONDS)
        except BaseException as err:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(err, subprocess.TimeoutExpired):
                raise NotInstalled(
                    f"not installed within {INSTALL_TIMEOUT_SECONDS:g} s; see {log}"
                ) from err
            raise
    if code:
        lines = [
            line.strip()
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.strip()
        ]
        raise NotInstalled(
            f"`{' '.join(command[:4])} ...` failed: {lines[-1] if lines else f'exit code {code}'}"
        )
