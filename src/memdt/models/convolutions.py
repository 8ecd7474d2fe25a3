"""What encoders of frames are made of, and what they cost; plans ask, so no torch is here."""

from __future__ import annotations

# Output channels, side of the kernel, stride. Source: the public code of RATE.
LAYERS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))


def sides(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Height and width of what each layer makes of a frame, height x width x channels.

    >>> sides((64, 112, 3))
    [(15, 27), (6, 12), (4, 10)]
    """
    made, (height, width) = [], shape[:2]
    for _, kernel, stride in LAYERS:
        height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        made.append((height, width))
    return made


def products(shape: tuple[int, ...], outputs: int) -> int:
    """Multiplications that make ``outputs`` numbers of a frame, height x width x channels."""
    total, channels = 0, shape[2]
    for (height, width), (made, kernel, _) in zip(sides(shape), LAYERS, strict=True):
        total += height * width * made * channels * kernel**2
        channels = made
    return total + height * width * channels * outputs
