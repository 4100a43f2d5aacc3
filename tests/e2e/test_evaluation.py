"""A run with everything that chooses and evaluates: cohorts that vary, validation that stops it, clients one by one."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

SETTINGS = (
    *(
        "data.validation_fraction=0.2",
        "data.held_out_fraction=0.1",
        "rounds=12",
        "eval.patience=4",
        "eval.personalize_steps=3",
    ),
    *(
        "cohort.strategy=poisson",
        "cohort.size=6",
        "cohort.min_reports=3",
        "cohort.dropout_fraction=0.2",
    ),
    *(
        "cohort.latency_median_seconds=10",
        "cohort.round_deadline_seconds=20",
        "client.learning_rate=0.2",
    ),
)


@pytest.fixture(scope="module")
def evaluated(make_user: Callable[..., Any]) -> tuple[Any, dict[str, Any]]:
    user = make_user()
    return user, user.train(*(part for setting in SETTINGS for part in ("-S", setting)))


def test_validation_chooses_and_stops(evaluated: Any) -> None:
    user, summary = evaluated
    folder = Path(summary["run_dir"])
    with (folder / "rounds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = [float(row["validation_accuracy"]) for row in rows]
    best = scores.index(max(scores))
    assert (summary["best_round"], summary["rounds"]) == (best, len(rows) - 1)
    without_better = sum(
        row["cohort_skipped"] != "1.0" for row in rows[best + 1 :]
    )  # skipped rounds do not count
    assert without_better == 4 or (without_better < 4 and summary["rounds"] == 12)
    store = MlflowClient(tracking_uri=f"sqlite:///{user.project}/mlflow.db")
    run = store.get_run(summary["run_id"])
    assert run.data.tags["weights.best_round"] == str(best)
    assert (
        run.data.metrics["best/test/accuracy"]
        == summary["best"]["test/accuracy"]
        == float(rows[best]["test_accuracy"])
    )
    assert ("fedpipe.stopped_early" in run.data.tags) == (summary["rounds"] < 12)
    assert [(output.step) for output in run.outputs.model_outputs] == [best]


def test_the_plan_says_what_became_of_everyone(evaluated: Any) -> None:
    _, summary = evaluated
    folder = Path(summary["run_dir"])
    plan = json.loads((folder / "cohorts.json").read_text())
    with (folder / "rounds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[1:]:
        turnout, cohort = (
            plan["turnouts"][int(row["round"]) - 1],
            plan["cohorts"][int(row["round"]) - 1],
        )
        assert float(row["cohort_dropped"]) == len(turnout["dropped"])
        assert float(row["cohort_late"]) == len(turnout["late"])
        assert (row["cohort_skipped"] == "1.0") == (len(turnout["reported"]) < 3) == (not cohort)
        assert (row["train_loss"] == "") == (not cohort)
        assert float(row["cohort_simulated_seconds"]) <= 20


def test_each_client_has_its_row_and_both_kinds_their_figures(evaluated: Any) -> None:
    user, summary = evaluated
    figures = summary["best"]
    table = pq.ParquetFile(Path(summary["run_dir"]) / "clients.parquet").read()
    held_out = table["held_out"].to_pylist()
    assert (
        (figures["participating/clients"], figures["held_out/clients"])
        == (held_out.count(False), held_out.count(True))
        == (90, 10)
    )
    accuracies = [
        a for a, out in zip(table["accuracy"].to_pylist(), held_out, strict=True) if not out
    ]
    assert figures["participating/accuracy_mean"] == pytest.approx(sum(accuracies) / 90)
    assert figures["participating/accuracy_worst_decile"] == pytest.approx(
        sum(sorted(accuracies)[:9]) / 9
    )
    gains = table["gain"].to_pylist()
    assert figures["personalized/gain_mean"] == pytest.approx(sum(gains) / 100)
    for kind, out, count in (("participating", False, 90), ("held_out", True, 10)):
        of_kind = [gain for gain, is_out in zip(gains, held_out, strict=True) if is_out == out]
        assert figures[f"personalized/{kind}/gain_mean"] == pytest.approx(sum(of_kind) / count)
        before_and_gain = (
            figures[f"{kind}/accuracy_mean"] + figures[f"personalized/{kind}/gain_mean"]
        )
        assert figures[f"personalized/{kind}/accuracy_mean"] == pytest.approx(before_and_gain)
    store = MlflowClient(tracking_uri=f"sqlite:///{user.project}/mlflow.db")
    files = {
        file.path
        for folder in ("plots", "tables")
        for file in store.list_artifacts(summary["run_id"], folder)
    }
    assert {
        "plots/client_accuracies.svg",
        "plots/reliability.svg",
        "tables/clients.parquet",
        "tables/labels.csv",
    } <= files


@pytest.mark.slow
def test_texts_of_any_length_train_from_a_file_to_a_model(user: Any) -> None:
    lines = [
        f"{client},{word},{word * (1 + number % 6)}"
        for client in "abcdef"
        for word in ("to be", "or not")
        for number in range(30)
    ]
    (user.project / "lines.csv").write_text("client,label,text\n" + "\n".join(lines) + "\n")
    settings = (
        "data.source=csv",
        "data.path=lines.csv",
        "data.clients=null",
        "model.name=lstm",
        "model.tokens=257",
        "cohort.size=6",
    )
    learning = ("client.optimizer=adam", "client.learning_rate=0.01", "rounds=10")
    overrides = [part for one in (*settings, *learning) for part in ("-S", one)]
    summary = user.train(*overrides)
    assert summary["final"]["test/accuracy"] == 1.0
    assert summary["initial"]["test/loss"] == pytest.approx(0.693, abs=0.1)


@pytest.mark.parametrize(
    "settings",
    [
        ("aggregator.secure=true",),
        pytest.param(("aggregator.compression_bits=4", "model.name=cnn"), marks=pytest.mark.slow),
        pytest.param(
            ("algorithm.name=centralized", "model.name=cnn", "data.validation_fraction=0.1"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["secure", "compression", "centralized"],
)
def test_quiet_is_quiet(evaluated: Any, settings: tuple[str, ...]) -> None:
    # TensorFlow has much to say of TFF's aggregators, and of a graph that is traced for each number of examples.
    done = evaluated[0].run(
        "fedpipe",
        "run",
        "--quiet",
        *(part for one in ("rounds=2", *settings) for part in ("-S", one)),
    )
    assert (done.stdout, done.stderr) == ("", "")
