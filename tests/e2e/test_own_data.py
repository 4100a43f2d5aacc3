"""Users' own data, from the file to a recorded run; a client that leaves; what describe says."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CLIENTS, EXAMPLES = 6, 30


def digits() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return 180 of the embedded digits, at six clients with ids that are hard to write as file names."""
    from fedpipe.config import DataConfig
    from fedpipe.data.sources import SOURCES

    (batch,) = SOURCES["mnist5k"](DataConfig(), Path()).batches()
    rows = np.random.default_rng(1).permutation(5000)[: CLIENTS * EXAMPLES]
    ids = ["zoë", "a b", "c.d", "007", "ward 3", "x-y"]
    return (
        np.asarray(batch.x)[rows],
        np.asarray(batch.y)[rows],
        [ids[i % CLIENTS] for i in range(len(rows))],
    )


def write_csv(folder: Path) -> dict[str, str]:
    x, y, clients = digits()
    with (folder / "mine.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["client", "label", *(f"p{i}" for i in range(784))])
        for pixels, label, client in zip(
            x.reshape(len(x), -1).tolist(), y.tolist(), clients, strict=True
        ):
            writer.writerow([client, f"digit {label}", *pixels])
    return {"source": "csv", "path": "mine.csv", "feature_dtype": "uint8"}


def write_images(folder: Path) -> dict[str, str]:
    from PIL import Image

    for number, (pixels, label, client) in enumerate(zip(*digits(), strict=True)):
        path = folder / "pictures" / client / str(label) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return {"source": "images", "path": "pictures"}


def write_leaf(folder: Path) -> dict[str, str]:
    x, y, clients = digits()
    users = sorted(set(clients))
    rows = {user: [i for i, client in enumerate(clients) if client == user] for user in users}
    data = {
        user: {"x": (x[rows[user]].reshape(-1, 784) / 255).tolist(), "y": y[rows[user]].tolist()}
        for user in users
    }
    body = {"users": users, "num_samples": [len(rows[user]) for user in users], "user_data": data}
    (folder / "leaf.json").write_text(json.dumps(body))
    return {"source": "leaf", "path": "leaf.json"}


@pytest.fixture(scope="module")
def someone(make_user: Any) -> Any:
    return make_user()


@pytest.mark.parametrize("write", [write_csv, write_images, write_leaf])
def test_a_users_own_data_from_file_to_run(someone: Any, write: Any) -> None:
    user = someone
    data = write(user.project)
    overrides = [f"data.{key}={value}" for key, value in data.items()] + [
        "data.clients=null",
        "cohort.size=3",
        "rounds=3",
    ]
    options = [part for override in overrides for part in ("-S", override)]
    summary = user.train(*options, "-S", "client.learning_rate=0.1")
    assert summary["final"]["test/loss"] < summary["initial"]["test/loss"]


def test_a_file_in_params_must_be_known_to_dvc(user: Any) -> None:
    write_csv(user.project)
    params, stages = user.project / "params.yaml", user.project / "dvc.yaml"
    text = (
        params.read_text()
        .replace("source: mnist5k", "source: csv")
        .replace("  path:\n", "  path: mine.csv\n")
    )
    params.write_text(text.replace("size: 10", "size: 3").replace("rounds: 15", "rounds: 2"))
    done = user.run("fedpipe", "run", "--json", code=2)
    assert "Add the line `- mine.csv` there" in done.stderr
    stages.write_text(
        stages.read_text().replace(
            "      - forgotten.json\n", "      - forgotten.json\n      - mine.csv\n"
        )
    )
    user.run("dvc", "repro", "--quiet", "prepare")
    lines = (user.project / "mine.csv").read_text().splitlines(keepends=True)
    (user.project / "mine.csv").write_text("".join(lines[:-1]))
    assert "mine.csv" in user.run("dvc", "status", "prepare").stdout


def test_describe_and_forget(someone: Any) -> None:
    user = someone
    user.run("fedpipe", "prepare", "--quiet")
    user.run("dvc", "repro", "--quiet", "prepare")
    before = json.loads(user.run("fedpipe", "describe", "--json", "--pictures", "pictures").stdout)
    assert (before["clients"], sum(before["examples"].values()), before["labels"]) == (
        100,
        5000,
        10,
    )
    assert 0 < before["label_tv_mean"] < 0.9
    assert all(
        Path(user.project, name).read_bytes().startswith(b"<svg") for name in before["pictures"]
    )
    done = json.loads(user.run("fedpipe", "forget", "c003", "c077", "--json").stdout)
    after = json.loads(user.run("fedpipe", "describe", "--json").stdout)
    assert set(before["client_ids"]) - set(after["client_ids"]) == {"c003", "c077"}
    assert done["examples"] == sum(before["examples"].values()) - sum(after["examples"].values())
    assert done["md5_before"] != done["md5_after"]
    assert json.loads((user.project / "forgotten.json").read_text()) == ["c003", "c077"]
    refused = user.run("fedpipe", "forget", "nobody", code=2)
    assert "found no nobody" in refused.stderr
    assert json.loads((user.project / "forgotten.json").read_text()) == ["c003", "c077"]
    summary = user.train("-S", "cohort.strategy=uniform", "-S", "rounds=3", "-S", "cohort.size=60")
    assert summary["data_md5"] == done["md5_after"]


def test_sources_lists_every_source(user: Any) -> None:
    listed = json.loads(user.run("fedpipe", "sources", "--json").stdout)
    assert {
        "mnist5k",
        "synthetic",
        "emnist",
        "emnist62",
        "cifar100",
        "shakespeare",
        "parquet",
        "csv",
        "npz",
        "images",
        "sqlite",
        "leaf",
    } == set(listed)
    assert all(listed.values())
