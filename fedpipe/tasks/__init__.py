"""The task: what is learned from the labels, by which loss, and by which metrics it is judged."""

from fedpipe.tasks.task import Loss, Metric, Task

__all__ = ["Loss", "Metric", "Task"]
