"""Figures of one system, taken in turns with others."""

import math
import statistics
from dataclasses import dataclass, field

from benchmarks.lib.common import System

ACCURACY_TOLERANCE = 0.01
TURN_SECONDS = 1.0
MOST_ROUNDS_A_TURN = 20
"""A turn is one round, or as many as fit in this time: a fast system is not measured cold after each slow one's turn."""


@dataclass
class Measured:
    """One system's figures on one work."""

    system: System
    first_round_seconds: float = math.nan
    accuracy: float = math.nan
    memory_mb: float = math.nan
    seconds: list[float] = field(default_factory=list)

    def turn(self) -> None:
        """Run the rounds of one turn."""
        fitting = int(TURN_SECONDS / statistics.median(self.seconds))
        self.seconds += self.system.rounds(min(max(fitting, 1), MOST_ROUNDS_A_TURN))

    @property
    def median(self) -> float:
        """Return the median seconds of a round, the first not counted."""
        return statistics.median(self.seconds)
