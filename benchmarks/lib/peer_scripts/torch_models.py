"""The two networks in PyTorch, with the job's initial weights, for the peers that train with PyTorch."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Softmax(nn.Module):
    """Softmax regression on float32 [n, 28, 28]."""

    def __init__(self, weights):
        """Take the job's weights."""
        super().__init__()
        self.logits = _linear(weights, "")

    def forward(self, x):
        """Return the logits."""
        return self.logits(torch.flatten(x, 1))


class CNN(nn.Module):
    """McMahan et al.'s network on float32 [n, 28, 28]."""

    def __init__(self, weights):
        """Take the job's weights; the job's dense layer counts features channels last, PyTorch's channels first."""
        super().__init__()
        self.conv1, self.conv2 = _convolution(weights, "conv1/"), _convolution(weights, "conv2/")
        height, channels = 7, self.conv2.out_channels
        rows = weights["dense/kernel"].reshape(height, height, channels, -1).transpose(2, 0, 1, 3)
        self.dense = _linear(
            {"kernel": rows.reshape(height * height * channels, -1), "bias": weights["dense/bias"]},
            "",
        )
        self.logits = _linear(weights, "logits/")

    def forward(self, x):
        """Return the logits."""
        hidden = x[:, None]
        for layer in (self.conv1, self.conv2):
            hidden = functional.relu(functional.max_pool2d(layer(hidden), 2))
        return self.logits(functional.relu(self.dense(torch.flatten(hidden, 1))))


MODELS = {"softmax": Softmax, "cnn": CNN}


def to_tensors(x, y):
    """Return float32 pixels from 0 to 1 and int64 labels."""
    return torch.from_numpy(np.float32(x) / 255), torch.from_numpy(np.int64(y))


@torch.no_grad()
def accuracy(model, x, y):
    """Return the fraction of uint8 `x` that the model labels as `y`."""
    x, y = to_tensors(x, y)
    return float((model(x).argmax(1) == y).float().mean())


def _linear(weights, prefix):
    kernel, bias = weights[f"{prefix}kernel"], weights[f"{prefix}bias"]
    layer = nn.Linear(*kernel.shape)
    return _load(layer, kernel.T, bias)


def _convolution(weights, prefix):
    kernel, bias = weights[f"{prefix}kernel"], weights[f"{prefix}bias"]
    layer = nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[:2], padding="same")
    return _load(layer, kernel.transpose(3, 2, 0, 1), bias)


def _load(layer, weight, bias):
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer
