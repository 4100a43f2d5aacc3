"""The run that `reproduce` starts: its exit code decides whether its weights are compared."""

from pathlib import Path

import pytest

from fedpipe.errors import RoundError
from fedpipe.lineage.rerun import Rerun, run_again
from fedpipe.project.paths import Project


def project_whose_run(folder: Path, code: int) -> Project:
    """Return a project with code of its own, whose `fedpipe run` prints a summary and ends with an exit code."""
    (folder / "fedpipe").mkdir(parents=True)
    (folder / "fedpipe" / "__init__.py").touch()
    main = f"""import os, sys
print('{{"run_dir": "' + os.environ.get("DVC_STAGE", "no stage") + '", "data_md5": "0f"}}')
print('fedpipe: the disk is full', file=sys.stderr)
sys.exit({code})
"""
    (folder / "fedpipe" / "__main__.py").write_text(main)
    return Project(folder)


@pytest.mark.parametrize("code", [0, 3])
def test_a_run_that_lacks_a_picture_is_compared_all_the_same(tmp_path: Path, code: int) -> None:
    there, scratch = project_whose_run(tmp_path / "there", code), tmp_path / "scratch"
    scratch.mkdir()
    assert run_again(
        there, scratch, params=tmp_path / "params.yaml", name="fox", options=[], verified=True
    ) == Rerun(Path("reproduce"), "0f")


def test_dvc_is_asked_for_data_that_are_not_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", "train")  # as where DVC runs the test
    there, scratch = project_whose_run(tmp_path / "there", 0), tmp_path / "scratch"
    scratch.mkdir()
    assert run_again(
        there, scratch, params=tmp_path / "params.yaml", name="fox", options=[], verified=False
    ) == Rerun(Path("no stage"), "0f")


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    there, scratch = project_whose_run(tmp_path / "there", 2), tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(RoundError, match="the run failed with exit code 2: the disk is full"):
        run_again(
            there, scratch, params=tmp_path / "params.yaml", name="fox", options=[], verified=True
        )
