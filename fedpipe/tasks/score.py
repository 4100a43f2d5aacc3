"""The metric that chooses: the best round, when training stops early, which trial is pruned, and
the champion. All of them ask here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedpipe.config.task import TaskConfig
from fedpipe.config.task_metrics import is_higher_better, is_own_metric, metric_key


@dataclass(frozen=True)
class Score:
    """A metric by which one model is better than another.

    Attributes:
        metric: its name after the split, such as `accuracy`, or `loss`.
        higher_is_better: which way is better.
    """

    metric: str = "accuracy"
    higher_is_better: bool = True

    @property
    def validation(self) -> str:
        """Return the key of the metric of the validation examples."""
        return f"validation/{self.metric}"

    @property
    def test(self) -> str:
        """Return the key of the metric of the test examples."""
        return f"test/{self.metric}"

    @property
    def worst(self) -> float:
        """Return a value that any other is better than."""
        return -math.inf * self._sign

    @property
    def better(self) -> str:
        """Return `maximize` or `minimize`."""
        return "maximize" if self.higher_is_better else "minimize"

    def best_by(self, metrics: Mapping[str, float]) -> str:
        """Return the metric by which a run's best round is known: of the validation examples where
        there are any.

        Else it is the test set's, and the best is a record and no more: chosen there, its figure
        there says too much of it. A round whose validation has figures, but not this one, has none.
        """
        if self.validation in metrics or "validation/loss" in metrics:
            return self.validation
        return self.test

    def is_better(self, value: float, than: float) -> bool:
        """Return whether a value is better than another.

        >>> Score("rmse", higher_is_better=False).is_better(1.0, 2.0)
        True
        """
        return self.gain(value, than) > 0

    def gain(self, value: float, than: float) -> float:
        """Return by how much a value is better than another; negative if it is worse."""
        return self._sign * (value - than)

    @property
    def _sign(self) -> int:
        if self.higher_is_better:
            return 1
        return -1


ACCURACY = Score()


def score_of(task: TaskConfig, project: Path | None = None) -> Score:
    """Return the metric that `task.choose_by` names.

    Args:
        task: the settings.
        project: folder in which a metric of the user's own is looked for; such a metric is imported
            to learn its direction, `higher_is_better` of the function, true if it has none.

    Raises:
        ConfigError: a metric of the user's own cannot be imported.
    """
    chosen = task.choice
    names = {metric_key(name): name for name in task.metric_names}
    name = names.get(chosen, chosen)
    if not is_own_metric(name):
        return Score(chosen, is_higher_better(name))
    from fedpipe.errors import ConfigError
    from fedpipe.system.user_code import import_own

    function = import_own(name, project, "task.metrics", ConfigError)
    return Score(chosen, bool(getattr(function, "higher_is_better", True)))
