"""Sources of datasets, one file each. A ``dataset:`` block names its file in ``source:``.

``interface`` says what a source must define.
"""

INFRASTRUCTURE = ("hdf5", "interface", "record", "size")
