"""The layout of a Minari data set, for the source that reads one and for `export.py`."""
