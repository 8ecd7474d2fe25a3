"""Open HDF5 files that other programs have written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from memdt.errors import UserError

AGAIN = "download or record the set again"


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open the file for reading.

    Raises UserError if the file is missing or damaged, even if that only shows inside the ``with``
    block.
    """
    if not path.is_file():
        raise UserError("there is no such file", str(path), AGAIN)
    if not h5py.is_hdf5(path):
        raise UserError("not an HDF5 file, or cut off", str(path), AGAIN)
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise UserError(f"damaged ({error})", str(path), AGAIN) from None
