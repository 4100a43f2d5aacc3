import json
import os

import numpy as np
import pytest
from safetensors.numpy import load, save

from fedpipe.errors import ModelError
from fedpipe.models.weights_io import load_weights, save_weights
from fedpipe.types import weights_sha256


def some_weights():
    # Named so that neither the alphabet nor the size gives this order.
    return {
        "kernel": np.arange(6, dtype=np.float32).reshape(3, 2),
        "bias": np.array([-0.0, np.inf], np.float32),
        "scale": np.float32(2.5).reshape(()),
        "after": np.zeros((0, 4), np.float32),
    }


def test_loaded_weights_are_the_saved_ones_in_their_own_order(tmp_path):
    weights = some_weights()
    sha256 = save_weights(tmp_path / "w.safetensors", weights)
    loaded = load_weights(tmp_path / "w.safetensors")
    assert list(loaded) == ["kernel", "bias", "scale", "after"]
    for name, value in weights.items():
        assert loaded[name].dtype == np.float32
        assert loaded[name].shape == value.shape
        assert loaded[name].tobytes() == value.tobytes()
    assert sha256 == weights_sha256(loaded) == weights_sha256(weights)


def test_a_transposed_view_is_saved_by_its_values(tmp_path):
    view = np.arange(6, dtype=np.float32).reshape(2, 3).T
    save_weights(tmp_path / "w.safetensors", {"a": view})
    np.testing.assert_array_equal(
        load_weights(tmp_path / "w.safetensors")["a"], [[0, 3], [1, 4], [2, 5]]
    )


def test_saving_replaces_and_leaves_no_other_file(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": np.zeros(3, np.float32)})
    save_weights(path, {"a": np.ones(3, np.float32)})
    assert load_weights(path)["a"].tolist() == [1, 1, 1]
    assert os.listdir(tmp_path) == ["w.safetensors"]


def test_the_same_weights_give_the_same_file(tmp_path):
    # Twenty times: a writer that shuffles its header would pass once by luck.
    files = [tmp_path / f"{i}" for i in range(20)]
    for file in files:
        save_weights(file, some_weights())
    assert len({file.read_bytes() for file in files}) == 1


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"expected a file of weights, found none"):
        load_weights(tmp_path / "none.safetensors")


@pytest.mark.parametrize("damage", [b"", b"not a tensor file at all", None])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "w.safetensors"
    save_weights(path, some_weights())
    path.write_bytes(path.read_bytes()[:-3] if damage is None else damage)
    with pytest.raises(ModelError, match=r"w\.safetensors: damaged weights"):
        load_weights(path)


def test_a_changed_bit_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": np.ones(8, np.float32)})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"expected sha256 [0-9a-f]{64}, found [0-9a-f]{64}"):
        load_weights(path)


def test_a_safetensors_file_of_another_program_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(save({"a": np.ones(2, np.float32)}))
    with pytest.raises(ModelError, match=r"expected fedpipe's format weights-1, found None"):
        load_weights(path)


def test_other_dtypes_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ModelError, match=r"expected float32 weights, found float64 in tensor 'a'"):
        save_weights(tmp_path / "w.safetensors", {"a": np.zeros(2)})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(
        ModelError, match=r"none/w\.safetensors: cannot write the weights: No such file"
    ):
        save_weights(tmp_path / "none" / "w.safetensors", some_weights())


def test_any_safetensors_reader_can_read_the_file(tmp_path):
    save_weights(tmp_path / "w.safetensors", some_weights())
    content = (tmp_path / "w.safetensors").read_bytes()
    assert sorted(load(content)) == ["after", "bias", "kernel", "scale"]
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["fedpipe"])["order"] == [
        "kernel",
        "bias",
        "scale",
        "after",
    ]
