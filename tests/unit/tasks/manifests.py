"""Manifests as a task reads them."""

from fedpipe.data.manifest import Manifest, Targets


def manifest_of(classes: int, targets: Targets | None = None) -> Manifest:
    """Return a manifest of so many classes, or of other targets."""
    return Manifest.model_construct(
        source="csv", num_classes=classes, vocabulary=None, targets=targets
    )
