"""Where Python finds a user's own modules: in the project's folder, after everything that is
installed.

The folder is not put on `sys.path`: in front, a file of the user's called `queue.py` would take the
place of Python's own in every library that is imported later. A name that is taken already is
refused with the file that has to be renamed.
"""

import importlib.machinery
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from fedpipe.errors import ConfigError

_FEDPIPE = Path(__file__).parents[1]
_PREFIX = Path(sys.prefix).resolve()


class _ProjectFinder:
    """Finds top-level modules in one project's folder; the last finder that Python asks."""

    def __init__(self) -> None:
        self.folder: str | None = None

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return where the module is; None for a submodule, or where the folder has none of this
        name.
        """
        if path is not None or self.folder is None:
            return None
        return importlib.machinery.PathFinder.find_spec(name, [self.folder], target)

    def invalidate_caches(self) -> None:
        """Forget what was in the folder."""
        importlib.machinery.PathFinder.invalidate_caches()


_finder = _ProjectFinder()


def use_project_code(project: Path, place: str, setting: str) -> None:
    """Make the project's modules importable from here on.

    Args:
        project: the project's folder.
        place: `module:function`, as it stands in the setting.
        setting: name of the setting, for the error.

    Raises:
        ConfigError: the project has the module, but Python itself or an installed package has one
            of the same name.
    """
    folder = project.resolve()
    _finder.folder = str(folder)
    if _finder not in sys.meta_path:
        sys.meta_path.append(_finder)
    _finder.invalidate_caches()
    name = place.partition(":")[0].partition(".")[0]
    file = next(
        (file for file in (folder / f"{name}.py", folder / name / "__init__.py") if file.is_file()),
        None,
    )
    if file is None:
        return
    owner = _other_owner(name, folder)
    if owner is not None:
        raise ConfigError(
            f"{setting}={place}: the name {name} is taken by {owner}, so "
            f"{file.relative_to(folder)} is never imported. Rename it, for example to my_{name}."
        )


def _other_owner(name: str, folder: Path) -> str | None:
    """Return who else has a module of this name, None if nobody: outside of the folder, and not a
    folder without code.
    """
    if name in sys.stdlib_module_names:
        return "a module of Python itself"
    # On sys.path alone; fedpipe's own `flows` is the one beside it, whatever else is there.
    places = [str(_FEDPIPE.parent)] if name == "flows" else None
    spec = importlib.machinery.PathFinder.find_spec(name, places)
    origin = spec.origin if spec is not None else None
    if origin is None or Path(origin).resolve().is_relative_to(folder):
        return None
    return f"an installed package ({Path(origin).parent})"


def forget_changed_modules(project: Path) -> None:
    """Have the project's own modules imported anew if the file of one was changed since this
    process began: a notebook's process outlives many changes.

    All of them are forgotten, not the changed one alone: they import each other. Modules that the
    user's own code still holds stay as they are.
    """
    folder = project.resolve()
    own: dict[str, Path] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name != "__main__" and file and _is_of_project(Path(file), folder):
            own[name] = Path(file)
    began = _process_start()
    if any(file.is_file() and file.stat().st_mtime > began for file in own.values()):
        for name in own:
            del sys.modules[name]


def _is_of_project(file: Path, folder: Path) -> bool:
    path = file.resolve()
    if not path.is_relative_to(folder):
        return False
    installed = path.is_relative_to(_FEDPIPE) or path.is_relative_to(_FEDPIPE.parent / "flows")
    return not installed and "site-packages" not in path.parts and not path.is_relative_to(_PREFIX)


def _process_start() -> float:
    """Return when this process began, in seconds since 1970."""
    after_name = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2]
    ticks_after_boot = int(after_name.split()[19])
    uptime = float(Path("/proc/uptime").read_text(encoding="utf-8").split()[0])
    return time.time() - uptime + ticks_after_boot / os.sysconf("SC_CLK_TCK")
