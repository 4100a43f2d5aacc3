"""Weights as files: safetensors, which holds tensors and text and can run no code, unlike a pickle.

Checkpoints, the tracking store and the evaluation all read and write weights here, so that a file
from one is valid for the others. safetensors sorts tensors by size and name; the model's own order
is kept in the file's metadata.
"""

import json
from pathlib import Path

import numpy as np

from fedpipe.errors import ModelError
from fedpipe.system.atomic_files import write_atomic
from fedpipe.types import Weights, weights_sha256

_KEY = "fedpipe"
_FORMAT = "weights-1"


def save_weights(path: Path, weights: Weights) -> str:
    """Write float32 `weights` to `path` and return their SHA-256 (hex), which is that of
    `fedpipe.types.weights_sha256`.

    The file appears under its name complete or not at all: it is written under a temporary name in
    the same folder, synced, then renamed.

    Raises:
        ModelError: a tensor is not float32, or the file cannot be written.
    """
    from safetensors.numpy import save

    for name, value in weights.items():
        if value.dtype != np.float32:
            raise ModelError(
                f"{path.name}: expected float32 weights, found {value.dtype} in tensor '{name}'. "
                "Convert it first."
            )
    sha256 = weights_sha256(weights)
    # One key: safetensors writes several in random order, and the same weights must give the same
    # file.
    metadata = {_KEY: json.dumps({"format": _FORMAT, "order": list(weights), "sha256": sha256})}
    content = save(
        {name: np.asarray(value, order="C") for name, value in weights.items()}, metadata
    )
    try:
        path.parent.stat()  # a folder that is not there is a mistake, and not made
        write_atomic(path, content)
    except OSError as err:
        raise ModelError(
            f"{path}: cannot write the weights: {err.strerror or err}. Check that the folder is "
            "there and has room."
        ) from err
    return sha256


def load_weights(path: Path) -> Weights:
    """Return the weights that `save_weights` wrote to `path`, in the model's own order.

    Raises:
        ModelError: the file is missing, is no safetensors file of fedpipe, or its content does not
            have the SHA-256 it names.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            metadata = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            if metadata.get("format") != _FORMAT:
                raise ModelError(
                    f"{path}: expected fedpipe's format {_FORMAT}, found "
                    f"{metadata.get('format')!r}. Name a file that fedpipe wrote."
                )
            weights = {name: file.get_tensor(name) for name in metadata["order"]}
    except FileNotFoundError as err:
        raise ModelError(
            f"{path}: expected a file of weights, found none. Train first, or name another file."
        ) from err
    except (SafetensorError, OSError, ValueError, KeyError) as err:
        raise ModelError(
            f"{path}: damaged weights, they cannot be read: {err}. Restore the file or train again."
        ) from err
    actual = weights_sha256(weights)
    expected = metadata.get("sha256")
    if actual != expected:
        raise ModelError(
            f"{path}: damaged weights: expected sha256 {expected}, found {actual}. Restore the "
            "file or train again."
        )
    return weights
