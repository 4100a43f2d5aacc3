"""The datasets of a TFF process's clients: from its element type, and their content. No worker runs."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedpipe.algorithms.process_batches import (
    BatchTypeError,
    ExampleSpec,
    client_dataset,
    dataset_types,
    plan_batches,
)
from fedpipe.algorithms.recipe import build_client_work
from fedpipe.config import Config
from fedpipe.models import ModelSpec, build_model

IMAGES = ExampleSpec(tf.TensorSpec((28, 28)), tf.TensorSpec((), tf.int32), pixels=True, largest=255)
TABLE = ExampleSpec(tf.TensorSpec((4,)), tf.TensorSpec((), tf.int32), largest=9)
TOKENS = ExampleSpec(
    tf.TensorSpec((6,), tf.int32), tf.TensorSpec((), tf.int32), variable_length=True
)
COUNT = 7


def tensor(dtype: Any, *shape: int | None) -> Any:
    return tff.TensorType(dtype, shape)


def element(*tensors: Any, **named: Any) -> Any:
    return tff.types.to_type(OrderedDict(named) if named else tensors)


@pytest.fixture
def softmax() -> ModelSpec:
    return build_model(Config(), (28, 28), 10)


@pytest.fixture
def client(tmp_path: Path) -> tuple[Any, Any, Any]:
    """A ref of a client with seven images, and its features and labels."""
    x = np.random.default_rng(1).integers(0, 256, (COUNT, 28, 28), dtype=np.uint8)
    y = np.arange(COUNT, dtype=np.int32)
    path = tmp_path / "client"
    path.write_bytes(x.tobytes() + y.tobytes() + bytes(32))
    ref = {
        "data": str(path),
        "count": tf.constant(COUNT, tf.int64),
        "seed": tf.constant(5, tf.int64),
    }
    return ref, x, y


def batches_of(model: ModelSpec, ref: Any, kind: Any, **client: Any) -> tuple[list[Any], Any]:
    config = Config.model_validate({"client": {"batch_size": 3, **client}})
    work = build_client_work(config, model, np.dtype(np.uint8))
    plan = plan_batches(kind, IMAGES, 3)
    dataset = client_dataset(plan, work, IMAGES, ref)
    assert tff.SequenceType(kind).is_assignable_from(
        tff.SequenceType(tff.types.tensorflow_to_type(dataset.element_spec))
    )
    batches = list(dataset.as_numpy_iterator())
    steps, examples = plan.processed(COUNT, work)
    if plan.batch != "none":
        assert steps == len(batches)
    return batches, examples


def test_batches_are_in_the_order_of_the_file_and_the_last_is_smaller(
    softmax: ModelSpec, client: Any
) -> None:
    ref, x, y = client
    kind = element(tensor(np.float32, None, 28, 28), tensor(np.int32, None))
    batches, examples = batches_of(softmax, ref, kind, epochs=2)
    assert [len(labels) for _, labels in batches] == [3, 3, 1, 3, 3, 1]
    assert examples == 14
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches[:3]]), y)
    np.testing.assert_array_equal(
        np.concatenate([features for features, _ in batches[3:]]), x.astype(np.float32) / 255
    )
    batches, examples = batches_of(softmax, ref, kind, epochs=2, max_steps=4)
    assert [len(labels) for _, labels in batches] == [3, 3, 1, 3]
    assert examples == 10


def test_a_shuffle_draws_another_order_each_epoch_and_the_same_for_a_seed(
    softmax: ModelSpec, client: Any
) -> None:
    ref, x, y = client
    kind = element(tensor(np.float32, None, 28, 28), tensor(np.int32, None))

    def labels(seed: int) -> Any:
        other = ref | {"seed": tf.constant(seed, tf.int64)}
        batches, _ = batches_of(softmax, other, kind, epochs=2, shuffle=True)
        for features, drawn in batches:
            np.testing.assert_array_equal(features, x[drawn].astype(np.float32) / 255)
        return np.concatenate([drawn for _, drawn in batches]).tolist()

    assert sorted(labels(5)[:COUNT]) == sorted(labels(5)[COUNT:]) == y.tolist()
    assert labels(5) == labels(5) != labels(6)
    assert labels(5)[:COUNT] != labels(5)[COUNT:]


def test_names_shapes_and_dtypes_are_the_processs(softmax: ModelSpec, client: Any) -> None:
    ref, x, y = client
    kind = element(label=tensor(np.int64, None, 1), pixels=tensor(np.float64, None, 784))
    batches, _ = batches_of(softmax, ref, kind)
    assert list(batches[0]) == ["label", "pixels"]
    assert batches[0]["label"].dtype == np.int64
    np.testing.assert_array_equal(batches[2]["label"], y[6:, np.newaxis])
    np.testing.assert_array_equal(
        batches[1]["pixels"], (x[3:6].astype(np.float32) / 255).reshape(3, 784).astype(np.float64)
    )
    kind = element(x=tensor(np.uint8, None, 28, 28, 1), y=tensor(np.float32, None))
    batches, _ = batches_of(softmax, ref, kind)
    np.testing.assert_array_equal(batches[0]["x"], x[:3, ..., np.newaxis])
    assert batches[0]["y"].dtype == np.float32


def test_batches_of_a_fixed_size_leave_out_the_rest_and_examples_come_alone(
    softmax: ModelSpec, client: Any
) -> None:
    ref, x, y = client
    fixed = element(tensor(np.float32, 3, 28, 28), tensor(np.int32, 3))
    batches, examples = batches_of(softmax, ref, fixed)
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2], [3, 4, 5]]
    assert examples == 6
    alone = element(tensor(np.float32, 28, 28), tensor(np.int32))
    singles, examples = batches_of(softmax, ref, alone)
    assert [int(label) for _, label in singles] == y.tolist()
    assert examples == 7
    np.testing.assert_array_equal(singles[4][0], x[4].astype(np.float32) / 255)


def test_sequences_may_be_cut_to_the_longest_of_a_batch() -> None:
    plan = plan_batches(element(tensor(np.int64, None, None), tensor(np.int32, None)), TOKENS, 3)
    assert plan.x_shape == (None,)
    plan = plan_batches(element(tensor(np.int64, None, 6), tensor(np.int32, None)), TOKENS, 3)
    assert plan.x_shape == (6,)


LABELS = tensor(np.int32, None)


@pytest.mark.parametrize(
    ("kind", "spec", "problem"),
    [
        (element(tensor(np.float32, None, 14, 56), LABELS), IMAGES, r"shape \[28, 28\]"),
        (element(tensor(np.float32, None, 28), LABELS), IMAGES, r"shape \[28, 28\]"),
        (
            element(tensor(np.float32, None, 28, 28), tensor(np.int32, None, 10)),
            IMAGES,
            r"label has \[\]",
        ),
        (
            element(tensor(np.float16, None, 28, 28), LABELS),
            IMAGES,
            "features of float32 cannot become float16",
        ),
        (element(tensor(np.int8, None, 28, 28), LABELS), IMAGES, "cannot become int8"),
        (element(tensor(np.int32, None, 4), LABELS), TABLE, "cannot become int32"),
        (
            element(tensor(np.float32, None, 6), LABELS),
            TOKENS,
            "features of int32 cannot become float32",
        ),
        (
            element(tensor(np.float32, None, 4), tensor(np.bool_, None)),
            TABLE,
            "labels of int32 cannot become bool",
        ),
        (
            element(tensor(np.float32, 4, 28, 28), tensor(np.int32, 4)),
            IMAGES,
            "client.batch_size=3, not 4",
        ),
        (tensor(np.float32, None, 4), TABLE, "two tensors"),
        (element(tensor(np.float32, None, 4), LABELS, LABELS), TABLE, "two tensors"),
        (element(x=element(tensor(np.float32, None, 4)), y=LABELS), TABLE, "two tensors"),
    ],
)
def test_elements_that_the_data_cannot_give_are_refused(
    kind: Any, spec: ExampleSpec, problem: str
) -> None:
    with pytest.raises(BatchTypeError, match=problem):
        plan_batches(kind, spec, 3)


def test_the_datasets_are_found_wherever_they_are_in_an_argument() -> None:
    pair = element(tensor(np.float32, None, 4), LABELS)
    datasets = tff.FederatedType(tff.SequenceType(pair), tff.CLIENTS)
    state = tff.FederatedType(np.float32, tff.SERVER)
    assert dataset_types(tff.types.to_type((state, datasets))) == [pair]
    assert dataset_types(tff.types.to_type((state, (state, datasets), datasets))) == [pair, pair]
    assert dataset_types(state) == []


def test_the_spec_of_a_batch() -> None:
    x, y = IMAGES.batch
    assert (x.shape.as_list(), x.dtype, y.shape.as_list(), y.dtype) == (
        [None, 28, 28],
        tf.float32,
        [None],
        tf.int32,
    )
    assert TOKENS.batch[0].shape.as_list() == [None, None]
