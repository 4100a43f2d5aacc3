"""Runs git on the repository that a folder lies in, found as git finds it: in a subfolder, a work
tree or a submodule too.

Variables such as `GIT_DIR`, which git sets for its hooks, name the repository whose hook it is.
They are dropped where the folder lies in a repository of its own, and kept where it does not (a
work tree apart from its repository).
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from fedpipe.errors import program_error

_OF_ONE_REPOSITORY = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_PREFIX",
    "GIT_NAMESPACE",
    "GIT_GRAFT_FILE",
    "GIT_SHALLOW_FILE",
    "GIT_IMPLICIT_WORK_TREE",
)
"""Those of `git rev-parse --local-env-vars` that say where a repository is; `GIT_CONFIG_*` stay,
they hold the user's settings.
"""


class GitError(Exception):
    """git is not installed, does not answer in time, or failed; the text is git's own reason."""


def without_repository_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which the current folder alone decides which repository git uses."""
    return {name: value for name, value in environment.items() if name not in _OF_ONE_REPOSITORY}


def repository_environment(folder: Path) -> dict[str, str]:
    """Return the environment for git, and for programs that call it, in `folder`."""
    plain = without_repository_variables(os.environ)
    if len(plain) == len(os.environ):
        return plain
    try:
        _run(folder, ("rev-parse", "--git-dir"), plain, b"", 10)
    except GitError:
        return dict(os.environ)
    return plain


def run_git(
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout_seconds: float = 60,
) -> bytes:
    """Return what `git -C FOLDER ARGUMENTS` prints on stdout.

    Args:
        folder: any folder of the repository.
        arguments: the command and its options.
        environment: variables to add.
        stdin: what git reads.
        timeout_seconds: after which it is killed.

    Raises:
        GitError: git cannot be started, fails, or does not end in time.
    """
    return _run(
        folder,
        arguments,
        repository_environment(folder) | dict(environment or {}),
        stdin,
        timeout_seconds,
    )


def _run(
    folder: Path,
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
    stdin: bytes,
    timeout_seconds: float,
) -> bytes:
    command = ["git", "-C", str(folder), *arguments]
    try:
        # Its reasons are recorded, and some are looked for.
        english = {
            **environment,
            "LC_ALL": "C",
        }
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            env=english,
            timeout=timeout_seconds,
            check=False,
        )
    except FileNotFoundError as err:
        raise GitError("git is not installed, or not on the PATH") from err
    except OSError as err:
        raise GitError(f"git cannot be started: {err.strerror or err}") from err
    except subprocess.TimeoutExpired as err:
        raise GitError(f"git did not finish within {timeout_seconds:g} s") from err
    if done.returncode:
        raise GitError(
            program_error(done.stderr.decode(errors="replace"))
            or f"git failed with exit code {done.returncode}"
        )
    return done.stdout
