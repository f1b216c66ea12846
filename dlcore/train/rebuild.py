"""The name of :mod:`dlcore.train.checkpoint.model_json` in version 0.1."""

from dlcore._core.renamed import renamed

renamed(__name__)
