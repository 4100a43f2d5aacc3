"""Named architectures: what goes in, the loss, the metrics, the initial weights."""
