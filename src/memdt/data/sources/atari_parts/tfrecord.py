"""TFRecord files and the ``tf.train.Example`` messages in them, read without TensorFlow.

A record is its length (8 bytes), a checksum of that, its content and a checksum of that. Checksums
are CRC-32C, rotated and shifted. A file may be compressed by gzip as a whole. Source: TensorFlow's
``record_writer`` and ``example.proto``; the encoding of protocol buffers.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import google_crc32c
import numpy as np
from jaxtyping import Shaped

from memdt.errors import UserError

AGAIN = "fetch or copy it again"
GZIP = b"\x1f\x8b"
MOST = 2**31  # bytes of a record; more is a damaged length that its checksum did not catch

Feature = list[bytes] | Shaped[np.ndarray, " values"]


def records(path: Path) -> Iterator[bytes]:
    """The content of every record, its checksums compared.

    Raises UserError where the file is missing, damaged or cut off.
    """
    if not path.is_file():
        raise UserError("there is no such file", str(path), AGAIN)
    with path.open("rb") as plain:
        packed = plain.read(2) == GZIP
    with cast(IO[bytes], gzip.open(path, "rb") if packed else path.open("rb")) as file:
        number = 0
        while True:
            position = f"record {number + 1}"
            try:
                header = file.read(12)
                if not header:
                    return
                length = _checked(header[:-4], header[-4:], position)
                size = struct.unpack("<Q", length)[0]
                if size > MOST:
                    raise ValueError(f"{position} says it has {size:,} bytes")
                content = file.read(size + 4)
                if len(content) < size + 4:
                    raise EOFError(f"{position} is cut off")
                yield _checked(content[:-4], content[-4:], position)
            except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
                raise UserError(f"damaged or no TFRecord ({error})", str(path), AGAIN) from None
            number += 1


def _checked(content: bytes, checksum: bytes, position: str) -> bytes:
    """The content. Raises ValueError where its checksum is another."""
    plain = google_crc32c.value(content)
    masked = ((plain >> 15 | plain << 17) + 0xA282EAD8) & 0xFFFFFFFF
    if len(checksum) != 4 or struct.unpack("<I", checksum)[0] != masked:
        raise ValueError(f"the checksum of {position} is another one")
    return content


def example(content: bytes) -> dict[str, Feature]:
    """The features of a ``tf.train.Example``: lists of bytes, or arrays of float32 or int64.

    Raises ValueError where the content is no such message.
    """
    features: dict[str, Feature] = {}
    for _, outer in _fields(content):
        for _, entry in _fields(_bytes(outer)):
            # Of repeated fields the last one counts, as in every reader of protocol buffers.
            pair = dict(_fields(_bytes(entry)))
            features[_bytes(pair.get(1, b"")).decode()] = _feature(_bytes(pair.get(2, b"")))
    return features


def _feature(content: bytes) -> Feature:
    """A list of bytes (1), of floats (2) or of whole numbers (3)."""
    kind, values = next(_fields(content), (1, b""))
    items = [item for _, item in _fields(_bytes(values))]
    if kind == 1:
        return [_bytes(item) for item in items]
    if kind == 2:
        return np.frombuffer(b"".join(_bytes(item) for item in items), "<f4")
    if kind != 3:
        raise ValueError(f"a feature of kind {kind}")
    numbers: list[int] = []
    for item in items:
        numbers += [item] if isinstance(item, int) else _varints(item)
    # Protocol buffers store a negative number as its two's complement in 64 bits.
    return np.array(numbers, dtype=np.uint64).astype(np.int64)


def _bytes(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def _varints(content: bytes) -> list[int]:
    numbers, position = [], 0
    while position < len(content):
        number, position = _varint(content, position)
        numbers.append(number)
    return numbers


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """A number, seven bits to a byte with the lowest first, and the place after it."""
    number = shift = 0
    while True:
        if position >= len(content) or shift > 63:
            raise ValueError("a number without an end")
        byte = content[position]
        number |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return number, position


def _fields(content: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of each field of a message."""
    position = 0
    while position < len(content):
        key, position = _varint(content, position)
        wire = key & 7
        if wire == 0:
            value, position = _varint(content, position)
            yield key >> 3, value
            continue
        if wire == 2:
            size, position = _varint(content, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"a field of wire type {wire}")
        if position + size > len(content):
            raise ValueError("a field that is longer than its message")
        yield key >> 3, content[position : position + size]
        position += size
