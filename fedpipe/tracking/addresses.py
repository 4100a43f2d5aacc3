"""Diagnoses wrong addresses of MLflow's and Prefect's servers, and names the right one.

Both have a server, a variable for its address, and pages in a browser; the addresses are easily
confused, or copied with too much or too little. The checks run after a failure, and once for
MLflow; each takes a few seconds at most.
"""

import re
import socket
import urllib.error
import urllib.request
from urllib.parse import urlsplit

_SECONDS = 5
_MOST_BYTES = 1000


def why_no_prefect(url: str) -> str | None:
    """Return how to correct `PREFECT_API_URL=url`, at which no Prefect API answered; None if that
    is not known.
    """
    name = "PREFECT_API_URL"
    if not _listens(url):
        return None
    for base in _bases(url):
        if is_prefect(f"{base}/api"):
            return (
                f"{name}={url}: the API of the Prefect server there has another address. Set "
                f"{name}={base}/api."
            )
        if is_mlflow(base):
            return (
                f"{name}={url}: an MLflow server answers there, not Prefect. That address belongs "
                f"into MLFLOW_TRACKING_URI; set {name} to Prefect's, such as "
                "http://127.0.0.1:4200/api, or unset it."
            )
    return None


def why_no_mlflow(uri: str) -> str | None:
    """Return how to correct `MLFLOW_TRACKING_URI=uri`, an HTTP address; None if it may be right."""
    name = "MLFLOW_TRACKING_URI"
    example = "http://127.0.0.1:5000"
    if problem := address_problem(name, uri, example):
        return problem
    if not _listens(uri):
        return None  # the caller's error says so
    base = uri.rstrip("/")
    answer = _get(f"{base}/health")
    if answer == "OK" or (answer is not None and answer.startswith("401")):
        return None
    for root in _bases(uri):
        if is_prefect(f"{root}/api"):
            return (
                f"{name}={uri}: a Prefect server answers there, not MLflow. That address belongs "
                f"into PREFECT_API_URL, as {root}/api; set {name} to MLflow's, such as "
                f"{example}, or unset it."
            )
        if root != base and is_mlflow(root):
            return f"{name}={uri}: the MLflow server there has another address. Set {name}={root}."
    return None


def is_prefect(api: str) -> bool:
    """Return whether a Prefect API answers at `api`."""
    return _get(f"{api}/health") == "true"


def is_mlflow(base: str) -> bool:
    """Return whether an MLflow server answers at `base`."""
    version = _get(f"{base}/version")
    return (
        _get(f"{base}/health") == "OK"
        and version is not None
        and re.match(r"\d+\.\d+", version) is not None
    )


def address_problem(name: str, address: str, example: str) -> str | None:
    """Return what is wrong with the form of the address in the variable `name`; None if it is
    valid.
    """
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError as err:
        return f"{name}={address}: not an address: {err}. Write it as {example}."
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        return (
            f"{name}={address}: expected an address that begins with http:// or https:// and a "
            f"host. Write it as {example}."
        )
    if parts.query or parts.fragment:
        return (
            f"{name}={address}: this is the address of a page. Leave out everything from the "
            f"'{'?' if parts.query else '#'}' on."
        )
    return None


def _listens(address: str) -> bool:
    """Return whether the address's host and port accept connections; True behind a proxy."""
    parts = urlsplit(address)
    if urllib.request.getproxies().get(parts.scheme.lower()) and not urllib.request.proxy_bypass(
        parts.hostname or ""
    ):
        return True
    port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), _SECONDS).close()
    except OSError:
        return False
    return True


def _bases(address: str) -> list[str]:
    """Return possible roots of the server: at the address's path or above it, with its scheme or
    the other one.
    """
    parts = urlsplit(address)
    schemes = ("http", "https") if parts.scheme.lower() == "http" else ("https", "http")
    path = parts.path.rstrip("/").removesuffix("/api")
    return list(
        dict.fromkeys(
            f"{scheme}://{parts.netloc}{start}" for scheme in schemes for start in (path, "")
        )
    )


def _get(address: str) -> str | None:
    """Return the beginning of an address's answer; `CODE REASON` of an HTTP error; None if there is
    no answer.
    """
    parts = urlsplit(address)
    plain = parts._replace(
        netloc=parts.netloc.rpartition("@")[2]
    ).geturl()  # urllib takes no password in an address
    headers = {"Accept": "application/json, text/plain"}
    # http(s), by `address_problem`
    request = urllib.request.Request(plain, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            return str(answer.read(_MOST_BYTES).decode(errors="replace").strip().strip('"'))
    except urllib.error.HTTPError as err:
        return f"{err.code} {err.reason}"
    except (OSError, ValueError):
        return None
