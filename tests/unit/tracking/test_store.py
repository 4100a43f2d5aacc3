import subprocess
import sys

import pytest

from fedpipe.tracking.store import mask, prepare_environment, tracking_uri


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:////home/ann/mlflow.db", "sqlite:////home/ann/mlflow.db"),
        ("postgresql://ann:p@ss@db:5432/runs", "postgresql://ann:***@db:5432/runs"),
        ("https://:pw@host/x", "https://:***@host/x"),
        ("https://host/x?user=ann&password=pw", "https://host/x?user=ann&password=***"),
        ("mysql+pymysql://a:b@h/x?ssl_token=t&c=d", "mysql+pymysql://a:***@h/x?ssl_token=***&c=d"),
    ],
)
def test_passwords_are_masked(uri, shown):
    assert mask(uri) == shown


def test_the_store_is_the_projects_sqlite_file_unless_the_environment_names_one(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host")
    assert tracking_uri(tmp_path) == "http://host"


def test_what_the_user_set_is_kept(monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    prepare_environment()
    import os

    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "false"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "5"


def test_importing_tracking_and_report_imports_nothing_heavy():
    modules = "environment, mlflow_limits, model, run, snapshots, store, ui"
    script = (
        f"import sys; from fedpipe.tracking import {modules}; from fedpipe.figures import picture_file; "
        "from fedpipe.tables import confusion; "
        "heavy = {'mlflow', 'tensorflow', 'matplotlib', 'pandas', 'sqlalchemy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
