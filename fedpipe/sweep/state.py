"""A sweep's own folder, `.fedpipe/sweeps/NAME/`: what it was started with, the journal of its
search, and a lock while it runs.
"""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedpipe.config import Config, flatten
from fedpipe.config.schema import expand_options
from fedpipe.config.sweep import SweepConfig
from fedpipe.errors import ConfigError
from fedpipe.project.paths import Project
from fedpipe.system.atomic_files import write_atomic
from fedpipe.system.locks import held

STATE_NAME = "sweep.json"
JOURNAL_NAME = "search.jsonl"
_MAY_CHANGE = {"max_parallel", "cores_per_child", "memory_per_child_mb", "params", "overrides"}
"""Settings that may change when a sweep is resumed. The settings that `params` and `overrides`
make are compared themselves.
"""


class SweepState:
    """A sweep's folder and its recorded state. The values are JSON."""

    def __init__(self, folder: Path, values: dict[str, Any], is_new: bool) -> None:
        """Use `begin_sweep`."""
        self.folder = folder
        self.values = values
        self.is_new = is_new

    @property
    def journal(self) -> Path:
        """Return the file of the search."""
        return self.folder / JOURNAL_NAME

    @property
    def parent(self) -> str | None:
        """Return the id of the parent run in MLflow, None before it is made."""
        return self.values.get("mlflow_run_id")

    def update(self, **values: Any) -> None:
        """Note more values, on the disk before this returns."""
        self.values |= values
        write_atomic(self.folder / STATE_NAME, json.dumps(self.values, indent=1) + "\n")


@contextmanager
def begin_sweep(
    project: Project, sweep: SweepConfig, base: Config, resume: bool
) -> Iterator[SweepState]:
    """Give the sweep of this name, held by this process: a new one, or the one that is there, with
    the same settings.

    More `trials` than it was started with add trials. Of `base`, what the space searches is not
    compared.

    Raises:
        ConfigError: it was started with other settings, is running, or there is none and `resume`
            asks for one.
    """
    folder = project.private / "sweeps" / str(sweep.name)
    path = folder / STATE_NAME
    if resume and not path.exists():
        raise ConfigError(
            f"--resume: expected a sweep '{sweep.name}' that was started here, found none. Start "
            "it without --resume."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / "lock", f"sweep {sweep.name}", "or choose another name"):
        settings = {"sweep": sweep.model_dump(mode="json"), "base": base.model_dump(mode="json")}
        if not path.exists():
            state = SweepState(folder, {"key": uuid.uuid4().hex, **settings}, is_new=True)
        else:
            state = SweepState(folder, _read(path), is_new=False)
            _refuse_changes(state, sweep, base)
        state.update(**settings)
        yield state


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as err:
        raise ConfigError(
            f"{path}: expected what the sweep was started with, cannot read it: {err}. Choose "
            "another name."
        ) from err


def _refuse_changes(state: SweepState, sweep: SweepConfig, base: Config) -> None:
    then = dict(state.values["sweep"])
    now = sweep.model_dump(mode="json")
    changed = [
        f"{key}={then.get(key)} then, {now[key]} now"
        for key in now
        if key not in _MAY_CHANGE and then.get(key) != now[key]
    ]
    if (then.get("trials") or 0) < (now.get("trials") or 0):
        changed = [text for text in changed if not text.startswith("trials=")]
    before = expand_options(flatten(Config())) | _flat(state.values["base"])
    after = expand_options(flatten(base))
    changed += [
        f"{key}={before.get(key)} then, {value} now"
        for key, value in after.items()
        if key not in sweep.space and before.get(key) != _plain(value)
    ]
    if changed:
        raise ConfigError(
            f"sweep {sweep.name}: expected the settings that it was started with, found "
            f"{'; '.join(changed)}. Put these back, or give the sweep another name."
        )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return value
