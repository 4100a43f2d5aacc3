"""From a registered model to predictions, a server, other forms, and a champion that forgets: as its user does it."""

import json
import os
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from PIL import Image

from fedpipe.data.population import Population
from fedpipe.tracking.participation import read_clients

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

LONG = 800
"""Seconds that a training may take on a machine that does other things too."""

SETTINGS = {
    "validation_fraction: 0.0": "validation_fraction: 0.2",
    "register: false": "register: true",
    "model_name: fedpipe": "model_name: digits",
}
OPTIONS = ["-S", "rounds=4", "-S"]


@pytest.fixture(scope="module")
def registered(make_user: Callable[..., Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Someone who registered a model, and then a worse one."""
    user = make_user()
    params = (user.project / "params.yaml").read_text()
    for before, after in SETTINGS.items():
        assert params.count(before) == 1
        params = params.replace(before, after)
    (user.project / "params.yaml").write_text(params)
    first = user.train("--name", "good", *OPTIONS, "client.learning_rate=0.1", timeout=LONG)
    second = user.train("--name", "worse", *OPTIONS, "client.learning_rate=0.0001", timeout=LONG)
    return user, first, second


@pytest.fixture(scope="module")
def store(registered: Any) -> MlflowClient:
    return MlflowClient(tracking_uri=f"sqlite:///{registered[0].project}/mlflow.db")


@pytest.fixture(scope="module")
def digits(
    registered: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Path], np.ndarray]:
    """Ten test images as files, and their pixels."""
    examples = Population.open(registered[0].project / "data" / "shards").central_test()
    folder, pixels = tmp_path_factory.mktemp("images"), np.asarray(examples.x[:10])
    files = [folder / f"{number}.png" for number in range(10)]
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image).save(file)
    return files, pixels


def test_the_better_run_is_champion_and_prefect_shows_the_move(
    registered: Any, store: MlflowClient
) -> None:
    user, first, second = registered
    assert (first["registered"]["version"], first["registered"]["alias"]) == ("1", "champion")
    assert (second["registered"]["version"], second["registered"]["alias"]) == ("2", "challenger")
    assert first["registered"]["validation_accuracy"] > second["registered"]["validation_accuracy"]
    aliases = store.get_registered_model("digits").aliases
    assert {name: str(number) for name, number in aliases.items()} == {
        "champion": "1",
        "challenger": "2",
    }
    with closing(sqlite3.connect(user.home / ".prefect" / "prefect.db")) as database:
        pages = [
            json.loads(data)
            for (data,) in database.execute(
                "SELECT data FROM artifact WHERE key = 'registry' ORDER BY created"
            )
        ]
    assert "| alias `champion` | is given to digits/1 |" in pages[0]
    assert "| alias `champion` | stays with digits/1 |" in pages[1]
    shown = user.run("fedpipe", "lineage", "digits@champion").stdout
    assert "model digits/1 @champion" in shown


def test_images_and_tables_are_predicted(registered: Any, digits: Any) -> None:
    user, first, _ = registered
    files = [str(file) for file in digits[0]]
    answer = json.loads(user.run("fedpipe", "predict", "digits@champion", *files, "--json").stdout)
    assert (answer["model"], answer["run_id"]) == ("digits/1 @champion", first["run_id"])
    assert [one["file"] for one in answer["predictions"]] == files
    labels = [one["label"] for one in answer["predictions"]]
    assert user.run("fedpipe", "predict", "good", *files, "--quiet").stdout.split() == labels
    table = user.run(
        "fedpipe", "predict", "digits@champion", "data/shards/central-00000.parquet"
    ).stdout
    assert "and 900 more; --json has all of them" in table
    rows = json.loads(
        user.run(
            "fedpipe", "predict", "digits/1", "data/shards/central-00000.parquet", "--json"
        ).stdout
    )["predictions"]
    assert [one["probabilities"] for one in rows[:10]] == [
        pytest.approx(one["probabilities"], abs=1e-6) for one in answer["predictions"]
    ]


def test_what_cannot_be_predicted_is_one_line(registered: Any, digits: Any, tmp_path: Path) -> None:
    user, file = registered[0], str(digits[0][0])
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "small.png")
    for arguments, words in (
        (
            ["digits@champion", str(tmp_path / "small.png")],
            "expected an image of 28 x 28 (grey), found 9 x 9 (grey)",
        ),
        (
            ["digits@nobody", file],
            "expected a registered model 'digits@nobody', found digits/1 @champion, digits/2 @challenger",
        ),
        (["letters/1", file], "expected a registered model 'letters/1'"),
        (
            ["digits@champion", "nowhere.png"],
            "nowhere.png: expected a file or a folder, found nothing",
        ),
    ):
        said = user.run("fedpipe", "predict", *arguments, code=2).stderr
        assert words in said
        assert len(said.splitlines()) == 1


def test_mlflow_serves_the_champion(registered: Any, digits: Any) -> None:
    user, files = registered[0], [str(file) for file in digits[0]]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    where = ["--host", "127.0.0.1", "--port", str(port)]
    command = [
        "mlflow",
        "models",
        "serve",
        "--model-uri",
        "models:/digits@champion",
        "--env-manager",
        "local",
        *where,
    ]
    with (user.home / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=user.project,
            env=user.environment() | settings,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", process, user.home / "serve.log")
        body = json.dumps({"inputs": (digits[1] / np.float32(255)).tolist()}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
        )
        with open_url(request) as answer:
            served = json.load(answer)["predictions"]
        wrong = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            b'{"inputs": [[1.0, 2.0]]}',
            {"Content-Type": "application/json"},
        )
        with pytest.raises(urllib.error.HTTPError, match="400"):
            open_url(wrong)
        listening = listeners(port)
    finally:
        os.killpg(process.pid, 15)
        process.wait(60)
    said = json.loads(user.run("fedpipe", "predict", "digits@champion", *files, "--json").stdout)[
        "predictions"
    ]
    np.testing.assert_allclose(served, [one["probabilities"] for one in said], atol=1e-6)
    assert listening == {f"0100007F:{port:04X}"}


def test_the_champion_is_exported(registered: Any, digits: Any) -> None:
    user = registered[0]
    said = json.loads(
        user.run("fedpipe", "predict", "digits@champion", *map(str, digits[0]), "--json").stdout
    )["predictions"]
    x = (digits[1] / np.float32(255)).astype(np.float32)
    for form, name in (("savedmodel", "served"), ("tflite", "digits.tflite")):
        done = json.loads(
            user.run(
                "fedpipe", "export", "digits@champion", "--format", form, name, "--json"
            ).stdout
        )
        assert done["max_difference"] <= 1e-5
        found = run_exported(user.project / name, x)
        np.testing.assert_allclose(found, [one["probabilities"] for one in said], atol=1e-5)
    again = user.run(
        "fedpipe", "export", "digits@champion", "--format", "tflite", "digits.tflite", code=2
    ).stderr
    assert "digits.tflite: expected a new name, found it is there already" in again
    assert (
        "--format onnx: expected savedmodel or tflite"
        in user.run("fedpipe", "export", "good", "--format", "onnx", "x", code=2).stderr
    )
    (user.project / "digits.tflite").unlink()


def test_the_champion_is_trained_again_without_a_client(
    registered: Any, store: MlflowClient
) -> None:
    user, first, _ = registered
    taken = read_clients(Path(store.download_artifacts(first["run_id"], "lineage/clients.parquet")))
    client = taken[0].client_id
    assert (
        "--model digits is set but without --retrain"
        in user.run("fedpipe", "forget", client, "--model", "digits", code=2).stderr
    )
    nobody = user.run("fedpipe", "forget", client, "--retrain", "--model", "letters", code=2).stderr
    assert "expected a champion of the registered model 'letters', found none" in nobody
    assert json.loads((user.project / "forgotten.json").read_text()) == [], (
        "what cannot be retrained forgets nobody"
    )

    done = json.loads(
        user.run("fedpipe", "forget", client, "--retrain", "--json", timeout=LONG).stdout
    )
    assert done["champions"] == ["digits/1"]
    new = done["retrained"]["registered"]
    assert (new["version"], new["alias"], new["champion_before"]) == ("3", "champion", "1")
    assert new["reason"] == f"digits/1 trained on clients that are forgotten: {client}"
    version, old = (
        store.get_model_version_by_alias("digits", "champion"),
        store.get_model_version("digits", "1"),
    )
    assert (str(version.version), version.tags["fedpipe.retrain_of"]) == ("3", "digits/1")
    assert old.tags["fedpipe.replaced_by"] == "digits/3"
    run_id = done["retrained"]["run_id"]
    rows = read_clients(Path(store.download_artifacts(run_id, "lineage/clients.parquet")))
    assert client not in {row.client_id for row in rows}
    assert len(rows) == len(taken)
    kept = [
        yaml.safe_load(Path(store.download_artifacts(one, "lineage/params.yaml")).read_text())
        for one in (first["run_id"], run_id)
    ]
    assert kept[0] == kept[1]
    shown = user.run("fedpipe", "lineage", "digits@champion").stdout
    assert "model digits/3 @champion, retrained from digits/1" in shown
    shown = user.run("fedpipe", "lineage", "digits/1").stdout
    assert f"model digits/1, trained on forgotten clients {client}, replaced by digits/3" in shown
    again = json.loads(
        user.run("fedpipe", "forget", client, "--retrain", "--model", "digits", "--json").stdout
    )
    assert (again["champions"], again["retrained"]) == ([], None)


def run_exported(path: Path, x: np.ndarray) -> np.ndarray:
    """Run an exported model as anyone would, without fedpipe."""
    import tensorflow as tf

    if path.is_dir():
        loaded = tf.saved_model.load(str(path))
        return np.asarray(
            loaded.signatures["serving_default"](features=tf.constant(x))["probabilities"]
        )
    interpreter = tf.lite.Interpreter(model_path=str(path))
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def open_url(request: Any) -> Any:
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30)


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    limit = time.monotonic() + LONG
    while time.monotonic() < limit and process.poll() is None:
        try:
            open_url(url).close()
            return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"{url} did not answer; exit code {process.poll()}\n{log.read_text()}")


def listeners(port: int) -> set[str]:
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
