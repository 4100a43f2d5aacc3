"""Promotion rule: whether a new version of a model becomes champion or challenger."""

import math
from dataclasses import dataclass

from fedpipe.tasks.score import ACCURACY, Score
from fedpipe.tracking.model_registry import CHALLENGER, CHAMPION


@dataclass(frozen=True)
class Holder:
    """The champion before the new version.

    Attributes:
        label: `NAME/VERSION`.
        forgotten: clients that it was trained on and that were forgotten since.
        score: its value of the metric that chooses on the new version's validation examples; None
            if it cannot be measured there.
        problem: why it cannot be measured.
    """

    label: str
    forgotten: tuple[str, ...]
    score: float | None
    problem: str = ""


def decide(
    score: float,
    forgotten: tuple[str, ...],
    holder: Holder | None,
    min_improvement: float,
    by: Score = ACCURACY,
) -> tuple[str, str]:
    """Return the alias of a new version, `champion` or `challenger`, and the reason.

    The first rule that applies decides:

    1. A version that was trained on forgotten clients is never champion.
    2. Nor is one without a finite score.
    3. If there is no champion, the new version is.
    4. A champion that was trained on forgotten clients is replaced.
    5. The new version is champion if its score is better, by at least `min_improvement`.

    Args:
        score: the metric that chooses of the new version's validation examples; NaN if it has none.
        forgotten: forgotten clients that the new version was trained on.
        holder: the champion so far, None if there is none.
        min_improvement: in units of the metric, from 0; with 0 any gain is enough.
        by: the metric that chooses.

    >>> alias, reason = decide(0.75, (), Holder("m/1", (), 0.5), 0.125)
    >>> alias
    'champion'
    >>> print(reason)
    validation/accuracy 0.7500, 0.2500 more than the 0.5000 of m/1 (at least 0.125 is asked for)
    >>> decide(0.5, (), Holder("digits/1", (), 0.5), 0.0)
    ('challenger', 'validation/accuracy 0.5000, no more than the 0.5000 of digits/1')
    """
    if forgotten:
        return CHALLENGER, f"it trained on clients that are forgotten: {', '.join(forgotten)}"
    if not math.isfinite(score):
        return CHALLENGER, f"it has no {by.validation}"
    measured = f"{by.validation} {score:.4f}"
    if holder is None:
        return CHAMPION, f"{measured}; there was no champion"
    if holder.forgotten:
        clients = ", ".join(holder.forgotten)
        return CHAMPION, f"{holder.label} trained on clients that are forgotten: {clients}"
    if holder.score is None:
        reason = f"cannot be compared on these validation examples: {holder.problem}"
        return CHALLENGER, f"{holder.label} {reason}"
    gain = by.gain(score, holder.score)
    more_words, none_words = "more than", "no more than"
    if not by.higher_is_better:
        more_words, none_words = "less than", "no less than"
    asked = f" (at least {min_improvement:g} is asked for)" if min_improvement else ""
    more = f"{gain:.4f} {more_words}" if gain > 0 else none_words
    alias = CHAMPION if gain > 0 and gain >= min_improvement else CHALLENGER
    return alias, f"{measured}, {more} the {holder.score:.4f} of {holder.label}{asked}"
