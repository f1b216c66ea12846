"""A model with a skip connection."""

from dlcore import nn


def build(outputs):
    return nn.Sequential(nn.Dense(8), nn.Residual(nn.Sequential(nn.Dense(8), nn.BatchNorm(), nn.ReLU())), nn.Dense(outputs))
