"""Where a project is, and folders of it that lie on another disk."""

from pathlib import Path

import pytest

from fedpipe.errors import ConfigError
from fedpipe.project.paths import find_project


def test_the_nearest_folder_upwards_is_the_project(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"no params.yaml here or in a folder above"):
        find_project(tmp_path / "a" / "b")
    (tmp_path / "params.yaml").touch()
    assert find_project(tmp_path / "a" / "b").root == tmp_path


@pytest.mark.parametrize("name", [".fedpipe", "data", "outputs", "mlartifacts", "mlflow.db"])
def test_a_link_to_a_disk_that_is_not_mounted_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "params.yaml").touch()
    (tmp_path / name).symlink_to(tmp_path / "disk")
    with pytest.raises(ConfigError) as caught:
        find_project(tmp_path)
    assert (
        str(caught.value)
        == f"{tmp_path}/{name}: a link to {tmp_path}/disk, which is not there. Mount that disk, or remove the link."
    )
    (tmp_path / "disk").mkdir()
    assert find_project(tmp_path).root == tmp_path
