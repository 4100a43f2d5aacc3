"""Where a run comes from, and where its model went: from the commit to the model versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedpipe.report.facts import RunFacts
from fedpipe.tracking.tags import FORGOTTEN_CLIENTS

_ENVIRONMENT = ("host.", "version.", "runtime.", "git.")
"""Prefixes of the tags that say with what a run was made."""


@dataclass(frozen=True)
class Link:
    """One link of the chain.

    Attributes:
        kind: what is linked, such as `git commit`.
        id: its id; None if the run has none.
        notes: what else is known of it.
        url: its web page, if it has one.
    """

    kind: str
    id: str | None
    notes: Sequence[str]
    url: str | None = None


def chain(run: RunFacts) -> list[Link]:
    """Return the links from the commit to the model versions."""
    prefect = run.chain["prefect"]
    flow_run = str(prefect["flow_run_name"]) if prefect["flow_run_id"] else "this run had none"
    url = _web_address(prefect["url"])
    return [
        _commit_link(run.chain["git"]),
        *_data_links(run.chain),
        Link("Prefect flow run", prefect["flow_run_id"], [flow_run], url),
        Link("MLflow run", run.run_id, [run.name], _web_address(run.url)),
        *_version_links(run.chain.get("versions", ())),
    ]


def environment(run: RunFacts) -> dict[str, str]:
    """Return the machine, the versions and the runtime."""
    return {key: value for key, value in run.tags.items() if key.startswith(_ENVIRONMENT)}


def _commit_link(git: Mapping[str, Any]) -> Link:
    notes = []
    if git["branch"]:
        notes.append(f"branch {git['branch']}")
    if git["dirty"]:
        notes.append("with uncommitted changes")
    if git["dirty"] and git["patch"]:
        notes[-1] += ", kept as lineage/dirty.patch"
    commit = git["commit"]
    return Link("git commit", None if commit == "none" else commit, notes)


def _data_links(chain_of_run: Mapping[str, Any]) -> list[Link]:
    dvc = chain_of_run["dvc"]
    place = "in dvc.lock" if dvc["data_in_lock"] else "not in dvc.lock"
    notes = filter(None, [chain_of_run.get("data", {}).get("source"), place])
    links = [Link("data (DVC md5)", dvc["data_md5"], list(notes))]
    if dvc["experiment"]:
        links.append(Link("DVC experiment", dvc["experiment"], []))
    return links


def _version_links(versions: Sequence[Mapping[str, Any]]) -> list[Link]:
    links = []
    for version in versions:
        notes = [f"@{alias}" for alias in version["aliases"]]
        clients = version["tags"].get(FORGOTTEN_CLIENTS)
        if clients:
            notes.append(f"trained on forgotten clients {clients}")
        links.append(Link("model version", f"{version['name']}/{version['version']}", notes))
    return links or [Link("model version", None, ["none is registered"])]


def _web_address(url: str | None) -> str | None:
    """Return a web address. Addresses come from tags, which anyone may write: what is no web
    address is not made a link.
    """
    if url and url.startswith(("http://", "https://")):
        return url
    return None
