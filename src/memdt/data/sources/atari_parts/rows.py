"""Rows of an array that numpy wrote into a gzip file, read in order and only as far as needed.

An observation shard of the published logs holds a million frames, 7 GB. Its header is read first,
and nothing of it is unpickled.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np
from jaxtyping import Shaped

from memdt.errors import UserError

AGAIN = "fetch or copy it again"
PIECE = 2**24  # bytes that are skipped at once


class Rows:
    """An open file; rows are read forwards."""

    def __init__(self, path: Path) -> None:
        """Read the header. Raises UserError if this is no array of numbers in gzip."""
        self.path, self.next = path, 0
        if not path.is_file():
            raise UserError("there is no such file", str(path), AGAIN)
        self._file = gzip.open(path, "rb")  # noqa: SIM115
        try:
            version = np.lib.format.read_magic(self._file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            self.shape, by_columns, self.dtype = read(self._file)
        except (OSError, EOFError, zlib.error, ValueError, KeyError) as error:
            what = f"no array of numpy in gzip, or cut off ({error})"
            raise UserError(what, str(path), AGAIN) from None
        # An array of objects is a pickle, which could execute anything.
        if self.dtype.hasobject or self.dtype.kind not in "biuf" or by_columns:
            raise UserError(
                f"an array of {self.dtype}, not of numbers row by row", str(path), AGAIN
            )
        # The header's own words: of a row of one number, and of one frame.
        self._row = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))

    def __len__(self) -> int:
        """Rows that the header promises; 1 for a single number."""
        return self.shape[0] if self.shape else 1

    def read(self, first: int, last: int) -> Shaped[np.ndarray, "rows ..."]:
        """The rows from ``first`` up to ``last``; no row that was passed before.

        Raises UserError where the file ends early or is damaged.
        """
        if first < self.next:
            raise ValueError(f"row {first} was passed, the next one is {self.next}")
        try:
            self._skip((first - self.next) * self._row)
            content = self._file.read((last - first) * self._row)
        except (OSError, EOFError, zlib.error) as error:
            what = f"damaged or cut off after row {self.next:,} of {len(self):,} ({error})"
            raise UserError(what, str(self.path), AGAIN) from None
        if len(content) < (last - first) * self._row:
            what = f"ends before row {last:,} of the {len(self):,} that its header promises"
            raise UserError(what, str(self.path), AGAIN)
        self.next = last
        return np.frombuffer(content, self.dtype).reshape(last - first, *self.shape[1:])

    def _skip(self, count: int) -> None:
        """Pass so many bytes; gzip has no other way than to inflate them."""
        while count > 0:
            piece = len(cast(IO[bytes], self._file).read(min(count, PIECE)))
            if piece == 0:
                raise EOFError("the array is shorter than its header says")
            count -= piece

    def close(self) -> None:
        """Close the file."""
        self._file.close()
