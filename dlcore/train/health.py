"""The name of :mod:`dlcore.train.callbacks.gradient_health` in version 0.1."""

from dlcore._core.renamed import renamed

renamed(__name__)
