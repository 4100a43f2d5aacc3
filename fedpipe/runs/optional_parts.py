"""Parts of what is made after the last round, each of which may fail without the others.

A training whose rounds are done is recorded whatever fails in a picture, a table, the saved model
or an upload: the part is named in the run, and `fedpipe record` makes it later.
"""

import logging
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fedpipe.errors import TrackingError
from fedpipe.redact import hide

if TYPE_CHECKING:
    from fedpipe.tracking.store import Store

Made = TypeVar("Made")

PARTICIPATION = "table of participation"
LINEAGE_PART = "lineage chain"
UPLOADS = "uploads of the training"
"""Parts that training itself makes after the last round."""
INCOMPLETE_EXIT_CODE = 3
"""Exit code of a command whose run is trained and recorded, without some of its parts."""
_LONGEST_REASON = 600

logger = logging.getLogger(__name__)


class Parts:
    """Makes parts one by one, and notes which of them failed and why."""

    def __init__(
        self, store: "Store | None" = None, missing: Mapping[str, str] | None = None
    ) -> None:
        """Start with the parts that are `missing` already.

        Args:
            store: where parts are written to. A TrackingError is one part's failure only as long as
                the store answers.
            missing: reasons by the name of the part.
        """
        self._store = store
        self.missing: dict[str, str] = dict(missing or {})

    def attempt(self, name: str, make: Callable[[], Made]) -> Made | None:
        """Return what `make` makes; None if it fails, which is logged and noted under `name`.

        Raises:
            TrackingError: the store does not answer: nothing can be noted there, and all of it is
                to be done again when it is back.
        """
        try:
            made = make()
        except Exception as err:
            if isinstance(err, TrackingError):
                self._require_store(err)
            self.missing[name] = reason_with_place(err)
            logger.warning("not recorded: %s: %s", name, self.missing[name], exc_info=err)
            return None
        self.missing.pop(name, None)
        return made

    def _require_store(self, err: TrackingError) -> None:
        """Raise `err` if the store does not answer."""
        if self._store is None:
            raise err
        from fedpipe.tracking.reach import probe

        try:
            probe(self._store.uri)
        except TrackingError as unreachable:
            raise unreachable from err


def reason_with_place(err: BaseException) -> str:
    """Return an exception on one line: its type and message, then the file and the line where it
    was raised.
    """
    message = hide(" ".join(str(err).split()))
    if len(message) > _LONGEST_REASON:
        message = f"{message[:_LONGEST_REASON]}..."
    frames = traceback.extract_tb(err.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(err).__name__}{': ' if message else ''}{message}{place}"


def incomplete_text(missing: Mapping[str, str]) -> str:
    """Return the missing parts as the tag `fedpipe.incomplete` holds them: a line `part: reason`
    each.
    """
    return "\n".join(f"{name}: {reason}" for name, reason in missing.items())
