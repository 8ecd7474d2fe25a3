"""Small Atari logs in both published layouts, whole and spoilt."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from PIL import Image

Values = Sequence[bytes] | Sequence[int] | Sequence[float]


def write_array(path: Path, array: Any, cut: bool = False) -> None:
    """An array as Dopamine writes it; ``cut``: its second half is missing."""
    raw = io.BytesIO()
    np.save(raw, array, allow_pickle=np.asarray(array).dtype == object)
    packed = gzip.compress(raw.getvalue(), mtime=0)
    path.write_bytes(packed[: len(packed) // 2] if cut else packed)


def write_shard(
    folder: Path,
    lengths: Sequence[int] = (5, 1, 4),
    unfinished: int = 2,
    number: int = 0,
    padding: int = 0,
    cursor: int = 0,
    invalid: Sequence[int] = (),
    cut: str = "",
    **other: Any,
) -> dict[str, np.ndarray]:
    """A shard of these episodes, and its arrays; frames are numbered by their brightest pixel.

    ``padding``: rows of zeros before each episode; ``other``: arrays in place of those.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [0 if i < padding else 1 for n in (*lengths, unfinished) for i in range(n + padding)]
    real = np.array(rows, dtype=bool)
    count = len(real)
    random = np.random.default_rng(number)
    arrays: dict[str, np.ndarray] = {
        "observation": random.integers(1, 200, (count, 84, 84), np.uint8),
        "action": random.integers(0, 4, count, np.int32),
        "reward": np.resize(np.array([0, 1, 0, 5, -1], np.float32), count),
        "terminal": np.zeros(count, np.uint8),
    }
    arrays["observation"][:, 0, 0] = np.arange(count) % 50 + 201
    for name in ("observation", "action", "reward"):
        arrays[name][~real] = 0
    arrays["terminal"][np.cumsum([n + padding for n in lengths]) - 1] = 1
    arrays |= other
    for name, array in arrays.items():
        write_array(folder / f"$store$_{name}_ckpt.{number}.gz", array, cut == name)
    write_array(folder / f"add_count_ckpt.{number}.gz", np.array(count + cursor))
    write_array(folder / f"invalid_range_ckpt.{number}.gz", np.array(invalid, np.int64))
    return arrays


def _varint(number: int) -> bytes:
    content = b""
    while number > 127:
        content, number = content + bytes([number & 127 | 128]), number >> 7
    return content + bytes([number])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _feature(values: Values) -> bytes:
    if isinstance(values[0], bytes):
        return _field(1, b"".join(_field(1, one) for one in values))
    if isinstance(values[0], float):
        return _field(2, _field(1, struct.pack(f"<{len(values)}f", *values)))
    return _field(3, _field(1, b"".join(_varint(int(one)) for one in values)))


def png(side: int = 84, value: int = 9) -> bytes:
    """A frame of one grey."""
    file = io.BytesIO()
    Image.fromarray(np.full((side, side), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def episode(steps: int, terminal: bool = True, **other: Values | None) -> bytes:
    """An episode as a ``tf.train.Example``; ``other``: features instead of those, None: none."""
    features: dict[str, Values | None] = {
        "observations": [png(value=step % 250) for step in range(steps)],
        "actions": [step % 4 for step in range(steps)],
        "unclipped_rewards": [2.0] * steps,
        "clipped_rewards": [1.0] * steps,
        "discounts": [1.0] * (steps - 1) + [0.0 if terminal else 1.0],
        "episode_id": [7],
        "episode_return": [2.0 * steps],
        "clipped_episode_return": [float(steps)],
        **other,
    }
    pairs = sorted((name, values) for name, values in features.items() if values is not None)
    return _field(
        1,
        b"".join(
            _field(1, _field(1, name.encode()) + _field(2, _feature(values)))
            for name, values in pairs
        ),
    )


def checksum(content: bytes) -> bytes:
    """The masked CRC-32C of a TFRecord."""
    plain = google_crc32c.value(content)
    return struct.pack("<I", ((plain >> 15 | plain << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def write_records(
    path: Path, contents: Sequence[bytes], packed: bool = True, spoilt: int = 0, cut: int = 0
) -> Path:
    """A TFRecord file; ``spoilt``: the byte of which one bit differs; ``cut``: bytes missing."""
    raw = b""
    for content in contents:
        length = struct.pack("<Q", len(content))
        raw += length + checksum(length) + content + checksum(content)
    if spoilt:
        raw = raw[:spoilt] + bytes([raw[spoilt] ^ 1]) + raw[spoilt + 1 :]
    raw = raw[: len(raw) - cut]
    path.write_bytes(gzip.compress(raw, mtime=0) if packed else raw)
    return path
