"""Charts of an evaluation: a metric over clients, and whether confidence is accuracy."""

from collections.abc import Mapping

import numpy as np

from fedpipe.figures.charts import Floats, bar, bars, histogram, mark
from fedpipe.figures.frame import Frame, limits_around
from fedpipe.figures.svg import Chart, element
from fedpipe.tables.shown_task import is_fraction, metric_title, metric_words
from fedpipe.tables.texts import drawn


def client_values(
    metric: str, groups: Mapping[str, Floats], gains: Floats | None = None
) -> list[Chart]:
    """Return the histogram of a metric over clients for each group, and that of the gains, if any.

    Args:
        metric: its name, such as `accuracy`.
        groups: by name (`participating`, `held out`), float64 [clients]: the metric of each client
            on its own test examples.
        gains: float64 [clients], by how much the metric is better after personalization.
    """
    if not groups:
        return []
    words = metric_words(metric)
    clients = sum(map(len, groups.values()))
    title = f"{metric_title(metric)} of {clients} clients on their own test examples"
    limits = (0.0, 1.0)
    if not is_fraction(metric):
        limits = limits_around(np.concatenate(list(groups.values())).tolist())
    charts = [histogram(title, groups, words, limits)]
    if gains is not None and len(gains):
        limit = max(float(np.abs(gains).max()), 0.01)
        title = (
            f"Gain in {words} by personalization: better for {np.mean(gains > 0):.0%}, "
            f"worse for {np.mean(gains < 0):.0%}"
        )
        charts.append(histogram(title, {"gain": gains}, "gain", (-limit, limit)))
    return charts


def reliability_diagram(
    start: Floats,
    end: Floats,
    predictions: Floats,
    confidence: Floats,
    accuracy: Floats,
    *,
    positive: str | None = None,
) -> list[Chart]:
    """Return the reliability diagram (Guo et al. 2017): accuracy by confidence, where the diagonal
    is perfect; and how many predictions have which confidence. Of two classes: how often the
    positive one occurs, by its predicted probability.

    Args:
        start: float64 [bins], lower limit of each bin of confidence.
        end: float64 [bins], upper limit of each bin.
        predictions: float64 [bins], number of predictions in each bin.
        confidence: float64 [bins], their mean confidence.
        accuracy: float64 [bins], the fraction of them that is right, or of the positive class.
        positive: name of the positive class of two; None where confidence is that of the predicted
            class.
    """
    x_name = "confidence"
    y_name = "accuracy"
    x_label = x_name
    if positive is not None:
        x_name = "probability"
        y_name = "fraction"
        x_label = f"predicted probability of {drawn(positive)}"
    shares = predictions / predictions.sum()
    error = float(np.abs(accuracy - confidence) @ shares)
    title = f"Reliability: calibration error {error:.3f}"
    if positive is not None:
        title = f"Reliability: mean difference from the probability {error:.3f}"
    frame = Frame(0, 1, 0, 1)
    bins = (start.tolist(), end.tolist())
    shapes = []
    for low, high, height in zip(*bins, accuracy.tolist(), strict=True):
        tooltip = f"{x_name} {low:.2f} to {high:.2f}: {y_name} {height:.3f}"
        shapes.append(bar(frame, low, high, height, "fill s0", tooltip))
    diagonal = {"x1": frame.x(0), "y1": frame.y(0), "x2": frame.x(1), "y2": frame.y(1)}
    shapes.append(element("line", "mean s5", "perfect", **diagonal))
    for x, y in zip(confidence.tolist(), accuracy.tolist(), strict=True):
        shapes.append(mark(frame, x, y, "s1", f"mean {x_name} {x:.3f}: {y_name} {y:.3f}"))
    description = f"{title}; {y_name} by {x_name} in {len(start)} bins"
    legend = (("s0", y_name), ("s5", "perfect"), ("s1", f"at the mean {x_name}"))
    return [
        frame.chart(title, description, shapes, (x_label, y_name), legend),
        bars(f"Predictions by {x_name}", *bins, shares.tolist(), x_label, "fraction"),
    ]
