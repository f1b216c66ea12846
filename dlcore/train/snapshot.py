"""The name of :mod:`dlcore.train.checkpoint.snapshot` in version 0.1."""

from dlcore._core.renamed import renamed

renamed(__name__)
