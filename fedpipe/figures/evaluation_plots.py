"""Pictures of an evaluation: how accuracy is spread over clients, and whether confidence is
accuracy.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedpipe.figures.plots import blank_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

_COLORS = {"participating": "#7a8ca3", "held out": "#edae49"}
_BINS = 20


def client_accuracies(groups: Mapping[str, Floats], gains: Floats | None = None) -> "Figure":
    """Return the histogram of accuracy over clients for each group, with its 10th percentile and
    mean; beside it that of gains, if any.

    Args:
        groups: `participating` and `held out`: float64 [clients], accuracy of each on its own test
            examples.
        gains: float64 [clients], accuracy after personalization less that before.
    """
    figure = blank_figure(6.4 if gains is None else 10.0, 3.8)
    axes = figure.subplots(1, 1 if gains is None else 2, squeeze=False)[0]
    for name, values in groups.items():
        label = f"{name}: mean {values.mean():.3f}, 10th percentile {np.percentile(values, 10):.3f}"
        shares = np.full(len(values), 1 / len(values))
        axes[0].hist(
            values,
            _BINS,
            range=(0, 1),
            weights=shares,
            color=_COLORS[name],
            alpha=0.75,
            label=label,
            edgecolor="white",
        )
    axes[0].set(
        xlabel="accuracy on the client's test examples",
        ylabel="fraction of the clients",
        xlim=(0, 1),
    )
    axes[0].set_title(f"{sum(map(len, groups.values()))} clients", loc="left")
    axes[0].legend(frameon=False, loc="upper left", fontsize=8.5)
    if gains is not None and len(gains):
        axes[1].hist(
            gains,
            _BINS,
            color="#66a182",
            edgecolor="white",
            weights=np.full(len(gains), 1 / len(gains)),
        )
        axes[1].axvline(0, color="#333333", linewidth=1)
        axes[1].set(xlabel="gain in accuracy by personalization", ylabel="fraction of the clients")
        axes[1].set_title(
            f"better for {np.mean(gains > 0):.0%}, worse for {np.mean(gains < 0):.0%}", loc="left"
        )
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure


def reliability_diagram(
    start: Floats, end: Floats, predictions: Floats, confidence: Floats, accuracy: Floats
) -> "Figure":
    """Return the reliability diagram (Guo et al. 2017): accuracy by confidence, the diagonal is
    perfect; below, where predictions are.

    Args:
        start: float64 [bins], where each bin of confidence begins.
        end: float64 [bins], where it ends.
        predictions: float64 [bins], how many are in each.
        confidence: float64 [bins], their mean confidence.
        accuracy: float64 [bins], the fraction of them that is right.
    """
    figure = blank_figure(4.6, 5.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    error = float(np.abs(accuracy - confidence) @ predictions / predictions.sum())
    above.bar(
        start,
        accuracy,
        width=end - start,
        align="edge",
        color="#7a8ca3",
        edgecolor="white",
        label="accuracy",
    )
    above.plot([0, 1], [0, 1], color="#333333", linewidth=1, linestyle="--", label="perfect")
    above.plot(
        confidence, accuracy, "o", color="#d1495b", markersize=4, label="at the mean confidence"
    )
    above.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    above.set_title(f"calibration error {error:.3f}", loc="left")
    above.legend(frameon=False, loc="upper left", fontsize=8.5)
    below.bar(
        start,
        predictions / predictions.sum(),
        width=end - start,
        align="edge",
        color="#7a8ca3",
        edgecolor="white",
    )
    below.set(xlabel="confidence", ylabel="predictions (fraction)")
    for one in (above, below):
        one.spines[["top", "right"]].set_visible(False)
    return figure
