"""Checks names of metrics and tags by MLflow's rules, and converts metrics to plain numbers.

A name is checked in the round that reports the metric: the store would refuse it only later.
"""

import posixpath
import re
from collections.abc import Mapping
from typing import Any

ALLOWED = "letters, digits, spaces and any of _ - . : /"
LONGEST = 250
"""Maximum length of a name."""
_NAME = re.compile(r"[/\w.\- :]+")
_RESERVED = ("round/", "final/", "best/", "sweep/")
"""Prefixes of fedpipe's own metrics."""


def why_refused(name: object) -> str | None:
    """Return what is wrong with a name of a metric or a tag; None if the store accepts it.

    >>> why_refused("update norm (L2)")
    "it has '(' and ')'"
    >>> why_refused("update/norm") is None
    True
    """
    if not isinstance(name, str):
        return f"it is a {type(name).__name__}, not a text"
    if not _NAME.fullmatch(name):
        odd = sorted({character for character in name if not _NAME.fullmatch(character)})
        if odd:
            return f"it has {' and '.join(map(repr, odd[:5]))}"
        return "it is empty"
    if len(name) > LONGEST:
        return f"it has {len(name)} characters, more than {LONGEST}"
    if posixpath.normpath(name) != name or name == "." or name.startswith(("..", "/")):
        return "as a path it would be written in another way"
    return None


def checked_metrics(metrics: Mapping[Any, Any], where: str) -> dict[str, float]:
    """Return metrics as Python floats by name.

    Args:
        metrics: numbers, also of NumPy or TensorFlow, by name; NaN and infinities are allowed.
        where: their source, for the error.

    Raises:
        ValueError: the store refuses a name, it is reserved, or a value is no number.
    """
    values: dict[str, float] = {}
    for name, value in metrics.items():
        reason = why_refused(name)
        if reason is None and (name == "round" or name.startswith(_RESERVED)):
            reason = (
                f"names that are 'round' or begin with {', '.join(_RESERVED)} are fedpipe's own"
            )
        if reason is not None:
            shown = name if len(str(name)) <= LONGEST else f"{str(name)[:40]}..."
            raise ValueError(
                f"{where}: metric {shown!r}: {reason}. A name may have {ALLOWED}. Rename it, then "
                "`fedpipe resume`."
            )
        try:
            values[name] = float(value)
        except (TypeError, ValueError) as err:
            raise ValueError(
                f"{where}: metric {name!r}: expected a number, found {type(value).__name__} "
                f"{str(value)[:60]!r}."
            ) from err
    return values
