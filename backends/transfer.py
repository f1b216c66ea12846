"""The name of :mod:`backends.runtime.copies` in version 0.1."""

from backends._renamed import renamed

renamed(__name__)
