"""The files that describe the project to others say what the project says of itself."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_citation_is_of_this_version_and_licence() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in PROJECT["authors"]
    ]


def test_the_security_policy_supports_this_version() -> None:
    series = ".".join(PROJECT["version"].split(".")[:2])
    assert f"| {series}.x | yes |" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_the_changelog_has_this_version_with_breaking_changes_first() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    assert releases[0] == ("Unreleased", "")
    assert releases[1][0] == PROJECT["version"]
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        headings = re.findall(r"^### (.+)$", section, re.MULTILINE)
        assert "Changed, breaking" not in headings[1:]


def test_the_package_says_where_its_project_is() -> None:
    assert {"Repository", "Documentation", "Changelog", "Issues"} <= PROJECT["urls"].keys()
    assert (
        PROJECT["urls"]["Repository"]
        == yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["repository-code"]
    )


def test_the_workflow_runs_what_developers_run() -> None:
    workflow = yaml.safe_load(
        (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    )
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"}
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_hooks_before_a_commit_are_the_linters_of_ci() -> None:
    steps = (ROOT / ".ci" / "run").read_text().split("== uv run pytest")[0]
    linters = set(re.findall(r"uv run --no-sync (?!mkdocs)([\w.-]+(?: -m [\w.]+)?)", steps))
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    assert all(hook.startswith("uv run --no-sync ") for hook in hooks)
    commands = {re.match(r"uv run --no-sync ([\w.-]+(?: -m [\w.]+)?)", hook)[1] for hook in hooks}
    assert commands == linters
    assert len(hooks) == len(
        re.findall(r"^step .*uv run --no-sync (?!mkdocs)", steps, re.MULTILINE)
    )


def test_coverage_has_a_floor() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert settings["coverage"]["report"]["fail_under"] >= 66
    assert " --cov " in (ROOT / ".ci" / "run").read_text()


def test_the_forms_for_issues_can_be_read() -> None:
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert [form.stem for form in forms] == ["bug", "config", "feature", "question"]
    for form in forms:
        content = yaml.safe_load(form.read_text(encoding="utf-8"))
        assert form.stem == "config" or {"name", "description", "body"} <= content.keys()


def test_decisions_are_numbered_once() -> None:
    names = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    for name in names:
        text = (ROOT / "docs" / "decisions" / name).read_text(encoding="utf-8")
        assert text.startswith(f"# {int(name[:4])}. ")
