"""What the scripts of `benchmarks.oracles` share: the job that they are given, and how they answer. NumPy alone."""

import json
import sys
from pathlib import Path

import numpy as np


class OracleJob:
    """The job in the folder that the command line names."""

    def __init__(self):
        """Read it."""
        self.folder = Path(sys.argv[1])
        self.values = json.loads((self.folder / "job.json").read_text(encoding="utf-8"))
        with np.load(self.folder / "job.npz") as file:
            self.arrays = {name: file[name] for name in file.files}

    def examples(self, client):
        """Return a client's features, float32 [n, 784] in 0..1, and labels, int64 [n]."""
        return self.arrays[f"x/{client}"], self.arrays[f"y/{client}"]

    def answer(self, numbers=None, arrays=None):
        """Write the answer."""
        (self.folder / "answer.json").write_text(json.dumps(numbers or {}), encoding="utf-8")
        np.savez(self.folder / "answer.npz", **(arrays or {}))


def whole_epochs(count, epochs, batch_size):
    """Return the row ranges of a client's batches: each epoch in order, its last batch as small as it comes."""
    size = batch_size or count
    return [
        (start, min(start + size, count)) for _ in range(epochs) for start in range(0, count, size)
    ]
