"""Addresses of MLflow and of Prefect that were confused or copied wrongly: each is answered with what to write."""

from collections.abc import Iterator

import pytest

from fedpipe.errors import TrackingError
from fedpipe.tracking.addresses import address_problem, why_no_mlflow, why_no_prefect
from fedpipe.tracking.reach import probe
from tests.services import MLFLOW, PAGE, PREFECT, answering


@pytest.fixture(scope="module")
def prefect() -> Iterator[str]:
    """Answers as Prefect's server: what is not of its API is a page."""
    with answering(PREFECT, PAGE) as address:
        yield address


@pytest.fixture(scope="module")
def mlflow() -> Iterator[str]:
    """Answers as MLflow's server."""
    with answering(MLFLOW, None) as address:
        yield address


@pytest.fixture(scope="module")
def prefixed() -> Iterator[str]:
    """Answers as a proxy with both below a path."""
    both = {f"/prefect{path}": body for path, body in PREFECT.items()} | {
        f"/mlflow{path}": body for path, body in MLFLOW.items()
    }
    with answering(both, None) as address:
        yield address


@pytest.mark.parametrize("tail", ["", "/", "/dashboard", "/api/v2", "/runs/flow-run/1"])
def test_prefects_address_without_its_api_is_completed(prefect: str, tail: str) -> None:
    said = str(why_no_prefect(prefect + tail))
    assert said.startswith(
        f"PREFECT_API_URL={prefect}{tail}: the API of the Prefect server there has another address."
    )
    assert said.endswith(f"Set PREFECT_API_URL={prefect}/api.")


def test_the_wrong_scheme_is_corrected(prefect: str, mlflow: str) -> None:
    assert str(why_no_prefect(prefect.replace("http", "https") + "/api")).endswith(
        f"Set PREFECT_API_URL={prefect}/api."
    )
    assert str(why_no_mlflow(mlflow.replace("http", "https"))).endswith(
        f"Set MLFLOW_TRACKING_URI={mlflow}."
    )


def test_each_is_told_from_the_other(prefect: str, mlflow: str) -> None:
    assert (
        "an MLflow server answers there, not Prefect. That address belongs into MLFLOW_TRACKING_URI"
        in str(why_no_prefect(f"{mlflow}/api"))
    )
    for address in (prefect, f"{prefect}/api", f"{prefect}/api/"):
        said = str(why_no_mlflow(address))
        assert (
            f"a Prefect server answers there, not MLflow. That address belongs into PREFECT_API_URL, as {prefect}/api"
            in said
        )
        with pytest.raises(TrackingError, match="a Prefect server answers there"):
            probe(address)


def test_a_right_address_is_left_alone(mlflow: str, prefixed: str) -> None:
    for address in (mlflow, f"{mlflow}/", f"{prefixed}/mlflow", f"{prefixed}/mlflow/"):
        assert why_no_mlflow(address) is None
        probe(address)


def test_servers_below_a_path_are_found(prefixed: str) -> None:
    assert str(why_no_prefect(f"{prefixed}/prefect")).endswith(
        f"Set PREFECT_API_URL={prefixed}/prefect/api."
    )
    assert str(why_no_mlflow(f"{prefixed}/prefect")).startswith(
        f"MLFLOW_TRACKING_URI={prefixed}/prefect: a Prefect server answers there"
    )
    assert str(why_no_mlflow(f"{prefixed}/mlflow/api")).endswith(
        f"Set MLFLOW_TRACKING_URI={prefixed}/mlflow."
    )


def test_where_nothing_listens_nothing_is_guessed() -> None:
    assert why_no_prefect("http://127.0.0.1:1/api") is None
    assert why_no_mlflow("http://127.0.0.1:1") is None


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("localhost:4200/api", "begins with http:// or https://"),
        ("http:///api", "begins with http:// or https://"),
        ("http://host:port/api", "not an address"),
        ("http://host:4200/#/runs", "Leave out everything from the '#' on"),
        ("http://host:4200/runs?x=1", "Leave out everything from the '?' on"),
    ],
)
def test_what_is_no_address_is_said(address: str, words: str) -> None:
    assert words in str(address_problem("PREFECT_API_URL", address, "http://127.0.0.1:4200/api"))


@pytest.mark.parametrize("uri", ["127.0.0.1:5000", "localhost:5000/", "mlflow.example.org:80"])
def test_mlflows_address_without_a_scheme_is_no_folder(uri: str) -> None:
    with pytest.raises(TrackingError, match=rf"^MLFLOW_TRACKING_URI={uri}: .* Set http://{uri}\."):
        probe(uri)
