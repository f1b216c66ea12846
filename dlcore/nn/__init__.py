"""Layers and models."""

from dlcore.nn import init
from dlcore.nn.activation import LeakyReLU, ReLU, Sigmoid, Softmax, Tanh
from dlcore.nn.characters import CharacterModel
from dlcore.nn.container import Heads, Residual, Sequential
from dlcore.nn.filter import Filter2D
from dlcore.nn.forecast import FromLast
from dlcore.nn.layers import BatchNorm, Conv2D, Dense, Dropout, Embedding
from dlcore.nn.module import Module
from dlcore.nn.parameter import Buffer, Parameter, ParameterVector
from dlcore.nn.recurrent import GRU, LSTM, RNN, detach
from dlcore.nn.shape import AvgPool2D, Flatten, GlobalAvgPool2D, MaxPool2D

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "AvgPool2D",
    "BatchNorm",
    "Buffer",
    "CharacterModel",
    "Conv2D",
    "Dense",
    "Dropout",
    "Embedding",
    "Filter2D",
    "Flatten",
    "FromLast",
    "GlobalAvgPool2D",
    "Heads",
    "LeakyReLU",
    "MaxPool2D",
    "Module",
    "Parameter",
    "ParameterVector",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "detach",
    "init",
]


def __dir__() -> list[str]:
    return sorted(__all__)
