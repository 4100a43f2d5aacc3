"""Step `init`: a new project for the user's own work, from the templates in `fedpipe/templates`, as
a git and DVC repository.

It is made in a folder beside its place and moved there when it is whole: whatever fails, nothing
half-written is left.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

import fedpipe
from fedpipe.config import Config, parse_config
from fedpipe.config.params_file import as_params
from fedpipe.errors import ConfigError, EnvironmentProblem, shorten
from fedpipe.project.installed import Origin, installed_versions, origin
from fedpipe.redact import hide
from fedpipe.system.git import without_repository_variables

_TEMPLATES = Path(fedpipe.__file__).with_name("templates")
_SUFFIX = ".template"
_DOT = "dot-"
PLOTS_PAGE = ".dvc/plots.html"
"""The page of `dvc plots` with its drawing library in it, so that it works without a network;
copied as it is.
"""
_LIMIT_SECONDS = 120
_HEAD = """Every setting of a run, grouped. fedpipe's docs/params.md says what each one means, its unit and its range.
`-S key=value` overrides one for one run."""


@dataclass(frozen=True)
class NewProject:
    """What was made.

    Attributes:
        path: its folder, absolute.
        name: its name.
        files: its files, relative, without those of git and DVC.
        fedpipe: where it finds fedpipe.
        commit: its first commit, None where git could not make one.
        notes: what is left to do by hand.
    """

    path: str
    name: str
    files: list[str]
    fedpipe: str
    commit: str | None
    notes: list[str]


def init_project(target: Path) -> NewProject:
    """Make a project in `target`, which does not exist or is an empty folder.

    Raises:
        ConfigError: it is something else.
        EnvironmentProblem: it cannot be written, or git or DVC failed.
    """
    target = target.absolute() if target.is_symlink() else target.resolve()
    _refuse_what_is_there(target)
    name = name_of(target)
    place = origin()
    try:
        with _beside(target) as folder:
            files = _write_files(folder, name, place)
            _run(folder, "git", "init", "--quiet", "--initial-branch=main")
            _run(folder, sys.executable, "-P", "-m", "dvc", "init", "--force")
            files |= _write_files(folder, name, place)  # DVC has written settings of its own
            commit, notes = _commit(folder)
            _move(folder, target)
    except OSError as err:
        raise EnvironmentProblem(
            f"{err.filename or target}: expected to write a new project there, found "
            f"{err.strerror}."
        ) from err
    return NewProject(str(target), name, sorted(files), place.words, commit, notes)


def name_of(target: Path) -> str:
    """Return a project's name for a folder's, as package names are.

    >>> name_of(Path("/home/ann/My Sensors_2")), name_of(Path("/srv/fedpipe")), name_of(Path("/srv/--"))
    ('my-sensors-2', 'fedpipe-project', 'fedpipe-project')
    """
    name = re.sub(r"[^a-z0-9]+", "-", target.name.lower()).strip("-")
    if name not in ("", "fedpipe"):
        return name
    return "fedpipe-project"


def settings(name: str) -> Config:
    """Return the settings that a project called so begins with."""
    own = {
        "rounds": 10,
        "data": {"source": "own.source:readings", "clients": None},
        "cohort": {"size": 5, "strategy": "uniform"},
        "model": {"name": "own.model:build"},
        "algorithm": {"name": "own.algorithm:build"},
        "client": {"learning_rate": 0.1},
        "tracking": {"experiment": name, "model_name": name},
    }
    return parse_config(own, "the settings of a new project")


def _refuse_what_is_there(target: Path) -> None:
    if target.is_dir():
        entries = sorted(path.name for path in target.iterdir())
        if entries:
            raise ConfigError(
                f"{target}: expected a folder that is empty or not there, found {shorten(entries)} "
                "in it. Name another one."
            )
    elif target.exists() or target.is_symlink():
        raise ConfigError(
            f"{target}: expected a folder that is empty or not there, found something else. Name "
            "another one."
        )


def _write_files(folder: Path, name: str, place: Origin) -> set[str]:
    """Write what the templates say and return the files' names."""
    packages = ["project.dependencies", *(["tool.uv.sources.fedpipe"] if place.is_pinned else [])]
    values = {
        "name": name,
        "version": fedpipe.__version__,
        "source": place.to_toml(),
        "origin": place.words,
        "packages": ", ".join(packages),
        "constraints": "".join(f'    "{pin}",\n' for pin in installed_versions()),
    }
    texts = {
        path.relative_to(_TEMPLATES)
        .as_posix()
        .removesuffix(_SUFFIX)
        .replace(_DOT, "."): path.read_text(encoding="utf-8")
        for path in sorted(_TEMPLATES.rglob(f"*{_SUFFIX}"))
    }
    texts = {file: Template(text).substitute(values) for file, text in texts.items()}
    # Its scripts are full of `$`.
    texts[PLOTS_PAGE] = (_TEMPLATES / PLOTS_PAGE.replace(".", _DOT, 1)).read_text(encoding="utf-8")
    texts["params.yaml"] = as_params(settings(name), _HEAD)
    for file, text in texts.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
    return set(texts)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Give a new folder on the target's file system; it is gone after the block, unless it was
    moved.
    """
    parent = next(folder for folder in target.parents if folder.is_dir())
    folder = parent / f".{target.name}.{secrets.token_hex(8)}"
    folder.mkdir()  # its mode follows the umask
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(folder: Path, target: Path) -> None:
    """Put the project in its place. An empty folder that is there stays the same one: someone may
    stand in it.
    """
    if not target.is_dir():
        missing = [parent for parent in target.parents if not parent.exists()]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(target)
        except BaseException:
            for parent in missing:
                if parent.is_dir():
                    parent.rmdir()
            raise
        return
    moved: list[Path] = []
    try:
        for path in sorted(folder.iterdir()):
            moved.append(path.rename(target / path.name))
    except BaseException:
        for path in moved:
            path.rename(folder / path.name)
        raise


def _commit(folder: Path) -> tuple[str | None, list[str]]:
    """Make the first commit with the user's name; return it, or why there is none."""
    _run(folder, "git", "add", "--all")
    try:
        _run(
            folder,
            "git",
            "-c",
            f"core.hooksPath={os.devnull}",
            "commit",
            "--quiet",
            "--message",
            "A new fedpipe project",
        )
    except (
        EnvironmentProblem
    ) as err:  # most often: git knows no name and address yet, and says how to tell it
        return None, [f"not committed: {err} Then commit in the new folder."]
    return _run(folder, "git", "rev-parse", "HEAD").strip(), []


def _run(folder: Path, *command: str) -> str:
    """Run git or DVC in `folder` and return what it said. Raises EnvironmentProblem if it cannot be
    run or fails.
    """
    # A git that calls us, in a hook for instance, would have its own repository in place of the new
    # one.
    environment = without_repository_variables(os.environ)
    shown = f"`{' '.join(command).replace(sys.executable, 'python')}`"
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment | {"DVC_NO_ANALYTICS": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT_SECONDS,
            check=False,
        )
    except FileNotFoundError as err:
        raise EnvironmentProblem(
            f"{shown}: expected {command[0]} on the PATH, found none. Install it."
        ) from err
    except subprocess.TimeoutExpired as err:
        raise EnvironmentProblem(
            f"{shown} did not finish within {_LIMIT_SECONDS} s. Run it by hand to see why."
        ) from err
    if done.returncode:
        raise EnvironmentProblem(
            f"{shown} failed with exit code {done.returncode}: "
            f"{hide(' '.join((done.stderr or done.stdout).split()))[-400:]}"
        )
    return done.stdout
