"""Runs DVC, and asks whether a stage is up to date. DVC owns files that are made from files.

DVC is started as a program: it takes its own locks and leaves this process as it was. Starting it costs seconds, so the usual
case, "nothing changed", is answered here from `dvc.lock` alone, by the same comparison that DVC makes.
"""

import os
import subprocess
import sys
import tomllib
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from fedpipe.config.load import read_params
from fedpipe.data.digest import dvc_md5
from fedpipe.errors import DataError
from fedpipe.redact import hide
from fedpipe.steps.kept import run_kept

_TIMEOUT_SECONDS = 3600


def inside_dvc() -> bool:
    """Return whether DVC runs this process as a stage: it holds its lock then, and must not be called again."""
    return "DVC_STAGE" in os.environ


def stage_is_current(root: Path, stage: str) -> bool:
    """Return whether all that `stage` reads and makes is what `dvc.lock` says: command, settings, dependencies, outputs."""
    try:
        definition = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]
        locked = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))["stages"][stage]
        settings = _settings_of(root, definition.get("params", []))
    except (FileNotFoundError, KeyError, TypeError, tomllib.TOMLDecodeError):
        return False
    if locked.get("cmd") != definition["cmd"] or locked.get("params", {}) != settings:
        return False
    return all(
        {entry["path"]: entry["md5"] for entry in locked.get(kind, [])} == {path: _md5(root / path) for path in definition.get(kind, [])}
        for kind in ("deps", "outs")
    )


def _settings_of(root: Path, listed: list[str | dict[str, list[str]]]) -> dict[str, dict[str, Any]]:
    """Return the values of a stage's params, by file and name: groups of `params.yaml`, and dotted names of TOML files."""
    settings: dict[str, dict[str, Any]] = {}
    groups = [name for name in listed if isinstance(name, str)]
    if groups:
        params = read_params(root / "params.yaml")
        settings["params.yaml"] = {name: params.get(name) for name in groups}
    for entry in listed:
        for file, names in entry.items() if isinstance(entry, dict) else ():
            values = tomllib.loads((root / file).read_text(encoding="utf-8"))
            settings[file] = {name: reduce(lambda table, key: table[key], name.split("."), values) for name in names}
    return settings


def locked_md5(root: Path, stage: str, out: str) -> str | None:
    """Return the md5 that `dvc.lock` names for an output of a stage, None if it names none."""
    try:
        locked = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))["stages"][stage]["outs"]
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        return None
    return next((str(entry["md5"]) for entry in locked if entry["path"] == out), None)


def depends_on(root: Path, stage: str, path: str) -> bool:
    """Return whether `path` is a dependency of the stage, as it stands in `dvc.yaml`."""
    definition = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))
    deps = definition.get("stages", {}).get(stage, {}).get("deps", [])
    return Path(path) in {Path(dep) for dep in deps if isinstance(dep, str)}


def repro(root: Path, stage: str) -> None:
    """Bring `stage` up to date with `dvc repro`, as its user would.

    Raises:
        DataError: DVC failed; the message holds the end of what it said.
    """
    if not (root / ".git").exists() and (root / ".dvc").is_dir():
        # A tarball has no git; DVC works without when it is told so, here and not in the tracked config.
        _dvc(root, "config", "--local", "core.no_scm", "true")
    _dvc(root, "repro", "--quiet", stage)


def pull(root: Path, target: str) -> None:
    """Bring `target` in the version that `dvc.lock` names, from DVC's cache or its remote.

    Raises:
        DataError: neither has it, or DVC failed.
    """
    _dvc(root, "pull", "--quiet", target)


def _dvc(root: Path, *arguments: str) -> None:
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}", "DVC_NO_ANALYTICS": "true"}
    command = [sys.executable, "-m", "dvc", *arguments]
    try:
        done = run_kept(command, root, environment, _TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as err:
        raise DataError(f"`dvc {' '.join(arguments)}`: expected an end within {_TIMEOUT_SECONDS} s, it had none. Run it by hand.") from err
    if done.returncode:
        said = hide(" ".join((done.stderr or done.stdout).split()))[-600:]  # hidden first: half a password is none that could be found
        raise DataError(f"`dvc {' '.join(arguments)}` failed with exit code {done.returncode}: {said}")


def _md5(path: Path) -> Any:
    return dvc_md5(path) if path.exists() else None
