"""Links of a run's lineage, from the commit to the model versions, and its environment."""

from collections.abc import Sequence
from dataclasses import dataclass

from fedpipe.lineage.queries import RunLineage
from fedpipe.report.facts import RunFacts
from fedpipe.runs.lineage import GitLineage
from fedpipe.tracking.lookup import ModelVersion
from fedpipe.tracking.tags import FORGOTTEN_CLIENTS

_ENVIRONMENT = ("host.", "version.", "runtime.", "git.")
"""Prefixes of the tags that say with what a run was made."""


@dataclass(frozen=True)
class Link:
    """One link of a lineage.

    Attributes:
        kind: what is linked, such as `git commit`.
        id: its id; None if the run has none.
        notes: more facts about it.
        url: its web page, if it has one.
    """

    kind: str
    id: str | None
    notes: Sequence[str]
    url: str | None = None


def lineage_links(run: RunFacts) -> list[Link]:
    """Return the links from the commit to the model versions."""
    prefect = run.lineage.prefect
    flow_run = str(prefect.flow_run_name) if prefect.flow_run_id else "this run had none"
    return [
        _commit_link(run.lineage.git),
        *_data_links(run.lineage),
        Link("Prefect flow run", prefect.flow_run_id, [flow_run], _web_address(prefect.url)),
        Link("MLflow run", run.run_id, [run.name], _web_address(run.url)),
        *_version_links(run.lineage.versions),
    ]


def environment(run: RunFacts) -> dict[str, str]:
    """Return the machine, the versions and the runtime."""
    return {key: value for key, value in run.tags.items() if key.startswith(_ENVIRONMENT)}


def _commit_link(git: GitLineage) -> Link:
    notes = []
    if git.branch:
        notes.append(f"branch {git.branch}")
    if git.dirty:
        notes.append("with uncommitted changes")
    if git.dirty and git.patch:
        notes[-1] += ", kept as lineage/dirty.patch"
    return Link("git commit", None if git.commit == "none" else git.commit, notes)


def _data_links(lineage: RunLineage) -> list[Link]:
    place = "in dvc.lock" if lineage.dvc.data_in_lock else "not in dvc.lock"
    notes = list(filter(None, [lineage.data.source, place]))
    links = [Link("data (DVC md5)", lineage.dvc.data_md5, notes)]
    if lineage.dvc.experiment:
        links.append(Link("DVC experiment", lineage.dvc.experiment, []))
    return links


def _version_links(versions: Sequence[ModelVersion]) -> list[Link]:
    links = []
    for version in versions:
        notes = [f"@{alias}" for alias in version.aliases]
        clients = version.tags.get(FORGOTTEN_CLIENTS)
        if clients:
            notes.append(f"trained on forgotten clients {clients}")
        links.append(Link("model version", f"{version.name}/{version.version}", notes))
    return links or [Link("model version", None, ["none is registered"])]


def _web_address(url: str | None) -> str | None:
    """Return a web address. Addresses come from tags, which anyone may write: what is no web
    address is not made a link.
    """
    if url and url.startswith(("http://", "https://")):
        return url
    return None
