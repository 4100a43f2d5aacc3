"""Weights that a run starts from: `model.initial` is brought once, kept among the run's files, and
read from there when the run is resumed.
"""

import logging
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedpipe.errors import ModelError, TrackingError
from fedpipe.models.read_weights import Tensors, fitted, read_tensors
from fedpipe.models.weights_io import load_weights, save_weights
from fedpipe.runs.context import RunContext
from fedpipe.runs.lineage import INITIAL_NAME, LINEAGE
from fedpipe.tracking.tags import INITIAL_FROM, INITIAL_SHA256

if TYPE_CHECKING:
    from fedpipe.models import ModelSpec

logger = logging.getLogger(__name__)

_FILES = (".safetensors", ".keras")


@dataclass(frozen=True)
class WarmStart:
    """A model with the weights that it starts from.

    Attributes:
        model: its `initial_weights` are the ones that were brought, whatever the seed.
        sha256: of the weights; None where the model has its own initial weights.
        origin: where they were brought from, with the run that trained them, if there is one.
    """

    model: "ModelSpec"
    sha256: str | None = None
    origin: str = ""

    @property
    def tags(self) -> dict[str, str]:
        """Return the tags of the run's lineage."""
        if self.sha256 is None:
            return {}
        return {INITIAL_SHA256: self.sha256, INITIAL_FROM: self.origin}

    @property
    def identity(self) -> dict[str, str]:
        """Return what a resumed run has to have the same."""
        if self.sha256 is None:
            return {}
        return {"initial": self.sha256}


def warm_started(run: RunContext, model: "ModelSpec") -> WarmStart:
    """Return the model with the weights that `model.initial` names, with its own where that is
    null.

    Raises:
        ModelError: they cannot be read, or are no weights of this model.
        TrackingError: the store cannot be read, or has no such run or model.
    """
    initial = run.config.model.initial
    if initial is None:
        return WarmStart(model)
    where = f"model.initial={initial}"
    path = run.folder / LINEAGE / INITIAL_NAME
    origin_file = path.with_suffix(".txt")
    if path.exists() and origin_file.exists():
        weights = fitted(model, load_weights(path), where)
        origin = origin_file.read_text(encoding="utf-8")
        sha256 = save_weights(path, weights)
    else:
        tensors, origin = _brought(run, initial, where)
        weights = fitted(model, tensors, where)
        path.parent.mkdir(parents=True, exist_ok=True)
        sha256 = save_weights(path, weights)
        origin_file.write_text(origin, encoding="utf-8")
    if run.config.privacy.on:
        logger.warning(
            "%s: epsilon covers this training alone. If the weights were trained on the same "
            "clients, what they tell of these is not in it.",
            where,
        )
    return WarmStart(replace(model, initial_weights=lambda _seed: dict(weights)), sha256, origin)


def _brought(run: RunContext, initial: str, where: str) -> tuple[Tensors, str]:
    """Return the tensors, and where they come from."""
    place = run.project.root / initial
    if initial.endswith(_FILES) or (place / "saved_model.pb").is_file():
        return read_tensors(place, where), initial
    if place.exists():
        raise ModelError(
            f"{where}: expected a file {' or '.join(_FILES)}, or the folder of a SavedModel, found "
            f"{place}. Name one of these, a run, or a registered model."
        )
    from fedpipe.tracking.fetch import fetch_model
    from fedpipe.tracking.store import read_store

    with tempfile.TemporaryDirectory(prefix="fedpipe-initial-") as scratch:
        try:
            fetched = fetch_model(read_store(run.project.root), initial, Path(scratch))
        except TrackingError as err:
            raise TrackingError(f"{where}: {err}") from err
        tensors = read_tensors(fetched.saved_model, where)
    label = fetched.label
    if fetched.run_id and fetched.run_id not in label:
        label += f", of run {fetched.run_id}"
    return tensors, label
