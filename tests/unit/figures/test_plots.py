import subprocess
import sys

import numpy as np
import pytest

from fedpipe.figures.plots import confusion_matrix, learning_curves
from tests.unit.report.reports import confusion_of

ROWS = [
    {"round": 0, "test/loss": 2.5, "test/accuracy": 0.1},
    {"round": 1, "train/loss": 2.0, "train/accuracy": 0.3},
    {
        "round": 2,
        "train/loss": 1.5,
        "train/accuracy": 0.4,
        "test/loss": 1.75,
        "test/accuracy": 0.35,
    },
]


def lines(axes):
    return {
        line.get_label().split()[0]: list(zip(*line.get_data(), strict=True))
        for line in axes.get_lines()
    }


def test_curves_show_each_metric_at_its_rounds():
    loss, accuracy = learning_curves(ROWS).axes
    assert lines(loss) == {"train": [(1, 2.0), (2, 1.5)], "test": [(0, 2.5), (2, 1.75)]}
    assert lines(accuracy) == {"train": [(1, 0.3), (2, 0.4)], "test": [(0, 0.1), (2, 0.35)]}


def test_the_matrix_shows_counts_and_fractions_of_the_row():
    axes = confusion_matrix(confusion_of([[3, 1], [0, 0]]), ["a", "b"]).axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), [[0.75, 0.25], [0, 0]])
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "3",
        (1, 0): "1",
    }
    assert axes.get_title() == "3 of 4 right"


@pytest.mark.parametrize(
    "figure",
    [
        learning_curves([]),
        learning_curves(ROWS),
        confusion_matrix(confusion_of(np.eye(10, dtype=int)), "abcdefghij"),
    ],
)
def test_figures_can_be_written(figure, tmp_path):
    figure.savefig(tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_no_global_state_of_matplotlib_is_used():
    script = (
        "import io, sys; from fedpipe.figures.plots import learning_curves; "
        "learning_curves([]).savefig(io.BytesIO()); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
