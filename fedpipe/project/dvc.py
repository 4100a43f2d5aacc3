"""Runs DVC, and asks whether a stage is up to date. DVC owns files that are made from files.

DVC is started as a program: it takes its own locks and leaves this process as it was. Starting it
costs seconds, so the usual case, "nothing changed", is answered here from `dvc.lock` alone, by the
same comparison that DVC makes.
"""

import configparser
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from fedpipe.config.load import read_params
from fedpipe.config.yaml_file import read_yaml
from fedpipe.data.digest import dvc_md5
from fedpipe.errors import DataError, program_error, shorten
from fedpipe.redact import hide
from fedpipe.system.child_process import run_kept
from fedpipe.system.git import repository_environment
from fedpipe.system.locks import can_lock

_TIMEOUT_SECONDS = 3600
_PATH_SETTINGS = ("url", "dir", "credentialpath", "keyfile")
_NO_GIT = "is not a git repository"
_AFTER_MERGE = {
    "dvc.lock": "Then run `dvc repro prepare`, which writes it anew",
    "dvc.yaml": "Then run `dvc status` to check it",
}


def inside_dvc() -> bool:
    """Return whether DVC runs this process as a stage: it holds its lock then, and must not be
    called again.
    """
    return "DVC_STAGE" in os.environ


def stage_is_current(root: Path, stage: str) -> bool:
    """Return whether all that `stage` reads and makes is what `dvc.lock` says: command, settings,
    dependencies, outputs.

    Raises:
        ConfigError: `dvc.yaml` or `dvc.lock` is not valid; with file, line and column.
    """
    try:
        definition = _read(root, "dvc.yaml")["stages"][stage]
        locked = _read(root, "dvc.lock")["stages"][stage]
        settings = _settings_of(root, definition.get("params", []))
    except (FileNotFoundError, KeyError, TypeError, tomllib.TOMLDecodeError):
        return False
    if locked.get("cmd") != definition["cmd"] or locked.get("params", {}) != settings:
        return False
    return all(
        {entry["path"]: entry["md5"] for entry in locked.get(kind, [])}
        == {path: _md5(root / path) for path in definition.get(kind, [])}
        for kind in ("deps", "outs")
    )


def _settings_of(root: Path, listed: list[str | dict[str, list[str]]]) -> dict[str, dict[str, Any]]:
    """Return the values of a stage's params, by file and name: dotted names of `params.yaml` and
    of TOML files.
    """
    settings: dict[str, dict[str, Any]] = {}
    groups = [name for name in listed if isinstance(name, str)]
    if groups:
        params = read_params(root / "params.yaml")
        settings["params.yaml"] = {name: _value_at(params, name) for name in groups}
    for entry in listed:
        for file, names in entry.items() if isinstance(entry, dict) else ():
            values = tomllib.loads((root / file).read_text(encoding="utf-8"))
            settings[file] = {name: _value_at(values, name) for name in names}
    return settings


def _value_at(values: Mapping[str, Any], name: str) -> Any:
    """Return the value of a dotted name. Raises KeyError if a key of it is missing."""
    return reduce(lambda table, key: table[key], name.split("."), values)


def locked_md5(root: Path, stage: str, out: str) -> str | None:
    """Return the md5 that `dvc.lock` names for an output of a stage, None if it names none. Raises
    ConfigError if it is not valid.
    """
    try:
        locked = _read(root, "dvc.lock")["stages"][stage]["outs"]
    except (FileNotFoundError, KeyError, TypeError):
        return None
    return next((str(entry["md5"]) for entry in locked if entry["path"] == out), None)


def depends_on(root: Path, stage: str, path: str) -> bool:
    """Return whether `path` is a dependency of the stage, as it stands in `dvc.yaml`."""
    definition = _read(root, "dvc.yaml")
    deps = definition.get("stages", {}).get(stage, {}).get("deps", [])
    return Path(path) in {Path(dep) for dep in deps if isinstance(dep, str)}


def check_dvc_files(root: Path) -> None:
    """Read `dvc.yaml` and `dvc.lock`, as far as they are there. Raises ConfigError, with file and
    line, if one is not valid.
    """
    for name in ("dvc.yaml", "dvc.lock"):
        if (root / name).exists() and not isinstance(_read(root, name) or {}, dict):
            raise DataError(
                f"{name}: expected a mapping with `stages`. Restore it with `git checkout {name}`."
            )


def repro(root: Path, stage: str) -> None:
    """Bring `stage` up to date with `dvc repro`, as its user would.

    Raises:
        ConfigError: `dvc.yaml` or `dvc.lock` is not valid.
        DataError: the stage failed, with its own message; or DVC did, with DVC's reason.
    """
    check_dvc_files(root)
    _refuse_links(root, stage)
    _dvc(root, "repro", stage)


