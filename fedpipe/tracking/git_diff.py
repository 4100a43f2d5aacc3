"""Makes the patch from a commit to a project's folder, for `git apply`: changed, new and deleted
files, binary ones too.

Where the project is a subfolder of a repository, what changed beside it is not part of the patch;
paths are those of the repository.

The user's index and objects stay as they are: new files are added to a copy of the index, and git's
objects for them go to a folder that is thrown away. Files that git ignores are left out, and new
ones whose name says that they hold a secret.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from fedpipe.system.git import GitError, run_git

MAX_BYTES = 10 * 2**20
"""Limit for the changed files together, and for the patch: a data set is no change of the code."""
SECRET_NAMES = (
    ".env",
    ".env.*",
    "*.pem",
    "*.key",
    "*.p12",
    "id_rsa*",
    "id_ed25519*",
    ".netrc",
    ".pypirc",
    "credentials*",
    "*.secret",
)
_GIT_SECONDS = 60


class DiffLeftOutError(Exception):
    """The work tree's changes cannot be kept, for the reason in the text; the run continues."""


def dirty_patch(project: Path) -> bytes:
    """Return the patch from HEAD to the files under `project`; empty where there is no difference,
    or no git.

    Raises:
        DiffLeftOutError: the changes are larger than `MAX_BYTES`, or git fails.
    """
    try:
        root = Path(os.fsdecode(_git(project, "rev-parse", "--show-toplevel")).strip())
        git_dir = root / os.fsdecode(_git(root, "rev-parse", "--git-dir")).strip()
        objects = root / os.fsdecode(_git(root, "rev-parse", "--git-path", "objects")).strip()
        prefix = os.fsdecode(_git(project, "rev-parse", "--show-prefix")).removesuffix("\n")
        _git(root, "rev-parse", "--verify", "HEAD")
    except DiffLeftOutError:
        return b""  # no git, or no commit: `git.note` says so
    inside = ("--", prefix or ".")
    against_head = ("HEAD", *inside)
    flags = ("--ignore-submodules=dirty", "--no-relative")
    changed = _paths(_git(root, "diff", "--name-only", "-z", *flags, *against_head))
    new = [
        path
        for path in _paths(_git(root, "ls-files", "--others", "--exclude-standard", "-z", *inside))
        if not _is_secret(path)
        and not path.endswith("/")
        and not _leads_out(root, path)  # with "/": a repository of its own
    ]
    size = sum(
        (root / path).lstat().st_size for path in {*changed, *new} if (root / path).is_file()
    )
    if size > MAX_BYTES:
        raise DiffLeftOutError(f"changed and new files have {size} bytes, more than {MAX_BYTES}")
    with tempfile.TemporaryDirectory(prefix="fedpipe-diff-") as folder:
        index = Path(folder) / "index"
        if (git_dir / "index").exists():
            shutil.copy2(git_dir / "index", index)
        (Path(folder) / "objects").mkdir()
        scratch = {
            "GIT_INDEX_FILE": str(index),
            "GIT_OBJECT_DIRECTORY": str(Path(folder) / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(objects),
        }
        if new:
            _git(
                root,
                "add",
                "--pathspec-from-file=-",
                "--pathspec-file-nul",
                environment=scratch,
                stdin=b"\0".join(map(os.fsencode, new)),
            )
        # Against HEAD and not the index, so that what is staged counts as well; config of the
        # user's that shapes a diff is overruled.
        form = ("--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv")
        plain = ("-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false")
        patch = _git(root, *plain, "diff", *flags, *form, *against_head, environment=scratch)
    if len(patch) > MAX_BYTES:
        raise DiffLeftOutError(f"the patch has {len(patch)} bytes, more than {MAX_BYTES}")
    return patch


def _leads_out(root: Path, path: str) -> bool:
    """Return whether a path is a link out of the repository: a folder on another disk, which a
    repeated run must not write to.
    """
    return (root / path).is_symlink() and not (root / path).resolve().is_relative_to(root.resolve())


def _is_secret(path: str) -> bool:
    return any(fnmatchcase(Path(path).name.lower(), pattern) for pattern in SECRET_NAMES)


def _paths(listed: bytes) -> list[str]:
    return [os.fsdecode(path) for path in listed.split(b"\0") if path]


def _git(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, stdin: bytes = b""
) -> bytes:
    options = ("--no-optional-locks", "--literal-pathspecs")
    try:
        return run_git(
            folder,
            *options,
            *arguments,
            environment=environment,
            stdin=stdin,
            timeout_seconds=_GIT_SECONDS,
        )
    except GitError as err:
        raise DiffLeftOutError(f"`git {arguments[0]}`: {err}") from err
