"""Whether a configured address is that of a Prefect server, by Prefect's own client."""

import pytest

from fedpipe.errors import EnvironmentProblem
from fedpipe.orchestration.server import require_server
from tests.services import MLFLOW, PAGE, PREFECT, answering


def refused(url: str) -> str:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(EnvironmentProblem) as caught:
        require_server(url)
    return str(caught.value)


def test_the_address_of_prefects_api_is_taken() -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with answering(PREFECT, PAGE) as base, temporary_settings({PREFECT_API_URL: f"{base}/api"}):
        require_server(f"{base}/api")


def test_prefects_pages_mlflow_and_nothing_are_told_apart() -> None:
    with answering(PREFECT, PAGE) as base:
        assert refused(base).endswith(f"Set PREFECT_API_URL={base}/api.")
        assert refused(f"{base}/dashboard").endswith(f"Set PREFECT_API_URL={base}/api.")
    with answering(MLFLOW, None) as base:
        assert "an MLflow server answers there, not Prefect" in refused(base)
        assert "an MLflow server answers there, not Prefect" in refused(f"{base}/api")
    with answering({}, PAGE) as base:
        assert (
            "expected a Prefect server, but it does not answer: what answers is not Prefect's API"
            in refused(f"{base}/api")
        )
    assert "expected a Prefect server, but it does not answer" in refused("http://127.0.0.1:1/api")
    assert "begins with http:// or https://" in refused("127.0.0.1:4200/api")
