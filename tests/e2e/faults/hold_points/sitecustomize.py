"""Holds a run at named points, so that a fault is made there whatever the machine's speed.

Python imports this file at its start where its folder is in PYTHONPATH. `FEDPIPE_HOLD` names points, comma-separated, and
`FEDPIPE_HOLD_FOLDER` a folder: at a point the run makes the file `POINT.reached` there and waits until `POINT.go` is there. A point is
the name of a function in `POINTS`, with `@N` for its call of round N; each point is met once.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import sys
import time
from pathlib import Path

POINTS = {
    "fedpipe.runs.shards": {"ensure_shards": "load_data"},
    "fedpipe.pipeline.train": {"train": "train"},
    "fedpipe.pipeline.evaluate": {"evaluate": "evaluate"},
    "fedpipe.pipeline.record": {"record": "record"},
    "fedpipe.orchestration.run_log": {"result_line": "finished"},
    "fedpipe.runs.state": {"mark_told": "told"},
    "fedpipe.runs.recorder": {"Recorder.round_done": "done"},
    "fedpipe.engine.runtime": {"Runtime.call": "call"},
    "fedpipe.system.atomic_files": {"os.replace": "checkpoint"},
    "fedpipe.tracking.send_record": {"send": "send"},
}
"""By module: which of its functions are points, and what they are called."""

_HELD = set(filter(None, os.environ.get("FEDPIPE_HOLD", "").split(",")))
_FOLDER = Path(os.environ.get("FEDPIPE_HOLD_FOLDER", "."))
_PAUSE_SECONDS = 0.005
_CHECKPOINT = re.compile(r"round_(\d+)_")


def _round_of(arguments, keywords):
    """Return the round that a call is about, None if it is about none."""
    for value in (*arguments, *keywords.values()):
        number = getattr(value, "round_num", None)  # a report
        if (
            number is None and isinstance(value, str) and value.startswith("round ")
        ):  # what the runtime calls
            number = value.removeprefix("round ")
        if (
            number is None and isinstance(value, dict) and value.get("kind") == "metrics"
        ):  # a record of the journal
            number = value["step"]
        if number is None and isinstance(value, Path):
            match = _CHECKPOINT.match(value.name)
            number = match and match[1]
        if number is not None:
            return int(number)
    return None


def _hold(point, arguments, keywords):
    number = _round_of(arguments, keywords)
    name = point if number is None else f"{point}@{number}"
    for held in (name, point):
        if held in _HELD:
            _HELD.discard(held)
            (_FOLDER / f"{held}.reached").touch()
            while not (_FOLDER / f"{held}.go").exists():
                time.sleep(_PAUSE_SECONDS)
            return


def _holding(function, point):
    def held(*arguments, **keywords):
        _hold(point, arguments, keywords)
        return function(*arguments, **keywords)

    return held


class _Os:
    """The module `os` with a `replace` that is a point."""

    def __init__(self, module, point):
        self._module = module
        self.replace = _holding(module.replace, point)

    def __getattr__(self, name):
        return getattr(self._module, name)


def _patch(module, points):
    for path, point in points.items():
        owner, _, name = path.rpartition(".")
        if owner == "os":
            module.os = _Os(module.os, point)
        else:
            target = getattr(module, owner) if owner else module
            setattr(target, name, _holding(getattr(target, name), point))


class _Loader:
    def __init__(self, loader, points):
        self._loader, self._points = loader, points

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        _patch(module, self._points)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        points = POINTS.get(name)
        if points is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, points)
        return spec


if _HELD:
    sys.meta_path.insert(0, _Finder())
