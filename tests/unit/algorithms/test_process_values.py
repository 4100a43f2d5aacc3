"""State, weights and metrics of a TFF process by path. No worker runs."""

from collections import OrderedDict
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from fedpipe.algorithms.process_values import (
    MetricNames,
    ProcessValueError,
    StateLayout,
    Tensor,
    WeightNames,
    metric_name,
    tensors_of,
    tensors_of_value,
    weights_in,
)
from fedpipe.config import Config
from fedpipe.engine.server_state import flatten, restore
from fedpipe.models import ModelSpec, build_model


@attrs.define
class Momentum:
    rate: Any
    tensors: Any


class Nested(NamedTuple):
    model: Any
    rounds: Any


def state_type() -> Any:
    """An attrs class in a named tuple in a dict, tensors of a shape that varies, and nothing at all."""
    kernel = tff.TensorType(np.float32, (3, 2))
    momentum = tff.StructWithPythonType(
        [("rate", tff.TensorType(np.float64)), ("tensors", tff.types.to_type([kernel, kernel]))],
        Momentum,
    )
    nested = tff.StructWithPythonType(
        [("model", tff.types.to_type((kernel,))), ("rounds", tff.TensorType(np.int32))], Nested
    )
    return tff.FederatedType(
        tff.types.to_type(
            OrderedDict(
                momentum=momentum,
                nested=nested,
                history=tff.TensorType(np.float32, (None,)),
                nothing=(),
            )
        ),
        tff.SERVER,
    )


def a_state() -> Any:
    kernel = np.arange(6, dtype=np.float32).reshape(3, 2)
    return OrderedDict(
        momentum=Momentum(0.25, [kernel, kernel + 1]),
        nested=Nested((kernel * 2,), np.int32(7)),
        history=np.array([1, 2, 3], np.float32),
        nothing=(),
    )


def test_a_state_of_any_structure_comes_back_as_it_was() -> None:
    layout = StateLayout(state_type())
    leaves = layout.leaves(a_state())
    assert list(leaves) == [
        "state/momentum/rate",
        "state/momentum/tensors/0",
        "state/momentum/tensors/1",
        "state/nested/model/0",
        "state/nested/rounds",
        "varying/history",
    ]
    state = layout.state(leaves)
    assert isinstance(state, OrderedDict)
    assert isinstance(state["momentum"], Momentum)
    assert isinstance(state["momentum"].tensors, list)
    assert isinstance(state["nested"], Nested)
    assert state["nothing"] == ()
    assert state["nested"].rounds == 7
    np.testing.assert_array_equal(state["momentum"].tensors[1], a_state()["momentum"].tensors[1])
    assert state["momentum"].rate.dtype == np.float64


def test_a_checkpoint_holds_it_and_a_tensor_may_have_grown() -> None:
    layout = StateLayout(state_type())
    later = a_state()
    later["history"] = np.zeros(5, np.float32)
    saved = flatten(layout.leaves(later))
    restored = layout.state(restore(layout.leaves(a_state()), saved))
    assert restored["history"].shape == (5,)
    assert restored["nested"].rounds == 7


def test_attrs_classes_and_dataclasses_are_kept_by_checkpoints_themselves() -> None:
    state = a_state()
    saved = flatten(state)
    assert "momentum/tensors/1" in saved
    restored = restore(state, saved)
    assert isinstance(restored["momentum"], Momentum)
    np.testing.assert_array_equal(restored["momentum"].tensors[0], state["momentum"].tensors[0])


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (tff.FederatedType(np.float32, tff.CLIENTS), "at the clients"),
        (tff.FederatedType(OrderedDict(name=np.str_), tff.SERVER), "name str.* holds no numbers"),
        (tff.FederatedType(tff.SequenceType(np.int32), tff.SERVER), r"is of type int32\*"),
    ],
)
def test_a_state_that_no_checkpoint_can_hold_is_refused(kind: Any, problem: str) -> None:
    with pytest.raises(ProcessValueError, match=problem):
        StateLayout(kind)


@pytest.fixture
def softmax() -> ModelSpec:
    return build_model(Config(), (2, 3), 4)


def weights_type(**extra: Any) -> Any:
    tensors = [tff.TensorType(np.float32, (6, 4)), tff.TensorType(np.float32, (4,))]
    model = tff.StructWithPythonType(
        [("trainable", tff.types.to_type(tensors)), ("non_trainable", tff.types.to_type(()))],
        tff.learning.models.ModelWeights,
    )
    return tff.types.to_type(OrderedDict(extra, model=model))


