"""What docs/deploy.md says of the deployments is what `prefect.yaml` and the flows say."""

import importlib
from pathlib import Path

import pytest
import yaml
from prefect.utilities.callables import parameter_schema

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["name"])
def test_each_deployment_has_a_form_whose_fields_are_explained(deployment: dict) -> None:
    module, _, name = deployment["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    (row,) = [
        line
        for line in TEXT.splitlines()
        if line.startswith(f"| `{flow.name}/{deployment['name']}` |")
    ]
    fields = parameter_schema(flow).model_dump_for_openapi()["properties"]
    assert all(f"`{field}`" in row for field in fields)
    assert all(
        about["description"] and ("type" in about or "anyOf" in about) for about in fields.values()
    )
    assert set(deployment["parameters"]) <= set(fields)
    assert (deployment["version"], deployment["version_type"]) == (
        "{{ commit.stdout }}",
        "prefect:simple",
    )
    assert "concurrency_limit" not in deployment  # the pool's holds for all of them together
    assert "fedpipe" in deployment["tags"]
    assert not any(schedule["active"] for schedule in deployment.get("schedules", []))
