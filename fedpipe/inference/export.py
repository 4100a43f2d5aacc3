"""Step `export`: a recorded model in another form, which counts only once it is known to predict
the same.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fedpipe.errors import ConfigError, ModelError
from fedpipe.inference.predict import warn_if_forgotten
from fedpipe.project.paths import Project
from fedpipe.system.atomic_files import publish, require_place

FORMATS = ("savedmodel", "tflite")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        model: `NAME/VERSION @alias`, or `run ID`.
        format: `savedmodel` or `tflite`.
        path: folder of a SavedModel, file of TensorFlow Lite.
        size_bytes: of all its files.
        examples: how many examples were predicted by both.
        max_difference: largest difference of a probability between them.
    """

    model: str
    format: str
    path: str
    size_bytes: int
    examples: int
    max_difference: float


def export(project: Project, wanted: str, form: str, out: Path) -> Exported:
    """Write the model that `wanted` names (see `tracking.fetch.fetch_model`) to `out` in the form
    `savedmodel` or `tflite`.

    It is written beside `out`, read back, compared on drawn examples with the recorded model, and
    only then given its name.

    Raises:
        ConfigError: `out` is there already, or cannot be written.
        TrackingError: there is no such model.
        ModelError: the form cannot hold it, or predicts something else; nothing is left then.
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
    write, read = (
        (exports.write_savedmodel, exports.read_savedmodel)
        if form == "savedmodel"
        else (exports.write_tflite, exports.read_tflite)
    )
    with tempfile.TemporaryDirectory(prefix="fedpipe-model-") as scratch:
        fetched = fetch_model(read_store(project.root), wanted, Path(scratch))
        warn_if_forgotten(fetched)
        model = SavedClassifier.load(fetched.saved_model, fetched.label)
        x = exports.examples_for(model, fetched.facts.tokens)
        try:
            folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        except OSError as err:
            raise ConfigError(f"{out}: cannot be written: {err.strerror or err}.") from err
        try:
            new = folder / "new"
            write(model, new)
            difference = exports.largest_difference(model, read(new), x)
            size = sum(
                file.stat().st_size
                for file in ([new] if new.is_file() else new.rglob("*"))
                if file.is_file()
            )
            publish(new, out)
        except OSError as err:
            raise ModelError(
                f"{out}: cannot be written: {err.strerror or err}. Check that there is room."
            ) from err
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return Exported(fetched.label, form, str(out), size, len(x), difference)
