"""Where datasets come from, one file a source; its name is the ``source:`` of a ``dataset:`` block.

See ``interface`` for what a source must offer.
"""

INFRASTRUCTURE = ("hdf5", "interface", "record", "size")
