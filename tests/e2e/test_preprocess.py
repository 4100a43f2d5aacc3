"""Steps of preprocessing from a table to the exported model: training and use agree."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from fedpipe.data.manifest import read_manifest
from fedpipe.models.weights_io import load_weights
from tests.e2e.conftest import User

STEPS = "{name: missing, by: indicator, columns: [age]},{name: standardize, columns: [age, dose]}"


def table(rows: int = 600) -> pd.DataFrame:
    draw = np.random.default_rng(11)
    frame = pd.DataFrame(
        {
            "client": [f"h{number % 15:02d}" for number in range(rows)],
            "age": draw.normal(60, 15, rows).round(2),
            "dose": draw.exponential(1e4, rows).round(1),
            "city": draw.choice(["Bern", "Kyiv", "Oslo"], rows),
        }
    )
    score = (frame["age"] - 60) / 15 + 0.5 * (frame["city"] == "Oslo")
    frame["label"] = np.where(score > 0.5, "sick", "well")
    frame.loc[draw.random(rows) < 0.1, "age"] = np.nan
    return frame


@pytest.mark.parametrize("with_texts", [False, True])
def test_raw_rows_are_predicted_as_those_that_were_prepared(user: User, with_texts: bool) -> None:
    frame = table()
    steps = STEPS
    if with_texts:
        steps += ",{name: one_hot}"
    else:
        frame = frame.drop(columns="city")
    frame.to_csv(user.project / "rows.csv", index=False)
    options = (
        *("data.source=csv", "data.path=rows.csv", "data.clients=null", "cohort.size=10"),
        *("model.name=softmax", "client.learning_rate=1.0", "rounds=6"),
        f"data.preprocess=[{steps}]",
    )
    summary = user.train(*[text for option in options for text in ("-S", option)])
    assert summary["final"]["test/accuracy"] > 0.7
    (shards,) = (user.project / ".fedpipe" / "shards").iterdir()
    stored = pq.read_table(shards / "test-00000.parquet")
    x = np.frombuffer(b"".join(stored["x"].to_pylist()), np.float32).reshape(len(stored), -1)
    (file,) = (user.project / ".fedpipe" / "runs").glob("*/final.safetensors")
    kernel, bias = load_weights(file).values()
    expected = tf.nn.softmax(x @ kernel + bias).numpy()

    raw = frame.iloc[stored["source_row"].to_numpy()].drop(columns=["client", "label"])
    raw[list(reversed(raw.columns))].to_csv(user.project / "new.csv", index=False)
    run_id = summary["run_id"]
    out = user.run("fedpipe", "predict", run_id, "new.csv", "--json").stdout
    predictions = [row["probabilities"] for row in json.loads(out)["predictions"]]
    np.testing.assert_allclose(predictions, expected, atol=1e-6)

    folder = user.project / "exported"
    exported = user.run("fedpipe", "export", run_id, str(folder), "--format", "savedmodel")
    steps_of_export = json.loads((folder / "assets.extra" / "preprocess.json").read_text())
    assert steps_of_export == read_manifest(shards).preprocess
    model = tf.saved_model.load(str(folder))
    takes = x if with_texts else raw.to_numpy(np.float32)
    (served,) = model.signatures["serving_default"](features=tf.constant(takes)).values()
    np.testing.assert_allclose(served.numpy(), expected, atol=1e-6)
    assert ("takes features after the steps" in exported.stderr) == with_texts
    shutil.rmtree(folder)


def test_wrong_steps_end_a_run_before_it_starts(user: User) -> None:
    table().to_csv(Path(user.project) / "rows.csv", index=False)
    settings = ("data.source=csv", "data.path=rows.csv", "data.clients=null", "cohort.size=10")
    options = [text for option in settings for text in ("-S", option)]
    for steps, message in (
        ("[{name: standardise}]", "Did you mean standardize?"),
        ("[{name: one_hot, columns: [town]}]", "expected a column town, found age, dose, city"),
    ):
        result = user.run("fedpipe", "run", *options, "-S", f"data.preprocess={steps}", code=2)
        assert message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert not list((user.project / ".fedpipe").glob("runs/*"))
