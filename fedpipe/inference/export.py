"""Step `export`: writes a model in another format, and checks that it predicts the same."""

import json
import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fedpipe.errors import ConfigError, ModelError, shorten
from fedpipe.inference.predict import warn_if_forgotten
from fedpipe.project.paths import Project
from fedpipe.system.atomic_files import publish, require_place

logger = logging.getLogger(__name__)

FORMATS = ("savedmodel", "tflite")


@dataclass(frozen=True)
class Exported:
    """An exported model.

    Attributes:
        model: `NAME/VERSION @alias`, or `run ID`.
        format: `savedmodel` or `tflite`.
        path: folder of a SavedModel, file of TensorFlow Lite.
        size_bytes: of all its files.
        examples: number of examples that both models predicted.
        max_difference: largest difference between their predictions.
    """

    model: str
    format: str
    path: str
    size_bytes: int
    examples: int
    max_difference: float


def export(project: Project, name: str, form: str, out: Path) -> Exported:
    """Write a model to `out` as `savedmodel` or `tflite`.

    The new model is written beside `out`, read back and compared with the recorded one on random
    examples; then it is renamed.

    Args:
        project: has the store.
        name: of the model, as `tracking.fetch.fetch_model` takes it.
        form: one of `FORMATS`.
        out: a new file or folder.

    Raises:
        ConfigError: `out` exists already, or cannot be written.
        TrackingError: there is no such model.
        ModelError: the format cannot hold it, or predicts something else; nothing is left then.
    """
    from fedpipe.models import exports
    from fedpipe.models.saved import SavedClassifier
    from fedpipe.tracking.fetch import fetch_model
    from fedpipe.tracking.store import read_store

    if form not in FORMATS:
        raise ConfigError(f"--format {form}: expected {' or '.join(FORMATS)}.")
    if out.exists() or out.is_symlink():
        raise ConfigError(
            f"{out}: expected a new name, found it is there already. Remove it or choose another."
        )
    require_place(out, "the model")
    write = exports.write_savedmodel
    read = exports.read_savedmodel
    if form == "tflite":
        write = exports.write_tflite
        read = exports.read_tflite
    with tempfile.TemporaryDirectory(prefix="fedpipe-model-") as scratch:
        fetched = fetch_model(read_store(project.root), name, Path(scratch))
        warn_if_forgotten(fetched)
        model = SavedClassifier.load(fetched.saved_model, fetched.label)
        examples = exports.examples_for(model, fetched.facts.tokens)
        steps = fetched.facts.steps
        prepared = examples
        if steps is not None and model.raw_shape is not None:
            prepared = steps.apply(examples)
        elif steps is not None:
            logger.warning(
                "%s takes features after the steps of data.preprocess, which a graph cannot do: "
                "%s. They are not part of the export.",
                fetched.label,
                shorten(step.name for step in steps.steps),
            )
        try:
            folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        except OSError as err:
            raise ConfigError(f"{out}: cannot be written: {err.strerror or err}.") from err
        new = folder / "new"
        try:
            write(model, new, fetched.facts.kind)
            difference = exports.largest_difference(model, read(new), examples, prepared)
            if steps is not None and new.is_dir():
                extra = new / "assets.extra"
                extra.mkdir()
                (extra / "preprocess.json").write_text(
                    json.dumps(steps.to_json(), indent=1), encoding="utf-8"
                )
            files = (path for path in [new, *new.rglob("*")] if path.is_file())
            size_bytes = sum(path.stat().st_size for path in files)
            publish(new, out)
        except OSError as err:
            raise ModelError(
                f"{out}: cannot be written: {err.strerror or err}. Check that there is room."
            ) from err
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return Exported(
        model=fetched.label,
        format=form,
        path=str(out),
        size_bytes=size_bytes,
        examples=len(examples),
        max_difference=difference,
    )
