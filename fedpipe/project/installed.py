"""Where this fedpipe was installed from, so that a new project can install the same."""

import importlib.metadata
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import fedpipe


@dataclass(frozen=True)
class Origin:
    """The place.

    Attributes:
        words: the place in words.
        source: uv's source of the package, for `[tool.uv.sources]`; empty where a package index has
            it.
        is_pinned: whether the source says by itself which code it is, as a git commit does and a
            folder does not.
    """

    words: str
    source: dict[str, str | bool]
    is_pinned: bool = False

    def to_toml(self) -> str:
        """Return the table of the sources, empty text if there is none."""
        if not self.source:
            return ""
        # A JSON text or truth value is one of TOML, too.
        entries = ", ".join(
            f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in self.source.items()
        )
        return f"\n[tool.uv.sources]\nfedpipe = {{ {entries} }}\n"


def origin() -> Origin:
    """Return where the fedpipe that runs here was installed from."""
    try:
        text = importlib.metadata.distribution("fedpipe").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:  # run from a folder that is not installed
        return _folder(Path(fedpipe.__file__).resolve().parents[1], True)
    return origin_of(json.loads(text) if text else None)


def installed_versions() -> list[str]:
    """Return the versions of the packages that fedpipe asks for, as they are installed here:
    `["dvc==3.67.1", ...]`.

    A new project that resolved them anew would get newer ones, which nobody has tried with this
    fedpipe.
    """
    try:
        asked = importlib.metadata.requires("fedpipe") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    names = {
        re.split(r"[^\w.-]", requirement)[0]
        for requirement in asked
        if "extra ==" not in requirement
    }
    return [f"{name}=={importlib.metadata.version(name)}" for name in sorted(names)]


def origin_of(direct: dict[str, Any] | None) -> Origin:
    """Return the place that an installer has noted (PEP 610); None is a package index.

    >>> origin_of({"url": "https://me:token@host/fedpipe.system.git", "vcs_info": {"vcs": "git", "commit_id": "1f0c"}}).source
    {'git': 'https://host/fedpipe.system.git', 'rev': '1f0c'}
    >>> origin_of({"url": "file:///opt/fedpipe", "dir_info": {"editable": True}}).to_toml()
    '\\n[tool.uv.sources]\\nfedpipe = { path = "/opt/fedpipe", editable = true }\\n'
    """
    if direct is None:
        return Origin("the package index", {})
    url = str(direct["url"])
    parts = urlsplit(url)
    if parts.scheme == "file" and "vcs_info" not in direct:
        return _folder(Path(unquote(parts.path)), bool(direct.get("dir_info", {}).get("editable")))
    # Whoever installs the project has rights of their own: no name, password or token goes into its
    # files.
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if "vcs_info" not in direct:
        return Origin(address, {"url": address}, True)
    commit = str(direct["vcs_info"]["commit_id"])
    source: dict[str, str | bool] = {"git": address, "rev": commit}
    if "subdirectory" in direct:
        source["subdirectory"] = str(direct["subdirectory"])
    return Origin(f"{address} at commit {commit[:12]}", source, True)


def _folder(path: Path, editable: bool) -> Origin:
    source: dict[str, str | bool] = {"path": str(path)}
    return Origin(str(path), source | {"editable": True} if editable else source)
