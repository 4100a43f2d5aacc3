"""What a saved model keeps of how its examples were prepared."""

from types import SimpleNamespace
from typing import Any

from fedpipe.config.data import DataConfig
from fedpipe.models.input_facts import InputFacts


def test_facts_are_those_of_the_shards_and_the_model() -> None:
    manifest: Any = SimpleNamespace(
        feature_dtype="uint8",
        inverted=True,
        vocabulary=("cat", "dog"),
        targets=None,
        source="images",
        pixel_convention="ink",
        understood=SimpleNamespace(columns=("height", "width")),
        preprocess=None,
    )
    model: Any = SimpleNamespace(tokens=7)
    facts = InputFacts.of(
        manifest, model, DataConfig(source="csv", path="table.csv", separator=";")
    )
    assert facts.feature_dtype == "uint8"
    assert facts.inverted is True
    assert facts.labels == ("cat", "dog")
    assert facts.tokens == 7
    assert facts.source == "images"
    assert facts.pixel_convention == "ink"
    assert facts.columns == ("height", "width")
    assert facts.reading["separator"] == ";"
    assert "seed" not in facts.reading


def test_other_shards_have_other_facts() -> None:
    manifest: Any = SimpleNamespace(
        feature_dtype="float32",
        inverted=False,
        vocabulary=None,
        targets=None,
        source="csv",
        pixel_convention=None,
        understood=None,
        preprocess=None,
    )
    model: Any = SimpleNamespace(tokens=None)
    assert InputFacts.of(manifest, model) == InputFacts(feature_dtype="float32", source="csv")


def test_the_kind_and_the_names_of_the_outputs_are_those_of_the_targets() -> None:
    manifest: Any = SimpleNamespace(
        feature_dtype="float32",
        inverted=False,
        vocabulary=None,
        source="csv",
        pixel_convention=None,
        understood=None,
        preprocess=None,
        targets=SimpleNamespace(kind="regression", names=("price", "area")),
    )
    model: Any = SimpleNamespace(tokens=None)
    facts = InputFacts.of(manifest, model)
    assert (facts.kind, facts.labels) == ("regression", ("price", "area"))
    assert InputFacts.read(facts.to_json()) == facts
    assert facts.differences(manifest) == []
    manifest.targets.kind = "multilabel"
    assert facts.differences(manifest) == ["task multilabel, the model's regression"]


def test_a_model_of_an_earlier_version_is_a_classifier() -> None:
    assert InputFacts.read({"labels": ["a"]}).kind == "classification"
    assert InputFacts.read({"kind": "unheard-of"}).kind == "classification"
