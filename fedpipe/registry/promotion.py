"""Which version of a model is its champion: the rule, apart from whoever asks and whoever moves the
alias.
"""

import math
from dataclasses import dataclass

from fedpipe.tracking.model_registry import CHALLENGER, CHAMPION


@dataclass(frozen=True)
class Holder:
    """The version that is champion before.

    Attributes:
        label: `NAME/VERSION`.
        forgotten: clients that it trained on and that were forgotten since.
        score: its `validation/accuracy` on the new version's validation examples; None where it
            cannot be measured there.
        problem: why not.
    """

    label: str
    forgotten: tuple[str, ...]
    score: float | None
    problem: str = ""


def decide(
    score: float, forgotten: tuple[str, ...], holder: Holder | None, min_improvement: float
) -> tuple[str, str]:
    """Return the alias of a new version, `champion` or `challenger`, and the reason.

    In this order: a model that trained on clients that are forgotten is never made champion; nor is
    one without a score; where there is no champion the new one is it; a champion that trained on
    forgotten clients gives way, whatever its score; else the higher score decides, if it is higher
    by `min_improvement`.

    Args:
        score: `validation/accuracy` of the new version, a fraction; NaN if it has none.
        forgotten: forgotten clients that the new version trained on.
        holder: the champion before, None if there is none.
        min_improvement: a fraction, from 0; with 0 any gain is enough.

    >>> decide(0.75, (), Holder("digits/1", (), 0.5), 0.125)
    ('champion', 'validation/accuracy 0.7500, 0.2500 more than the 0.5000 of digits/1 (at least 0.125 is asked for)')
    >>> decide(0.5, (), Holder("digits/1", (), 0.5), 0.0)
    ('challenger', 'validation/accuracy 0.5000, no more than the 0.5000 of digits/1')
    """
    if forgotten:
        return CHALLENGER, f"it trained on clients that are forgotten: {', '.join(forgotten)}"
    if math.isnan(score):
        return CHALLENGER, "it has no validation/accuracy"
    if holder is None:
        return CHAMPION, f"validation/accuracy {score:.4f}; there was no champion"
    if holder.forgotten:
        return (
            CHAMPION,
            f"{holder.label} trained on clients that are forgotten: {', '.join(holder.forgotten)}",
        )
    if holder.score is None:
        return (
            CHALLENGER,
            f"{holder.label} cannot be compared on these validation examples: {holder.problem}",
        )
    gain = score - holder.score
    asked = f" (at least {min_improvement:g} is asked for)" if min_improvement else ""
    if gain > 0 and gain >= min_improvement:
        return (
            CHAMPION,
            f"validation/accuracy {score:.4f}, {gain:.4f} more than the {holder.score:.4f} of "
            f"{holder.label}{asked}",
        )
    less = f"{gain:.4f} more than" if gain > 0 else "no more than"
    return (
        CHALLENGER,
        f"validation/accuracy {score:.4f}, {less} the {holder.score:.4f} of {holder.label}{asked}",
    )