def _refuse_links(root: Path, stage: str) -> None:
    """Raise DataError if an output of the stage lies behind a link that leads out of the project:
    in a git repository, DVC refuses that.
    """
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        return
    outs = (_read(root, "dvc.yaml") or {}).get("stages", {}).get(stage, {}).get("outs", [])
    for out in (out for out in outs if isinstance(out, str)):
        for folder in Path(out).parents:
            path = root / folder
            if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
                raise DataError(
                    f"{path} is a link to {path.resolve()}, outside of the project: DVC does not "
                    f"keep {out} there. Make {folder} a folder, and have DVC keep the files on "
                    f"that disk: `dvc cache dir --local {path.resolve()}/dvc-cache` and `dvc "
                    "config --local cache.type symlink`."
                )


def pull(root: Path, target: str) -> None:
    """Bring `target` in the version that `dvc.lock` names, from DVC's cache or its remote.

    Raises:
        DataError: neither has it, or DVC failed.
    """
    _dvc(root, "pull", target)


def absolute_settings(folder: Path, names: Iterable[str]) -> configparser.ConfigParser:
    """Return the DVC settings in the files `names` of `folder`, the later over the earlier; paths
    relative to it become absolute.
    """
    settings = configparser.ConfigParser(interpolation=None)
    settings.read([folder / name for name in names], encoding="utf-8")
    for section in settings.sections():
        for key in _PATH_SETTINGS:
            value = settings.get(section, key, fallback=None)
            if value and "://" not in value:
                settings.set(section, key, str((folder / Path(value).expanduser()).resolve()))
    return settings


def _read(root: Path, name: str) -> Any:
    return read_yaml(root / name, name, f"{_AFTER_MERGE[name]}.")


def status(root: Path, stage: str) -> str:
    """Return what `dvc status` says of a stage that is not up to date, empty if it is. Raises
    DataError with DVC's reason.
    """
    output = _dvc(root, "status", "--json", stage)
    changes = json.loads(output or "{}")
    return shorten(changes.get(stage, []))


def _dvc(root: Path, *arguments: str) -> str:
    """Run DVC and return its output. What it needs on this machine is told to this one process; no
    configuration is changed.
    """
    settings = {} if can_lock(root) else {"hardlink_lock": "true"}
    done = _run_dvc(root, arguments, settings)
    # A tarball: DVC works without git when it is told so.
    if done.returncode and _NO_GIT in done.stderr:
        done = _run_dvc(root, arguments, settings | {"no_scm": "true"})
    if done.returncode:
        raise DataError(_reason(arguments, done))
    for line in done.stderr.splitlines():
        if line.startswith("WARNING "):  # of the stage: data that were left out, for one
            print(hide(line), file=sys.stderr)
    return done.stdout


def _run_dvc(
    root: Path, arguments: tuple[str, ...], settings: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    scripts = Path(sys.executable).parent
    environment = repository_environment(root) | {
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "DVC_NO_ANALYTICS": "true",
    }
    # A stage of the user's, such as `python make.py`, runs as in their shell.
    environment.pop("PYTHONSAFEPATH", None)
    # -P: a file of the user's called like a module of Python's or DVC's is not imported in its
    # place.
    command = [sys.executable, "-P", "-m", "dvc", *arguments]
    with tempfile.TemporaryDirectory(prefix="fedpipe-dvc-") as folder:
        if settings:
            _write_user_settings(Path(folder), settings)
            environment["DVC_GLOBAL_CONFIG_DIR"] = folder
        try:
            return run_kept(command, root, environment, _TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired as err:
            raise DataError(
                f"`dvc {' '.join(arguments)}` did not finish within {_TIMEOUT_SECONDS} s. Run it "
                "by hand to see why."
            ) from err


def _write_user_settings(folder: Path, settings: dict[str, str]) -> None:
    """Write the user's own DVC settings with more under `core`; those of the project come on top of
    them.
    """
    from dvc.dirs import global_config_dir

    merged = absolute_settings(Path(global_config_dir()), ["config"])
    if not merged.has_section("core"):
        merged.add_section("core")
    for key, value in settings.items():
        merged.set("core", key, value)
    with (folder / "config").open(
        "w", encoding="utf-8"
    ) as file:  # in a folder that nobody else may enter
        merged.write(file)


def _reason(arguments: tuple[str, ...], done: "subprocess.CompletedProcess[str]") -> str:
    """Return why DVC failed: the message of the stage if that is fedpipe itself, which needs no
    more words, or else DVC's own.
    """
    own = [
        line.removeprefix("fedpipe: ")
        for line in done.stderr.splitlines()
        if line.startswith("fedpipe: ")
    ]
    if own:
        return hide(own[-1])
    reason = program_error(done.stderr) or program_error(done.stdout) or "it gave no reason"
    return f"`dvc {' '.join(arguments)}` failed with exit code {done.returncode}: {reason}"


def _md5(path: Path) -> Any:
    if path.exists():
        return dvc_md5(path)
    return None
