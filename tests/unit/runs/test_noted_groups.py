"""The number of groups that a run started with is the one it resumes with, on whatever machine."""

from pathlib import Path
from typing import Any

import pytest

from fedpipe.config.schema import RuntimeConfig
from fedpipe.runs.noted_groups import keep_groups, note_groups, noted_groups


class Grouped:
    """An algorithm that computes in groups, by default one for each of `cores`; None: not in groups."""

    def __init__(self, cores: int | None) -> None:
        self.info = {"algorithm.groups": str(cores or "none")}

    def use_groups(self, groups: int) -> None:
        self.info = {"algorithm.groups": str(groups)}


def kept(folder: Path, cores: int | None, **settings: Any) -> str:
    algorithm = Grouped(cores)
    keep_groups(RuntimeConfig.model_validate(settings), algorithm, folder)
    return algorithm.info["algorithm.groups"]


def test_a_run_resumes_with_its_first_number(tmp_path: Path) -> None:
    assert kept(tmp_path, 8) == "8"
    assert kept(tmp_path, 2) == "8"
    assert noted_groups(tmp_path) == 8


def test_a_sweeps_number_comes_before_the_machines(tmp_path: Path) -> None:
    note_groups(tmp_path, 1)
    assert kept(tmp_path, 8) == "1"


@pytest.mark.parametrize("settings", [{"groups": 3}, {"remote": ["a:1"]}])
def test_settings_that_say_the_number_are_not_noted(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    assert kept(tmp_path, 8, **settings) == "8"
    assert noted_groups(tmp_path) is None


def test_nothing_is_noted_of_an_algorithm_without_groups(tmp_path: Path) -> None:
    note_groups(tmp_path, 1)  # by a sweep, before the algorithm is built
    assert kept(tmp_path, None) == "none"
    assert noted_groups(tmp_path) is None
