"""A project's own folder `flows` never takes the place of fedpipe's package of that name.

The project stands first on `sys.path` under `python -m`, `python -c` and in the processes that Prefect starts.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import fedpipe
from fedpipe.project.create import init_project

ROOT = Path(fedpipe.__file__).parents[1]
LOAD_AS_PREFECT_DOES = """
import sys
from prefect.flows import load_flow_from_entrypoint
print(load_flow_from_entrypoint(sys.argv[1], use_placeholder_flow=False).name)
import flows.train
print(flows.train.__file__)
"""
"""As the engine of Prefect does in the process of a flow run."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a new project with a package `flows` of its own, whose modules cannot be imported."""
    folder = tmp_path_factory.mktemp("projects") / "sensors"
    init_project(folder)
    (folder / "flows").mkdir()
    for name in ("__init__", "train", "sweep", "evaluate"):
        (folder / "flows" / f"{name}.py").write_text("raise RuntimeError('the project was loaded')")
    params = yaml.safe_load((folder / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(params | {"rounds": 1}))
    return folder


def run(project: Path, *arguments: str, **environment: str) -> list[str]:
    """Run Python in the project and return the lines that it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.parametrize("module", ["prefect_check", "serve", "sweep", "train"])
def test_each_launcher_imports_the_flows_of_fedpipe(project: Path, module: str) -> None:
    code = f"import fedpipe.launch.{module}, flows.train, flows.sweep; print(flows.train.__file__)"
    assert run(project, "-c", code)[-1] == str(ROOT / "flows" / "train.py")


def test_a_training_runs_under_python_m(project: Path) -> None:
    summary = json.loads(run(project, "-m", "fedpipe.launch.train")[-1])
    assert summary["rounds"] == 1


def test_the_served_deployment_loads_the_flow_of_fedpipe(project: Path) -> None:
    code = (
        "from fedpipe.launch.serve import served_deployment; print(served_deployment().entrypoint)"
    )
    (entrypoint,) = run(project, "-P", "-c", code)
    loaded = run(project, "-c", LOAD_AS_PREFECT_DOES, entrypoint, PYTHONSAFEPATH="1")
    assert loaded[-2:] == ["federated-training", str(ROOT / "flows" / "train.py")]


def test_the_deployment_of_a_new_project_loads_the_flow_of_fedpipe(project: Path) -> None:
    (deployment,) = yaml.safe_load((project / "prefect.yaml").read_text())["deployments"]
    loaded = run(project, "-c", LOAD_AS_PREFECT_DOES, deployment["entrypoint"])
    assert loaded[-2:] == ["sensors", str(ROOT / "flows" / "train.py")]


@pytest.mark.parametrize(
    "deployment",
    yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"],
    ids=lambda deployment: str(deployment["name"]),
)
def test_the_deployments_of_fedpipe_load_its_flows(
    project: Path, deployment: dict[str, str]
) -> None:
    loaded = run(project, "-c", LOAD_AS_PREFECT_DOES, deployment["entrypoint"])
    assert loaded[-2:] == [
        {
            "train": "federated-training",
            "evaluate": "federated-evaluation",
            "sweep": "federated-sweep",
        }[deployment["name"]],
        str(ROOT / "flows" / "train.py"),
    ]


def test_a_module_of_the_project_in_a_package_flows_is_refused(project: Path) -> None:
    code = "import sys; sys.modules['flows'] = type(sys)('flows'); import fedpipe.launch"
    with pytest.raises(AssertionError, match="the name flows is taken by fedpipe's own package"):
        run(project, "-c", code)
