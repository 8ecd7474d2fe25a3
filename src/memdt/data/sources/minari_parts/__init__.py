"""The layout of a Minari data set, which the source `minari` reads and `export.py` writes."""