def test_weights_are_found_in_a_state_by_their_place() -> None:
    tensors = list(tensors_of(weights_type(a_count=tff.TensorType(np.int32))))
    assert [tensor.path for tensor in weights_in(tensors)] == [
        "model/trainable/0",
        "model/trainable/1",
    ]
    bare = list(tensors_of(tff.types.to_type([np.float32, np.float32])))
    assert weights_in(bare) == bare


def test_weights_have_the_models_names_by_order_or_by_name(softmax: ModelSpec) -> None:
    initial = softmax.initial_weights(1)
    in_order = [Tensor("0", np.dtype("f4"), (6, 4)), Tensor("1", np.dtype("f4"), (4,))]
    kernel, bias = np.ones((6, 4), np.float32), np.zeros(4, np.float32)
    by_order = WeightNames.of(in_order, softmax, initial).weights([kernel, bias], softmax)
    assert list(by_order) == ["kernel", "bias"]
    named = [Tensor("m/bias", np.dtype("f4"), (4,)), Tensor("m/kernel", np.dtype("f4"), (6, 4))]
    by_name = WeightNames.of(named, softmax, initial).weights([bias, kernel], softmax)
    assert list(by_name) == ["kernel", "bias"]
    np.testing.assert_array_equal(by_name["kernel"], kernel)


@pytest.mark.parametrize(
    "tensors",
    [
        [],
        [Tensor("0", np.dtype("f4"), (6, 4))],
        [Tensor("0", np.dtype("f4"), (4,)), Tensor("1", np.dtype("f4"), (6, 4))],
        [Tensor("0", np.dtype("f8"), (6, 4)), Tensor("1", np.dtype("f8"), (4,))],
    ],
)
def test_other_weights_are_refused_in_one_line(softmax: ModelSpec, tensors: list[Tensor]) -> None:
    with pytest.raises(ProcessValueError) as caught:
        WeightNames.of(tensors, softmax, softmax.initial_weights(1))
    assert "model.name=softmax (kernel float32[6,4], bias float32[4])" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_tensors_of_a_value_in_pythons_containers() -> None:
    value = {"kernel": np.ones((6, 4), np.float32), "more": (tf.constant(1.0), [np.int32(2)])}
    assert [str(tensor) for tensor in tensors_of_value(value)] == [
        "kernel float32[6,4]",
        "more/0 float32[]",
        "more/1/0 int32[]",
    ]


NAMES = {
    "client_work/train/loss": "train/loss",
    "client_work/train/num_examples": "train/num_examples",
    "client_work/train/sparse_categorical_accuracy": "train/accuracy",
    "client_work/loss": "train/loss",
    "aggregator/mean_value/clipping_norm": "aggregator/mean_value/clipping_norm",
    "finalizer/update_non_finite": "finalizer/update_non_finite",
    "accuracy": "train/accuracy",
    "test/loss": "process/test/loss",
    "": "train/metric",
}


@pytest.mark.parametrize(("path", "name"), NAMES.items())
def test_metrics_have_fedpipes_names(path: str, name: str) -> None:
    assert metric_name(path) == name


def test_of_several_accuracies_each_keeps_its_name() -> None:
    paths = ["client_work/train/binary_accuracy", "client_work/train/categorical_accuracy"]
    assert [metric_name(path, paths) for path in paths] == [
        "train/binary_accuracy",
        "train/categorical_accuracy",
    ]


def test_metrics_are_the_numbers_in_nested_dicts() -> None:
    kind = tff.FederatedType(
        OrderedDict(
            distributor=(),
            client_work=OrderedDict(
                train=OrderedDict(loss=np.float32, by_class=tff.TensorType(np.float32, (3,)))
            ),
            finalizer=OrderedDict(update_non_finite=np.int32),
        ),
        tff.SERVER,
    )
    names = MetricNames(kind)
    assert names.recorded == ("train/loss", "finalizer/update_non_finite")
    value = OrderedDict(
        distributor=(),
        client_work=OrderedDict(
            train=OrderedDict(loss=np.float32(0.5), by_class=np.zeros(3, np.float32))
        ),
        finalizer=OrderedDict(update_non_finite=np.int32(1)),
    )
    assert names.metrics(value) == {"train/loss": 0.5, "finalizer/update_non_finite": 1.0}
    assert MetricNames(None).metrics(()) == {}


def test_a_name_that_the_store_refuses_is_refused_at_once() -> None:
    with pytest.raises(ProcessValueError, match="cannot be recorded: it has '<' and '>'"):
        MetricNames(tff.types.to_type(OrderedDict({"<lambda>": np.float32})))
