"""One check of `fedpipe doctor`: its result, and how it is tried."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from fedpipe.errors import FedpipeError
from fedpipe.redact import hide


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes:
        name: what was checked.
        ok: whether it is as it should be.
        needed: whether a run fails without it.
        finding: the result, as a sentence without its full stop.
        fix: what to do where it is not ok; empty if `finding` says it.
    """

    name: str
    ok: bool
    needed: bool
    finding: str
    fix: str = ""

    @property
    def line(self) -> str:
        """Return the check as one line: state, name, finding and, where it is not ok, the next
        step.
        """
        head = f"{self._state:4} {self.name}: "
        if self.ok or not self.fix:
            return head + self.finding
        return f"{head}{self.finding.rstrip('.')}. {self.fix[0].upper()}{self.fix[1:].rstrip('.')}."

    @property
    def _state(self) -> str:
        if self.ok:
            return "ok"
        return "FAIL" if self.needed else "warn"

    def to_json(self) -> dict[str, object]:
        """Return the check as `fedpipe doctor --json` prints it."""
        return {
            "name": self.name,
            "ok": self.ok,
            "needed": self.needed,
            "found": self.finding,
            "mend": self.fix,
        }


def passed(name: str, finding: str, needed: bool = True) -> Check:
    """Return a check that is ok."""
    return Check(name, True, needed, finding)


def failed(name: str, finding: str, fix: str = "", needed: bool = True) -> Check:
    """Return a check that is not ok."""
    return Check(name, False, needed, finding, fix)


def tried(name: str, trial: Callable[[], Check]) -> Check:
    """Return the check that `trial` gives; whatever it raises is a failed check of that name.

    A reason that fedpipe gives already says what to do.
    """
    try:
        check = trial()
    except (FedpipeError, OSError) as err:
        check = failed(name, " ".join(str(err).split()))
    except Exception as err:
        check = failed(name, f"{type(err).__name__}: {' '.join(str(err).split())}")
    return replace(check, finding=hide(check.finding))
