"""The task: what is learned from the labels, by which loss, and by which metrics it is judged."""

from fedpipe.tasks.build import build_task, plain_task, task_of
from fedpipe.tasks.predictions import Predictions
from fedpipe.tasks.task import Loss, Metric, Task

__all__ = ["Loss", "Metric", "Predictions", "Task", "build_task", "plain_task", "task_of"]
